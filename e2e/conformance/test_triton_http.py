"""Triton's Python HTTP client works unchanged: JSON and binary tensors, versions, compression, repository."""

import numpy as np
import pytest
import tritonclient.http as triton
from served import MISTAKES, Column, Served, check
from tritonclient.utils import InferenceServerException


@pytest.fixture
def client(served):
    """A client of the server."""
    with triton.InferenceServerClient(served.rest) as client:
        yield client


def inputs(question: dict[str, Column], binary: bool) -> list[triton.InferInput]:
    """The question as the client makes it."""
    tensors = []
    for name, column in question.items():
        tensor = triton.InferInput(name, column.shape, column.datatype)
        tensor.set_data_from_numpy(column.values, binary_data=binary)
        tensors.append(tensor)
    return tensors


def ask(client, served: Served, *, binary: bool = False, **more) -> triton.InferResult:
    """The answer to the question."""
    return client.infer(served.model, inputs(served.question, binary), **more)


def read(answer: triton.InferResult) -> dict[str, np.ndarray]:
    """The outputs that the client read."""
    return {output["name"]: answer.as_numpy(output["name"]) for output in answer.get_response()["outputs"]}


def binary(answer: triton.InferResult) -> list[str]:
    """The outputs that came as binary tensors."""
    return [output["name"] for output in answer.get_response()["outputs"] if "data" not in output]


def test_it_reads_health_and_metadata(served, client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(served.model)
    assert client.is_model_ready(served.model, served.version)
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready(served.model, "999")
    server, model = client.get_server_metadata(), client.get_model_metadata(served.model)
    assert {"name", "version", "extensions"} <= set(server)
    assert model == client.get_model_metadata(served.model, served.version)
    assert (model["name"], model["versions"]) == (served.model, [served.version])
    assert model["platform"]
    assert set(served.question) <= {tensor["name"] for tensor in model["inputs"]}
    assert {tensor["name"] for tensor in model["outputs"]} == set(served.answer) | served.on_request


@pytest.mark.parametrize("binary_inputs", [False, True], ids=["json-in", "binary-in"])
@pytest.mark.parametrize("binary_outputs", [False, True], ids=["json-out", "binary-out"])
def test_it_infers_with_numbers_and_texts(served, client, binary_inputs, binary_outputs):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_outputs) for name in served.answer]
    answer = ask(client, served, binary=binary_inputs, outputs=wanted)
    check(read(answer), served.answer)
    assert binary(answer) == (list(served.answer) if binary_outputs else [])


def test_no_outputs_named_means_all_and_the_clients_default_is_binary(served, client):
    answer = ask(client, served, binary=True)
    check(read(answer), served.answer)
    assert binary(answer) == list(served.answer)


def test_the_extension_is_announced(served, client):
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]


def test_only_the_outputs_that_are_asked_for_come_in_their_order(served, client):
    names = list(served.answer)[1::-1]
    wanted = [triton.InferRequestedOutput(name, binary_data=index == 0) for index, name in enumerate(names)]
    answer = ask(client, served, binary=True, outputs=wanted)
    check(read(answer), served.answer, names)
    assert binary(answer) == names[:1]


def test_versions_ids_and_parameters(served, client):
    more = {"model_version": served.version, "request_id": "seven", "parameters": {"note": "a", "count": 3}}
    response = ask(client, served, **more).get_response()
    assert (response["id"], response["model_version"]) == ("seven", served.version)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_bodies_may_be_compressed(served, client, algorithm):
    how = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    for binary in (False, True):
        check(read(ask(client, served, binary=binary, **how)), served.answer)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_no_rows_have_no_scores(predictor, binary):
    empty = {name: Column(column.datatype, column.values[:0]) for name, column in predictor.question.items()}
    with triton.InferenceServerClient(predictor.rest) as client:
        answer = client.infer(predictor.model, inputs(empty, binary))
    assert {name: values.size for name, values in read(answer).items()} == {"scores": 0, "article_ids": 0}


def refusal(call) -> tuple[str, str]:
    """Status and text of the client's own exception."""
    with pytest.raises(InferenceServerException) as raised:
        call()
    return raised.value.status(), raised.value.message()


def test_an_unknown_model_or_version_is_404(served, client):
    tensors = inputs(served.question, binary=True)
    status, text = refusal(lambda: client.infer("nobody", tensors))
    assert status == "404"
    assert "nobody" in text
    status, text = refusal(lambda: client.infer(served.model, tensors, model_version="999"))
    assert status == "404"
    assert "999" in text
    assert refusal(lambda: client.get_model_metadata("nobody"))[0] == "404"
    assert refusal(lambda: client.get_model_metadata(served.model, "999"))[0] == "404"


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_input_is_400_and_named(served, client, mistake, binary):
    tensors = inputs(served.mistakes[mistake], binary)
    status, text = refusal(lambda: client.infer(served.model, tensors))
    assert status == "400"
    assert f"`{served.first}`" in text


def test_an_output_that_is_not_there_is_400(served, client):
    wanted = [triton.InferRequestedOutput("shoe_size")]
    status, text = refusal(lambda: ask(client, served, outputs=wanted))
    assert status == "400"
    assert "shoe_size" in text


def test_the_repository_lists_the_model(served, client):
    (model,) = [model for model in client.get_model_repository_index() if model["name"] == served.model]
    assert (model["version"], model["state"]) == (served.version, "READY")


def test_nobody_loads_or_unloads_unless_a_flag_allows_it(served, client):
    for call in (client.load_model, client.unload_model):
        status, text = refusal(lambda call=call: call(served.model))
        assert status == "403"
        assert "--enable-control" in text
    assert client.is_model_ready(served.model)
    check(read(ask(client, served)), served.answer)


@pytest.fixture
def operator(controlled):
    """A client of the server that may be told to load and unload."""
    with triton.InferenceServerClient(controlled.served.rest) as client:
        yield client


def listed(client, served: Served) -> tuple[str, str]:
    """State and reason of the model as the index has them."""
    (model,) = client.get_model_repository_index()
    assert model["name"] == served.model
    return model["state"], model["reason"]


def test_it_unloads_and_loads_a_model(controlled, predictor, operator):
    served = controlled.served
    operator.unload_model(served.model, unload_dependents=True)
    assert not operator.is_model_ready(served.model)
    assert operator.is_server_ready()
    assert listed(operator, served) == ("UNAVAILABLE", "unloaded")
    status, text = refusal(lambda: ask(operator, served, binary=True))
    assert status == "503"
    assert served.model in text
    operator.load_model(served.model)
    assert operator.is_model_ready(served.model)
    assert listed(operator, served) == ("READY", "")
    check(read(ask(operator, served, binary=True)), predictor.answer)


def test_a_model_that_can_not_be_loaded_is_409_and_the_old_one_serves_on(controlled, predictor, operator):
    served = controlled.served
    controlled.spoil()
    status, text = refusal(lambda: operator.load_model(served.model))
    assert status == "409"
    assert served.model in text
    assert str(controlled.file.parent) not in text
    state, reason = listed(operator, served)
    assert (state, reason.partition(":")[0]) == ("READY", "the last load failed")
    check(read(ask(operator, served)), predictor.answer)


def test_a_model_that_nobody_has_is_not_loaded_or_unloaded(operator):
    for call in (operator.load_model, operator.unload_model):
        status, text = refusal(lambda call=call: call("nobody"))
        assert status == "404"
        assert "nobody" in text


@pytest.mark.parametrize("files", [None, {"file:1/model.onnx": b"x"}], ids=["config", "files"])
def test_a_model_that_comes_with_the_call_is_400(controlled, predictor, operator, files):
    served = controlled.served
    status, text = refusal(lambda: operator.load_model(served.model, config="{}", files=files))
    assert status == "400"
    assert "field `parameters." in text
    check(read(ask(operator, served)), predictor.answer)
