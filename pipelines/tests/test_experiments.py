"""What came of lists is counted by customer, for the one variant that they saw, within some days."""

import json
import sqlite3

import psycopg
import pytest

from hemline import experiments, load
from hemline.errors import DataError
from hemline.stores import Exposure, open_store

X, Y = "x" * 16, "y" * 16  # digests of lists
A, B = "ranking@aaaaaaaaaaaa", "llm@bbbbbbbbbbbb"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        url = f"sqlite://{tmp_path}/store.db"
    else:
        url = request.getfixturevalue("postgres").create_database()
    load.migrate(url)
    return url


def tell(store: str, *events: tuple[str, str, str, str | None, str]) -> None:
    """Events of customer, kind, article, list and time."""
    rows = [(f"{place}", *event) for place, event in enumerate(events)]
    columns = "event_id, customer_id, kind, article_id, list_id, occurred_at"
    if store.startswith("sqlite"):
        with sqlite3.connect(store.removeprefix("sqlite://")) as db:
            db.executemany(f"INSERT INTO interactions ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.close()
    else:
        with psycopg.connect(store) as db:
            db.cursor().executemany(
                f"INSERT INTO hemline.interactions ({columns}) VALUES (%s, %s, %s, %s, %s, %s)", rows
            )


def at(day: int, hour: int = 12) -> str:
    return f"2026-01-{day:02d}T{hour:02d}:00:00.000Z"


def test_a_click_counts_after_the_article_was_shown_and_within_the_days(store):
    tell(
        store,
        ("early", "click", "1", None, at(1, 11)),
        ("early", "shown", "1", f"{A}/{X}", at(1)),
        ("in time", "shown", "1", f"{A}/{X}", at(1)),
        ("in time", "click", "1", None, at(8)),
        ("late", "shown", "1", f"{A}/{X}", at(1)),
        ("late", "click", "1", None, at(9)),
        ("other", "shown", "1", f"{A}/{X}", at(1)),
        ("other", "click", "2", None, at(2)),
        ("buyer", "shown", "1", f"{A}/{X}", at(1)),
        ("buyer", "shown", "2", f"{A}/{Y}", at(2)),
        ("buyer", "purchase", "2", f"{A}/{Y}", at(3)),
    )
    with open_store(store) as opened:
        found = {e.customer_id: e for e in opened.exposures(None, 7)}
    assert {name for name, e in found.items() if e.clicked} == {"in time"}
    assert {name for name, e in found.items() if e.bought} == {"buyer"}
    assert found["buyer"] == Exposure("buyer", A, 2, 2, False, True)


def test_lists_before_the_day_and_lists_of_nobody_are_not_counted(store):
    tell(
        store,
        ("before", "shown", "1", f"{A}/{X}", at(1)),
        ("since", "shown", "1", f"{A}/{X}", at(5)),
        ("foreign", "shown", "1", "list 7", at(5)),
        ("without", "shown", "1", None, at(5)),
    )
    with open_store(store) as opened:
        assert [e.customer_id for e in opened.exposures("2026-01-05", 7)] == ["since"]


def test_a_ranker_may_have_any_name(store):
    tell(store, ("c", "shown", "1", f"a/b@c@aaaaaaaaaaaa/{X}", at(1)))
    with open_store(store) as opened:
        (variant,) = experiments.measure(opened.exposures(None, 7))["variants"]
    assert (variant["ranker"], variant["bundle"]) == ("a/b@c", "a" * 12)


def test_the_report_compares_with_the_control_and_leaves_out_who_saw_both(store, capsys):
    seen = [(f"a{n}", "shown", "1", f"{A}/{X}", at(1)) for n in range(40)]
    seen += [(f"b{n}", "shown", "1", f"{B}/{X}", at(1)) for n in range(30)]
    seen += [("both", "shown", "1", f"{v}/{X}", at(1)) for v in (A, B)]
    tell(store, *seen, *[(f"b{n}", "purchase", "1", None, at(2)) for n in range(20)])
    found = experiments.report(store, None, 7, control=None, as_json=True)
    assert json.loads(capsys.readouterr().out) == found
    control, other = found["variants"]
    assert (control["ranker"], control["bundle"], control["customers"]) == ("ranking", "a" * 12, 40)
    assert found["customers_of_several"] == 1
    assert other["purchases"]["share"] == pytest.approx(20 / 30)
    apart = other["purchases_minus_control"]
    assert apart["share"] == pytest.approx(20 / 30)
    assert 0 < apart["low"] < apart["share"] < apart["high"]
    assert other["clicks_minus_control"]["low"] < 0 < other["clicks_minus_control"]["high"]
    assert experiments.report(store, None, 7, "llm", False)["variants"][0]["ranker"] == "llm"
    assert "purchases are fewer than the control's" in capsys.readouterr().err


def test_a_control_that_showed_nothing_and_a_store_without_lists_are_said():
    with pytest.raises(DataError, match="no list was shown"):
        experiments.measure([])
    with pytest.raises(DataError, match="nothing was shown by 'nobody', only by ranking@"):
        experiments.measure([Exposure("c", A, 1, 1, False, False)], "nobody")


@pytest.mark.parametrize(
    ("count", "of", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)]
)
def test_intervals_are_wilsons(count, of, low, high):
    found = experiments.rate(count, of)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_intervals_of_differences_are_newcombes():
    found = experiments.difference(56, 70, 48, 80)  # his first example
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
