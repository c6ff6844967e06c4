"""What `hemline evaluate --rankers` found: a table, plain sentences, a plot."""

from pathlib import Path

from rich.table import Table

from hemline.report import console

COLOURS = {
    "gbdt": "#3b6ea5",
    "llm-pointwise": "#d97706",
    "llm-listwise": "#b45309",
    "popularity": "#9aa5b1",
    "retrieval": "#6fa8dc",
}
DASH = "–"


def show(report: dict) -> None:
    """A line a ranker."""
    title = f"Test split ({report['split']}), {report['customers']:,} customers; ± is the standard error"
    if report["llm"]:
        title += f"; LLM: {report['llm']}"
    table = Table(title=title, title_justify="left")
    table.add_column("ranker")
    for name in (
        "NDCG@12",
        "MAP@12",
        "p50",
        "p99",
        "failed",
        "degraded",
        "no usable answer",
        "calls",
        "tokens computed + cached + written",
        "cost",
    ):
        table.add_column(name, justify="right")
    for name, numbers in report["rankers"].items():
        table.add_row(name, *row(numbers))
    console().print(table)


def row(numbers: dict) -> list[str]:
    """A ranker's numbers as texts; a dash for what it does not have."""
    latency, used = numbers.get("latency_ms"), numbers.get("per_request")
    shares = [numbers.get(name) for name in ("failed", "degraded", "parse_failures")]
    tokens = cost = calls = DASH
    if used:
        read, cached, written = (used[f"{kind}_tokens"] for kind in ("prompt", "cached", "completion"))
        calls, tokens = f"{used['calls']:.1f}", f"{read:,.0f} + {cached:,.0f} + {written:,.0f}"
        cost = f"{used['cost']:.6f}" if used["cost"] else DASH
    return [
        *(with_error(numbers[key]) for key in ("ndcg_at_12", "map_at_12")),
        *(milliseconds(latency[key]) if latency else DASH for key in ("p50", "p99")),
        *(DASH if share is None else f"{share:.1%}" for share in shares),
        calls,
        tokens,
        cost,
    ]


def with_error(value: dict[str, float]) -> str:
    """A mean with its standard error."""
    return f"{value['mean']:.4f} ± {value['standard_error']:.4f}"


def milliseconds(value: float) -> str:
    """A time, in seconds where it is long."""
    return f"{value / 1000:,.1f} s" if value >= 1000 else f"{value:,.1f} ms"


def verdict(report: dict) -> list[str]:
    """Are LLMs any good for this? What the numbers say of the model at hand."""
    sentences = []
    for name, numbers in report["rankers"].items():
        if not (name.startswith("llm-") and "latency_ms" in numbers):
            continue
        compared = [
            comparison(report, name, base)
            for base in ("retrieval", "popularity", "gbdt")
            if f"{name}_minus_{base}" in report["ndcg_at_12_differences"]
        ]
        latency = milliseconds(numbers["latency_ms"]["p50"])
        versus = "; ".join(compared) or "nothing to compare it with was asked for"
        sentences.append(f"{name} with {report['llm']}, at {latency} a request: {versus}.")
        if rate := numbers.get("parse_failures"):
            sentences.append(
                f"{name}: {rate:.1%} of the candidates had no usable answer, and so a default 0."
            )
    if report["split"] == "random":
        sentences.append(
            "Test purchases are a random part of the same days as training: popularity knows the very days."
        )
    return sentences


def comparison(report: dict, name: str, base: str) -> str:
    """One ranker beside another, with the interval of the difference."""
    difference = report["ndcg_at_12_differences"][f"{name}_minus_{base}"]
    sign = (difference["low"] > 0) - (difference["high"] < 0)
    said = {1: "better than", 0: "not to be told from", -1: "WORSE than"}[sign]
    low, high = difference["low"], difference["high"]
    return f"{said} {base} (NDCG@12 {difference['mean']:+.4f} [{low:+.4f}, {high:+.4f}])"


def draw(report: dict, path: Path) -> None:
    """Bars: a panel each for NDCG and MAP with standard errors, and one for latency."""
    from matplotlib.figure import Figure  # slow to import, needed here only

    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    rankers = report["rankers"]
    colours = [COLOURS[name] for name in rankers]
    for axes, (key, title) in zip(
        panels, {"ndcg_at_12": "NDCG@12", "map_at_12": "MAP@12"}.items(), strict=False
    ):
        values = [numbers[key] for numbers in rankers.values()]
        errors = [value["standard_error"] for value in values]
        axes.bar(list(rankers), [value["mean"] for value in values], yerr=errors, capsize=4, color=colours)
        axes.set_title(f"{title}, with standard errors")
    served = {name: numbers["latency_ms"] for name, numbers in rankers.items() if "latency_ms" in numbers}
    positions = range(len(served))
    for shift, key, alpha in ((-0.2, "p50", 1.0), (0.2, "p99", 0.5)):
        heights = [latency[key] for latency in served.values()]
        places = [position + shift for position in positions]
        panels[2].bar(places, heights, 0.38, alpha=alpha, color=[COLOURS[name] for name in served])
    panels[2].set_xticks(list(positions), list(served))
    panels[2].set_yscale("log")
    panels[2].set_title("latency, ms (p50, and p99 paler)")
    for axes in panels:
        axes.tick_params(axis="x", rotation=20)
        axes.spines[["top", "right"]].set_visible(False)
    llm = f", LLM: {report['llm']}" if report["llm"] else ""
    figure.suptitle(f"{report['customers']:,} customers, {report['split']} split{llm}")
    figure.savefig(path, dpi=120)
