"""Which ranker answers whom: shares, short histories, shadows, fallbacks, and rankers that come and go."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from foreign_servers import address
from kubernetes_api import KubernetesApi
from mock_predictor import MockPredictor, Reply, hang_up, told
from stores import TestStore
from told import Shop
from under_test import UnderTest, refusal

MINE = "ranking"


@pytest.fixture
def other() -> Iterator[MockPredictor]:
    """A ranker beside the predictor: the better, the earlier it was retrieved."""
    with MockPredictor() as mock:
        mock.reply = told
        yield mock


@contextmanager
def shop_over(under_test: UnderTest, tmp_path, predictor: str, *flags: str, **more: object) -> Iterator[Shop]:
    """A transformer alone, ready."""
    store = TestStore.sqlite(tmp_path / "store.db")
    store.know({"anna": 30.0, "bob": 40.0})
    over = replace(under_test, store=store.url)
    server = over.transformer(tmp_path, predictor, *flags, **more)
    try:
        shop = Shop(server)
        shop.store = store
        yield shop
    finally:
        server.kill()


@pytest.fixture
def shop_with(under_test, pair, other, tmp_path):
    """A transformer over the predictor, with the other ranker beside it and these flags."""

    def make(*flags: str):
        return shop_over(
            under_test, tmp_path, address(pair.predictor), f"--ranker=other={other.host}", *flags
        )

    return make


def metric(shop: Shop, name: str, **labels: str) -> float:
    """A counter's value, 0 where there is none."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = (line for line in shop.http.get("/metrics").text.splitlines() if line.startswith(name))
    found = [line for line in lines if all(label in line for label in wanted)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def eventually(look, expected: object, seconds: float = 10) -> float:
    """How long it took until it was so."""
    begun = time.monotonic()
    while (found := look()) != expected:
        assert time.monotonic() - begun < seconds, f"{found!r} after {seconds} s, expected {expected!r}"
        time.sleep(0.02)
    return time.monotonic() - begun


def test_a_share_of_the_customers_has_another_ranker_and_each_keeps_theirs(shop_with, catalogue):
    with shop_with("--active-ranker=ranking=90,other=10") as shop:
        ids = [f"customer {number}" for number in range(2000)]
        instances = [{"customer_id": name, "transaction_date": catalogue.date, "k": 1} for name in ids]

        def rankers() -> list[str]:
            found = []
            for start in range(0, len(instances), 200):
                body = {"instances": instances[start : start + 200]}
                answer = shop.http.post("/v1/models/hemline:predict", json=body)
                found += [prediction["ranker"] for prediction in answer.json()["predictions"]]
            return found

        first = rankers()
        assert rankers() == first
        assert abs(Counter(first)["other"] / len(first) - 0.1) < 0.02
        counted = {
            name: metric(shop, "ranker_answers_total", ranker=name, chosen_by="active")
            for name in (MINE, "other")
        }
        assert counted == {name: 2 * count for name, count in Counter(first).items()}


def test_short_histories_have_a_ranker_of_their_own(shop_with, catalogue):
    with shop_with("--ranker-by-history=other<2") as shop:
        shop.store.buy("bob", catalogue.article_ids[:2])

        def who(customer: str) -> str:
            return shop.prediction(customer_id=customer, transaction_date=catalogue.date)["ranker"]

        assert {name: who(name) for name in ("anna", "bob", "nobody")} == {
            "anna": "other",
            "bob": MINE,
            "nobody": "other",
        }
        shop.store.buy("anna", catalogue.article_ids[:2])
        assert who("anna") == MINE


def test_where_a_ranker_fails_the_next_one_answers_in_time_and_it_is_told(shop_with, other, catalogue):
    flags = ("--active-ranker=other", "--fallback-rankers=other,ranking", "--request-timeout=2s")
    with shop_with(*flags) as shop:
        question = {"customer_id": "anna", "transaction_date": catalogue.date}
        fine = shop.prediction(**question)
        assert (fine["ranker"], "degraded" in fine) == ("other", False)
        for reply, why in (
            (lambda _: Reply.of({"error": "no"}, 500), "upstream_invalid"),
            (lambda _: time.sleep(5) or Reply(), "upstream_timeout"),
        ):
            other.reply = reply
            begun = time.monotonic()
            prediction = shop.prediction(**question)
            assert (prediction["ranker"], prediction["degraded"]) == (MINE, f"other: {why}")
            assert time.monotonic() - begun < 2
            assert prediction["ranking"] == shop.prediction(**question, ranker=MINE)["ranking"]
        assert metric(shop, "ranker_answers_total", ranker=MINE, chosen_by="fallback") == 2
        assert metric(shop, "degraded_answers_total", rung="fallback") == 2


@pytest.mark.parametrize("flags", [(), ("--fallback-rankers=other",)])
def test_where_all_fail_it_is_an_error(shop_with, other, catalogue, flags):
    other.reply = lambda _: Reply.of({"error": "no"}, 500)
    with shop_with(*flags) as shop:
        question = {"customer_id": "anna", "transaction_date": catalogue.date, "ranker": "other"}
        assert shop.ask(**question).status_code == 502


def test_where_all_fail_and_it_degrades_it_is_the_order_of_retrieval(shop_with, other, catalogue):
    other.reply = lambda _: Reply.of({"error": "no"}, 500)
    with shop_with("--on-ranker-failure=degrade") as shop:
        question = {"customer_id": "anna", "transaction_date": catalogue.date, "ranker": "other"}
        assert shop.prediction(**question)["degraded"] == "other: upstream_invalid; retrieval"
        assert metric(shop, "ranker_answers_total", ranker="retrieval", chosen_by="request") == 1


def test_a_shadow_is_compared_and_never_served(shop_with, other, catalogue):
    with shop_with("--shadow-ranker=other") as shop:
        plain = [shop.prediction(customer_id="anna", transaction_date=catalogue.date) for _ in range(10)]
        assert {prediction["ranker"] for prediction in plain} == {MINE}
        compared = {"shadow": "other", "ranker": MINE}
        eventually(lambda: metric(shop, "shadow_score_difference_count", **compared), 10)
        assert metric(shop, "shadow_score_difference_sum", **compared) > 0
        assert 0 < metric(shop, "shadow_top10_overlap_count", **compared) == 10
        other.reply = hang_up_reply
        after = shop.prediction(customer_id="anna", transaction_date=catalogue.date)
        assert after == plain[0]
        eventually(lambda: metric(shop, "shadow_requests_total", shadow="other") > 10, True)
        assert metric(shop, "shadow_requests_total", shadow="other", outcome="ok") == 10


def hang_up_reply(_: dict) -> Reply:
    """An answer that ends in its middle."""
    return Reply(body=b"{}", halfway=hang_up)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--active-ranker=best", "--active-ranker: no ranker is called `best`; there are `ranking`"),
        ("--active-ranker=ranking=x", "--active-ranker: expected NAME=WEIGHT with a number from 0"),
        ("--ranker-by-history=ranking", "--ranker-by-history: expected NAME<PURCHASES"),
        ("--shadow-ranker=ranking=200", "--shadow-ranker: expected NAME or NAME=PERCENT from 0 to 100"),
        ("--fallback-rankers=llm", "--fallback-rankers: no ranker is called `llm`"),
        ("--ranking-config-map=x", "--ranking-config-map: needs --rankers-from-cluster"),
        ("--rankers-from-cluster", "--rankers-from-cluster: "),
    ],
)
def test_a_wrong_policy_ends_the_start_and_names_its_flag(under_test, flag, reason):
    assert reason in refusal(under_test, "transformer", flag)


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    """A cluster's API."""
    with KubernetesApi() as api:
        yield api


@pytest.fixture
def in_cluster(under_test, pair, api, tmp_path):
    """A transformer over the predictor, which watches that cluster."""

    def make(*flags: str):
        predictor, secrets = address(pair.predictor), api.kubeconfig(tmp_path)
        return shop_over(under_test, tmp_path, predictor, "--rankers-from-cluster", *flags, secrets=secrets)

    return make


def test_rankers_and_policy_of_a_cluster_are_followed_without_a_restart(in_cluster, api, other, catalogue):
    with in_cluster() as shop:

        def who() -> str:
            answer = shop.ask(customer_id="anna", transaction_date=catalogue.date)
            return answer.json()["predictions"][0]["ranker"] if answer.status_code == 200 else answer.text

        assert who() == MINE
        api.put_policy(active="other", fallback="ranking")
        eventually(
            lambda: shop.prediction(customer_id="anna", transaction_date=catalogue.date).get("degraded"),
            "other: upstream_unavailable",
        )
        api.put_ranker("recs-other", "other", f"http://{other.host}")
        assert eventually(who, "other") < 5
        assert other.asked == {"/v2/models/recs-other/infer"}
        api.put_policy(active="ranking")
        assert eventually(who, MINE) < 5
        api.put_policy(active="other=1,ranking=0")
        eventually(who, "other")
        api.put_policy(active="other=x")
        time.sleep(0.5)
        assert who() == "other", "a policy that can't be read changes nothing"
        api.delete_policy()
        eventually(who, MINE)
        api.delete_ranker("recs-other")
        wrong = {"customer_id": "anna", "transaction_date": catalogue.date, "ranker": "other"}
        eventually(lambda: shop.ask(**wrong).status_code, 400)
        assert "other" not in shop.http.get("/v2/health/ready").text


def test_a_server_that_may_not_watch_is_not_ready_and_says_why(under_test, pair, api, tmp_path):
    api.forbidden = True
    server = replace(under_test, store=TestStore.sqlite(tmp_path / "store.db").url).transformer(
        tmp_path, address(pair.predictor), "--rankers-from-cluster", secrets=api.kubeconfig(tmp_path)
    )
    try:
        told_of = lambda: "forbidden" in server.log.read_text().lower() or None  # noqa: E731
        server.until(told_of, "say why")
        ready = httpx.get(f"{server.url}/v2/health/ready")
        assert ready.status_code == 503
        assert "rankers" in ready.text
        api.forbidden = False
        server.wait_ready()
    finally:
        server.kill()


def test_a_cluster_that_went_away_is_remembered(in_cluster, api, other, catalogue):
    api.put_ranker("recs-other", "other", f"http://{other.host}")
    api.put_policy(active="other")
    with in_cluster() as shop:
        question = {"customer_id": "anna", "transaction_date": catalogue.date}
        eventually(lambda: shop.prediction(**question)["ranker"], "other")
        api.__exit__()
        time.sleep(1)
        assert shop.prediction(**question)["ranker"] == "other"
        assert shop.server.is_ready()
