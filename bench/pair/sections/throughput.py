"""Requests a second and how long they take: the recipe's profile, closed loop and open."""

from pathlib import Path
from statistics import median

import matplotlib as mpl
from arms import Arm, all_arms
from matplotlib import pyplot as plt
from page import COLORS, PLOT_STYLE, number, table

from bench import Bench, mid

CONNECTIONS = (1, 4, 16, 64)
CAPACITY = 16  # connections, at which capacities are told
SHARES = (0.25, 0.50, 0.75, 0.90)
COMMON = 0.5  # of what KServe's SDK can do, offered to all
OPEN_CONNECTIONS = 256
LATENCIES = ("p50_us", "p90_us", "p99_us", "p999_us")
PLOT = "benchmarks-pair-throughput.svg"
PLOT_OPEN = "benchmarks-pair-latency.svg"


def measure(bench: Bench) -> dict:
    """Closed loop, then open loop at shares of what each did at 16 connections."""
    arms = {arm.name: arm for arm in all_arms(bench.tools, bench.recipe)}
    cells = [(name, connections) for connections in CONNECTIONS for name in arms]
    with bench.running(arms.values()):
        closed = bench.turns("throughput", cells, lambda cell: bench.ask(arms[cell[0]], cell[1]))
        capacity = {name: mid(closed[name, CAPACITY], "requests_per_second") for name in arms}
        offered = [
            (name, f"{share:.0%} of its own", share * capacity[name]) for share in SHARES for name in arms
        ]
        offered += [(name, "the same", COMMON * capacity["kserve"]) for name in arms]
        opened = bench.turns("fixed rates", offered, lambda cell: at_rate(bench, arms[cell[0]], cell[2]))
    return {
        "labels": {arm.name: arm.label for arm in arms.values()},
        "closed": [{"arm": n, "connections": c, "rounds": rounds} for (n, c), rounds in closed.items()],
        "open": [
            {"arm": n, "offered": o, "rate": r, "rounds": rounds} for (n, o, r), rounds in opened.items()
        ],
    }


def at_rate(bench: Bench, arm: Arm, rate: float) -> dict:
    """Open loop."""
    return bench.ask(arm, OPEN_CONNECTIONS, rate=rate, refusals=True)


def rounds_of(found: dict, arm: str, connections: int) -> list[dict]:
    """What an arm's rounds saw, closed loop."""
    entries = found["closed"]
    return next(e["rounds"] for e in entries if (e["arm"], e["connections"]) == (arm, connections))


def page(found: dict) -> list[str]:
    """Tables of both loops."""
    labels = found["labels"]
    rows = []
    for connections in CONNECTIONS:
        for arm, label in labels.items():
            seen = rounds_of(found, arm, connections)
            rates = [one["requests_per_second"] for one in seen]
            cpu = [sum(one["cpu_ms"].values()) for one in seen]
            rows.append(
                [
                    f"{connections}: {label}",
                    f"{number(median(rates))} ({number(min(rates))}–{number(max(rates))})",
                    *(milliseconds(seen, what) for what in LATENCIES),
                    number(median(cpu), 2),
                    number(mid(seen, "generator_cpu_us"), 0),
                ]
            )
    head = [
        "connections",
        "requests/s",
        "p50, ms",
        "p90",
        "p99",
        "p99.9",
        "CPU a request, ms",
        "generator's, µs",
    ]
    busiest = max(one["generator_cores"] for entry in found["closed"] for one in entry["rounds"])
    told = f"The generator never used more than {busiest:.2f} of its core."
    parts = ["### Throughput and latency", f"![Requests a second]({PLOT})", told, table(head, rows)]
    return [*parts, "CPU a request, by process, at 16 connections:", by_process(found), *fixed_rates(found)]


def milliseconds(rounds: list[dict], what: str) -> str:
    """A latency."""
    value = mid(rounds, what)
    return number(None if value is None else value / 1000, 2)


def by_process(found: dict) -> str:
    """Who of the pair uses how much."""
    rows = []
    for arm, label in found["labels"].items():
        seen = rounds_of(found, arm, CAPACITY)
        parts = {name: median(one["cpu_ms"][name] for one in seen) for name in seen[0]["cpu_ms"]}
        rows.append([label, ", ".join(f"{name} {value:.2f}" for name, value in parts.items())])
    return table(["ms", ""], rows).replace("---:", "---")


def fixed_rates(found: dict) -> list[str]:
    """The open loop."""
    rows = [
        [
            f"{entry['offered']}: {found['labels'][entry['arm']]}",
            number(entry["rate"]),
            *(milliseconds(entry["rounds"], what) for what in LATENCIES),
            str(sum(one["requests"] - one["good"] for one in entry["rounds"])),
        ]
        for entry in found["open"]
    ]
    head = ["offered", "requests/s", "p50, ms", "p90", "p99", "p99.9", "refused"]
    return [
        "### Latency at fixed rates",
        "Requests come when they are due, whatever the server does, and what they wait counts. "
        "“The same” is half of what the pair on KServe's SDK can do.",
        f"![Latency at fixed rates]({PLOT_OPEN})",
        table(head, rows),
    ]


def plot(found: dict, folder: Path) -> None:
    """Bars of requests a second; lines of latency over the share of the capacity that is offered."""
    mpl.rcParams.update(PLOT_STYLE)
    figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    width = 0.8 / len(found["labels"])
    for position, (arm, label) in enumerate(found["labels"].items()):
        rates = [
            mid(rounds_of(found, arm, connections), "requests_per_second") for connections in CONNECTIONS
        ]
        places = [group + (position - 1.5) * width for group in range(len(CONNECTIONS))]
        axis.bar(places, rates, width * 0.95, label=label, color=COLORS[arm])
    axis.set_xticks(
        range(len(CONNECTIONS)), [f"{c} connections" if c > 1 else "1 connection" for c in CONNECTIONS]
    )
    axis.set_ylabel("requests a second")
    finish(figure, axis, folder / PLOT)
    figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for arm, label in found["labels"].items():
        entries = [e for e in found["open"] if e["arm"] == arm and e["offered"] != "the same"]
        for what, style in (("p50_us", "-"), ("p99_us", "--")):
            values = [(mid(entry["rounds"], what) or 0) / 1000 for entry in entries]
            name = f"{label}, {what[:3]}"
            axis.plot(
                [share * 100 for share in SHARES], values, style, marker="o", label=name, color=COLORS[arm]
            )
    axis.set_yscale("log")
    axis.set_xlabel("offered, % of its own throughput at 16 connections")
    axis.set_ylabel("ms")
    finish(figure, axis, folder / PLOT_OPEN)


def finish(figure, axis, file: Path) -> None:
    """The legend, and the file."""
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
