"""Twice as much as can be done: a ranker that takes a fixed time sets what can be."""

from arms import delayed
from page import number, table

from bench import Bench

WORKERS, MILLISECONDS = 2, 5
FACTOR = 2
CONNECTIONS = 16
# As many as may be waiting: with fewer it is the generator that waits, and nobody has to be refused.
OPEN_CONNECTIONS = 2048


def measure(bench: Bench) -> dict:
    """The most that closed loops get, then twice that rate, whatever is answered."""
    arm = delayed(bench.tools, bench.recipe, WORKERS, MILLISECONDS)
    rounds = []
    with bench.running([arm]):
        task = bench.progress.add_task("overload", total=bench.amounts.rounds)
        for _ in range(bench.amounts.rounds):
            most = bench.ask(arm, CONNECTIONS)
            over = bench.ask(arm, OPEN_CONNECTIONS, rate=FACTOR * most["requests_per_second"], refusals=True)
            rounds.append({"most": most, "over": over})
            bench.progress.advance(task)
    return {"rounds": rounds}


def share(found: dict) -> list[float]:
    """Goodput under overload as a share of the most, by round."""
    return [one["over"]["goodput"] / one["most"]["requests_per_second"] for one in found["rounds"]]


def page(found: dict) -> list[str]:
    """One table."""
    rows = []
    for one, part in zip(found["rounds"], share(found), strict=True):
        most, over = one["most"], one["over"]
        statuses = ", ".join(f"{status}: {count:,}" for status, count in over["statuses"].items())
        latencies = [
            number(value / 1000, 1) if value else "–"
            for value in (over["p50_us"], over["p99_us"], over["max_us"])
        ]
        rates = [
            number(most["requests_per_second"]),
            number(FACTOR * most["requests_per_second"]),
            number(over["goodput"]),
        ]
        rows.append([*rates, f"{part:.1%}", *latencies, statuses])
    text = (
        f"Hemline's transformer in front of a ranker with {WORKERS} threads that takes {MILLISECONDS} ms for "
        f"each list: {WORKERS * 1000 // MILLISECONDS} lists a second, and no more. "
        f"Closed loop with {CONNECTIONS} connections, then {FACTOR} times that rate over {OPEN_CONNECTIONS}. "
        "Latencies are those of the good answers."
    )
    head = [
        "most, requests/s",
        "offered",
        "goodput",
        "of the most",
        "p50, ms",
        "p99",
        "worst",
        "answers by status",
    ]
    return ["### Overload", text, table(head, rows)]
