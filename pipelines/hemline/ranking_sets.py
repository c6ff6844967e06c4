"""What the ranker learns from: what a server would have found for those who bought in the last weeks.

Everything is as of the first day of each week: signals, histories, and the past towers, which know none of
these weeks. A candidate that its customer bought in the week, and not before, is a positive; of the
others, NEGATIVES are kept.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hemline import (
    candidates,
    interactions,
    ranking_features,
    rankings,
    retrieval,
    schema,
    signals,
    towers,
)
from hemline.candidates import Candidates
from hemline.history import History, Touches
from hemline.interactions import Baskets, Interactions
from hemline.ranker import Sets
from hemline.ranking_features import FEATURES, Profiles
from hemline.signals import Signals
from hemline.towers import Params

MOST_CUSTOMERS = 20_000  # of all weeks together: two million candidates
MOST_TESTED = 2_000
# Of a hundred candidates hardly one is bought. More of the others make no better ranker, but a slow training.
NEGATIVES = 0.25
# Of so many customers, the ranker learns as if nobody knew them: no vector, and a few touches of this visit.
STRANGERS = 0.1
FEW = 3
HELD_OUT = 5  # one customer of so many tells how many trees are best
PARAMETERS = {"iterations": 600, "depth": 6, "learning_rate": 0.05, "l2_leaf_reg": 10}
EARLY_STOPPING_ROUNDS = 30
# Which purchases count as of late, and how many candidates are not for the towers to choose: the last week
# before the test window tells what finds most of what is bought. Where taste is steady that is little, where
# what is new sells it is much.
AGE_GROUP_DAYS = (3, 7, 14, 28, 56)
ALIKE_SHARES = (0.0, 0.1, 0.25, 0.4)
POPULAR_SHARES = (0.05, 0.15, 0.3, 0.5)
CHOSEN_BY = 5_000  # customers


@dataclass(frozen=True)
class World:
    """The work directory's tables as the models see them."""

    purchases: Interactions
    window: dict
    ages: np.ndarray  # years, float32 [customers]
    age_groups: np.ndarray  # [customers]
    codes: dict[str, np.ndarray]  # attribute → codes, int32 [articles]
    texts: dict[str, pa.Array]  # attribute → its values by code
    one_hot: np.ndarray  # the item tower's attributes
    reads_history: bool  # the query tower does
    age_group_days: int = signals.AGE_GROUP_DAYS
    shares: dict[str, float] = field(default_factory=lambda: dict(candidates.SHARES))

    @property
    def strict(self) -> bool:
        """Whether days are an order: the split is temporal."""
        return self.window["split"] == "temporal"


@dataclass(frozen=True)
class Asked:
    """Customers at a moment, what they bought then, and the candidates of a server at that moment."""

    truth: Baskets
    candidates: Candidates
    features: dict[str, np.ndarray]  # by name, as `ranking_features.compute` gives them

    def table(self, world: World) -> pa.Table:
        """The features, the label, and the customer (its row), with dictionary-encoded texts."""
        columns: dict[str, pa.Array] = {}
        for name, values in self.features.items():
            texts = world.texts.get(name)
            columns[name] = (
                pa.array(values) if texts is None else pa.DictionaryArray.from_arrays(values, texts)
            )
        columns["label"] = pa.array(self._labels(world.purchases.articles))
        columns["customer"] = pa.array(self.truth.customers[self.candidates.customer])
        return pa.table(columns)

    def _labels(self, articles: int) -> np.ndarray:
        """1 for each candidate that was bought, int8 [pairs]."""
        wanted = np.repeat(np.arange(len(self.truth)), self.truth.sizes()) * articles + self.truth.articles
        return np.isin(self.candidates.customer * articles + self.candidates.article, wanted).astype(np.int8)


def world(work: Path) -> World:
    """Reads it."""
    table = pq.read_table(work / schema.ARTICLES, columns=list(schema.ARTICLE_ATTRIBUTES))
    encoded = {name: table[name].combine_chunks().dictionary_encode() for name in table.column_names}
    ages = retrieval.customer_ages(work)
    return World(
        purchases=interactions.read(work),
        window=interactions.window(work),
        ages=ages,
        age_groups=schema.age_group_numbers(ages),
        codes={name: column.indices.to_numpy().astype(np.int32) for name, column in encoded.items()},
        texts={name: column.dictionary.cast(pa.string()) for name, column in encoded.items()},
        one_hot=retrieval.item_attributes(work),
        reads_history=retrieval.reads_history(work),
    )


def sets(work: Path, seed: int) -> Sets:
    """The weeks before the test window by the past towers, and the test window by those that are served."""
    known, recall = _chosen(work, world(work), seed)
    rows = _training(work, known, seed)
    held_out = rows["customer"].to_numpy() % HELD_OUT == 0
    before, now = known.purchases.of("train", "validation"), known.purchases.of("test")
    test, rng = _nothing(known), np.random.default_rng(seed)
    if len(before.day) and len(now.day):
        params = towers.load(work / "towers.npz")
        test = ask(known, moment(known, before, now, params, rng, MOST_TESTED)).table(known)
    training, validation = rows.filter(pa.array(~held_out)), rows.filter(pa.array(held_out))
    found_by = {"age_group_days": known.age_group_days, "sources": known.shares, "recall_at_100": recall}
    return Sets(FEATURES, training, validation, test, PARAMETERS, EARLY_STOPPING_ROUNDS, found_by)


def _training(work: Path, world: World, seed: int) -> pa.Table:
    """The candidates of the weeks before the test window; oldest week first."""
    past = towers.load(work / "past_towers.npz")
    weeks = interactions.ranking_weeks(world.window)
    purchases, tables = world.purchases, []
    for number, (first, last) in enumerate(weeks):
        if world.strict:
            before = purchases.where(purchases.day < first)
            now = purchases.where((purchases.day >= first) & (purchases.day <= last))
        else:
            before, now = purchases.of("train"), purchases.of("validation")
        if len(now.day) and len(before.day):
            rng = np.random.default_rng([seed, number])
            most = MOST_CUSTOMERS // len(weeks)
            table = ask(world, moment(world, before, now, past, rng, most, STRANGERS)).table(world)
            kept = (table["label"].to_numpy() == 1) | (rng.random(len(table)) < NEGATIVES)
            tables.append(table.filter(pa.array(kept)))
    return pa.concat_tables([_nothing(world), *tables]).unify_dictionaries()


@dataclass(frozen=True)
class Moment:
    """Customers who bought something, and what was known of them and of all articles on the day before."""

    truth: Baskets
    bought: Baskets
    history: History
    queries: np.ndarray  # float32 [n, D]
    items: np.ndarray  # float32 [articles, D]
    towers: np.ndarray  # the nearest articles [n, CANDIDATES]
    age_groups: np.ndarray  # [n]
    signals: Signals
    day: int
    month: int

    def candidates(self, shares: dict[str, float], sold_by_age_group: np.ndarray | None = None) -> Candidates:
        """What a server would have found."""
        sold = self.signals.sold_by_age_group if sold_by_age_group is None else sold_by_age_group
        known = (self.history, self.bought, replace(self.signals, sold_by_age_group=sold), self.age_groups)
        return candidates.find(self.queries, self.items, self.towers, *known, shares)


def moment(
    world: World,
    before: Interactions,
    now: Interactions,
    params: Params,
    rng: np.random.Generator,
    most: int,
    strangers: float = 0.0,
) -> Moment:
    """Those who bought something new `now`, knowing what was `before`; at most so many of them."""
    day = int(now.day.min() if world.strict else now.day.max() + 1)
    truth = interactions.first_purchases(now, before).sample(most, int(rng.integers(2**31)))
    customers, month = truth.customers, int(now.month[0])
    history, hidden = _histories(world, before, customers, day, rng, strangers)
    items = retrieval.item_embeddings(params, world.one_hot)
    vectors = params["customer_vectors"][np.where(hidden, 0, customers + 1)]
    months = np.full(len(customers), month)
    seen = history if world.reads_history else None
    queries = retrieval.queries(params, vectors, world.ages[customers], months, seen, items)
    bought = interactions.baskets(before.pairs(), before.articles).of(customers)
    nearest = interactions.top(queries, items, bought, candidates.CANDIDATES)
    groups = (world.age_groups, schema.AGE_GROUP_COUNT, world.age_group_days)
    known = signals.of(before, day, *groups)
    own = world.age_groups[customers]
    return Moment(truth, bought, history, queries, items, nearest, own, known, day, month)


def ask(world: World, then: Moment) -> Asked:
    """What a server would have asked the ranker at a moment."""
    found = then.candidates(world.shares)
    profiles = Profiles(world.ages[then.truth.customers], then.age_groups, then.month, then.history)
    table = ranking_features.Table(then.signals, world.codes, then.items)
    return Asked(then.truth, found, ranking_features.compute(FEATURES, found, profiles, table))


def _chosen(work: Path, world: World, seed: int) -> tuple[World, dict[str, float]]:
    """The world with the days and shares that found most in the last week, and what each choice found.

    As it was where the week can't tell: without an order of days, or a purchase.
    """
    (*_, (first, last)) = interactions.ranking_weeks(world.window)
    purchases = world.purchases
    before = purchases.where(purchases.day < first)
    now = purchases.where((purchases.day >= first) & (purchases.day <= last))
    if not world.strict or not len(before.day) or not len(now.day):
        return world, {}
    past = towers.load(work / "past_towers.npz")
    then = moment(world, before, now, past, np.random.default_rng(seed), CHOSEN_BY, STRANGERS)
    if not len(then.truth):
        return world, {}
    groups = (world.age_groups, schema.AGE_GROUP_COUNT)
    sold = {days: signals.sold_by_age_group(before, then.day, *groups, days) for days in AGE_GROUP_DAYS}
    only = {"alike": 0.0, "popular": 1.0}
    by_days = {days: _recall(then, only, values) for days, values in sold.items()}
    days = max(by_days, key=by_days.get)
    every = [{"alike": a, "popular": p} for a in ALIKE_SHARES for p in POPULAR_SHARES]
    by_shares = [_recall(then, shares, sold[days]) for shares in every]
    shares = every[int(np.argmax(by_shares))]
    told = {f"popular {days} days": recall for days, recall in by_days.items()}
    told |= {
        f"alike {shares['alike']}, popular {shares['popular']}": recall
        for shares, recall in zip(every, by_shares, strict=True)
    }
    return replace(world, age_group_days=days, shares=shares), told


def _recall(then: Moment, shares: dict[str, float], sold_by_age_group: np.ndarray) -> float:
    lists = then.candidates(shares, sold_by_age_group).lists(len(then.truth))
    hits = rankings.hits(lists, then.truth, len(then.items))
    return float(rankings.recall(hits, then.truth.sizes()).mean())


def _histories(
    world: World,
    before: Interactions,
    customers: np.ndarray,
    day: int,
    rng: np.random.Generator,
    strangers: float,
) -> tuple[History, np.ndarray]:
    """Histories, and who is taken for a stranger: [n] each."""
    touches = Touches(before, world.strict)
    history = touches.before(customers, np.full(len(customers), day if world.strict else day - 1))
    hidden = rng.random(len(customers)) < strangers
    length = history.weights.shape[1]
    return history.last(np.where(hidden, rng.integers(0, FEW + 1, len(customers)), length)), hidden


def _nothing(world: World) -> pa.Table:
    """A table without a row."""
    empty = {
        feature["name"]: pa.array([], pa.float32())
        if feature["datatype"] == "FP32"
        else pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), world.texts[feature["name"]])
        for feature in FEATURES
    }
    return pa.table({**empty, "label": pa.array([], pa.int8()), "customer": pa.array([], pa.int64())})
