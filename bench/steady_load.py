"""Questions and events at a steady rate, from a process of their own: it takes no time from who measures."""

import http.client
import itertools
import json
import multiprocessing
import random
import threading
import time
from dataclasses import dataclass
from typing import Self

from told import EVENTS, KINDS, event

from hemline.pair import MODEL

CONNECTIONS, RATE = 8, 200  # of all servers together; requests a second
EVENT_SHARE = 0.2  # of the requests; the others are questions
START_SECONDS, STOP_SECONDS = 60, 30


@dataclass
class Load:
    """What was done."""

    requests: int
    failures: int
    """Answers other than 200 and 202, and connections that broke."""
    seconds: float


class SteadyLoad:
    """Asks and tells for as long as it is entered; then `result` says what it did."""

    def __init__(self, urls: list[str], customers: list[str], articles: list[str], date: str) -> None:
        """Each connection is to one of the servers in turn."""
        context = multiprocessing.get_context("spawn")
        self._stop, self._begun, self._found = context.Event(), context.Event(), context.Queue()
        arguments = (urls, customers, articles, date, self._stop, self._begun, self._found)
        self._process = context.Process(target=_run, args=arguments, daemon=True)
        self.result = Load(0, 0, 0.0)

    def __enter__(self) -> Self:
        """Waits until it has begun."""
        self._process.start()
        if not self._begun.wait(START_SECONDS):
            raise TimeoutError("the load did not begin")
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it."""
        self._stop.set()
        self.result = self._found.get(timeout=STOP_SECONDS)
        self._process.join()


def _run(urls, customers, articles, date, stop, begun, found) -> None:
    """The process: a thread a connection."""
    lock, total = threading.Lock(), Load(0, 0, 0.0)

    def connection(number: int) -> None:
        chance = random.Random(number)
        address = urls[number % len(urls)].removeprefix("http://")
        client = http.client.HTTPConnection(address, timeout=30)
        due = time.perf_counter() + number / RATE
        for _ in itertools.count():
            if stop.wait(max(0.0, due - time.perf_counter())):
                return
            customer, article = chance.choice(customers), chance.choice(articles)
            if chance.random() < EVENT_SHARE:
                path, body = EVENTS, event(chance.choice(KINDS), customer, article)
            else:
                question = {"customer_id": customer, "transaction_date": date}
                path, body = f"/v1/models/{MODEL}:predict", {"instances": [question]}
            good = _ask(client, path, body)
            with lock:
                total.requests += 1
                total.failures += not good
            due = max(due + CONNECTIONS / RATE, time.perf_counter() - 1)  # no more than a second is caught up
            begun.set()

    start = time.perf_counter()
    threads = [threading.Thread(target=connection, args=[number]) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total.seconds = time.perf_counter() - start
    found.put(total)


def _ask(client: http.client.HTTPConnection, path: str, body: dict) -> bool:
    """Whether it was answered well."""
    try:
        client.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = client.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        client.close()
        return False
    return answer.status in (200, 202)
