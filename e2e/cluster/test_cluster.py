"""The pair on a real Kubernetes with KServe: what a platform team does with it, from install to a bad bundle.

The tests go from one to the next, as a day does: each leaves the release as it found it.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from conftest import BINARIES, BUNDLE, LLM, SERVICE, Store
from kube import Namespace, eventually
from load import Load
from releases import ranker, recommender
from shop import Shop, instance

from hemline.pair import Pair

CUSTOMERS = 2000
SWITCH_SECONDS = 5


@pytest.fixture(scope="module")
def installed(namespace) -> float:
    """The release, from a command to an InferenceService that is ready; the seconds that took."""
    begun = time.monotonic()
    namespace.install(SERVICE, recommender())
    namespace.wait_ready(SERVICE)
    return time.monotonic() - begun


@pytest.fixture
def shop(namespace, http, installed) -> Shop:
    """Asks it, once the node has heard of its endpoints: that comes after the conditions."""
    shop = Shop(namespace, http)
    eventually(shop.is_ready, "the Service leads to it")
    return shop


@contextmanager
def policy(namespace, **keys: str) -> Iterator[None]:
    """Another policy in the ConfigMap, for as long as it takes."""
    good = dict.fromkeys(["active", "by-history", "shadow", "fallback"])  # no key, as the chart leaves it
    namespace.patch("configmap", f"{SERVICE}-ranking", {"data": good | keys})
    try:
        yield
    finally:
        namespace.patch("configmap", f"{SERVICE}-ranking", {"data": good})


@contextmanager
def second_ranker(
    namespace: Namespace, shop: Shop, name: str = "b", kind: str = "gbdt", llm_url: str = ""
) -> Iterator[None]:
    """A ranker that is an InferenceService of its own, known to the transformer."""
    release = f"{SERVICE}-{name}"
    namespace.install(release, ranker(name, kind, llm_url))
    namespace.wait_ready(release, transformer=False)
    knows = lambda: shop.http.get(f"{shop.url}/v2/health/ready").json()["dependencies"].get(name) == "ready"  # noqa: E731
    eventually(knows, f"the transformer knows {name}")
    try:
        yield
    finally:
        namespace.uninstall(release)


def test_it_is_ready_within_ten_seconds_of_its_install_and_each_container_within_one(installed, namespace):
    assert installed < 10
    for component in ("transformer", "predictor"):
        (pod,) = namespace.pods(SERVICE, component)
        started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        lines = namespace.logs(SERVICE, component)
        at = {line["message"]: datetime.fromisoformat(line["timestamp"]) for line in lines}
        # The kubelet's times are whole seconds: the log's own first line is nearer.
        first = min(at.values())
        assert (at["listening"] - first).total_seconds() < 1, started


def test_every_protocol_answers_through_the_services_what_the_pair_answers_elsewhere(
    shop, store: Store, customers, tmp_path
):
    with Pair(binaries=BINARIES, bundle=BUNDLE, store=store.local_url, logs=tmp_path) as pair:
        for customer in ["nobody", *customers]:
            expected = pair.predict(instance(customer)).json()["predictions"][0]["ranking"]
            assert len(expected) == 100
            assert shop.prediction(customer)["ranking"] == expected
            assert shop.v2(customer) == expected
            assert shop.grpc(customer) == expected


def test_a_share_of_the_customers_has_another_ranker_and_each_keeps_theirs(shop, namespace):
    with second_ranker(namespace, shop), policy(namespace, active="ranking=90,b=10"):
        eventually(lambda: "b" in rankers(shop), "the shares hold")
        first = rankers(shop)
        assert rankers(shop) == first
        assert abs(Counter(first)["b"] / CUSTOMERS - 0.1) < 0.02


def rankers(shop: Shop) -> list[str]:
    """Who ranked for each of many customers."""
    found = []
    for start in range(0, CUSTOMERS, 200):
        instances = [instance(f"customer {number}", k=1) for number in range(start, start + 200)]
        found += [prediction["ranker"] for prediction in shop.predictions(*instances)]
    return found


def test_a_switch_in_the_config_map_holds_within_seconds_and_restarts_nothing(shop, namespace):
    with second_ranker(namespace, shop):
        before = {pod["metadata"]["uid"] for pod in namespace.pods(SERVICE, "transformer")}
        begun = time.monotonic()
        with policy(namespace, active="b"):
            eventually(lambda: shop.prediction("anna")["ranker"] == "b", "b ranks")
            assert time.monotonic() - begun < SWITCH_SECONDS
            begun = time.monotonic()
        eventually(lambda: shop.prediction("anna")["ranker"] == "ranking", "the predictor ranks again")
        assert time.monotonic() - begun < SWITCH_SECONDS
        assert {pod["metadata"]["uid"] for pod in namespace.pods(SERVICE, "transformer")} == before


def test_a_shadow_is_compared_and_a_fallback_stands_in(shop, namespace, llm):
    with second_ranker(namespace, shop, "llm", "llm", llm):
        with policy(namespace, shadow="llm"):
            compared = 'shadow_requests_total{outcome="ok",shadow="llm"}'
            eventually(
                lambda: shop.prediction("anna")["ranker"] == "ranking" and compared in metrics(shop),
                "the shadow is compared",
            )
        with policy(namespace, active="llm", fallback="ranking"):
            eventually(lambda: shop.prediction("anna")["ranker"] == "llm", "the LLM ranks")
            namespace.patch("inferenceservice", f"{SERVICE}-llm", stopped("true"))
            stands_in = lambda: shop.prediction("anna").get("degraded", "").startswith("llm: ")  # noqa: E731
            eventually(stands_in, "the predictor stands in")
            assert shop.prediction("anna")["ranker"] == "ranking"
    last_call = json.loads(namespace.kubectl("logs", f"deployment/{LLM}", "--tail=1"))
    assert last_call["authorization"] == "Bearer e2e-secret-key"


def stopped(value: str) -> dict:
    """The annotation by which KServe takes an InferenceService's pods away."""
    return {"metadata": {"annotations": {"serving.kserve.io/stop": value}}}


def metrics(shop: Shop) -> str:
    """The transformer's metrics."""
    return shop.http.get(f"{shop.url}/metrics").text


def test_the_predictor_is_swapped_for_an_llm_and_back_under_load_without_a_failed_request(
    shop, namespace, llm
):
    with Load(shop.predict_url, lambda number: {"instances": [instance(f"c{number}", k=5)]}) as load:
        eventually(lambda: load.answers > 20, "there is a load")
        for kind in ("llm", "gbdt"):
            namespace.install(SERVICE, recommender(kind, llm))
            rolled_out(namespace, "predictor", f"predictor-{kind}")
            answers = load.answers
            eventually(lambda: load.answers > answers + 20, "it goes on")  # noqa: B023
    assert load.failures == []


def rolled_out(namespace, component: str, repository: str = "") -> None:
    """Waits until only new pods are left."""
    namespace.kubectl("rollout", "status", f"deployment/{SERVICE}-{component}", "--timeout=90s")

    def is_new() -> bool:
        pods = namespace.pods(SERVICE, component)
        return all(repository in pod["spec"]["containers"][0]["image"] for pod in pods) and len(pods) >= 1

    eventually(is_new, f"the {component} is {repository}")


def test_the_transformer_is_replaced_and_scaled_under_load_without_a_failed_request(shop, namespace):
    values = recommender()
    with Load(shop.predict_url, lambda number: {"instances": [instance(f"c{number}", k=5)]}) as load:
        eventually(lambda: load.answers > 20, "there is a load")
        for replicas, label in ((2, "two"), (1, "one")):
            values["transformer"] |= {"minReplicas": replicas, "podLabels": {"try": label}}
            namespace.install(SERVICE, values)
            ready = lambda: len(namespace.pods(SERVICE, "transformer")) == replicas  # noqa: B023, E731
            eventually(ready, f"{replicas} pods")
            rolled_out(namespace, "transformer")
            answers = load.answers
            eventually(lambda: load.answers > answers + 20, "it goes on")  # noqa: B023
    assert load.failures == []
    namespace.install(SERVICE, recommender())
    rolled_out(namespace, "transformer")


def test_without_its_predictor_the_transformer_is_not_ready_and_comes_back(shop, namespace):
    without = recommender()
    without["predictor"]["minReplicas"] = 0
    namespace.install(SERVICE, without)
    eventually(lambda: not namespace.pods(SERVICE, "predictor"), "the predictor has left")
    eventually(lambda: not shop.is_ready(), "the transformer is not ready")
    (pod,) = namespace.pods(SERVICE, "transformer")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, "who waits is not started anew"
    namespace.install(SERVICE, recommender())
    eventually(shop.is_ready, "it is back")


def test_without_its_predictor_it_degrades_where_that_is_wanted(shop, namespace):
    values = recommender()
    values["transformer"]["settings"] = {"onRankerFailure": "degrade"}
    values["predictor"]["minReplicas"] = 0
    namespace.install(SERVICE, values)
    eventually(lambda: not namespace.pods(SERVICE, "predictor"), "the predictor has left")
    rolled_out(namespace, "transformer")
    degraded = lambda: shop.ask(instance("anna")).json().get("predictions", [{}])[0].get("degraded")  # noqa: E731
    eventually(lambda: (degraded() or "").endswith("; retrieval"), "answers are in the order of retrieval")
    namespace.install(SERVICE, recommender())
    rolled_out(namespace, "transformer")
    eventually(lambda: degraded() is None, "the predictor ranks again")


def test_lines_of_one_request_join_by_its_id_across_pods(shop, namespace):
    request_id, trace_id = f"e2e-{uuid.uuid4()}", uuid.uuid4().hex
    trace = f"00-{trace_id}-00f067aa0ba902b7-00"
    answer = shop.ask(instance("anna"), **{"x-request-id": request_id, "traceparent": trace})
    assert answer.status_code == 200

    def lines() -> dict | None:
        found = {
            component: [
                line for line in namespace.logs(SERVICE, component) if line.get("request_id") == request_id
            ]
            for component in ("transformer", "predictor")
        }
        return found if all(found.values()) else None

    found = eventually(lines, "both have told of it")
    assert {line["inference_service"] for each in found.values() for line in each} == {SERVICE}
    assert found["transformer"][-1]["ranker"] == "ranking"
    assert {line["trace_id"] for each in found.values() for line in each} == {trace_id}


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        (
            {"bundle": {"uri": f"pvc://bundle/{BUNDLE.name}/retrieval"}},
            "predictor",
            "model.onnx: No such file",
        ),
        (
            {"bundle": {"uri": f"pvc://bundle/{BUNDLE.name}/retrieval"}},
            "transformer",
            "manifest.json: No such file",
        ),
        (
            {"transformer": {"extraArgs": ["--candidates=0"]}},
            "transformer",
            "--candidates: expected 1 to 1000",
        ),
        ({"predictor": {"extraArgs": ["--quue=3"]}}, "predictor", "--quue"),
        ({"store": {"existingSecret": {"name": "nowhere", "key": "url"}}}, "transformer", "nowhere"),
    ],
    ids=["bad bundle", "bad bundle, transformer", "wrong flag", "misspelt flag", "missing secret"],
)
def test_what_is_wrong_is_told_where_people_look(namespace, change, where, reason):
    release, values = "broken", recommender()
    for key, below in change.items():
        values[key] |= below
    namespace.install(release, values)
    try:

        def in_pods() -> bool:
            """What containers wait for, and what the last one ended with: `make status` shows it."""
            return reason in json.dumps([pod["status"] for pod in namespace.pods(release, where)])

        def in_service() -> bool:
            """What KServe makes of a predictor's end."""
            return reason in json.dumps(namespace.get("inferenceservice", release)["status"])

        eventually(in_pods, f"`{reason}` is told by the pods")
        if where == "predictor":
            eventually(
                lambda: "CrashLoopBackOff" in json.dumps(namespace.pods(release, where)), "it ends again"
            )
            # KServe looks at pods when something else changes: here, somebody's annotation.
            namespace.kubectl("annotate", "inferenceservice", release, "looked=again")
            eventually(in_service, f"`{reason}` is told by the InferenceService")
    finally:
        namespace.uninstall(release)


def test_both_in_one_pod_answer_the_same(shop, namespace, http):
    release = "together"
    namespace.install(release, recommender() | {"collocated": True})
    try:
        namespace.wait_ready(release, transformer=False)
        (pod,) = namespace.pods(release, "predictor")
        assert {container["name"] for container in pod["spec"]["containers"]} == {
            "kserve-container",
            "transformer-container",
        }
        together = Shop(namespace, http, release, component="predictor")
        eventually(together.is_ready, "the Service leads to it")
        assert together.prediction("anna")["ranking"] == shop.prediction("anna")["ranking"]
    finally:
        namespace.uninstall(release)
