"""What Helm and kustomize render is what the cluster's schemas and webhooks take."""

import httpx
import pytest
from conftest import BUNDLE, REGISTRY, TAG
from kube import CHART, ROOT, eventually, run

K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))


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
        # The node hears of endpoints after the conditions.
        answer = eventually(lambda: answered(http, url), "the Service leads to it")
        assert answer.json()["name"] == "by-format"
    finally:
        namespace.kubectl("delete", "inferenceservice", "by-format")
        namespace.kubectl("delete", "servingruntime", "--all")


def answered(http: httpx.Client, url: str) -> httpx.Response | None:
    """An answer, where anybody listens."""
    try:
        return http.get(url)
    except httpx.TransportError:
        return None
