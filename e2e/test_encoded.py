"""Features go to predictor-gbdt as one matrix of numbers, and what is answered is what it is without."""

import hashlib
import json
from collections.abc import Iterator

import httpx
import numpy as np
import onnx
import pyarrow as pa
import pytest
from mock_predictor import MockPredictor, Reply
from under_test import CANDIDATES, as_tensors, rankings, refusal, replace, shadow, sign, without

from hemline import bundle as bundles
from hemline.pair import MODEL, PREDICTOR, v2_body

TOLERANCE = 1e-5
INFER, METADATA = f"/v2/models/{MODEL}/infer", f"/v2/models/{MODEL}"


@pytest.fixture(scope="module")
def http(pair) -> Iterator[httpx.Client]:
    """The pair's predictor."""
    with httpx.Client(base_url=pair.predictor.url, timeout=60) as http:
        yield http


@pytest.fixture(scope="module")
def metadata(http) -> dict:
    """What the predictor says of its model."""
    return http.get(METADATA).json()


@pytest.fixture(scope="module")
def plain_bundle(under_test, tmp_path_factory):
    """The bundle under test as it was before rankers took encoded features."""
    copy = shadow(under_test.bundle, tmp_path_factory.mktemp("plain") / "bundle")
    return without(copy, bundles.ENCODED_RANKER)


@pytest.fixture(scope="module")
def plain(under_test, plain_bundle, tmp_path_factory):
    """The pair over such a bundle."""
    with under_test.pair(tmp_path_factory.mktemp("logs"), bundle=plain_bundle) as pair:
        yield pair


@pytest.fixture
def rows(catalogue) -> pa.Table:
    """100 articles for a customer, every seventh in a group that nobody ever saw."""
    features = catalogue.features(catalogue.buyers(1)[0], catalogue.article_ids[:CANDIDATES])
    groups = features["garment_group_name"].to_pylist()
    groups[::7] = ["never seen ✂"] * len(groups[::7])
    position = features.column_names.index("garment_group_name")
    return features.set_column(position, "garment_group_name", pa.array(groups))


def is_alternative(tensor: dict) -> bool:
    """Whether an input stands for the others."""
    return tensor.get("parameters", {}).get("alternative", False)


def alternative(metadata: dict) -> dict:
    """The one input that does."""
    (found,) = filter(is_alternative, metadata["inputs"])
    return found


def encoded(metadata: dict, rows: pa.Table) -> dict[str, tuple[str, list]]:
    """The rows as docs/protocol.md says that they are encoded."""
    columns = []
    for column in json.loads(metadata["properties"]["encoding"]):
        values = rows[column["name"]].to_pylist()
        if "categories" in column:
            values = [column["categories"].get(value, column["unknown"]) for value in values]
        columns.append(values)
    return {alternative(metadata)["name"]: ("FP32", [list(row) for row in zip(*columns, strict=True)])}


def outputs(answer: httpx.Response) -> dict[str, list]:
    """The data of each output."""
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def refused(answer: httpx.Response) -> str:
    """Why a request was the caller's mistake."""
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), answer.text
    return answer.json()["error"]


def test_the_input_is_named_after_what_is_told_of_it(metadata, catalogue):
    text = metadata["properties"]["encoding"]
    assert [column["name"] for column in json.loads(text)] == [name for name, _ in catalogue.inputs]
    assert alternative(metadata) == {
        "name": f"encoded_{hashlib.sha256(text.encode()).hexdigest()[:8]}",
        "datatype": "FP32",
        "shape": [-1, len(catalogue.inputs)],
        "parameters": {"optional": True, "alternative": True},
    }


def test_encoded_rows_have_the_scores_and_explanations_of_the_same_rows_in_plain(http, metadata, rows):
    wanted = [{"name": "scores"}, {"name": "explanations"}]
    given, plain = (
        v2_body(**form) | {"outputs": wanted} for form in (encoded(metadata, rows), as_tensors(rows))
    )
    given, plain = (outputs(http.post(INFER, json=body)) for body in (given, plain))
    assert len(given["scores"]) == CANDIDATES
    assert np.abs(np.subtract(given["scores"], plain["scores"])).max() <= TOLERANCE
    assert given["explanations"] == plain["explanations"]


def test_ids_may_stand_beside_encoded_rows(http, metadata, rows):
    ids = [str(row) for row in range(len(rows))]
    body = v2_body(**encoded(metadata, rows), article_id=("BYTES", [[article] for article in ids]))
    assert outputs(http.post(INFER, json=body))["article_ids"] == ids


def test_a_request_in_both_forms_is_refused(http, metadata, rows):
    (name,) = given = encoded(metadata, rows)
    age = {"age": as_tensors(rows)["age"]}
    expected = f"input `age`: expected none beside `{name}`, which stands for it"
    assert refused(http.post(INFER, json=v2_body(**given, **age))).endswith(expected)
    assert refused(http.post(INFER, json=v2_body(**age, **given))).endswith(expected)


def test_rows_of_another_width_or_encoding_are_refused(http, metadata, rows):
    ((name, (datatype, values)),) = encoded(metadata, rows).items()
    width = len(values[0])
    narrow = refused(http.post(INFER, json=v2_body(**{name: (datatype, [row[1:] for row in values])})))
    assert f"input `{name}`: expected shape [-1, {width}], got [{len(rows)}, {width - 1}]" in narrow
    other = refused(http.post(INFER, json=v2_body(encoded_00000000=(datatype, values))))
    assert "input `encoded_00000000`: model" in other


def test_answers_are_those_of_a_bundle_without_encoded_features(pair, plain, catalogue):
    assert not any(map(is_alternative, of(plain)["inputs"]))
    questions = [catalogue.instance(customer) for customer in catalogue.buyers(50)]
    for one, other in zip(rankings(pair, questions), rankings(plain, questions), strict=True):
        assert_alike(one, other)


def of(pair) -> dict:
    """What a pair's predictor says of its model."""
    return httpx.get(f"{pair.predictor.url}{METADATA}").json()


def assert_alike(one: list[list], other: list[list]) -> None:
    """The same articles with the same scores, in places that are as good."""
    assert len(one) == len(other) == CANDIDATES
    scores = [{article: score for score, article in ranking} for ranking in (one, other)]
    assert scores[0] == pytest.approx(scores[1], abs=TOLERANCE)
    assert [score for score, _ in one] == pytest.approx([score for score, _ in other], abs=TOLERANCE)


def test_explanations_are_those_of_a_bundle_without_encoded_features(pair, plain, catalogue):
    for customer in catalogue.buyers(10):
        question = catalogue.instance(customer, k=20)
        one, other = (each.explain(question).json()["explanations"][0]["articles"] for each in (pair, plain))
        one, other = ({article["article_id"]: article for article in articles} for articles in (one, other))
        assert len(one) == 20
        for article in one.keys() & other.keys():
            assert one[article]["score"] == pytest.approx(other[article]["score"], abs=TOLERANCE)
            for part in ("features", "explanation", "retrieval"):
                assert one[article][part] == other[article][part]
        assert len(one.keys() & other.keys()) >= 19  # the last may tie


@pytest.fixture
def between(http, metadata):
    """Hands on what it is asked to the pair's predictor, and remembers the inputs."""
    asked: list[list[dict]] = []

    def hand_on(request: dict) -> Reply:
        asked.append(request["inputs"])
        answer = http.post(INFER, json=request)
        return Reply(answer.status_code, answer.content)

    with MockPredictor() as mock:
        mock.metadata, mock.reply, mock.inferences = Reply.of(metadata), hand_on, asked
        yield mock


def test_the_transformer_sends_the_matrix_alone(
    under_test, between, metadata, tmp_path, servers, a_question, pair
):
    servers.append(under_test.transformer(tmp_path, between.host))
    servers[0].wait_ready()
    answer = ask(servers[0], a_question)
    ((matrix,),) = between.inferences
    wanted = alternative(metadata)
    assert (matrix["name"], matrix["datatype"]) == (wanted["name"], "FP32")
    assert matrix["shape"] == [CANDIDATES, wanted["shape"][1]]
    assert answer == pair.predict(a_question).json()["predictions"][0]["ranking"]


@pytest.mark.parametrize(
    "change",
    [{"properties": {}}, {"properties": {"encoding": "[]"}}, {"properties": {"encoding": "{"}}],
)
def test_an_encoding_that_can_not_be_read_leaves_the_features_as_they_are(
    under_test, between, metadata, tmp_path, servers, a_question, catalogue, change
):
    between.metadata = Reply.of(metadata | change)
    servers.append(under_test.transformer(tmp_path, between.host))
    servers[0].wait_ready()
    ask(servers[0], a_question)
    (inputs,) = between.inferences
    assert {tensor["name"] for tensor in inputs} == {*(name for name, _ in catalogue.inputs), "article_id"}


def test_a_ranker_that_is_swapped_for_one_of_another_encoding_fails_nobody(
    under_test, between, metadata, tmp_path, servers, catalogue
):
    before, after = metadata, other_encoding(metadata)
    said = {"metadata": before}
    taken = []

    def answer(request: dict) -> Reply:
        (matrix,) = request["inputs"]
        if matrix["name"] != alternative(said["metadata"])["name"]:
            return Reply.of({"error": f"input `{matrix['name']}`: unknown", "code": "invalid_argument"}, 400)
        taken.append(matrix)
        scores = {"name": "scores", "datatype": "FP32", "shape": [CANDIDATES], "data": [0.5] * CANDIDATES}
        return Reply.of({"model_name": MODEL, "outputs": [scores]})

    between.metadata, between.reply = lambda: Reply.of(said["metadata"]), answer
    servers.append(under_test.transformer(tmp_path, between.host))
    servers[0].wait_ready()
    for _ in range(10):
        for said["metadata"] in (before, after):
            ask(servers[0], catalogue.instance(catalogue.buyers(1)[0]))
    one, other = (np.reshape(matrix["data"], matrix["shape"]) for matrix in taken[:2])
    is_category = ["categories" in column for column in json.loads(before["properties"]["encoding"])]
    assert np.array_equal(other[:, is_category], one[:, is_category] + 1)
    assert np.array_equal(other[:, np.logical_not(is_category)], one[:, np.logical_not(is_category)])


def other_encoding(metadata: dict) -> dict:
    """The same, where each category's number is larger by one."""
    columns = json.loads(metadata["properties"]["encoding"])
    for column in columns:
        if "categories" in column:
            column["categories"] = {text: number + 1 for text, number in column["categories"].items()}
            column["unknown"] += 1
    text = json.dumps(columns)
    name = f"encoded_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    renamed = alternative(metadata) | {"name": name}
    inputs = [renamed if is_alternative(tensor) else tensor for tensor in metadata["inputs"]]
    return metadata | {"inputs": inputs, "properties": metadata["properties"] | {"encoding": text}}


def ask(transformer, question: dict) -> list[list]:
    """One question's ranking."""
    answer = httpx.post(
        f"{transformer.url}/v1/models/{MODEL}:predict", json={"instances": [question]}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]["ranking"]


def test_a_predictor_behind_grpc_ranks_alike(under_test, tmp_path, servers, a_question, pair):
    servers.append(under_test.predictor(tmp_path / "predictor.log", "--grpc-port=0"))
    servers[0].wait_ready()
    address = next(line["grpc"] for line in servers[0].lines() if line.get("message") == "listening")
    servers.append(under_test.transformer(tmp_path, address, "--predictor-protocol=grpc-v2"))
    servers[1].wait_ready()
    assert ask(servers[1], a_question) == pair.predict(a_question).json()["predictions"][0]["ranking"]


@pytest.mark.parametrize("change", ["input", "width", "output"])
def test_a_graph_that_does_not_fit_the_ranker_is_refused(under_test, tmp_path, change):
    copy = shadow(under_test.bundle, tmp_path / "bundle")
    width = len(under_test.manifest["ranking"]["features"])
    replace(copy, bundles.ENCODED_RANKER, mean_of_rows(width, change))
    sign(copy)
    line = refusal(under_test, PREDICTOR, f"--model_dir={copy}")
    assert bundles.ENCODED_RANKER in line
    said = {
        "input": f'takes ["features FP32 [-1, {width}]"], expected ["encoded FP32 [-1, {width}]"]',
        "width": f'takes ["encoded FP32 [-1, {width + 1}]"], expected ["encoded FP32 [-1, {width}]"]',
        "output": 'gives ["margins FP32 [-1]"], ranker/model.onnx gives ["scores FP32 [-1]"]',
    }
    assert said[change] in line


def mean_of_rows(width: int, wrong: str) -> bytes:
    """A graph whose input, width or output is not what it should be."""
    given = "features" if wrong == "input" else "encoded"
    gives = "margins" if wrong == "output" else "scores"
    width += wrong == "width"
    number = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("ReduceMean", [given], [gives], axes=[1], keepdims=0)],
        "mean",
        [onnx.helper.make_tensor_value_info(given, number, ["rows", width])],
        [onnx.helper.make_tensor_value_info(gives, number, ["rows"])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()
