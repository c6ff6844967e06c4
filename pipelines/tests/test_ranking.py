"""The ranker: graphs from raw features, and from encoded ones, to CatBoost's own probability."""

import json
import shutil

import catboost
import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trained

from hemline import ranker, ranking, recipe
from hemline.ranking_features import FEATURES, RECIPE
from hemline.schema import ranking_file


@pytest.fixture(scope="module")
def trained_work(tiny_work):
    return trained.work(tiny_work)


@pytest.fixture(scope="module")
def held_out(trained_work) -> pa.Table:
    return ranking.held_out(trained_work).slice(0, 500)


def test_the_graph_answers_as_catboost_does(trained_work, held_out):
    session = onnxruntime.InferenceSession(trained_work / "ranker.onnx")
    expected = ranking.predict_proba(trained_work, held_out)
    np.testing.assert_allclose(ranker.run_onnx(session, FEATURES, held_out), expected, atol=1e-5)


def test_texts_nobody_ever_saw_are_answered_too(trained_work, held_out):
    strange = held_out
    for name in ranker.categories(FEATURES):
        column = pa.array([f"strange {i} ✂" for i in range(len(held_out))])
        strange = strange.set_column(strange.schema.get_field_index(name), name, column)
    session = onnxruntime.InferenceSession(trained_work / "ranker.onnx")
    scores = ranker.run_onnx(session, FEATURES, strange)
    np.testing.assert_allclose(scores, ranking.predict_proba(trained_work, strange), atol=1e-5)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_graph_takes_the_ranking_features_by_name_and_gives_scores(trained_work, held_out):
    session = onnxruntime.InferenceSession(trained_work / "ranker.onnx")
    types = {"FP32": "tensor(float)", "BYTES": "tensor(string)"}
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        (feature["name"], types[feature["datatype"]], ["rows", 1]) for feature in FEATURES
    ]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("scores", ["rows"])]
    scores = ranker.run_onnx(session, FEATURES, held_out)
    assert scores.dtype == np.float32
    assert scores.shape == (len(held_out),)


def test_the_graph_tells_neither_when_nor_where_it_was_trained(trained_work):
    model = onnx.load(trained_work / "ranker.onnx")
    assert not model.metadata_props
    assert not {node.op_type for node in model.graph.node} & {"ZipMap", "TreeEnsembleClassifier"}


def test_the_encoded_graph_takes_the_numbers_of_contributions_and_scores_as_the_other_does(
    trained_work, held_out
):
    content = json.loads((trained_work / ranking.CONTRIBUTIONS).read_text(encoding="utf-8"))
    columns, told = [], held_out
    for i, feature in enumerate(content["features"]):
        name = feature["name"]
        if feature["datatype"] == "BYTES":
            # Each feature is strange in another third of the rows.
            texts = [
                "strange ✂" if row % 3 == i % 3 else text
                for row, text in enumerate(held_out[name].to_pylist())
            ]
            told = told.set_column(told.schema.get_field_index(name), name, pa.array(texts))
            columns.append([feature["numbers"].get(text, feature["unknown"]) for text in texts])
        else:
            columns.append(held_out[name].to_pylist())
    session = onnxruntime.InferenceSession(trained_work / "ranker_encoded.onnx")
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("encoded", "tensor(float)", ["rows", len(FEATURES)])
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("scores", "tensor(float)", ["rows"])
    ]
    raw = onnxruntime.InferenceSession(trained_work / "ranker.onnx")
    scores = ranker.run_encoded(session, np.array(columns, np.float32).T)
    np.testing.assert_array_equal(scores, ranker.run_onnx(raw, FEATURES, told))


def test_a_ranker_that_differs_from_catboost_is_refused(trained_work, held_out, tmp_path):
    forest = catboost.CatBoostClassifier().load_model(str(trained_work / "ranker.cbm"))
    encoders = json.loads((trained_work / "ranker.json").read_text())["encoders"]
    good = {name: trained_work / name for name in (ranking.GRAPH, ranking.ENCODED_GRAPH)}
    assert ranker.check_parity(*good.values(), forest, FEATURES, encoders, held_out) <= 1e-5

    model = onnx.load(good[ranking.GRAPH])
    (encoder, *_) = (node for node in model.graph.node if node.op_type == "LabelEncoder")
    (values,) = (a for a in encoder.attribute if a.name == "values_floats")
    values.floats[:] = [-1.0] * len(values.floats)
    onnx.save(model, tmp_path / ranking.GRAPH)

    model = onnx.load(good[ranking.ENCODED_GRAPH])
    (leaves,) = (tensor for tensor in model.graph.initializer if tensor.name == "trees_leaves")
    content = onnx.numpy_helper.to_array(leaves) * np.float32(1.01)
    leaves.CopyFrom(onnx.numpy_helper.from_array(content, leaves.name))
    onnx.save(model, tmp_path / ranking.ENCODED_GRAPH)

    for bad in good:
        graphs = (good | {bad: tmp_path / bad}).values()
        with pytest.raises(RuntimeError, match=f"^{bad} differs from CatBoost"):
            ranker.check_parity(*graphs, forest, FEATURES, encoders, held_out)


def test_categories_are_numbered_by_how_well_they_sell_and_rare_ones_are_unknown():
    rows = [("good", 1)] * 20 + [("bad", 1)] + [("bad", 0)] * 29 + [("rare", 1)] * 19
    columns = {name: [value for value, _ in rows] for name in ranker.categories(RECIPE)}
    table = pa.table(columns | {"label": [label for _, label in rows]})
    assert ranker.fit_encoders(table, RECIPE)["index_name"] == {"bad": 0.0, "good": 1.0}


def test_only_the_season_at_hand_is_learned_from():
    months = np.arange(1, 13)
    angle = 2 * np.pi * months / 12
    season = {"month_sin": np.sin(angle), "month_cos": np.cos(angle)}
    table = pa.table({"month": months, "label": months % 2, **season})
    assert recipe.of_season(table, "2020-01-15")["month"].to_pylist() == [1, 12]


def test_a_season_without_purchases_is_not_all_that_is_learned_from():
    table = pa.table({"month_sin": [0.5, 0.5], "month_cos": [3**0.5 / 2] * 2, "label": [1, 0]})  # January
    assert recipe.of_season(table, "2020-07-15").equals(table)
    assert recipe.of_season(table, "2020-01-15").equals(table)


def test_an_empty_split_has_the_columns_of_any_other(trained_work, tmp_path):
    full = pq.read_table(trained_work / ranking_file("train"))
    pq.write_table(full.slice(0, 0), tmp_path / ranking_file("validation"))
    empty, other = recipe.read(tmp_path, "validation"), recipe.read(trained_work, "train")
    assert empty.schema == other.schema
    assert pa.concat_tables([other, empty]).num_rows == len(other)


def test_what_cannot_be_measured_is_left_open_in_a_way_that_json_has():
    nothing = ranking.quality(np.array([0]), np.array([0.1]))
    assert nothing == {"precision": None, "recall": None, "f1": None, "auc": None}


def test_training_prints_nothing_on_stdout(tiny_work, tmp_path, capfd):
    ranking.train(shutil.copytree(tiny_work, tmp_path / "work"), seed=1, recipes=True)
    assert capfd.readouterr().out == ""


def test_quality_is_what_its_names_say():
    got = ranking.quality(np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.1]))
    assert got == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "auc": 0.75}
