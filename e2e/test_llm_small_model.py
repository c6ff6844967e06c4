"""The real thing, small: llama.cpp's server with a model of 135 million parameters ranks through the pair.

How good the model is does not matter here: its answers must be read, joined and counted, and be twice the
same. predictor-llm's cache is off, so that every answer is the model's own.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from scripted_llm import ScriptedLlm, passing_on

from hemline.llm import GBDT, LISTWISE, POINTWISE, Api, defaults, outcomes, start_llama
from hemline.pair import predictions

# A model that computes on all cores has no time to spare.
pytestmark = pytest.mark.alone
SCORED = 20
SAFETY_SECONDS = 60


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """The server. With one slot and no prefix cache, its arithmetic is the same whatever else it computed."""
    log = tmp_path_factory.mktemp("llama") / "llama.log"
    server = start_llama(Api(slots=1, prefix_cache=False), log)
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def counted(small_model):
    """The same behind a server that counts its calls."""
    with ScriptedLlm(passing_on(f"{small_model}/v1")) as llm:
        yield llm


@pytest.mark.parametrize(("strategy", "calls"), [(LISTWISE, 1), (POINTWISE, SCORED)])
def test_it_ranks_twice_the_same_and_says_what_it_could_not_answer(
    under_test, catalogue, counted, tmp_path, strategy, calls, capsys
):
    instance = catalogue.instance(catalogue.buyers(1)[0])
    arguments = ["--cache-entries=0", "--self-test=warn", "--concurrency=1"]
    rankers = {"llmranking": strategy, "ranking": GBDT}
    with under_test.llm_pair(tmp_path, Api(counted.url), rankers=rankers, llm_args=arguments) as pair:
        already, before = len(counted.calls), outcomes(pair.predictor)
        answers = [pair.predict(instance) for _ in range(2)]
        asked = [json.dumps(call["messages"]) for call in counted.calls[already:]]
        # Articles that read alike are one question.
        assert len(asked) == 2 * len(set(asked))
        assert 0.8 * calls <= len(set(asked)) <= calls
        counts = {name: count - before.get(name, 0) for name, count in outcomes(pair.predictor).items()}
    assert all(answer.status_code == 200 for answer in answers), answers[0].text
    first, second = (predictions(answer.json())[0] for answer in answers)
    assert first == second
    assert first["ranker"] == "llmranking"
    assert "degraded" not in first
    assert first["scored"] == SCORED
    assert all(0 <= score <= 1 for score, _ in first["ranking"])
    assert sum(counts.values()) == 2 * SCORED
    assert defaults(counts) == 2 * first.get("defaults", 0)
    with capsys.disabled():
        print(
            f"\n{strategy}: no usable answer for {defaults(counts):.0f} of {2 * SCORED} candidates; {counts}"
        )


def test_the_order_that_it_gives_is_not_one_constant_score(under_test, catalogue, counted, tmp_path):
    # The self-test is required here: a ranker that scores everything alike is never ready.
    rankers = {"llmranking": LISTWISE}
    with under_test.llm_pair(tmp_path, Api(counted.url), rankers=rankers) as pair:
        (prediction,) = predictions(pair.predict(catalogue.instance(catalogue.buyers(1)[0])).json())
    assert len({score for score, _ in prediction["ranking"][:SCORED]}) > 1


def test_its_server_ends_with_the_process_that_started_it(tmp_path):
    starting = f"""
import pathlib, time
from hemline.llm import Api, start_llama
server = start_llama(Api(slots=1), pathlib.Path({str(tmp_path / "llama.log")!r}))
print(server.process.pid, server.url, flush=True)
time.sleep({SAFETY_SECONDS})
"""
    parent = subprocess.Popen([sys.executable, "-c", starting], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline().split()[0])
    assert is_running(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + SAFETY_SECONDS
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
