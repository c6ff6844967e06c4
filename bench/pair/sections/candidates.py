"""How costs grow with the candidates that are retrieved and ranked."""

from statistics import median

from arms import hemline
from page import number, table

from bench import Bench, mid
from sections.throughput import milliseconds

COUNTS = (20, 50, 100, 200, 500, 1000)
CONNECTIONS = (1, 16)


def measure(bench: Bench) -> dict:
    """Closed loop."""
    arms = {
        count: hemline(bench.tools, bench.recipe, f"hemline-{count}", candidates=count) for count in COUNTS
    }
    cells = [(count, connections) for connections in CONNECTIONS for count in COUNTS]
    with bench.running(arms.values()):
        found = bench.turns(
            "candidates", cells, lambda cell: bench.ask(arms[cell[0]], cell[1], seconds=bench.amounts.shorter)
        )
    return {
        "cells": [{"candidates": n, "connections": c, "rounds": rounds} for (n, c), rounds in found.items()]
    }


def rounds_with(found: dict, candidates: int, connections: int) -> list[dict]:
    """The rounds of a cell."""
    wanted = (candidates, connections)
    return next(c["rounds"] for c in found["cells"] if (c["candidates"], c["connections"]) == wanted)


def page(found: dict) -> list[str]:
    """One table."""
    rows = []
    for count in COUNTS:
        one, many = (rounds_with(found, count, connections) for connections in CONNECTIONS)
        cpu = median(sum(seen["cpu_ms"].values()) for seen in many)
        shown = [milliseconds(one, "p50_us"), milliseconds(one, "p99_us")]
        rows.append(
            [
                str(count),
                *shown,
                number(mid(many, "requests_per_second")),
                milliseconds(many, "p99_us"),
                number(cpu, 2),
            ]
        )
    head = [
        "candidates",
        "p50 at 1, ms",
        "p99 at 1",
        "requests/s at 16",
        "p99 at 16, ms",
        "CPU a request at 16, ms",
    ]
    return ["### Candidates", "Hemline with `--candidates`:", table(head, rows)]
