"""Who answers where others can't: down to what is most sold, always in time, told and counted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mock_predictor import MockPredictor, Reply, good, told
from most_sold import MostSold, without_most_sold
from stores import TestStore
from test_live_switch import metric
from test_rankers import upstream_is
from told import Shop, purchase
from under_test import UnderTest, ids

from hemline.pair import MODEL

DEGRADE = "--on-ranker-failure=degrade"
# One thread, and one place to wait for it: of so many rows that come together most find no room.
SATURATED = ("--workers=1", "--queue=1")
ROWS = 64


@pytest.fixture(scope="module")
def sold(under_test, tmp_path_factory) -> MostSold:
    """A bundle that says what is most sold."""
    return MostSold(under_test, tmp_path_factory.mktemp("sold") / "bundle")


@pytest.fixture
def shop_over(under_test, mock, tmp_path):
    """Makes a transformer over the mock, with a store of its own that knows Anna, who is 20."""

    store = TestStore.sqlite(tmp_path / "store.db")
    store.know({"anna": 20.0})
    over: UnderTest = replace(under_test, store=store.url)

    @contextmanager
    def make(bundle: Path, *flags: str) -> Iterator[Shop]:
        mock.reply = told
        server = over.transformer(tmp_path, mock.host, *flags, bundle=bundle)
        try:
            shop = Shop(server)
            shop.store = store
            # Ready without it, and not yet sure what it takes.
            server.until(lambda: upstream_is(server.url, {"ranking": "ready"}), "see the mock")
            yield shop
            server.check_alive()
        finally:
            server.kill()

    return make


def ask(shop: Shop, *instances: dict, **headers: str):
    """All of them in one request."""
    return shop.http.post(f"/v1/models/{MODEL}:predict", json={"instances": instances}, headers=headers)


def predictions(shop: Shop, *instances: dict) -> list[dict]:
    """Their answers, which must be some."""
    answer = ask(shop, *instances)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def popular(found: list[dict]) -> list[dict]:
    """Those that are what is most sold."""
    return [one for one in found if one.get("degraded", "").endswith("popularity")]


@pytest.mark.parametrize(("age", "k"), [(18, 10), (18.5, 100), (60, 10), (90, 10)])
def test_where_retrieval_has_no_room_the_list_is_what_is_most_sold_to_the_age_group(
    shop_over, sold, catalogue, age, k
):
    question = {"customer_id": "visitor", "transaction_date": catalogue.date, "age": age, "k": k}
    with shop_over(sold.bundle, DEGRADE, *SATURATED) as shop:
        found = predictions(shop, *[question] * ROWS)
        assert {len(one["ranking"]) for one in found} == {k}
        last = popular(found)
        assert last
        for one in last:
            assert (one["degraded"], one["scored"]) == ("retrieval: overloaded; popularity", 0)
            assert {score for score, _ in one["ranking"]} == {0.0}
            assert ids(one["ranking"]) == sold.best(age, (), k)
            assert "short" not in one
        counted = metric(shop, "degraded_answers_total", rung="popularity", reason="overloaded")
        assert counted == metric(shop, "ranker_answers_total", ranker="popularity") == len(last)
        assert metric(shop, "ranker_answers_total") == ROWS
        assert metric(shop, "degraded_answers_total") == sum("degraded" in one for one in found)


def test_what_is_most_sold_is_filtered_as_any_other_list(shop_over, sold, catalogue):
    values = catalogue.values("index_group_name")
    group = max(sorted(set(values.values())), key=list(values.values()).count)
    others = {article for article, value in values.items() if value != group}
    bought, dismissed, sold_out, excluded, best = sold.best(20, others, 5)
    question = {"customer_id": "anna", "transaction_date": catalogue.date, "k": 20}
    question |= {"exclude": [excluded], "filter": {"index_group_name": group}}
    with shop_over(sold.bundle, DEGRADE, *SATURATED) as shop:
        shop.store.buy("anna", [bought])
        assert shop.tell(purchase("anna", dismissed, type="dismiss")).status_code == 202
        shop.store.execute("INSERT INTO hemline.stock VALUES (?, 0)", [(sold_out,)])
        last = popular(predictions(shop, *[question] * ROWS))
        assert last
        without = others | {bought, dismissed, sold_out, excluded}
        expected = sold.best(20, without, 20)
        assert expected[0] == best
        assert [ids(one["ranking"]) for one in last] == [expected] * len(last)
        few = question | {"filter": {"article_id": {"in": [bought, best]}}}
        last = popular(predictions(shop, *[few] * ROWS))
        assert last
        assert {len(one["ranking"]) for one in last} == {1}
        assert {one["short"].partition(";")[0] for one in last} == {"1 articles are eligible"}


def test_where_it_is_to_be_an_error_or_the_bundle_does_not_know_it_is_one(
    shop_over, sold, under_test, catalogue, tmp_path
):
    question = {"customer_id": "visitor", "transaction_date": catalogue.date, "age": 30}
    without = without_most_sold(under_test, tmp_path / "without")
    for bundle, flags in [(sold.bundle, ()), (without, (DEGRADE,))]:
        with shop_over(bundle, *SATURATED, *flags) as shop:
            answer = ask(shop, *[question] * ROWS)
            assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")


def milliseconds(timeout: str) -> int:
    """A timeout as the client says it."""
    assert timeout.endswith("ms")
    return int(timeout.removesuffix("ms"))


def test_the_predictor_is_told_its_part_of_the_deadline_whoever_says_that(
    shop_over, under_test, mock: MockPredictor, catalogue
):
    question = {"customer_id": "anna", "transaction_date": catalogue.date}
    for flags, share in [((DEGRADE,), 0.9), ((), 1)]:
        with shop_over(under_test.bundle, "--deadline-ms=6000", *flags) as shop:
            for headers, deadline in [({}, 6000), ({"x-request-timeout": "4s"}, 4000)]:
                mock.timeouts.clear()
                assert ask(shop, question, **headers).status_code == 200
                (timeout,) = mock.timeouts
                # What came before took its time too; never is it more.
                assert 0 < milliseconds(timeout) <= deadline * share


def test_an_answer_is_there_by_the_deadline_whoever_says_that(
    shop_over, under_test, mock: MockPredictor, catalogue
):
    question = {"customer_id": "anna", "transaction_date": catalogue.date}

    def never(request: dict) -> Reply:
        mock.released.wait()
        return Reply.of(good(request))

    for flag, headers in [("--deadline-ms=1000", {}), ("--deadline-ms=60000", {"x-request-timeout": "1s"})]:
        with shop_over(under_test.bundle, DEGRADE, flag) as shop:
            assert ask(shop, question).status_code == 200
            mock.reply = never
            begun = time.monotonic()
            answer = ask(shop, question, **headers)
            assert time.monotonic() - begun < 1
            (prediction,) = answer.json()["predictions"]
            assert prediction["degraded"] == "ranking: upstream_timeout; retrieval"
            assert len(prediction["ranking"]) == 100
            counted = metric(shop, "degraded_answers_total", rung="retrieval", reason="upstream_timeout")
            assert counted == 1
