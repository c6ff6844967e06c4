"""One training of the two towers, epoch by epoch: batches, the loss, and a step.

Trained with an in-batch softmax: the articles of a batch are each other's negatives. What sells well is a
negative more often, which is corrected for (logQ), so that the inner product learns the log-probability of a
purchase, popularity included.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hemline import history as histories
from hemline import towers
from hemline.history import History, Touches
from hemline.interactions import Interactions
from hemline.report import progress_bar
from hemline.towers import EMBEDDING_SIZE, Params

# Batches have multiples of this many purchases: each other size would be compiled anew.
BATCH_STEP = 64
# Steps after which histories are seen by the item embeddings as they are then: a server's are those of the
# index.
SNAPSHOT_STEPS = 20
MOST_SNAPSHOTS = 100  # an epoch
SHORT = 5  # touches, at most, of a history that is cut short

item_tower = jax.jit(towers.item_tower)


@dataclass(frozen=True)
class Settings:
    """Chosen on validation."""

    half_lives: tuple[float, ...] = (
        math.inf,
        30.0,
    )  # days until a purchase is drawn half as often; the best is kept
    epochs: int = 30  # at most
    patience: int = 2  # epochs without a better validation NDCG before stopping
    batch: int = 1024  # purchases
    forget: float = 1.0  # a row seen n times is left out with probability forget / (forget + n)
    reads_history: bool = True  # the query tower is told what a customer touched of late
    # Share of purchases that are learned as if by somebody with a history and no id. All of them: a vector of
    # the customer's own learns by heart what was bought, and the tower then does not listen to the history.
    visitors: float = 1.0
    cut_short: float = 0.3  # share of histories of which only the last few touches are told
    dense_rate: float = 2e-3
    table_rate: float = 0.1
    l2: float = 0.1
    validation_customers: int = 5000


class Course:
    """One training of the towers on a set of purchases, epoch by epoch.

    Rows of the two embedding tables are offsets: of a customer from the out-of-vocabulary vector, of an
    article from what its attributes say. They start at zero and are left out at random (the less often seen,
    the more), so the towers also learn to do without, and a customer or an article that training never saw is
    the typical one of its kind instead of noise.
    """

    def __init__(
        self,
        purchases: Interactions,
        one_hot: np.ndarray,
        ages: np.ndarray,
        settings: Settings,
        half_life: float,
        seed: int,
        strict: bool = True,
    ) -> None:
        self.touches = Touches(purchases, strict)
        self.purchases, self.one_hot, self.ages, self.settings = purchases, one_hot, ages, settings
        self.rng = np.random.default_rng(seed)
        # Where articles live shortly, what sold last month says more than what sold last year: old purchases
        # are then drawn less often. Where tastes are steady, every purchase helps. Validation tells which.
        age = purchases.day.max() - purchases.day
        self.weight = np.exp2(-age / half_life).astype(np.float32)
        self.seen_customer = np.bincount(purchases.customer, self.weight, purchases.customers).astype(
            np.float32
        )
        self.seen_article = np.bincount(purchases.article, self.weight, purchases.articles).astype(np.float32)

        self.dense, self.constants = towers.initial(one_hot.shape[1], ages, self.rng)
        self.optimiser = optax.adam(settings.dense_rate)
        self.state = self.optimiser.init(self.dense)
        self.tables = {
            "customer": jnp.zeros((purchases.customers, EMBEDDING_SIZE)),
            "article": jnp.zeros((purchases.articles, EMBEDDING_SIZE)),
        }
        self.squares = {name: jnp.full(len(table), 1e-2) for name, table in self.tables.items()}

    def epoch(self, title: str) -> float:
        """Draw the purchases once, in random order, and learn from them. Returns the mean loss in nats."""
        batches = self._batches()
        losses = []
        with progress_bar(title, len(batches)) as bar:
            for number, batch in enumerate(batches):
                if number % max(SNAPSHOT_STEPS, len(batches) // MOST_SNAPSHOTS) == 0:
                    items = item_tower(self.dense, self.tables["article"], self.one_hot)
                self.dense, self.state, self.tables, self.squares, loss = _step(
                    self.dense,
                    self.state,
                    self.tables,
                    self.squares,
                    self.constants,
                    items,
                    batch,
                    self.settings,
                )
                losses.append(loss)
                bar.advance()
        return float(np.mean(losses))

    def params(self) -> Params:
        """Everything that the towers need; `customer_vectors` has the out-of-vocabulary customer in row 0."""
        unknown = self.dense["unknown_customer"][None]
        customers = jnp.concatenate([unknown, unknown + self.tables["customer"]])
        return {
            **self.dense,
            **self.constants,
            "customer_vectors": np.asarray(customers),
            "article_vectors": np.asarray(self.tables["article"]),
        }

    def _batches(self) -> "_Batches":
        drawn = np.flatnonzero(self.rng.random(len(self.weight), np.float32) < self.weight)
        self.rng.shuffle(drawn)
        return _Batches(self, in_batches(drawn, self.settings.batch))


def in_batches(rows: np.ndarray, most: int) -> np.ndarray:
    """All rows in batches of one size, `most` or a little fewer: [batches, size].

    The first rows come again where the last batch would not be full.
    """
    size = -(-len(rows) // -(-len(rows) // most))
    if size > BATCH_STEP:
        size = min(most, -(-size // BATCH_STEP) * BATCH_STEP)
    return np.resize(rows, (-(-len(rows) // size), size))


@dataclass
class _Batches:
    course: Course
    rows: np.ndarray  # [batches, B]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return map(self._batch, self.rows)

    def _batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        c, p = self.course, self.course.purchases
        customer, month = p.customer[rows], p.month[rows]
        article = p.article[rows]
        sin, cos = season(month)
        history = self._history(customer, p.day[rows], article)
        known = c.rng.random(len(rows)) >= (c.settings.visitors if c.settings.reads_history else 0)
        return {
            "history": (history.articles, history.weights, history.days),
            "customer": customer,
            "article": article,
            "age": c.ages[customer],
            "sin": sin,
            "cos": cos,
            "log_share": np.log(c.seen_article[article] / c.seen_article.sum()),
            "keep_customer": self._keep(c.seen_customer[customer]) * known,
            "keep_article": self._keep(c.seen_article[article]),
            "one_hot": c.one_hot[article],
        }

    def _history(self, customer: np.ndarray, day: np.ndarray, article: np.ndarray) -> History:
        c = self.course
        if not c.settings.reads_history:
            return histories.nothing(len(customer))
        history = c.touches.before(customer, day, asked=article)
        short = c.rng.random(len(day)) < c.settings.cut_short
        return history.last(np.where(short, c.rng.integers(0, SHORT + 1, len(day)), histories.LENGTH))

    def _keep(self, seen: np.ndarray) -> np.ndarray:
        forget = self.course.settings.forget
        return (self.course.rng.random(len(seen)) >= forget / (forget + seen)).astype(np.float32)


def _loss(dense, customer: jax.Array, article: jax.Array, constants: Params, items, batch: dict, l2: float):
    """Mean cross entropy of each purchase's article among the batch's, in nats; tables' rows come in.

    `items` are the embeddings by which histories are seen; nothing is learned through them.
    """
    vector = dense["unknown_customer"] + customer * batch["keep_customer"][:, None]
    articles, weights, days = batch["history"]
    history = (items[articles], weights, days)
    queries = towers.query_tower(dense | constants, vector, batch["age"], batch["sin"], batch["cos"], history)
    items = towers.item_tower(dense, article * batch["keep_article"][:, None], batch["one_hot"])
    logits = queries @ items.T - batch["log_share"]
    # Not negatives: the article itself met again, and what the same customer bought elsewhere in the batch.
    same = batch["article"][:, None] == batch["article"][None, :]
    same |= batch["customer"][:, None] == batch["customer"][None, :]
    logits = jnp.where(same & ~jnp.eye(len(queries), dtype=bool), -jnp.inf, logits)
    loss = (jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits)).mean()
    return loss + l2 * ((customer**2).sum() + (article**2).sum()) / len(queries), loss


@partial(jax.jit, static_argnames="settings", donate_argnames=("tables", "squares"))
def _step(dense, state, tables, squares, constants, items, batch, settings: Settings):
    """One step: Adam for the dense layers, row-wise Adagrad for the tables' rows of this batch only."""
    ids = {"customer": batch["customer"], "article": batch["article"]}
    rows = {name: tables[name][ids[name]] for name in tables}
    gradient = jax.value_and_grad(_loss, argnums=(0, 1, 2), has_aux=True)
    (_, loss), (of_dense, *of_rows) = gradient(
        dense, rows["customer"], rows["article"], constants, items, batch, settings.l2
    )
    updates, state = optax.adam(settings.dense_rate).update(of_dense, state)
    dense = optax.apply_updates(dense, updates)
    tables, squares = dict(tables), dict(squares)
    for name, of_row in zip(("customer", "article"), of_rows, strict=True):
        of_row = of_row * len(batch["customer"])  # of the purchase's own loss, whatever the size of the batch
        squares[name] = squares[name].at[ids[name]].add((of_row**2).mean(axis=1))
        rate = settings.table_rate * jax.lax.rsqrt(squares[name][ids[name]])
        tables[name] = tables[name].at[ids[name]].add(-rate[:, None] * of_row)
    return dense, state, tables, squares, loss


def season(months: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """month_sin and month_cos of months 1..12."""
    angle = 2 * np.pi * np.asarray(months) / 12
    return np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)
