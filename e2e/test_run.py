"""`hemline run` and `hemline smoke`, as `make run` and `make smoke` call them."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from command_line import SAFETY_SECONDS, children, command, free_port, ready

PAIR_ONLY = ("--no-llm", "--no-shop")


def test_smoke_checks_the_pair_and_ends_with_0(hemline):
    out, err = (process := hemline("smoke")).communicate(timeout=SAFETY_SECONDS)
    assert process.returncode == 0, out + err
    assert "query_emb" in out
    assert "failed" not in out


def test_smoke_ends_with_1_where_the_servers_do_not_start(hemline):
    out, err = (process := hemline("smoke", store="sqlite:///nowhere/store.db")).communicate(
        timeout=SAFETY_SECONDS
    )
    assert process.returncode == 1, out
    assert "transformer ended with exit code 64" in err
    assert "/nowhere/store.db" in err


def test_data_that_are_not_there_are_65(hemline, tmp_path):
    for changes in ({"work": tmp_path}, {"binaries": tmp_path}):
        _, err = (process := hemline("smoke", **changes)).communicate(timeout=SAFETY_SECONDS)
        assert process.returncode == 65
        assert len(err.splitlines()) == 1
        assert str(tmp_path) in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_shows_a_recommendation_serves_and_ends_with_0(hemline, catalogue, number):
    port, predictor_port = free_port(), free_port()
    process = hemline("run", *PAIR_ONLY, f"--port={port}", f"--predictor-port={predictor_port}")
    said = ready(process)
    url = f"http://127.0.0.1:{port}"
    for shown in ("Recommended", f"{url}/v1/models/hemline:predict", f"{url}/metrics", "curl -s", "logs"):
        assert shown in said
    assert any(article in said for article in catalogue.article_ids)
    assert httpx.get(f"{url}/v2/health/ready").status_code == 200
    process.send_signal(number)
    _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert (process.returncode, err) == (0, "")
    for freed in (port, predictor_port):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{freed}/")


def test_the_curl_line_works_as_it_stands(hemline):
    process = hemline("run", *PAIR_ONLY, f"--port={free_port()}", f"--predictor-port={free_port()}")
    (line,) = (line for line in ready(process).splitlines() if line.startswith("curl "))
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert '"predictions"' in answer.stdout, answer


@pytest.mark.parametrize(("flag", "variable"), [("--port", "PORT"), ("--predictor-port", "PREDICTOR_PORT")])
def test_a_port_that_is_taken_is_64_and_says_what_to_change(hemline, flag, variable):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = hemline("run", *PAIR_ONLY, "--port=0", "--predictor-port=0", f"{flag}={port}")
        _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert process.returncode == 64
    assert all(word in err for word in (str(port), flag, f"{variable}="))


def test_a_server_that_dies_ends_the_run_with_1_and_takes_the_other_along(hemline):
    port, predictor_port = free_port(), free_port()
    process = hemline("run", *PAIR_ONLY, f"--port={port}", f"--predictor-port={predictor_port}")
    ready(process)
    (predictor,) = (pid for pid in children(process.pid) if "predictor-gbdt" in command(pid))
    subprocess.run(["kill", "-KILL", str(predictor)], check=True)
    _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert process.returncode == 1
    assert "predictor-gbdt ended with exit code -9" in err
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/")


def test_interrupted_while_it_starts_it_leaves_no_process_behind(hemline):
    process = hemline("run", *PAIR_ONLY, "--port=0", "--predictor-port=0")
    deadline = time.monotonic() + SAFETY_SECONDS
    while not (servers := children(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SAFETY_SECONDS)
    assert not [pid for pid in servers if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def page(tmp_path):
    """A front end of one file."""
    (tmp_path / "index.html").write_text("<!doctype html><title>the shop</title>")
    return tmp_path


def test_run_starts_the_shop_too_and_says_where_it_is_first(hemline, page):
    port, shop_port = free_port(), free_port()
    process = hemline(
        "run", "--no-llm", f"--web={page}", f"--port={port}", "--predictor-port=0", f"--shop-port={shop_port}"
    )
    first = next(line for line in ready(process).splitlines() if line.strip())
    url = f"http://127.0.0.1:{shop_port}"
    assert first.split() == ["shop", url]
    assert "the shop" in httpx.get(f"{url}/").text
    config = httpx.get(f"{url}/api/config").json()
    assert config["rankers"]["active"] == "ranking"
    some = httpx.get(f"{url}/api/customers", params={"limit": 1}).json()["customers"]
    instance = {"customer_id": some[0]["customer_id"], "transaction_date": config["last_day"], "k": 12}
    answer = httpx.post(f"{url}/api/recommendations", json=instance).json()
    assert {article for _, article in answer["prediction"]["ranking"]} == set(answer["articles"])
    process.terminate()
    _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert (process.returncode, err) == (0, "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/")


def test_a_front_end_that_is_not_built_is_65_and_says_how_to_build_it(hemline, tmp_path):
    process = hemline(
        "run", "--no-llm", f"--web={tmp_path}", "--port=0", "--predictor-port=0", "--shop-port=0"
    )
    _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert process.returncode == 65
    assert "make web" in err


def test_a_port_that_is_wanted_twice_is_64(hemline, page):
    port = free_port()
    process = hemline("run", "--no-llm", f"--web={page}", f"--port={port}", f"--shop-port={port}")
    _, err = process.communicate(timeout=SAFETY_SECONDS)
    assert process.returncode == 64
    assert all(word in err for word in ("--port and --shop-port", "PORT and SHOP_PORT", str(port)))
