"""What purchases say of an article: how it sells, to whom, since when, for how much, and what goes with it.

The ranker learns from these numbers as of each week that it is trained on; the bundle has them as of its last
day.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from hemline.interactions import Interactions
from hemline.report import progress_bar

SOLD_DAYS = (7, 28, 84)
# What is one number of each article:
#   sold_7d, sold_28d, sold_84d  log share of the purchases of so many days
#   trend                        how much more it sells than it did: sold_7d - sold_28d
#   days_on_sale                 log(1 + days since the first purchase); 0 where there was none
#   log_price                    log of the mean price; the catalogue's mean where there was none
NUMBERS = (*(f"sold_{days}d" for days in SOLD_DAYS), "trend", "days_on_sale", "log_price")
AGE_GROUP_DAYS = 28  # where nothing tells better
ALIKE = 20  # articles that are alike, of each article
_BLOCK = 2_000  # articles at once: what all of them have in common would not fit into memory


@dataclass(frozen=True)
class Signals:
    """Of A articles, as of the beginning of a day; G age groups."""

    numbers: dict[str, np.ndarray]  # those of NUMBERS by name, float32 [A]
    sold_by_age_group: np.ndarray  # log share of an age group's purchases of the last days, float32 [A, G]
    alike: np.ndarray  # rows of what the same customers bought, best first, int32 [A, ALIKE]; -1 at the end
    alikeness: np.ndarray  # cosine of the two articles' customers, float32 [A, ALIKE]; 0 where there is none


def of(
    before: Interactions, day: int, age_groups: np.ndarray, groups: int, age_group_days: int = AGE_GROUP_DAYS
) -> Signals:
    """The signals of the purchases `before` a day; `age_groups` are all customers' groups, [customers]."""
    first = np.full(before.articles, day)
    np.minimum.at(first, before.article, before.day)
    numbers = {f"sold_{days}d": _sold(before, day - days) for days in SOLD_DAYS}
    week, month, *_ = numbers.values()
    alike, alikeness = _alike(before)
    return Signals(
        numbers={
            **numbers,
            "trend": week - month,
            "days_on_sale": np.log1p(day - first).astype(np.float32),
            "log_price": _log_price(before),
        },
        sold_by_age_group=sold_by_age_group(before, day, age_groups, groups, age_group_days),
        alike=alike,
        alikeness=alikeness,
    )


def sold_by_age_group(
    before: Interactions, day: int, age_groups: np.ndarray, groups: int, days: int
) -> np.ndarray:
    """Log share of each age group's purchases of the last days before a day: float32 [A, G]."""
    group = age_groups[before.customer]
    sold = [_sold(before.where(group == number), day - days) for number in range(groups)]
    return np.stack(sold, axis=1)


def _sold(before: Interactions, since: int) -> np.ndarray:
    recent = before.article[before.day >= since]
    return _log_share(np.bincount(recent, minlength=before.articles))


def _log_share(count: np.ndarray) -> np.ndarray:
    """Log of each article's share of the purchases, one purchase added to each: float32 [A]."""
    return np.log((count + 1) / (count.sum() + len(count))).astype(np.float32)


def _log_price(before: Interactions) -> np.ndarray:
    paid = before.price > 0
    article, logs = before.article[paid], np.log(before.price[paid].astype(np.float64))
    count = np.bincount(article, minlength=before.articles)
    total = np.bincount(article, logs, before.articles)
    usual = logs.mean() if len(logs) else 0.0
    return np.where(count > 0, total / np.maximum(count, 1), usual).astype(np.float32)


def _alike(before: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines of the articles that most of an article's customers bought too: [A, ALIKE] each."""
    customer, article = np.divmod(before.pairs(), before.articles)
    count = np.bincount(article, minlength=before.articles)
    length = (1 / np.sqrt(count[article])).astype(np.float32)
    shape = (before.customers, before.articles)
    bought = sparse.csr_matrix((length, (customer, article)), shape=shape)
    columns = bought.T.tocsr()
    rows = np.full((before.articles, ALIKE), -1, np.int32)
    cosines = np.zeros((before.articles, ALIKE), np.float32)
    with progress_bar("what goes with what", before.articles) as bar:
        for start in range(0, before.articles, _BLOCK):
            block = (columns[start : start + _BLOCK] @ bought).tocsr()
            for place in range(block.shape[0]):
                own = slice(block.indptr[place], block.indptr[place + 1])
                others, cosine = _best(block.indices[own], block.data[own], besides=start + place)
                rows[start + place, : len(others)], cosines[start + place, : len(others)] = others, cosine
            bar.advance(block.shape[0])
    return rows, cosines


def _best(others: np.ndarray, cosine: np.ndarray, besides: int) -> tuple[np.ndarray, np.ndarray]:
    """The ALIKE largest without the article itself, ties to the smaller row."""
    keep = others != besides
    others, cosine = others[keep], cosine[keep]
    if len(others) > ALIKE:  # sorting the few that can be among them is much faster
        keep = cosine >= np.partition(cosine, -ALIKE)[-ALIKE]
        others, cosine = others[keep], cosine[keep]
    best = np.lexsort((others, -cosine))[:ALIKE]
    return others[best], cosine[best]
