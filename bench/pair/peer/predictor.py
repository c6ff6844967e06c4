"""The peer's predictor: the native CatBoost model on KServe's Python SDK."""

import argparse
import json
import logging
from pathlib import Path

import catboost
import numpy as np
from kserve import Model, ModelServer, model_server


class Ranker(Model):
    """Rows of features in, a score each out, with their ids."""

    def __init__(self, name: str, model: Path, bundle: Path) -> None:
        """Reads the model, and the number that training gave to each category."""
        super().__init__(name)
        self.forest = catboost.CatBoostClassifier(allow_writing_files=False).load_model(str(model))
        features = json.loads((bundle / "ranker/contributions.json").read_text())["features"]
        self.encoders = [(feature.get("numbers"), feature.get("unknown")) for feature in features]
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        """A prediction an instance."""
        return {"predictions": [self.prediction(instance) for instance in payload["instances"]]}

    def prediction(self, instance: dict) -> dict:
        """The scores of one list."""
        columns = list(zip(*instance["ranking_features"], strict=True))
        encoded = np.empty((len(columns[0]), len(self.encoders)), np.float32)
        for column, (numbers, unknown) in enumerate(self.encoders):
            values = columns[column]
            if numbers is not None:
                values = [numbers.get(value, unknown) for value in values]
            encoded[:, column] = values
        scores = self.forest.predict_proba(encoded, thread_count=1)[:, 1]
        return {"scores": scores.tolist(), "article_ids": instance["article_ids"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--model", type=Path, required=True, help="CatBoost's own file")
    parser.add_argument("--bundle", type=Path, required=True)
    args, _ = parser.parse_known_args()
    ranker = Ranker(args.model_name, args.model, args.bundle)
    ports = {"http_port": args.http_port, "grpc_port": args.grpc_port}
    server = ModelServer(**ports, workers=1, enable_latency_logging=False)
    logging.disable(logging.INFO)
    server.start([ranker])
