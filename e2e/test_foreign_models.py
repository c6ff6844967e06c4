"""Graphs as another library exports them are served by the data plane's example of an ONNX server."""

import catboost
import httpx
import numpy as np
import onnx
import pytest
from under_test import SAFETY_SECONDS

# The examples are built for these tests alone.
pytestmark = pytest.mark.conformance

TOLERANCE = 1e-5
SETTINGS = {"iterations": 20, "depth": 4, "thread_count": 1, "allow_writing_files": False, "verbose": False}


@pytest.fixture(scope="module")
def flowers() -> tuple[np.ndarray, np.ndarray]:
    """Three measures of 200 flowers, and how large each is."""
    measures = np.random.default_rng(5).normal(size=(200, 3)).astype(np.float32)
    return measures, measures @ np.array([1, -2, 0.5], np.float32)


@pytest.fixture(scope="module")
def regressor(flowers) -> catboost.CatBoostRegressor:
    """Estimates the size."""
    return catboost.CatBoostRegressor(**SETTINGS, random_seed=1).fit(*flowers)


@pytest.fixture(scope="module")
def classifier(flowers) -> catboost.CatBoostClassifier:
    """Tells small from large."""
    measures, sizes = flowers
    return catboost.CatBoostClassifier(**SETTINGS, random_seed=1).fit(measures, (sizes > 0).astype(int))


@pytest.fixture
def served(under_test, tmp_path, servers):
    """Serves a file as the model `flowers`; where it is."""

    def serve(file) -> str:
        arguments = ["--model-name=flowers", f"--model={file}", "--model-watch=20ms"]
        servers.append(under_test.example("onnx", tmp_path / "log", *arguments))
        servers[-1].wait_ready()
        return servers[-1].url

    return serve


def export(model: catboost.CatBoost, file) -> None:
    """Writes a model as its library does."""
    model.save_model(str(file), format="onnx")


def v1(url: str, measures: np.ndarray) -> list:
    """Predictions of V1."""
    body = {"instances": measures.tolist()}
    answer = httpx.post(f"{url}/v1/models/flowers:predict", json=body, timeout=SAFETY_SECONDS)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def v2(url: str, measures: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of V2, by name."""
    data = measures.reshape(-1).tolist()
    tensor = {"name": "features", "datatype": "FP32", "shape": list(measures.shape), "data": data}
    answer = httpx.post(f"{url}/v2/models/flowers/infer", json={"inputs": [tensor]}, timeout=SAFETY_SECONDS)
    assert answer.status_code == 200, answer.text
    return {
        output["name"]: np.reshape(output["data"], output["shape"]) for output in answer.json()["outputs"]
    }


def test_a_regressor_estimates_as_its_library_does_and_is_exchanged(
    served, servers, tmp_path, flowers, regressor
):
    measures, sizes = flowers
    file = tmp_path / "model.onnx"
    export(regressor, file)
    url = served(file)
    metadata = httpx.get(f"{url}/v2/models/flowers").json()
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 3]}]
    own = regressor.predict(measures)
    assert np.abs(np.ravel(v1(url, measures)) - own).max() <= TOLERANCE
    (output,) = v2(url, measures).values()
    assert np.abs(output.ravel() - own).max() <= TOLERANCE

    other = catboost.CatBoostRegressor(**SETTINGS, random_seed=2).fit(measures, -sizes)
    export(other, tmp_path / "next.onnx")
    (tmp_path / "next.onnx").replace(file)
    estimated = other.predict(measures)
    assert np.abs(estimated - own).max() > 1

    def exchanged() -> bool | None:
        return np.abs(np.ravel(v1(url, measures)) - estimated).max() <= TOLERANCE or None

    servers[-1].until(exchanged, "serve the other model")


def test_a_classifier_whose_probabilities_are_a_tensor_tells_as_its_library_does(
    served, tmp_path, flowers, classifier
):
    measures, _ = flowers
    export(classifier, tmp_path / "export.onnx")
    onnx.save(without_dictionaries(onnx.load(tmp_path / "export.onnx")), tmp_path / "model.onnx")
    url = served(tmp_path / "model.onnx")
    own = classifier.predict_proba(measures)
    outputs = v2(url, measures)
    assert np.abs(outputs["probability_tensor"] - own).max() <= TOLERANCE
    assert (outputs["label"] == own.argmax(axis=1)).all()
    predictions = v1(url, measures)
    told = [prediction["probability_tensor"] for prediction in predictions]
    assert np.abs(np.array(told) - own).max() <= TOLERANCE


def test_of_a_classifier_whose_probabilities_are_dictionaries_the_label_is_served_and_the_log_says_why(
    served, tmp_path, flowers, classifier
):
    measures, _ = flowers
    export(classifier, tmp_path / "model.onnx")
    url = served(tmp_path / "model.onnx")
    metadata = httpx.get(f"{url}/v2/models/flowers").json()
    assert [output["name"] for output in metadata["outputs"]] == ["label"]
    outputs = v2(url, measures)
    assert list(outputs) == ["label"]
    assert (outputs["label"] == classifier.predict_proba(measures).argmax(axis=1)).all()
    (warning,) = [line for line in (tmp_path / "log").read_text().splitlines() if "left out" in line]
    assert "`probabilities` is no tensor" in warning


def without_dictionaries(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph without what makes a dictionary of each row; other exporters have an option for it."""
    graph = model.graph
    (zipmap,) = (node for node in graph.node if node.op_type == "ZipMap")
    (trees,) = (node for node in graph.node if node.op_type == "TreeEnsembleClassifier")
    (label,) = (output for output in graph.output if output.name == trees.output[0])
    probabilities = onnx.helper.make_tensor_value_info(zipmap.input[0], onnx.TensorProto.FLOAT, ["N", 2])
    graph.node.remove(zipmap)
    del graph.output[:]
    graph.output.extend([label, probabilities])
    return model
