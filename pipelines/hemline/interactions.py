"""Purchases of the work directory as integer codes: what retrieval and evaluation count with.

A code is a row number: of `customers.parquet` for a customer, of `articles.parquet` for an article (both are
sorted by id). Thirty million purchases fit in a few hundred megabytes this way.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq

from hemline.errors import DataError
from hemline.report import progress_bar
from hemline.schema import FEATURES_JSON

SPLITS = ("train", "validation", "test")
WEEK = 7
RANKING_WEEKS = 4  # a week of small data has too few purchases to rank by
LONG = 200_000_000  # scores of an exact search that takes more than a second or two


@dataclass(frozen=True)
class Interactions:
    """Purchases in order of day, customer, article. Every array has one element a purchase."""

    customer: np.ndarray  # int32, row of customers.parquet
    article: np.ndarray  # int32, row of articles.parquet
    day: np.ndarray  # int32, days since the first day of the window
    month: np.ndarray  # int32, 1..12
    split: np.ndarray  # int8, position in SPLITS
    price: np.ndarray  # float32, as the data have it
    customers: int  # rows of customers.parquet
    articles: int  # rows of articles.parquet

    def where(self, rows: np.ndarray) -> "Interactions":
        """The purchases that a boolean or integer index selects."""
        columns = (self.customer, self.article, self.day, self.month, self.split, self.price)
        columns = (column[rows] for column in columns)
        return Interactions(*columns, self.customers, self.articles)

    def of(self, *splits: str) -> "Interactions":
        """The purchases of these splits."""
        return self.where(np.isin(self.split, [SPLITS.index(s) for s in splits]))

    def pairs(self) -> np.ndarray:
        """Distinct (customer, article) pairs as sorted int64 keys: customer · articles + article."""
        keys = self.customer.astype(np.int64) * self.articles + self.article
        keys.sort()  # np.unique hashes integers, and takes minutes for millions of such regular ones
        return keys[np.diff(keys, prepend=-1) > 0]


@dataclass(frozen=True)
class Baskets:
    """A set of articles for each of a list of customers.

    The articles of customer i are `articles[offsets[i]:offsets[i + 1]]`.
    """

    customers: np.ndarray  # int64 [n], rows of customers.parquet
    offsets: np.ndarray  # int64 [n + 1]
    articles: np.ndarray  # int64, rows of articles.parquet, ascending within a customer

    def __len__(self) -> int:
        """Number of customers."""
        return len(self.customers)

    def sizes(self) -> np.ndarray:
        """Number of articles of each customer, [n]."""
        return np.diff(self.offsets)

    def sample(self, most: int, seed: int) -> "Baskets":
        """At most so many of the customers, drawn without replacement; all of them where there are fewer."""
        if len(self) <= most:
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False))
        return self.at(chosen)

    def of(self, customers: np.ndarray) -> "Baskets":
        """The baskets of exactly these customers, in this order; empty for one who has none."""
        at = np.searchsorted(self.customers, customers)
        known = at < len(self)
        known[known] = self.customers[at[known]] == customers[known]
        sizes = np.where(known, self.sizes()[np.minimum(at, len(self) - 1)] if len(self) else 0, 0)
        articles = self.articles[_ranges(self.offsets[at], sizes)]
        return Baskets(customers, np.concatenate(([0], np.cumsum(sizes))), articles)

    def at(self, rows: np.ndarray) -> "Baskets":
        """The baskets in these places."""
        sizes = self.sizes()[rows]
        articles = self.articles[_ranges(self.offsets[rows], sizes)]
        return Baskets(self.customers[rows], np.concatenate(([0], np.cumsum(sizes))), articles)


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The concatenation of starts[i] .. starts[i] + sizes[i] - 1."""
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(starts, sizes) + within


def baskets(pairs: np.ndarray, articles: int) -> Baskets:
    """Group sorted (customer, article) keys, as `Interactions.pairs` returns them, by customer."""
    customers, starts = np.unique(pairs // articles, return_index=True)
    return Baskets(customers, np.concatenate((starts, [len(pairs)])), pairs % articles)


def no_baskets(customers: int) -> Baskets:
    """Customers 0, 1, 2, … who bought nothing."""
    return Baskets(np.arange(customers), np.zeros(customers + 1, np.int64), np.zeros(0, np.int64))


def first_purchases(now: Interactions, before: Interactions) -> Baskets:
    """What each customer bought in `now` and not in `before`: the truth that rankings are held to."""
    return baskets(np.setdiff1d(now.pairs(), before.pairs(), assume_unique=True), now.articles)


def ranking_weeks(window: dict) -> list[tuple[int, int]]:
    """The weeks before the test window that the ranker learns from: first and last day each, oldest first.

    RANKING_WEEKS of them, or as many as leave half of the days before them to learn retrieval from. In a
    random split there is one, of all days: its purchases are those of the validation split.
    """
    days = (np.datetime64(window["validation_end"]) - np.datetime64(window["first"])).astype(int) + 1
    if window["split"] != "temporal":
        return [(0, int(days) - 1)]
    weeks = max(1, min(RANKING_WEEKS, int(days) // (2 * WEEK)))
    return [(int(days) - WEEK * week, int(days) - WEEK * (week - 1) - 1) for week in range(weeks, 0, -1)]


def before_ranking(purchases: Interactions, window: dict) -> Interactions:
    """The purchases before the weeks that the ranker learns from; of a random split, the train split."""
    if window["split"] != "temporal":
        return purchases.of("train")
    return purchases.where(purchases.day < ranking_weeks(window)[0][0])


def read(work: Path) -> Interactions:
    """All purchases of the work directory. Raises DataError where `hemline features` did not finish."""
    require(work, "features", FEATURES_JSON)  # written last
    names = {name: str(work / f"{name}.parquet") for name in ("articles", "customers", "transactions")}
    with duckdb.connect() as db:
        for name, path in names.items():
            db.read_parquet(path, file_row_number=True).create_view(name)
        columns = db.sql(
            f"""
            select c.file_row_number::integer customer, a.file_row_number::integer article,
                   (t.t_dat::date - date '{window(work)["first"]}')::integer as day,
                   t.month::integer as month,
                   (list_position({list(SPLITS)}, t.split) - 1)::tinyint as split, t.price::float as price
            from transactions t join customers c using (customer_id) join articles a using (article_id)
            order by day, customer, article, split, price
            """
        ).fetchnumpy()
        counts = [pq.read_metadata(names[name]).num_rows for name in ("customers", "articles")]
    return Interactions(
        *(np.asarray(columns[c]) for c in ("customer", "article", "day", "month", "split", "price")), *counts
    )


def require(work: Path, step: str, *names: str) -> None:
    """Raises DataError where the work directory lacks one of the files that an earlier `step` writes."""
    for name in names:
        if not (work / name).is_file():
            raise DataError(f"{work / name}: missing; run `hemline {step}` first")


def features(work: Path) -> dict:
    """`features.json`, what the feature pipeline says about its output."""
    return json.loads((work / "features.json").read_text())


def window(work: Path) -> dict:
    """Dates (ISO, inclusive) and the kind of split: temporal or random."""
    return features(work)["window"]


def top(queries: np.ndarray, embeddings: np.ndarray, bought: Baskets, count: int) -> np.ndarray:
    """The articles with the largest inner product, best first, without what was already bought: [n, count].

    Exact. Ties go to the smaller row. A catalogue with too few articles left gives -1 at the end of a row.
    """
    return ranked(
        lambda start, stop: queries[start:stop] @ embeddings.T, bought, len(embeddings), count, "exact search"
    )


def most_bought(purchases: Interactions, bought: Baskets, count: int) -> np.ndarray:
    """What has the most purchases, for each customer of `bought` without what they bought: [n, count]."""
    sold = np.bincount(purchases.article, minlength=purchases.articles).astype(np.float32)
    return top(np.ones((len(bought), 1), np.float32), sold[:, None], bought, count)


def ranked(
    scores: Callable[[int, int], np.ndarray], bought: Baskets, articles: int, count: int, title: str = "rank"
) -> np.ndarray:
    """The articles with the largest score, best first, without what was already bought: [n, count].

    `scores(start, stop)` makes a new array [stop - start, articles] for these customers of `bought`; what it
    gives -inf is left out. Ties and short rows are as in `top`.
    """
    chosen = np.full((len(bought), count), -1, np.int64)
    takes_long = len(bought) * articles > LONG
    with progress_bar(title, len(bought)) if takes_long else nullcontext() as bar:
        for start in range(0, len(bought), 512):
            stop = min(start + 512, len(bought))
            found = scores(start, stop)
            low, high = bought.offsets[start], bought.offsets[stop]
            rows = np.repeat(np.arange(len(found)), np.diff(bought.offsets[start : stop + 1]))
            found[rows, bought.articles[low:high]] = -np.inf
            chosen[start:stop, : found.shape[1]] = best(found, count)
            if bar:
                bar.advance(len(found))
    return chosen


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Columns of each row's largest scores, best first, ties to the smaller; -1 where the score is -inf."""
    count = min(count, scores.shape[1])
    last = np.partition(scores, -count, axis=1)[:, -count, None]
    chosen = scores >= last
    # Where more are as good as the last, the smallest columns of those are taken.
    for row in np.flatnonzero(chosen.sum(axis=1) > count):
        equal = np.flatnonzero(scores[row] == last[row])
        chosen[row, equal[len(equal) - (chosen[row].sum() - count) :]] = False
    columns = np.nonzero(chosen)[1].reshape(len(scores), count)
    found = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    columns, found = np.take_along_axis(columns, order, axis=1), np.take_along_axis(found, order, axis=1)
    return np.where(np.isneginf(found), -1, columns)
