"""A ranker that a request chooses answers the same by V1, V2 and gRPC, and says the same of its answer."""

import json
from collections.abc import Iterator, Sequence

import grpc
import httpx
import numpy as np
import pytest
from conftest import addresses
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from mock_predictor import MockPredictor, Reply, told

from hemline.pair import MODEL, predictions

LLM, ROWS, MUTE = "llmranking", "rows", "mute"
CONTENTS = {"BYTES": "bytes_contents", "FP32": "fp32_contents", "INT32": "int_contents"}


class Asked:
    """A transformer with two rankers, asked in every way: the answers as V2 has them, but for V1's own."""

    def __init__(self, rest: str, grpc: str, instance: dict) -> None:
        """Where it listens for REST and gRPC, and a good instance."""
        self.http, self.address = httpx.Client(base_url=f"http://{rest}", timeout=60), grpc
        self.instance = instance

    def v1(self, verb: str, instances: Sequence[dict]) -> dict:
        """By one of V1's verbs."""
        answer = self.http.post(f"/v1/models/{MODEL}:{verb}", json={"instances": instances})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def v2(self, instances: Sequence[dict], *outputs: str) -> dict:
        """By V2 REST, for these outputs or all."""
        options = {"name": "options", "datatype": "BYTES", "shape": [len(instances)]}
        body = {"inputs": [options | {"data": [json.dumps(instance) for instance in instances]}]}
        named = {"outputs": [{"name": name} for name in outputs]} if outputs else {}
        answer = self.http.post(f"/v2/models/{MODEL}/infer", json=body | named)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def v2_grpc(self, instances: Sequence[dict], *outputs: str) -> dict:
        """By gRPC, with KServe's own stub."""
        tensor, wanted = messages.ModelInferRequest.InferInputTensor, messages.ModelInferRequest
        texts = [json.dumps(instance).encode() for instance in instances]
        contents = messages.InferTensorContents(bytes_contents=texts)
        options = tensor(name="options", datatype="BYTES", shape=[len(instances)], contents=contents)
        named = [wanted.InferRequestedOutputTensor(name=name) for name in outputs]
        request = messages.ModelInferRequest(model_name=MODEL, inputs=[options], outputs=named)
        with grpc.insecure_channel(self.address) as channel:
            answer = GRPCInferenceServiceStub(channel).ModelInfer(request)
        return {"outputs": [as_json(output) for output in answer.outputs]}


def as_json(output: messages.ModelInferResponse.InferOutputTensor) -> dict:
    """An output tensor as REST has it."""
    values = list(getattr(output.contents, CONTENTS[output.datatype]))
    data = [value.decode() if isinstance(value, bytes) else value for value in values]
    return {"name": output.name, "shape": list(output.shape), "data": data}


@pytest.fixture(scope="module")
def asked(make_pair, transformer, tmp_path_factory) -> Iterator[Asked]:
    """Over a predictor, with one that explains and had no scores of its own, by V2 and V1, and a mute one."""
    with MockPredictor() as mock, MockPredictor() as mute:
        mock.outputs = [{"name": "explanations", "datatype": "BYTES", "shape": [-1]}]
        mock.reply = degraded
        flags = [f"--ranker={LLM}={mock.host}", f"--ranker={ROWS}={mock.host},protocol=v1"]
        flags.append(f"--ranker={MUTE}={mute.host}")
        with make_pair(tmp_path_factory.mktemp("rankers"), *flags) as pair:
            yield Asked(*addresses(pair.transformer), transformer.instance)


def degraded(request: dict) -> Reply:
    """What one says who explains, and had no scores of its own."""
    return told(request, degraded="nobody there", defaults=20)


def narrowed(answer: list[dict]) -> list[dict]:
    """Predictions with scores as the FP32 that they are, however many digits a protocol shows."""
    return [
        prediction | {"ranking": [[np.float32(score), article] for score, article in prediction["ranking"]]}
        for prediction in answer
    ]


def test_a_ranker_is_picked_by_its_name_in_every_protocol(asked):
    instances = [asked.instance | {"ranker": name} for name in (LLM, "ranking", ROWS)]
    by_v1 = narrowed(predictions(asked.v1("predict", instances)))
    assert [prediction["ranker"] for prediction in by_v1] == [LLM, "ranking", ROWS]
    assert narrowed(predictions(asked.v2(instances))) == by_v1
    assert narrowed(predictions(asked.v2_grpc(instances))) == by_v1


def test_what_a_ranker_says_of_its_scores_is_told_in_every_protocol(asked):
    instances = [asked.instance | {"ranker": name} for name in (LLM, ROWS)]
    for answer in (asked.v1("predict", instances), asked.v2(instances), asked.v2_grpc(instances)):
        said = [(prediction["degraded"], prediction["defaults"]) for prediction in predictions(answer)]
        assert said == [(f"{name}: nobody there", 20) for name in (LLM, ROWS)]


def test_explanations_are_the_same_by_every_protocol(asked):
    instances = [asked.instance | {"ranker": LLM}, asked.instance | {"ranker": ROWS, "k": 5}]
    by_v1 = asked.v1("explain", instances)["explanations"]
    assert [len(explanation["articles"]) for explanation in by_v1] == [3, 5]
    for answer in (asked.v2(instances, "explanations"), asked.v2_grpc(instances, "explanations")):
        (output,) = answer["outputs"]
        assert (output["name"], output["shape"]) == ("explanations", [2])
        assert [json.loads(text) for text in output["data"]] == by_v1


def test_a_ranker_that_does_not_explain_is_told_of_in_every_protocol(asked):
    text, instances = f"predictor `{MUTE}` does not explain", [asked.instance | {"ranker": MUTE}]
    answer = asked.http.post(f"/v1/models/{MODEL}:explain", json={"instances": instances})
    assert (answer.status_code, answer.json()["error"]) == (501, text)
    with pytest.raises(grpc.RpcError) as raised:
        asked.v2_grpc(instances, "explanations")
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, text)
