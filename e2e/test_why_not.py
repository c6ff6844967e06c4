"""Why an article is not in a list: the step at which it dropped out, with the numbers."""

import json
import uuid

import pytest
from told import purchase, shops

from hemline.pair import MODEL, predictions, v2_body

K = 12


@pytest.fixture(scope="module")
def question(catalogue) -> dict:
    """Of a customer with purchases, with room for an article at each step."""
    return catalogue.instance(catalogue.buyers(1)[0], k=K)


def way(pair, question: dict, article: str, **more: object) -> dict:
    """What is told of one article's way."""
    answer = pair.explain({**question, **more, "article_id": article})
    assert answer.status_code == 200, answer.text
    return answer.json()["explanations"][0]["article"]


def listed(pair, question: dict) -> list[str]:
    (prediction,) = predictions(pair.predict(question).json())
    return [article for _, article in prediction["ranking"]]


def test_an_article_that_the_bundle_does_not_have_is_not_in_the_catalogue(pair, question):
    assert way(pair, question, "no such article") == {"article_id": "no such article", "step": "catalogue"}


def test_what_was_bought_dropped_out_before_the_search(pair, question, catalogue):
    bought = sorted(catalogue.bought_ids(catalogue.buyers(1)[0]))[0]
    told = way(pair, question, bought)
    assert told["step"] == "filter"
    assert [name for name, holds in told["filter"].items() if not holds] == ["not_purchased"]
    assert "retrieval" not in told
    assert "ranking" not in told


def test_each_condition_that_an_article_fails_is_named_and_no_other(pair, question, catalogue):
    article = listed(pair, question)[0]
    groups = catalogue.values("garment_group_name")
    other = next(group for group in sorted(set(groups.values())) if group != groups[article])
    conditions = {"garment_group_name": other, "article_id": article}
    told = way(pair, question, article, filter=conditions, exclude=[article])
    assert told["step"] == "filter"
    failed = {name for name, holds in told["filter"].items() if not holds}
    assert failed == {"filter.garment_group_name", "not_excluded"}
    assert told["filter"]["filter.article_id"]


def test_what_was_dismissed_or_is_sold_out_is_named_so(under_test, a_store, pair, tmp_path, catalogue):
    with shops(under_test, a_store.url, pair.predictor.url.removeprefix("http://"), tmp_path) as (
        told,
        asked,
    ):
        visitor = {"customer_id": f"visitor {uuid.uuid4()}", "transaction_date": catalogue.date, "k": K}
        dismissed, sold_out = asked.articles(**visitor)[:2]
        told.tell(purchase(visitor["customer_id"], dismissed) | {"type": "dismiss"})
        a_store.execute(f"INSERT INTO hemline.stock VALUES ('{sold_out}', 0)")
        for article, verdict in ((dismissed, "not_dismissed"), (sold_out, "in_stock")):
            filters = way(asked, visitor, article)["filter"]
            assert [name for name, holds in filters.items() if not holds] == [verdict]


def test_what_is_too_far_from_the_query_was_no_candidate(pair, question, catalogue):
    candidates = set(listed(pair, {**question, "k": 100}))
    bought = catalogue.bought_ids(catalogue.buyers(1)[0])
    article = next(str(a) for a in catalogue.article_ids if a not in candidates | bought)
    told = way(pair, question, article)
    assert told["step"] == "retrieval"
    missed = told["retrieval"]
    assert missed["rank"] > 1
    assert missed["popularity_rank"] > 15
    assert missed["candidates"] == 100
    assert "ranking" not in told


def test_what_others_are_ranked_above_was_a_candidate_and_says_its_place(pair, question):
    whole = listed(pair, {**question, "k": 100})
    told = way(pair, question, whole[40])
    assert told["step"] == "ranking"
    assert (told["ranking"]["place"], told["ranking"]["k"], told["ranking"]["scored"]) == (41, K, True)
    assert told["ranking"]["score"] <= told["ranking"]["last_score"]
    assert told["retrieval"]["sources"]
    contributions = told["explanation"]["contributions"]
    assert set(contributions) == set(told["features"])


def test_what_is_in_the_list_is_told_so_and_explained_once(pair, question):
    articles = listed(pair, question)
    answer = pair.explain({**question, "article_id": articles[3]}).json()["explanations"][0]
    assert answer["article"]["step"] == "listed"
    assert answer["article"]["ranking"]["place"] == 4
    assert [article["article_id"] for article in answer["articles"]] == articles
    assert answer["article"]["explanation"] == answer["articles"][3]["explanation"]


def test_a_prediction_tells_no_ways(pair, question):
    answer = pair.predict({**question, "article_id": "0108775015"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert "row 0: field `article_id`" in answer.json()["error"]


def test_v2_tells_the_same_way_in_its_options(pair, question):
    article = listed(pair, {**question, "k": 100})[40]
    options = json.dumps({**question, "article_id": article})
    body = v2_body(options=("BYTES", [options])) | {"outputs": [{"name": "explanations"}]}
    answer = pair.http.post(f"/v2/models/{MODEL}/infer", json=body)
    (output,) = answer.json()["outputs"]
    assert json.loads(output["data"][0])["article"] == way(pair, question, article)
