"""Goals beside what was measured: met or missed is computed, never written by hand."""

from statistics import median

from page import table
from sections import by_protocol, candidates, overload, soak

from bench import mid

# The ratio's name, what is told, the goal, and whether less is better.
RATIOS = (
    ("throughput_vs_kserve_python", "requests/s at 16 connections, × KServe SDK", 12, False),
    ("throughput_vs_floor", "requests/s at 16 connections, of the floor's", 0.60, False),
    ("p50_at_1_vs_kserve_python", "p50 at one connection, of KServe SDK's", 1 / 8, True),
    ("p99_at_16_vs_kserve_python", "p99 at 16 connections, of KServe SDK's", 1 / 10, True),
    ("memory_vs_kserve_python", "memory of the pair after load, of KServe SDK's", 1 / 3, True),
    ("cold_start_vs_kserve_python", "cold start, of KServe SDK's", 1 / 9, True),
)
MEMORY_MB, START_SECONDS = 120, 1.0
GROWS_BELOW = 10  # times the cost of 100 candidates, for 1,000
GOODPUT = 0.90
FLAT = 0.02  # by which memory may change in a soak, after its first part
STEADY = 1.25  # of what it was, for p99 at a soak's end: on a shared machine windows differ by a fifth
AS_FAST = 0.97  # of V1: two rounds of the same differ by as much


def judged(goal: str, measured: str, met: bool) -> list[str]:
    """A row."""
    return [goal, measured, "met" if met else "missed"]


def page(results: dict) -> str:
    """One table."""
    sections = results["sections"]
    rows = [*by_ratio(results["ratios"]), *absolute(sections["starts"])]
    rows += [protocols(sections["protocols"], protocol) for protocol in ("V2 binary", "gRPC")]
    rows += [many_candidates(sections["candidates"]), goodput(sections["overload"]), flat(sections["soak"])]
    return table(["goal", "measured", ""], rows).replace("---:", "---")


def by_ratio(ratios: dict) -> list[list[str]]:
    """What is beside a peer in the same round."""
    rows = []
    for name, what, goal, less in RATIOS:
        spread = ratios["spread"][name] if isinstance(ratios[name], float) else ratios[name]
        value, sign = spread["median"], "≤" if less else "≥"
        met = value <= goal if less else value >= goal
        measured = f"{value:.3g} ({spread['least']:.3g}–{spread['most']:.3g})"
        rows.append(judged(f"{what} {sign} {goal:.3g}", measured, met))
    return rows


def absolute(starts: dict) -> list[list[str]]:
    """Memory and starts as such."""
    rounds = starts["rounds"]["hemline"]
    memory = median(one["after_rss_mb"] for one in rounds if "after_rss_mb" in one)
    seconds = median(one["seconds"] for one in rounds)
    return [
        judged(f"memory of the pair after load ≤ {MEMORY_MB} MiB", f"{memory:.0f} MiB", memory <= MEMORY_MB),
        judged(f"cold start < {START_SECONDS:g} s", f"{seconds:.2f} s", seconds < START_SECONDS),
    ]


def protocols(found: dict, protocol: str) -> list[str]:
    """A protocol beside V1, at 16 connections: the pair, and the predictor alone."""
    shares = {}
    for who in (by_protocol.PAIR, by_protocol.ALONE):
        ours, v1 = (by_protocol.cells_of(found, who, name, 16) for name in (protocol, "V1"))
        shares[who] = median(
            a["requests_per_second"] / b["requests_per_second"] for a, b in zip(ours, v1, strict=True)
        )
    measured = ", ".join(f"{who} {share:.2f}" for who, share in shares.items())
    goal = f"{protocol} not slower than V1: requests/s of V1's at 16 connections ≥ {AS_FAST}"
    return judged(goal, measured, min(shares.values()) >= AS_FAST)


def many_candidates(found: dict) -> list[str]:
    """1,000 candidates beside 100."""
    many, usual = (mid(candidates.rounds_with(found, count, 1), "p50_us") for count in (1000, 100))
    times = many / usual
    return judged(
        f"p50 of 1,000 candidates < {GROWS_BELOW} × that of 100", f"{times:.1f} ×", times < GROWS_BELOW
    )


def goodput(found: dict) -> list[str]:
    """Overload."""
    share = median(overload.share(found))
    return judged(f"goodput at twice the capacity ≥ {GOODPUT:.0%} of it", f"{share:.1%}", share >= GOODPUT)


def flat(found: dict) -> list[str]:
    """The soak."""
    grown, seen = soak.grown(found), found["seen"]
    errors, slower = seen["requests"] - seen["good"], soak.slower(found)
    met = grown <= FLAT and slower <= STEADY and errors == 0
    goal = f"soak: memory grows by ≤ {FLAT:.0%}, p99 by ≤ {STEADY - 1:.0%}, no errors"
    return judged(goal, f"{grown:+.1%} and {slower - 1:+.0%} in {found['seconds']:g} s, {errors} errors", met)
