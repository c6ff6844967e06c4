"""Hours in small: memory and latency of a pair that is busy all the time."""

import threading
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
from arms import Arm, hemline
from matplotlib import pyplot as plt
from page import COLORS, PLOT_STYLE, number

from bench import Bench
from sections.throughput import CAPACITY, OPEN_CONNECTIONS

SHARE = 0.8  # of the capacity
WINDOWS = 20  # of which each is told
# The share of the time in which memory may still grow: caches fill, threads meet their largest request.
EARLY = 0.2
PLOT = "benchmarks-pair-soak.svg"


def measure(bench: Bench) -> dict:
    """Open loop at a share of what the pair can do; memory is read all the while."""
    seconds = bench.amounts.soak
    window, arm = seconds / WINDOWS, hemline(bench.tools, bench.recipe)
    with bench.running([arm]):
        rate = SHARE * bench.ask(arm, CAPACITY)["requests_per_second"]
        memory: list[tuple[float, float]] = []
        over = threading.Event()
        watch = threading.Thread(target=watched, args=(bench, arm, seconds, window, memory, over))
        watch.start()
        try:
            seen = bench.ask(arm, OPEN_CONNECTIONS, seconds=seconds, rate=rate, refusals=True, windows=window)
        finally:
            over.set()
            watch.join()
    return {"seconds": seconds, "window": window, "rate": rate, "memory": memory, "seen": seen}


def watched(
    bench: Bench, arm: Arm, seconds: float, window: float, memory: list, over: threading.Event
) -> None:
    """Notes the seconds that have passed and RSS in MiB, again and again until it is over."""
    task, begun = bench.progress.add_task("soak", total=seconds), time.monotonic()
    while not over.wait(window / 2):
        passed = time.monotonic() - begun
        memory.append((passed, arm.memory_mb()["VmRSS"]))
        bench.progress.update(task, completed=passed)
    bench.progress.update(task, completed=seconds)


def growth(found: dict) -> float:
    """MiB an hour that memory grows by, after the first part: the slope of a line through what was read."""
    times, sizes = np.array([at for at in found["memory"] if at[0] >= EARLY * found["seconds"]]).T
    return float(np.polyfit(times / 3600, sizes, 1)[0])


def grown(found: dict) -> float:
    """By which share memory grew, from the end of the first part to the end, along that line."""
    sizes = [size for at, size in found["memory"] if at >= EARLY * found["seconds"]]
    return growth(found) * (1 - EARLY) * found["seconds"] / 3600 / sizes[0]


def slower(found: dict) -> float:
    """The p99 of the last quarter's windows, of that of the first quarter after the first part; medians."""
    slowest = [window["p99_us"] for window in found["seen"]["windows"] if window["p99_us"]]
    slowest = slowest[int(EARLY * len(slowest)) :]
    quarter = max(len(slowest) // 4, 1)
    return float(np.median(slowest[-quarter:]) / np.median(slowest[:quarter]))


def page(found: dict) -> list[str]:
    """What was seen, and the plot."""
    seen, sizes = found["seen"], [size for _, size in found["memory"]]
    slowest = [window["p99_us"] / 1000 for window in seen["windows"] if window["p99_us"]]
    text = (
        f"{found['seconds']:g} s open loop at {number(found['rate'])} requests a second, {SHARE:.0%} of "
        f"what the pair does at {CAPACITY} connections: {seen['requests']:,} answers, "
        f"{seen['requests'] - seen['good']} of them not 200. RSS {number(sizes[0], 1)} MiB at the start and "
        f"{number(sizes[-1], 1)} MiB at the end; after the first {EARLY:.0%} of the time it changes by "
        f"{grown(found):+.1%}. p99 by windows of {found['window']:g} s: "
        f"{min(slowest):.2f} to {max(slowest):.2f} ms; in the last quarter of the rest it is "
        f"{slower(found):.2f} of what it is in the first."
    )
    return ["### Soak", text, f"![Memory and latency all the while]({PLOT})"]


def plot(found: dict, folder: Path) -> None:
    """Memory and p99 over time."""
    mpl.rcParams.update(PLOT_STYLE)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(8, 4), layout="constrained", sharex=True)
    upper.plot(*zip(*found["memory"], strict=True), color=COLORS["hemline"])
    upper.set_ylabel("RSS, MiB")
    upper.set_ylim(bottom=0)
    windows = found["seen"]["windows"]
    times = [(number_ + 0.5) * found["window"] for number_ in range(len(windows))]
    for what in ("p50_us", "p99_us"):
        lower.plot(times, [(window[what] or 0) / 1000 for window in windows], label=what[:3], marker="o")
    lower.set_ylabel("ms")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("seconds")
    lower.legend(frameon=False)
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / PLOT, metadata={"Date": None})
    plt.close(figure)
