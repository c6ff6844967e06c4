"""A predictor made with MLServer: one process, V2 REST and gRPC, a model for each test.

`python mlserver_predictor.py --model FILE.cbm [--http_port N] [--grpc_port N]`
"""

import asyncio

import listen
import numpy as np
from forest import Forest
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters

INNER = "inner text of 10.0.0.1"


class Named(MLModel):
    """Says what it takes and gives, and answers with the ids that it was sent."""

    async def load(self) -> bool:
        """Reads the model."""
        self.forest = Forest(self.settings.parameters.uri)
        self.inputs = [
            MetadataTensor(name=name, datatype=self.forest.datatype(name), shape=[-1, 1])
            for name in self.forest.features
        ]
        text = Parameters(content_type="str")
        self.inputs.append(
            MetadataTensor(name="article_id", datatype="BYTES", shape=[-1, 1], parameters=text)
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Tensors to scores, best last, so that whoever relies on the order is found out."""
        columns = self.columns(payload)
        scores = self.forest.probabilities(columns)[:, 1]
        order = np.argsort(scores, kind="stable")
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                # The codecs' own shapes: [rows, 1] for both.
                NumpyCodec.encode_output("scores", scores[order].astype(np.float32)),
                StringCodec.encode_output("article_ids", [columns["article_id"][row] for row in order]),
            ],
        )

    def columns(self, payload: InferenceRequest) -> dict[str, list]:
        """The request's columns by name."""
        texts = {"article_id", *self.forest.categories}
        codecs = ((tensor, StringCodec if tensor.name in texts else NumpyCodec) for tensor in payload.inputs)
        return {tensor.name: list(np.ravel(codec.decode_input(tensor))) for tensor, codec in codecs}


class Classes(Named):
    """As MLServer's sklearn runtime is: no metadata, a probability for each class, no ids."""

    async def load(self) -> bool:
        """Reads the model, and says nothing of it."""
        await super().load()
        self.inputs = []
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Tensors to `predict_proba`."""
        probabilities = self.forest.probabilities(self.columns(payload))
        output = NumpyCodec.encode_output("predict_proba", probabilities)
        return InferenceResponse(model_name=self.name, outputs=[output])


class Broken(Named):
    """Fails by itself."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """500."""
        raise RuntimeError(INNER)


class Moody(Named):
    """Fails by itself, but not always."""

    async def load(self) -> bool:
        """Has not been asked yet."""
        self.asked = 0
        return await super().load()

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """500 for the first request and for each third one after it."""
        self.asked += 1
        if self.asked % 3 == 1:
            raise RuntimeError(INNER)
        return await super().predict(payload)


class Refusing(Named):
    """Refuses whatever it is asked."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """400."""
        raise InferenceError(INNER)


async def main() -> None:
    """Serves until it is told to stop."""
    told = listen.arguments(model={"required": True})
    settings = Settings(
        host=told.host,
        http_port=told.http_port,
        grpc_port=told.grpc_port,
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
    )
    server = MLServer(settings)
    listen.say(told)
    where = {"uri": told.model, "version": "7"}
    await server.start(
        [
            ModelSettings(name=runtime.__name__.lower(), implementation=runtime, parameters=where)
            for runtime in (Named, Classes, Broken, Moody, Refusing)
        ]
    )


if __name__ == "__main__":
    asyncio.run(main())
