"""Evaluates a bundle's own files on the test week: is what is served better than showing everyone what sells?

Lists of the same customers are compared, each without what the customer had already bought:
popularity  what sold most in the last seven days before the test window
(baselines) what else a recommender has to beat: see `hemline.baselines`
retrieval   the 100 articles that the bundle's index finds for the query, best first
candidates  the 100 that the ranker is asked about, from every source, in the order of retrieval
served      the same 100, in the order of the ranker: what a request is answered with
oracle      the true probabilities, where the data are generated: the best that any list can do

The truth is what a customer bought in the test window and had not bought before.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hemline import bundle as bundles
from hemline import evaluation_report, interactions, outputs, rankings, retrieval, served
from hemline.candidates import CANDIDATES
from hemline.errors import DataError
from hemline.interactions import Baskets, Interactions
from hemline.report import say
from hemline.schema import AGE_GROUPS, ARTICLES, CUSTOMERS, FEATURES_JSON, OLDEST_AGE_GROUP, ORACLE

POPULAR_DAYS = 7
# More customers would narrow the intervals little and take long.
MOST_CUSTOMERS = 20_000
# What is served, and retrieval, are compared with each of these, where there is such a list.
COMPARED = ("popularity", "recent_popularity", "als", "ease")
# How much better lists of strangers get with each click is measured for these; of so many customers.
CLICKS = (0, 1, 3, 10)
CLICK_CUSTOMERS = 5_000
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
    told = asked(purchases, window, question)
    lists |= served.lists(work, bundle, manifest, told)
    if true:
        lists["oracle"] = oracle(true, question)

    sold = np.bincount(purchases.of("train", "validation").article, minlength=question.articles)
    metrics = measure(lists, question, sold, segments(work, question), manifest["seed"])
    metrics |= {"split": window["split"], "baselines": settings}
    if with_baselines and served.reads_history(manifest):
        metrics["clicks"] = clicks(work, bundle, manifest, told, question)
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


def asked(purchases: Interactions, window: dict, question: Question) -> served.Asked:
    """The same question to a bundle: with what each customer touched before the window."""
    customers = question.truth.customers
    history = retrieval.histories_at_test(purchases.of("train", "validation"), window, customers)
    return served.Asked(customers, question.month, question.bought, history)


def clicks(work: Path, bundle: Path, manifest: dict, told: served.Asked, question: Question) -> dict:
    """NDCG@12 of strangers who clicked the last of what the customers touched, and what each step gains."""
    rows = np.arange(min(len(question.truth), CLICK_CUSTOMERS))
    truth = question.truth.at(rows)
    ndcg: dict[str, list[np.ndarray]] = {"retrieval": [], "served": []}
    for count in CLICKS:
        found = served.lists(work, bundle, manifest, told.at(rows).clicked(count))
        for name, values in ndcg.items():
            hits = rankings.hits(found[name], truth, question.articles)
            values.append(rankings.ndcg(hits, truth.sizes()))
    seed = manifest["seed"]
    return {
        name: {
            "ndcg_at_12": {str(n): rankings.interval(v, seed) for n, v in zip(CLICKS, values, strict=True)},
            "gain": {
                f"{before}_to_{after}": rankings.interval(values[i + 1] - values[i], seed)
                for i, (before, after) in enumerate(pairwise(CLICKS))
            },
        }
        for name, values in ndcg.items()
    }


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


def _rows(path: Path, column: str, values: pa.ChunkedArray) -> np.ndarray:
    """Row numbers of ids in one of the work directory's tables."""
    ids = pq.read_table(path, columns=[column])[column].cast(values.type)
    return pc.index_in(values, value_set=ids).to_numpy()
