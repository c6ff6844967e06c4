"""What a customer does changes the very next answer, on every server: clicks draw like to like."""

import uuid
from datetime import UTC, datetime

import numpy as np
from told import event
from under_test import CANDIDATES

ATTRIBUTE = "garment_group_name"


def today() -> str:
    """The day on which events are told, which is UTC's."""
    return datetime.now(UTC).date().isoformat()


def share(articles: list[str], group: list[str]) -> float:
    return len(set(group).intersection(articles)) / len(articles)


def test_clicks_told_to_one_draw_the_others_next_answers_to_what_is_like_them(two, catalogue):
    told, asked = two
    groups = catalogue.values(ATTRIBUTE)
    sold = np.bincount(catalogue.purchases.article, minlength=len(catalogue.article_ids))
    bestsellers = catalogue.article_ids[np.argsort(-sold, kind="stable")]
    rose = []
    for group in sorted(set(groups.values())):
        members = [str(article) for article in bestsellers if groups[article] == group]
        visitor = {"customer_id": f"visitor {uuid.uuid4()}", "transaction_date": catalogue.date}
        before = share(asked.articles(**visitor), members)
        for article in members[:3]:
            assert told.tell(event("click", visitor["customer_id"], article)).status_code == 202
        rose.append(share(asked.articles(**visitor), members) - before)
    assert sum(change > 0 for change in rose) >= 0.75 * len(rose), rose
    assert sum(rose) > 0


def test_a_visitors_history_in_the_request_says_what_their_clicks_would(two, catalogue):
    told, asked = two
    clicked = [str(article) for article in catalogue.article_ids[[3, 50, 70]]]
    visitor = {"customer_id": f"visitor {uuid.uuid4()}", "transaction_date": catalogue.date}
    stranger = {**visitor, "customer_id": "a stranger"}
    in_request = asked.prediction(**stranger, history=clicked)["ranking"]
    assert in_request != asked.prediction(**stranger)["ranking"]
    for article in reversed(clicked):
        told.tell(event("click", visitor["customer_id"], article))
    assert asked.prediction(**visitor)["ranking"] == in_request


def test_a_click_that_is_told_as_an_event_and_in_the_history_counts_once(two, catalogue):
    told, asked = two
    clicked = [str(article) for article in catalogue.article_ids[[3, 50, 70]]]
    visitor = {"customer_id": f"visitor {uuid.uuid4()}", "transaction_date": today()}
    in_request = asked.prediction(**visitor, history=clicked)["ranking"]
    for article in reversed(clicked):
        told.tell(event("click", visitor["customer_id"], article))
    assert asked.prediction(**visitor, history=clicked)["ranking"] == in_request


def test_what_one_is_told_to_be_dismissed_is_in_no_others_answer(two, catalogue):
    told, asked = two
    visitor = {"customer_id": f"visitor {uuid.uuid4()}", "transaction_date": catalogue.date}
    dismissed = asked.articles(**visitor)[:5]
    for article in dismissed:
        told.tell(event("dismiss", visitor["customer_id"], article))
    left = asked.articles(**visitor)
    assert not set(left) & set(dismissed)
    assert len(left) == CANDIDATES


def test_the_same_question_on_the_same_state_has_the_same_answer_from_every_server(two, catalogue):
    told, asked = two
    customers = [str(catalogue.customer_ids[customer]) for customer in catalogue.buyers(20)]
    for customer in customers[:10]:
        told.tell(event("click", customer, str(catalogue.article_ids[1])))
    for customer in customers:
        question = {"customer_id": customer, "transaction_date": catalogue.date, "history": ["nothing known"]}
        answers = [shop.prediction(**question) for shop in (told, asked, told)]
        assert answers[0] == answers[1] == answers[2]


def test_an_id_that_is_no_text_in_a_history_is_refused_with_its_place(two, catalogue):
    answer = two[0].ask(customer_id="c", transaction_date=catalogue.date, history=["0108775015", 7])
    assert answer.status_code == 400
    assert "row 0: field `history[1]`" in answer.json()["error"]
