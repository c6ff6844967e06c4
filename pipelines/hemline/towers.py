"""The two towers: one function each, their parameters, and the query tower as an ONNX graph.

query tower: customer vector [B, 16], age [B], month_sin [B], month_cos [B]     → query embedding [B, 16]
item tower:  article vector [B, 16], one-hot garment group and index group [B, H] → item embedding [B, 16]

The score of an article for a query is the inner product of the two. The last of the sixteen coordinates is
not learned: it is 0 in every query, so it does not change a score, and in an item it makes up the length to
that of the longest one (`equal_lengths`). Inner products order items of one length as distances do, and that
is what a graph index can walk: without it, articles that sell well have long embeddings and hide others from
the search.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EMBEDDING_SIZE = 16
HIDDEN_SIZE = 64
LEARNED = np.array([1.0] * (EMBEDDING_SIZE - 1) + [0.0], np.float32)
QUERY_INPUTS = (("customer_vector", EMBEDDING_SIZE), ("age", 1), ("month_sin", 1), ("month_cos", 1))
QUERY_OUTPUT = "query_emb"

# Read by ONNX Runtime since 1.13; nothing here needs a newer one.
OPSET = 17
IR_VERSION = 8

Params = dict[str, jax.Array | np.ndarray]


def initial(one_hot_size: int, ages: np.ndarray, rng: np.random.Generator) -> tuple[Params, Params]:
    """Trainable parameters of the dense layers, and constants: mean and deviation of ages in years."""

    def dense(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * np.sqrt(2 / (rows + columns))).astype(np.float32)

    size, hidden = EMBEDDING_SIZE, HIDDEN_SIZE
    trained = {
        "unknown_customer": (rng.standard_normal(size) * 0.1).astype(np.float32),
        "query_w1": dense(size + 3, hidden),
        "query_b1": np.zeros(hidden, np.float32),
        "query_w2": dense(hidden, size),
        "query_b2": np.zeros(size, np.float32),
        "item_w1": dense(size + one_hot_size, hidden),
        "item_b1": np.zeros(hidden, np.float32),
        "item_w2": dense(hidden, size),
        "item_b2": np.zeros(size, np.float32),
    }
    constants = {"age_mean": np.float32(ages.mean()), "age_std": np.float32(max(ages.std(), 1e-3))}
    return trained, constants


def query_tower(p: Params, vector: jax.Array, age: jax.Array, sin: jax.Array, cos: jax.Array) -> jax.Array:
    """Query embeddings [B, 16] of customer vectors [B, 16], ages in years, month_sin and month_cos [B]."""
    age = (age - p["age_mean"]) / p["age_std"]
    x = jnp.concatenate([vector, age[:, None], sin[:, None], cos[:, None]], axis=1)
    hidden = jax.nn.relu(x @ p["query_w1"] + p["query_b1"])
    # The shortcut lets a customer's taste through as it is; the layers add what age and season change.
    return (vector + hidden @ p["query_w2"] + p["query_b2"]) * LEARNED


def item_tower(p: Params, vector: jax.Array, one_hot: jax.Array) -> jax.Array:
    """Item embeddings [B, 16] of article vectors [B, 16] and one-hot attributes [B, H], the last 0."""
    x = jnp.concatenate([vector, one_hot], axis=1)
    hidden = jax.nn.relu(x @ p["item_w1"] + p["item_b1"])
    return (vector + hidden @ p["item_w2"] + p["item_b2"]) * LEARNED


def equal_lengths(items: np.ndarray) -> np.ndarray:
    """Item embeddings [A, 16] with the last coordinate set so that all are as long as the longest."""
    squares = (items[:, :-1].astype(np.float64) ** 2).sum(axis=1)
    return np.column_stack([items[:, :-1], np.sqrt(squares.max() - squares)]).astype(np.float32)


def query_tower_onnx(p: Params) -> onnx.ModelProto:
    """The query tower as an ONNX graph, age normalised inside."""
    nodes = [
        helper.make_node("Sub", ["age", "age_mean"], ["age_centred"]),
        helper.make_node("Div", ["age_centred", "age_std"], ["age_normal"]),
        helper.make_node(
            "Concat", ["customer_vector", "age_normal", "month_sin", "month_cos"], ["x"], axis=1
        ),
        helper.make_node("Gemm", ["x", "query_w1", "query_b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["hidden_relu"]),
        helper.make_node("Gemm", ["hidden_relu", "query_w2", "query_b2"], ["change"]),
        helper.make_node("Add", ["customer_vector", "change"], ["changed"]),
        helper.make_node("Mul", ["changed", "learned"], [QUERY_OUTPUT]),
    ]
    names = ("age_mean", "age_std", "query_w1", "query_b1", "query_w2", "query_b2")
    constants = [numpy_helper.from_array(np.asarray(p[name], np.float32), name) for name in names]
    constants.append(numpy_helper.from_array(LEARNED, "learned"))
    graph = helper.make_graph(
        nodes,
        "query_tower",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", size]) for name, size in QUERY_INPUTS],
        [helper.make_tensor_value_info(QUERY_OUTPUT, TensorProto.FLOAT, ["B", EMBEDDING_SIZE])],
        constants,
    )
    model = helper.make_model(graph, producer_name="hemline", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def save(path: Path, params: Params) -> None:
    """Write parameters as `.npz`."""
    np.savez(path, **{name: np.asarray(value) for name, value in params.items()})


def load(path: Path) -> Params:
    """Read parameters that `save` wrote."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
