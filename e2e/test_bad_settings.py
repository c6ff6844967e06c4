"""Wrong settings end a start: exit 64, one line that names the flag."""

import socket
import subprocess

import pytest
from under_test import refusal, small_store, user_version

from hemline.pair import PREDICTOR, TRANSFORMER

BOTH = [PREDICTOR, TRANSFORMER]


@pytest.mark.parametrize("program", BOTH)
@pytest.mark.parametrize(
    ("argument", "flag"),
    [
        ("--workers=many", "--workers"),
        ("--queue=0", "--queue"),
        ("--request_timeout=soon", "--request-timeout"),
        ("--max_body_bytes=-1", "--max-body-bytes"),
        ("--model_name=a/b", "--model-name"),
        ("--nonsense", "--nonsense"),
        ("--log_level=a=b=c", "--log-level"),
        ("--onnxruntime=/nowhere/libonnxruntime.so", "--onnxruntime"),
    ],
)
def test_a_wrong_flag_is_named(under_test, program, argument, flag):
    assert flag in refusal(under_test, program, argument)


@pytest.mark.parametrize(
    ("argument", "flag"),
    [
        ("--candidates=0", "--candidates"),
        ("--candidates=1001", "--candidates"),
        ("--candidates=many", "--candidates"),
        ("--predictor_protocol=smtp", "--predictor-protocol"),
        ("--unknown_customer=ignore", "--unknown-customer"),
        ("--ranking_model_type=", "--ranking-model-type"),
        ("--predictor_request_timeout_seconds=-1", "--predictor-request-timeout-seconds"),
        ("--predictor_request_retries=11", "--predictor-request-retries"),
        ("--predictor_connection_age=0", "--predictor-connection-age"),
        ("--on_ranker_failure=panic", "--on-ranker-failure"),
        ("--ranker=http://llm", "--ranker"),
        ("--ranker==http://llm", "--ranker"),
        ("--ranker=llm=http://llm,weight=1", "--ranker"),
        ("--ranker=llm=http://llm,protocol=smtp", "--ranker"),
        ("--ranker=llm=ftp://llm", "--ranker: `llm`: `ftp://llm`"),
        ("--ranker=ranking=http://llm", "--ranker: `ranking` is the name of the predictor's ranking"),
        ("--ranker=a=http://llm;b=http://llm;a=http://llm", "--ranker: `a` is given twice"),
        (f"--ranker={'x' * 64}=http://llm", "--ranker"),
    ],
)
def test_a_wrong_flag_of_the_transformer_is_named(under_test, argument, flag):
    assert flag in refusal(under_test, TRANSFORMER, argument)


@pytest.mark.parametrize("program", BOTH)
def test_a_wrong_port_is_named(under_test, program):
    for port in ("x", "70000", "-1"):
        line = refusal(under_test, program, f"--http_port={port}")
        assert "--http-port" in line


@pytest.mark.parametrize("program", BOTH)
def test_a_port_that_is_taken_is_named(under_test, program):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal(under_test, program, f"--http_port={port}")
        assert "--http-port" in line
        assert str(port) in line


@pytest.mark.parametrize("store", ["foo", "", "sqlite:", "sqlite://", "mysql://localhost/shop"])
def test_a_store_that_is_no_url_is_named(under_test, store):
    assert "--store" in refusal(under_test, TRANSFORMER, f"--store={store}", "--predictor_host=127.0.0.1:9")


def test_a_store_that_is_not_there_is_named(under_test, tmp_path):
    line = refuse_store(under_test, tmp_path / "nowhere.db")
    assert str(tmp_path / "nowhere.db") in line
    assert not (tmp_path / "nowhere.db").exists()


def test_a_store_that_is_no_database_is_named(under_test, tmp_path):
    (tmp_path / "store.db").write_bytes(b"This is no database. " * 500)
    assert str(tmp_path / "store.db") in refuse_store(under_test, tmp_path / "store.db")


@pytest.mark.parametrize(("version", "remedy"), [(0, "`hemline migrate`"), (999, "the server is older")])
def test_a_store_of_another_schema_version_is_named(under_test, tmp_path, version, remedy):
    small_store(tmp_path / "store.db", {})
    user_version(tmp_path / "store.db", version)
    line = refuse_store(under_test, tmp_path / "store.db")
    assert f"schema version {version}," in line
    assert remedy in line


@pytest.mark.parametrize(
    "host", ["", "https://", "ftp://host", "http://host?x=1", "host:port", "unix:predictor.sock"]
)
def test_a_predictor_host_that_is_no_address_is_named(under_test, host):
    more = [f"--store={under_test.store}"]
    assert "--predictor-host" in refusal(under_test, TRANSFORMER, f"--predictor_host={host}", *more)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "https://127.0.0.1:9"])
def test_certificates_that_are_missing_or_not_asked_for_are_named(under_test, host):
    more = [f"--store={under_test.store}", f"--predictor_host={host}", "--predictor_ca=/nowhere/ca.pem"]
    assert "--predictor-ca" in refusal(under_test, TRANSFORMER, *more)


@pytest.mark.parametrize("missing", ["--store", "--predictor-host"])
def test_a_flag_that_is_needed_and_missing_is_named(under_test, missing):
    program = [under_test.binaries / TRANSFORMER]
    given = {"--store": "--predictor_host=127.0.0.1:9", "--predictor-host": f"--store={under_test.store}"}
    ended = subprocess.run([*program, given[missing]], capture_output=True, text=True)
    assert ended.returncode == 64
    (line,) = ended.stderr.splitlines()
    assert missing in line


def refuse_store(under_test, path) -> str:
    """The refusal of a store, which names the flag."""
    more = ["--predictor_host=127.0.0.1:9"]
    line = refusal(under_test, TRANSFORMER, f"--store=sqlite://{path}", *more)
    assert "--store" in line
    return line
