"""What purchases say of an article is counted from purchases before the day, and from no others."""

import numpy as np
import pytest

from hemline import signals
from hemline.interactions import Interactions


def purchases(*rows: tuple[int, int, int, float], customers: int, articles: int) -> Interactions:
    """Of (customer, article, day, price)."""
    customer, article, day, price = (
        np.array(column) for column in zip(*sorted(rows, key=lambda r: r[2]), strict=True)
    )
    month, split = np.ones(len(day), np.int32), np.zeros(len(day), np.int8)
    return Interactions(customer, article, day, month, split, price.astype(np.float32), customers, articles)


@pytest.fixture
def known() -> signals.Signals:
    """Day 100. Customers 0 and 1 are of group 0, 2 of group 1; article 3 was never bought."""
    bought = purchases(
        (0, 0, 10, 0.1), (0, 0, 99, 0.1), (0, 1, 99, 0.2), (1, 0, 80, 0.4), (1, 1, 98, 0.2), (2, 2, 99, 0.3),
        customers=3, articles=4,
    )  # fmt: skip
    return signals.of(bought, 100, np.array([0, 0, 1]), 2)


def test_shares_are_of_the_last_days_and_sum_to_one(known):
    assert np.exp(known.numbers["sold_7d"]).sum() == pytest.approx(1)
    assert np.exp(known.numbers["sold_7d"]) == pytest.approx(np.array([2, 3, 2, 1]) / 8)
    assert np.exp(known.numbers["sold_28d"]) == pytest.approx(np.array([3, 3, 2, 1]) / 9)


def test_a_trend_is_up_where_the_last_week_is_most_of_the_last_month(known):
    assert known.numbers["trend"][1] > known.numbers["trend"][0]


def test_an_age_group_has_shares_of_its_own(known):
    assert np.exp(known.sold_by_age_group[:, 1]) == pytest.approx(np.array([1, 1, 2, 1]) / 5)


def test_an_article_is_as_old_as_its_first_purchase(known):
    assert np.expm1(known.numbers["days_on_sale"]) == pytest.approx([90, 2, 1, 0], abs=1e-4)


def test_a_price_is_a_mean_and_the_catalogues_where_nobody_paid_one(known):
    prices = np.exp(known.numbers["log_price"])
    assert prices[2] == pytest.approx(0.3)
    assert prices[0] == pytest.approx((0.1 * 0.1 * 0.4) ** (1 / 3))
    assert prices.min() < prices[3] < prices.max()


def test_articles_are_alike_by_their_common_customers(known):
    assert known.alike[0, 0] == 1
    assert known.alikeness[0, 0] == pytest.approx(1)
    assert (known.alike[2] == -1).all()
    assert (known.alikeness[2] == 0).all()
    assert (known.alike[0, 1:] == -1).all()
