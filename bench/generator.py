"""Lets the load generator ask a server."""

import json
import resource
import subprocess
import sys
from pathlib import Path


def generate(load: Path, plan: dict, who: str, core: int | None = None) -> dict:
    """What the generator saw, and under `generator_seconds` its own CPU. Exits where it fails.

    `core` is the only one that it may run on.
    """
    pin = [] if core is None else ["taskset", "-c", str(core)]
    before = children_seconds()
    done = subprocess.run([*pin, load, json.dumps(plan)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{who}: {done.stderr}")
    return json.loads(done.stdout) | {"generator_seconds": children_seconds() - before}


def children_seconds() -> float:
    """CPU of this process's children that have ended: the generator, for no server ends while it asks."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
