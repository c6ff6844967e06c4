"""What follows from `values.yaml`: the chart's README and the schema of its values.

`python charts/generate.py` writes both, `--check` says whether they are current. A value's type is that of
its default; the settings of a server are the flags of its `--help`.
"""

import json
import re
import sys
from pathlib import Path

import yaml

CHARTS = Path(__file__).parent
CHART = CHARTS / "hemline"
README, SCHEMA = CHART / "README.md", CHART / "values.schema.json"
SERVERS = {
    "transformer": ["transformer"],
    "predictor": ["predictor-gbdt", "predictor-llm"],
    "storefront": ["storefront"],
}

# Flags that the chart gives by itself, or that have values of their own; and the key, which would stand in
# plain text in the arguments of the pods.
OWN_FLAGS = {
    *("help", "version", "model-name", "model-dir", "http-port", "grpc-port", "drain-delay", "drain-timeout"),
    *("store", "store-reads", "predictor-host", "llm-url", "llm-model", "llm-api-key"),
    *("ranking-model-type", "active-ranker", "ranker-by-history", "shadow-ranker", "fallback-rankers"),
    *("rankers-from-cluster", "ranking-config-map", "stylist-host"),
    # The shop's.
    *("transformer", "web", "images"),
}
CHOICES = {
    "kserve.deploymentMode": ["", "Standard", "RawDeployment"],
    "store.kind": ["sqlite", "postgres"],
    "ranker.protocol": ["v1", "v2", "grpc-v2"],
    "autoscaling.class": ["none", "hpa", "keda", "external"],
    "predictor.kind": ["gbdt", "llm", "custom"],
    "predictor.custom.protocol": ["v1", "v2", "grpc-v2"],
    "storefront.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "storefront.service.type": ["ClusterIP", "NodePort", "LoadBalancer"],
    "transformer.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "predictor.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
}
# Kubernetes' own shapes, which its API checks.
FREE = {"podSecurityContext", "securityContext", "resources"}
# A number or a percentage.
NUMBER_OR_TEXT = {"maxUnavailable"}


def flags(server: str) -> list[str]:
    """The flags in a server's help."""
    text = (CHARTS.parent / server / "tests" / "golden" / "help.txt").read_text()
    return re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", text, flags=re.MULTILINE)


def camel(flag: str) -> str:
    """A flag as values have it."""
    first, *rest = flag.split("-")
    return first + "".join(word.capitalize() for word in rest)


def schema_of(value: object, path: str) -> dict:
    """What may stand at a path, from its default."""
    name = path.rpartition(".")[2]
    if path in CHOICES:
        return {"enum": CHOICES[path]}
    if name == "settings":
        servers = SERVERS[path.partition(".")[0]]
        names = {camel(flag) for server in servers for flag in flags(server) if flag not in OWN_FLAGS}
        scalar = {"type": ["string", "number", "boolean"]}
        return {"type": "object", "properties": dict.fromkeys(sorted(names), scalar)} | CLOSED
    if name in NUMBER_OR_TEXT:
        return {"type": ["integer", "string"]}
    if isinstance(value, dict):
        if not value or name in FREE:
            return {"type": "object"}
        properties = {key: schema_of(below, f"{path}.{key}".strip(".")) for key, below in value.items()}
        return {"type": "object", "properties": properties} | CLOSED
    kinds = {bool: "boolean", int: "integer", str: "string", list: "array"}
    return {"type": kinds[type(value)]} | ({"minimum": 0} if type(value) is int else {})


CLOSED = {"additionalProperties": False}


def schema(values: dict) -> str:
    """The schema's text."""
    whole = {"$schema": "http://json-schema.org/draft-07/schema#"} | schema_of(values, "")
    # Helm gives it what `helm package` and subcharts add.
    whole["properties"]["global"].pop("additionalProperties")
    return json.dumps(whole, indent=2) + "\n"


def rows(text: str) -> list[tuple[str, str]]:
    """The described values of a values.yaml, in its order, with what is said of them."""
    found, path, words = [], [], ""
    for line in text.splitlines():
        if comment := re.match(r" *# -- (.*)", line):
            words = comment[1]
        elif key := re.match(r"( *)([A-Za-z]\w*):", line):
            path = [*path[: len(key[1]) // 2], key[2]]
            if words:
                found.append((".".join(path), words))
            words = ""
    return found


def readme(text: str, values: dict) -> str:
    """The README's text."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    lines = [
        "# hemline",
        "",
        f"{chart['description']}. How to deploy it is in [docs/deploy.md](../../docs/deploy.md).",
        "",
        "<!-- written by charts/generate.py -->",
        "",
        "| value | default | |",
        "| --- | --- | --- |",
    ]
    for path, words in rows(text):
        default = values
        for key in path.split("."):
            default = default[key]
        shown = json.dumps(default) if default != "" else '""'
        lines.append(f"| `{path}` | `{shown}` | {words.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes both, or says which is not current."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    made = {README: readme(text, values), SCHEMA: schema(values)}
    if "--check" not in sys.argv[1:]:
        for path, content in made.items():
            path.write_text(content)
        return 0
    stale = [path for path, content in made.items() if not path.exists() or path.read_text() != content]
    for path in stale:
        print(f"{path} is not current: run charts/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
