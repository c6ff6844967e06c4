"""The ranker's own parts: the numbers of its categories, and its graphs from features to scores.

CatBoost cannot export categories to ONNX. So each category becomes a number before training, and the graph
does the same with a LabelEncoder in front of the trees: nothing about features has to be written again on the
serving side. A second graph is the trees alone, for servers that have the numbers already.
"""

from pathlib import Path
from typing import NamedTuple

import catboost
import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
from onnx import TensorProto, helper

from hemline.oblivious import Forest, Operations, operations
from hemline.ranking_features import Feature

OUTPUT = "scores"
# The one input of the graph without categories.
ENCODED = "encoded"

# A category is the rank of its share of purchases among the feature's categories, from 0: one cut of a tree
# then separates what sells from what does not. Those with fewer rows than RARE, and those that training never
# saw, share UNKNOWN, so that the trees know what to make of it.
RARE = 20
UNKNOWN = -1.0

PARITY_ROWS = 20_000
PARITY = 1e-5

# LabelEncoder from strings to floats came with version 2 of ai.onnx.ml.
OPSETS = (("", 17), ("ai.onnx.ml", 2))
IR_VERSION = 8
# CatBoost's sums depend on the number of threads: a fixed one gives the same model on the same machine.
THREADS = 2

Features = tuple[Feature, ...]
Encoders = dict[str, dict[str, float]]


class Sets(NamedTuple):
    """Rows with `features`, in order, and a label; and how to learn from them."""

    features: Features
    training: pa.Table
    validation: pa.Table  # tells how many trees are best
    test: pa.Table
    parameters: dict[str, float]  # CatBoost's
    early_stopping_rounds: int
    candidates: dict | None = None  # how they were found, where the rows are candidates


def numbers(features: Features) -> list[str]:
    """Names of the features that are numbers."""
    return [feature["name"] for feature in features if feature["datatype"] == "FP32"]


def categories(features: Features) -> list[str]:
    """Names of the features that are texts."""
    return [feature["name"] for feature in features if feature["datatype"] == "BYTES"]


def columns(features: Features) -> pa.Schema:
    """One schema for all splits, whatever an empty one was written as: the features, then the label."""
    texts = pa.dictionary(pa.int32(), pa.string())
    fields = [(f["name"], pa.float32() if f["datatype"] == "FP32" else texts) for f in features]
    return pa.schema([*fields, ("label", pa.int8())])


def labels(table: pa.Table) -> np.ndarray:
    """1 where the article was bought, int8 [rows]."""
    return table["label"].to_numpy().astype(np.int8)


def fit_encoders(table: pa.Table, features: Features) -> Encoders:
    """The number of each category of each feature; rare categories are left out (see RARE)."""
    encoders = {}
    bought = labels(table)
    for name in categories(features):
        values, codes = _categories(table, name)
        rows = np.bincount(codes, minlength=len(values))
        share = np.bincount(codes, bought, len(values)) / np.maximum(rows, 1)
        kept = [i for i in range(len(values)) if rows[i] >= RARE]
        kept.sort(key=lambda i: (share[i], values[i]))
        encoders[name] = {values[i]: float(rank) for rank, i in enumerate(kept)}
    return encoders


def encode(table: pa.Table, features: Features, encoders: Encoders) -> np.ndarray:
    """The features as CatBoost sees them, in their order: float32 [rows, features]."""
    encoded = np.empty((len(table), len(features)), np.float32)
    for column, feature in enumerate(features):
        name = feature["name"]
        if feature["datatype"] == "FP32":
            encoded[:, column] = _numbers(table, name)
        else:
            values, codes = _categories(table, name)
            known = np.array([encoders[name].get(v, UNKNOWN) for v in values], np.float32)
            encoded[:, column] = known[codes]
    return encoded


def probability(model: catboost.CatBoostClassifier, encoded: np.ndarray) -> np.ndarray:
    """CatBoost's own probability of a purchase: float64 [rows]."""
    if not len(encoded):
        return np.empty(0)
    return model.predict_proba(encoded, thread_count=THREADS)[:, 1]


def run_onnx(session: onnxruntime.InferenceSession, features: Features, table: pa.Table) -> np.ndarray:
    """The graph's probability of a purchase for a table with its features: float32 [rows]."""
    inputs = {name: _numbers(table, name)[:, None] for name in numbers(features)}
    for name in categories(features):
        inputs[name] = np.array(table[name].to_pylist(), dtype=object)[:, None]
    return session.run([OUTPUT], inputs)[0]


def run_encoded(session: onnxruntime.InferenceSession, encoded: np.ndarray) -> np.ndarray:
    """The graph's probability of a purchase for features as `encode` gives them: float32 [rows]."""
    return session.run([OUTPUT], {ENCODED: encoded})[0]


def to_onnx(forest: Forest, features: Features, encoders: Encoders) -> onnx.ModelProto:
    """The graph of raw features: a LabelEncoder per category, features side by side, the trees, one score."""
    types = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(f["name"], types[f["datatype"]], ["rows", 1]) for f in features]
    side_by_side = [f["name"] if f["datatype"] == "FP32" else f"{f['name']}_number" for f in features]
    trees = operations(forest, "features", OUTPUT)
    encode = [
        *(_label_encoder(name, encoders[name]) for name in categories(features)),
        helper.make_node("Concat", side_by_side, ["features"], axis=1),
    ]
    return _model(inputs, Operations([*encode, *trees.nodes], trees.constants), OPSETS)


def encoded_to_onnx(forest: Forest, features: Features) -> onnx.ModelProto:
    """The graph of what `encode` gives, in one input, ENCODED: the trees, one score."""
    encoded = helper.make_tensor_value_info(ENCODED, TensorProto.FLOAT, ["rows", len(features)])
    return _model([encoded], operations(forest, ENCODED, OUTPUT), OPSETS[:1])


def _model(
    inputs: list[onnx.ValueInfoProto], graph: Operations, opsets: tuple[tuple[str, int], ...]
) -> onnx.ModelProto:
    scores = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows"])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "ranker", inputs, [scores], graph.constants),
        producer_name="hemline",
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets],
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


def _label_encoder(name: str, known: dict[str, float]) -> onnx.NodeProto:
    return helper.make_node(
        "LabelEncoder",
        [name],
        [f"{name}_number"],
        domain="ai.onnx.ml",
        # An encoder needs at least one key; no category is the empty string.
        keys_strings=list(known) or [""],
        values_floats=list(known.values()) or [UNKNOWN],
        default_float=UNKNOWN,
    )


def check_parity(
    graph: Path,
    encoded_graph: Path,
    model: catboost.CatBoostClassifier,
    features: Features,
    encoders: Encoders,
    held_out: pa.Table,
) -> float:
    """Largest difference between a graph and CatBoost, on held-out rows and with strings never seen.

    Raises RuntimeError where it is above 1e-5.
    """
    rows = held_out.slice(0, PARITY_ROWS)
    strange = rows
    for i, name in enumerate(categories(features)):
        # Each feature is strange in another third of the rows, so that known and unknown mix.
        mask = pa.array(np.arange(len(rows)) % 3 == i % 3)
        plain = rows[name].cast(pa.string())
        strange = strange.set_column(
            strange.schema.get_field_index(name), name, pc.if_else(mask, "never seen ✂", plain)
        )
    raw, numbered = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for path in (graph, encoded_graph)
    )
    both = pa.concat_tables([_plain(rows, features), _plain(strange, features)])
    if not len(both):
        return 0.0
    encoded = encode(both, features, encoders)
    own = probability(model, encoded)
    scores = {graph: run_onnx(raw, features, both), encoded_graph: run_encoded(numbered, encoded)}
    differences = {path: float(np.abs(told - own).max()) for path, told in scores.items()}
    for path, difference in differences.items():
        if not difference <= PARITY:
            raise RuntimeError(
                f"{path.name} differs from CatBoost by {difference:.1e}, more than {PARITY:.0e}"
            )
    return max(differences.values())


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy().astype(np.float32)


def _categories(table: pa.Table, name: str) -> tuple[list[str], np.ndarray]:
    """Values and codes of a text column, whether or not it is dictionary-encoded."""
    column = table[name]
    column = column.combine_chunks() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.dictionary.to_pylist(), column.indices.to_numpy()


def _plain(table: pa.Table, features: Features) -> pa.Table:
    """The same table with its categories as plain text."""
    texts = set(categories(features))
    fields = [pa.field(f.name, pa.string()) if f.name in texts else f for f in table.schema]
    return table.cast(pa.schema(fields))
