"""What the reports share: tables, the machine, and where they stand on the page."""

import os
import platform
import re
import subprocess
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
# Text stays text, and the same numbers give the same file.
PLOT_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "hemline", "font.size": 9}
COLORS = {
    "hemline": "#0b6e4f",
    "handwritten": "#9aa5b1",
    "floor": "#9aa5b1",
    "furnace": "#d97706",
    "mlserver": "#d97706",
    "kserve": "#326ce5",
}


def number(value: float | None, digits: int = 0) -> str:
    """A number for a cell of a table; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def machine() -> str:
    """Where this ran."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, "
        f"{int(memory[1]) / 2**20:.0f} GiB, Linux {platform.release()}, "
        f"rustc {rustc[1] if len(rustc) > 1 else 'unknown'}, Python {platform.python_version()}"
    )


def write_between(document: Path, begin: str, end: str, text: str) -> None:
    """Puts a text between two marks of a page, in the place of what stands there."""
    before, _, rest = document.read_text().partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")
