"""What `hemline evaluate` found: tables, plain sentences, a plot."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from hemline.report import console, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCURACY = {
    "recall_at_12": "Recall@12",
    "recall_at_100": "Recall@100",
    "ndcg_at_12": "NDCG@12",
    "map_at_12": "MAP@12",
}
BEYOND = {
    "coverage_at_12": "coverage@12",
    "exposure_gini_at_12": "Gini of exposure@12",
    "novelty_at_12": "novelty@12, bits",
}
# The order of tables and plots, and what each list is called there.
NAMES = {
    "popularity": "popularity of 7 days",
    "recent_popularity": "recent popularity",
    "all_time_popularity": "popularity of all time",
    "item_cosine": "item-item cosine",
    "als": "ALS",
    "ease": "EASE^R",
    "without_history": "retrieval without history",
    "retrieval": "retrieval",
    "candidates": "candidates",
    "served": "served",
    "oracle": "oracle",
}
SEGMENTS = {"history": "bought before", "age_group": "age"}
HISTORIES = {"new": "nothing", "short": "1-5 articles", "long": "6 or more"}
COLOURS = {
    "popularity": "#9aa5b1",
    "recent_popularity": "#7b8794",
    "all_time_popularity": "#cbd2d9",
    "item_cosine": "#8fbc8f",
    "als": "#d99a6c",
    "ease": "#b5651d",
    "without_history": "#a9cbe8",
    "retrieval": "#6fa8dc",
    "candidates": "#5588c0",
    "served": "#3b6ea5",
    "oracle": "#d9c27a",
}
DASH = "–"


def show(metrics: dict) -> None:
    """The metrics as tables: accuracy, what is beyond it, and segments."""
    counts, lists = metrics["customers"], metrics["lists"]
    title = f"Test split ({metrics['split']}), {counts['evaluated']:,} customers; ± is the standard error"
    _table(
        title,
        ["list", *ACCURACY.values()],
        [[NAMES[n], *(_mean(lists[n][key]) for key in ACCURACY)] for n in _names(lists)],
    )
    beyond = metrics["beyond_accuracy"]
    rows = [[NAMES[n], *(_mean(beyond[n][key]) for key in BEYOND)] for n in _names(lists)]
    _table("What the first 12 show", ["list", *BEYOND.values()], rows)
    for by, title in SEGMENTS.items():
        parts = metrics["segments"][by]
        titles = [f"{HISTORIES.get(name, name)} ({part['customers']:,})" for name, part in parts.items()]
        rows = [[NAMES[n], *(_mean(part["ndcg_at_12"][n]) for part in parts.values())] for n in _names(lists)]
        _table(f"NDCG@12 by segment: {title} (and customers)", ["list", *titles], rows)
    for name, found in metrics.get("clicks", {}).items():
        gains = {key.split("_to_")[1]: value for key, value in found["gain"].items()}
        rows = [
            [count, _mean(value), _with_interval(gains[count], "+") if count in gains else DASH]
            for count, value in found["ndcg_at_12"].items()
        ]
        _table(f"{NAMES[name].capitalize()}, asked by strangers", ["clicks", "NDCG@12", "gain"], rows)
    say(
        f"Left out: {counts['without_new_purchase']:,} customers who bought nothing new. "
        f"Unknown before the test split: {counts['unknown_in_training']:,} of those evaluated."
    )
    for name, settings in metrics["baselines"].items():
        chosen = (f"{key} {value}" for key, value in settings.items() if key != "validation_ndcg_at_12")
        tuned = "chosen on the validation split" if settings.get("validation_ndcg_at_12") else "not tuned"
        say(f"{NAMES[name]}: {', '.join(chosen)}; {tuned}")


def verdict(metrics: dict) -> list[str]:
    """What the numbers say, in plain sentences."""
    differences = metrics["ndcg_at_12_differences"]
    said = {1: "is better than", 0: "can't be told from", -1: "is WORSE than"}
    sentences = [
        f"{what} {said[_sign(value)]} {name}: NDCG@12 {_with_interval(value, '+')}."
        for own, what in (("served", "What is served"), ("retrieval", "Retrieval's order"))
        for other, name in NAMES.items()
        if other != "retrieval" and (value := differences.get(f"{own}_minus_{other}"))
    ]
    order = differences["served_minus_retrieval"]
    sentences.append(
        {
            1: f"The ranker's order is better than retrieval's: NDCG@12 {_with_interval(order, '+')}.",
            0: f"The ranker's order can't be told from retrieval's: NDCG@12 {_with_interval(order, '+')}.",
            -1: f"The ranker makes the order WORSE than retrieval's: NDCG@12 {_with_interval(order, '+')}.",
        }[_sign(order)]
    )
    lists = metrics["lists"]
    if "oracle" in lists:
        found, possible = (lists[name]["recall_at_100"]["mean"] for name in ("candidates", "oracle"))
        popular, best = (lists[name]["ndcg_at_12"]["mean"] for name in ("popularity", "oracle"))
        if possible and best:
            sentences.append(
                f"Of what the oracle can find, candidates have {found / possible:.0%} (Recall@100); "
                f"of its NDCG@12, popularity has {popular / best:.0%}."
            )
    if metrics["split"] == "random":
        sentences.append(
            "The data have too few days for a temporal split: test purchases are a random part of the same "
            "days as training. That shows that every step runs, and how well a basket is completed; it can't "
            "show how well next week is predicted, and popularity here knows the very days it is asked about."
        )
    return sentences


def draw(metrics: dict, path: Path) -> None:
    """Bars with 95 % intervals: a panel a metric, and one with NDCG@12 by segment."""
    from matplotlib.figure import Figure  # slow to import, needed here only

    figure = Figure(figsize=(15, 11), layout="constrained")
    accuracy, beyond = list(ACCURACY), list(BEYOND)
    # Twelve columns, of which four panels take three each, three take four, and segments take all.
    rows = [
        [key for key in accuracy for _ in range(3)],
        [key for key in beyond for _ in range(4)],
        ["parts"] * 12,
    ]
    panels = figure.subplot_mosaic(rows)
    names = _names(metrics["lists"])
    for key, title in (ACCURACY | BEYOND).items():
        found = metrics["lists" if key in ACCURACY else "beyond_accuracy"]
        _bars(panels[key], title, names, [found[name][key] for name in names])
        if key not in (accuracy[0], beyond[0]):
            panels[key].set_yticklabels([])
    _segment_bars(panels["parts"], names, _segments(metrics))
    figure.legend(loc="outside lower center", ncols=len(names), fontsize=9, frameon=False)
    counts, split = metrics["customers"]["evaluated"], metrics["split"]
    figure.suptitle(f"{counts:,} customers, {split} split; whiskers: 95 % bootstrap intervals")
    figure.savefig(path, dpi=100)


def _bars(axes: "Axes", title: str, names: list[str], values: list) -> None:
    """One metric: a bar a list, the first on top; whiskers where there is an interval."""
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is None:
            continue
        if not isinstance(value, dict):
            value = {"mean": value, "low": value, "high": value}
        axes.barh(place, value["mean"], xerr=_whiskers([value]), capsize=3, color=COLOURS[name])
        text = f"{value['mean']:.3f}"
        axes.annotate(
            text, (value["high"], place), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(names)), [NAMES[name] for name in names])
    axes.set_title(title)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _segment_bars(axes: "Axes", names: list[str], segments: list[tuple[str, dict]]) -> None:
    """NDCG@12: a group of bars a segment, a bar a list."""
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        values = [part["ndcg_at_12"][name] for _, part in segments]
        places = [place + (i - (len(names) - 1) / 2) * width for place in range(len(segments))]
        means = [value["mean"] for value in values]
        whiskers, colour = {"elinewidth": 0.8}, COLOURS[name]
        axes.bar(
            places, means, width, yerr=_whiskers(values), error_kw=whiskers, color=colour, label=NAMES[name]
        )
    axes.set_xticks(range(len(segments)), [f"{label}\n{part['customers']:,}" for label, part in segments])
    axes.set_title("NDCG@12 by segment, with the number of customers")
    axes.spines[["top", "right"]].set_visible(False)


def _whiskers(values: list[dict[str, float]]) -> list[list[float]]:
    """Down and up from each mean. Of a constant, rounding can put the mean outside its interval."""
    return [
        [max(value["mean"] - value["low"], 0) for value in values],
        [max(value["high"] - value["mean"], 0) for value in values],
    ]


def _segments(metrics: dict) -> list[tuple[str, dict]]:
    """Every segment under the name that people read."""
    return [
        (f"{SEGMENTS[by]}:\n{HISTORIES.get(name, name)}", part)
        for by, parts in metrics["segments"].items()
        for name, part in parts.items()
    ]


def _names(lists: dict) -> list[str]:
    """The lists that there are, in the order of NAMES."""
    return [name for name in NAMES if name in lists]


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def _mean(value: dict[str, float] | float | None) -> str:
    """A number, with its standard error where it has one."""
    if value is None:
        return DASH
    if isinstance(value, dict):
        return f"{value['mean']:.4f} ±{value['standard_error']:.4f}"
    return f"{value:.4f}"


def _with_interval(value: dict[str, float], sign: str = "") -> str:
    return f"{value['mean']:{sign}.4f} [{value['low']:{sign}.4f}, {value['high']:{sign}.4f}]"


def _sign(difference: dict[str, float]) -> int:
    """1 or -1 where the interval leaves out 0, else 0."""
    return (difference["low"] > 0) - (difference["high"] < 0)
