"""The Python clients that people already have work unchanged: KServe's and Triton's."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from under_test import ids

from hemline.pair import MODEL, predictions

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def said(pair, catalogue) -> dict:
    """What both clients say about one customer."""
    python = Path(os.environ.get("HEMLINE_CLIENTS") or HERE.parent / ".venv-clients") / "bin" / "python"
    if not python.is_file():
        # `make test-e2e` installs them; without them nothing is tested, which must not look like a pass.
        pytest.fail(
            "no environment with the clients: run `make setup-clients`, or name one in HEMLINE_CLIENTS"
        )
    question = catalogue.instance(catalogue.buyers(1)[0])
    arguments = [pair.transformer.url, MODEL, question["customer_id"], question["transaction_date"]]
    ended = subprocess.run([python, HERE / "clients.py", *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def wanted(pair, catalogue) -> dict:
    """The prediction that they should see."""
    (prediction,) = predictions(pair.predict(catalogue.instance(catalogue.buyers(1)[0])).json())
    return prediction


def test_kserves_client_reads_v1(said, wanted):
    assert said["kserve"]["v1"] == {"predictions": [wanted]}


@pytest.mark.parametrize("client", ["kserve", "triton"])
def test_clients_read_v2(said, wanted, client):
    outputs, shapes, count = said[client]["v2"], said[client]["shapes"], len(wanted["ranking"])
    assert outputs["count"] == [count]
    assert outputs["article_ids"][:count] == ids(wanted["ranking"])
    assert outputs["scores"][:count] == pytest.approx([score for score, _ in wanted["ranking"]], abs=1e-7)
    assert {"ranking": wanted["ranking"], **json.loads(outputs["info"][0])} == wanted
    assert shapes["article_ids"] == shapes["scores"]
    assert shapes["count"] == shapes["info"] == [1]
    assert said[client]["id"] == "7"


@pytest.mark.parametrize("client", ["kserve", "triton"])
def test_clients_read_health(said, client):
    assert all(value is True for value in said[client]["health"])


def test_clients_show_the_servers_own_words(said):
    assert "row 0: field `k`: expected a whole number" in said["kserve"]["refusal"]
    assert "nobody" in said["kserve"]["unknown"]
    assert "404" in said["kserve"]["unknown"]
    assert "field `transaction_date`: expected an ISO date" in said["triton"]["refusal"]


def test_tritons_client_reads_metadata(said):
    metadata = said["triton"]["metadata"]
    assert metadata["name"] == MODEL
    assert {"customer_id", "transaction_date", "options"} <= {tensor["name"] for tensor in metadata["inputs"]}
    assert {tensor["name"] for tensor in metadata["outputs"]} == {"article_ids", "scores", "count", "info"}
    assert "name" in said["triton"]["server"]


def test_only_the_outputs_that_are_asked_for_come(said):
    assert said["triton"]["some"] == ["count"]
