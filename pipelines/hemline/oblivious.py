"""CatBoost's trees, read from its JSON, and as plain tensor operations of ONNX.

The trees are oblivious: all nodes of a level have one split, so a leaf's number is one bit a level, and a
tree is a table with a number as its key. That is a handful of operations on whole tensors, where ONNX's own
TreeEnsemble walks from node to node (docs/adr/0038 has the times).
"""

import json
from pathlib import Path
from typing import NamedTuple

import catboost
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# CatBoost grows no deeper trees, and servers read no deeper ones.
MOST_SPLITS = 16

# A feature, by its column, and the border that it is compared with, as FP32.
Split = tuple[int, float]


class Tree(NamedTuple):
    """One oblivious tree: bit i of a row's leaf is 1 where the feature of split i is above its border."""

    splits: list[Split]
    values: np.ndarray  # float64 [2 ** splits], what a leaf adds
    weights: np.ndarray  # float64 [2 ** splits], training's weight in it


class Forest(NamedTuple):
    """A model of one score: margin = scale · (sum of the trees' values) + bias."""

    scale: float
    bias: float
    trees: list[Tree]


class Operations(NamedTuple):
    """A part of an ONNX graph."""

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]


def read(model: catboost.CatBoost, scratch: Path) -> Forest:
    """The trees of a fitted model. `scratch` is written and removed.

    Raises RuntimeError for models of another kind: other trees than oblivious ones, categories, several
    scores, or features for which NaN is above all borders.
    """
    model.save_model(str(scratch), format="json")
    try:
        exported = json.loads(scratch.read_text(encoding="utf-8"))
    finally:
        scratch.unlink()
    if "oblivious_trees" not in exported or exported["features_info"].get("categorical_features"):
        raise RuntimeError("the ranker's trees: expected oblivious ones over numbers alone")
    scale, (bias, *more) = exported["scale_and_bias"]
    if more:
        raise RuntimeError(f"the ranker's trees: expected one score, got {1 + len(more)}")
    numbers = exported["features_info"]["float_features"]
    for feature in numbers:
        # What is no number goes where `value > border` sends it.
        if feature.get("nan_value_treatment") == "AsTrue":
            column = feature["flat_feature_index"]
            raise RuntimeError(f"the ranker's trees: feature {column}: NaN is above all borders")
    columns = {feature["feature_index"]: feature["flat_feature_index"] for feature in numbers}
    trees = [_tree(tree, columns) for tree in exported["oblivious_trees"]]
    return Forest(float(scale), float(bias), trees)


def operations(forest: Forest, features: str, scores: str) -> Operations:
    """The trees as operations from `features`, FP32 [rows, columns], to `scores`, FP32 [rows], from 0 to 1.

    Each split that the trees have is compared once, a row of bits each; a tree's leaf is the sum of its rows
    of bits, each times the power of two of its level. Names in between begin with `trees_`.
    """
    splits, places, leaves = _tables(forest)
    levels, trees = places.shape
    constants = {
        "columns": np.array([column for column, _ in splits], np.int64),
        "borders": np.array([[border] for _, border in splits], np.float32),
        "places": places.reshape(-1),
        "by_level": np.array([levels, -1], np.int64),
        "powers": 2.0 ** np.arange(levels, dtype=np.float32),
        "by_tree": np.array([trees, -1], np.int64),
        "leaves": leaves,
        "ones": np.ones(trees, np.float32),
    }
    # A feature's values are side by side first: what is gathered below are whole rows.
    steps = [
        ("Transpose", [features], "transposed", {"perm": [1, 0]}),
        ("Gather", ["transposed", "columns"], "compared", {"axis": 0}),
        ("Greater", ["compared", "borders"], "unique_bits", {}),
        # A quarter of the bytes while they are booleans.
        ("Gather", ["unique_bits", "places"], "bits", {"axis": 0}),
        ("Cast", ["bits"], "bits_as_numbers", {"to": TensorProto.FLOAT}),
        ("Reshape", ["bits_as_numbers", "by_level"], "bits_by_level", {}),
        # Exact: a number of sixteen bits fits FP32.
        ("MatMul", ["powers", "bits_by_level"], "numbers", {}),
        ("Cast", ["numbers"], "integers", {"to": TensorProto.INT32}),
        ("Reshape", ["integers", "by_tree"], "leaf_of_tree", {}),
        ("GatherElements", ["leaves", "leaf_of_tree"], "values", {"axis": 1}),
        ("MatMul", ["ones", "values"], "margin", {}),
        ("Sigmoid", ["margin"], scores, {}),
    ]

    def name(of: str) -> str:
        return of if of in (features, scores) else f"trees_{of}"

    return Operations(
        [helper.make_node(op, [name(i) for i in inputs], [name(o)], **how) for op, inputs, o, how in steps],
        [numpy_helper.from_array(values, name(of)) for of, values in constants.items()],
    )


def _tables(forest: Forest) -> tuple[list[Split], np.ndarray, np.ndarray]:
    """The splits, each once; where each is, int64 [levels, trees]; what leaves add, float32 [trees, leaves].

    A tree of fewer levels than others gets any split for those it lacks, and its leaves as often as it takes
    for that to make no difference. Scale and bias are in the leaves, the bias in those of the first tree.
    """
    trees = forest.trees or [Tree([], np.zeros(1), np.ones(1))]
    levels = max(1, *(len(tree.splits) for tree in trees))
    splits = sorted({split for tree in trees for split in tree.splits}) or [(0, 0.0)]
    place = {split: i for i, split in enumerate(splits)}
    places = np.zeros((levels, len(trees)), np.int64)
    leaves = np.empty((len(trees), 2**levels))
    for i, tree in enumerate(trees):
        places[: len(tree.splits), i] = [place[split] for split in tree.splits]
        leaves[i] = np.tile(tree.values, 2**levels // len(tree.values))
    leaves *= forest.scale
    leaves[0] += forest.bias
    return splits, places, leaves.astype(np.float32)


def _tree(tree: dict, columns: dict[int, int]) -> Tree:
    splits = tree["splits"] or []
    values, weights = np.array(tree["leaf_values"], float), np.array(tree["leaf_weights"], float)
    if len(splits) > MOST_SPLITS or not len(values) == len(weights) == 2 ** len(splits):
        raise RuntimeError(f"the ranker's trees: {len(values)} values in one of {len(splits)} splits")
    if any(split["split_type"] != "FloatFeature" for split in splits):
        raise RuntimeError("the ranker's trees: expected splits of numbers alone")
    borders = [
        (columns[split["float_feature_index"]], float(np.float32(split["border"]))) for split in splits
    ]
    return Tree(borders, values, weights)
