"""Evaluates a bundle's own files on the test week: is what is served better than showing everyone what sells?

Lists of the same customers are compared, each without what the customer had already bought:
popularity  what sold most in the last seven days before the test window
(baselines) what else a recommender has to beat: see `hemline.baselines`
retrieval   the 100 articles that the bundle's index finds for the query, best first
served      the same 100, in the order of the ranker: what a request is answered with
oracle      the true probabilities, where the data are generated: the best that any list can do

The truth is what a customer bought in the test window and had not bought before.

A server leaves out what was bought while it searches the index. Python's usearch can't, so here the index is
asked for as many more, which are then left out. As in a server, exact search answers where the graph comes up
short.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from usearch.index import Index

from hemline import bundle as bundles
from hemline import embeddings, evaluation_report, interactions, outputs, rankings, retrieval
from hemline import history as histories
from hemline.errors import DataError
from hemline.history import History
from hemline.interactions import Baskets, Interactions
from hemline.report import progress_bar, say
from hemline.schema import AGE_GROUPS, ARTICLES, CUSTOMERS, FEATURES_JSON, OLDEST_AGE_GROUP, ORACLE

CANDIDATES = 100
POPULAR_DAYS = 7
# More customers would narrow the intervals little and take long.
MOST_CUSTOMERS = 20_000
CHUNK = 200  # customers a call of the ranker
# What is served, and retrieval, are compared with each of these, where there is such a list.
COMPARED = ("popularity", "recent_popularity", "als", "ease")
# Upper bound (inclusive, articles bought before the test window) of each length of history; the last is open.
HISTORIES = ((0, "new"), (5, "short"))
LONGEST_HISTORY = "long"


@dataclass(frozen=True)
class Question:
    """What is asked of every list: for these customers, what will they buy that they have not bought yet?"""

    truth: Baskets
    bought: Baskets  # before the test window
    articles: int
    month: int
    without_truth: int  # test customers who bought nothing new
    unknown: np.ndarray  # bool [n], customers without a purchase before the test window


def evaluate(work: Path, bundle: Path, plot: Path | None = None, with_baselines: bool = True) -> dict:
    """Evaluate `bundle` on the test split of `work`: print, plot (default `work/evaluation.png`), and record.

    The numbers go into the manifest's `metrics` and are returned. Without baselines, which take a minute for
    400,000 purchases, only popularity is beside the bundle's lists. Raises DataError where there is no
    bundle, it is of other data than `work`, or the test split has no customer to ask about.
    """
    manifest = bundles.read_manifest(bundle)
    purchases, window = interactions.read(work), interactions.window(work)
    refuse_other_data(work, bundle, manifest)
    true = true_ranking(work)
    question = ask(purchases, window, manifest["seed"], among=true and np.unique(true[0]))
    lists, settings = {"popularity": popularity(purchases, window, question)}, {}
    if with_baselines:
        from hemline import baselines  # slow to import, needed here only

        others, settings = baselines.make(purchases, window, question.bought, manifest["seed"])
        lists |= others
    lists |= bundle_lists(work, bundle, manifest, question)
    if true:
        lists["oracle"] = oracle(true, question)

    sold = np.bincount(purchases.of("train", "validation").article, minlength=question.articles)
    metrics = measure(lists, question, sold, segments(work, question), manifest["seed"])
    metrics |= {"split": window["split"], "baselines": settings}
    bundles.write_manifest(bundle, manifest | {"metrics": metrics})
    evaluation_report.show(metrics)
    for sentence in evaluation_report.verdict(metrics):
        say(sentence)
    evaluation_report.draw(metrics, plot or work / "evaluation.png")
    return metrics


def refuse_other_data(work: Path, bundle: Path, manifest: dict) -> None:
    """Raises DataError where the bundle was trained on other data: it may have seen the test purchases."""
    if manifest.get("window") != interactions.window(work):
        raise DataError(
            f"{bundle}: made of other days than {work}, or split otherwise; run `hemline bundle` again"
        )
    if manifest.get("data") != outputs.fingerprint(work / FEATURES_JSON):
        raise DataError(f"{bundle}: made of other data than {work}; run `hemline bundle` again")


def ask(
    purchases: Interactions,
    window: dict,
    seed: int,
    among: np.ndarray | None = None,
    most: int = MOST_CUSTOMERS,
) -> Question:
    """The test window's question, `among` these customers where given (the oracle may know but a sample).

    Of more than `most` customers it is about a sample that the seed draws.
    Raises DataError where nobody bought anything new in it.
    """
    before, during = purchases.of("train", "validation"), purchases.of("test")
    truth = interactions.first_purchases(during, before)
    without = len(np.unique(during.customer)) - len(truth)
    if among is not None:
        truth = truth.of(truth.customers[np.isin(truth.customers, among)])
    if not len(truth):
        days = f"{window['test_start']} to {window['test_end']}"
        raise DataError(f"the test split ({days}) has no new purchase to predict")
    truth = truth.sample(most, seed)
    bought = interactions.baskets(before.pairs(), before.articles).of(truth.customers)
    month = int(window["test_start"][5:7])
    return Question(truth, bought, purchases.articles, month, without, bought.sizes() == 0)


def popularity(purchases: Interactions, window: dict, question: Question) -> np.ndarray:
    """What sold most often in the last days before the test window, for each customer: [n, CANDIDATES].

    In a random split, where test and training share their days, all purchases outside the test split count.
    """
    before = purchases.of("train", "validation")
    if window["split"] == "temporal" and len(before.day):
        # The split ends the day before the test window; a day without sales still is one of the seven.
        last = (np.datetime64(window["test_start"]) - np.datetime64(window["first"])).astype(int) - 1
        before = before.where(before.day > last - POPULAR_DAYS)
    return interactions.most_bought(before, question.bought, CANDIDATES)


def true_ranking(work: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Customers, articles (rows of their tables) and ranks from 0 of the oracle's lists; None without one."""
    if not (work / ORACLE).exists():
        return None
    table = pq.read_table(work / ORACLE, columns=["customer_id", "article_id", "rank"])
    customers = _rows(work / CUSTOMERS, "customer_id", table["customer_id"])
    return customers, _rows(work / ARTICLES, "article_id", table["article_id"]), table["rank"].to_numpy() - 1


def oracle(true: tuple[np.ndarray, np.ndarray, np.ndarray], question: Question) -> np.ndarray:
    """The true ranking of generated data: [n, CANDIDATES]."""
    wanted = np.isin(true[0], question.truth.customers) & (true[2] < CANDIDATES)
    customers, articles, rank = (column[wanted] for column in true)
    ranking = np.full((len(question.truth), CANDIDATES), -1)
    ranking[np.searchsorted(question.truth.customers, customers), rank] = articles
    return ranking


def bundle_lists(work: Path, bundle: Path, manifest: dict, question: Question) -> dict[str, np.ndarray]:
    """The lists `retrieval` and `served` of the bundle's own files: [n, CANDIDATES] each.

    Where the query tower is told a history, also what it finds `without_history`.
    """
    articles = _arrow(bundle / bundles.ARTICLES)
    ids = pq.read_table(work / ARTICLES, columns=["article_id"])["article_id"].cast(pa.string())
    if not articles["article_id"].combine_chunks().equals(ids.combine_chunks()):
        raise DataError(f"{bundle}: made of other articles than {work}")
    ages = pq.read_table(work / CUSTOMERS, columns=["age"])["age"].to_numpy()
    ages = ages[question.truth.customers].astype(np.float32)
    season = 2 * np.pi * question.month / 12
    seasons = {"month_sin": np.float32(np.sin(season)), "month_cos": np.float32(np.cos(season))}
    inputs = {
        "customer_vector": customer_vectors(work, bundle, question.truth.customers),
        "age": ages[:, None],
        **{name: np.full((len(ages), 1), value, np.float32) for name, value in seasons.items()},
    }
    items = articles["embedding"].combine_chunks().flatten().to_numpy().reshape(len(articles), -1)
    history = None
    if "history" in manifest["retrieval"]:
        before = interactions.read(work).of("train", "validation")
        history = retrieval.histories_at_test(
            work, before, interactions.window(work), question.truth.customers
        )
    index = Index.restore(str(bundle / bundles.INDEX), view=True)
    index.expansion_search = manifest["retrieval"]["index"]["expansion_search"]
    lists = {}
    if history is not None:
        nothing = histories.nothing(len(ages))
        queries = bundle_queries(bundle, manifest, inputs, items, nothing)
        lists["without_history"] = neighbours(index, queries, items, question.bought)
    queries = bundle_queries(bundle, manifest, inputs, items, history)
    found = neighbours(index, queries, items, question.bought)
    return lists | {
        "retrieval": found,
        "served": rank(bundle, manifest, articles, found, {"age": ages, **seasons}),
    }


def bundle_queries(
    bundle: Path, manifest: dict, inputs: dict, items: np.ndarray, history: History | None
) -> np.ndarray:
    """What the bundle's query tower makes of the profiles' `inputs` and of histories: [n, size]."""
    tower, output = _session(bundle / bundles.QUERY_TOWER), manifest["retrieval"]["query_tower"]["output"]
    found = []
    count = len(inputs["customer_vector"])
    for start in range(0, count, retrieval.QUERIES_AT_ONCE):
        part = np.arange(start, min(start + retrieval.QUERIES_AT_ONCE, count))
        asked = {name: values[part] for name, values in inputs.items()}
        if history is not None:
            seen = history.of(part)
            asked |= {
                "history_vectors": items[seen.articles],
                "history_weights": seen.weights,
                "history_days": seen.days,
            }
        found.append(tower.run([output], asked)[0])
    return np.concatenate(found)


def neighbours(index: Index, queries: np.ndarray, items: np.ndarray, bought: Baskets) -> np.ndarray:
    """What the index finds for each query without what was bought, best first: [n, CANDIDATES]."""
    found = np.full((len(queries), CANDIDATES), -1)
    # Those who bought about as much are asked for together, as for each of them so many more are asked for.
    sizes = bought.sizes()
    by_size = np.argsort(sizes, kind="stable")
    with progress_bar("search", len(queries)) as bar:
        for start in range(0, len(queries), CHUNK):
            rows = by_size[start : start + CHUNK]
            count = min(CANDIDATES + sizes[rows[-1]], len(items))
            for row, keys in zip(rows, embeddings.search(index, queries[rows], count), strict=True):
                own = bought.articles[bought.offsets[row] : bought.offsets[row + 1]]
                fresh = keys[(keys >= 0) & ~np.isin(keys, own)][:CANDIDATES]
                found[row, : len(fresh)] = fresh
            bar.advance(len(rows))
    short = np.flatnonzero((found >= 0).sum(axis=1) < np.minimum(CANDIDATES, len(items) - sizes))
    found[short] = interactions.top(queries[short], items, bought.of(bought.customers[short]), CANDIDATES)
    return found


def customer_vectors(work: Path, bundle: Path, rows: np.ndarray) -> np.ndarray:
    """The bundle's vectors of customers, given as rows of `customers.parquet`: float32 [n, size].

    Found by key, as a server does; the out-of-vocabulary vector where the bundle does not have the customer.
    """
    ids = pq.read_table(work / CUSTOMERS, columns=["customer_id"])["customer_id"].take(rows)
    table = _arrow(bundle / bundles.CUSTOMERS)
    keys = pa.array([bundles.customer_key(i) for i in ids.to_pylist()], pa.binary(bundles.KEY_BYTES))
    at = pc.index_in(keys, value_set=table["key"]).fill_null(0).to_numpy()
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return vectors[at]


def rank(bundle: Path, manifest: dict, articles: pa.Table, found: np.ndarray, customer: dict) -> np.ndarray:
    """`found` in the order of the bundle's ranker, ties by retrieval rank; -1 stays last.

    `customer` has the features that are not the article's: arrays [n], or one number for everyone.
    """
    session, output = _session(bundle / bundles.RANKER), manifest["ranking"]["output"]
    texts = {
        f["name"]: np.array(articles[f["name"]].to_pylist(), dtype=object)
        for f in manifest["ranking"]["features"]
        if f["datatype"] == "BYTES"
    }
    ordered = np.empty_like(found)
    with progress_bar("rank", len(found)) as bar:
        for start in range(0, len(found), CHUNK):
            part = found[start : start + CHUNK]
            inputs = {name: values[part].reshape(-1, 1) for name, values in texts.items()}
            for name, values in customer.items():
                values = values[start : start + CHUNK, None] if np.ndim(values) else values
                inputs[name] = np.broadcast_to(values, part.shape).reshape(-1, 1).astype(np.float32)
            scores = session.run([output], inputs)[0].reshape(part.shape)
            scores = np.where(part < 0, -np.inf, scores)
            order = np.argsort(-scores, axis=1, kind="stable")
            ordered[start : start + CHUNK] = np.take_along_axis(part, order, axis=1)
            bar.advance(len(part))
    return ordered


def segments(work: Path, question: Question) -> dict[str, dict[str, np.ndarray]]:
    """Which customers are in each segment, by history and by age group: bool [n]; empty ones are left out.

    History is how many articles were bought before the test window.
    """
    sizes = question.bought.sizes()
    bounds = [bound for bound, _ in HISTORIES]
    lengths = [name for _, name in HISTORIES] + [LONGEST_HISTORY]
    ages = pq.read_table(work / CUSTOMERS, columns=["age_group"])["age_group"].take(question.truth.customers)
    groups = [name for _, name in AGE_GROUPS] + [OLDEST_AGE_GROUP]
    found = {
        "history": {name: np.searchsorted(bounds, sizes) == i for i, name in enumerate(lengths)},
        "age_group": {name: np.array(ages.to_pylist()) == name for name in groups},
    }
    return {by: {name: rows for name, rows in parts.items() if rows.any()} for by, parts in found.items()}


def measure(
    lists: dict[str, np.ndarray],
    question: Question,
    sold: np.ndarray,
    parts: dict[str, dict[str, np.ndarray]],
    seed: int,
) -> dict:
    """Every metric of every list, the differences that matter, segments, and who was counted.

    `sold` is how often each article was bought before: [articles]. `parts` are as `segments` returns them.
    """
    sizes = question.truth.sizes()
    hits = {name: rankings.hits(found, question.truth, question.articles) for name, found in lists.items()}
    ndcg = {name: rankings.ndcg(hit, sizes) for name, hit in hits.items()}
    measured = {
        name: {
            "recall_at_12": rankings.interval(rankings.recall(hit[:, : rankings.DEPTH], sizes), seed),
            "recall_at_100": rankings.interval(rankings.recall(hit, sizes), seed),
            "ndcg_at_12": rankings.interval(ndcg[name], seed),
            "map_at_12": rankings.interval(rankings.average_precision(hit, sizes), seed),
        }
        for name, hit in hits.items()
    }
    pairs = [
        ("served", "retrieval"),
        ("retrieval", "without_history"),
        *((own, other) for own in ("served", "retrieval") for other in COMPARED),
    ]
    differences = {
        f"{own}_minus_{other}": rankings.interval(ndcg[own] - ndcg[other], seed)
        for own, other in pairs
        if other in lists
    }
    return {
        "lists": measured,
        "beyond_accuracy": {name: _beyond(found, sold, seed) for name, found in lists.items()},
        "ndcg_at_12_differences": differences,
        "customers": {
            "evaluated": len(sizes),
            "without_new_purchase": question.without_truth,
            "unknown_in_training": int(question.unknown.sum()),
        },
        "segments": {
            by: {name: _segment(ndcg, rows, seed) for name, rows in groups.items()}
            for by, groups in parts.items()
        },
    }


def _beyond(ranking: np.ndarray, sold: np.ndarray, seed: int) -> dict:
    """What a list shows, whether it is bought or not. Coverage and exposure are of all customers together."""
    return {
        "coverage_at_12": rankings.coverage(ranking, len(sold)),
        "exposure_gini_at_12": rankings.exposure_gini(ranking, len(sold)),
        "novelty_at_12": rankings.interval(rankings.novelty(ranking, sold), seed),
    }


def _segment(ndcg: dict[str, np.ndarray], rows: np.ndarray, seed: int) -> dict:
    """How many customers these are, and each list's NDCG@12 for them."""
    return {
        "customers": int(rows.sum()),
        "ndcg_at_12": {name: rankings.interval(values[rows], seed) for name, values in ndcg.items()},
    }


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _rows(path: Path, column: str, values: pa.ChunkedArray) -> np.ndarray:
    """Row numbers of ids in one of the work directory's tables."""
    ids = pq.read_table(path, columns=[column])[column].cast(values.type)
    return pc.index_in(values, value_set=ids).to_numpy()
