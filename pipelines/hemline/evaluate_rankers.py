"""Evaluates rankers as they are served: how good their lists are, how long they take and what they cost.

Each of a sample of customers is asked about once with every ranker, one request after the other, through the
running servers, on the first day of the test window. The truth is what the customer bought in the window and
had not bought before; the store holds what had happened before it, and nothing else.

gbdt           predictor-gbdt, over all candidates
llm-pointwise  predictor-llm, over the first 20: a call for each
llm-listwise   predictor-llm, over the first 20: one call for all
retrieval      a transformer that no ranker answers: the order of retrieval
popularity     what sold most in the last days before the window; nothing serves it, so it has no latency

predictor-llm's cache is off, so that an answer's time and cost are the LLM's. Its other settings, prices
among them, are read from its environment variables, as always.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hemline import bundle as bundles
from hemline import evaluate as offline
from hemline import interactions, load, outputs, rankings, rankings_report, schema
from hemline.errors import DataError
from hemline.evaluate import Question
from hemline.llm import (
    GBDT,
    LISTWISE,
    POINTWISE,
    UNUSABLE,
    Api,
    LlmPair,
    counters,
    defaults,
    labelled,
    outcomes,
)
from hemline.pair import MODEL, STORE, TRANSFORMER, PairError, Server, interruptible, predictions
from hemline.report import progress_bar, say

KINDS = {"gbdt": GBDT, "llm-pointwise": POINTWISE, "llm-listwise": LISTWISE}
RETRIEVAL, POPULARITY = "retrieval", "popularity"
NAMES = (*KINDS, POPULARITY, RETRIEVAL)
DEPTH = rankings.DEPTH
NOBODY = "127.0.0.1:9"  # the port of `discard`, where no predictor is
UNKNOWN = "nobody-knows-this-customer"


@dataclass
class Replay:
    """What one ranker answered: for each customer DEPTH articles (rows of articles.parquet), -1 for none."""

    lists: list[list[int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: int = 0  # requests without an answer; their lists are empty
    degraded: int = 0
    usage: dict = field(default_factory=dict)


class Served(LlmPair):
    """The servers that are asked: a transformer over every ranker, and one that no ranker answers."""

    def start_transformer(self) -> Server:
        """Both transformers; the one over the rankers is it."""
        transformer = super().start_transformer()
        alone = ["--model_dir", str(self._bundle), "--predictor_host", NOBODY, "--on-ranker-failure=degrade"]
        self.without = self._start(TRANSFORMER, 0, alone, {STORE: self._store})
        self.without.wait_ready()
        return transformer

    def __enter__(self) -> Self:
        """Starts all."""
        super().__enter__()
        self.without_http = httpx.Client(base_url=self.without.url, timeout=self.patience)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops all."""
        self.without_http.close()
        super().__exit__(kind, error, trace)

    def ask(self, ranker: str, instance: dict) -> httpx.Response:
        """One question to one ranker."""
        if ranker == RETRIEVAL:
            body = {"instances": [instance]}
            return self.without_http.post(f"/v1/models/{MODEL}:predict", json=body)
        return self.predict({**instance, "ranker": ranker})


def evaluate(
    work: Path,
    bundle: Path,
    binaries: Path,
    rankers: Sequence[str],
    customers: int,
    api: Api,
    plot: Path | None = None,
) -> dict:
    """Evaluates `rankers` on at most `customers` of the test split: print, plot and record.

    Numbers go to `work/rankers.json` and are returned, the plot to `plot` (default `work/rankers.png`).
    Raises DataError where a ranker has no such name, there is no bundle or program, or nobody to ask about.
    """
    check_names(rankers)
    manifest = bundles.read_manifest(bundle)
    purchases, window = interactions.read(work), interactions.window(work)
    offline.refuse_other_data(work, bundle, manifest)
    true, seed = offline.true_ranking(work), manifest["seed"]
    among = np.unique(true[0]) if true else None
    question = offline.ask(purchases, window, seed, among, most=customers)
    replays = served_lists(work, bundle, binaries, rankers, question, api)
    lists = {name: np.array(replay.lists) for name, replay in replays.items()}
    if POPULARITY in rankers:
        lists[POPULARITY] = offline.popularity(purchases, window, question)[:, :DEPTH]
    lists = {name: lists[name] for name in rankers}
    report = measure(lists, replays, question, seed)
    report |= {"split": window["split"], "seed": seed, "llm": api.name if has_llm(rankers) else None}
    outputs.write_json(work / "rankers.json", report)
    rankings_report.show(report)
    for sentence in rankings_report.verdict(report):
        say(sentence)
    rankings_report.draw(report, plot or work / "rankers.png")
    return report


def check_names(rankers: Sequence[str]) -> None:
    """Raises DataError where one is none, or stands twice."""
    unknown = [name for name in rankers if name not in NAMES]
    if unknown or not rankers or len(set(rankers)) < len(rankers):
        given = ",".join(rankers)
        raise DataError(f"--rankers: {given!r} is not a list of {', '.join(NAMES)}, each at most once")


def has_llm(rankers: Sequence[str]) -> bool:
    """Whether an LLM is among them."""
    return any(KINDS.get(name, GBDT) != GBDT for name in rankers)


def served_lists(
    work: Path,
    bundle: Path,
    binaries: Path,
    rankers: Sequence[str],
    question: Question,
    api: Api,
) -> dict[str, Replay]:
    """What the served ones of `rankers` answer about the customers. Raises DataError or PairError."""
    served = [name for name in rankers if name != POPULARITY]
    if not served:
        return {}
    kinds = {"gbdt": GBDT} | {name: KINDS[name] for name in served if name in KINDS}
    logs = work / "logs" / f"rankers-{os.getpid()}"
    with tempfile.TemporaryDirectory(dir=work, prefix=".rankers.") as scratch:
        store = known_before(work, Path(scratch), question)
        uncached = ["--cache-entries=0"]
        pair = Served(bundle, store, binaries, logs=logs, api=api, rankers=kinds, llm_args=uncached)
        with interruptible(), pair:
            return replay(pair, served, work, question)


def known_before(work: Path, scratch: Path, question: Question) -> str:
    """A store with the question's customers as they were before the test window; its URL.

    It is loaded as every store is, from a work directory that has nothing else.
    """
    ids = customer_ids(work, question)
    customers = pq.read_table(work / schema.CUSTOMERS, filters=[("customer_id", "in", ids)])
    before = [("customer_id", "in", ids), ("split", "!=", "test")]
    transactions = pq.read_table(work / schema.TRANSACTIONS, filters=before)
    pq.write_table(customers, scratch / schema.CUSTOMERS)
    pq.write_table(transactions, scratch / schema.TRANSACTIONS)
    (scratch / schema.FEATURES_JSON).write_bytes((work / schema.FEATURES_JSON).read_bytes())
    store = f"sqlite://{scratch / 'store.db'}"
    load.run(scratch, store)
    return store


def customer_ids(work: Path, question: Question) -> list[str]:
    """Ids of the customers that a question is about, in its order."""
    ids = pq.read_table(work / schema.CUSTOMERS, columns=["customer_id"])["customer_id"]
    return ids.take(pa.array(question.truth.customers)).to_pylist()


def replay(pair: Served, rankers: Sequence[str], work: Path, question: Question) -> dict[str, Replay]:
    """Asks every ranker about every customer, in turns: what else the machine does meets all alike."""
    articles = pq.read_table(work / schema.ARTICLES, columns=["article_id"])["article_id"].to_pylist()
    rows = {article: row for row, article in enumerate(articles)}
    day = interactions.window(work)["test_start"]
    instance = {"transaction_date": day, "k": DEPTH}
    replays = {name: Replay() for name in rankers}
    for name in rankers:  # connections, sessions and the prompt's beginning are warm before anything is timed
        pair.ask(name, {**instance, "customer_id": UNKNOWN})
    before = {name: used(pair, name) for name in rankers}
    ids = customer_ids(work, question)
    with progress_bar("ask", len(ids) * len(rankers)) as bar:
        for customer in ids:
            for name, seen in replays.items():
                note(seen, pair, name, {**instance, "customer_id": customer}, rows)
                bar.advance()
    for name, seen in replays.items():
        if seen.failed == len(ids):
            raise PairError(f"{name} answered nothing at all\n{pair.transformer.last_lines()}")
        seen.usage = {key: value - before[name][key] for key, value in used(pair, name).items()}
    return replays


def note(seen: Replay, pair: Served, name: str, instance: dict, rows: dict[str, int]) -> None:
    """Asks once, and writes down what came."""
    begun = time.perf_counter()
    answer = pair.ask(name, instance)
    seen.seconds.append(time.perf_counter() - begun)
    found: list[int] = []
    if answer.status_code == 200:
        (prediction,) = predictions(answer.json())
        found = [rows[article] for _, article in prediction["ranking"]]
        seen.degraded += name != RETRIEVAL and "degraded" in prediction
    else:
        seen.failed += 1
    seen.lists.append(found + [-1] * (DEPTH - len(found)))


def used(pair: Served, name: str) -> dict[str, float]:
    """What predictor-llm has used so far: calls, tokens, cost, candidates; nothing of other rankers."""
    if KINDS.get(name, GBDT) == GBDT:
        return {}
    server = pair.rankers[name]
    counted, candidates = counters(server), outcomes(server)
    tokens = labelled(counted, "llm_tokens_total", "kind")
    return {
        "calls": sum(labelled(counted, "llm_requests_total", "outcome").values()),
        "cost": counted.get("llm_cost_total", 0.0),
        "candidates": sum(candidates.values()),
        "unusable": sum(candidates.get(outcome, 0.0) for outcome in UNUSABLE),
        "defaults": defaults(candidates),
        **{f"{kind}_tokens": tokens.get(kind, 0.0) for kind in ("prompt", "cached", "completion")},
    }


def measure(lists: dict[str, np.ndarray], replays: dict[str, Replay], question: Question, seed: int) -> dict:
    """Every ranker's numbers, and how much better each is than retrieval and popularity, by customer."""
    sizes = question.truth.sizes()
    hits = {name: rankings.hits(found, question.truth, question.articles) for name, found in lists.items()}
    ndcg = {name: rankings.ndcg(hit, sizes) for name, hit in hits.items()}
    precision = {name: rankings.average_precision(hit, sizes) for name, hit in hits.items()}
    measured = {
        name: {
            "ndcg_at_12": rankings.interval(ndcg[name], seed),
            "map_at_12": rankings.interval(precision[name], seed),
            **served_numbers(replays.get(name)),
        }
        for name in lists
    }
    differences = {
        f"{name}_minus_{base}": rankings.interval(ndcg[name] - ndcg[base], seed)
        for base in (RETRIEVAL, POPULARITY, "gbdt")
        for name in lists
        if base in lists and name != base and not (name == POPULARITY and base == RETRIEVAL)
    }
    return {"customers": len(sizes), "rankers": measured, "ndcg_at_12_differences": differences}


def served_numbers(replay: Replay | None) -> dict:
    """Latency, failures and use of a served ranker, per request; nothing of what is not served."""
    if replay is None:
        return {}
    requests = len(replay.seconds)
    p50, p99 = (1000 * float(np.quantile(replay.seconds, share)) for share in (0.5, 0.99))
    numbers = {
        "latency_ms": {"p50": p50, "p99": p99},
        "failed": replay.failed / requests,
        "degraded": replay.degraded / requests,
    }
    if replay.usage:
        usage = dict(replay.usage)
        candidates = usage.pop("candidates") or 1.0
        numbers["parse_failures"] = usage.pop("unusable") / candidates
        numbers["defaults"] = usage.pop("defaults") / candidates
        numbers["per_request"] = {key: value / requests for key, value in usage.items()}
    return numbers
