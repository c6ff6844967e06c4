"""From exec to the first recommendation, and memory."""

import time
from statistics import median

from arms import Arm, all_arms
from page import number, table

from bench import Bench

SLOW = ("kserve", "mlserver")  # they start for seconds, so less often
CONNECTIONS = 16
SETTLED = 1.0  # seconds from the first answer until memory is read


def measure(bench: Bench) -> dict:
    """Each start of each pair: seconds, and for the first ones memory before and after load."""
    arms = all_arms(bench.tools, bench.recipe)
    least = min(bench.amounts.rounds + 2, bench.amounts.starts)
    times = {arm.name: least if arm.name in SLOW else bench.amounts.starts for arm in arms}
    task = bench.progress.add_task("starts", total=sum(times.values()))
    rounds: dict[str, list[dict]] = {arm.name: [] for arm in arms}
    warm(bench, arms)
    for number_ in range(max(times.values())):
        for arm in arms:
            if number_ < times[arm.name]:
                rounds[arm.name].append(start(bench, arm, loaded=number_ < bench.amounts.rounds))
                bench.progress.advance(task)
    return {"labels": {arm.name: arm.label for arm in arms}, "rounds": rounds}


def warm(bench: Bench, arms: list[Arm]) -> None:
    """One start that does not count brings all files into the page cache."""
    for arm in arms:
        with bench.running([arm]):
            pass


def start(bench: Bench, arm: Arm, loaded: bool) -> dict:
    """One start."""
    try:
        found = {"seconds": arm.start(bench.work)}
        if loaded:
            time.sleep(SETTLED)
            found |= memory("idle", arm)
            bench.ask(arm, CONNECTIONS)
            found |= memory("after", arm)
        return found
    finally:
        arm.stop()


def memory(when: str, arm: Arm) -> dict:
    """MiB of all processes: resident, of it anonymous, and with shared pages divided."""
    seen = arm.memory_mb()
    found = {
        f"{when}_rss_mb": seen["VmRSS"],
        f"{when}_anonymous_mb": seen["RssAnon"],
        f"{when}_pss_mb": seen["Pss"],
    }
    return found | {
        f"{when}_{name.replace(' ', '_')}_mb": value for name, value in seen.items() if "of" in name
    }


def page(found: dict) -> list[str]:
    """Two tables."""
    starts, memories = [], []
    for arm, label in found["labels"].items():
        rounds = found["rounds"][arm]
        seconds = [one["seconds"] for one in rounds]
        starts.append([label, number(median(seconds), 2), number(max(seconds), 2), str(len(seconds))])
        loaded = [one for one in rounds if "after_rss_mb" in one]
        whens = ("idle", "after")
        shown = [f"{when}_{what}_mb" for when in whens for what in ("rss", "anonymous", "pss")]
        memories.append([label, *(number(median(one[name] for one in loaded)) for name in shown)])
    head = ["", "RSS idle, MiB", "of it anonymous", "PSS", "RSS after load", "of it anonymous", "PSS"]
    return [
        "### Cold start",
        "From exec of all processes at once to the first recommendation, with the files in the page cache:",
        table(["", "median, s", "worst, s", "starts"], starts),
        "### Memory",
        "Of all processes of a pair together; the libraries that both of them map count twice in RSS.",
        table(head, memories),
    ]
