"""Whatever is asked: exactly k eligible articles, each once, wherever there are k; else all there are."""

import pytest
from random_questions import Eligibility, Questions, Shelf
from stores import TestStore
from told import Shop, event
from under_test import CANDIDATES, ids

from hemline import load

QUESTIONS, AT_ONCE = 5_000, 250  # of each kind of store; of a request
COLLECTORS, LEFT = 3, 40
VISITORS = 100


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def loaded(request, under_test, tmp_path_factory) -> TestStore:
    """A store of each kind with customers and what they bought before; every ninth article is sold out."""
    if request.param == "sqlite":
        store = TestStore.sqlite(tmp_path_factory.mktemp("store") / "store.db")
    else:
        store = TestStore(request.getfixturevalue("postgres").create_database())
    load.run(under_test.work, store.url)
    return store


@pytest.fixture(scope="module")
def shelf(under_test) -> Shelf:
    """The bundle's articles."""
    return Shelf(under_test.bundle)


@pytest.fixture(scope="module")
def pair(under_test, loaded, tmp_path_factory):
    """The pair over that store."""
    with under_test.pair(tmp_path_factory.mktemp("pair"), store=loaded.url) as pair:
        yield pair


@pytest.fixture(scope="module")
def customers(pair, loaded, shelf, catalogue) -> list[str]:
    """Customers with a history, visitors who did something, collectors to whom little is left, strangers."""
    shop = Shop(pair.transformer)
    loaded.execute("DELETE FROM hemline.stock")
    loaded.execute(
        "INSERT INTO hemline.stock VALUES (?, ?)",
        [(article, row % 9) for row, article in enumerate(shelf.ids)],
    )
    visitors = [f"visitor {number}" for number in range(VISITORS)]
    collectors = [f"collector {number}" for number in range(COLLECTORS)]
    for number, visitor in enumerate(visitors):
        best = shop.articles(customer_id=visitor, transaction_date=catalogue.date)
        done = zip(["purchase", "dismiss", "click", "shown"] * 10, best[number % 5 :], strict=False)
        assert shop.tell(*(event(kind, visitor, article) for kind, article in done)).status_code == 202
    for number, collector in enumerate(collectors):
        bought = shelf.ids[number * LEFT :]
        for start in range(0, len(bought), 1000):
            events = [event("purchase", collector, article) for article in bought[start : start + 1000]]
            assert shop.tell(*events).status_code == 202
    buyers = [str(catalogue.customer_ids[row]) for row in catalogue.buyers(1000)]
    return [*buyers, *visitors * 5, *collectors * 20, *(f"stranger {number}" for number in range(100))]


def test_every_answer_has_exactly_k_eligible_articles_wherever_there_are_k(
    pair, loaded, shelf, customers, catalogue
):
    eligibility = Eligibility(shelf, loaded)
    questions, before, full = Questions(shelf, customers, catalogue.date), {}, 0
    for _ in range(0, QUESTIONS, AT_ONCE):
        asked = [questions.question() for _ in range(AT_ONCE)]
        # What would be the best is what is left out.
        asked = [question | before.pop(question["customer_id"], {}) for question in asked]
        answers = pair.predict(*asked)
        assert answers.status_code == 200, answers.text
        for question, answer in zip(asked, answers.json()["predictions"], strict=True):
            found, eligible, k = (
                ids(answer["ranking"]),
                eligibility.of(question),
                question.get("k", CANDIDATES),
            )
            assert len(found) == len(set(found)) == min(k, len(eligible)), question
            assert set(found) <= eligible, question
            short = answer.get("short", "").partition(";")[0]
            assert short == ("" if len(found) == k else f"{len(eligible)} articles are eligible"), question
            before[question["customer_id"]] = {"exclude": found}
            full += len(found) == k
    assert QUESTIONS / 2 < full < QUESTIONS, "most have as many as they ask for, and some have not"
