"""Contributions are CatBoost's own SHAP values, computed of the file alone."""

import json

import catboost
import numpy as np
import pytest
import trained

from hemline import contributions, ranking

FEATURES = (("first", "FP32"), ("second", "FP32"), ("third", "FP32"), ("kind", "BYTES"))
ENCODERS = {"kind": {"dress": 0.0, "hat": 1.0, "✂": 2.0}}
UNKNOWN = -1.0


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Numbers and the numbers of a category; NaN among them."""
    rng = np.random.default_rng(5)
    numbers = rng.normal(size=(400, 3)).astype(np.float32)
    numbers[::7, 1] = np.nan
    return np.column_stack([numbers, rng.integers(-1, 3, 400).astype(np.float32)])


def fitted(rows: np.ndarray, kind: type = catboost.CatBoostClassifier, **parameters) -> catboost.CatBoost:
    label = (np.nan_to_num(rows[:, 0]) * np.nan_to_num(rows[:, 1], nan=1) + rows[:, 3] > 0).astype(int)
    own = {"iterations": 12, "depth": 6, "random_seed": 1, "allow_writing_files": False, "verbose": False}
    return kind(**own | parameters).fit(rows, label)


def extract(model: catboost.CatBoost, tmp_path) -> dict:
    return contributions.extract(model, FEATURES, ENCODERS, UNKNOWN, tmp_path / "scratch")


@pytest.mark.parametrize(
    "parameters", [{}, {"scale_pos_weight": 10}, {"depth": 1}, {"depth": 9, "iterations": 3}], ids=str
)
def test_contributions_are_catboosts_own(rows, tmp_path, parameters):
    model = fitted(rows, **parameters)
    content = extract(model, tmp_path)
    strange = rows * np.float32(3)
    for some in (rows, strange):
        own = model.get_feature_importance(catboost.Pool(some), type="ShapValues")
        np.testing.assert_allclose(contributions.explain(content, some), own, atol=1e-9)
        margin = model.predict(some, prediction_type="RawFormulaVal")
        np.testing.assert_allclose(contributions.explain(content, some).sum(axis=1), margin, atol=1e-9)


def test_a_regressions_bias_is_in_the_base(rows, tmp_path):
    model = fitted(rows, catboost.CatBoostRegressor)
    content = extract(model, tmp_path)
    assert content["bias"] != 0
    own = model.get_feature_importance(catboost.Pool(rows), type="ShapValues")
    np.testing.assert_allclose(contributions.explain(content, rows), own, atol=1e-9)


def test_the_file_has_the_features_in_order_and_the_numbers_of_the_categories(rows, tmp_path):
    path = tmp_path / "ranker_contributions.json"
    assert contributions.write(path, fitted(rows), FEATURES, ENCODERS, UNKNOWN, rows) <= 1e-9
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [(feature["name"], feature["datatype"]) for feature in content["features"]] == list(FEATURES)
    assert content["features"][3]["numbers"] == ENCODERS["kind"]
    assert content["features"][3]["unknown"] == UNKNOWN
    for tree in content["trees"]:
        assert len(tree["leaves"]) == len(tree["values"]) == len(tree["weights"]) <= 2 ** len(tree["splits"])
        assert min(tree["weights"]) > 0


def test_contributions_that_are_not_catboosts_are_refused(rows, tmp_path):
    model = fitted(rows)
    content = extract(model, tmp_path)
    content["trees"][0]["weights"][0] *= 3
    with pytest.raises(RuntimeError, match="SHAP values differ"):
        contributions.check(content, model, rows)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"grow_policy": "Depthwise"}, "oblivious"),
        ({"nan_mode": "Max"}, "feature 1: NaN"),
        ({"loss_function": "MultiClass"}, "expected one score"),
    ],
)
def test_a_model_of_another_kind_is_refused(rows, tmp_path, parameters, reason):
    if "loss_function" in parameters:
        rows = rows.copy()
    with pytest.raises(RuntimeError, match=reason):
        extract(fitted(rows, **parameters), tmp_path)


def test_training_leaves_the_rankers_contributions(tiny_work):
    work = trained.work(tiny_work)
    content = json.loads((work / ranking.CONTRIBUTIONS).read_text(encoding="utf-8"))
    held_out = ranking.held_out(work).slice(0, 200)
    margin = contributions.explain(content, ranking.encode(work, held_out)).sum(axis=1)
    probability = ranking.predict_proba(work, held_out)
    np.testing.assert_allclose(1 / (1 + np.exp(-margin)), probability, atol=1e-9)
