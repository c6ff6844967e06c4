"""A cluster with KServe: a namespace of its own with the bundle and an LLM, a store beside the cluster."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
from kube import Namespace, eventually, run

from hemline import load
from hemline.postgres_server import PostgresServer

NAMESPACE = "hemline-e2e"
SERVICE = "recs"
LLM = "scripted-llm"
TAG = os.environ.get("HEMLINE_TAG", "0.1.0")
REGISTRY = os.environ.get("HEMLINE_REGISTRY", "localhost")
# Where pods find what runs beside the cluster: the node, where it is this machine.
NODE = os.environ.get("HEMLINE_NODE_ADDRESS", "")
WORK, BUNDLE, BINARIES = (Path(os.environ[f"HEMLINE_{name}"]) for name in ("WORK", "BUNDLE", "BINARIES"))
CLIENTS = Path(os.environ["HEMLINE_CLIENTS"])  # the Python that has Triton's client
# Where the node has the bundle's folder; the same place, where it is this machine.
ON_NODE = Path(os.environ.get("HEMLINE_BUNDLE_ON_NODE", BUNDLE))
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@dataclass(frozen=True)
class Store:
    """A PostgreSQL beside the cluster, loaded; its URL as pods have it, and as this machine has."""

    url: str
    local_url: str
    server: PostgresServer


@pytest.fixture(scope="session")
def node() -> str:
    """The address at which pods reach this machine."""
    if NODE:
        return NODE
    addresses = "{.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    return run("kubectl", "get", "nodes", f"--output=jsonpath={addresses}")


@pytest.fixture(scope="session")
def store(node, tmp_path_factory) -> Iterator[Store]:
    """Customers and purchases, for several replicas."""
    server = PostgresServer(tmp_path_factory.mktemp("store") / "postgres", {"listen_addresses": "*"})
    with server:
        database = server.create_database("shop")
        load.run(WORK, database)
        with psycopg.connect(server.url, autocommit=True) as admin:
            (path,) = admin.execute("SHOW hba_file").fetchone()
            with open(path, "a") as rules:
                rules.write("host all all all scram-sha-256\n")
            admin.execute("SELECT pg_reload_conf()")
        yield Store(database.replace("127.0.0.1", node), database, server)


@pytest.fixture(scope="session")
def customers() -> list[str]:
    """Some who have bought something."""
    return pq.read_table(WORK / "customers.parquet", columns=["customer_id"])["customer_id"][:5].to_pylist()


@pytest.fixture(scope="session")
def namespace(store) -> Iterator[Namespace]:
    """The namespace, under the `restricted` Pod Security Standard, with the bundle and the secrets."""
    space = Namespace(NAMESPACE)
    subprocess.run(["kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found"], check=True)
    subprocess.run(
        ["kubectl", "delete", "persistentvolume", "hemline-bundle", "--ignore-not-found"], check=True
    )
    metadata = {"name": NAMESPACE, "labels": RESTRICTED}
    space.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    claim = {"storageClassName": "", "accessModes": ["ReadOnlyMany"]}
    space.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "hemline-bundle"},
            "spec": claim
            | {
                "capacity": {"storage": "1Gi"},
                "hostPath": {"path": str(ON_NODE.parent)},
                "claimRef": {"namespace": NAMESPACE, "name": "bundle"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "bundle"},
            "spec": claim | {"volumeName": "hemline-bundle", "resources": {"requests": {"storage": "1Gi"}}},
        },
        secret("store", url=store.url),
        secret("llm", key="e2e-secret-key"),
    )
    bound = lambda: space.get("pvc", "bundle")["status"]["phase"] == "Bound"  # noqa: E731
    eventually(bound, "the volume is bound")
    yield space
    for release in (SERVICE, "recs-b"):
        space.uninstall(release)
    run("kubectl", "delete", "namespace", NAMESPACE, seconds=180)
    run("kubectl", "delete", "persistentvolume", "hemline-bundle")


def secret(name: str, **values: str) -> dict:
    """A Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


@pytest.fixture(scope="session")
def llm(namespace) -> str:
    """The URL of a scripted LLM in the namespace; its pod's log has a line of each call."""
    labels = {"app": LLM}
    container = {
        "name": LLM,
        "image": f"{REGISTRY}/hemline-{LLM}:{TAG}",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/v1/models", "port": 8080}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "securityContext": security},
    }
    namespace.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": LLM},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": LLM},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    namespace.kubectl("rollout", "status", f"deployment/{LLM}", "--timeout=60s")
    return f"http://{LLM}.{NAMESPACE}/v1"


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """Asks."""
    with httpx.Client(timeout=20) as http:
        yield http
