"""CloudEvents, as the SDK writes and reads them, in and out of V1."""

import json

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
