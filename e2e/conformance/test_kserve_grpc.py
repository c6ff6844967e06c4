"""KServe's Python gRPC client works unchanged, with typed and with raw tensors."""

import asyncio
from collections.abc import Callable, Coroutine

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest, InferResponse
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from served import MISTAKES, Column, Served, check

Call = Callable[[InferenceGRPCClient], Coroutine]


def run(served: Served, call: Call) -> object:
    """What one call of a client gives."""

    async def once() -> object:
        async with InferenceGRPCClient(served.grpc) as client:
            return await call(client)

    return asyncio.run(once())


def infer(served: Served, question: dict[str, Column], *, raw: bool = False, **more) -> InferResponse:
    """The client's answer."""
    inputs = []
    for name, column in question.items():
        tensor = InferInput(name, column.shape, column.datatype)
        tensor.set_data_from_numpy(column.values, binary_data=raw)
        inputs.append(tensor)
    request = InferRequest(more.pop("model", served.model), inputs, **more)
    return run(served, lambda client: client.infer(request))


def read(answer: InferResponse) -> dict[str, np.ndarray]:
    """The outputs that the client read."""
    return {output.name: output.as_numpy() for output in answer.outputs}


def test_it_reads_health(served):
    assert run(served, lambda client: client.is_server_live()) is True
    assert run(served, lambda client: client.is_server_ready()) is True
    assert run(served, lambda client: client.is_model_ready(served.model)) is True


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
def test_it_infers_with_numbers_and_texts(served, raw):
    answer = infer(served, served.question, raw=raw, request_id="seven", parameters={"note": "a", "count": 3})
    check(read(answer), served.answer)
    assert (answer.model_name, answer.model_version) == (served.model, served.version)
    assert answer.id == "seven"


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Code and text of the client's own exception."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


def test_an_unknown_model_is_not_found(served):
    code, text = refusal(lambda: infer(served, served.question, model="nobody"))
    assert code == grpc.StatusCode.NOT_FOUND
    assert "nobody" in text
    code, _ = refusal(lambda: run(served, lambda client: client.is_model_ready("nobody")))
    assert code == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_input_is_an_invalid_argument_and_named(served, mistake, raw):
    code, text = refusal(lambda: infer(served, served.mistakes[mistake], raw=raw))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"`{served.first}`" in text


@pytest.fixture
def stub(controlled):
    """KServe's own stub, for what its client has no method for: it names a model in field 1."""
    with grpc.insecure_channel(controlled.served.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)


def test_its_messages_unload_and_load_a_model(controlled, predictor, stub):
    served = controlled.served
    name = served.model
    answer = stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name=name))
    assert (answer.model_name, answer.isUnloaded) == (name, True)
    assert run(served, lambda client: client.is_model_ready(name)) is False
    code, text = refusal(lambda: infer(served, served.question))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert name in text
    answer = stub.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name=name))
    assert (answer.model_name, answer.isLoaded) == (name, True)
    assert run(served, lambda client: client.is_model_ready(name)) is True
    check(read(infer(served, served.question, raw=True)), predictor.answer)


def test_its_messages_are_refused_with_the_reasons_code(controlled, stub):
    load, unload = messages.RepositoryModelLoadRequest, messages.RepositoryModelUnloadRequest
    for call in (
        lambda: stub.RepositoryModelLoad(load(model_name="nobody")),
        lambda: stub.RepositoryModelUnload(unload(model_name="nobody")),
    ):
        code, text = refusal(call)
        assert code == grpc.StatusCode.NOT_FOUND
        assert "nobody" in text
    controlled.spoil()
    code, text = refusal(lambda: stub.RepositoryModelLoad(load(model_name=controlled.served.model)))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert controlled.served.model in text
