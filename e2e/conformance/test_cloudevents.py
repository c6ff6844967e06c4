"""CloudEvents, as the SDK writes and reads them, in and out of V1."""

import json
import sqlite3
from contextlib import closing

import httpx
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http

TYPE = "io.kserve.inference.response"
ATTRIBUTES = {"type": "com.example.asked", "source": "/checkout", "id": "seven", "traceid": "t1"}


def predict(served, headers: dict, body: bytes) -> httpx.Response:
    """The answer of V1."""
    url = f"{served.url}/v1/models/{served.model}:predict"
    return httpx.post(url, headers=headers, content=body, timeout=30)


@pytest.mark.parametrize(("write", "structured"), [(to_binary, False), (to_structured, True)])
def test_an_event_is_answered_with_an_event_in_its_own_mode(served, write, structured):
    answer = predict(served, *write(CloudEvent(ATTRIBUTES, served.v1_body())))
    assert answer.status_code == 200, answer.text
    mode = "application/cloudevents+json" if structured else "application/json"
    assert answer.headers["content-type"].startswith(mode)
    assert ("ce-id" in answer.headers) is not structured
    event = from_http(dict(answer.headers), answer.content)
    assert event.data == {"predictions": served.predictions}
    assert (event["type"], event["specversion"]) == (TYPE, "1.0")
    assert event["source"] == f"io.kserve.inference.{served.model}"
    assert event["id"]
    assert event["id"] != "seven"
    assert event["time"]
    assert "traceid" not in event.get_attributes()


@pytest.mark.parametrize("without", ["id", "source", "type", "specversion"])
def test_a_structured_event_without_what_every_event_has_is_400_and_named(served, without):
    headers, body = to_structured(CloudEvent(ATTRIBUTES, served.v1_body()))
    event = {name: value for name, value in json.loads(body).items() if name != without}
    answer = predict(served, headers, json.dumps(event).encode())
    assert answer.status_code == 400, answer.text
    assert without in answer.json()["error"]


@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_a_mistake_in_an_event_is_400_and_named(served, write):
    answer = predict(served, *write(CloudEvent(ATTRIBUTES, {"instances": [{"customer_id": 7}]})))
    assert answer.status_code == 400
    assert "field `" in answer.text


@pytest.fixture(scope="module")
def shop(make_pair, store_file, tmp_path_factory):
    """A pair over a copy of the store, which may be written to."""
    folder = tmp_path_factory.mktemp("shop")
    with closing(sqlite3.connect(store_file)) as old, closing(sqlite3.connect(folder / "store.db")) as new:
        old.backup(new)
    with make_pair(folder, f"--store=sqlite://{folder}/store.db") as pair:
        yield pair.transformer.url


@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_events_are_taken_in_each_mode_and_told_twice_count_once(shop, write):
    data = {"visitor_id": "v", "article_id": "0108775015", "price": 9.99}
    attributes = {
        "type": "com.example.shop.click",
        "source": f"/{write.__name__}",
        "id": "number 7",
        "tenant": "t",
    }
    event = CloudEvent(attributes, data)
    headers, body = write(event)
    for expected in ({"accepted": 1, "repeated": 0}, {"accepted": 0, "repeated": 1}):
        answer = httpx.post(f"{shop}/v1/events", headers=headers, content=body)
        assert (answer.status_code, answer.json()) == (202, expected)


def test_events_in_a_batch_are_taken_together_or_not_at_all(shop):
    batch = {"content-type": "application/cloudevents-batch+json"}

    def told(*data: dict) -> httpx.Response:
        events = [
            CloudEvent({"type": "purchase", "source": "/batch", "id": str(number)}, item)
            for number, item in enumerate(data)
        ]
        body = "[" + ",".join(to_structured(event)[1].decode() for event in events) + "]"
        return httpx.post(f"{shop}/v1/events", headers=batch, content=body)

    good, bad = {"customer_id": "c", "article_id": "0108775015"}, {"customer_id": "c"}
    refused = told(good, bad)
    assert refused.status_code == 400
    assert refused.json()["error"] == "event 1: field `article_id`: missing (expected an article's id)"
    assert told(good, good).json() == {"accepted": 2, "repeated": 0}
