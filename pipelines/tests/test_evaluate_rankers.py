"""Rankers as they are served: what is counted and compared, and what servers may know of the test days."""

import sqlite3
from contextlib import closing

import numpy as np
import pyarrow.parquet as pq
import pytest
import trained

from hemline import evaluate, evaluate_rankers, interactions, rankings_report
from hemline.errors import DataError
from hemline.evaluate_rankers import Replay
from hemline.interactions import Baskets
from hemline.llm import Api, labelled

TRUTH = Baskets(np.array([0, 1, 2]), np.array([0, 1, 2, 3]), np.array([5, 6, 7]))
NOTHING = Baskets(np.array([0, 1, 2]), np.zeros(4, np.int64), np.zeros(0, np.int64))
QUESTION = evaluate.Question(TRUTH, NOTHING, 20, 9, 0, np.zeros(3, bool))
USAGE = {
    "calls": 60.0,
    "cost": 0.3,
    "candidates": 60.0,
    "unusable": 3.0,
    "defaults": 6.0,
    "prompt_tokens": 9000.0,
    "cached_tokens": 6000.0,
    "completion_tokens": 300.0,
}


def lists(*first: int) -> np.ndarray:
    """A list a customer, with this article on top and others behind it."""
    return np.array([[article, *range(8, 19)] for article in first])


def report(**differences: dict) -> dict:
    """A report about one ranker."""
    value = {"mean": 0.5, "low": 0.4, "high": 0.6, "standard_error": 0.05}
    numbers = {"ndcg_at_12": value, "map_at_12": value}
    served = {"latency_ms": {"p50": 1500.0, "p99": 2000.0}, "parse_failures": 0.25}
    return {
        "customers": 3,
        "split": "temporal",
        "llm": "small",
        "rankers": {"llm-listwise": numbers | served, "popularity": numbers},
        "ndcg_at_12_differences": {
            f"llm-listwise_minus_{name}": value for name, value in differences.items()
        },
    }


def test_a_ranker_that_finds_what_is_bought_is_counted_as_better_than_one_that_does_not():
    found = {"gbdt": lists(5, 6, 7), "retrieval": lists(1, 2, 3)}
    measured = evaluate_rankers.measure(found, {}, QUESTION, seed=1)
    assert measured["rankers"]["gbdt"]["ndcg_at_12"]["mean"] == 1
    assert measured["rankers"]["retrieval"]["map_at_12"]["mean"] == 0
    difference = measured["ndcg_at_12_differences"]["gbdt_minus_retrieval"]
    assert (difference["mean"], difference["low"]) == (1, 1)


def test_what_an_llm_used_is_told_by_request_and_what_it_failed_by_candidate():
    replay = Replay([[]] * 3, [1.0, 2.0, 3.0], failed=0, degraded=1, usage=USAGE)
    numbers = evaluate_rankers.served_numbers(replay)
    assert numbers["latency_ms"]["p50"] == 2000
    assert (numbers["parse_failures"], numbers["defaults"]) == (0.05, 0.1)
    assert numbers["per_request"]["calls"] == 20
    assert numbers["per_request"]["prompt_tokens"] == 3000
    assert numbers["per_request"]["cost"] == pytest.approx(0.1)
    assert numbers["degraded"] == pytest.approx(1 / 3)


def test_what_is_not_served_has_no_latency():
    measured = evaluate_rankers.measure({"popularity": lists(5, 6, 7)}, {}, QUESTION, seed=1)
    assert set(measured["rankers"]["popularity"]) == {"ndcg_at_12", "map_at_12"}


def test_the_store_that_is_asked_knows_nothing_of_the_test_days(tiny_work, tmp_path):
    work = trained.work(tiny_work)
    question = evaluate.ask(interactions.read(work), interactions.window(work), seed=42, most=30)
    store = evaluate_rankers.known_before(work, tmp_path, question).removeprefix("sqlite://")
    asked = set(evaluate_rankers.customer_ids(work, question))
    with closing(sqlite3.connect(store)) as db:
        customers = {row[0] for row in db.execute("SELECT customer_id FROM customers")}
        bought = "SELECT DISTINCT customer_id, article_id FROM history JOIN customers USING (customer_key)"
        purchases = set(db.execute(bought))
        (last,) = db.execute("SELECT max(bought_on) FROM history").fetchone()
    assert customers == asked
    assert purchases
    assert last < interactions.window(work)["test_start"]
    table = pq.read_table(work / "transactions.parquet", filters=[("split", "!=", "test")])
    before = zip(table["customer_id"].to_pylist(), table["article_id"].to_pylist(), strict=True)
    assert purchases == {pair for pair in before if pair[0] in asked}


def test_the_sample_is_as_large_as_asked_and_always_the_same(tiny_work):
    work = trained.work(tiny_work)
    purchases, window = interactions.read(work), interactions.window(work)
    first, second = (evaluate.ask(purchases, window, seed=42, most=10).truth.customers for _ in range(2))
    assert len(first) == 10
    assert (first == second).all()


@pytest.mark.parametrize("rankers", [["gbdt", "nobody"], ["gbdt", "gbdt"], [""]])
def test_a_ranker_that_is_none_is_refused_with_the_names_of_those_that_are(rankers):
    with pytest.raises(DataError, match="llm-listwise"):
        evaluate_rankers.check_names(rankers)


def test_an_llm_is_started_only_where_a_ranker_asks_one():
    assert evaluate_rankers.has_llm(["gbdt", "llm-listwise"])
    assert not evaluate_rankers.has_llm(["gbdt", "popularity", "retrieval"])
    assert Api().is_local
    assert not Api("http://somewhere").is_local


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.1, 0.2, "better than"), (-0.1, 0.2, "not to be told from"), (-0.2, -0.1, "WORSE than")],
)
def test_the_verdict_on_an_llm_is_plain(low, high, words):
    sentences = rankings_report.verdict(
        report(popularity={"mean": (low + high) / 2, "low": low, "high": high})
    )
    assert f"{words} popularity" in sentences[0]
    assert "small" in sentences[0]
    assert "1.5 s a request" in sentences[0]
    assert "25.0% of the candidates had no usable answer" in sentences[1]


def test_table_and_picture_are_made_of_every_report(tmp_path, capsys):
    found = {name: lists(5, 6, 7) for name in evaluate_rankers.NAMES}
    replays = {name: Replay([[]] * 3, [0.1] * 3) for name in found if name != "popularity"}
    replays["llm-listwise"].usage = dict(USAGE)
    measured = evaluate_rankers.measure(found, replays, QUESTION, seed=1)
    measured |= {"split": "temporal", "llm": "small"}
    rankings_report.show(measured)
    rankings_report.draw(measured, tmp_path / "rankers.png")
    assert (tmp_path / "rankers.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().err
    assert all(name in shown for name in found)


def test_counters_are_told_apart_by_their_label():
    counted = {'llm_tokens_total{kind="prompt"}': 5.0, 'llm_tokens_total{kind="cached"}': 2.0, "other": 1.0}
    assert labelled(counted, "llm_tokens_total", "kind") == {"prompt": 5.0, "cached": 2.0}
