"""The chart: what it renders, what it refuses, and that its README and schema are current."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS.parent))
import generate  # noqa: E402

CHART = TESTS.parent / "hemline"
ROOT = TESTS.parents[1]
GOLDEN = TESTS / "golden"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
HELM = os.environ.get("HELM") or str(Path(sys.executable).with_name("helm"))
MONITORING = "monitoring.coreos.com/v1"
GBDT = CHART / "ci" / "gbdt-values.yaml"


def helm(*arguments: str) -> subprocess.CompletedProcess:
    """What helm says."""
    return subprocess.run([HELM, *arguments], capture_output=True, text=True)


def render(values: Path, *arguments: str) -> str:
    """All objects of a release called `recs`."""
    fixed = ("--namespace=shop", "--api-versions=serving.kserve.io/v1beta1", f"--api-versions={MONITORING}")
    done = helm("template", "recs", str(CHART), f"--values={values}", *fixed, *arguments)
    assert done.returncode == 0, done.stderr
    # Helm 4 leaves a blank line between objects, Helm 3 none.
    return re.sub(r"\n+---\n", "\n---\n", done.stdout).rstrip("\n") + "\n"


def objects(text: str) -> dict[tuple[str, str], dict]:
    """Objects by kind and name."""
    found = [document for document in yaml.safe_load_all(text) if document]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def service_of(text: str) -> dict:
    """The one InferenceService."""
    (service,) = (each for (kind, _), each in objects(text).items() if kind == "InferenceService")
    return service


def arguments_of(text: str, component: str = "transformer") -> list[str]:
    """What a component's first container is started with."""
    return service_of(text)["spec"][component]["containers"][0]["args"]


def refusal(*settings: str, values: Path = GBDT) -> str:
    """Why helm does not render these."""
    arguments = [f"--set={setting}" for setting in settings]
    api = "--api-versions=serving.kserve.io/v1beta1"
    done = helm("template", "recs", str(CHART), f"--values={values}", api, *arguments)
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_what_is_rendered_is_what_it_was(values):
    golden, rendered = GOLDEN / values.name.replace("-values", ""), render(values)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(rendered)
    assert rendered == golden.read_text(), "UPDATE_GOLDEN=1 writes it anew"


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_helm_lint_has_nothing_to_say(values):
    done = helm("lint", "--strict", str(CHART), f"--values={values}", "--set=kserve.checkApi=false")
    assert done.returncode == 0, done.stdout


def test_readme_and_schema_are_current():
    done = subprocess.run([sys.executable, str(TESTS.parent / "generate.py"), "--check"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("predictor.knd=llm", "knd"),
        ("predictor.kind=lightgbm", "kind"),
        ("transformer.settings.candidats=3", "candidats"),
        ("transfomer.minReplicas=2", "transfomer"),
        ("transformer.minReplicas=two", "minReplicas"),
        ("bundle.url=pvc://x", "url"),
        ("drain.delaySeconds=-1", "delaySeconds"),
        ("transformer.settings.httpPort=9090", "httpPort"),
        ("predictor.settings.llmApiKey=s3cret", "llmApiKey"),
        ("predictor.probes.ready.periodSeconds=1", "ready"),
    ],
)
def test_a_value_that_is_misspelt_or_wrong_is_refused_by_its_name(setting, name):
    assert name in refusal(setting)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["bundle.uri="], "bundle: give one of uri, volume and path"),
        (["bundle.path=/bundle"], "bundle: give one of uri, volume and path"),
        (["store.existingSecret.name="], "store: give url or existingSecret.name"),
        (["store.kind=sqlite", "transformer.minReplicas=2"], "SQLite is a file of one machine"),
        (
            ["store.kind=sqlite", "transformer.maxReplicas=2", "autoscaling.class=hpa"],
            "several need a postgres:// store",
        ),
        (["store.kind=sqlite"], "store.volume: SQLite needs a volume"),
        (["store.url=sqlite:///x"], "store.url: store.kind is postgres"),
        (["predictor.kind=llm"], "predictor.llm.url"),
        (["predictor.kind=custom"], "predictor.image.repository"),
        (["collocated=true", "transformer.enabled=false"], "collocated: there is no transformer"),
        (["ranker.name=gbdt"], "ranker.name: a ranker gives scores"),
        (
            ["collocated=true", "predictor.kind=custom", "predictor.image.repository=ranker"],
            "8080 and 8081 are the transformer's",
        ),
        (["fullnameOverride=Recs"], "fullnameOverride"),
        ([f"fullnameOverride={'r' * 47}"], "fullnameOverride"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(settings, reason):
    assert reason in refusal(*settings)


def test_a_cluster_without_kserve_is_told_so():
    done = helm("template", "recs", str(CHART), f"--values={GBDT}")
    assert "this cluster has no KServe" in done.stderr


def test_one_value_swaps_the_predictor_and_touches_nothing_else():
    before = objects(render(GBDT))
    after = objects(render(GBDT, "--set=predictor.kind=llm", "--set=predictor.llm.url=http://llm/v1"))
    specs = [found[("InferenceService", "recs")]["spec"] for found in (before, after)]
    assert specs[0]["transformer"] == specs[1]["transformer"]
    images = [spec["predictor"]["containers"][0]["image"] for spec in specs]
    assert images == ["hemline-predictor-gbdt:0.1.0", "hemline-predictor-llm:0.1.0"]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_pod_satisfies_the_restricted_standard_and_has_its_resources_said(values):
    for component in service_of(render(values))["spec"].values():
        pod = component["securityContext"]
        assert (pod["runAsNonRoot"], pod["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        for container in component["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} == set(container["resources"]["limits"])


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_secrets_stand_in_no_inference_service(values):
    secrets = "postgres://me:s3cret@db/shop"
    rendered = render(
        values,
        "--set=store.existingSecret.name=",
        f"--set=store.url={secrets}",
        "--set=store.kind=postgres",
    )
    assert "s3cret" not in json.dumps(service_of(rendered))


def test_each_setting_is_the_flag_of_its_name_and_numbers_stay_as_they_are(tmp_path):
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    for component, servers in generate.SERVERS.items():
        names = schema[component]["properties"]["settings"]["properties"]
        # A file's numbers are floats to Helm, which it likes to write with an exponent.
        given = {component: {"settings": dict.fromkeys(names, 16777216)}}
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(given))
        values = f"--values={tmp_path / 'values.yaml'}"
        shop = component == "storefront"
        arguments = shop_arguments(values) if shop else arguments_of(render(GBDT, values), component)
        flags = {flag for server in servers for flag in generate.flags(server)} - generate.OWN_FLAGS
        assert {f"--{flag}=16777216" for flag in flags} <= set(arguments)


def test_a_predictor_is_called_by_the_name_that_its_transformer_asks_for():
    assert "--model-name=recs" in arguments_of(render(GBDT), "predictor")


@pytest.mark.parametrize("scheme", ["s3", "gs", "hf", "oci", "oci+native"])
def test_kserve_brings_the_bundle_to_both(scheme):
    uri = f"{scheme}://somewhere/shop/v3"
    for component in service_of(render(GBDT, f"--set=bundle.uri={uri}"))["spec"].values():
        assert {"name": "STORAGE_URI", "value": uri} in component["containers"][0]["env"]


def test_a_custom_predictor_is_asked_at_its_own_port_for_grpc():
    custom = CHART / "ci" / "custom-values.yaml"
    assert "--predictor-host=recs-predictor.shop:9001" in arguments_of(render(custom))
    assert not [each for each in arguments_of(render(GBDT)) if each.startswith("--predictor-host")]


def test_another_url_of_the_store_replaces_the_pods():
    def annotations(url: str) -> dict:
        url = f"--set=store.existingSecret.name=,store.url={url}"
        return service_of(render(GBDT, url))["spec"]["transformer"]["annotations"]

    assert annotations("postgres://one/shop") != annotations("postgres://two/shop")


def test_a_pod_has_longer_to_end_than_it_takes_to_drain():
    service = service_of(render(GBDT, "--set=drain.timeoutSeconds=60"))
    for component in service["spec"].values():
        assert "--drain-timeout=60s" in component["containers"][0]["args"]
        assert component["terminationGracePeriodSeconds"] > 63


def test_what_the_transformer_may_watch_is_its_own_config_map_and_rankers():
    found = objects(render(CHART / "ci" / "live-values.yaml"))
    (services, maps) = found[("Role", "recs-ranking")]["rules"]
    assert services["resources"] == ["inferenceservices"]
    assert maps["resourceNames"] == ["recs-ranking"]
    assert all(set(rule["verbs"]) == {"get", "list", "watch"} for rule in (services, maps))
    spec = service_of(render(CHART / "ci" / "live-values.yaml"))["spec"]
    tokens = {name: component["automountServiceAccountToken"] for name, component in spec.items()}
    assert tokens == {"transformer": True, "predictor": False}


def metrics() -> set[str]:
    """The metrics that the manual knows, with what histograms make of them."""
    names = set(re.findall(r"`([a-z]+_[a-z0-9_]+)`", (ROOT / "docs" / "operations.md").read_text()))
    return names | {f"{name}_{part}" for name in names for part in ("bucket", "sum", "count")}


def test_rules_and_dashboard_ask_for_metrics_that_there_are():
    found = objects(render(CHART / "ci" / "live-values.yaml"))
    rules = found[("PrometheusRule", "recs")]["spec"]["groups"][0]["rules"]
    dashboard = json.loads(found[("ConfigMap", "recs-dashboard")]["data"]["hemline.json"])
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {
        name
        for text in [*targets, *(rule["expr"] for rule in rules)]
        for name in re.findall(r"([a-z_0-9]+)\{", text)
    }
    assert asked <= metrics()
    assert all({"summary", "description"} == set(rule["annotations"]) for rule in rules)


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")
def test_prometheus_reads_the_rules(tmp_path):
    spec = objects(render(CHART / "ci" / "live-values.yaml"))[("PrometheusRule", "recs")]["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    shutil.copy(TESTS / "rules_test.yaml", tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


SHOP = CHART / "ci" / "storefront-values.yaml"


def shop_arguments(*arguments: str) -> list[str]:
    """What the shop's container is started with."""
    rendered = objects(render(SHOP, *arguments))
    return rendered["Deployment", "recs-storefront"]["spec"]["template"]["spec"]["containers"][0]["args"]


def test_there_is_no_shop_unless_it_is_asked_for():
    assert not [name for _, name in objects(render(GBDT)) if "storefront" in name]


def test_the_shop_asks_the_transformer_of_its_release_or_the_one_it_is_told_of():
    assert "--transformer=http://recs-transformer.shop" in shop_arguments()
    assert "--transformer=http://recs-predictor.shop" in shop_arguments("--set=collocated=true")
    elsewhere = shop_arguments("--set=storefront.transformerUrl=https://recs.example.com")
    assert "--transformer=https://recs.example.com" in elsewhere
    reason = refusal("storefront.enabled=true", "transformer.enabled=false", "ranker.name=next")
    assert "storefront.transformerUrl" in reason


def test_the_shops_pods_are_those_of_its_service_and_of_no_component_of_kserves():
    rendered = objects(render(SHOP))
    deployment = rendered["Deployment", "recs-storefront"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        rendered["Service", "recs-storefront"]["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        rendered["PodDisruptionBudget", "recs-storefront"]["spec"]["selector"]["matchLabels"],
        rendered["NetworkPolicy", "recs-storefront"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert "component" not in labels
    assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_the_shop_is_let_in_where_only_some_are():
    policy = objects(render(SHOP))["NetworkPolicy", "recs-transformer"]
    let_in = [peer["podSelector"]["matchLabels"] for peer in policy["spec"]["ingress"][0]["from"]]
    assert {"app": "gateway"} in let_in
    assert any(labels.get("app.kubernetes.io/component") == "storefront" for labels in let_in)


def test_who_writes_outfits_is_told_to_the_transformer_whoever_ranks():
    assert "--stylist-host=stylist-predictor.shop:80" in arguments_of(render(SHOP))
    assert not [flag for flag in arguments_of(render(GBDT)) if flag.startswith("--stylist")]


def test_a_setting_that_the_shop_does_not_have_is_refused():
    assert "todai" in refusal("storefront.settings.todai=2020-09-22")
    assert "transformer" in refusal("storefront.settings.transformer=http://x")


def test_the_pair_over_a_socket_is_as_the_manual_has_it(tmp_path):
    manual = (ROOT / "docs" / "deploy.md").read_text()
    values = tmp_path / "socket.yaml"
    values.write_text(manual.split("```yaml\n# socket.yaml\n")[1].split("```")[0])
    predictor = service_of(render(GBDT, f"--values={values}"))["spec"]["predictor"]
    containers = {each["name"]: each for each in predictor["containers"]}
    kserve, transformer = containers["kserve-container"], containers["transformer-container"]
    # Of a flag that comes twice the last stands.
    hosts = [each for each in transformer["args"] if each.startswith("--predictor-host=")]
    assert f"--uds={hosts[-1].removeprefix('--predictor-host=unix:')}" in kserve["args"]
    mount = {"name": "socket", "mountPath": "/run/hemline"}
    assert mount in kserve["volumeMounts"]
    assert mount in transformer["volumeMounts"]
    assert {"name": "socket", "emptyDir": {}} in predictor["volumes"]
