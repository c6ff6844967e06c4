"""Whatever the predictor does, the caller learns its class and no address, and the server goes on."""

import time

import httpx
import numpy as np
import pytest
from mock_predictor import MockPredictor, Reply, answer, good, hang_up
from under_test import SAFETY_SECONDS, ask, leaks

from hemline.pair import predictions


@pytest.fixture(scope="module")
def transformer(under_test, mock, tmp_path_factory):
    """A transformer over the mock, with little patience."""
    logs = tmp_path_factory.mktemp("logs")
    server = under_test.transformer(
        logs, mock.host, "--predictor_request_timeout_seconds=1s", "--request_timeout=20s"
    )
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()


@pytest.fixture
def http(transformer, mock):
    """A client; whatever the mock did, afterwards it is good again and the transformer answers."""
    with httpx.Client(base_url=transformer.url, timeout=60) as http:
        yield http
        mock.reply = lambda request: Reply.of(good(request))
        question = {"customer_id": "c", "transaction_date": "2020-09-16"}
        response = http.post("/v1/models/hemline:predict", json={"instances": [question]})
        assert response.status_code == 200, response.text
        transformer.check_alive()


def refused(http, mock, under_test) -> tuple[int, dict, httpx.Headers]:
    """Status, envelope and headers of a failure, the same over V1 and V2."""
    answers = ask(http)
    for response in answers.values():
        assert not leaks(response, f":{mock.port}", under_test.bundle, under_test.binaries, "SECRET")
        assert set(response.json()) == {"error", "code"}
    v1, v2 = answers["v1"], answers["v2"]
    assert (v1.status_code, v1.json()) == (v2.status_code, v2.json())
    return v1.status_code, v1.json(), v1.headers


def changed(**change):
    """An honest answer with other scores or ids."""

    def reply(request: dict) -> Reply:
        outputs = {output["name"]: output["data"] for output in good(request)["outputs"]}
        scores, articles = outputs["scores"], outputs["article_ids"]
        made = {name: make(scores, articles) for name, make in change.items() if callable(make)}
        plain = {name: value for name, value in change.items() if not callable(value)}
        return Reply.of(answer(**{"scores": scores, "articles": articles, **made, **plain}))

    return reply


WRONG = {
    "500": lambda _: Reply(500, b"SECRET inner text at 10.0.0.1"),
    "405": lambda _: Reply(405, b"SECRET"),
    "a redirect": lambda _: Reply(302, b"", {"location": "http://10.0.0.1/SECRET"}),
    "no JSON": lambda _: Reply(200, b"<html>SECRET</html>"),
    "nothing": lambda _: Reply(200, b""),
    "JSON that is no answer": lambda _: Reply.of(["SECRET"]),
    "no outputs": lambda _: Reply.of({"model_name": "hemline", "outputs": []}),
    "no scores": lambda request: Reply.of(good(request) | {"outputs": good(request)["outputs"][1:]}),
    "fewer scores than ids": changed(scores=lambda scores, _: scores[:-1]),
    "more scores than ids": changed(scores=lambda scores, _: [*scores, 0.5]),
    "a score that is NaN": changed(scores=lambda scores, _: [float("nan"), *scores[1:]]),
    "a score that is infinite": changed(scores=lambda scores, _: [float("inf"), *scores[1:]]),
    "a score that is null": changed(scores=lambda scores, _: [None, *scores[1:]]),
    "a score that is text": changed(scores=lambda scores, _: ["SECRET", *scores[1:]]),
    "scores as BYTES": changed(scores=lambda scores, _: [str(score) for score in scores], datatype="BYTES"),
    "scores as INT64": changed(scores=lambda scores, _: [1 for _ in scores], datatype="INT64"),
    "ids as INT32": changed(articles=lambda _, articles: list(range(len(articles))), ids_datatype="INT32"),
    "ids nobody asked about": changed(articles=lambda _, articles: ["SECRET", *articles[1:]]),
    "an id twice": changed(articles=lambda _, articles: [articles[0], *articles[:-1]]),
    "half an answer": lambda request: Reply(200, Reply.of(good(request)).body, halfway=hang_up),
    "a shape that lies": lambda request: Reply(
        200, Reply.of(good(request)).body.replace(b'"shape": [1', b'"shape": [2')
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_answer_is_502(http, mock, under_test, what):
    mock.reply = WRONG[what]
    status, envelope, _ = refused(http, mock, under_test)
    assert (status, envelope["code"]) == (502, "upstream_invalid")
    assert "predictor `ranking`" in envelope["error"]


def test_a_slow_predictor_is_504(http, mock, under_test):
    def never(request: dict) -> Reply:
        mock.released.wait()
        return Reply.of(good(request))

    mock.reply = never
    status, envelope, _ = refused(http, mock, under_test)
    assert (status, envelope["code"]) == (504, "upstream_timeout")


def test_a_predictor_that_falls_silent_halfway_is_504(http, mock, under_test):
    mock.reply = lambda request: Reply(200, Reply.of(good(request)).body, halfway=mock.released.wait)
    status, envelope, _ = refused(http, mock, under_test)
    assert (status, envelope["code"]) == (504, "upstream_timeout")


def test_a_predictor_that_hangs_up_is_503(http, mock, under_test):
    mock.reply = lambda _: hang_up()
    status, envelope, _ = refused(http, mock, under_test)
    assert (status, envelope["code"]) == (503, "upstream_unavailable")


def test_the_requests_own_deadline_is_504_too(mock, under_test, tmp_path, servers):
    def never(request: dict) -> Reply:
        mock.released.wait()
        return Reply.of(good(request))

    patient = ["--predictor_request_timeout_seconds=60s", "--request_timeout=300ms"]
    servers.append(under_test.transformer(tmp_path, mock.host, *patient))
    servers[0].wait_ready()
    mock.reply = never
    with httpx.Client(base_url=servers[0].url, timeout=60) as http:
        for response in ask(http).values():
            assert response.status_code == 504
            assert response.json()["code"] in ("deadline_exceeded", "upstream_timeout")
    mock.reply = lambda request: Reply.of(good(request))


def test_a_full_predictor_is_429_and_keeps_its_retry_after(http, mock, under_test):
    mock.reply = lambda _: Reply(429, b"SECRET", {"retry-after": "7"})
    status, envelope, headers = refused(http, mock, under_test)
    assert (status, envelope["code"], headers["retry-after"]) == (429, "upstream_overloaded", "7")


def test_a_predictor_that_is_not_ready_is_503_and_keeps_its_retry_after(http, mock, under_test):
    mock.reply = lambda _: Reply(503, b"SECRET", {"retry-after": "3"})
    status, envelope, headers = refused(http, mock, under_test)
    assert (status, envelope["code"], headers["retry-after"]) == (503, "upstream_unavailable", "3")


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "upstream_unauthenticated"), (403, "upstream_forbidden"), (404, "upstream_not_found")],
)
def test_who_may_not_or_does_not_have_it_says_so_in_its_class(http, mock, under_test, status, code):
    mock.reply = lambda _: Reply.of({"error": "SECRET"}, status)
    found, envelope, _ = refused(http, mock, under_test)
    assert (found, envelope["code"]) == (status, code)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_stays_the_callers_mistake(http, mock, under_test, status):
    mock.reply = lambda _: Reply.of({"error": "SECRET"}, status)
    found, envelope, _ = refused(http, mock, under_test)
    assert (found, envelope["code"]) == (400, "upstream_rejected")


def test_scores_are_joined_by_id_in_whatever_order_they_come(http, mock):
    def backwards(request: dict) -> Reply:
        outputs = {output["name"]: output["data"] for output in good(request)["outputs"]}
        return Reply.of(answer(outputs["scores"][::-1], outputs["article_ids"][::-1]))

    forwards = {name: predictions(response.json()) for name, response in ask(http).items()}
    mock.reply = backwards
    assert {name: predictions(response.json()) for name, response in ask(http).items()} == forwards


def test_what_the_predictor_does_not_score_follows_with_0_and_is_counted(http, mock):
    def first_twenty(request: dict) -> Reply:
        outputs = {output["name"]: output["data"][:20] for output in good(request)["outputs"]}
        return Reply.of(answer(outputs["scores"], outputs["article_ids"]))

    (whole,) = predictions(ask(http)["v1"].json())
    mock.reply = first_twenty
    for response in ask(http).values():
        (prediction,) = predictions(response.json())
        assert prediction["scored"] == 20
        assert [article for _, article in prediction["ranking"]] == [
            article for _, article in whole["ranking"]
        ]
        assert {score for score, _ in prediction["ranking"][20:]} <= {0.0}


def test_scores_may_come_in_one_row(http, mock):
    def one_row(request: dict) -> Reply:
        flat = good(request)
        flat["outputs"][0]["shape"] = [1, *flat["outputs"][0]["shape"]]
        return Reply.of(flat)

    in_a_column = {name: predictions(response.json()) for name, response in ask(http).items()}
    mock.reply = one_row
    assert {name: predictions(response.json()) for name, response in ask(http).items()} == in_a_column


def test_a_predictor_may_want_fp64_and_answer_with_the_requests_id(under_test, tmp_path, servers):
    got = []

    def keep(request: dict) -> Reply:
        got.append(request)
        return Reply.of(good(request) | {"id": request["id"]})

    with MockPredictor() as mock:
        mock.inputs.append({"name": "month_sin", "datatype": "FP64", "shape": [-1]})
        mock.reply = keep
        servers.append(under_test.transformer(tmp_path, mock.host))
        servers[0].wait_ready()
        with httpx.Client(base_url=servers[0].url, timeout=60, headers={"x-request-id": "seven"}) as http:
            for response in ask(http).values():
                assert response.status_code == 200, response.text
    for request in got:
        tensors = {tensor["name"]: tensor for tensor in request["inputs"]}
        # Nothing is lost and nothing invented: the FP32 that it is, to the last digit of an FP64.
        month_sin = np.sin(2 * np.pi * 9 / 12).astype(np.float32)
        assert set(tensors["month_sin"]["data"]) == {float(month_sin)}
        assert (tensors["month_sin"]["datatype"], tensors["age"]["datatype"]) == ("FP64", "FP32")
    assert {request["id"] for request in got} == {"seven"}


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"name": "shoe_size", "datatype": "FP32"}, "`shoe_size`, which can't be offered"),
        ({"name": "month_sin", "datatype": "INT64"}, "`month_sin` as INT64, which can only be FP32 or FP64"),
    ],
)
def test_a_predictor_that_wants_what_nobody_can_offer_is_named_and_never_ready(
    under_test, tmp_path, servers, wanted, told
):
    with MockPredictor() as mock:
        mock.inputs.append(wanted | {"shape": [-1, 1]})
        servers.append(under_test.transformer(tmp_path, mock.host))
        with httpx.Client(base_url=servers[0].url, timeout=60) as http:
            status, envelope, _ = refused(http, mock, under_test)
            assert (status, envelope["code"]) == (502, "upstream_invalid")
            assert told in envelope["error"]
        warned = servers[0].until(lambda: warning(servers[0], told), "warn about the input")
        assert "ranking" in warned
        assert not servers[0].is_ready()


@pytest.mark.parametrize(
    "metadata",
    [Reply(200, b"SECRET"), Reply.of(["SECRET"]), Reply.of({"inputs": "SECRET"}), Reply(500, b"SECRET")],
)
def test_metadata_that_are_none_are_502_until_they_are_good(under_test, tmp_path, servers, metadata):
    with MockPredictor() as mock:
        mock.metadata = metadata
        servers.append(under_test.transformer(tmp_path, mock.host))
        with httpx.Client(base_url=servers[0].url, timeout=60) as http:
            status, envelope, _ = refused(http, mock, under_test)
            assert (status, envelope["code"]) == (502, "upstream_invalid")
            assert not servers[0].is_ready()
            mock.metadata = None
            servers[0].wait_ready()
            assert {answer.status_code for answer in ask(http).values()} == {200}


def warning(server, word: str) -> str | None:
    """The first warning with that word in it."""
    lines = (str(line) for line in server.lines() if line.get("level") == "WARN")
    return next((line for line in lines if word in line), None)


def test_a_killed_predictor_is_503_and_one_that_comes_back_is_used_without_a_restart(
    under_test, tmp_path, a_question
):
    with under_test.pair(tmp_path) as pair:
        assert pair.predict(a_question).status_code == 200
        port = int(pair.predictor.url.rsplit(":", 1)[1])
        pair.predictor.kill()
        for response in ask(pair.http).values():
            assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
            assert not leaks(response, f":{port}", under_test.bundle)
        pair.transformer.until(lambda: not pair.transformer.is_ready() or None, "say that it is not ready")
        assert httpx.get(f"{pair.transformer.url}/v2/health/live").status_code == 200
        pair.start_predictor(port).wait_ready()
        pair.transformer.wait_ready()
        assert pair.predict(a_question).status_code == 200


def test_a_predictor_that_is_swapped_for_one_that_takes_something_else_is_asked_for_that(http, mock):
    def strict(request: dict) -> Reply:
        """Refuses what it does not take, as our predictors do."""
        given, taken = (
            [tensor["name"] for tensor in tensors] for tensors in (request["inputs"], mock.inputs)
        )
        return Reply.of(good(request)) if given == taken else Reply.of({"error": "unknown input"}, 400)

    mock.reply, inputs = strict, mock.inputs
    try:
        for feature in ("month_sin", "month_cos", "age"):
            # No waiting: the next question may well come before anybody has looked at the metadata.
            mock.inputs = [{"name": feature, "datatype": "FP32", "shape": [-1, 1]}, inputs[0]]
            for response in ask(http).values():
                assert response.status_code == 200, response.text
    finally:
        mock.inputs = inputs


def test_a_mistake_in_the_last_row_is_found_before_any_row_is_worked_on(http, mock):
    asked = []
    mock.reply = lambda request: asked.append(request) or Reply.of(good(request))
    question = {"customer_id": "c", "transaction_date": "2020-09-16"}
    instances = [question] * 40 + [question | {"k": 0}]
    response = http.post("/v1/models/hemline:predict", json={"instances": instances})
    assert response.status_code == 400
    assert response.json()["error"].startswith("row 40: field `k`")
    assert asked == []


def test_a_predictor_that_keeps_failing_is_left_alone_and_used_again_when_it_is_good(http, mock):
    asked = []
    mock.reply = lambda request: asked.append(request) or Reply(500, b"SECRET")
    codes = [response.json()["code"] for _ in range(6) for response in ask(http).values()]
    assert codes[:5] == ["upstream_invalid"] * 5
    assert "upstream_unavailable" in codes
    assert len(asked) < len(codes)
    mock.reply = lambda request: Reply.of(good(request))
    question = {"instances": [{"customer_id": "c", "transaction_date": "2020-09-16"}]}
    deadline = time.monotonic() + SAFETY_SECONDS
    while http.post("/v1/models/hemline:predict", json=question).status_code != 200:
        assert time.monotonic() < deadline, "it is not used again"
        time.sleep(0.05)
