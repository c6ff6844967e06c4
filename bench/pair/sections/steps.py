"""Where a request's time goes: what the servers themselves count."""

import re
from pathlib import Path

import matplotlib as mpl
from arms import hemline
from matplotlib import pyplot as plt
from page import PLOT_STYLE, number, table
from servers import HOST, exchange

from bench import Bench

PLOT = "benchmarks-pair-steps.svg"
SUM = re.compile(r"^(\w+)_sum\{([^}]*)\} (\S+)$", re.MULTILINE)
STEP = re.compile(r'step="(\w+)"')
# In the order of a request. The first are the transformer's.
SEGMENTS = (
    "decode and check",
    "customer, from the store",
    "wait for a thread",
    "query, neighbours, features",
    "to the predictor and back",
    "predictor: decode, check",
    "predictor: wait for a thread",
    "predictor: score",
    "predictor: encode",
    "order and encode",
    "the client's connection",
)


def measure(bench: Bench) -> dict:
    """Mean µs of a request at one connection, by segment."""
    arm = hemline(bench.tools, bench.recipe)
    with bench.running([arm]):
        bench.ask(arm, 1)  # so that what is deferred to the first requests is done
        before = [sums(arm.ports[port]) for port in ("http", "predictor_http")]
        seen = bench.ask(arm, 1)
        after = [sums(arm.ports[port]) for port in ("http", "predictor_http")]
    answered = seen["requests"] + seen["uncounted"]
    outer, inner = (
        {name: (value - old.get(name, 0.0)) / answered * 1e6 for name, value in new.items()}
        for old, new in zip(before, after, strict=True)
    )
    return {"requests": answered, "us": segments(outer, inner, seen["mean_us"])}


def sums(port: int) -> dict[str, float]:
    """Seconds by histogram; steps under their names."""
    text = exchange(port, f"GET /metrics HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode()).decode()
    found: dict[str, float] = {}
    for name, labels, value in SUM.findall(text):
        step = STEP.search(labels)
        key = step[1] if step else name
        found[key] = found.get(key, 0.0) + float(value)
    return found


def segments(outer: dict[str, float], inner: dict[str, float], client: float) -> dict[str, float]:
    """µs by segment, from what the transformer, the predictor and the client count."""
    whole, theirs = outer["inference_request_duration_seconds"], inner["inference_request_duration_seconds"]
    queue, their_queue = outer["inference_queue_seconds"], inner["inference_queue_seconds"]
    post, their_post = outer["request_postprocess_seconds"], inner["request_postprocess_seconds"]
    steps = outer["customer"] + outer["retrieve"] + outer["rank"]
    scored = inner["request_predict_seconds"]
    values = (
        whole - steps - post,
        outer["customer"],
        queue,
        outer["retrieve"] - queue,
        outer["rank"] - theirs,
        theirs - scored - their_post,
        their_queue,
        scored - their_queue,
        their_post,
        post,
        client - whole,
    )
    return dict(zip(SEGMENTS, values, strict=True))


def page(found: dict) -> list[str]:
    """One table, and the plot."""
    whole = sum(found["us"].values())
    rows = [[name, number(value), f"{value / whole:.0%}"] for name, value in found["us"].items()]
    text = (
        f"Means of {found['requests']:,} requests over one connection, from the histograms of both servers' "
        "`/metrics` and the generator's clock. What a server counts as its own ends where the socket begins."
    )
    return [
        "### Where the time goes",
        text,
        f"![Where the time goes]({PLOT})",
        table(["", "µs", "of all"], rows),
    ]


def plot(found: dict, folder: Path) -> None:
    """One bar."""
    mpl.rcParams.update(PLOT_STYLE)
    figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
    colors, left = plt.get_cmap("tab20"), 0.0
    for position, (name, value) in enumerate(found["us"].items()):
        axis.barh([0], [max(value, 0)], left=left, label=name, color=colors(position))
        left += max(value, 0)
    axis.set_yticks([])
    axis.set_xlabel("µs")
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(folder / PLOT, metadata={"Date": None})
    plt.close(figure)
