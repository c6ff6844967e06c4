"""A predictor made with KServe's Python SDK: one process, V1 and V2 REST and V2 gRPC, a model for each test.

`python kserve_predictor.py --model FILE.cbm [--http_port N] [--grpc_port N]`
"""

import uuid

import listen
import numpy as np
from forest import Forest, text
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput

INNER = "inner text of 10.0.0.1"


class Named(Model):
    """Says what it takes and gives, and answers with the ids that it was sent."""

    def __init__(self, name: str, forest: Forest) -> None:
        """Ready from the start."""
        super().__init__(name)
        self.forest, self.ready = forest, True

    def get_input_types(self) -> list[dict]:
        """The features, and the ids."""
        tensors = [(name, self.forest.datatype(name)) for name in self.forest.features]
        return [
            {"name": name, "datatype": datatype, "shape": [-1, 1]}
            for name, datatype in [*tensors, ("article_id", "BYTES")]
        ]

    def get_output_types(self) -> list[dict]:
        """The score and the ids."""
        return [
            {"name": "scores", "datatype": "FP32", "shape": [-1]},
            {"name": "article_ids", "datatype": "BYTES", "shape": [-1]},
        ]

    async def predict(self, payload, headers=None) -> dict | InferResponse:
        """V1 rows or V2 tensors to scores, best last, so that whoever relies on the order is found out."""
        if isinstance(payload, InferRequest):
            columns = {tensor.name: tensor.as_numpy().reshape(-1) for tensor in payload.inputs}
            ids, scores = self.score(columns, [text(value) for value in columns["article_id"]])
            outputs = [output("scores", "FP32", scores.astype(np.float32))]
            outputs.append(output("article_ids", "BYTES", np.array(ids, dtype=object)))
            return InferResponse(response_id(payload), self.name, outputs)
        predictions = []
        for instance in payload["instances"]:
            columns = self.columns(instance)
            ids, scores = self.score(columns, instance["article_ids"])
            predictions.append({"scores": scores.tolist(), "article_ids": ids})
        return {"predictions": predictions}

    def columns(self, instance: dict) -> dict[str, list]:
        """The columns of a V1 instance."""
        columns = zip(*instance["ranking_features"], strict=True)
        return dict(zip(self.forest.features, map(list, columns), strict=True))

    def score(self, columns: dict, ids: list[str]) -> tuple[list[str], np.ndarray]:
        """Ids and scores, the lowest first."""
        scores = self.forest.probabilities(columns)[:, 1]
        order = np.argsort(scores, kind="stable")
        return [ids[row] for row in order], scores[order]


class Classes(Named):
    """As KServe's sklearn server is: no metadata, a probability for each class, no ids."""

    def get_input_types(self) -> list[dict]:
        """Nothing."""
        return []

    def get_output_types(self) -> list[dict]:
        """Nothing."""
        return []

    async def predict(self, payload, headers=None) -> dict | InferResponse:
        """V2 tensors to `predict_proba`; V1 rows to scores with no ids beside them."""
        if isinstance(payload, InferRequest):
            columns = {tensor.name: tensor.as_numpy().reshape(-1) for tensor in payload.inputs}
            probabilities = self.forest.probabilities(columns)
            outputs = [output("predict_proba", "FP64", probabilities)]
            return InferResponse(response_id(payload), self.name, outputs)
        tables = [self.columns(instance) for instance in payload["instances"]]
        scores = [self.forest.probabilities(columns)[:, 1].tolist() for columns in tables]
        return {"predictions": [{"scores": values} for values in scores]}


class Echoing(Named):
    """Gives its answer the request's own id, which KServe's SDK demands to be a text over REST."""

    async def predict(self, payload, headers=None) -> InferResponse:
        """As Named, with that id."""
        answer = await super().predict(payload, headers)
        answer.id = payload.id
        return answer


class Talkative(Named):
    """Says more than it is asked: its margins, which are not always numbers."""

    async def predict(self, payload, headers=None) -> InferResponse:
        """As Named, after an output with a NaN, which KServe writes as null."""
        answer = await super().predict(payload, headers)
        margins = np.array([np.nan, 1.0], np.float32)
        answer.outputs.insert(0, output("margins", "FP32", margins))
        return answer


class Broken(Named):
    """Fails by itself."""

    async def predict(self, payload, headers=None) -> dict:
        """500."""
        raise RuntimeError(INNER)


class Moody(Named):
    """Fails by itself, but not always."""

    asked = 0

    async def predict(self, payload, headers=None) -> dict | InferResponse:
        """500 for the first request and for each third one after it."""
        self.asked += 1
        if self.asked % 3 == 1:
            raise RuntimeError(INNER)
        return await super().predict(payload, headers)


class Refusing(Named):
    """Refuses whatever it is asked."""

    async def predict(self, payload, headers=None) -> dict:
        """400."""
        raise InvalidInput(INNER)


class Asleep(Named):
    """There, and never ready."""

    async def healthy(self) -> bool:
        """503."""
        return False


MODELS = (Named, Classes, Echoing, Talkative, Broken, Moody, Refusing, Asleep)


def response_id(request: InferRequest) -> str:
    """The request's id, or one that is made for it, as KServe's `get_predict_response` does."""
    return request.id or str(uuid.uuid4())


def output(name: str, datatype: str, values: np.ndarray) -> InferOutput:
    """An output tensor."""
    tensor = InferOutput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=False)
    return tensor


def main() -> None:
    """Serves until it is told to stop."""
    told = listen.arguments(model={"required": True})
    forest = Forest(told.model)
    models = [model(model.__name__.lower(), forest) for model in MODELS]
    server = ModelServer(http_port=told.http_port, grpc_port=told.grpc_port, enable_grpc=True, workers=1)
    listen.say(told)
    server.start(models)


if __name__ == "__main__":
    main()
