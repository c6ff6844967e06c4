"""CatBoost's trees as tensor operations give CatBoost's own scores, whatever the trees and the rows are."""

import catboost
import numpy as np
import onnx
import onnxruntime
import pytest

from hemline import oblivious, ranker
from hemline.oblivious import Forest, Tree

COLUMNS = 5
FEATURES = tuple({"name": f"number {i}", "datatype": "FP32"} for i in range(COLUMNS))
STRANGE = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(np.float32).max, np.finfo(np.float32).min]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Numbers, NaN among them, and the numbers of a category."""
    rng = np.random.default_rng(5)
    numbers = rng.normal(size=(600, COLUMNS)).astype(np.float32)
    numbers[::7, 1] = np.nan
    numbers[:, 4] = rng.integers(-1, 9, 600)
    return numbers


def fitted(rows: np.ndarray, **parameters) -> catboost.CatBoostClassifier:
    label = (np.nan_to_num(rows[:, 0]) * np.nan_to_num(rows[:, 1], nan=1) + rows[:, 4] > 4).astype(int)
    own = {"iterations": 20, "depth": 6, "random_seed": 1, "allow_writing_files": False, "verbose": False}
    return catboost.CatBoostClassifier(**own | parameters).fit(rows, label)


def read(model: catboost.CatBoost, tmp_path) -> Forest:
    return oblivious.read(model, tmp_path / "scratch")


def scores(forest: Forest, rows: np.ndarray) -> np.ndarray:
    graph = ranker.encoded_to_onnx(forest, FEATURES)
    return ranker.run_encoded(onnxruntime.InferenceSession(graph.SerializeToString()), rows)


def at_the_borders(forest: Forest, count: int) -> np.ndarray:
    """Rows of borders, of the numbers next to them, and of what is hardly a number."""
    rng = np.random.default_rng(7)
    rows = np.empty((count, COLUMNS), np.float32)
    for column in range(COLUMNS):
        of_column = {border for tree in forest.trees for at, border in tree.splits if at == column}
        borders = np.array(sorted(of_column), np.float32)
        with np.errstate(over="ignore"):
            beside = [np.nextafter(borders, np.float32(to)) for to in (-np.inf, np.inf)]
        rows[:, column] = rng.choice(np.concatenate([borders, *beside, np.float32(STRANGE)]), count)
    return rows


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"depth": 1},
        {"iterations": 1},
        {"iterations": 1, "depth": 1},
        {"depth": 10},
        {"depth": 13, "iterations": 3},
        {"iterations": 300, "learning_rate": 0.3},
        {"scale_pos_weight": 10},
    ],
    ids=str,
)
def test_scores_are_catboosts_own(rows, tmp_path, parameters):
    model = fitted(rows, **parameters)
    forest = read(model, tmp_path)
    strange = at_the_borders(forest, 1000)
    for some in (rows, rows[:1], rows[:7], strange, strange[:1]):
        np.testing.assert_allclose(scores(forest, some), ranker.probability(model, some), atol=1e-6)
    assert scores(forest, rows[:0]).shape == (0,)


def test_trees_may_have_different_depths(rows, tmp_path):
    model = fitted(rows, depth=10, iterations=30)
    forest = read(model, tmp_path)
    assert len({len(tree.splits) for tree in forest.trees}) > 3
    strange = at_the_borders(forest, 1000)
    np.testing.assert_allclose(scores(forest, strange), ranker.probability(model, strange), atol=1e-6)


def test_scale_and_bias_of_a_model_count(rows, tmp_path):
    model = fitted(rows)
    model.set_scale_and_bias(1.5, -0.75)
    forest = read(model, tmp_path)
    assert (forest.scale, forest.bias) == (1.5, -0.75)
    np.testing.assert_allclose(scores(forest, rows), ranker.probability(model, rows), atol=1e-6)


@pytest.mark.parametrize(
    ("trees", "margin"), [([], 0.5), ([Tree([], np.array([0.25]), np.ones(1))] * 2, 1.5)], ids=["none", "two"]
)
def test_trees_without_a_split_give_all_rows_one_score(rows, trees, margin):
    told = scores(Forest(2.0, 0.5, trees), rows)
    np.testing.assert_allclose(told, np.full(len(rows), 1 / (1 + np.exp(-margin))), atol=1e-6)


def test_columns_are_those_of_the_model_also_where_some_are_never_split(rows, tmp_path):
    rows = rows.copy()
    rows[:, [0, 2]] = 1.0
    model = fitted(rows)
    forest = read(model, tmp_path)
    assert {column for tree in forest.trees for column, _ in tree.splits} <= {1, 3, 4}
    np.testing.assert_allclose(scores(forest, rows), ranker.probability(model, rows), atol=1e-6)


def test_the_graph_is_standard_operations_and_a_small_part_of_catboosts_own(rows, tmp_path):
    model = fitted(rows, depth=10)
    graph = ranker.encoded_to_onnx(read(model, tmp_path), FEATURES)
    assert [opset.domain for opset in graph.opset_import] == [""]
    assert not any("TreeEnsemble" in node.op_type for node in graph.graph.node)
    assert [(i.name, i.type.tensor_type.elem_type) for i in graph.graph.input] == [
        ("encoded", onnx.TensorProto.FLOAT)
    ]
    model.save_model(str(tmp_path / "own.onnx"), format="onnx")
    size = len(graph.SerializeToString())
    assert size < 20 * 2**10 * 4 + 20_000  # a number a leaf, and little more
    assert size < (tmp_path / "own.onnx").stat().st_size / 10


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"grow_policy": "Lossguide"}, "expected oblivious ones"),
        ({"nan_mode": "Max"}, "feature 1: NaN is above all borders"),
        ({"loss_function": "MultiClass"}, "expected one score, got 2"),
    ],
)
def test_a_model_of_another_kind_is_refused(rows, tmp_path, parameters, reason):
    with pytest.raises(RuntimeError, match=reason):
        read(fitted(rows, **parameters), tmp_path)
    assert not list(tmp_path.iterdir())
