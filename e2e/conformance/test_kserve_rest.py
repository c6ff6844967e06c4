"""KServe's Python REST client works unchanged, over V1 and V2, with JSON and with binary tensors."""

import asyncio
import json
from collections.abc import Callable, Coroutine

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from served import MISTAKES, Column, Served, check

Call = Callable[[InferenceRESTClient], Coroutine]


class Wire(httpx.AsyncHTTPTransport):
    """What a client hears: once it has read an answer, it does not say any more which outputs were binary."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As ever, with the answer kept."""
        self.answer = await super().handle_async_request(request)
        return self.answer

    @property
    def binary(self) -> list[str]:
        """The outputs that came as binary tensors."""
        length = self.answer.headers.get("inference-header-content-length")
        body = json.loads(self.answer.content[: int(length)] if length else self.answer.content)
        return [output["name"] for output in body["outputs"] if "data" not in output]


def run(protocol: str, call: Call, wire: Wire | None = None) -> object:
    """What one call of a client gives."""

    async def once() -> object:
        config = RESTConfig(protocol=protocol, retries=0, transport=wire)
        async with InferenceRESTClient(config) as client:
            return await call(client)

    return asyncio.run(once())


def tensor(name: str, column: Column, binary: bool) -> InferInput:
    """An input as the client makes it."""
    made = InferInput(name, column.shape, column.datatype)
    made.set_data_from_numpy(column.values, binary_data=binary)
    return made


def infer(
    served: Served, question: dict[str, Column], *, binary: bool = False, wire: Wire | None = None, **more
) -> InferResponse:
    """The client's answer over V2."""
    inputs = [tensor(name, column, binary) for name, column in question.items()]
    request = InferRequest(served.model, inputs, **more)
    return run("v2", lambda client: client.infer(served.url, request, served.model), wire)


def read(answer: InferResponse) -> dict[str, np.ndarray]:
    """The outputs that the client read."""
    return {output.name: output.as_numpy() for output in answer.outputs}


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_it_reads_health(served, protocol):
    assert run(protocol, lambda client: client.is_server_live(served.url)) is True
    assert run(protocol, lambda client: client.is_model_ready(served.url, served.model)) is True
    if protocol == "v2":
        assert run(protocol, lambda client: client.is_server_ready(served.url)) is True
        assert run(protocol, lambda client: client.is_model_ready(served.url, "nobody")) is False


def test_it_reads_v1(served):
    answer = run("v1", lambda client: client.infer(served.url, served.v1_body(), served.model))
    assert answer == {"predictions": served.predictions}


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_it_infers_with_numbers_and_texts(served, binary):
    wire = Wire()
    answer = infer(served, served.question, binary=binary, wire=wire)
    check(read(answer), served.answer)
    assert answer.model_name == served.model
    assert wire.binary == []


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_binary_outputs_come_where_they_are_asked_for(served, binary):
    wire, parameters = Wire(), {"binary_data_output": True}
    answer = infer(served, served.question, binary=binary, wire=wire, parameters=parameters)
    check(read(answer), served.answer)
    assert wire.binary == list(served.answer)


def test_inputs_may_be_binary_and_json_in_one_request(predictor):
    inputs = [
        tensor(name, column, binary=column.datatype == "FP32") for name, column in predictor.question.items()
    ]
    request = InferRequest(predictor.model, inputs)
    answer = run("v2", lambda client: client.infer(predictor.url, request, predictor.model))
    check(read(answer), predictor.answer)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_only_the_outputs_that_are_asked_for_come_in_their_order(served, binary):
    names = list(served.answer)[1::-1]
    wanted = [RequestedOutput(name, {"binary_data": binary}) for name in names]
    wire = Wire()
    answer = infer(served, served.question, wire=wire, request_outputs=wanted)
    check(read(answer), served.answer, names)
    assert wire.binary == (names if binary else [])


def test_an_output_says_for_itself_whether_it_is_binary(served):
    first, second = list(served.answer)[:2]
    wanted = [RequestedOutput(first, {"binary_data": True}), RequestedOutput(second, {"binary_data": False})]
    wire = Wire()
    answer = infer(served, served.question, wire=wire, request_outputs=wanted)
    check(read(answer), served.answer, [first, second])
    assert wire.binary == [first]


def test_ids_come_back_and_parameters_are_taken(served):
    parameters = {"note": "a", "count": 3, "sure": True}
    answer = infer(served, served.question, request_id="seven", parameters=parameters)
    assert answer.id == "seven"
    check(read(answer), served.answer)


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    """Status and text of the client's own exception."""
    with pytest.raises(httpx.HTTPStatusError) as raised:
        call()
    return raised.value.response.status_code, str(raised.value)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_an_unknown_model_is_404(served, protocol):
    body = served.v1_body() if protocol == "v1" else served.body()
    status, text = refusal(lambda: run(protocol, lambda client: client.infer(served.url, body, "nobody")))
    assert status == 404
    assert "nobody" in text


def test_what_a_v1_model_does_not_take_is_400(served):
    body = {"instances": [{"customer_id": 7}]}
    status, text = refusal(lambda: run("v1", lambda client: client.infer(served.url, body, served.model)))
    assert status == 400
    assert "field `" in text


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_input_is_400_and_named(served, mistake, binary):
    status, text = refusal(lambda: infer(served, served.mistakes[mistake], binary=binary))
    assert status == 400
    assert f"`{served.first}`" in text


def test_an_output_that_is_not_there_is_400(served):
    wanted = [RequestedOutput("shoe_size")]
    status, text = refusal(lambda: infer(served, served.question, request_outputs=wanted))
    assert status == 400
    assert "shoe_size" in text


def test_it_explains(served):
    answer = run("v1", lambda client: client.explain(served.url, served.model, served.v1_body()))
    assert len(answer["explanations"]) == 1


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_it_sees_a_model_go_and_come_back(controlled, protocol):
    served = controlled.served
    body = served.v1_body() if protocol == "v1" else served.body()

    def control(what: str) -> None:
        # Its client has no method for this. Its servers take a POST without a body, and say what they did.
        path = f"/v2/repository/models/{served.model}/{what}"
        answer = httpx.post(served.url + path, timeout=30)
        assert (answer.status_code, answer.json()) == (200, {"name": served.model, what: True})

    def is_ready() -> bool:
        return run(protocol, lambda client: client.is_model_ready(served.url, served.model))

    def ask() -> object:
        return run(protocol, lambda client: client.infer(served.url, body, served.model))

    control("unload")
    assert is_ready() is False
    status, text = refusal(ask)
    assert status == 503
    assert served.model in text
    control("load")
    assert is_ready() is True
    assert ask()
