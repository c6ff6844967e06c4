"""What Helm and kustomize render is what the cluster's schemas and webhooks take, and both say the same."""

import json

import pytest
import yaml
from conftest import BUNDLE, REGISTRY, TAG
from kube import CHART, ROOT, run

K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
# What the plain manifests are made of: the chart's objects with these values.
BASE = {"bundle": {"uri": "pvc://bundles/current"}, "store": {"existingSecret": {"name": "store"}}}
LLM = {"url": "http://llm.models/v1", "existingSecret": {"name": "llm"}}
SAME = {
    "gbdt": {},
    "llm": {"predictor": {"kind": "llm", "llm": LLM}},
    "ab": {"ranking": {"fromCluster": True, "active": "ranking=90,llm=10", "fallback": "ranking"}},
    "collocated": {"collocated": True},
}
RANKER = {
    "transformer": {"enabled": False},
    "ranker": {"name": "llm"},
    "predictor": {"kind": "llm", "llm": {"url": LLM["url"]}},
    "serviceAccount": {"create": False, "name": "recs"},
}


def objects(text: str) -> dict[tuple[str, str], dict]:
    """Objects by kind and name, without what only Helm or a namespace adds."""
    found = {}
    for each in (document for document in yaml.safe_load_all(text) if document):
        if "helm.sh/hook" in each["metadata"].get("annotations", {}):
            continue
        each["metadata"].pop("namespace", None)
        labels = each["metadata"].get("labels", {})
        own = {key: label for key, label in labels.items() if not key.startswith("app.kubernetes.io/")}
        each["metadata"].pop("labels", None)
        each["metadata"] |= {"labels": own} if own else {}
        for subject in each.get("subjects", []):
            subject.pop("namespace", None)
        found[each["kind"], each["metadata"]["name"]] = each
    return found


def rendered(release: str, values: dict) -> dict[tuple[str, str], dict]:
    """The chart's objects."""
    command = ["helm", "template", release, str(CHART), "--set=kserve.checkApi=false", "--values=/dev/stdin"]
    return objects(run(*command, stdin=json.dumps(values)))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_plain_manifests_are_the_charts(overlay):
    expected = rendered("recs", BASE | SAME[overlay])
    if overlay == "ab":
        expected |= rendered("recs-llm", RANKER)
    assert objects(run("kubectl", "kustomize", str(K8S / "overlays" / overlay))) == expected


@pytest.mark.parametrize("overlay", [*OVERLAYS, "../runtimes"])
def test_the_cluster_takes_the_plain_manifests(overlay, namespace):
    manifests = run("kubectl", "kustomize", str((K8S / "overlays" / overlay).resolve()))
    namespace.kubectl("apply", "--dry-run=server", "--filename=-", stdin=manifests)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_cluster_takes_what_the_chart_renders(values, namespace):
    fixed = ["--namespace", namespace.name, "--set=kserve.checkApi=false", f"--values={values}"]
    manifests = run("helm", "template", "recs", str(CHART), *fixed)
    namespace.kubectl("apply", "--dry-run=server", "--filename=-", stdin=manifests)


def test_a_models_format_is_enough_where_the_runtimes_are(namespace, http):
    runtimes = run("kubectl", "kustomize", str(K8S / "runtimes"))
    image = f"{REGISTRY}/hemline-predictor-gbdt:{TAG}"
    namespace.kubectl("apply", "--filename=-", stdin=runtimes.replace("hemline-predictor-gbdt:0.1.0", image))
    model = {
        "modelFormat": {"name": "hemline-gbdt"},
        "protocolVersion": "v2",
        "storageUri": f"pvc://bundle/{BUNDLE.name}",
    }
    annotations = {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none",
    }
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "by-format", "annotations": annotations},
        "spec": {"predictor": {"model": model}},
    }
    namespace.apply(service)
    try:
        namespace.wait_ready("by-format", transformer=False)
        url = f"http://{namespace.address('by-format-predictor')}/v2/models/by-format"
        assert http.get(url).json()["name"] == "by-format"
    finally:
        namespace.kubectl("delete", "inferenceservice", "by-format")
        namespace.kubectl("delete", "servingruntime", "--all")
