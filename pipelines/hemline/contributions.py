"""What each feature adds to a score: the ranker's trees in a form that exact SHAP values can be computed of.

ONNX keeps no leaf weights, which SHAP values need. So `ranker_contributions.json` has, beside the graph, each
tree's splits, its leaves and their weights in training, and the numbers of the categories. Leaves that
training never reached have no value and are left out: most of a deep tree. That makes JSON as small as a
layout of our own would be: 1.1 MB for 100 trees of depth 10.

docs/bundle.md has the format.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import catboost
import numpy as np

from hemline import oblivious

Features = Iterable[tuple[str, str]]
Encoders = Mapping[str, Mapping[str, float]]

# A row takes CatBoost some 24 ms at depth 10; what it prepares for many rows takes 24 s.
CHECKED_ROWS = 200
LARGEST_DIFFERENCE = 1e-4


def write(
    path: Path,
    model: catboost.CatBoost,
    features: Features,
    encoders: Encoders,
    unknown: float,
    encoded: np.ndarray,
) -> float:
    """Write the file of a fitted model; returns its largest difference from CatBoost's own SHAP values.

    `features` are (name, datatype) in the order of the model's columns; `encoders` have the number of each
    category of those that are BYTES, and all others are `unknown`. `encoded` is what is compared, float32
    [rows, features], of which CHECKED_ROWS are used. Raises RuntimeError where the model is of another kind,
    or a contribution differs by more than LARGEST_DIFFERENCE.
    """
    content = extract(model, features, encoders, unknown, path.with_suffix(".catboost"))
    difference = check(content, model, encoded[:CHECKED_ROWS])
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    path.write_text(text, encoding="utf-8")  # ends with a brace, so that a cut one is no JSON
    return difference


def extract(
    model: catboost.CatBoost, features: Features, encoders: Encoders, unknown: float, scratch: Path
) -> dict:
    """The file's content. `scratch` is written and removed. Raises RuntimeError for other kinds of models."""
    forest = oblivious.read(model, scratch)
    return {
        "features": [_feature(name, datatype, encoders, unknown) for name, datatype in features],
        "scale": forest.scale,
        "bias": forest.bias,
        "trees": [_tree(tree) for tree in forest.trees],
    }


def check(content: dict, model: catboost.CatBoost, encoded: np.ndarray) -> float:
    """Largest difference between `explain` and CatBoost's own SHAP values.

    Raises RuntimeError where it is above LARGEST_DIFFERENCE.
    """
    if not len(encoded):
        return 0.0
    rows = catboost.Pool(encoded)
    own = model.get_feature_importance(rows, type="ShapValues", shap_mode="NoPreCalc")
    difference = float(np.abs(explain(content, encoded) - own).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise RuntimeError(f"contributions: CatBoost's SHAP values differ by {difference:.1e}")
    return difference


def explain(content: dict, encoded: np.ndarray) -> np.ndarray:
    """Exact SHAP values for float32 [rows, features]: float64 [rows, features + 1], the base value last.

    Each row adds up to its margin.
    """
    values = np.zeros((len(encoded), encoded.shape[1] + 1))
    for tree in content["trees"]:
        _explain_tree(tree, encoded, values)
    values *= content["scale"]
    values[:, -1] += content["bias"]
    return values


def _feature(name: str, datatype: str, encoders: Encoders, unknown: float) -> dict:
    if datatype == "BYTES":
        return {"name": name, "datatype": datatype, "numbers": dict(encoders[name]), "unknown": unknown}
    return {"name": name, "datatype": datatype}


def _tree(tree: oblivious.Tree) -> dict:
    reached = tree.weights > 0
    if tree.values[~reached].any() or not reached.any():
        raise RuntimeError("contributions: a leaf without weight has a value")
    return {
        "splits": [list(split) for split in tree.splits],
        "leaves": np.flatnonzero(reached).tolist(),
        "values": tree.values[reached].tolist(),
        "weights": tree.weights[reached].tolist(),
    }


def _explain_tree(tree: dict, encoded: np.ndarray, into: np.ndarray) -> None:
    """Adds one tree's contributions, and its base value in the last column.

    A leaf gives its value to a set of known features as a product over the features: 1 or 0 for a known one
    (the row goes there or not), the share of training that went there for another. The Shapley value of such
    a product is an integral of a polynomial, for which Gauss' quadrature is exact.
    """
    leaves, values, weights = (np.array(tree[name]) for name in ("leaves", "values", "weights"))
    base = values @ weights / weights.sum()
    into[:, -1] += base
    columns = sorted({column for column, _ in tree["splits"]})
    if not columns:
        return
    shares = _shares(tree, columns)
    found = sum(
        (encoded[:, column] > np.float32(border)).astype(int) << bit
        for bit, (column, border) in enumerate(tree["splits"])
    )
    found, which = np.unique(found, return_inverse=True)  # rows in one leaf have the same contributions
    masks = np.array([_mask(tree, column) for column in columns])
    goes = (((found[:, None] ^ leaves)[:, :, None] & masks) == 0).astype(float)
    sums = np.zeros_like(goes)
    points, areas = np.polynomial.legendre.leggauss((len(columns) + 1) // 2)
    for point, area in zip((points + 1) / 2, areas / 2, strict=True):
        factors = goes * point + shares * (1 - point)
        sums += area * factors.prod(axis=2, keepdims=True) / factors
    into[:, columns] += np.einsum("l,flc->fc", values, (goes - shares) * sums)[which]


def _shares(tree: dict, columns: list[int]) -> np.ndarray:
    """Of training's weight, what goes each leaf's way at the splits of each feature: [leaves, columns].

    The tree's root is its last split, as CatBoost has it.
    """
    leaves, depth = np.array(tree["leaves"]), len(tree["splits"])
    shares = np.ones((len(leaves), len(columns)))
    below = np.zeros(2**depth)
    below[leaves] = tree["weights"]
    for bit, (column, _) in enumerate(tree["splits"]):
        above = below.reshape(-1, 2).sum(axis=1)
        shares[:, columns.index(column)] *= below[leaves >> bit] / above[leaves >> (bit + 1)]
        below = above
    return shares


def _mask(tree: dict, column: int) -> int:
    """The bits of a leaf's number that are splits of a feature."""
    return sum(1 << bit for bit, (of, _) in enumerate(tree["splits"]) if of == column)
