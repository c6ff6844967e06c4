"""Evaluation: metrics by hand, lists without what was bought, honest sentences, numbers in the manifest."""

import json
import shutil

import numpy as np
import pytest
import trained

from hemline import (
    bundle,
    candidates,
    embeddings,
    evaluate,
    evaluation_report,
    interactions,
    rankings,
    retrieval,
    served,
    towers,
)
from hemline.errors import DataError

HIT = np.array([[True, False, True, False], [False, False, False, False]])
SIZES = np.array([3, 1])


@pytest.fixture(scope="module")
def trained_work(tiny_work):
    return trained.work(tiny_work)


@pytest.fixture(scope="module")
def made_bundle(tiny_work):
    return trained.made_bundle(tiny_work)


@pytest.fixture(scope="module")
def evaluated(trained_work, made_bundle, tmp_path_factory):
    plot = tmp_path_factory.mktemp("plot") / "evaluation.png"
    return evaluate.evaluate(trained_work, made_bundle, plot), plot


def test_metrics_are_those_of_the_literature():
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert rankings.recall(HIT, SIZES) == pytest.approx([2 / 3, 0])
    assert rankings.ndcg(HIT, SIZES, depth=4) == pytest.approx([1.5 / ideal, 0])
    assert rankings.average_precision(HIT, SIZES, depth=4) == pytest.approx([(1 + 2 / 3) / 3, 0])


def test_an_interval_holds_the_mean_and_shrinks_with_customers():
    values = np.random.default_rng(0).random(2000)
    few, many = rankings.interval(values[:50], seed=1), rankings.interval(values, seed=1)
    assert few["low"] < few["mean"] < few["high"]
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 3


def test_the_standard_error_is_that_of_the_mean_over_customers():
    values = np.array([0.0, 1.0, 1.0, 0.0])
    assert rankings.interval(values, seed=1)["standard_error"] == pytest.approx(np.std(values, ddof=1) / 2)
    assert rankings.interval(values[:1], seed=1)["standard_error"] == 0


def test_equal_exposure_has_a_gini_of_0_and_one_article_for_all_nearly_1():
    everything = np.arange(20).reshape(10, 2)
    assert rankings.exposure_gini(everything, 20) == pytest.approx(0)
    assert rankings.exposure_gini(np.full((10, 1), 3), 20) == pytest.approx(1 - 1 / 20)
    assert rankings.exposure_gini(np.array([[0, 1], [0, 2]]), 3) == pytest.approx(1 / 6)
    assert rankings.exposure_gini(np.full((2, 3), -1), 20) is None


def test_coverage_counts_the_articles_that_anybody_is_shown_on_top():
    ranking = np.array([[0, 1, 9], [1, 2, 9], [-1, -1, -1]])
    assert rankings.coverage(ranking, 10, depth=2) == pytest.approx(0.3)


def test_what_few_buy_is_novel_and_what_nobody_bought_is_so_to_a_finite_degree():
    sold = np.array([6, 1, 0, 0, 0])
    bits = rankings.novelty(np.array([[0], [1], [2], [-1]]), sold)
    assert bits[:3] == pytest.approx([-np.log2(7 / 12), -np.log2(2 / 12), -np.log2(1 / 12)])
    assert bits[3] == 0
    assert rankings.novelty(np.array([[0, 1, -1]]), sold)[0] == pytest.approx(bits[:2].mean())


def test_segments_are_by_what_was_bought_before_and_by_age_and_each_customer_is_in_one(
    trained_work, evaluated
):
    purchases, window = interactions.read(trained_work), interactions.window(trained_work)
    question = evaluate.ask(purchases, window, seed=42)
    parts = evaluate.segments(trained_work, question)
    sizes = question.bought.sizes()
    assert (parts["history"]["new"] == question.unknown).all()
    assert set(sizes[parts["history"]["short"]]) <= set(range(1, 6))
    assert sizes[parts["history"]["long"]].min() >= 6
    for groups in parts.values():
        assert (np.sum(list(groups.values()), axis=0) == 1).all()


def test_segments_add_up_to_the_whole(evaluated):
    metrics = evaluated[0]
    for parts in metrics["segments"].values():
        sizes = [part["customers"] for part in parts.values()]
        assert sum(sizes) == metrics["customers"]["evaluated"]
        for name, whole in metrics["lists"].items():
            means = [part["ndcg_at_12"][name]["mean"] for part in parts.values()]
            assert np.average(means, weights=sizes) == pytest.approx(whole["ndcg_at_12"]["mean"])


def test_what_is_served_and_retrieval_are_compared_with_each_of_the_baselines_by_customer(evaluated):
    metrics = evaluated[0]
    pairs = {(own, other) for own in ("served", "retrieval") for other in evaluate.COMPARED}
    for own, other in pairs | {("served", "retrieval")}:
        difference = metrics["ndcg_at_12_differences"][f"{own}_minus_{other}"]
        means = [metrics["lists"][name]["ndcg_at_12"]["mean"] for name in (own, other)]
        assert difference["mean"] == pytest.approx(means[0] - means[1])
        assert difference["low"] <= difference["mean"] <= difference["high"]


def test_all_numbers_are_finite_json(evaluated):
    json.dumps(evaluated[0], allow_nan=False)


def test_without_baselines_the_bundle_is_measured_beside_popularity_alone(
    trained_work, made_bundle, evaluated, tmp_path
):
    other = shutil.copytree(made_bundle, tmp_path / "bundle")
    metrics = evaluate.evaluate(trained_work, other, tmp_path / "plot.png", with_baselines=False)
    own = {"without_history", "retrieval", "candidates", "served"}
    assert set(metrics["lists"]) == own | {"popularity", "oracle"}
    assert metrics["baselines"] == {}
    assert metrics["lists"]["served"] == evaluated[0]["lists"]["served"]


def test_the_numbers_go_into_the_manifest_and_change_nothing_else(made_bundle, evaluated):
    metrics, _ = evaluated
    manifest = bundle.read_manifest(made_bundle)
    assert manifest["metrics"] == json.loads(json.dumps(metrics))
    assert manifest["version"] == bundle.version(manifest["files"])


def test_no_list_is_better_than_the_oracle_and_reordering_keeps_recall(evaluated):
    lists = evaluated[0]["lists"]
    assert set(lists) == set(evaluation_report.NAMES)
    assert lists["served"]["recall_at_100"] == lists["candidates"]["recall_at_100"]
    for measured in lists.values():
        for value in measured.values():
            assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1
    for metric, best in lists["oracle"].items():
        assert all(best["mean"] >= measured[metric]["mean"] for measured in lists.values()), metric


def bundle_lists(work, made, question):
    asked = evaluate.asked(interactions.read(work), interactions.window(work), question)
    return served.lists(work, made, bundle.read_manifest(made), asked)


def test_no_list_has_what_the_customer_had_already_bought(trained_work, made_bundle):
    purchases, window = interactions.read(trained_work), interactions.window(trained_work)
    question = evaluate.ask(purchases, window, seed=42)
    lists = {"popularity": evaluate.popularity(purchases, window, question)}
    lists |= bundle_lists(trained_work, made_bundle, question)
    for ranking in lists.values():
        assert not rankings.hits(ranking, question.bought, question.articles).any()
    assert (np.sort(lists["served"], axis=1) == np.sort(lists["candidates"], axis=1)).all()


def test_what_is_retrieved_is_what_exact_search_finds_but_for_two_in_a_hundred(trained_work, made_bundle):
    purchases, window = interactions.read(trained_work), interactions.window(trained_work)
    question = evaluate.ask(purchases, window, seed=42)
    found = bundle_lists(trained_work, made_bundle, question)["retrieval"]
    params = towers.load(trained_work / "towers.npz")
    rows = question.truth.customers
    ages, months = retrieval.customer_ages(trained_work)[rows], np.full(len(rows), question.month)
    items = np.load(trained_work / "item_embeddings.npy")
    history = evaluate.asked(purchases, window, question).history
    queries = retrieval.queries(params, params["customer_vectors"][rows + 1], ages, months, history, items)
    exact = interactions.top(queries, items, question.bought, candidates.CANDIDATES)
    assert np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]) >= 0.98


def test_the_bundles_index_is_asked_and_not_its_embeddings(trained_work, made_bundle, tmp_path):
    purchases, window = interactions.read(trained_work), interactions.window(trained_work)
    question = evaluate.ask(purchases, window, seed=42)
    other = shutil.copytree(made_bundle, tmp_path / "bundle")
    items = np.load(trained_work / "item_embeddings.npy")
    embeddings.build_index(-items).save(str(other / bundle.INDEX))
    ours, theirs = (bundle_lists(trained_work, b, question)["retrieval"] for b in (made_bundle, other))
    assert (ours != theirs).any()


def test_articles_beyond_what_the_graph_finds_are_searched_exactly():
    items = np.eye(3, 16, dtype=np.float32)
    query = np.arange(16, 0, -1, dtype=np.float32)[None]
    bought = interactions.Baskets(np.array([5]), np.array([0, 1]), np.array([1]))
    nearly_empty = embeddings.build_index(items[:1])
    assert served.neighbours(nearly_empty, query, items, bought)[0, :3].tolist() == [0, 2, -1]


@pytest.mark.parametrize(
    ("change", "why"), [({"window": {}}, "made of other days"), ({"data": "0" * 64}, "made of other data")]
)
def test_a_bundle_of_other_data_is_not_measured(trained_work, made_bundle, tmp_path, change, why):
    other = shutil.copytree(made_bundle, tmp_path / "bundle")
    bundle.write_manifest(other, bundle.read_manifest(other) | change)
    before = (other / "manifest.json").read_bytes()
    with pytest.raises(DataError, match=why):
        evaluate.evaluate(trained_work, other, tmp_path / "plot.png")
    assert (other / "manifest.json").read_bytes() == before


def test_a_picture_is_drawn(evaluated):
    assert evaluated[1].read_bytes().startswith(b"\x89PNG")


def difference(low: float, high: float) -> dict[str, float]:
    return {"mean": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("served", "order", "expected"),
    [
        (difference(0.01, 0.02), difference(0.01, 0.02), ["better than popularity", "better than retrieval"]),
        (
            difference(-0.01, 0.02),
            difference(-0.01, 0.02),
            ["can't be told from popularity", "can't be told from"],
        ),
        (
            difference(-0.02, -0.01),
            difference(-0.02, -0.01),
            ["WORSE than popularity", "WORSE than retrieval"],
        ),
    ],
)
def test_the_verdict_says_it_plainly(served, order, expected):
    differences = {"served_minus_popularity": served, "served_minus_retrieval": order}
    sentences = evaluation_report.verdict(
        {"ndcg_at_12_differences": differences, "lists": {}, "split": "temporal"}
    )
    assert all(words in sentence for words, sentence in zip(expected, sentences, strict=True))


def test_the_verdict_compares_what_is_served_and_retrieval_with_every_baseline_there_is():
    worse, same = difference(-0.02, -0.01), difference(-0.01, 0.01)
    names = ("served_minus_retrieval", "served_minus_ease", "retrieval_minus_ease", "retrieval_minus_als")
    differences = {name: worse for name in names} | {"served_minus_als": same}
    said = evaluation_report.verdict(
        {"ndcg_at_12_differences": differences, "lists": {}, "split": "temporal"}
    )
    assert [s.split(":")[0] for s in said] == [
        "What is served can't be told from ALS",
        "What is served is WORSE than EASE^R",
        "Retrieval's order is WORSE than ALS",
        "Retrieval's order is WORSE than EASE^R",
        "The ranker makes the order WORSE than retrieval's",
    ]


def test_a_random_split_is_said_to_show_little():
    same = difference(0, 0)
    differences = {"served_minus_popularity": same, "served_minus_retrieval": same}
    sentences = evaluation_report.verdict(
        {"ndcg_at_12_differences": differences, "lists": {}, "split": "random"}
    )
    assert "can't show how well next week is predicted" in sentences[-1]
