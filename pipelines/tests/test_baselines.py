"""Baselines: their definitions on small examples, lists without what was bought, the same twice."""

import numpy as np
import pytest

from hemline import baselines, evaluate, interactions, rankings
from hemline.baselines import Past
from hemline.errors import DataError
from hemline.interactions import Interactions


def past(*purchases: tuple[int, int, int], articles: int, of: list[int], until: int = 10) -> Past:
    """What is known before day `until` of (customer, article, day), for these customers."""
    customer, article, day = (np.array(column, np.int32) for column in zip(*purchases, strict=True))
    order = np.lexsort((article, customer, day))
    month, split = np.ones(len(day), np.int32), np.zeros(len(day), np.int8)
    price = np.ones(len(day), np.float32)
    columns = (column[order] for column in (customer, article, day, month, split, price))
    bought = Interactions(*columns, customers=int(customer.max()) + 2, articles=articles)
    baskets = interactions.baskets(bought.pairs(), articles).of(np.array(of))
    return Past(bought, until, baskets, seed=1)


def random_past(customers: int, articles: int, share: float) -> tuple[Past, np.ndarray]:
    """A random history, and the same as a binary matrix [customers, articles]."""
    bought = np.random.default_rng(5).random((customers, articles)) < share
    rows = [(int(customer), int(article), 0) for customer, article in np.argwhere(bought)]
    return past(*rows, articles=articles, of=list(range(customers))), bought.astype(float)


@pytest.fixture(scope="module")
def question(tiny_work):
    purchases, window = interactions.read(tiny_work), interactions.window(tiny_work)
    return purchases, window, evaluate.ask(purchases, window, seed=42)


@pytest.fixture(scope="module")
def made(question):
    purchases, window, asked = question
    return baselines.make(purchases, window, asked.bought, seed=42)


def test_no_baseline_shows_what_was_bought_or_one_article_twice(question, made):
    asked = question[2]
    assert set(made[0]) == {"recent_popularity", "all_time_popularity", "item_cosine", "als", "ease"}
    for name, ranking in made[0].items():
        assert ranking.shape == (len(asked.truth), baselines.LENGTH), name
        assert ranking.dtype == np.int64
        assert not rankings.hits(ranking, asked.bought, asked.articles).any(), name
        assert all(len(set(row)) == len(row) for row in ranking.tolist()), name


def test_baselines_are_the_same_twice(question, made):
    purchases, window, asked = question
    again, settings = baselines.make(purchases, window, asked.bought, seed=42)
    assert settings == made[1]
    assert all((ranking == made[0][name]).all() for name, ranking in again.items())


def test_no_purchase_of_the_test_days_is_known_to_a_baseline(question, made):
    purchases, window, asked = question
    without = purchases.of("train", "validation")
    again, settings = baselines.make(without, window, asked.bought, seed=42)
    assert settings == made[1]
    assert all((ranking == made[0][name]).all() for name, ranking in again.items())


def test_settings_are_the_best_of_those_tried_on_the_validation_split(made):
    settings = made[1]
    for name, key in (("recent_popularity", "days"), ("ease", "lambda")):
        tried = settings[name]["validation_ndcg_at_12"]
        assert tried[f"{settings[name][key]:g}"] == max(tried.values())
    tried = settings["als"]["validation_ndcg_at_12"]
    assert tried[", ".join(f"{settings['als'][name]:g}" for name in baselines.ALS_NAMES)] == max(
        tried.values()
    )


@pytest.mark.parametrize("change", [{"split": "random"}, {}])
def test_nothing_is_tuned_in_a_random_split_or_without_a_validation(question, change):
    purchases, window, asked = question
    if not change:
        purchases = purchases.of("train", "test")
    _, settings = baselines.make(purchases, window | change, asked.bought, seed=42)
    assert not any("validation_ndcg_at_12" in each for each in settings.values())
    assert settings["recent_popularity"]["days"] == (None if change else baselines.DEFAULT_DAYS)


def test_recent_popularity_counts_the_last_days_and_no_others():
    known = past((0, 0, 1), (1, 0, 2), (0, 1, 9), (2, 2, 7), (0, 2, 8), articles=3, of=[3], until=10)
    assert baselines.popularity(known, 1)[0, 0] == 1
    assert baselines.popularity(known, 3)[0, 0] == 2
    assert baselines.popularity(known, None)[0].tolist()[:3] == [0, 2, 1]


def test_ease_is_its_definition():
    gram = np.array([[4, 2, 1, 0], [2, 5, 0, 1], [1, 0, 3, 1], [0, 1, 1, 2]], float)
    inverse = np.linalg.inv(gram + 2 * np.eye(4))
    expected = np.eye(4) - inverse / np.diag(inverse)
    weights = baselines.ease_weights(gram, 2.0)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert (np.diag(weights) == 0).all()


def test_a_lambda_that_single_precision_cant_take_is_refused():
    with pytest.raises(DataError, match="λ = 0 is too small"):
        baselines.ease_weights(np.ones((3, 3), np.float32), 0.0)


def test_ease_ranks_by_history_times_weights():
    known, bought = random_past(60, 12, 0.3)
    expected = bought @ baselines.ease_weights(bought.T @ bought, 5.0)
    expected[bought > 0] = -np.inf
    ranking, articles = baselines.ease(known, 5.0)
    assert articles == 12
    for row, scores in zip(ranking, expected, strict=True):
        found = row[row >= 0]
        assert len(found) == np.isfinite(scores).sum()
        assert (np.diff(scores[found]) <= 1e-5).all()


def test_of_too_many_articles_ease_takes_the_most_bought():
    known = past((0, 3, 0), (1, 3, 0), (2, 3, 0), (1, 1, 0), (2, 1, 0), (0, 2, 0), articles=5, of=[0])
    ranking, articles = baselines.ease(known, 1.0, most=2)
    assert articles == 2
    assert ranking[0, :2].tolist() == [1, -1]


def test_item_cosine_is_its_definition():
    known, bought = random_past(60, 12, 0.3)
    norms = np.sqrt(bought.sum(axis=0))
    cosine = bought.T @ bought / np.outer(norms, norms)
    np.fill_diagonal(cosine, 0)
    expected = bought @ cosine
    expected[bought > 0] = -np.inf
    for row, scores in zip(baselines.item_cosine(known), expected, strict=True):
        found = row[row >= 0]
        assert len(found) == np.isfinite(scores).sum()
        assert (np.diff(scores[found]) <= 1e-5).all()


def test_an_article_bought_with_nothing_of_ones_own_is_no_neighbour():
    known = past((0, 0, 0), (1, 0, 0), (1, 1, 0), (2, 2, 0), articles=3, of=[0])
    assert baselines.item_cosine(known)[0, :2].tolist() == [1, -1]


def test_als_finds_what_ones_own_kind_buys():
    rows = [(customer, 5 * (customer % 2) + article, 0) for customer in range(40) for article in range(5)]
    known = past(*(row for row in rows if row[:2] != (0, 4)), articles=10, of=[0])
    assert baselines.als(known, 4, 10.0, 1.0)[0, 0] == 4


def test_a_new_customer_is_shown_what_is_popular(question, made):
    asked = question[2]
    new = np.flatnonzero(asked.unknown)
    assert len(new)
    for name in ("item_cosine", "als", "ease"):
        assert (made[0][name][new] == made[0]["recent_popularity"][new]).all(), name


def test_a_short_list_goes_on_with_what_is_popular_and_repeats_nothing():
    lists, behind = np.array([[4, 2, -1, -1], [-1, -1, -1, -1]]), np.array([[2, 1, 4, 0], [3, 1, -1, -1]])
    assert baselines.filled(lists, behind).tolist() == [[4, 2, 1, 0], [3, 1, -1, -1]]


def test_tuning_samples_customers_but_keeps_those_asked_about(monkeypatch):
    monkeypatch.setattr(baselines, "TUNING_CUSTOMERS", 5)
    known, _ = random_past(60, 12, 0.3)
    few = Past(known.purchases, 10, known.bought.of(np.array([50])), seed=1).part()
    kept = set(few.purchases.customer)
    assert 50 in kept
    assert 5 <= len(kept) <= 6
