"""What a million requests cost in cores."""

from statistics import median

from page import number, table

from bench import Bench
from sections.throughput import CAPACITY, rounds_of

DOLLARS_AN_HOUR = 0.04  # for a core
MILLION = 1e6


def measure(bench: Bench) -> dict:
    """Dollars by arm, of the CPU that requests took at 16 connections."""
    found = bench.results.get("throughput")
    if found is None:
        raise SystemExit("--sections: `cost` is computed of `throughput`, which has to be measured as well")
    costs = {}
    for arm in found["labels"]:
        seconds = median(sum(one["cpu_ms"].values()) for one in rounds_of(found, arm, CAPACITY)) / 1000
        costs[arm] = {
            "core_hours": seconds * MILLION / 3600,
            "dollars": seconds * MILLION / 3600 * DOLLARS_AN_HOUR,
        }
    return {"labels": found["labels"], "dollars_a_core_hour": DOLLARS_AN_HOUR, "million": costs}


def page(found: dict) -> list[str]:
    """One table."""
    rows = [
        [found["labels"][arm], number(cost["core_hours"], 2), number(cost["dollars"] * 100, 2)]
        for arm, cost in found["million"].items()
    ]
    text = (
        f"Core hours from the CPU of all processes at {CAPACITY} connections, "
        f"at ${found['dollars_a_core_hour']:g} for a core and hour. "
        "Cores that are kept idle for peaks cost as much, and are not in it."
    )
    return ["### A million requests", text, table(["", "core hours", "cents"], rows)]
