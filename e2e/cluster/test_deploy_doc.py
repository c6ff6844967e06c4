"""docs/deploy.md, line by line: its commands run as they stand, with this cluster's names in them."""

import json
import os
import re
import subprocess
import textwrap
from collections.abc import Callable

import pytest
from conftest import NAMESPACE, ON_NODE, REGISTRY, SERVICE
from kube import ROOT, eventually, run
from releases import recommender

COMPONENTS = ("transformer", "predictor")
ROLLED_OUT = f"kubectl rollout status deployment -l serving.kserve.io/inferenceservice={SERVICE}"
TEXT = (ROOT / "docs" / "deploy.md").read_text()


@pytest.fixture(scope="module")
def names(namespace, store, llm, customers, tmp_path_factory) -> dict[str, str]:
    """What the page's examples are called here, on a small node. No release is left of an earlier test."""
    small = tmp_path_factory.mktemp("values") / "small.json"
    values = recommender()
    small.write_text(json.dumps({name: {"resources": values[name]["resources"]} for name in COMPONENTS}))
    for release in (SERVICE, f"{SERVICE}-llm"):
        namespace.uninstall(release)
    namespace.kubectl("delete", "secret", "store", "--ignore-not-found")
    return {
        "registry.example.com/team": REGISTRY,
        "postgres://hemline:…@db.shop:5432/hemline": store.url,
        "pvc://bundles/shop/v3": f"pvc://bundle/{ON_NODE.name}",
        "http://llm.models/v1": llm,
        "charts/hemline": f"charts/hemline --values {small}",
        '"customer_id": "…"': f'"customer_id": "{customers[0]}"',
    }


@pytest.fixture(scope="module")
def typed(names, tmp_path_factory) -> Callable[[str], str]:
    """Types commands, in a shell whose kubectl and helm have the namespace; what they print."""
    kubeconfig = tmp_path_factory.mktemp("kube") / "config"
    kubeconfig.write_text(run("kubectl", "config", "view", "--raw", "--flatten"))
    values = kubeconfig.parent / "values.json"
    values.write_text(json.dumps(recommender()))
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "SHOP_VALUES": str(values)}
    context = ["kubectl", "config", "set-context", "--current", f"--namespace={NAMESPACE}"]
    subprocess.run(context, env=environment, check=True)

    def type_in(commands: str) -> str:
        for example, here in names.items():
            commands = commands.replace(example, here)
        script = f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{commands}"
        shell = ["bash", "-eu", "-o", "pipefail", "-c", script]
        done = subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return type_in


def block(with_text: str) -> str:
    """The one block of commands that has this text."""
    blocks = [textwrap.dedent(found) for found in re.findall(r"^ *```\n(.*?)^ *```$", TEXT, re.M | re.S)]
    (found,) = [commands for commands in blocks if with_text in commands]
    return found


def test_the_pair_is_installed_and_recommends_in_the_pages_five_steps(typed):
    typed(block("create secret generic store"))
    typed(block("--set bundle.uri="))
    (line,) = [line for line in typed(block("port-forward")).splitlines() if line.startswith("{")]
    answer = json.loads(line)
    assert len(answer["predictions"][0]["ranking"]) == 10


def test_the_predictor_is_another_by_one_value_and_back(typed, namespace):
    there, back = block("--set predictor.kind=gbdt").splitlines()
    for command, kind in ((there, "llm"), (back, "gbdt")):
        typed(command)
        namespace.kubectl("rollout", "status", f"deployment/{SERVICE}-predictor", "--timeout=90s")
        (pod,) = eventually(lambda: one(namespace.pods(SERVICE, "predictor")), "one predictor is left")
        assert f"predictor-{kind}:" in pod["spec"]["containers"][0]["image"]


def one(pods: list) -> list:
    """The pods, where there is one."""
    return pods if len(pods) == 1 else []


def test_a_ranker_is_put_beside_it_and_the_config_map_switches(typed, namespace):
    typed(block("--set ranking.fromCluster=true"))
    namespace.wait_ready(f"{SERVICE}-llm", transformer=False)
    assert f"`{ROLLED_OUT}`" in TEXT
    typed(f"{ROLLED_OUT} --timeout=90s")
    typed(block("patch configmap"))
    data = namespace.get("configmap", f"{SERVICE}-ranking")["data"]
    assert data["active"] == "ranking=90,llm=10"
    takes = "the settings hold"
    eventually(lambda: any("ranking=90.0%" in json.dumps(line) for line in said(namespace)), takes)
    refused = [line for line in said(namespace) if line["level"] == "ERROR"]
    assert refused == []


def said(namespace) -> list[dict]:
    """The transformer's log lines."""
    return namespace.logs(SERVICE, "transformer")


def test_makes_target_upgrades_it_and_comes_back_when_it_is_through(typed, namespace):
    said = typed(f"make --no-print-directory create-deployments NAMESPACE={NAMESPACE} VALUES=$SHOP_VALUES")
    assert 'deployment "recs-transformer" successfully rolled out' in said
    assert len(namespace.pods(SERVICE, "transformer")) == 1


def test_it_is_rolled_back_and_taken_away(typed, namespace):
    for command in ("helm rollback recs", "helm uninstall recs"):
        assert f"`{command}`" in TEXT
        typed(command)
    gone = lambda: not namespace.pods(SERVICE, "transformer")  # noqa: E731
    eventually(gone, "it is away")
    assert namespace.get("secret", "store")["data"]["url"], "Secrets stay"
