"""The two towers: one function each, their parameters, and the query tower as an ONNX graph.

query tower: customer vector [B, 16], age [B], month_sin [B], month_cos [B] and
             history: vectors [B, N, 16], weights [B, N], days [B, N]             → query embedding [B, 16]
item tower:  article vector [B, 16], one-hot attributes [B, H]                    → item embedding [B, 16]

The history is what the customer touched of late (`hemline.history`), by the embeddings that the item tower
gives these articles. Its vectors are averaged twice: all alike, and with those of some weeks ago fading. An
average of few touches is drawn towards zero, by as much as training finds right.

The score of an article for a query is the inner product of the two. The last of the sixteen coordinates is
not learned: it is 0 in every query, so it does not change a score, and in an item it makes up the length to
that of the longest one (`equal_lengths`). Inner products order items of one length as distances do, and that
is what a graph index can walk: without it, articles that sell well have long embeddings and hide others from
the search.
"""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EMBEDDING_SIZE = 16
HIDDEN_SIZE = 64
LEARNED = np.array([1.0] * (EMBEDDING_SIZE - 1) + [0.0], np.float32)
# Days until a touch counts half, for each average of the history. Tastes stay; what one is after passes.
HALF_LIVES = (14.0, math.inf)
PROFILE_INPUTS = (
    ("customer_vector", (EMBEDDING_SIZE,)),
    ("age", (1,)),
    ("month_sin", (1,)),
    ("month_cos", (1,)),
)
HISTORY_INPUTS = (
    ("history_vectors", (-1, EMBEDDING_SIZE)),
    ("history_weights", (-1,)),
    ("history_days", (-1,)),
)
QUERY_OUTPUT = "query_emb"

LEAST_PRIOR = 1e-3  # weight of the zero in an average of a history, so that one of nothing is no 0/0

# Read by ONNX Runtime since 1.13; nothing here needs a newer one.
OPSET = 17
IR_VERSION = 8

Params = dict[str, jax.Array | np.ndarray]


def initial(one_hot_size: int, ages: np.ndarray, rng: np.random.Generator) -> tuple[Params, Params]:
    """Trainable parameters of the dense layers, and constants: mean and deviation of ages in years."""

    def dense(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * np.sqrt(2 / (rows + columns))).astype(np.float32)

    size, hidden, averages = EMBEDDING_SIZE, HIDDEN_SIZE, len(HALF_LIVES)
    # Queries begin as if there were no history but for the steady average, which points to what is like it.
    of_history = np.zeros((averages * (size + 1), hidden), np.float32)
    steady = np.eye(size, dtype=np.float32) / 2
    trained = {
        "unknown_customer": (rng.standard_normal(size) * 0.1).astype(np.float32),
        "query_w1": np.concatenate([dense(size + 3, hidden), of_history]),
        "query_b1": np.zeros(hidden, np.float32),
        "query_w2": dense(hidden, size),
        "query_b2": np.zeros(size, np.float32),
        "history_w": np.concatenate([np.zeros(((averages - 1) * size, size), np.float32), steady]),
        "history_prior": np.zeros(averages, np.float32),
        "item_w1": dense(size + one_hot_size, hidden),
        "item_b1": np.zeros(hidden, np.float32),
        "item_w2": dense(hidden, size),
        "item_b2": np.zeros(size, np.float32),
    }
    constants = {"age_mean": np.float32(ages.mean()), "age_std": np.float32(max(ages.std(), 1e-3))}
    return trained, constants


def query_tower(
    p: Params, vector: jax.Array, age: jax.Array, sin: jax.Array, cos: jax.Array, history: tuple
) -> jax.Array:
    """Query embeddings [B, 16] of customer vectors [B, 16], ages in years, month_sin and month_cos [B].

    `history` is (vectors [B, N, 16], weights [B, N], days [B, N]); a weight of 0 is no touch.
    """
    age = (age - p["age_mean"]) / p["age_std"]
    averages, amounts = _averages(p, *history)
    x = jnp.concatenate([vector, age[:, None], sin[:, None], cos[:, None], averages, amounts], axis=1)
    hidden = jax.nn.relu(x @ p["query_w1"] + p["query_b1"])
    # The shortcuts let a customer's taste through as it is; the layers add what age and season change.
    return (vector + averages @ p["history_w"] + hidden @ p["query_w2"] + p["query_b2"]) * LEARNED


def _averages(
    p: Params, vectors: jax.Array, weights: jax.Array, days: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Averages of histories [B, 16 · half-lives], and log(1 + weight) of each [B, half-lives]."""
    averages, amounts = [], []
    for i, rate in enumerate(_rates()):
        fading = weights * jnp.exp(-rate * days)
        amount = fading.sum(axis=1, keepdims=True)
        prior = jax.nn.softplus(p["history_prior"][i]) + LEAST_PRIOR
        averages.append((fading[:, None, :] @ vectors)[:, 0] * LEARNED / (amount + prior))
        amounts.append(jnp.log1p(amount))
    return jnp.concatenate(averages, axis=1), jnp.concatenate(amounts, axis=1)


def _rates() -> list[float]:
    """Decay a day of each average's weights."""
    return [math.log(2) / half_life for half_life in HALF_LIVES]


def item_tower(p: Params, vector: jax.Array, one_hot: jax.Array) -> jax.Array:
    """Item embeddings [B, 16] of article vectors [B, 16] and one-hot attributes [B, H], the last 0."""
    x = jnp.concatenate([vector, one_hot], axis=1)
    hidden = jax.nn.relu(x @ p["item_w1"] + p["item_b1"])
    return (vector + hidden @ p["item_w2"] + p["item_b2"]) * LEARNED


def equal_lengths(items: np.ndarray) -> np.ndarray:
    """Item embeddings [A, 16] with the last coordinate set so that all are as long as the longest."""
    squares = (items[:, :-1].astype(np.float64) ** 2).sum(axis=1)
    return np.column_stack([items[:, :-1], np.sqrt(squares.max() - squares)]).astype(np.float32)


def query_inputs(reads_history: bool) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Name and shape of each input behind the batch; -1 is any number."""
    return PROFILE_INPUTS + HISTORY_INPUTS if reads_history else PROFILE_INPUTS


def query_tower_onnx(p: Params, reads_history: bool = True) -> onnx.ModelProto:
    """The query tower as an ONNX graph, age normalised inside; with the history's inputs if it reads one."""
    age = [
        helper.make_node("Sub", ["age", "age_mean"], ["age_centred"]),
        helper.make_node("Div", ["age_centred", "age_std"], ["age_normal"]),
    ]
    constants = {name: p[name] for name in ("age_mean", "age_std", "query_b1", "query_w2", "query_b2")}
    constants |= {"learned": LEARNED, "query_w1": p["query_w1"]}
    profile = ["customer_vector", "age_normal", "month_sin", "month_cos"]
    if reads_history:
        nodes, averages, amounts, more = _averages_onnx(p)
        nodes += [
            helper.make_node("Concat", averages, ["averages"], axis=1),
            helper.make_node("Concat", [*profile, "averages", *amounts], ["x"], axis=1),
            helper.make_node("Gemm", ["averages", "history_w", "query_b2"], ["of_history"]),
        ]
        constants |= more | {"history_w": p["history_w"]}
    else:
        nodes = [helper.make_node("Concat", profile, ["x"], axis=1)]
        constants["query_w1"] = np.asarray(p["query_w1"])[: EMBEDDING_SIZE + 3]
        constants["of_history"] = constants.pop("query_b2")
    nodes += [
        helper.make_node("Gemm", ["x", "query_w1", "query_b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["hidden_relu"]),
        helper.make_node("MatMul", ["hidden_relu", "query_w2"], ["change"]),
        helper.make_node("Sum", ["customer_vector", "of_history", "change"], ["changed"]),
        helper.make_node("Mul", ["changed", "learned"], [QUERY_OUTPUT]),
    ]
    shapes = {
        name: ["B", *(f"{name}_{i}" if n < 0 else n for i, n in enumerate(shape))]
        for name, shape in query_inputs(reads_history)
    }
    graph = helper.make_graph(
        age + nodes,
        "query_tower",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(QUERY_OUTPUT, TensorProto.FLOAT, ["B", EMBEDDING_SIZE])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, producer_name="hemline", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def _averages_onnx(p: Params) -> tuple[list[onnx.NodeProto], list[str], list[str], dict]:
    """`_averages` as nodes, the names of the averages and of the amounts, and the constants."""
    nodes, averages, amounts = [], [], []
    constants: dict = {"one": np.float32(1)}
    for i, rate in enumerate(_rates()):
        prior = np.logaddexp(0, np.float32(p["history_prior"][i])) + LEAST_PRIOR
        constants |= {f"rate_{i}": np.float32(-rate), f"prior_{i}": np.float32(prior)}

        def node(operator: str, inputs: list[str], output: str, i: int = i) -> str:
            nodes.append(helper.make_node(operator, inputs, [f"{output}_{i}"]))
            return f"{output}_{i}"

        decay = node("Exp", [node("Mul", ["history_days", f"rate_{i}"], "faded")], "decay")
        fading = node("Mul", ["history_weights", decay], "fading")
        amount = node("ReduceSum", [fading, "axis_1"], "amount")
        total = node("MatMul", [node("Unsqueeze", [fading, "axis_1"], "row"), "history_vectors"], "total")
        learned = node("Mul", [node("Squeeze", [total, "axis_1"], "sum"), "learned"], "learned_sum")
        averages.append(node("Div", [learned, node("Add", [amount, f"prior_{i}"], "weight")], "average"))
        amounts.append(node("Log", [node("Add", [amount, "one"], "more")], "amount_log"))
    nodes.insert(0, helper.make_node("Constant", [], ["axis_1"], value_ints=[1]))
    return nodes, averages, amounts, constants


def save(path: Path, params: Params) -> None:
    """Write parameters as `.npz`."""
    np.savez(path, **{name: np.asarray(value) for name, value in params.items()})


def load(path: Path) -> Params:
    """Read parameters that `save` wrote."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
