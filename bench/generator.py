"""Lets the load generator ask a server."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path


def generate(load: Path, plan: dict, who: str, cores: set[int] | None = None) -> dict:
    """What the generator saw, and under `generator_seconds` its own CPU. Exits where it fails.

    `cores` are those that it may run on.
    """
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    before = children_seconds()
    done = subprocess.run([load, json.dumps(plan)], capture_output=True, text=True, preexec_fn=pin)
    if done.returncode:
        sys.exit(f"{who}: {done.stderr}")
    return json.loads(done.stdout) | {"generator_seconds": children_seconds() - before}


def children_seconds() -> float:
    """CPU of this process's children that have ended: the generator, for no server ends while it asks."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
