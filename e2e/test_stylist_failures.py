"""An LLM that is away, slow, unreadable or dies midway costs an outfit its thought, and never the answer."""

import time
from collections.abc import Iterator

import pytest
from outfits import Stylist, offered, streamed
from scripted_stylist import ScriptedStylist, end, event, item, outfit
from under_test import leaks

NOBODY = "127.0.0.1:9"
WAIT = 3.0


@pytest.fixture
def llm():
    """An LLM for each test: a circuit that opened for one must not be another's."""
    with ScriptedStylist() as llm:
        yield llm


@pytest.fixture
def stylist(under_test, llm, tmp_path, servers) -> Stylist:
    """A transformer over it whose patience is short."""
    arguments = ("--on-ranker-failure=degrade", f"--stylist-host={llm.host}", "--stylist-timeout=1s")
    servers.append(under_test.transformer(tmp_path, NOBODY, *arguments))
    return Stylist(servers[0])


def silent(_body: dict) -> Iterator[bytes]:
    """Says nothing for longer than anybody waits."""
    time.sleep(WAIT)
    yield from end(0)


def drops(_body: dict) -> Iterator[bytes]:
    """Ends the connection at once."""
    raise ConnectionError


def garbage(_body: dict) -> Iterator[bytes]:
    yield b"event: item\ndata: {{{ no JSON\n\n"


def binary(_body: dict) -> Iterator[bytes]:
    yield b"event: item\ndata: \xff\xfe\x00\n\n"


def endless(_body: dict) -> Iterator[bytes]:
    while True:
        yield b"data: " + b"x" * 10_000


def flood(_body: dict) -> Iterator[bytes]:
    while True:
        yield event("item", {"description": ""}) * 100


def nothing(_body: dict) -> Iterator[bytes]:
    yield from end(0)


def refuses(_body: dict) -> Iterator[bytes]:
    yield event("error", {"error": "http://10.0.0.7:9/v1 is away", "code": "upstream_timeout"})


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (silent, "stylist: upstream_timeout"),
        (drops, "stylist: upstream_unavailable"),
        (garbage, "stylist: upstream_invalid"),
        (binary, "stylist: upstream_invalid"),
        (endless, "stylist: upstream_invalid"),
        (flood, "stylist: upstream_invalid"),
        (refuses, "stylist: upstream_timeout"),
        (nothing, "stylist: no items"),
        (lambda _: iter([b""]), "stylist: upstream_unavailable"),
    ],
)
def test_whatever_it_does_the_words_are_searched_for(stylist, llm, script, told):
    llm.script = script
    answer = stylist.prediction(request="a red summer dress", k=4)
    assert answer["degraded"] == f"{told}; semantic search"
    (only,) = answer["items"]
    assert (only["category"], only["description"]) == ("Item", "a red summer dress")
    assert only["articles"] == stylist.prediction(query="a red summer dress", k=4)["ranking"]
    assert not leaks(stylist.ask({"request": "a red summer dress"}), "10.0.0.7")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "upstream_unauthenticated"),
        (404, "upstream_not_found"),
        (429, "upstream_overloaded"),
        (500, "upstream_invalid"),
        (503, "upstream_unavailable"),
        (504, "upstream_timeout"),
    ],
)
def test_a_refusal_is_told_by_its_class(stylist, llm, status, code):
    llm.status = status
    assert stylist.prediction(request="shoes")["degraded"] == f"stylist: {code}; semantic search"


def test_an_answer_of_another_kind_is_no_stream(stylist, llm):
    llm.content_type = "text/html"
    assert stylist.prediction(request="shoes")["degraded"] == "stylist: upstream_invalid; semantic search"


@pytest.mark.parametrize("how", [drops, silent, garbage, refuses])
def test_what_was_told_before_it_died_stays(stylist, llm, how):
    def script(body: dict) -> Iterator[bytes]:
        yield item(0, "👖", "Pants", "slim dark jeans")
        yield from how(body)

    llm.script = script
    answer = stylist.prediction(request="a start-up", k=3)
    assert [one["description"] for one in answer["items"]] == ["slim dark jeans"]
    assert answer["summary"] == "No summary available."
    assert answer["degraded"].startswith("stylist: upstream_")
    assert "search" not in answer["degraded"]
    assert streamed(stylist.stream("a start-up", k=3)) == answer


def test_what_answered_in_the_llms_stead_is_told(stylist, llm):
    def script(_body: dict) -> Iterator[bytes]:
        yield item(0, "👖", "Pants", "jeans")
        yield from end(1, fallback="lines")

    llm.script = script
    assert stylist.prediction(request="a start-up")["degraded"] == "stylist: lines"


def test_more_items_than_an_outfit_has_are_not_heard(stylist, llm):
    llm.script = outfit(*(f"shirt {number}" for number in range(60)))
    answer = stylist.prediction(request="shirts", k=2)
    assert len(answer["items"]) == 8
    assert len(set(offered(answer))) == 16


def test_an_llm_that_keeps_failing_is_left_alone_and_found_again(stylist, llm):
    llm.status = 503
    for _ in range(6):
        stylist.prediction(request="shoes")
    before = len(llm.calls)
    assert "upstream_unavailable" in stylist.prediction(request="shoes")["degraded"]
    assert len(llm.calls) == before, "it is left alone"
    llm.status = 200
    answered = lambda: "degraded" not in stylist.prediction(request="shoes") or None  # noqa: E731
    stylist.server.until(answered, "ask the LLM again")


def test_the_server_is_ready_without_an_llm(under_test, tmp_path, servers):
    arguments = ("--on-ranker-failure=degrade", f"--stylist-host={NOBODY}")
    servers.append(under_test.transformer(tmp_path, NOBODY, *arguments))
    served = Stylist(servers[0])
    assert served.http.get("/v2/models/stylist/ready").status_code == 200
    answer = served.prediction(request="shoes")
    assert answer["degraded"] == "stylist: upstream_unavailable; semantic search"
    assert not leaks(served.ask({"request": "shoes"}))
    assert streamed(served.stream("shoes")) == served.prediction(request="shoes")
