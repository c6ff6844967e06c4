"""What a customer touched before a day, as the query tower is told it in training, evaluation and serving.

A history is the last articles of a customer, newest first: the vector of each article (its embedding in the
index), a weight by the kind of touch, and how many whole days ago it was. Of one day and customer an article
counts once; those of one day are in the order of their ids.
"""

from dataclasses import dataclass

import numpy as np

from hemline.interactions import Interactions

# The last touches that a query knows. More of them hardly changed validation, and each costs 64 bytes a
# request.
LENGTH = 50
# Training data know purchases only. A click says less; how much less was not to be learned from them.
WEIGHTS = {"purchase": 1.0, "click": 0.5}
_DAYS = 100_000  # more than any data have


@dataclass(frozen=True)
class History:
    """The histories of n customers, padded to one length H."""

    articles: np.ndarray  # int32 [n, H], rows of articles.parquet; 0 where there is none
    weights: np.ndarray  # float32 [n, H]; 0 where there is none
    days: np.ndarray  # float32 [n, H], whole days ago

    def sizes(self) -> np.ndarray:
        """How many touches each customer has, [n]."""
        return (self.weights > 0).sum(axis=1)

    def last(self, most: int | np.ndarray) -> "History":
        """Only the newest `most` touches: one number for all, or one for each customer."""
        places = np.arange(self.weights.shape[1])
        kept = places < (most[:, None] if isinstance(most, np.ndarray) else most)
        return History(self.articles, (self.weights * kept).astype(np.float32), self.days)

    def of(self, rows: np.ndarray) -> "History":
        """The histories of some of the customers."""
        return History(self.articles[rows], self.weights[rows], self.days[rows])


def nothing(customers: int) -> History:
    """The histories of customers who touched nothing."""
    empty = np.zeros((customers, 1), np.float32)
    return History(empty.astype(np.int32), empty, empty)


class Touches:
    """All purchases, so that a customer's last ones before a day are quickly found.

    Where the split is temporal (`strict`), those of the day itself do not count: which of them was first is
    not known. In a random split, days are no order either: everything else that the customer bought by that
    day counts, which is why a purchase that is asked about has to be left out by naming its article.
    """

    def __init__(self, purchases: Interactions, strict: bool = True) -> None:
        order = np.lexsort((-purchases.article.astype(np.int64), purchases.day, purchases.customer))
        customer, day, article = (c[order] for c in (purchases.customer, purchases.day, purchases.article))
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(customer) != 0) | (np.diff(day) != 0) | (np.diff(article) != 0)
        self._customer, self._day, self._article = customer[first], day[first], article[first]
        self._keys = self._customer.astype(np.int64) * _DAYS + self._day
        self._starts = np.searchsorted(self._customer, np.arange(purchases.customers + 1))
        self._strict = strict

    def before(
        self,
        customers: np.ndarray,
        days: np.ndarray,
        length: int = LENGTH,
        asked: np.ndarray | None = None,
    ) -> History:
        """The last touches of each of the customers [n] before its day [n].

        Of a random split, never the article that the customer is `asked` about [n].
        """
        until = customers.astype(np.int64) * _DAYS + days + (not self._strict)
        ends = np.searchsorted(self._keys, until)
        places = ends[:, None] - 1 - np.arange(length)
        there = places >= self._starts[customers][:, None]
        places = np.where(there, places, 0)
        if not len(self._article):
            return nothing(len(customers))
        articles, ago = self._article[places], days[:, None] - self._day[places]
        if asked is not None and not self._strict:
            there &= articles != asked[:, None]
        weights = there * np.float32(WEIGHTS["purchase"])
        return History(
            np.where(there, articles, 0),
            weights.astype(np.float32),
            np.where(there, ago, 0).astype(np.float32),
        )
