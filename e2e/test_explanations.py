"""What predictor-gbdt says of its scores is what CatBoost says: exact contributions of each feature."""

import json
from collections.abc import Iterator

import catboost
import httpx
import numpy as np
import pyarrow as pa
import pytest
from under_test import as_tensors, shadow, without

from hemline import bundle as bundles
from hemline import ranking
from hemline.pair import MODEL, predictions, v2_body
from hemline.schema import ARTICLE_ATTRIBUTES

ROWS, SOME = 1_000, 100  # in all, and of a request
TOLERANCE = 1e-4
INFER, EXPLAIN = f"/v2/models/{MODEL}/infer", f"/v1/models/{MODEL}:explain"


@pytest.fixture(scope="module")
def http(under_test, tmp_path_factory) -> Iterator[httpx.Client]:
    """The predictor alone, over the bundle under test."""
    server = under_test.predictor(tmp_path_factory.mktemp("predictor") / "log")
    try:
        server.wait_ready()
        with httpx.Client(base_url=server.url, timeout=120) as http:
            yield http
        server.check_alive()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def rows(catalogue) -> pa.Table:
    """1,000 customers and articles, every seventh of them with a category that nobody ever saw."""
    articles = np.random.default_rng(11).permutation(catalogue.article_ids)
    per_customer = ROWS // 10
    tables = [
        catalogue.features(customer, articles[i * per_customer : (i + 1) * per_customer])
        for i, customer in enumerate(catalogue.buyers(10))
    ]
    table = pa.concat_tables(tables)
    strange = table["garment_group_name"].to_pylist()
    strange[::7] = ["never seen ✂"] * len(strange[::7])
    return with_column(table, "garment_group_name", pa.array(strange))


def with_column(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The same rows with other values in one column."""
    return rows.set_column(rows.column_names.index(name), name, values)


@pytest.fixture(scope="module")
def expected(catalogue, rows) -> np.ndarray:
    """CatBoost's own: float64 [rows, features + 1], the base value last."""
    return catboosts(catalogue.work, rows)


def catboosts(work, rows: pa.Table) -> np.ndarray:
    model = catboost.CatBoostClassifier(allow_writing_files=False).load_model(str(work / "ranker.cbm"))
    encoded = ranking.encode(work, rows)
    return model.get_feature_importance(catboost.Pool(encoded), type="ShapValues", shap_mode="NoPreCalc")


def v1(rows: pa.Table) -> dict:
    """The rows as one V1 instance."""
    columns = [rows[name].to_pylist() for name in rows.column_names]
    instance = {
        "ranking_features": [list(row) for row in zip(*columns, strict=True)],
        "article_ids": ids(rows),
    }
    return {"instances": [instance]}


def v2(rows: pa.Table, *outputs: str) -> dict:
    """The rows as tensors, and what is wanted of them."""
    body = v2_body(**as_tensors(rows), article_id=("BYTES", [[article] for article in ids(rows)]))
    return body | ({"outputs": [{"name": name} for name in outputs]} if outputs else {})


def ids(rows: pa.Table) -> list[str]:
    """An id for each row."""
    return [str(row) for row in range(len(rows))]


def outputs(answer: httpx.Response) -> dict[str, list]:
    """The data of each output, in the answer's order."""
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def assert_catboosts(texts: list[str], names: list[str], expected: np.ndarray, scores: list[float]) -> None:
    """Each feature's contribution is CatBoost's; they add up to the margin, and that to the score."""
    told = [json.loads(text) for text in texts]
    assert all(list(row["contributions"]) == names for row in told)
    contributions = np.array([list(row["contributions"].values()) for row in told])
    base, margin = (np.array([row[name] for row in told]) for name in ("base", "margin"))
    assert np.abs(contributions - expected[:, :-1]).max() <= TOLERANCE
    assert np.abs(base - expected[:, -1]).max() <= TOLERANCE
    assert np.abs(base + contributions.sum(axis=1) - margin).max() <= 1e-9
    assert np.abs(1 / (1 + np.exp(-margin)) - scores).max() <= 1e-5


def test_contributions_are_catboosts_own_by_v1_and_v2(http, rows, expected):
    assert len(rows) == ROWS
    for start in range(0, ROWS, SOME):
        some = rows.slice(start, SOME)
        answered = outputs(http.post(INFER, json=v2(some, "scores", "article_ids", "explanations")))
        assert answered["article_ids"] == ids(some)
        wanted = expected[start : start + SOME]
        assert_catboosts(answered["explanations"], rows.column_names, wanted, answered["scores"])
        by_v1 = http.post(EXPLAIN, json=v1(some))
        assert by_v1.status_code == 200, by_v1.text
        explanation = {"article_ids": ids(some), "explanations": answered["explanations"]}
        assert by_v1.json() == {"predictions": [], "explanations": [explanation]}


def test_a_number_that_is_none_goes_where_catboost_sends_it(http, rows, catalogue):
    some = rows.slice(0, 50)
    body = v2(some, "scores", "explanations")
    (age,) = (tensor for tensor in body["inputs"] if tensor["name"] == "age")
    del age["data"]
    values = np.full(len(some), np.nan, np.float32)
    age["parameters"] = {"binary_data_size": values.nbytes}
    header = json.dumps(body).encode()
    lengths = {"inference-header-content-length": str(len(header))}
    answered = outputs(http.post(INFER, content=header + values.tobytes(), headers=lengths))
    wanted = catboosts(catalogue.work, with_column(some, "age", pa.array(values)))
    assert_catboosts(answered["explanations"], rows.column_names, wanted, answered["scores"])


def test_explanations_are_an_output_that_is_asked_for_by_name(http, rows):
    listed = http.get(f"/v2/models/{MODEL}").json()["outputs"]
    assert {"name": "explanations", "datatype": "BYTES", "shape": [-1]} in listed
    some = rows.slice(0, 3)
    assert list(outputs(http.post(INFER, json=v2(some)))) == ["scores", "article_ids"]
    assert list(outputs(http.post(INFER, json=v2(some, "explanations")))) == ["explanations"]


def test_more_rows_than_a_thousand_are_not_explained(http, rows):
    more = pa.concat_tables([rows, rows.slice(0, 1)])
    for answer in (http.post(INFER, json=v2(more, "explanations")), http.post(EXPLAIN, json=v1(more))):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
        assert answer.json()["error"].endswith("output `explanations`: expected at most 1000 rows, got 1001")
    assert http.post(INFER, json=v2(more)).status_code == 200


def test_the_transformer_has_its_rankers_contributions_as_an_object(pair, a_question, catalogue):
    (explanation,) = pair.explain(a_question | {"k": 5}).json()["explanations"]
    assert explanation["ranker"] == "ranking"
    assert len(explanation["articles"]) == 5
    names = [name for name, _ in catalogue.inputs]
    told = [article["features"] for article in explanation["articles"]]
    features = pa.table({name: [row[name] for row in told] for name in names})
    texts = [json.dumps(in_order(article["explanation"], names)) for article in explanation["articles"]]
    scores = [article["score"] for article in explanation["articles"]]
    assert_catboosts(texts, names, catboosts(catalogue.work, features), scores)


def test_an_explanation_says_what_was_scored_and_who_found_it(pair, a_question, catalogue):
    (explanation,) = pair.explain(a_question | {"k": 20}).json()["explanations"]
    ranking_of = ids_of(pair.predict(a_question))
    wanted = catalogue.features(catalogue.buyers(1)[0], ranking_of).to_pylist()
    for article in explanation["articles"]:
        expected = wanted[ranking_of.index(article["article_id"])]
        told = article["features"]
        assert {name for name in told if isinstance(told[name], str)} == set(ARTICLE_ATTRIBUTES)
        for name, value in expected.items():
            assert told[name] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-4)), name
        retrieval = article["retrieval"]
        assert retrieval["rank"] == 1 + expected.get("retrieval_rank", retrieval["rank"] - 1)
        assert retrieval["sources"]
        assert set(retrieval["sources"]) <= {"towers", "alike", "popular"}


def ids_of(answer: httpx.Response) -> list[str]:
    """The articles of a V1 answer's one ranking."""
    (prediction,) = predictions(answer.json())
    return [article for _, article in prediction["ranking"]]


def in_order(explanation: dict, names: list[str]) -> dict:
    """The same with its features in the order of the schema."""
    assert set(explanation["contributions"]) == set(names)
    return explanation | {"contributions": {name: explanation["contributions"][name] for name in names}}


def test_an_older_bundle_is_served_and_explains_nothing(under_test, tmp_path, servers, rows):
    old = without(shadow(under_test.bundle, tmp_path / "bundle"), bundles.CONTRIBUTIONS)
    servers.append(under_test.predictor(tmp_path / "log", bundle=old))
    servers[0].wait_ready()
    some = rows.slice(0, 3)
    with httpx.Client(base_url=servers[0].url, timeout=60) as http:
        assert list(outputs(http.post(INFER, json=v2(some)))) == ["scores", "article_ids"]
        refused = http.post(EXPLAIN, json=v1(some))
        assert (refused.status_code, refused.json()["code"]) == (501, "unimplemented")
        assert http.post(INFER, json=v2(some, "explanations")).status_code == 400
