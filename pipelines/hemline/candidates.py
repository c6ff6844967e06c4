"""Candidates: what the ranker is asked about, from three sources that know different things.

towers   the articles nearest to the query: a customer's taste
alike    what was bought by those who bought what the customer touched of late
popular  what sells of late to the customer's age group

Of the candidates, shares are reserved for the last two; the towers fill up the rest, and whatever the others
leave. All stand in the order of the towers' score, ties by row. The transformer does the same
(`transformer/src/candidates.rs`).
"""

from dataclasses import dataclass

import numpy as np

from hemline.history import History
from hemline.interactions import Baskets
from hemline.signals import Signals

CANDIDATES = 100
SHARES = {"alike": 0.25, "popular": 0.15}  # where nothing tells better
Shares = dict[str, float]
_CHUNK = 1_000  # customers at once


@dataclass(frozen=True)
class Candidates:
    """Pairs of a customer (its place among those asked about) and an article, by customer, best first."""

    customer: np.ndarray  # int64 [pairs]
    article: np.ndarray  # int64 [pairs]
    score: np.ndarray  # the towers', float32 [pairs]
    rank: np.ndarray  # from 0, float32 [pairs]
    alike: np.ndarray  # how much it is like what was touched, float32 [pairs]

    def lists(self, customers: int, scores: np.ndarray | None = None) -> np.ndarray:
        """Articles of each customer, best first: int64 [customers, CANDIDATES], -1 at the end.

        By a score of each pair, the highest first and equals as they stand; without one as they stand.
        """
        pairs = len(self.article)
        order = np.arange(pairs) if scores is None else np.lexsort((self.rank, -scores, self.customer))
        customer, article = self.customer[order], self.article[order]
        found = np.full((customers, CANDIDATES), -1)
        found[customer, _places(customer)] = article
        return found


def find(
    queries: np.ndarray,
    items: np.ndarray,
    towers: np.ndarray,
    history: History,
    bought: Baskets,
    signals: Signals,
    age_groups: np.ndarray,
    shares: Shares,
) -> Candidates:
    """The candidates of n customers, none that was `bought`.

    queries [n, D], items [A, D], age groups [n]; `towers` has the CANDIDATES articles nearest to each query,
    best first, without what was bought: [n, CANDIDATES], -1 at the end.
    """
    parts = []
    for start in range(0, max(len(queries), 1), _CHUNK):
        part = np.arange(start, min(start + _CHUNK, len(queries)))
        own = bought.at(part)
        known = (history.of(part), own, signals, age_groups[part], shares)
        found = _find(queries[part], items, towers[part], *known)
        parts.append((start + found[0], *found[1:]))
    return Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def of_towers(queries: np.ndarray, items: np.ndarray, towers: np.ndarray) -> Candidates:
    """The candidates of n customers where the towers are the only source; arguments are as in `find`."""
    customer, place = np.nonzero(towers >= 0)
    article = towers[customer, place]
    score = np.einsum("pd,pd->p", queries[customer], items[article])
    return Candidates(customer, article, score, place.astype(np.float32), np.zeros(len(article), np.float32))


def _find(queries, items, towers, history, bought, signals, age_groups, shares) -> tuple[np.ndarray, ...]:
    """`find` for some of the customers, by columns."""
    n, articles = len(queries), len(items)
    taken = np.repeat(np.arange(n), bought.sizes()) * articles + bought.articles
    keys, likeness = _alikeness(history, signals)
    fresh = ~np.isin(keys, taken)
    alike = _best(keys[fresh], likeness[fresh], articles, int(CANDIDATES * shares["alike"]))
    popular = _popular(signals, age_groups, bought, taken, int(CANDIDATES * shares["popular"]))
    reserved = np.union1d(alike, popular)
    chosen = np.union1d(reserved, _fill(towers, reserved, articles))
    customer, article = np.divmod(chosen, articles)
    score = np.einsum("pd,pd->p", queries[customer], items[article])
    order = np.lexsort((article, -score, customer))
    customer, article, score = customer[order], article[order], score[order]
    alike = _looked_up(chosen[order], keys, likeness)
    return customer, article, score, _places(customer).astype(np.float32), alike


def alikeness(history: History, signals: Signals, customer: np.ndarray, article: np.ndarray) -> np.ndarray:
    """How much each article is like what its customer touched, float32 [pairs]."""
    keys, likeness = _alikeness(history, signals)
    return _looked_up(customer * len(signals.alike) + article, keys, likeness)


def _looked_up(wanted: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 where there is none; keys are ascending."""
    if not len(keys):
        return np.zeros(len(wanted), np.float32)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], np.float32(0))


def _alikeness(history: History, signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    """Ascending keys customer · articles + article, and how much each is like what the customer touched.

    That is the sum of the likenesses to what was touched, each by the weight of the touch: float32.
    """
    articles = len(signals.alike)
    alike = signals.alike[history.articles]  # [n, H, ALIKE]
    likeness = history.weights[:, :, None] * signals.alikeness[history.articles]
    customer, place, slot = np.nonzero((alike >= 0) & (likeness > 0))
    keys, at = np.unique(customer * articles + alike[customer, place, slot], return_inverse=True)
    return keys, np.bincount(at, likeness[customer, place, slot], len(keys)).astype(np.float32)


def _best(keys: np.ndarray, values: np.ndarray, articles: int, count: int) -> np.ndarray:
    """Of each customer the keys with the `count` largest values, ties to the smaller."""
    customer = keys // articles
    order = np.lexsort((keys, -values, customer))
    return keys[order][_places(customer[order]) < count]


def _popular(
    signals: Signals, age_groups: np.ndarray, bought: Baskets, taken: np.ndarray, count: int
) -> np.ndarray:
    """Keys of the `count` articles that sell most to each customer's age group and that it did not buy."""
    articles = len(signals.alike)
    depth = min(articles, count + int(bought.sizes().max(initial=0)))
    best = np.argsort(-signals.sold_by_age_group, axis=0, kind="stable")[:depth].T
    keys = np.arange(len(age_groups))[:, None] * articles + best[age_groups]
    fresh = ~np.isin(keys, taken)
    return keys[fresh & (np.cumsum(fresh, axis=1) <= count)]


def _fill(towers: np.ndarray, reserved: np.ndarray, articles: int) -> np.ndarray:
    """Keys of each list's first that are not reserved, as many as there is room for."""
    keys = np.arange(len(towers))[:, None] * articles + np.maximum(towers, 0)
    new = (towers >= 0) & ~np.isin(keys, reserved)
    room = CANDIDATES - np.bincount(reserved // articles, minlength=len(towers))
    return keys[new & (np.cumsum(new, axis=1) <= room[:, None])]


def _places(customer: np.ndarray) -> np.ndarray:
    """The place of each row among its customer's, from 0; rows are in the order of customers."""
    return np.arange(len(customer)) - np.searchsorted(customer, customer)
