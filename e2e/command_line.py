"""`hemline` as a person calls it, and what it started."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIPELINES = Path(__file__).resolve().parents[1] / "pipelines"
SAFETY_SECONDS = 90


class Hemline:
    """Calls it with what is under test; what still runs at the end is stopped."""

    def __init__(self, **options: object) -> None:
        self._options = options
        self._started: list[subprocess.Popen] = []

    def __call__(
        self, command: str, *more: str, environment: dict[str, str] | None = None, **changes: object
    ) -> subprocess.Popen:
        """Starts a command. `changes` are options other than usual; `environment` is added to ours."""
        arguments = [f"--{name}={value}" for name, value in (self._options | changes).items()]
        process = subprocess.Popen(
            [sys.executable, "-m", "hemline", command, *arguments, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PIPELINES,
            env=os.environ | (environment or {}),
            # As a terminal starts it: what runs in the background ignores Ctrl-C, and its children with it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        """Tells all of them to end: they have servers to stop."""
        for process in self._started:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SAFETY_SECONDS)


@contextmanager
def calling(**options: object) -> Iterator[Hemline]:
    """A way to call it that leaves nothing behind."""
    hemline = Hemline(**options)
    try:
        yield hemline
    finally:
        hemline.stop()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ready(process: subprocess.Popen) -> str:
    """What a run says until it is ready."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            return "".join(lines)
    raise AssertionError("".join(lines) + process.stderr.read())


def children(parent: int) -> list[int]:
    """Processes that it started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def command(pid: int) -> str:
    """How a process was called."""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout
