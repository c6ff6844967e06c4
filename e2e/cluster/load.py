"""Requests while something is done to a server: none of them may fail."""

import threading
import time
from collections.abc import Callable
from typing import Self

import httpx

CONNECTIONS = 4
PAUSE_SECONDS = 0.01


class Load:
    """Asks over several connections for as long as it is open; `failures` has what was no 200."""

    def __init__(self, url: str, bodies: Callable[[int], dict]) -> None:
        """`bodies` makes the body of request i."""
        self._url, self._bodies = url, bodies
        self._ends = threading.Event()
        self.answers, self.failures = 0, []
        self.rankers: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Starts."""
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CONNECTIONS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends."""
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        with httpx.Client(timeout=20) as http:
            while not self._ends.is_set():
                number += CONNECTIONS
                try:
                    answer = http.post(self._url, json=self._bodies(number))
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code}: {answer.text[:300]}")
                else:
                    self.answers += 1
                    for prediction in answer.json()["predictions"]:
                        ranker = prediction["ranker"]
                        self.rankers[ranker] = self.rankers.get(ranker, 0) + 1
                time.sleep(PAUSE_SECONDS)
