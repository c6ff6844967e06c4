"""What a transformer's stylist is asked and answers, over each of its protocols."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from under_test import SAFETY_SECONDS, ids

from hemline.pair import Server, v2_body

STYLIST = "stylist"
PREDICT = f"/v1/models/{STYLIST}:predict"
INFER = f"/v2/models/{STYLIST}/infer"
STREAM = f"/v2/models/{STYLIST}/generate_stream"


class Stylist:
    """The model as its clients see it."""

    def __init__(self, server: Server) -> None:
        """Waits until the server is ready."""
        server.wait_ready()
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=SAFETY_SECONDS)

    def ask(self, *instances: dict) -> httpx.Response:
        """Over V1."""
        return self.http.post(PREDICT, json={"instances": list(instances)})

    def prediction(self, **instance: object) -> dict:
        """V1's answer, which must be one."""
        answer = self.ask(instance)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"][0]

    def infer(self, **instance: object) -> dict:
        """V2's answer to `options`, which must be one: name → output."""
        answer = self.http.post(INFER, json=v2_body(options=("BYTES", [json.dumps(instance)])))
        assert answer.status_code == 200, answer.text
        return {output["name"]: output for output in answer.json()["outputs"]}

    @contextmanager
    def streaming(self, request: str, **parameters: object) -> Iterator[Iterator[tuple[str, dict]]]:
        """The events of a stream as they come."""
        body = {"text_input": request, "parameters": parameters}
        with self.http.stream("POST", STREAM, json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                raise AssertionError(answer.text)
            assert answer.headers["content-type"] == "text/event-stream"
            yield events(answer.iter_lines())

    def stream(self, request: str, **parameters: object) -> list[tuple[str, dict]]:
        """All events of a stream."""
        with self.streaming(request, **parameters) as told:
            return list(told)


def events(lines: Iterator[str]) -> Iterator[tuple[str, dict]]:
    """Names and data of server-sent events."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def streamed(told: list[tuple[str, dict]]) -> dict:
    """What a stream told, as V1 says it."""
    assert [name for name, _ in told if name != "item"] == ["profile", "summary", "done"]
    assert told[0][0] == "profile"
    items = [data for name, data in told if name == "item"]
    assert [item.pop("index") for item in items] == list(range(len(items)))
    told = dict((name, data) for name, data in told if name != "item")
    profile = {} if told["profile"]["profile"] is None else {"profile": told["profile"]["profile"]}
    return {"items": items, **told["summary"], **profile, **told["done"]}


def from_tensors(outputs: dict) -> dict:
    """What V2's tensors of one row say, as V1 says it."""
    _, most, width = outputs["scores"]["shape"]
    items = []
    for place in range(most):
        words, count = outputs["items"]["data"][place], outputs["count"]["data"][place]
        at = slice(place * width, place * width + count)
        pairs = zip(outputs["scores"]["data"][at], outputs["article_ids"]["data"][at], strict=True)
        if words:
            items.append(json.loads(words) | {"articles": [list(pair) for pair in pairs]})
    return {
        "items": items,
        "summary": outputs["summary"]["data"][0],
        **json.loads(outputs["info"]["data"][0]),
    }


def offered(prediction: dict) -> list[str]:
    """The ids of all articles of an answer, in its order."""
    if "ranking" in prediction:
        return ids(prediction["ranking"])
    return [article for item in prediction["items"] for article in ids(item["articles"])]
