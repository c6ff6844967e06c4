"""Bodies that are compressed, on the way in and out, as any HTTP library does it."""

import gzip
import json
import zlib

import httpx
import pytest

ENCODE = {"gzip": gzip.compress, "deflate": zlib.compress}


def paths(served) -> list[tuple[str, dict]]:
    """V1's and V2's path and body."""
    return [
        (f"{served.url}/v1/models/{served.model}:predict", served.v1_body()),
        (f"{served.url}/v2/models/{served.model}/infer", served.body()),
    ]


def post(url: str, body: bytes, **headers: str) -> httpx.Response:
    """An answer."""
    named = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return httpx.post(url, content=body, headers=named, timeout=30)


@pytest.mark.parametrize("encoding", ENCODE)
def test_a_compressed_body_is_what_it_was_before(served, encoding):
    for url, body in paths(served):
        plain = json.dumps(body).encode()
        answer = post(url, ENCODE[encoding](plain), content_encoding=encoding, accept_encoding="identity")
        assert answer.status_code == 200, answer.text
        assert "content-encoding" not in answer.headers
        found, wanted = answer.json(), post(url, plain).json()
        assert found.get("predictions") == wanted.get("predictions")
        assert found.get("outputs") == wanted.get("outputs")


@pytest.mark.parametrize("encoding", ENCODE)
def test_answers_are_compressed_for_those_who_accept_it(served, encoding):
    for url, body in paths(served):
        plain = json.dumps(body).encode()
        answer = post(url, plain, accept_encoding=encoding)
        assert answer.status_code == 200, answer.text
        found, wanted = answer.json(), post(url, plain, accept_encoding="identity").json()
        assert found.get("predictions") == wanted.get("predictions")
        assert found.get("outputs") == wanted.get("outputs")
        # What fits into one packet is sent as it is.
        assert answer.headers.get("content-encoding") == (encoding if len(answer.content) >= 1024 else None)


def test_the_transformers_answers_are_long_enough_to_be_compressed(transformer):
    for url, body in paths(transformer):
        assert len(post(url, json.dumps(body).encode()).content) >= 1024


@pytest.mark.parametrize("encoding", ENCODE)
def test_a_body_that_is_not_compressed_as_it_says_is_400(served, encoding):
    for url, body in paths(served):
        plain = json.dumps(body).encode()
        for wrong in (plain, ENCODE[encoding](plain)[:-12]):
            answer = post(url, wrong, content_encoding=encoding)
            assert answer.status_code == 400, answer.text
            assert set(answer.json()) == {"error", "code"}


def test_an_encoding_that_nobody_knows_is_415(served):
    for url, body in paths(served):
        answer = post(url, json.dumps(body).encode(), content_encoding="rot13")
        assert answer.status_code == 415, answer.text
        assert set(answer.json()) == {"error", "code"}


@pytest.mark.parametrize("encoding", ENCODE)
def test_a_small_body_that_unpacks_to_a_large_one_is_413(served, encoding):
    bomb = ENCODE[encoding](b" " * (64 * 1024 * 1024))
    for url, _ in paths(served):
        answer = post(url, bomb, content_encoding=encoding)
        assert answer.status_code == 413, answer.text
        assert set(answer.json()) == {"error", "code"}
