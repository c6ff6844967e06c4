"""curl as people type it: its defaults name a form, compress when told to, and can speak HTTP/2 at once."""

import json
import shutil
import subprocess

import pytest


@pytest.fixture
def curl(tmp_path):
    """Runs curl with more arguments: status, headers and JSON body of the answer."""
    program, told = shutil.which("curl"), tmp_path / "headers"
    assert program, "curl is not installed, so nothing is tested here"

    def run(*arguments: str, body: object = None) -> tuple[int, dict[str, str], dict]:
        data = ["-d", "@-"] if body is not None else []
        ended = subprocess.run(
            [program, "-q", "-sS", "-D", told, *data, *arguments],
            input=None if body is None else json.dumps(body),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stderr
        # After "100 Continue" or "101 Switching Protocols" comes the answer.
        status, *lines = told.read_text().strip().split("\n\n")[-1].splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(status.split()[1]), headers, json.loads(ended.stdout)

    return run


def paths(served) -> list[tuple[str, dict]]:
    """V1's and V2's path and body."""
    return [
        (f"{served.url}/v1/models/{served.model}:predict", served.v1_body()),
        (f"{served.url}/v2/models/{served.model}/infer", served.body()),
    ]


def test_curls_form_content_type_is_json_all_the_same(curl, served):
    for url, body in paths(served):
        status, headers, answer = curl(url, body=body)
        assert status == 200, answer
        assert headers["content-type"].startswith("application/json")
        assert answer.keys() & {"predictions", "outputs"}


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/vnd.custom+json", ""]
)
def test_json_in_other_dresses_or_none_is_taken(curl, served, content_type):
    for url, body in paths(served):
        status, _, answer = curl(url, "-H", f"content-type: {content_type}".rstrip(" "), body=body)
        assert status == 200, answer


def test_compressed_answers_come_when_curl_asks_for_them(curl, served):
    for url, body in paths(served):
        _, plain, _ = curl(url, body=body)
        status, headers, answer = curl("--compressed", url, body=body)
        assert status == 200, answer
        # What fits into one packet is sent as it is.
        long = int(plain["content-length"]) >= 1024
        assert headers.get("content-encoding") in (("gzip", "deflate", "br", "zstd") if long else (None,))
    status, _, answer = curl("--compressed", f"{served.url}/v2/models/{served.model}")
    assert (status, answer) == (200, served.metadata)


def test_http2_by_prior_knowledge(curl, served):
    for url, body in paths(served):
        status, _, answer = curl("--http2-prior-knowledge", url, body=body)
        assert status == 200, answer


def test_an_offer_to_upgrade_to_http2_does_no_harm(curl, served):
    for url, body in paths(served):
        status, _, answer = curl("--http2", url, body=body)
        assert status == 200, answer


def test_a_large_body_is_taken_after_100_continue(curl, predictor, tmp_path):
    # Above a megabyte curl waits for leave; below it the header is set by hand.
    for url, body in paths(predictor):
        status, _, answer = curl("-H", "expect: 100-continue", url, body=body)
        assert status == 200, answer
        # Without it curl would send its body after a second all the same.
        assert (tmp_path / "headers").read_text().startswith("HTTP/1.1 100 Continue")


def test_mistakes_are_one_json_envelope(curl, served):
    cases = {
        f"{served.url}/nowhere": 404,
        f"{served.url}/v2/models/nobody": 404,
        f"{served.url}/v2/models/{served.model}/infer": 405,
    }
    for url, wanted in cases.items():
        status, _, answer = curl(url)
        assert status == wanted
        assert set(answer) == {"error", "code"}
