"""Where it may, a transformer answers without its predictor: in the order of retrieval, and it says so."""

import httpx
import pytest
from mock_predictor import MockPredictor, Reply, good, hang_up
from under_test import ask, leaks

from hemline.pair import predictions


@pytest.fixture(scope="module")
def degrading(under_test, mock, tmp_path_factory):
    """A transformer over the mock that answers without it where it has to."""
    logs = tmp_path_factory.mktemp("degrading")
    arguments = ["--predictor_request_timeout_seconds=1s", "--on_ranker_failure=degrade"]
    server = under_test.transformer(logs, mock.host, *arguments)
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()


@pytest.fixture
def degrading_http(degrading, mock):
    """A client of it; the mock is good before and after."""
    mock.reply = lambda request: Reply.of(good(request))
    with httpx.Client(base_url=degrading.url, timeout=60) as http:
        yield http
        mock.reply = lambda request: Reply.of(good(request))
        degrading.check_alive()


FAILING = {
    "an error": lambda _: Reply(500, b"SECRET"),
    "no room": lambda _: Reply(429, b"SECRET", {"retry-after": "7"}),
    "not ready": lambda _: Reply(503, b"SECRET"),
    "hanging up": lambda _: hang_up(),
    "no answer": lambda _: Reply(200, b"SECRET"),
    "a wrong name": lambda _: Reply.of({"error": "SECRET"}, 404),
}


def is_degraded(response: httpx.Response) -> bool:
    """Whether it is an answer in the order of retrieval; if so, one that says so in every way."""
    assert response.status_code == 200, response.text
    (prediction,) = predictions(response.json())
    if "degraded" not in prediction:
        return False
    failed, rung = prediction["degraded"].split("; ")
    assert failed.startswith(f"{prediction['ranker']}: upstream_")
    assert (rung, prediction["scored"]) == ("retrieval", 0)
    assert prediction["ranking"]
    assert {score for score, _ in prediction["ranking"]} == {0.0}
    return True


@pytest.mark.parametrize("what", FAILING)
def test_a_failure_is_answered_in_the_order_of_retrieval(degrading_http, mock, under_test, what):
    # The mock scores in the order in which it is asked, which is that of retrieval.
    (ranked,) = predictions(ask(degrading_http)["v1"].json())
    mock.reply = FAILING[what]
    for response in ask(degrading_http).values():
        assert is_degraded(response)
        assert not leaks(response, f":{mock.port}", under_test.bundle, "SECRET")
        (prediction,) = predictions(response.json())
        assert [article for _, article in prediction["ranking"]] == [
            article for _, article in ranked["ranking"]
        ]


def test_a_slow_predictor_is_not_waited_for(degrading_http, mock):
    def never(request: dict) -> Reply:
        mock.released.wait()
        return Reply.of(good(request))

    mock.reply = never
    assert all(is_degraded(response) for response in ask(degrading_http).values())


def test_what_the_predictor_refuses_stays_the_callers_mistake(degrading, degrading_http, mock):
    mock.reply = lambda _: Reply.of({"error": "SECRET"}, 400)
    # Earlier failures may have opened the circuit; then nobody was asked who could refuse.
    degrading.until(lambda: refusals(degrading_http) == {400} or None, "pass the refusal on")


def refusals(http) -> set[int]:
    """The statuses of both protocols."""
    return {response.status_code for response in ask(http).values()}


def test_without_a_predictor_it_is_ready_tells_so_and_ranks_again_as_soon_as_there_is_one(
    under_test, tmp_path, servers
):
    with MockPredictor() as mock:
        mock.ready = False
        mock.reply = lambda _: hang_up()
        arguments = ["--on_ranker_failure=degrade", "--ranking_model_type=ours"]
        servers.append(under_test.transformer(tmp_path, mock.host, *arguments))
        server = servers[0]
        server.wait_ready()
        with httpx.Client(base_url=server.url, timeout=60) as http:
            assert dependencies(http)["ours"] == "away"
            assert 'dependency_up{dependency="ours"} 0' in http.get("/metrics").text
            for _ in range(4):
                assert all(is_degraded(response) for response in ask(http).values())
            mock.ready, mock.reply = True, lambda request: Reply.of(good(request))
            server.until(
                lambda: dependencies(http) == {"ours": "ready", "store": "ready"} or None, "see the predictor"
            )
            assert 'dependency_up{dependency="ours"} 1' in http.get("/metrics").text
            assert not any(is_degraded(response) for response in ask(http).values())
            mock.ready = False
            server.until(
                lambda: dependencies(http) == {"ours": "away", "store": "ready"} or None, "miss the predictor"
            )


def dependencies(http) -> dict[str, str]:
    """What a server that is ready says of the services that it asks."""
    response = http.get("/v2/health/ready")
    assert response.status_code == 200, response.text
    assert response.json()["ready"] is True
    return response.json()["dependencies"]
