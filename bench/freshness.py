"""Measures how soon what a customer does is in what another server answers, and writes docs/benchmarks.md.

Two transformers share a store and a predictor, and others ask and tell both all the while. Again and again
a customer with a short history does something with an article of their list: one transformer is told, and
once it has acknowledged that, the other one is asked until its list is another. Whether it moved towards what
was done is seen by the article's garment group: its share of the list, or, where that is the same, its mean
rank.

Exits with 1 where p99 from the acknowledgement to that list is above a second, or most lists moved elsewhere.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from dataplane.report import machine, table, write_between
from rich.console import Console
from rich.markdown import Markdown
from steady_load import CONNECTIONS, RATE, SteadyLoad
from told import Shop, event, shops
from under_test import CANDIDATES, Catalogue, UnderTest

from hemline import load
from hemline.pair import interruptible
from hemline.postgres_server import PostgresServer
from hemline.report import progress_bar

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- bench-freshness: begin -->", "<!-- bench-freshness: end -->"
STORES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
KINDS = ("click", "purchase")
GROUP = "garment_group_name"
ROUNDS, QUICK_ROUNDS = 500, 50  # of each kind of event and store
FEW = (1, 3)  # purchases of the customers who are asked about, at least and at most
PATIENCE_SECONDS = 5.0  # a list that is the same for so long counts as that late
GOAL_SECONDS, GOAL_DIRECTION = 1.0, 0.5


@dataclass
class Seen:
    """What came of one event. Times are ms until the other server's list was another."""

    from_202: float
    from_send: float
    answers: int
    """How many answers it took; the last of them is the one that was another."""
    moved: float
    """By how much the article's group gained, as a share of the list or as a part of it in mean rank."""


class Customers:
    """Who is asked about, each once, and what they do."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Those whose history is short."""
        counts = np.bincount(catalogue.purchases.customer, minlength=len(catalogue.customer_ids))
        few = np.flatnonzero((counts >= FEW[0]) & (counts <= FEW[1]))
        self.random = random.Random(7)
        self.left = [str(catalogue.customer_ids[row]) for row in few]
        self.random.shuffle(self.left)
        self.groups = catalogue.values(GROUP)
        self.date = catalogue.date

    def next(self) -> dict:
        """A question of one who was not asked about before."""
        return {"customer_id": self.left.pop(), "transaction_date": self.date, "k": CANDIDATES}

    def moved(self, article: str, before: list[str], after: list[str]) -> float:
        """How far a list moved towards an article's group; not above 0 where it did not."""
        group = self.groups[article]

        def ranks(articles: list[str]) -> list[int]:
            # Not the article's own: one that was bought leaves the list.
            return [
                rank
                for rank, other in enumerate(articles)
                if other != article and self.groups[other] == group
            ]

        was, now = ranks(before), ranks(after)
        if len(was) != len(now) or not now:
            return (len(now) - len(was)) / CANDIDATES
        return (sum(was) - sum(now)) / len(now) / CANDIDATES


def round_of(told: Shop, asked: Shop, customers: Customers, kind: str) -> Seen:
    """One event, and the time until the other server's list is another."""
    question = customers.next()
    before = asked.articles(**question)
    article = customers.random.choice(before)
    sent = time.perf_counter()
    answer = told.tell(event(kind, question["customer_id"], article))
    acknowledged = time.perf_counter()
    if answer.status_code != 202:
        sys.exit(f"an event was answered {answer.status_code}: {answer.text}")
    answers, after = 0, before
    while after == before and time.perf_counter() - acknowledged < PATIENCE_SECONDS:
        after, answers = asked.articles(**question), answers + 1
    now = time.perf_counter()
    late = PATIENCE_SECONDS if after == before else 0.0
    times = (1000 * max(late, now - begun) for begun in (acknowledged, sent))
    return Seen(*times, answers, customers.moved(article, before, after))


def main() -> None:
    """Measures, writes, and says whether the goals are met."""
    args = arguments()
    rounds = QUICK_ROUNDS if args.quick else ROUNDS
    results = {"machine": machine(), "load_average": os.getloadavg()[0], "stores": {}}
    with interruptible():
        for store in args.stores.split(","):
            results["stores"][store] = measure(args, store, rounds)
    text = page(results)
    Console().print(Markdown(text))
    if not args.quick:
        (ROOT / "bench" / "results" / "freshness.json").write_text(json.dumps(results) + "\n")
        write_between(ROOT / "docs" / "benchmarks.md", BEGIN, END, text)
    sys.exit(0 if all(goal.met for goal in goals(results)) else 1)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=Path, required=True, help="folder of the servers' programs")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that they serve")
    parser.add_argument("--work", type=Path, required=True, help="work directory: customers and articles")
    parser.add_argument("--folder", type=Path, required=True, help="where stores and logs are made")
    parser.add_argument("--stores", default=",".join(STORES), help="which stores: sqlite, postgresql")
    parser.add_argument("--quick", action="store_true", help="few rounds, and no page")
    return parser.parse_args()


@contextmanager
def empty(store: str, folder: Path) -> Iterator[str]:
    """The URL of a store that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if store == "sqlite":
        for file in folder.glob("store.db*"):
            file.unlink()
        yield f"sqlite://{folder / 'store.db'}"
    else:
        with PostgresServer(folder / "postgres") as server:
            yield server.create_database()


def measure(args: argparse.Namespace, store: str, rounds: int) -> dict:
    """All rounds over one store: what was seen by kind of event, and what the load was."""
    with empty(store, args.folder) as url:
        load.run(args.work, url)
        under_test = UnderTest(args.binaries, args.binaries, args.work, args.bundle, url)
        customers = Customers(Catalogue(args.work))
        predictor = under_test.predictor(args.folder / f"{store}.predictor.log")
        try:
            predictor.wait_ready()
            address, logs = predictor.url.removeprefix("http://"), args.folder / store
            with (
                shops(under_test, url, address, logs) as two,
                progress_bar(store, rounds * len(KINDS)) as bar,
            ):
                others = customers.left[: -rounds * len(KINDS)]  # `next` takes from the end
                urls = [shop.server.url for shop in two]
                with SteadyLoad(urls, others, list(customers.groups), customers.date) as steady:
                    seen = {kind: [] for kind in KINDS}
                    for number in range(rounds * len(KINDS)):
                        kind, first = KINDS[number % 2], number // 2 % 2
                        seen[kind].append(round_of(two[first], two[1 - first], customers, kind))
                        bar.advance()
        finally:
            predictor.kill()
    return {"load": asdict(steady.result), "seen": {kind: columns(found) for kind, found in seen.items()}}


def columns(seen: list[Seen]) -> dict[str, list[float]]:
    """What was seen, round by round."""
    return {field.name: [round(getattr(one, field.name), 4) for one in seen] for field in fields(Seen)}


@dataclass
class Goal:
    """What is wanted, what was measured, and whether that is it."""

    wanted: str
    measured: str
    met: bool


def goals(results: dict) -> list[Goal]:
    """Of all stores and kinds of event."""
    latest, direction = [], []
    for found in results["stores"].values():
        for seen in found["seen"].values():
            latest.append(np.percentile(seen["from_202"], 99))
            direction.append(np.mean(np.array(seen["moved"]) > 0))
    return [
        Goal(
            f"p99 from the 202 to the other server's changed list ≤ {GOAL_SECONDS:.0f} s",
            f"{max(latest):,.1f} ms: {'yes' if max(latest) <= 1000 * GOAL_SECONDS else 'no'}",
            max(latest) <= 1000 * GOAL_SECONDS,
        ),
        Goal(
            "most lists moved towards what was done",
            f"at least {min(direction):.1%}: {'yes' if min(direction) > GOAL_DIRECTION else 'no'}",
            min(direction) > GOAL_DIRECTION,
        ),
    ]


def middle_and_latest(times: list[float]) -> str:
    """p50 and p99."""
    return " / ".join(f"{np.percentile(times, part):.1f}" for part in (50, 99))


def page(results: dict) -> str:
    """The tables."""
    rows, loads = [], []
    for store, found in results["stores"].items():
        done = found["load"]
        loads.append(f"{STORES[store]} {done['requests'] / done['seconds']:.0f}/s, {done['failures']} failed")
        for kind, seen in found["seen"].items():
            counts = (seen["answers"].count(1), sum(moved > 0 for moved in seen["moved"]))
            rows.append(
                [
                    f"{STORES[store]}, {kind}",
                    *(middle_and_latest(seen[what]) for what in ("from_202", "from_send")),
                    f"{max(seen['from_202']):.1f}",
                    *(f"{count:,} of {len(seen['moved']):,}" for count in counts),
                ]
            )
    head = ["ms", "from the 202 (p50 / p99)", "from the send (p50 / p99)", "worst, from the 202"]
    said = f"Meanwhile, asked for: {RATE}/s over {CONNECTIONS} connections; done: {'; '.join(loads)}."
    return "\n\n".join(
        [
            f"{results['machine']}. Load average before: {results['load_average']:.2f}. {said}",
            table(["goal", "measured"], [[goal.wanted, goal.measured] for goal in goals(results)]),
            table([*head, "in the very next answer", "towards what was done"], rows),
        ]
    )


if __name__ == "__main__":
    main()
