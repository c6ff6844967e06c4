"""Nobody is recommended what they own already, from the moment on that the store knows of it."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from under_test import CANDIDATES, ids, leaks, rankings, small_store

from hemline import interactions

# Another process, as any service beside the servers would write; it is done when it has ended.
BUY = """
import sqlite3, sys, uuid
path, customer, *articles = sys.argv[1:]
db = sqlite3.connect(path, timeout=30)
with db:
    db.executemany(
        "INSERT INTO interactions (event_id, source, customer_id, kind, article_id, occurred_at) "
        "VALUES (?, 'test', ?, 'purchase', ?, '2020-09-22T10:00:00Z')",
        [(str(uuid.uuid4()), customer, article) for article in articles],
    )
db.close()
"""


@pytest.fixture
def shop(under_test, catalogue, tmp_path):
    """A pair over a store of its own, with one customer and what they bought."""
    customer = catalogue.buyers(1)[0]
    path = tmp_path / "store.db"
    store = small_store(path, {catalogue.customer_ids[customer]: catalogue.bought_ids(customer)})
    with under_test.pair(tmp_path / "logs", store=store) as pair:
        yield Shop(pair, path, catalogue, customer)


class Shop:
    """A running pair whose store others write to."""

    def __init__(self, pair, store, catalogue, customer):
        self.pair, self.store, self.catalogue = pair, store, catalogue
        self.customer_id = catalogue.customer_ids[customer]
        self.bought = catalogue.bought_ids(customer)

    def ranking(self, customer_id: str, **more: object) -> list[str]:
        question = {"customer_id": customer_id, "transaction_date": self.catalogue.date, **more}
        return ids(rankings(self.pair, [question])[0])

    def buy(self, customer_id: str, *articles: str) -> None:
        subprocess.run([sys.executable, "-c", BUY, self.store, customer_id, *articles], check=True)


def test_what_was_bought_is_in_no_answer(pair, catalogue, some_customers):
    by_size = sorted(some_customers, key=lambda customer: -len(catalogue.bought_ids(customer)))
    most = np.array(by_size[:100])
    items, nothing = np.load(catalogue.work / "item_embeddings.npy"), interactions.no_baskets(len(most))
    unfiltered = interactions.top(catalogue.queries(most), items, nothing, CANDIDATES)
    best = zip(most, unfiltered, strict=True)
    owned = [set(catalogue.article_ids[found]) & catalogue.bought_ids(customer) for customer, found in best]
    assert any(owned), "nobody would be recommended what they own: these customers show nothing"
    for customer, ranking in zip(most, rankings(pair, map(catalogue.instance, most)), strict=True):
        assert not set(ids(ranking)) & catalogue.bought_ids(customer)


def test_what_was_bought_is_in_no_answer_to_an_embedded_query_either(pair, catalogue):
    customer = catalogue.buyers(1)[0]
    (query,) = catalogue.queries(np.array([customer]))
    question = {"customer_id": catalogue.customer_ids[customer], "query_emb": query.tolist()}
    (ranking,) = rankings(pair, [question | {"month_sin": 0.0, "month_cos": 1.0}])
    assert not set(ids(ranking)) & catalogue.bought_ids(customer)


def test_a_purchase_that_another_process_writes_is_known_to_the_very_next_request(shop):
    bought = set(shop.bought)
    for _ in range(5):
        best = shop.ranking(shop.customer_id, k=3)
        shop.buy(shop.customer_id, *best)
        bought.update(best)
        assert not set(shop.ranking(shop.customer_id)) & bought


def test_purchases_of_a_visitor_nobody_knows_are_known_too(shop):
    best = shop.ranking("visitor-7", k=3)
    shop.buy("visitor-7", *best)
    assert not set(shop.ranking("visitor-7")) & set(best)
    assert shop.ranking("visitor-8", k=3) == best


def test_who_bought_nearly_everything_gets_the_rest_and_is_told_why_the_list_is_short(shop):
    everything = [str(article) for article in shop.catalogue.article_ids]
    left = set(everything[::-1][:7])
    small = 1000  # articles a process: an argument list has a bound
    others = [article for article in everything if article not in left]
    for start in range(0, len(others), small):
        shop.buy("collector", *others[start : start + small])
    answer = shop.pair.predict({"customer_id": "collector", "transaction_date": shop.catalogue.date})
    (prediction,) = answer.json()["predictions"]
    assert set(ids(prediction["ranking"])) == left
    assert prediction["short"] == "7 articles are eligible"
    excluded = shop.ranking("collector", exclude=sorted(left)[:5])
    assert set(excluded) == set(sorted(left)[5:])
    shop.buy("collector", *left)
    assert shop.ranking("collector") == []


def test_a_store_that_fails_is_503_and_shows_nothing_of_itself(shop):
    with closing(sqlite3.connect(shop.store)) as db:
        db.execute("ALTER TABLE interactions RENAME TO elsewhere")
    question = {"customer_id": shop.customer_id, "transaction_date": shop.catalogue.date}
    answer = shop.pair.predict(question)
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
    assert not leaks(answer, shop.store, "interactions")
    with closing(sqlite3.connect(shop.store)) as db:
        db.execute("ALTER TABLE elsewhere RENAME TO interactions")
    assert shop.ranking(shop.customer_id)


def test_excluded_articles_make_room_for_the_next_best(shop):
    whole = shop.ranking("visitor-9")
    rest = shop.ranking("visitor-9", exclude=[*whole[:10], "no-such-article"])
    assert not set(rest) & set(whole[:10])
    assert len(rest) == min(CANDIDATES, len(shop.catalogue.article_ids) - 10)
    # Where the others stand depends on who else is a candidate.
    assert set(whole[10:]) <= set(rest)
