"""An event counts once, however often it is told, to whom, and whatever it is."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from told import KINDS, event
from under_test import ids

TOLD = 10


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_told_twice_is_one_row_and_changes_no_answer(two, a_store, catalogue, kind):
    question = {"customer_id": "visitor", "transaction_date": catalogue.date}
    stranger = two[0].articles(**question)
    events = [event(kind, "visitor", article) for article in stranger[:TOLD]]
    assert two[0].tell(*events).json() == {"accepted": TOLD, "repeated": 0}
    once = [shop.prediction(**question) for shop in two]
    assert once[0] == once[1]
    assert (ids(once[0]["ranking"]) == stranger) == (kind == "shown"), "what was told counts"
    assert two[1].tell(*events, events[0]).json() == {"accepted": 0, "repeated": TOLD + 1}
    for repeated in events:
        assert two[0].tell(repeated).json() == {"accepted": 0, "repeated": 1}
    assert [shop.prediction(**question) for shop in two] == once
    assert a_store.value("SELECT count(*) FROM hemline.interactions") == TOLD


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_told_to_both_at_the_same_time_is_accepted_by_one(two, a_store, catalogue, kind):
    events = [event(kind, "visitor", str(article)) for article in catalogue.article_ids[:TOLD]]
    with ThreadPoolExecutor(2) as telling:
        for told in events:
            counts = [answer.json() for answer in telling.map(lambda shop, told=told: shop.tell(told), two)]
            assert sum(count["accepted"] for count in counts) == 1
            assert sum(count["repeated"] for count in counts) == 1
    assert a_store.value("SELECT count(*) FROM hemline.interactions") == TOLD
