"""The peer's transformer: KServe's Python SDK over the same bundle, as a careful user of it would write it.

Everything that a request needs is in memory before the first one: article attributes as lists of strings,
ages in a dict, customer vectors in an array, the article embeddings in hnswlib, the query tower as four
NumPy matrices. Runs in an environment of its own, not in the pipelines'.

A V1 predictor is sent the recipe's rows of raw features. A V2 one is sent a matrix of the numbers that
training gave to them, which is what it would make of the rows.
"""

import argparse
import csv
import hashlib
import json
import logging
import math
from contextvars import ContextVar
from pathlib import Path

import hnswlib
import numpy as np
import onnx
import pyarrow as pa
from kserve import InferInput, InferRequest, Model, ModelServer, model_server
from onnx import numpy_helper

KEY_BYTES = 16
NUMBERS = 3  # features of the request, before those of the articles


class Recommender(Model):
    """A customer and a date in, a ranking out."""

    def __init__(self, name: str, bundle: Path, ages: Path, protocol: str, candidates: int) -> None:
        """Reads the bundle; ready when this returns."""
        super().__init__(name)
        self.speaks_v1 = protocol == "v1"
        self.candidates = candidates
        manifest = json.loads((bundle / "manifest.json").read_text())
        articles = table(bundle / "retrieval/articles.arrow")
        self.ids = articles["article_id"].to_pylist()
        if self.speaks_v1:
            features = [feature["name"] for feature in manifest["ranking"]["features"]]
            columns = [articles[name].to_pylist() for name in features[NUMBERS:]]
            self.attributes = [list(values) for values in zip(*columns, strict=True)]
        else:
            self.encoded = encoded(articles, bundle)
        self.asked: ContextVar[list[list[str]]] = ContextVar("article ids of this request")
        embeddings = matrix(articles["embedding"])
        customers = table(bundle / "retrieval/customers.arrow")
        self.vectors = matrix(customers["vector"])
        self.rows = {key: row for row, key in enumerate(customers["key"].to_pylist())}
        with ages.open() as file:
            self.ages = {row["customer_id"]: float(row["age"]) for row in csv.DictReader(file) if row["age"]}
        self.default_age = manifest["customers"]["default_age"]
        self.index = index_of(embeddings, manifest["retrieval"]["index"]["expansion_search"], bundle)
        self.tower = Tower(bundle / "retrieval/query_tower.onnx")
        self.ready = True

    async def preprocess(self, payload, headers=None):
        """The candidates' features, in the order of the schema."""
        found = [self.retrieve(instance) for instance in payload["instances"]]
        if not self.speaks_v1:
            return self.matrix(found)
        instances = []
        for profile, rows in found:
            features = [[*profile, *self.attributes[row]] for row in rows]
            instances.append({"ranking_features": features, "article_ids": [self.ids[row] for row in rows]})
        return {"instances": instances}

    def retrieve(self, instance: dict) -> tuple[tuple[float, float, float], list[int]]:
        """Age and season, and the rows of the candidates."""
        customer_id, month = instance["customer_id"], int(instance["transaction_date"][5:7])
        angle = 2 * math.pi * month / 12
        profile = (self.ages.get(customer_id, self.default_age), math.sin(angle), math.cos(angle))
        key = hashlib.sha256(customer_id.encode()).digest()[:KEY_BYTES]
        query = self.tower(self.vectors[self.rows.get(key, 0)], *profile)
        found, _ = self.index.knn_query(query, k=self.candidates, num_threads=1)
        return profile, found[0].tolist()

    def matrix(self, found: list[tuple[tuple[float, float, float], list[int]]]) -> InferRequest:
        """All candidates' rows as one tensor; whose they are is remembered."""
        self.asked.set([[self.ids[row] for row in rows] for _, rows in found])
        profiles = np.repeat([profile for profile, _ in found], [len(rows) for _, rows in found], axis=0)
        rows = np.concatenate([rows for _, rows in found])
        features = np.hstack([profiles, self.encoded[rows]], dtype=np.float32)
        tensor = InferInput("features", list(features.shape), "FP32")
        tensor.set_data_from_numpy(features, binary_data=self.speaks_grpc)
        return InferRequest(self.name, [tensor])

    @property
    def speaks_grpc(self) -> bool:
        """Whether raw tensors can be sent: MLServer takes them over gRPC only."""
        return self.predictor_config.protocol == "grpc-v2"

    async def postprocess(self, result, headers=None):
        """Best first."""
        if self.speaks_v1:
            scored = [(one["scores"], one["article_ids"]) for one in result["predictions"]]
        else:
            scores, ids = result.outputs[0].as_numpy().ravel(), self.asked.get()
            ends = np.cumsum([len(each) for each in ids])[:-1]
            parts = (part.tolist() for part in np.split(scores, ends))
            scored = list(zip(parts, ids, strict=True))
        predictions = []
        for scores, ids in scored:
            pairs = zip(scores, ids, strict=True)
            predictions.append({"ranking": sorted(pairs, key=lambda pair: pair[0], reverse=True)})
        return {"predictions": predictions}


class Tower:
    """The query tower's two layers, of the matrices in its ONNX file."""

    def __init__(self, file: Path) -> None:
        """Reads the matrices."""
        graph = onnx.load(file).graph
        self.p = {initial.name: numpy_helper.to_array(initial) for initial in graph.initializer}

    def __call__(self, vector: np.ndarray, age: float, sin: float, cos: float) -> np.ndarray:
        """The query embedding [1, 16]."""
        p = self.p
        x = np.concatenate([vector, [(age - p["age_mean"]) / p["age_std"], sin, cos]]).astype(np.float32)
        hidden = np.maximum(x @ p["query_w1"] + p["query_b1"], 0)
        return ((vector + p["of_history"] + hidden @ p["query_w2"]) * p["learned"])[None]


def table(file: Path) -> pa.Table:
    """A table of the bundle."""
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of vectors, [rows, size]."""
    flat = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(len(column), -1)


def encoded(articles: pa.Table, bundle: Path) -> np.ndarray:
    """The numbers that training gave to the articles' categories, [articles, categories]."""
    features = json.loads((bundle / "ranker/contributions.json").read_text())["features"][NUMBERS:]
    columns = [
        [feature["numbers"].get(value, feature["unknown"]) for value in articles[feature["name"]].to_pylist()]
        for feature in features
    ]
    return np.array(columns, np.float32).T.copy()


def index_of(embeddings: np.ndarray, expansion_search: int, bundle: Path) -> hnswlib.Index:
    """The index, with the links and the width of search that the bundle's own has.

    Built once and kept beside the bundle, as the bundle's own was made before anybody started.
    """
    index = hnswlib.Index(space="ip", dim=embeddings.shape[1])
    saved = bundle.with_name(f"{bundle.name}.hnsw")
    if saved.exists():
        index.load_index(str(saved), max_elements=len(embeddings))
    else:
        index.init_index(max_elements=len(embeddings), M=16, ef_construction=256, random_seed=1)
        index.add_items(embeddings)
        index.save_index(str(saved))
    index.set_ef(expansion_search)
    return index


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--ages", type=Path, required=True, help="H&M's customers.csv")
    parser.add_argument("--candidates", type=int, default=100)
    args, _ = parser.parse_known_args()
    model = Recommender(args.model_name, args.bundle, args.ages, args.predictor_protocol, args.candidates)
    ports = {"http_port": args.http_port, "grpc_port": args.grpc_port}
    server = ModelServer(**ports, workers=1, enable_latency_logging=False)
    logging.disable(logging.INFO)
    server.start([model])
