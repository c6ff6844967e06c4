"""A list has a name that says who made it, so that what comes of it can be told by variant."""

import json
import subprocess
import sys
import uuid

import pytest
from mock_predictor import MockPredictor
from told import purchase, shops

K = 5


@pytest.fixture
def two(under_test, a_store, pair, tmp_path):
    """Two transformers over one store and two rankers: the pair's, and one that keeps the order."""
    with MockPredictor() as other:
        host = pair.predictor.url.removeprefix("http://")
        arguments = (f"--ranker=other={other.host}",)
        with shops(under_test, a_store.url, host, tmp_path, *arguments) as two:
            yield two


def question(catalogue, **more: object) -> dict:
    visitor = {"customer_id": f"visitor {uuid.uuid4()}", "transaction_date": catalogue.date, "k": K}
    return visitor | more


def test_a_list_is_named_by_its_ranker_its_bundle_and_what_it_is(two, under_test, catalogue):
    first, second = two
    asked = question(catalogue)
    name = first.prediction(**asked)["list_id"]
    who, _, digest = name.partition("/")
    assert who == f"ranking@{under_test.manifest['version']}"
    assert len(digest) == 16
    assert second.prediction(**asked)["list_id"] == name
    assert first.prediction(**asked | {"customer_id": "another"})["list_id"] != name
    assert first.prediction(**asked | {"k": K - 1})["list_id"] != name
    assert first.prediction(**asked, ranker="other")["list_id"].startswith("other@")


def test_what_came_of_lists_is_reported_by_who_made_them(two, a_store, catalogue):
    shop, _ = two
    for number in range(40):
        asked = question(catalogue, ranker=("ranking", "other")[number % 2])
        answer = shop.prediction(**asked)
        article = answer["ranking"][0][1]
        seen = purchase(asked["customer_id"], article, list_id=answer["list_id"])
        assert shop.tell(seen | {"type": "shown"}).status_code == 202
        if number % 4 == 0:  # every second one who sees the first ranker's list
            shop.tell(purchase(asked["customer_id"], article))
    command = ["experiments", "report", f"--store={a_store.url}", "--json", "--control=other"]
    done = subprocess.run([sys.executable, "-m", "hemline", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    control, variant = json.loads(done.stdout)["variants"]
    assert (control["ranker"], control["customers"], control["purchases"]["share"]) == ("other", 20, 0)
    assert (variant["ranker"], variant["customers"], variant["purchases"]["share"]) == ("ranking", 20, 0.5)
    assert variant["purchases_minus_control"]["low"] > 0
