"""What `hemline evaluate` measured on the bundle under test, and what it must be."""

import pytest

LISTS = ("popularity", "retrieval", "served")


@pytest.fixture
def metrics(under_test) -> dict:
    return under_test.manifest["metrics"]


@pytest.fixture
def truth(metrics) -> dict:
    """What the generator's oracle reaches, by metric."""
    if "oracle" not in metrics["lists"]:
        pytest.skip("no oracle: these data were not generated")
    return {name: value["mean"] for name, value in metrics["lists"]["oracle"].items()}


def mean(metrics: dict, ranking: str, metric: str) -> float:
    return metrics["lists"][ranking][metric]["mean"]


def test_every_list_is_reported_with_its_interval(metrics):
    for ranking in LISTS:
        for value in metrics["lists"][ranking].values():
            assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1


def test_what_ranking_does_to_the_order_of_retrieval_is_reported(metrics):
    difference = metrics["ndcg_at_12_differences"]["served_minus_retrieval"]
    served, retrieved = (mean(metrics, ranking, "ndcg_at_12") for ranking in ("served", "retrieval"))
    assert difference["mean"] == pytest.approx(served - retrieved)
    assert difference["low"] <= difference["mean"] <= difference["high"]


def test_popularity_is_no_straw_man(metrics, truth):
    assert mean(metrics, "popularity", "ndcg_at_12") >= truth["ndcg_at_12"] / 5


def test_retrieval_finds_half_of_what_the_oracle_finds(metrics, truth):
    assert mean(metrics, "retrieval", "recall_at_100") >= truth["recall_at_100"] / 2


def test_what_is_served_beats_popularity_beyond_doubt(metrics, truth):
    assert metrics["ndcg_at_12_differences"]["served_minus_popularity"]["low"] > 0


def test_data_of_few_days_are_not_sold_as_a_temporal_split(metrics, under_test):
    window = under_test.manifest["window"]
    assert metrics["split"] == window["split"]
    assert (window["split"] == "temporal") == (window["train_end"] < window["test_start"])
