"""From what was measured to tables, a plot and the page."""

import json
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib import pyplot as plt
from page import COLORS, PLOT_STYLE, machine, number, table, write_between
from rich.console import Console
from rich.markdown import Markdown

BEGIN, END = "<!-- bench-dataplane: begin -->", "<!-- bench-dataplane: end -->"
PLOT = "benchmarks-dataplane.svg"
FIRST, BY_HAND = "hemline", "handwritten"


class Results:
    """What was measured, by kind of request and server."""

    def __init__(self, results: dict):
        self.results = results
        self.labels: dict[str, str] = results["labels"]
        self.cells: dict[tuple, dict[str, list[dict]]] = {}
        for entry in results["load"]:
            kind = (entry["payload"], entry["protocol"], entry["connections"])
            self.cells.setdefault(kind, {})[entry["arm"]] = entry["rounds"]

    def kinds(self, connections: int) -> list[tuple]:
        """Kinds of request with so many connections."""
        return [kind for kind in self.cells if kind[2] == connections]

    def median(self, kind: tuple, arm: str, what: str) -> float | None:
        """The median of the rounds; None where the server can't be asked this."""
        rounds = self.cells[kind].get(arm)
        return median(seen[what] for seen in rounds) if rounds else None

    def ratio(self, kind: tuple, arm: str, what: str) -> str:
        """Hemline's share of the server's: the median of the rounds' ratios, the least and the most."""
        ratios = self.ratios(kind, arm, what)
        if not ratios:
            return "–"
        digits = 0 if median(ratios) >= 10 else 2
        return f"{median(ratios):.{digits}f} ({min(ratios):.{digits}f}–{max(ratios):.{digits}f})"

    def ratios(self, kind: tuple, arm: str, what: str) -> list[float]:
        """Hemline's share of the server's, by round."""
        ours, theirs = self.cells[kind][FIRST], self.cells[kind].get(arm, [])
        return [one[what] / other[what] for one, other in zip(ours, theirs, strict=False)]


def throughput(results: Results, connections: int) -> str:
    """Requests a second of every server, and Hemline's share of each."""
    peers = [arm for arm in results.labels if arm != FIRST]
    head = ["request", *results.labels.values(), *(f"÷ {results.labels[peer]}" for peer in peers)]
    rows = [
        [
            f"{kind[0]}, {kind[1]}",
            *(number(results.median(kind, arm, "requests_per_second")) for arm in results.labels),
            *(results.ratio(kind, peer, "requests_per_second") for peer in peers),
        ]
        for kind in results.kinds(connections)
    ]
    return table(head, rows)


def cpu(results: Results, connections: int) -> str:
    """What a request costs a server, and Hemline's share of each."""
    head = ["request", *results.labels.values(), f"÷ {results.labels[BY_HAND]}", "generator"]
    rows = [
        [
            f"{kind[0]}, {kind[1]}",
            *(number(results.median(kind, arm, "server_cpu_us"), 1) for arm in results.labels),
            results.ratio(kind, BY_HAND, "server_cpu_us"),
            number(results.median(kind, FIRST, "generator_cpu_us"), 1),
        ]
        for kind in results.kinds(connections)
    ]
    return table(head, rows)


def latency(results: Results, connections: int) -> str:
    """The middle request and the slowest hundredth, of every server."""
    rows = []
    for kind in results.kinds(connections):
        row = [f"{kind[0]}, {kind[1]}"]
        for arm in results.labels:
            p50, p99 = (results.median(kind, arm, what) for what in ("p50_us", "p99_us"))
            row.append("–" if p50 is None else f"{number(p50)} / {number(p99)}")
        rows.append(row)
    return table(["request", *results.labels.values()], rows)


def starts(results: Results) -> str:
    """Start to ready, and memory."""
    rows = []
    for arm, label in results.labels.items():
        took, memory = results.results["starts_ms"][arm], results.results["memory_mb"][arm]
        sizes = (memory["idle"]["VmRSS"], memory["after"]["VmRSS"], memory["after"]["VmHWM"])
        times = (number(median(took), 1), number(max(took), 1), str(len(took)))
        rows.append([label, *times, *(number(size, 1) for size in sizes)])
    return table(["", "median, ms", "worst, ms", "starts", "RSS idle, MiB", "after load", "peak"], rows)


def goals(results: Results, connections: int) -> str:
    """The goals, and what was measured."""

    def share(arm: str) -> list[str]:
        lines = []
        for protocol in dict.fromkeys(kind[1] for kind in results.kinds(connections)):
            kinds = [kind for kind in results.kinds(connections) if kind[1] == protocol]
            shares = {kind[0]: results.ratios(kind, arm, "requests_per_second") for kind in kinds}
            parts = [f"{name} {median(ratios):.2f}" for name, ratios in shares.items() if ratios]
            if parts:
                lines.append(f"{protocol}: {', '.join(parts)}")
        return lines

    ready = results.results["starts_ms"][FIRST]
    rows = [
        ["requests/s ≥ 0.90 of the route by hand", "; ".join(share(BY_HAND))],
        ["more requests/s than furnace-server", "; ".join(share("furnace"))],
        ["ready within 10 ms", f"{median(ready):.1f} ms (worst {max(ready):.1f} ms)"],
    ]
    return table(["goal", f"measured, {connections} connections"], rows).replace("---:", "---")


def page(results: Results) -> str:
    """What stands between the page's marks."""
    settings = results.results["settings"]
    busiest = max(
        seen["generator_cores"] for cell in results.cells.values() for r in cell.values() for seen in r
    )
    shown = settings["connections"][len(settings["connections"]) // 2]
    parts = [
        f"{settings['started']}; {machine()}. {settings['rounds']} rounds of {settings['seconds']:g} s "
        f"for each server and kind of request. Load average before: {settings['load_average']:.2f}. "
        f"The generator never used more than {busiest:.2f} of a core.",
    ]
    if settings["not_offered"]:
        parts.append(f"Not offered by Hemline, and so not measured: {', '.join(settings['not_offered'])}.")
    parts += [goals(results, shown), f"![Requests a second, {shown} connections]({PLOT})"]
    parts += ["### Start to ready, and memory", starts(results)]
    for connections in settings["connections"]:
        some = f"{connections} connection{'s' if connections > 1 else ''}"
        parts += [f"### Requests a second, {some}", throughput(results, connections)]
        parts += [f"### CPU a request, µs (user and system), {some}", cpu(results, connections)]
        parts += [f"### Latency, µs (p50 / p99), {some}", latency(results, connections)]
    return "\n\n".join(parts)


def plot(results: Results, file: Path, connections: int) -> None:
    """Requests a second as bars: a panel a payload, a group a protocol, a colour a server."""
    mpl.rcParams.update(PLOT_STYLE)
    names = list(dict.fromkeys(kind[0] for kind in results.kinds(connections)))
    figure, axes = plt.subplots(1, len(names), figsize=(10, 3.4), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        kinds = [kind for kind in results.kinds(connections) if kind[0] == name]
        for position, (arm, label) in enumerate(results.labels.items()):
            rates = [results.median(kind, arm, "requests_per_second") or 0 for kind in kinds]
            places = [group + (position - 1.5) * 0.2 for group in range(len(kinds))]
            axis.bar(places, rates, 0.19, label=label, color=COLORS[arm])
        axis.set_title(f"{name}: {results.results['payloads'][name]}", fontsize=9)
        axis.set_xticks(range(len(kinds)), [kind[1] for kind in kinds])
        axis.spines[["top", "right"]].set_visible(False)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes[0][0].set_ylabel(f"requests a second, {connections} connections")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(file, metadata={"Date": None})


def write(measured: dict, root: Path, quick: bool) -> None:
    """Prints everything; unless it was a quick run, writes the page, its plot and the numbers as well."""
    results = Results(measured)
    text = page(results)
    Console().print(Markdown(text))
    if quick:
        return
    file = root / "bench" / "results" / "dataplane.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"machine": machine(), **measured}, indent=1) + "\n")
    connections = measured["settings"]["connections"]
    plot(results, root / "docs" / PLOT, connections[len(connections) // 2])
    write_between(root / "docs" / "benchmarks.md", BEGIN, END, text)
