"""What a second core brings."""

from arms import all_arms
from page import number, table

from bench import Bench, mid

ARMS = ("hemline", "kserve", "floor")
CONNECTIONS = 16


def measure(bench: Bench) -> dict:
    """Closed loop, on the first core only and on the first two; the generator has the last one."""
    arms = {arm.name: arm for arm in all_arms(bench.tools, bench.recipe) if arm.name in ARMS}
    cells = [(cores, name) for cores in ("0", "0,1") for name in arms]
    pinned = {cell: arms[cell[1]].pinned(cell[0]) for cell in cells}
    with bench.running(pinned.values()):
        found = bench.turns(
            "cores", cells, lambda cell: bench.ask(pinned[cell], CONNECTIONS, seconds=bench.amounts.shorter)
        )
    labels = {name: arm.label for name, arm in arms.items()}
    return {
        "labels": labels,
        "cells": [{"cores": c, "arm": name, "rounds": rounds} for (c, name), rounds in found.items()],
    }


def page(found: dict) -> list[str]:
    """One table."""
    rates = {(c["cores"], c["arm"]): mid(c["rounds"], "requests_per_second") for c in found["cells"]}
    rows = [
        [
            label,
            number(rates["0", arm]),
            number(rates["0,1", arm]),
            number(rates["0,1", arm] / rates["0", arm], 2),
        ]
        for arm, label in found["labels"].items()
    ]
    text = (
        f"Requests a second at {CONNECTIONS} connections. The generator has the last core: "
        "with two of them, servers share it."
    )
    return ["### Cores", text, table(["", "one core", "two cores", "÷"], rows)]
