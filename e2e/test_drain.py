"""Told to stop, a server first says that it is not ready, answers what is under way, and ends with 0."""

import json
import re
import signal
import socket

import httpx
import pytest
from mock_predictor import MockPredictor, Reply, good
from under_test import as_tensors

from hemline.pair import MODEL, PREDICTOR, TRANSFORMER, v2_body

REQUESTS = 8


class HalfRequest:
    """A request whose second half is not sent yet: it is under way for as long as a test wants."""

    def __init__(self, url: str, body: dict) -> None:
        host, port = url.removeprefix("http://").split(":")
        content = json.dumps(body).encode()
        self._rest = content[10:]
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        head = [f"POST /v2/models/{MODEL}/infer HTTP/1.1", f"host: {host}", f"content-length: {len(content)}"]
        self._socket.sendall("\r\n".join([*head, "", ""]).encode() + content[:10])

    def send_rest(self) -> None:
        """Sends the second half."""
        self._socket.sendall(self._rest)

    def finish(self) -> tuple[int, dict]:
        """Sends the second half; status and body of the answer."""
        self.send_rest()
        return self.answer()

    def answer(self) -> tuple[int, dict]:
        """Status and body of the answer."""
        with self._socket, self._socket.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            headers = {}
            while line := answer.readline().strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            return status, json.loads(answer.read(int(headers["content-length"])))


def in_flight(server) -> int:
    """How many requests it says are under way."""
    metrics = httpx.get(f"{server.url}/metrics").text
    return int(re.search(r"^inference_requests_in_flight (\d+)$", metrics, re.MULTILINE)[1])


@pytest.fixture
def mock():
    with MockPredictor() as mock:
        yield mock


@pytest.fixture(params=[PREDICTOR, TRANSFORMER])
def server(request, under_test, mock, tmp_path, servers):
    """Each of the two servers; its settings are those of the test's `settings` mark."""
    more = [f"--model_name={MODEL}", *request.node.get_closest_marker("settings").args]
    if request.param == PREDICTOR:
        servers.append(under_test.predictor(tmp_path / "log", *more))
    else:
        servers.append(under_test.transformer(tmp_path, mock.host, *more))
    servers[0].wait_ready()
    return servers[0]


@pytest.fixture
def body(server, catalogue) -> dict:
    """A good request to that server."""
    if server.name == TRANSFORMER:
        return v2_body(customer_id=("BYTES", ["c"]), transaction_date=("BYTES", [catalogue.date]))
    features = catalogue.features(catalogue.buyers(1)[0], list(catalogue.article_ids[:50]))
    return v2_body(**as_tensors(features))


@pytest.mark.settings("--drain_delay=5s")  # long enough to be asked in
def test_told_to_stop_it_answers_what_is_under_way_and_ends_with_0(server, body):
    halves = [HalfRequest(server.url, body) for _ in range(REQUESTS)]
    server.until(lambda: in_flight(server) == REQUESTS or None, "take the requests")
    server.signal(signal.SIGTERM)
    server.until(lambda: not server.is_ready() or None, "say that it is not ready")
    # Endpoints are withdrawn only now, so a last request may still come.
    assert httpx.post(f"{server.url}/v2/models/{MODEL}/infer", json=body).status_code == 200
    assert httpx.get(f"{server.url}/v2/health/ready").json()["code"] == "not_ready"
    for half in halves:
        status, answer = half.finish()
        assert status == 200, answer
    assert server.process.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/v2/health/live")


@pytest.mark.settings("--drain_delay=0s", "--drain_timeout=60s")
def test_requests_that_end_after_the_listener_has_closed_are_answered_too(server, body):
    halves = [HalfRequest(server.url, body) for _ in range(REQUESTS)]
    server.until(lambda: in_flight(server) == REQUESTS or None, "take the requests")
    server.signal(signal.SIGTERM)
    server.until(lambda: closed(server) or None, "close its listener")
    assert [half.finish()[0] for half in halves] == [200] * REQUESTS
    assert server.process.wait(60) == 0


def test_the_transformer_waits_for_the_predictor(under_test, mock, tmp_path, servers, catalogue):
    asked = []

    def when_released(request: dict) -> Reply:
        asked.append(1)
        mock.released.wait()
        return Reply.of(good(request))

    mock.reply = when_released
    patient = ["--drain_delay=0s", "--predictor_request_timeout_seconds=60s", "--request_timeout=60s"]
    servers.append(under_test.transformer(tmp_path, mock.host, *patient, "--drain_timeout=60s"))
    server = servers[0]
    server.wait_ready()
    question = v2_body(customer_id=("BYTES", ["c"]), transaction_date=("BYTES", [catalogue.date]))
    half = HalfRequest(server.url, question)
    half.send_rest()
    server.until(lambda: asked or None, "ask the predictor")
    server.signal(signal.SIGTERM)
    server.until(lambda: closed(server) or None, "close its listener")
    mock.released.set()
    assert half.answer()[0] == 200
    assert server.process.wait(60) == 0


@pytest.mark.settings("--drain_timeout=60s")
def test_a_second_ctrl_c_ends_it_at_once(server, body):
    _half = HalfRequest(server.url, body)
    server.until(lambda: in_flight(server) == 1 or None, "take the request")
    server.signal(signal.SIGINT)
    server.until(lambda: closed(server) or None, "close its listener")
    assert server.process.poll() is None
    server.signal(signal.SIGINT)
    assert server.process.wait(60) == 0
    assert any(line.get("reason") == "interrupted again" for line in server.lines())


def closed(server) -> bool:
    """Whether nobody listens any more."""
    try:
        httpx.get(f"{server.url}/v2/health/live")
    except httpx.TransportError:
        return True
    return False
