"""Triton's Python gRPC client works unchanged.

Its protobuf names are those of KServe's client, so the two can't be imported by one process.
"""

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from served import MISTAKES, Column, Served, check
from tritonclient.utils import InferenceServerException

NOT_FOUND, INVALID_ARGUMENT = "StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"
PERMISSION_DENIED, UNAVAILABLE = "StatusCode.PERMISSION_DENIED", "StatusCode.UNAVAILABLE"
FAILED_PRECONDITION = "StatusCode.FAILED_PRECONDITION"


@pytest.fixture
def client(served):
    """A client of the server."""
    with triton.InferenceServerClient(served.grpc) as client:
        yield client


def inputs(question: dict[str, Column]) -> list[triton.InferInput]:
    """The question as the client makes it: always raw."""
    tensors = []
    for name, column in question.items():
        tensor = triton.InferInput(name, column.shape, column.datatype)
        tensor.set_data_from_numpy(column.values)
        tensors.append(tensor)
    return tensors


def ask(client, served: Served, **more) -> triton.InferResult:
    """The answer to the question."""
    return client.infer(served.model, inputs(served.question), **more)


def read(answer: triton.InferResult) -> dict[str, np.ndarray]:
    """The outputs that the client read."""
    return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}


def test_it_reads_health_and_metadata(served, client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(served.model)
    assert client.is_model_ready(served.model, served.version)
    server, by_rest = client.get_server_metadata(), httpx.get(f"{served.url}/v2").json()
    found = {"name": server.name, "version": server.version, "extensions": list(server.extensions)}
    assert found == by_rest
    model = client.get_model_metadata(served.model)
    assert model == client.get_model_metadata(served.model, served.version)
    assert (model.name, list(model.versions)) == (served.model, [served.version])
    for ours, theirs in (
        (served.metadata["inputs"], model.inputs),
        (served.metadata["outputs"], model.outputs),
    ):
        told = [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in ours]
        assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in theirs] == told


def test_it_infers_with_numbers_and_texts(served, client):
    answer = ask(client, served)
    check(read(answer), served.answer)
    response = answer.get_response()
    assert response.model_name == served.model
    # It asks with raw tensors, and is answered with them.
    assert len(response.raw_output_contents) == len(served.answer)


def test_only_the_outputs_that_are_asked_for_come_in_their_order(served, client):
    names = list(served.answer)[1::-1]
    wanted = [triton.InferRequestedOutput(name) for name in names]
    check(read(ask(client, served, outputs=wanted)), served.answer, names)


def test_versions_ids_and_parameters(served, client):
    more = {"model_version": served.version, "request_id": "seven", "parameters": {"note": "a", "count": 3}}
    response = ask(client, served, **more).get_response()
    assert (response.id, response.model_version) == ("seven", served.version)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_messages_may_be_compressed(served, client, algorithm):
    check(read(ask(client, served, compression_algorithm=algorithm)), served.answer)


def refusal(call) -> tuple[str, str]:
    """Code and text of the client's own exception."""
    with pytest.raises(InferenceServerException) as raised:
        call()
    return raised.value.status(), raised.value.message()


def test_an_unknown_model_or_version_is_not_found(served, client):
    tensors = inputs(served.question)
    code, text = refusal(lambda: client.infer("nobody", tensors))
    assert code == NOT_FOUND
    assert "nobody" in text
    code, text = refusal(lambda: client.infer(served.model, tensors, model_version="999"))
    assert code == NOT_FOUND
    assert "999" in text
    assert refusal(lambda: client.get_model_metadata("nobody"))[0] == NOT_FOUND
    assert refusal(lambda: client.get_model_metadata(served.model, "999"))[0] == NOT_FOUND
    assert refusal(lambda: client.is_model_ready("nobody"))[0] == NOT_FOUND


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_input_is_an_invalid_argument_and_named(served, client, mistake):
    tensors = inputs(served.mistakes[mistake])
    code, text = refusal(lambda: client.infer(served.model, tensors))
    assert code == INVALID_ARGUMENT
    assert f"`{served.first}`" in text


def test_an_output_that_is_not_there_is_an_invalid_argument(served, client):
    wanted = [triton.InferRequestedOutput("shoe_size")]
    code, text = refusal(lambda: ask(client, served, outputs=wanted))
    assert code == INVALID_ARGUMENT
    assert "shoe_size" in text


def test_the_repository_lists_the_model(served, client):
    listed = client.get_model_repository_index().models
    (model,) = [model for model in listed if model.name == served.model]
    assert (model.version, model.state) == (served.version, "READY")


def test_nobody_loads_or_unloads_unless_a_flag_allows_it(served, client):
    for call in (client.load_model, client.unload_model):
        code, text = refusal(lambda call=call: call(served.model))
        assert code == PERMISSION_DENIED
        assert "--enable-control" in text
    assert client.is_model_ready(served.model)
    check(read(ask(client, served)), served.answer)


@pytest.fixture
def operator(controlled):
    """A client of the server that may be told to load and unload."""
    with triton.InferenceServerClient(controlled.served.grpc) as client:
        yield client


def listed(client, served: Served) -> tuple[str, str]:
    """State and reason of the model as the index has them."""
    (model,) = client.get_model_repository_index().models
    assert model.name == served.model
    return model.state, model.reason


def test_it_unloads_and_loads_a_model(controlled, predictor, operator):
    served = controlled.served
    operator.unload_model(served.model, unload_dependents=True)
    assert not operator.is_model_ready(served.model)
    assert operator.is_server_ready()
    assert listed(operator, served) == ("UNAVAILABLE", "unloaded")
    code, text = refusal(lambda: ask(operator, served))
    assert code == UNAVAILABLE
    assert served.model in text
    operator.load_model(served.model)
    assert operator.is_model_ready(served.model)
    assert listed(operator, served) == ("READY", "")
    check(read(ask(operator, served)), predictor.answer)


def test_a_model_that_can_not_be_loaded_is_a_failed_precondition_and_the_old_one_serves_on(
    controlled, predictor, operator
):
    served = controlled.served
    controlled.spoil()
    code, text = refusal(lambda: operator.load_model(served.model))
    assert code == FAILED_PRECONDITION
    assert served.model in text
    assert str(controlled.file.parent) not in text
    state, reason = listed(operator, served)
    assert (state, reason.partition(":")[0]) == ("READY", "the last load failed")
    check(read(ask(operator, served)), predictor.answer)


def test_a_model_that_nobody_has_is_not_loaded_or_unloaded(operator):
    for call in (operator.load_model, operator.unload_model):
        code, text = refusal(lambda call=call: call("nobody"))
        assert code == NOT_FOUND
        assert "nobody" in text


@pytest.mark.parametrize("files", [None, {"file:1/model.onnx": b"x"}], ids=["config", "files"])
def test_a_model_that_comes_with_the_call_is_an_invalid_argument(controlled, predictor, operator, files):
    served = controlled.served
    code, text = refusal(lambda: operator.load_model(served.model, config="{}", files=files))
    assert code == INVALID_ARGUMENT
    assert "field `parameters." in text
    check(read(ask(operator, served)), predictor.answer)
