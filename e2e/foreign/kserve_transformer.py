"""A transformer made with KServe's Python SDK: ranks the rows of a V1 request by what the predictor says.

`python kserve_transformer.py --model_name M --predictor_host H --predictor_protocol v1|v2|grpc-v2
--features NAME=DATATYPE,…`: the predictor's, in the order of the rows.
"""

import uuid

import listen
import numpy as np
from forest import text
from kserve import InferInput, InferRequest, InferResponse, Model, ModelServer
from kserve.predictor_config import PredictorConfig


class Transformer(Model):
    """Makes the predictor's request of an instance, and a ranking of its answer."""

    def __init__(self, name: str, protocol: str, features: list[tuple[str, str]]) -> None:
        """Ready from the start: KServe's base class calls the predictor."""
        super().__init__(name)
        self.features = features
        self.protocol, self.ready = protocol, True

    async def preprocess(self, payload: dict, headers=None) -> dict | InferRequest:
        """The instance as it is for V1, as tensors for V2."""
        if self.protocol == "v1":
            return payload
        (instance,) = payload["instances"]
        columns = zip(*instance["ranking_features"], strict=True)
        named = zip(self.features, columns, strict=True)
        inputs = [tensor(name, datatype, values) for (name, datatype), values in named]
        inputs.append(tensor("article_id", "BYTES", instance["article_ids"]))
        return InferRequest(self.name, inputs, request_id=str(uuid.uuid4()))

    async def postprocess(self, result: dict | InferResponse, headers=None) -> dict:
        """Pairs of score and id, best first."""
        if isinstance(result, InferResponse):
            outputs = {output.name: output.as_numpy().reshape(-1) for output in result.outputs}
            pairs = zip(outputs["scores"].tolist(), map(text, outputs["article_ids"]), strict=True)
        else:
            (prediction,) = result["predictions"]
            pairs = zip(prediction["scores"], prediction["article_ids"], strict=True)
        return {"predictions": [{"ranking": sorted(pairs, key=lambda pair: -pair[0])}]}


def tensor(name: str, datatype: str, values) -> InferInput:
    """An input of [rows, 1]."""
    column = InferInput(name, [len(values), 1], datatype)
    kind = object if datatype == "BYTES" else np.float32
    column.set_data_from_numpy(np.array(values, dtype=kind).reshape(-1, 1), binary_data=False)
    return column


def main() -> None:
    """Serves until it is told to stop."""
    told = listen.arguments(
        model_name={"required": True},
        predictor_host={"required": True},
        predictor_protocol={"default": "v1"},
        features={"required": True},
    )
    behind = PredictorConfig(told.predictor_host, told.predictor_protocol, predictor_health_check=True)
    server = ModelServer(
        http_port=told.http_port, grpc_port=told.grpc_port, predictor_config=behind, workers=1
    )
    listen.say(told)
    features = [tuple(feature.split("=")) for feature in told.features.split(",")]
    server.start([Transformer(told.model_name, told.predictor_protocol, features)])


if __name__ == "__main__":
    main()
