"""How costs grow with the catalogue."""

import json
from statistics import median

from arms import Arm, Data, hemline
from page import number, table

from bench import Bench, mid
from sections.steps import sums
from sections.throughput import milliseconds

SIZES = (10_000, None, 1_000_000)  # None is the data's own
CONNECTIONS = 16


def measure(bench: Bench) -> dict:
    """Start, the search step at one connection, throughput at 16, memory."""
    arms = {}
    for size in SIZES:
        data = Data(bench.folder, articles=size)
        count = json.loads((data.bundle / "manifest.json").read_text())["counts"]["articles"]
        arms[count] = hemline(bench.tools, data, f"hemline-{count}")
    seen = bench.turns("catalogue", list(arms), lambda count: one(bench, arms[count]))
    return {"cells": [{"articles": count, "rounds": rounds} for count, rounds in seen.items()]}


def one(bench: Bench, arm: Arm) -> dict:
    """One start of one size."""
    try:
        seconds, shorter = arm.start(bench.work), bench.amounts.shorter
        bench.ask(arm, CONNECTIONS, seconds=shorter)  # so that what is deferred to the first requests is done
        before = sums(arm.ports["http"])
        single = bench.ask(arm, 1, seconds=shorter)
        after = sums(arm.ports["http"])
        answered = single["requests"] + single["uncounted"]
        many = bench.ask(arm, CONNECTIONS, seconds=shorter)
        return {
            "seconds": seconds,
            "retrieve_us": (after["retrieve"] - before["retrieve"]) / answered * 1e6,
            "p50_us": single["p50_us"],
            "requests_per_second": many["requests_per_second"],
            "p99_us": many["p99_us"],
            **arm.memory_mb(),
        }
    finally:
        arm.stop()


def page(found: dict) -> list[str]:
    """One table."""
    rows = []
    for cell in found["cells"]:
        rounds = cell["rounds"]
        rows.append(
            [
                f"{cell['articles']:,}",
                number(median(seen["retrieve_us"] for seen in rounds)),
                milliseconds(rounds, "p50_us"),
                number(mid(rounds, "requests_per_second")),
                milliseconds(rounds, "p99_us"),
                *(number(mid(rounds, name)) for name in ("VmRSS", "RssAnon")),
                number(mid(rounds, "seconds"), 2),
            ]
        )
    head = [
        "articles",
        "retrieval, µs",
        "p50 at 1, ms",
        "requests/s at 16",
        "p99 at 16, ms",
        "RSS, MiB",
        "of it anonymous",
        "start, s",
    ]
    text = (
        "Hemline with catalogues that were drawn from the articles of the data, each moved a little. "
        "Retrieval is the mean step at one connection: query, neighbours and features."
    )
    return ["### Catalogue", text, table(head, rows)]
