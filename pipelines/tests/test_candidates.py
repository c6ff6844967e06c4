"""Candidates come from three sources, none was bought, and all stand in the order of the towers."""

import numpy as np
import pytest

from hemline import candidates
from hemline.history import History
from hemline.interactions import Baskets
from hemline.signals import Signals

ARTICLES, GROUPS = 400, 3


def baskets(*articles: list[int]) -> Baskets:
    sizes = [len(basket) for basket in articles]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    customers = np.arange(len(articles))[::-1]  # in no order
    return Baskets(customers, offsets, np.concatenate(articles).astype(np.int64))


@pytest.fixture
def world():
    """Ten customers, who touched articles 0, 1, 2; each article is like the ten after it."""
    rng = np.random.default_rng(3)
    queries = rng.normal(size=(10, 4)).astype(np.float32)
    items = rng.normal(size=(ARTICLES, 4)).astype(np.float32)
    alike = (np.arange(ARTICLES)[:, None] + np.arange(1, 11)) % ARTICLES
    alikeness = np.tile(np.linspace(1, 0.1, 10, dtype=np.float32), (ARTICLES, 1))
    sold = rng.normal(size=(ARTICLES, GROUPS)).astype(np.float32)
    signals = Signals({}, sold, alike.astype(np.int32), alikeness)
    touched = np.tile(np.int32([0, 1, 2]), (10, 1))
    history = History(touched, np.ones((10, 3), np.float32), np.zeros((10, 3), np.float32))
    return queries, items, history, signals, rng.integers(0, GROUPS, 10)


def found(world, bought: Baskets, history: History | None = None) -> candidates.Candidates:
    queries, items, touched, signals, groups = world
    scores = queries @ items.T
    own = np.repeat(np.arange(10), bought.sizes())
    scores[own, bought.articles] = -np.inf
    towers = np.argsort(-scores, axis=1, kind="stable")[:, : candidates.CANDIDATES]
    return candidates.find(
        queries, items, towers, history or touched, bought, signals, groups, candidates.SHARES
    )


def test_each_customer_has_all_candidates_once_and_none_that_was_bought(world):
    bought = baskets(*[list(range(5, 5 + 10 * customer)) for customer in range(10)])
    lists = found(world, bought).lists(10)
    for customer, articles in enumerate(lists):
        assert len(set(articles)) == candidates.CANDIDATES
        assert (articles >= 0).all()
        assert not set(articles) & set(range(5, 5 + 10 * customer))


def test_they_stand_in_the_order_of_the_towers(world):
    got = found(world, baskets(*[[]] * 10))
    scores = got.score.reshape(10, -1)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (got.rank.reshape(10, -1) == np.arange(candidates.CANDIDATES)).all()


def test_what_is_like_the_last_touches_is_among_them_by_weight(world):
    got = found(world, baskets(*[[]] * 10))
    likeness = dict(zip(got.article[got.customer == 0], got.alike[got.customer == 0], strict=True))
    assert set(range(1, 13)) <= set(likeness)
    # Article 3 is the third, second and first of what is like articles 0, 1 and 2.
    assert likeness[3] == pytest.approx(0.8 + 0.9 + 1.0)


def test_what_sells_best_to_the_age_group_is_among_them(world):
    lists = found(world, baskets(*[[]] * 10)).lists(10)
    *_, signals, groups = world
    for customer, articles in enumerate(lists):
        best = np.argsort(-signals.sold_by_age_group[:, groups[customer]])[:15]
        assert set(best) <= set(articles)


def test_without_a_history_the_towers_fill_its_places(world):
    nothing = History(
        np.zeros((10, 1), np.int32), np.zeros((10, 1), np.float32), np.zeros((10, 1), np.float32)
    )
    got = found(world, baskets(*[[]] * 10), nothing)
    assert (got.alike == 0).all()
    assert (got.lists(10) >= 0).all()


def test_a_list_is_ordered_by_scores_and_equals_stay_as_they_stand(world):
    got = found(world, baskets(*[[]] * 10))
    assert (got.lists(10, np.zeros(len(got.article))) == got.lists(10)).all()
    backwards = got.lists(10, got.rank)
    assert (backwards == got.lists(10)[:, ::-1]).all()
