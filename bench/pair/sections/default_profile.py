"""Hemline with what it trains by default: towers that read histories, more sources and more features."""

from statistics import median

from arms import Data, hemline
from page import number, table

from bench import Bench, mid
from sections.throughput import LATENCIES, milliseconds

CONNECTIONS = (1, 16)


def measure(bench: Bench) -> dict:
    """Closed loop."""
    arm = hemline(bench.tools, Data(bench.folder, "default"), "default")
    with bench.running([arm]):
        found = bench.turns(
            "default profile", list(CONNECTIONS), lambda connections: bench.ask(arm, connections)
        )
        memory = arm.memory_mb()
    return {
        "closed": [{"connections": c, "rounds": rounds} for c, rounds in found.items()],
        "memory_mb": memory,
    }


def page(found: dict) -> list[str]:
    """One table."""
    rows = [
        [
            str(entry["connections"]),
            number(mid(entry["rounds"], "requests_per_second")),
            *(milliseconds(entry["rounds"], what) for what in LATENCIES),
            number(median(sum(one["cpu_ms"].values()) for one in entry["rounds"]), 2),
        ]
        for entry in found["closed"]
    ]
    head = ["connections", "requests/s", "p50, ms", "p90", "p99", "p99.9", "CPU a request, ms"]
    text = (
        "The models that `hemline` trains by default, which read what customers bought, "
        "with the store that has all of it. "
        f"No peer answers the same. RSS after load: {number(found['memory_mb']['VmRSS'])} MiB."
    )
    return ["### The default models", text, table(head, rows)]
