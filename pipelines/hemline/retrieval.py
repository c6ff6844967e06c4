"""Trains the two towers, and asks them: which articles come next, for a customer with a history?"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hemline import history as histories
from hemline import interactions, outputs, rankings, towers
from hemline.course import Course, Settings, item_tower, season
from hemline.errors import DataError
from hemline.history import History, Touches
from hemline.interactions import Interactions
from hemline.report import say
from hemline.schema import FEATURES_JSON
from hemline.towers import EMBEDDING_SIZE, Params

# What an article is, coarse and fine: one that nobody bought yet has company, and one that few did is not
# known by these few alone. Colours are told by their master; product groups by their types.
ITEM_ATTRIBUTES = (
    "garment_group_name",
    "index_group_name",
    "index_name",
    "section_name",
    "department_name",
    "product_type_name",
    "perceived_colour_master_name",
    "graphical_appearance_name",
)
CANDIDATES = 100
# Passes where validation has nothing that could tell when to stop.
BLIND_EPOCHS = 3
PARITY_ROWS = 2048
QUERIES_AT_ONCE = 16_384  # their histories are 50 MB
PARITY = 1e-5

_query_tower = jax.jit(towers.query_tower)


def train(work: Path, seed: int, epochs: int | None = None, settings: Settings | None = None) -> dict:
    """Train the towers and write `{,past_}towers.npz`, `query_tower.onnx` and `retrieval.json` into `work`.

    The half-life of purchases and the number of epochs are chosen on train → validation; the towers that are
    kept are then trained with them on train + validation, because the week before the test window says most
    about it. The past towers are trained in the same way, but know nothing of the weeks that the ranker
    learns from: to it, a retrieval score has to mean what it will mean for purchases to come. Returns what
    `retrieval.json` says. Raises DataError without the feature pipeline's output or without a purchase before
    the test window, and RuntimeError where ONNX and JAX disagree.
    """
    settings = settings or Settings()
    purchases, one_hot, ages = interactions.read(work), item_attributes(work), customer_ages(work)
    made_from, window = outputs.inputs(work, FEATURES_JSON), interactions.window(work)
    known, later, both = (purchases.of(*s) for s in (["train"], ["validation"], ["train", "validation"]))
    if not len(both.day):
        raise DataError(f"{work / 'transactions.parquet'}: no purchase outside the test split to learn from")

    strict = window["split"] == "temporal"
    check = _Check(known, later, one_hot, ages, settings, seed, strict)
    trials: dict[float, list[float]] = {}
    if len(known.day) and len(check.truth):
        settings = replace(settings, epochs=epochs or settings.epochs)
        for half_life in _distinct(settings.half_lives, known):
            say(f"trial with a half-life of {half_life} days")
            trial = Course(known, one_hot, ages, settings, half_life, seed, strict)
            trials[half_life] = _until_it_stops_improving(trial, check, settings)
        half_life = max(trials, key=lambda h: max(trials[h]))
        epochs = int(np.argmax(trials[half_life])) + 1
    else:
        half_life, epochs = settings.half_lives[0], epochs or BLIND_EPOCHS
        say(f"The validation split can't tell when to stop: {epochs} epochs.")

    def trained(of: Interactions, title: str) -> Params:
        course = Course(of, one_hot, ages, settings, half_life, seed, strict)
        for epoch in range(epochs):
            course.epoch(f"{title}, half-life {half_life}, epoch {epoch + 1} of {epochs}")
        return course.params()

    params = trained(both, "train + validation")
    past = interactions.before_ranking(purchases, window)
    with outputs.replacing(work, "retrieval.json") as new:
        towers.save(new / "towers.npz", params)
        towers.save(new / "past_towers.npz", trained(past, "the past") if len(past.day) else params)
        graph = towers.query_tower_onnx(params, settings.reads_history)
        (new / "query_tower.onnx").write_bytes(graph.SerializeToString(deterministic=True))
        report = {
            "inputs": made_from,
            "seed": seed,
            "settings": asdict(settings) | {"half_lives": [str(h) for h in settings.half_lives]},
            "half_life": str(half_life),
            "epochs": epochs,
            "validation_ndcg_at_100": {str(h): history for h, history in trials.items()},
            "validation_customers": len(check.truth),
            "onnx_largest_difference": check_parity(new, params, ages, seed, settings.reads_history),
        }
        outputs.write_json(new / "retrieval.json", report)
    return report


def query_embedding(
    work: Path,
    customer_ids: list[str],
    ages: np.ndarray,
    months: np.ndarray,
    history: History | None = None,
) -> np.ndarray:
    """The JAX query tower's embeddings [n, 16] of customers at ages in years [n] and months 1..12 [n].

    A customer who is not in `customers.parquet` has the out-of-vocabulary vector. Histories are seen by the
    embeddings of `create-embeddings`.
    """
    known = pq.read_table(work / "customers.parquet", columns=["customer_id"])["customer_id"]
    rows = (
        pc.index_in(pa.array(customer_ids, known.type), value_set=known)
        .fill_null(-1)
        .to_numpy(zero_copy_only=False)
    )
    params = towers.load(work / "towers.npz")
    vectors = params["customer_vectors"][rows + 1]
    items = np.load(work / "item_embeddings.npy") if history else None
    return queries(params, vectors, ages, months, history, items)


def reads_history(work: Path) -> bool:
    """Whether the trained query tower is told what customers touched of late."""
    return json.loads((work / "retrieval.json").read_text())["settings"]["reads_history"]


def histories_at_test(before: Interactions, window: dict, customers: np.ndarray) -> History:
    """What these customers touched `before` the test window, as of its first day.

    In a random split, days are no order: as of its last day.
    """
    strict = window["split"] == "temporal"
    asked_on = window["test_start"] if strict else window["test_end"]
    day = (np.datetime64(asked_on) - np.datetime64(window["first"])).astype(int)
    return Touches(before, strict).before(customers, np.full(len(customers), day))


def customer_ages(work: Path) -> np.ndarray:
    """Ages in years of all customers, float32 [customers]."""
    return pq.read_table(work / "customers.parquet", columns=["age"])["age"].to_numpy().astype(np.float32)


def item_attributes(work: Path) -> np.ndarray:
    """One-hot `ITEM_ATTRIBUTES` of all articles, an attribute's columns by name: float32 [articles, H]."""
    table = pq.read_table(work / "articles.parquet", columns=list(ITEM_ATTRIBUTES))
    values = [np.asarray(table[name].to_pylist(), dtype=str) for name in ITEM_ATTRIBUTES]
    return np.concatenate([(v[:, None] == np.unique(v)) for v in values], axis=1).astype(np.float32)


def queries(
    params: Params,
    vectors: np.ndarray,
    ages: np.ndarray,
    months: np.ndarray,
    history: History | None = None,
    items: np.ndarray | None = None,
) -> np.ndarray:
    """Query embeddings [n, 16] of customer vectors [n, 16] at ages in years [n] and months 1..12 [n].

    `items` are the embeddings [articles, 16] by which a history is seen; without one nobody touched anything.
    """
    sin, cos = season(months)
    if history is None or items is None:
        history, items = histories.nothing(len(vectors)), np.zeros((1, EMBEDDING_SIZE), np.float32)
    found = np.empty((len(vectors), EMBEDDING_SIZE), np.float32)
    ages = np.asarray(ages, np.float32)
    for start in range(0, len(vectors), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        seen = (items[history.articles[part]], history.weights[part], history.days[part])
        found[part] = _query_tower(_dense(params), vectors[part], ages[part], sin[part], cos[part], seen)
    return found


def item_embeddings(params: Params, one_hot: np.ndarray) -> np.ndarray:
    """Embeddings of all articles, of equal length: float32 [articles, 16]."""
    return towers.equal_lengths(np.asarray(item_tower(_dense(params), params["article_vectors"], one_hot)))


def check_parity(
    work: Path, params: Params, ages: np.ndarray, seed: int, reads_history: bool = True
) -> float:
    """Largest difference between the ONNX query tower and JAX. Raises RuntimeError where it is above 1e-5."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(params["customer_vectors"]), PARITY_ROWS)
    age, month = ages[np.maximum(rows, 1) - 1], rng.integers(1, 13, PARITY_ROWS)
    vectors, (sin, cos) = params["customer_vectors"][rows], season(month)
    items, history = None, None
    inputs = {
        "customer_vector": vectors,
        "age": age[:, None],
        "month_sin": sin[:, None],
        "month_cos": cos[:, None],
    }
    if reads_history:
        items = params["article_vectors"]
        shape = (PARITY_ROWS, histories.LENGTH)
        weights = rng.choice(np.float32([0, 0.5, 1]), shape) * (rng.random((PARITY_ROWS, 1)) < 0.9)
        days = rng.integers(0, 400, shape).astype(np.float32)
        history = History(rng.integers(0, len(items), shape), weights.astype(np.float32), days)
        inputs |= {
            "history_vectors": items[history.articles],
            "history_weights": history.weights,
            "history_days": history.days,
        }
    session = onnxruntime.InferenceSession(work / "query_tower.onnx", providers=["CPUExecutionProvider"])
    (got,) = session.run([towers.QUERY_OUTPUT], inputs)
    difference = float(np.abs(got - queries(params, vectors, age, month, history, items)).max())
    if not difference <= PARITY:
        raise RuntimeError(f"query_tower.onnx differs from JAX by {difference:.1e}, more than {PARITY:.0e}")
    return difference


class _Check:
    """NDCG@100 on validation purchases that the customer had not made before, asked on their first day.

    As deep as retrieval goes, it counts what is found as well as its order, and swings less than NDCG@12.
    """

    def __init__(
        self,
        known: Interactions,
        later: Interactions,
        one_hot: np.ndarray,
        ages: np.ndarray,
        settings: Settings,
        seed: int,
        strict: bool,
    ) -> None:
        self.truth = interactions.first_purchases(later, known).sample(settings.validation_customers, seed)
        customers = self.truth.customers
        self.bought = interactions.baskets(known.pairs(), known.articles).of(customers)
        self.month = np.full(len(customers), later.month[0]) if len(customers) else np.zeros(0)
        self.one_hot, self.ages, self.articles = one_hot, ages[customers], known.articles
        self.history = None
        if settings.reads_history and len(customers):
            day = later.day.min() if strict else later.day.max()
            self.history = Touches(known, strict).before(customers, np.full(len(customers), day))

    def ndcg(self, params: Params) -> float:
        vectors = params["customer_vectors"][self.truth.customers + 1]
        items = item_embeddings(params, self.one_hot)
        asked = queries(params, vectors, self.ages, self.month, self.history, items)
        ranking = interactions.top(asked, items, self.bought, CANDIDATES)
        hit = rankings.hits(ranking, self.truth, self.articles)
        return float(rankings.ndcg(hit, self.truth.sizes(), CANDIDATES).mean())


def _until_it_stops_improving(course: Course, check: _Check, settings: Settings) -> list[float]:
    """Validation NDCG after each epoch, until it has not improved for `patience` epochs."""
    history: list[float] = []
    while len(history) < settings.epochs and len(history) - _last_best(history) <= settings.patience:
        loss = course.epoch(f"train, epoch {len(history) + 1}")
        history.append(check.ndcg(course.params()))
        say(f"epoch {len(history)}: loss {loss:.4f}, validation NDCG@100 {history[-1]:.4f}")
    return history


def _distinct(half_lives: tuple[float, ...], known: Interactions) -> tuple[float, ...]:
    """Those that differ: purchases of a single day are all of one age."""
    return half_lives if known.day.min() < known.day.max() else half_lives[:1]


def _last_best(history: list[float]) -> int:
    return int(np.argmax(history)) + 1 if history else 0


def _dense(params: Params) -> Params:
    return {name: value for name, value in params.items() if not name.endswith("_vectors")}
