"""An answer has the best articles that meet the request's filter, and says why where they are few."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from under_test import ids, rankings

from hemline.interactions import Baskets

ATTRIBUTE = "garment_group_name"


@pytest.fixture(scope="module")
def groups(catalogue) -> dict[str, str]:
    """The garment group of each article."""
    return catalogue.values(ATTRIBUTE)


@pytest.fixture(scope="module")
def prices(under_test) -> dict[str, float]:
    """The price of each article, as the bundle has it."""
    with pa.memory_map(str(under_test.bundle / "retrieval/articles.arrow")) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
        return dict(zip(batch["article_id"].to_pylist(), batch["price"].to_pylist(), strict=True))


def test_the_list_has_the_best_articles_that_meet_the_filter(
    pair, under_test, catalogue, groups, some_customers
):
    customers = some_customers[:50]
    wanted = [group for group, _ in Counter(groups.values()).most_common(3)]
    allowed = np.array([groups[article] in wanted for article in catalogue.article_ids])
    bought = catalogue.bought(customers)
    own = np.split(bought.articles, bought.offsets[1:-1])
    left_out = [np.union1d(articles, np.flatnonzero(~allowed)) for articles in own]
    offsets = np.concatenate(([0], np.cumsum([len(articles) for articles in left_out])))
    baskets = Baskets(customers, offsets, np.concatenate(left_out))
    exact = catalogue.candidates(customers, baskets, under_test.manifest)
    questions = [catalogue.instance(customer, filter={ATTRIBUTE: {"in": wanted}}) for customer in customers]
    found = 0
    for ranking, row in zip(rankings(pair, questions), exact, strict=True):
        best = row[row >= 0]
        assert len(ranking) == len(set(ids(ranking))) == len(best)
        assert all(groups[article] in wanted for article in ids(ranking))
        found += len(set(ids(ranking)) & set(catalogue.article_ids[best]))
    assert found >= 0.95 * (exact >= 0).sum()


def test_conditions_on_several_columns_hold_together(pair, a_question, groups, prices):
    usual = float(np.nanmedian(list(prices.values())))
    excluded = Counter(groups.values()).most_common(1)[0][0]
    conditions = {ATTRIBUTE: {"not": excluded}, "price": {"lte": usual}}
    (ranking,) = rankings(pair, [a_question | {"filter": conditions}])
    assert ranking
    assert all(groups[article] != excluded and prices[article] <= usual for article in ids(ranking))


def test_a_short_list_says_what_cut_it(pair, catalogue, a_question):
    bought = set(catalogue.bought_ids(catalogue.buyers(1)[0]))
    few = [str(article) for article in catalogue.article_ids if article not in bought][:7]

    def answer(**more: object) -> dict:
        (prediction,) = pair.predict(a_question | more).json()["predictions"]
        return prediction

    listed = {"article_id": {"in": few}}
    assert set(ids(answer(filter=listed)["ranking"])) == set(few)
    assert answer(filter=listed)["short"] == "7 articles are eligible; filter.article_id leaves 7"
    assert (
        answer(filter=listed, exclude=few[:2])["short"]
        == "5 articles are eligible; filter.article_id leaves 7"
    )
    assert "short" not in answer(filter=listed, k=7)
    nothing = answer(filter={ATTRIBUTE: "no such group"})
    assert nothing["ranking"] == []
    assert nothing["short"] == f"0 articles are eligible; filter.{ATTRIBUTE} leaves 0"
