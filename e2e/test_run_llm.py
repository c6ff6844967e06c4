"""`hemline run` and `hemline smoke` with an LLM as the ranker, as `make run RANKER=llm LLM_URL=…` does it."""

import subprocess
from pathlib import Path

import httpx
import pytest
from command_line import SAFETY_SECONDS, children, command, free_port, ready
from scripted_llm import ScriptedLlm

KEY = "sk-not-to-be-seen"


@pytest.fixture
def llm():
    """An LLM that answers everything well."""
    with ScriptedLlm() as llm:
        yield llm


def test_run_shows_what_the_llm_recommends_and_how_to_ask_the_other_ranker(hemline, llm):
    port = free_port()
    process = hemline(
        "run", "--no-shop", "--ranker=llm", f"--port={port}", "--predictor-port=0", f"--llm-url={llm.url}"
    )
    said = ready(process)
    assert "Recommended by llmranking" in said
    assert "20 candidates were scored" in said
    lines = [line for line in said.splitlines() if line.startswith("curl ")]
    rankers = [answered(line)["ranker"] for line in lines]
    assert rankers == ["llmranking", "ranking"]
    process.terminate()
    _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert (process.returncode, err) == (0, "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/")


def test_an_llm_that_is_named_is_there_beside_the_ranker_that_leads(hemline, llm):
    process = hemline("run", "--no-shop", "--port=0", "--predictor-port=0", f"--llm-url={llm.url}")
    said = ready(process)
    assert "Recommended by ranking" in said
    lines = [line for line in said.splitlines() if line.startswith("curl ")]
    assert [answered(line)["ranker"] for line in lines] == ["ranking", "llmranking"]


def answered(line: str) -> dict:
    """The prediction that a line for a shell is answered with."""
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    return httpx.Response(200, text=answer.stdout).json()["predictions"][0]


def test_the_api_key_goes_to_the_llm_and_is_seen_nowhere_else(hemline, llm):
    variables = {"LLM_API_KEY": KEY, "LLM_URL": llm.url, "LLM_MODEL": "scripted"}
    arguments = ["--no-shop", "--ranker=llm", "--port=0", "--predictor-port=0"]
    process = hemline("run", *arguments, environment=variables)
    said = ready(process)
    servers = {command(pid).split()[0].rsplit("/")[-1]: pid for pid in children(process.pid)}
    assert set(servers) == {"predictor-llm", "predictor-gbdt", "transformer"}
    (logs,) = (line.split()[1] for line in said.splitlines() if line.startswith("logs "))
    assert all(header == f"Bearer {KEY}" for header in llm.authorizations)
    assert llm.authorizations
    written = "".join(path.read_text() for path in Path(logs).iterdir())
    assert KEY not in said + written
    assert all(KEY not in line for line in map(command, servers.values()))
    holders = {name for name, pid in servers.items() if KEY in environment_of(pid)}
    assert holders <= {"predictor-llm"}


def environment_of(pid: int) -> str:
    """A process's variables."""
    return Path(f"/proc/{pid}/environ").read_text(errors="replace")


def test_smoke_checks_the_llm_too_and_ends_with_0(hemline, llm):
    process = hemline("smoke", "--ranker=llm", f"--llm-url={llm.url}", "--llm-strategy=pointwise")
    out, err = process.communicate(timeout=SAFETY_SECONDS)
    assert process.returncode == 0, out + err
    for check in ("scores of the LLM", "the other ranker", "explain", "answers of the LLM"):
        assert check in out
    assert "failed" not in out


def test_a_model_without_an_api_to_ask_for_it_is_64(hemline):
    process = hemline("smoke", "--ranker=llm", "--llm-model=large")
    _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert process.returncode == 64
    assert "LLM_URL" in err
