"""From what was measured to latest.json, the page and its plots."""

import json
import subprocess
import time
from pathlib import Path
from types import ModuleType

import goals
from arms import FLAGS
from page import machine, write_between
from ratios import ratios
from rich.console import Console
from rich.markdown import Markdown
from sections import (
    by_protocol,
    candidates,
    catalogue,
    cost,
    default_profile,
    on_cores,
    overload,
    same_ranking,
    sizes,
    soak,
    starts,
    steps,
    throughput,
)

from bench import Bench

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
# In the order in which they are measured and stand on the page.
SECTIONS: dict[str, ModuleType] = {
    "same": same_ranking,
    "throughput": throughput,
    "default": default_profile,
    "starts": starts,
    "sizes": sizes,
    "cost": cost,
    "protocols": by_protocol,
    "candidates": candidates,
    "catalogue": catalogue,
    "cores": on_cores,
    "steps": steps,
    "overload": overload,
    "soak": soak,
}

__all__ = ["SECTIONS", "ratios", "settings", "write"]


def settings(bench: Bench, begun: float, load_average: float) -> dict:
    """Where, when and how this ran."""

    def say(*command: str) -> str:
        return subprocess.run(
            command, capture_output=True, text=True, cwd=Path(__file__).parent
        ).stdout.strip()

    code = "from importlib.metadata import version; print(*map(version, {0}))"
    peers = ["kserve", "catboost", "chroma-hnswlib", "uvloop"]
    versions = dict(zip(peers, say(str(bench.tools.peer), "-c", code.format(peers)).split(), strict=False))
    versions["mlserver"] = say(str(bench.tools.mlserver), "-c", code.format(["mlserver"]))
    manifest = json.loads((bench.recipe.bundle / "manifest.json").read_text())
    return {
        "machine": machine(),
        "versions": versions,
        "commit": say("git", "rev-parse", "--short", "HEAD"),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(begun)),
        "minutes": (time.time() - begun) / 60,
        "load_average": load_average,
        "counts": manifest["counts"],
        "flags": FLAGS,
        "amounts": vars(bench.amounts),
    }


def page(results: dict) -> str:
    """What stands between the page's marks."""
    told, amounts = results["settings"], results["settings"]["amounts"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    parts = [
        f"{told['started']}, commit {told['commit']}; {told['machine']}; {versions}. "
        f"{amounts['rounds']} rounds of {amounts['seconds']:g} s. "
        f"Load average before: {told['load_average']:.2f}."
    ]
    if "ratios" in results:
        parts.append(goals.page(results))
    for name, found in results["sections"].items():
        parts += SECTIONS[name].page(found)
    return "\n\n".join(parts)


def write(results: dict, folder: Path, root: Path) -> Path:
    """Prints the page, and writes it with its plots and numbers below `folder`. The page's file.

    `folder` is the repository, or another one, which then gets a copy of the page.
    """
    text = page(results)
    Console().print(Markdown(text))
    numbers, document = folder / "bench" / "results" / "latest.json", folder / "docs" / "benchmarks.md"
    for file in (numbers, document):
        file.parent.mkdir(parents=True, exist_ok=True)
    if folder != root:
        document.write_text((root / "docs" / "benchmarks.md").read_text())
    numbers.write_text(json.dumps(results, indent=1) + "\n")
    for name, found in results["sections"].items():
        if hasattr(SECTIONS[name], "plot"):
            SECTIONS[name].plot(found, document.parent)
    write_between(document, BEGIN, END, text)
    return document
