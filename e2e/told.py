"""Events as a shop tells them, and what servers over one store answer."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from under_test import UnderTest

from hemline.pair import MODEL, Server

EVENTS = "/v1/events"
KINDS = ("shown", "click", "purchase", "dismiss")


def event(kind: str, customer_id: str, article_id: str, **more: object) -> dict:
    """Somebody did something just now."""
    return {
        "id": str(uuid.uuid4()),
        "type": kind,
        "customer_id": customer_id,
        "article_id": article_id,
        **more,
    }


def purchase(customer_id: str, article_id: str, **more: object) -> dict:
    """Somebody bought something just now."""
    return event("purchase", customer_id, article_id, **more)


class Shop:
    """A transformer as its clients see it; `server` may be replaced by one that was started anew."""

    def __init__(self, server: Server) -> None:
        """Waits until it is ready."""
        server.wait_ready()
        self.replace(server)

    def replace(self, server: Server) -> None:
        """From now on it is this one."""
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=30)

    def tell(self, *events: dict) -> httpx.Response:
        """Tells events: one as an object, several as a list."""
        return self.http.post(EVENTS, json=events[0] if len(events) == 1 else list(events))

    def ask(self, **instance: object) -> httpx.Response:
        """One question over V1."""
        return self.http.post(f"/v1/models/{MODEL}:predict", json={"instances": [instance]})

    def explain(self, instance: dict) -> httpx.Response:
        """Why its list is as it is, over V1."""
        return self.http.post(f"/v1/models/{MODEL}:explain", json={"instances": [instance]})

    def prediction(self, **instance: object) -> dict:
        """Its answer, which must be one."""
        answer = self.ask(**instance)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"][0]

    def articles(self, **instance: object) -> list[str]:
        """The ids that it is answered with, best first."""
        return [article for _, article in self.prediction(**instance)["ranking"]]


@contextmanager
def shops(
    under_test: UnderTest, store: str, predictor: str, logs: Path, *arguments: str, count: int = 2
) -> Iterator[list[Shop]]:
    """Transformers over one store and one predictor."""
    over = replace(under_test, store=store)
    servers = [over.transformer(logs / str(number), predictor, *arguments) for number in range(count)]
    opened = []
    try:
        opened = [Shop(server) for server in servers]
        yield opened
    finally:
        for server in [*servers, *(shop.server for shop in opened)]:
            server.kill()
