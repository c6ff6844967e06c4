"""The numbers that releases are held to: Hemline beside its peers, each by round."""

from statistics import median

from sections.throughput import CAPACITY, rounds_of

PEER, FLOOR, OURS = "kserve", "floor", "hemline"


def spread(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Ours ÷ theirs by round: the median of the rounds' ratios, the least and the most.

    What is beside each other in a round met the same machine; rounds that only one has are left out.
    """
    shares = [one / other for one, other in zip(ours, theirs, strict=False)]
    return {"median": median(shares), "least": min(shares), "most": max(shares)}


def ratios(sections: dict) -> dict:
    """Everything that stands under `ratios` of latest.json."""
    found, starts = sections["throughput"], sections["starts"]

    def loaded(what: str, connections: int, other: str) -> dict[str, float]:
        ours, theirs = (rounds_of(found, arm, connections) for arm in (OURS, other))
        return spread([one[what] for one in ours], [one[what] for one in theirs])

    def started(what: str) -> dict[str, float]:
        return spread(*([one[what] for one in starts["rounds"][arm] if what in one] for arm in (OURS, PEER)))

    faster = {name: loaded("requests_per_second", CAPACITY, name) for name in (PEER, FLOOR)}
    names = {"throughput_vs_kserve_python": PEER, "throughput_vs_floor": FLOOR}
    return {
        **{name: faster[arm]["median"] for name, arm in names.items()},
        "p50_at_1_vs_kserve_python": loaded("p50_us", 1, PEER),
        "p99_at_16_vs_kserve_python": loaded("p99_us", CAPACITY, PEER),
        "memory_vs_kserve_python": started("after_rss_mb"),
        "cold_start_vs_kserve_python": started("seconds"),
        "spread": {name: faster[arm] for name, arm in names.items()},
    }
