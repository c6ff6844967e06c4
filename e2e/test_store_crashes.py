"""Crashes under load: what was acknowledged stays, nothing wrong is answered, and nobody has to help."""

import random
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import replace

import httpx
import pytest
from stores import TestStore
from test_store import address, eventually
from told import KINDS, Shop, event, shops

CRASHES = 20
CUSTOMERS = 20
# What may be said of an event or a question while something is down: never a 500, and nothing that is wrong.
HONEST = {200, 202, 429, 503, 504}

# Another writer beside the servers, as a till would be: says each id once it is committed.
TILLS = {
    "postgresql": """
import itertools, sys, psycopg
url, name = sys.argv[1:]
with psycopg.connect(url, autocommit=True) as db:
    for number in itertools.count():
        db.execute(
            "INSERT INTO hemline.interactions (event_id, source, customer_id, kind, article_id, occurred_at) "
            "VALUES (%s, 'till', 'till', 'purchase', 'x', now())", [f"{name}/{number}"])
        print(f"{name}/{number}", flush=True)
""",
    "sqlite": """
import itertools, sqlite3, sys, time
url, name = sys.argv[1:]
db = sqlite3.connect(url.removeprefix("sqlite://"), timeout=30, isolation_level=None)
db.execute("PRAGMA synchronous = FULL")
for number in itertools.count():
    db.execute(
        "INSERT INTO interactions (event_id, source, customer_id, kind, article_id, occurred_at) "
        "VALUES (?, 'till', 'till', 'purchase', 'x', '2020-01-01T00:00:00.000Z')", [f"{name}/{number}"])
    print(f"{name}/{number}", flush=True)
    time.sleep(0.002)
""",
}


class Load:
    """Threads that tell and ask until they are stopped, and what they were told."""

    def __init__(self, shops: list[Shop], date: str, articles: list[str]) -> None:
        """Starts them."""
        self.shops, self.date, self.articles = shops, date, articles
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.acknowledged: set[str] = set()
        self.gone: dict[str, set[str]] = defaultdict(set)  # what a visitor bought or dismissed
        self.answers = self.failures = 0
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=work) for work in [self.tell] * 3 + [self.ask] * 2]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Stops them."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def tell(self) -> None:
        """Tells events of every kind, each until it is acknowledged by whichever server is there."""
        while not self.stopped.is_set():
            events = [self.event() for _ in range(random.randint(1, 4))]
            while (answer := self.try_once(lambda shop, events=events: shop.tell(*events))) is None:
                if self.stopped.is_set():
                    return
                time.sleep(0.02)
            with self.lock:
                for told in events:
                    self.acknowledged.add(told["id"])
                    if told["type"] in ("purchase", "dismiss"):
                        self.gone[told["customer_id"]].add(told["article_id"])
            counts = answer.json()
            if counts["accepted"] + counts["repeated"] != len(events):
                self.wrong.append(f"{counts} of {len(events)} events")

    def ask(self) -> None:
        """Asks, and looks whether an answer has what was bought or dismissed before it was asked for."""
        while not self.stopped.is_set():
            customer = f"visitor-{random.randrange(CUSTOMERS)}"
            with self.lock:
                gone = set(self.gone[customer])
            question = {"customer_id": customer, "transaction_date": self.date, "k": 20}
            answer = self.try_once(lambda shop, question=question: shop.ask(**question))
            if answer is None:
                time.sleep(0.02)
                continue
            (prediction,) = answer.json()["predictions"]
            found = {article for _, article in prediction["ranking"]}
            if found & gone or len(found) < 20:
                self.wrong.append(f"{customer}: {len(found)} articles, not wanted: {sorted(found & gone)}")

    def try_once(self, request) -> httpx.Response | None:
        """The good answer of one server, if it has one."""
        try:
            answer = request(random.choice(self.shops))
        except httpx.TransportError:
            answer = None
        with self.lock:
            if answer is not None and answer.status_code < 300:
                self.answers += 1
                return answer
            self.failures += 1
            if answer is not None and answer.status_code not in HONEST:
                self.wrong.append(f"{answer.status_code}: {answer.text}")
        return None

    def event(self) -> dict:
        """Somebody does something."""
        visitor = f"visitor-{random.randrange(CUSTOMERS)}"
        return event(random.choice(KINDS), visitor, random.choice(self.articles))


class Till:
    """The other writer; a crash of it is followed by another."""

    def __init__(self, url: str) -> None:
        """Starts it."""
        self.url, self.ids, self.readers = url, set(), []
        self.start()

    def start(self) -> None:
        """Starts another."""
        code = TILLS["sqlite" if self.url.startswith("sqlite") else "postgresql"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, self.url, str(uuid.uuid4())],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        reader = threading.Thread(target=self.read, args=[self.process])
        reader.start()
        self.readers.append(reader)

    def read(self, process: subprocess.Popen) -> None:
        """Keeps what it says is committed; a line that was cut off is none."""
        self.ids.update(line.strip() for line in process.stdout if line.endswith("\n"))

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it; all that it said has been read."""
        self.kill()
        for reader in self.readers:
            reader.join()


def crash(shop: Shop, over, predictor: str, logs) -> None:
    """A server ends in the middle of what it does, and another takes its place."""
    shop.server.kill()
    server = over.transformer(logs, predictor)
    server.wait_ready()
    shop.replace(server)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_twenty_crashes_of_everything_lose_nothing_that_was_acknowledged(
    under_test, pair, away, tmp_path, catalogue, kind
):
    store = away if kind == "postgresql" else TestStore.sqlite(tmp_path / "store.db")
    url = store.url
    over, predictor = replace(under_test, store=url), address(pair.predictor)
    articles = [str(article) for article in catalogue.article_ids]
    with shops(under_test, url, predictor, tmp_path) as two:
        till, load = Till(url), Load(two, catalogue.date, articles)
        try:
            for number in range(CRASHES):
                time.sleep(0.3)
                crash(two[number % 2], over, predictor, tmp_path / f"crash-{number}")
                till.kill()
                if kind == "postgresql":
                    away.server.kill()
                    time.sleep(random.uniform(0, 0.5))
                    away.server.start()
                till.start()
            assert eventually(lambda: all(shop.server.is_ready() for shop in two)), "nobody has to help"
            before = load.answers
            assert eventually(lambda: load.answers > before + 100), "all is as before"
        finally:
            load.stop()
            till.stop()
    said = load.acknowledged | {f"till {name}" for name in till.ids}
    rows = store.rows("SELECT source, event_id FROM hemline.interactions")
    stored = [f"{source} {name}".strip() for source, name in rows]
    print(f"{len(said)} acknowledged, {len(stored)} stored, {load.answers} answers, {load.failures} failures")
    assert load.wrong == []
    assert min(len(load.acknowledged), len(till.ids)) > 100, "there was load"
    assert load.failures > 0 or kind == "sqlite", "the crashes were felt"
    assert not said - set(stored), "an event that was acknowledged is lost"
    assert len(stored) == len(set(stored))
