"""Servers over one store: what is told to one is known to all, and what happens when the store is away."""

import time
from dataclasses import replace

import pytest
from stores import TestStore
from told import purchase, shops
from under_test import leaks, refusal

from hemline.pair import Server
from hemline.postgres_server import PostgresServer

ROUNDS = 1000
AN_ANSWER_WITHOUT_PURCHASES = "store: purchases unknown"


def address(server: Server) -> str:
    """host:port of a server."""
    return server.url.removeprefix("http://")


def eventually(holds, seconds: float = 20) -> bool:
    """Whether it comes to be."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_listened_to(store: TestStore) -> bool:
    """Whether somebody waits to be told of changes."""
    return store.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'") > 0


def test_a_purchase_told_to_one_is_honoured_by_the_others_very_next_answer(two, catalogue):
    honoured = 0
    for number in range(ROUNDS):
        told, asked = two if number % 2 else reversed(two)
        customer = {"customer_id": f"visitor-{number % 50}", "transaction_date": catalogue.date}
        best = asked.articles(**customer, k=1)[0]
        assert told.tell(purchase(customer["customer_id"], best)).json() == {"accepted": 1, "repeated": 0}
        honoured += best not in asked.articles(**customer)
    assert honoured == ROUNDS


def test_stock_that_anyone_changes_is_honoured_by_everybodys_very_next_answer(two, a_store, catalogue):
    customer = {"customer_id": "visitor", "transaction_date": catalogue.date}
    whole = two[0].articles(**customer)
    for article in whole[:50]:
        a_store.execute(f"INSERT INTO hemline.stock VALUES ('{article}', 0)")
        for shop in two:
            assert article not in shop.articles(**customer)
    for article in whole[:50]:
        a_store.execute(f"UPDATE hemline.stock SET quantity = 3 WHERE article_id = '{article}'")
        for shop in two:
            assert article in shop.articles(**customer)
    assert two[0].articles(**customer) == two[1].articles(**customer) == whole


def test_a_list_is_full_though_most_is_out_of_stock_and_says_how_many_there_were_where_it_can_not_be(
    two, a_store, catalogue
):
    customer = {"customer_id": "visitor", "transaction_date": catalogue.date}
    left = {str(article) for article in catalogue.article_ids[::-1][:30]}
    gone = ", ".join(f"('{article}', 0)" for article in catalogue.article_ids if article not in left)
    a_store.execute(f"INSERT INTO hemline.stock VALUES {gone}")
    two[0].tell(purchase("visitor", sorted(left)[0]))
    prediction = two[1].prediction(**customer)
    assert {article for _, article in prediction["ranking"]} == left - {sorted(left)[0]}
    assert prediction["short"] == "29 articles are eligible"
    assert len(two[1].articles(**customer, k=20)) == 20


def test_one_bad_event_refuses_all_and_says_which(two, a_store):
    answer = two[0].tell(purchase("visitor", "1"), purchase("visitor", "2", type="stare"))
    assert answer.status_code == 400
    assert "event 1: field `type`" in answer.json()["error"]
    assert a_store.value("SELECT count(*) FROM hemline.interactions") == 0


def test_a_store_that_is_away_is_503_and_not_ready_until_it_is_back(
    under_test, pair, away, catalogue, tmp_path
):
    customer = {"customer_id": "anna", "transaction_date": catalogue.date}
    with shops(under_test, away.url, address(pair.predictor), tmp_path, count=1) as (shop,):
        whole = shop.articles(**customer)
        away.server.kill()
        assert eventually(lambda: not shop.server.is_ready())
        begun = time.monotonic()
        for answer in (shop.ask(**customer), shop.tell(purchase("anna", whole[0]))):
            assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert not leaks(answer, "postgres", "hemline.")
        assert time.monotonic() - begun < 2, "nobody waits for a store that is known to be away"
        away.server.start()
        assert eventually(shop.server.is_ready)
        assert shop.articles(**customer) == whole
        assert shop.tell(purchase("anna", whole[0])).status_code == 202
        assert whole[0] not in shop.articles(**customer)


def test_where_it_is_to_degrade_answers_go_on_and_say_what_they_lack(
    under_test, pair, away, catalogue, tmp_path
):
    question = {"transaction_date": catalogue.date}
    away.know({"anna": 19.0, "bob": 70.0})
    flags = ("--on-store-failure=degrade",)
    with shops(under_test, away.url, address(pair.predictor), tmp_path, *flags, count=1) as (shop,):
        assert eventually(lambda: is_listened_to(away)), "what was known before may have changed"
        before = {name: shop.prediction(customer_id=name, **question) for name in ("anna", "stranger")}
        assert "degraded" not in before["anna"]
        best = before["anna"]["ranking"][0][1]
        assert shop.tell(purchase("anna", best)).status_code == 202
        away.execute("INSERT INTO hemline.stock VALUES ('{}', 0)".format(before["anna"]["ranking"][1][1]))
        assert len(shop.articles(customer_id="anna", **question)) > 2
        away.server.kill()
        after = {name: shop.prediction(customer_id=name, **question) for name in ("anna", "stranger", "bob")}
        assert shop.server.is_ready(), "it can answer"
        assert {answer["degraded"] for answer in after.values()} == {AN_ANSWER_WITHOUT_PURCHASES}
        # Her age is remembered, so scores are the same but for who else is a candidate. What was out of stock
        # stays out.
        first, gone, third = before["anna"]["ranking"][:3]
        scores = {article: score for score, article in after["anna"]["ranking"]}
        assert after["anna"]["ranking"][0] == first
        assert scores[third[1]] == pytest.approx(third[0], rel=0.2)
        assert gone[1] not in scores
        # What must be durable can't be promised.
        assert shop.tell(purchase("anna", best)).status_code == 503
        away.server.start()
        assert eventually(lambda: "degraded" not in shop.prediction(customer_id="anna", **question))
        assert best not in shop.articles(customer_id="anna", **question)


def test_what_was_acknowledged_is_known_to_a_replica_that_is_read(under_test, pair, catalogue, tmp_path):
    with PostgresServer(tmp_path / "primary") as primary:
        store = TestStore(primary.create_database())
        with primary.replica(tmp_path / "replica") as replica:
            reads = replica.url_of(store.url.rpartition("/")[2])
            flags = (f"--store-reads={reads}",)
            with shops(under_test, store.url, address(pair.predictor), tmp_path, *flags, count=1) as (shop,):
                customer = {"customer_id": "visitor", "transaction_date": catalogue.date}
                for _ in range(100):
                    best = shop.articles(**customer, k=1)[0]
                    assert shop.tell(purchase("visitor", best)).status_code == 202
                    assert best not in shop.articles(**customer)
                primary.kill()
                assert len(shop.articles(**customer)) == 100, "it is the replica that is asked"
                assert shop.tell(purchase("visitor", best)).status_code == 503


def test_a_profile_that_changed_while_all_was_well_is_not_served_from_memory(
    under_test, pair, away, catalogue, tmp_path
):
    question = {"customer_id": "anna", "transaction_date": catalogue.date}
    away.know({"anna": 19.0})
    flags = ("--on-store-failure=degrade",)
    with shops(under_test, away.url, address(pair.predictor), tmp_path, *flags, count=1) as (shop,):
        assert eventually(lambda: is_listened_to(away))
        young = shop.prediction(**question)["ranking"]
        nobody = shop.prediction(**question | {"customer_id": "nobody"})["ranking"]
        away.execute("UPDATE hemline.customers SET age = 90 WHERE customer_id = 'anna'")
        time.sleep(1)  # a notification takes milliseconds
        away.server.kill()
        assert shop.prediction(**question)["ranking"] == nobody != young
        away.server.start()


def test_a_store_of_another_schema_ends_the_start_with_what_to_do(under_test, away, tmp_path):
    away.execute("UPDATE hemline.schema_version SET version = 99")
    line = refusal(under_test, "transformer", f"--store={away.url}")
    assert all(part in line for part in ("--store", "schema version 99", "older"))
    assert "postgres://" not in line


def test_a_password_is_in_no_refusal_and_no_log(under_test, tmp_path):
    for store in ("postgres://u:s3cret@h:port/x", "mysql://u:s3cret@h/x"):
        assert "s3cret" not in refusal(under_test, "transformer", f"--store={store}")
    over = replace(under_test, store="postgres://u:s3cret@127.0.0.1:1/x")
    server = over.transformer(tmp_path, "127.0.0.1:9")
    try:
        server.until(lambda: [line for line in server.lines() if "store" in str(line)] or None, "say so")
        assert "s3cret" not in server.log.read_text()
    finally:
        server.kill()
