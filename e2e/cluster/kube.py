"""kubectl and helm, as a platform engineer types them, against whatever KUBECONFIG points to."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "hemline"
POLL_SECONDS = 0.1

T = TypeVar("T")


class CommandError(AssertionError):
    """A command that failed, with what it said."""


def run(*command: str, stdin: str | None = None, seconds: float = 120) -> str:
    """What a command prints. CommandError where it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise CommandError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def eventually(look: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """What is found, once something is; AssertionError with what was awaited."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(POLL_SECONDS)
    return found


class Namespace:
    """One namespace of the cluster."""

    def __init__(self, name: str) -> None:
        """By its name; it may not be there yet."""
        self.name = name

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """What kubectl prints."""
        return run("kubectl", "--namespace", self.name, *arguments, stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str, seconds: float = 120) -> str:
        """What helm prints."""
        return run("helm", "--namespace", self.name, *arguments, seconds=seconds)

    def apply(self, *objects: dict) -> None:
        """Applies objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--filename=-", stdin=json.dumps(items))

    def get(self, kind: str, name: str = "", selector: str = "") -> dict:
        """An object, or the list of those that a selector finds."""
        chosen = [name] if name else []
        chosen += [f"--selector={selector}"] if selector else []
        return json.loads(self.kubectl("get", kind, *chosen, "--output=json"))

    def install(self, release: str, values: dict, *arguments: str) -> None:
        """Installs or upgrades a release with exactly these values."""
        command = ["upgrade", "--install", release, str(CHART), "--values=/dev/stdin", *arguments]
        run("helm", "--namespace", self.name, *command, stdin=json.dumps(values))

    def uninstall(self, release: str) -> None:
        """Takes a release away, and waits until its pods have left."""
        self.helm("uninstall", release, "--ignore-not-found")
        selector = f"serving.kserve.io/inferenceservice={release}"
        eventually(lambda: not self.get("pods", selector=selector)["items"], f"{release} has left")

    def wait_ready(self, service: str, seconds: float = 90, transformer: bool = True) -> None:
        """Waits as the chart's notes say."""
        conditions = ["Ready", "TransformerReady"] if transformer else ["Ready"]
        for condition in conditions:
            wait = ["wait", f"--for=condition={condition}", f"inferenceservice/{service}"]
            self.kubectl(*wait, f"--timeout={seconds:.0f}s", seconds=seconds + 10)

    def pods(self, service: str, component: str) -> list[dict]:
        """The pods of a component that are not leaving."""
        selector = f"serving.kserve.io/inferenceservice={service},component={component}"
        pods = self.get("pods", selector=selector)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def address(self, service: str, port: int = 80) -> str:
        """host:port of a Service by its cluster IP: the test may have no cluster DNS."""
        return f"{self.get('service', service)['spec']['clusterIP']}:{port}"

    def logs(self, service: str, component: str) -> list[dict]:
        """The log lines of a component's pods."""
        lines = []
        for pod in self.pods(service, component):
            lines += self.kubectl(
                "logs", pod["metadata"]["name"], "--container=kserve-container"
            ).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def patch(self, kind: str, name: str, change: dict) -> None:
        """Merges a change into an object."""
        self.kubectl("patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}")
