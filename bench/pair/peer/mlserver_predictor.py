"""MLServer as the predictor: the native CatBoost model, a matrix of encoded features in, a score a row out.

Runs in MLServer's own environment.
"""

import argparse
import asyncio
import logging

import catboost
import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Ranker(MLModel):
    """As MLServer's own CatBoost runtime is, which answers labels where this one answers probabilities."""

    async def load(self) -> bool:
        """Reads the model."""
        self.forest = catboost.CatBoostClassifier(allow_writing_files=False)
        self.forest.load_model(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The scores of all rows."""
        encoded = NumpyCodec.decode_input(payload.inputs[0])
        scores = self.forest.predict_proba(encoded, thread_count=1)[:, 1].astype(np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])


async def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="CatBoost's own file")
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--http_port", type=int, required=True)
    parser.add_argument("--grpc_port", type=int, required=True)
    args = parser.parse_args()
    settings = Settings(
        host="127.0.0.1",
        http_port=args.http_port,
        grpc_port=args.grpc_port,
        metrics_endpoint=None,
        # In the process itself: a pool of workers is one more hop, and no more cores.
        parallel_workers=0,
        debug=False,
    )
    server = MLServer(settings)
    logging.disable(logging.INFO)
    where = {"uri": args.model}
    await server.start([ModelSettings(name=args.model_name, implementation=Ranker, parameters=where)])


if __name__ == "__main__":
    asyncio.run(main())
