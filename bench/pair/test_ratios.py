from ratios import ratios, spread


def loaded(rate: float, p50: float = 1.0, p99: float = 1.0) -> dict:
    return {"requests_per_second": rate, "p50_us": p50, "p99_us": p99}


def test_a_ratio_is_of_one_round_and_the_median_of_those():
    # Each is beside what met the same machine: the medians by themselves would say 20 ÷ 2 = 10.
    assert spread([10.0, 20.0, 90.0], [1.0, 4.0, 2.0]) == {"median": 10.0, "least": 5.0, "most": 45.0}
    assert spread([30.0, 20.0, 10.0], [1.0, 2.0, 4.0]) == {"median": 10.0, "least": 2.5, "most": 30.0}
    assert spread([3.0, 9.0, 8.0], [1.0]) == {"median": 3.0, "least": 3.0, "most": 3.0}


def test_throughput_is_told_as_a_number_and_the_others_with_their_rounds():
    cells = {
        ("hemline", 1): [loaded(9, p50=1.0)],
        ("kserve", 1): [loaded(1, p50=8.0)],
        ("hemline", 16): [loaded(24, p99=1.0)],
        ("kserve", 16): [loaded(2, p99=20.0)],
        ("floor", 16): [loaded(32)],
    }
    closed = [{"arm": arm, "connections": c, "rounds": rounds} for (arm, c), rounds in cells.items()]
    starts = {
        # The second start had no load.
        "hemline": [{"seconds": 0.5, "after_rss_mb": 100.0}, {"seconds": 0.25}],
        "kserve": [{"seconds": 5.0, "after_rss_mb": 400.0}],
    }
    found = ratios({"throughput": {"closed": closed}, "starts": {"rounds": starts}})
    assert (found["throughput_vs_kserve_python"], found["throughput_vs_floor"]) == (12.0, 0.75)
    assert found["spread"]["throughput_vs_floor"] == {"median": 0.75, "least": 0.75, "most": 0.75}
    names = ("p50_at_1", "p99_at_16", "memory", "cold_start")
    assert [found[f"{name}_vs_kserve_python"]["median"] for name in names] == [0.125, 0.05, 0.25, 0.1]
