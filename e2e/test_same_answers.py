"""The same question on the same state has the same answer: on every server, in every form, later too."""

import json

import numpy as np
import pytest
from random_questions import Questions, Shelf
from told import KINDS, event, shops

from hemline.pair import MODEL, predictions, v2_body

QUESTIONS = 200
SEVERAL = 50  # in one request


@pytest.fixture
def state(under_test, a_store, catalogue) -> list[str]:
    """Customers whom training knew, others, visitors, a stranger, in a store with purchases and stock."""
    known = [str(catalogue.customer_ids[row]) for row in catalogue.buyers(20)]
    new = [f"new {number}" for number in range(10)]
    a_store.know(
        {customer: 20.0 + number if number % 3 else None for number, customer in enumerate(known[:10] + new)}
    )
    for number, customer in enumerate(known[5:]):
        a_store.buy(customer, map(str, catalogue.article_ids[number * 7 : number * 9 + 3]))
    a_store.execute(
        "INSERT INTO hemline.stock VALUES (?, ?)",
        [(str(id), n % 4) for n, id in enumerate(catalogue.article_ids[::11])],
    )
    return [*known, *new, *(f"visitor {number}" for number in range(10)), "a stranger"]


@pytest.fixture
def questions(under_test, catalogue, state) -> list[dict]:
    """200 questions with filters, histories, exclusions, ages; every tenth has a query of its own."""
    questions = Questions(Shelf(under_test.bundle), state, catalogue.date)
    asked = [questions.question() for _ in range(QUESTIONS)]
    size = under_test.manifest["retrieval"]["embedding_size"]
    for question, query in zip(
        asked[::10], np.random.default_rng(7).normal(size=(QUESTIONS, size)), strict=False
    ):
        question["query_emb"] = query.tolist()
    return asked


def singly(shop, questions: list[dict]) -> list[dict]:
    """Answers to one question after the other."""
    return [shop.prediction(**question) for question in questions]


def together(shop, questions: list[dict]) -> list[dict]:
    """Answers to the same, the last first, several a request of V1."""
    found = []
    for start in range(0, len(questions), SEVERAL):
        instances = questions[::-1][start : start + SEVERAL]
        answer = shop.http.post(f"/v1/models/{MODEL}:predict", json={"instances": instances})
        assert answer.status_code == 200, answer.text
        found += predictions(answer.json())
    return found[::-1]


def as_tensors(shop, questions: list[dict]) -> list[dict]:
    """Answers to the same by V2."""
    found = []
    for start in range(0, len(questions), SEVERAL):
        options = [json.dumps(question) for question in questions[start : start + SEVERAL]]
        answer = shop.http.post(f"/v2/models/{MODEL}/infer", json=v2_body(options=("BYTES", options)))
        assert answer.status_code == 200, answer.text
        found += predictions(answer.json())
    return found


def test_two_hundred_questions_have_one_answer_each_from_every_server(
    under_test, a_store, pair, state, questions, catalogue, tmp_path
):
    predictor = pair.predictor.url.removeprefix("http://")
    with shops(under_test, a_store.url, predictor, tmp_path / "two") as (one, other):
        for number, customer in enumerate(state[:-1]):
            done = zip(KINDS, catalogue.article_ids[number : number + len(KINDS)], strict=True)
            shop = one if number % 2 else other
            assert (
                shop.tell(*(event(kind, customer, str(article)) for kind, article in done)).status_code == 202
            )
        answers = singly(one, questions)
        assert len({json.dumps(answer) for answer in answers}) > QUESTIONS / 2, "they are different questions"
        assert singly(other, questions) == answers
        assert together(other, questions) == answers
        assert as_tensors(one, questions) == answers
    with shops(under_test, a_store.url, predictor, tmp_path / "later", count=1) as (later,):
        assert singly(later, questions) == answers
