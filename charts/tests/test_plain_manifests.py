"""The plain manifests in `k8s/` and what the chart renders are the same, but for what only Helm adds."""

import shutil
import subprocess

import pytest
import yaml
from test_chart import CHART, ROOT, helm, objects

K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
BASE = {"bundle": {"uri": "pvc://bundles/current"}, "store": {"existingSecret": {"name": "store"}}}
LLM = {"url": "http://llm.models/v1", "existingSecret": {"name": "llm"}}
# The values of which each overlay is the outcome.
RECS = {
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
pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here")


def plain(text: str) -> dict[tuple[str, str], dict]:
    """Objects by kind and name, without what only Helm or a namespace adds."""
    found = {}
    for key, each in objects(text).items():
        metadata = each["metadata"]
        if "helm.sh/hook" in metadata.get("annotations", {}):
            continue
        metadata.pop("namespace", None)
        labels = metadata.pop("labels", {})
        own = {name: value for name, value in labels.items() if not name.startswith("app.kubernetes.io/")}
        each["metadata"] |= {"labels": own} if own else {}
        for subject in each.get("subjects", []):
            subject.pop("namespace", None)
        found[key] = each
    return found


def kustomized(path: str) -> str:
    """What kustomize makes of a folder of `k8s/`."""
    command = ["kubectl", "kustomize", str(K8S / path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def rendered(release: str, values: dict, tmp_path) -> dict[tuple[str, str], dict]:
    """The chart's objects."""
    file = tmp_path / f"{release}.yaml"
    file.write_text(yaml.safe_dump(values))
    done = helm("template", release, str(CHART), "--set=kserve.checkApi=false", f"--values={file}")
    assert done.returncode == 0, done.stderr
    return plain(done.stdout)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_what_the_chart_renders(overlay, tmp_path):
    expected = rendered("recs", BASE | RECS[overlay], tmp_path)
    if overlay == "ab":
        expected |= rendered("recs-llm", RANKER, tmp_path)
    assert plain(kustomized(f"overlays/{overlay}")) == expected


@pytest.mark.parametrize("kind", ["gbdt", "llm"])
def test_a_runtime_has_the_container_of_the_charts_predictor(kind, tmp_path):
    chart = rendered("recs", BASE | RECS[kind], tmp_path)["InferenceService", "recs"]["spec"]["predictor"]
    expected, pod = chart["containers"][0], chart["securityContext"]
    expected.pop("env")
    expected["args"][0] = "--model-name={{.Name}}"  # KServe puts it in
    # A runtime has no pod of its own: what the chart says of the pod, it says of its container.
    expected["securityContext"] |= {
        name: pod[name] for name in ("runAsNonRoot", "runAsUser", "seccompProfile")
    }
    runtime = plain(kustomized("runtimes"))["ServingRuntime", f"hemline-{kind}"]["spec"]
    assert runtime["containers"] == [expected]
    assert runtime["supportedModelFormats"][0]["name"] == f"hemline-{kind}"
