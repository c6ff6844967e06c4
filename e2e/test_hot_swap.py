"""A new bundle takes over while requests are under way: none fails, none is answered by half of each."""

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import onnx
import pytest
from under_test import SAFETY_SECONDS, as_tensors, replace, shadow, sign

from hemline import bundle as bundles
from hemline.pair import MODEL, v2_body

SWAPS = 200
CALLERS = 4


def negated(model: bytes) -> bytes:
    """The same graph with its FP32 outputs negated: what it says is told apart at a glance."""
    graph = onnx.load_from_string(model)
    for output in graph.graph.output:
        if output.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            continue
        inner = f"{output.name}_before"
        for node in graph.graph.node:
            node.output[:] = [inner if name == output.name else name for name in node.output]
            node.input[:] = [inner if name == output.name else name for name in node.input]
        graph.graph.node.append(onnx.helper.make_node("Neg", [inner], [output.name]))
    return graph.SerializeToString()


def point(link: Path, bundle: Path) -> None:
    """Lets a link point elsewhere, at once."""
    fresh = link.with_suffix(".next")
    fresh.symlink_to(bundle)
    os.replace(fresh, link)


@pytest.fixture
def two(under_test, tmp_path):
    """Two bundles whose rankers and query towers say the opposite, and a link to the first."""
    folders = [shadow(under_test.bundle, tmp_path / name) for name in ("first", "second")]
    for file in (bundles.RANKER, bundles.QUERY_TOWER):
        replace(folders[1], file, negated((under_test.bundle / file).read_bytes()))
    sign(folders[1])
    link = tmp_path / "current"
    link.symlink_to(folders[0])
    return folders, link


@pytest.fixture
def ranker_body(catalogue) -> dict:
    """A question to the predictor: 20 articles of one customer."""
    articles = [str(article) for article in catalogue.article_ids[:20]]
    features = catalogue.features(catalogue.buyers(1)[0], articles)
    return v2_body(**as_tensors(features), article_id=("BYTES", [[article] for article in articles]))


@pytest.fixture
def customer_body(catalogue) -> dict:
    """A question to the transformer."""
    instance = catalogue.instance(catalogue.buyers(1)[0])
    return v2_body(
        customer_id=("BYTES", [instance["customer_id"]]),
        transaction_date=("BYTES", [instance["transaction_date"]]),
    )


class Callers:
    """Clients that ask one question again and again until they are told to stop.

    A call that gets no answer is raised when they are.
    """

    def __init__(self, url: str, body: dict) -> None:
        self._url, self._body = f"{url}/v2/models/{MODEL}/infer", body
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(CALLERS)
        self.answers: list[httpx.Response] = []

    def _ask(self) -> None:
        with httpx.Client(timeout=SAFETY_SECONDS) as client:
            while not self._stop.is_set():
                self.answers.append(client.post(self._url, json=self._body))

    def __enter__(self) -> "Callers":
        self._asking = [self._threads.submit(self._ask) for _ in range(CALLERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads.shutdown()
        for asking in self._asking:
            asking.result()


def said(answer: httpx.Response) -> tuple[str, str]:
    """Which model answered, and what it said."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    outputs = {output["name"]: output["data"] for output in body["outputs"]}
    outputs.pop("info", None)  # it names the ranker's version, which is another server's
    return f"{body['model_version']} {body['parameters']['model_digest']}", repr(outputs)


def load(server) -> httpx.Response:
    """Asks a server to load what lies there now."""
    return httpx.post(f"{server.url}/v2/repository/models/{MODEL}/load", timeout=SAFETY_SECONDS)


def swap_under_load(server, body: dict, folders: list[Path], link: Path) -> None:
    """Swaps the two bundles again and again; every answer is wholly of one of them."""
    server.wait_ready()
    ask = f"{server.url}/v2/models/{MODEL}/infer"
    expected = {}
    for folder in folders[::-1]:
        point(link, folder)
        assert load(server).status_code == 200
        model, outputs = said(httpx.post(ask, json=body))
        expected[model] = outputs
    assert len(set(expected)) == len(set(expected.values())) == 2
    with Callers(server.url, body) as callers:
        for turn in range(SWAPS):
            point(link, folders[(turn + 1) % 2])
            answer = load(server)
            assert answer.status_code == 200, answer.text
    counts = Counter()
    for answer in callers.answers:
        model, outputs = said(answer)
        assert expected[model] == outputs
        counts[model] += 1
    assert set(counts) == set(expected)
    assert min(counts.values()) > CALLERS


def test_the_predictor_swaps_under_load(under_test, tmp_path, two, ranker_body, servers):
    folders, link = two
    servers.append(
        under_test.predictor(
            tmp_path / "log", f"--model_name={MODEL}", "--enable_control", "--model_watch=0", bundle=link
        )
    )
    swap_under_load(servers[0], ranker_body, folders, link)


def test_the_transformer_swaps_under_load(under_test, tmp_path, two, customer_body, servers):
    folders, link = two
    servers.append(under_test.predictor(tmp_path / "predictor.log", f"--model_name={MODEL}"))
    predictor = servers[0].url.removeprefix("http://")
    arguments = [f"--model_name={MODEL}", "--enable_control", "--model_watch=0"]
    servers.append(under_test.transformer(tmp_path, predictor, *arguments, bundle=link))
    swap_under_load(servers[1], customer_body, folders, link)


def digest(server) -> str | None:
    """What is served now."""
    metadata = httpx.get(f"{server.url}/v2/models/{MODEL}").json()
    return metadata["properties"]["digest"]


@pytest.fixture
def watched(under_test, tmp_path, two, servers):
    """A predictor that looks at its files all the time."""
    _, link = two
    servers.append(
        under_test.predictor(tmp_path / "log", f"--model_name={MODEL}", "--model_watch=20ms", bundle=link)
    )
    servers[0].wait_ready()
    return servers[0]


def test_a_new_bundle_in_the_place_is_noticed(watched, two):
    folders, link = two
    before = digest(watched)
    point(link, folders[1])
    watched.until(lambda: digest(watched) != before or None, "take the new bundle")


def test_a_bad_bundle_is_refused_and_the_old_one_stays(watched, two, ranker_body):
    folders, link = two
    before = said(httpx.post(f"{watched.url}/v2/models/{MODEL}/infer", json=ranker_body))
    content = (folders[1] / bundles.RANKER).read_bytes()
    replace(folders[1], bundles.RANKER, content[: len(content) // 2])
    point(link, folders[1])

    def refused() -> bool | None:
        (item,) = httpx.post(f"{watched.url}/v2/repository/index").json()
        return True if item["reason"] else None

    watched.until(refused, "look at the bad bundle")
    assert watched.is_ready()
    assert said(httpx.post(f"{watched.url}/v2/models/{MODEL}/infer", json=ranker_body)) == before
    (failure,) = (line for line in watched.lines() if line["message"] == "could not be loaded")
    assert bundles.RANKER in failure["error"]
    point(link, folders[0])
    watched.until(lambda: None if refused() else True, "take the good bundle again")


def test_sighup_loads_anew(under_test, tmp_path, two, servers):
    folders, link = two
    server = under_test.predictor(tmp_path / "log", f"--model_name={MODEL}", "--model_watch=0", bundle=link)
    servers.append(server)
    server.wait_ready()
    before = digest(server)
    point(link, folders[1])
    server.signal(signal.SIGHUP)
    server.until(lambda: digest(server) != before or None, "take the new bundle")


def test_control_calls_are_off_by_default(under_test, tmp_path, servers):
    servers.append(under_test.predictor(tmp_path / "log", f"--model_name={MODEL}"))
    servers[0].wait_ready()
    for call in ("load", "unload"):
        answer = httpx.post(f"{servers[0].url}/v2/repository/models/{MODEL}/{call}")
        assert (answer.status_code, answer.json()["code"]) == (403, "control_disabled")
