"""What a step did to the rows, as a table; and how long it will still take, as a bar. Both on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

# Where there is no terminal (CI, a pod's log) rich would fold tables at 80 columns.
_PLAIN_WIDTH = 140


def console() -> Console:
    """A console on the present stderr (looked up anew, so that redirection works)."""
    return Console(file=sys.stderr, width=None if sys.stderr.isatty() else _PLAIN_WIDTH, highlight=False)


@dataclass(frozen=True)
class Reason:
    """Why `rows` rows were 'mended' or 'dropped'; a 'note' is about the file, not about its rows."""

    kind: Literal["mended", "dropped", "note"]
    rows: int
    why: str


@dataclass
class StepReport:
    """The rows of one step: `rows_in` = `kept` + `dropped`; `mended` rows (one mend or more) are kept."""

    step: str
    rows_in: int
    kept: int
    mended: int = 0
    dropped: int = 0
    reasons: list[Reason] = field(default_factory=list)

    def because(self, kind: Literal["mended", "dropped", "note"], rows: int, why: str) -> None:
        """Adds a reason, unless no row has it."""
        if rows:
            self.reasons.append(Reason(kind, rows, why))


def show(title: str, steps: list[StepReport]) -> None:
    """Prints the steps as a table, a line per step and one per reason below it; their text is no markup."""
    table = Table(title=title, title_justify="left")
    table.add_column("step", no_wrap=True)
    for name in ("rows in", "kept", "mended", "dropped"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for step in steps:
        numbers = (step.rows_in, step.kept, step.mended, step.dropped)
        table.add_row(Text(step.step), *(f"{number:,}" for number in numbers), "", style="bold")
        for reason in step.reasons:
            mended = f"{reason.rows:,}" if reason.kind == "mended" else ""
            dropped = f"{reason.rows:,}" if reason.kind == "dropped" else ""
            table.add_row("", "", "", mended, dropped, Text(reason.why))
    console().print(table)


def say(message: str) -> None:
    """Prints one line of plain text."""
    console().print(message, markup=False)


class Bar:
    """One progress bar; where stderr is no terminal, a line when a quarter of the work is done instead."""

    def __init__(self, progress: Progress, task: TaskID, title: str, total: int) -> None:
        self._progress, self._task, self._title = progress, task, title
        self._total, self._done, self._said = max(total, 1), 0, 0

    def advance(self, amount: int = 1) -> None:
        """Marks `amount` units as done."""
        self._progress.advance(self._task, amount)
        self._done += amount
        quarter = 4 * self._done // self._total
        if self._progress.disable and quarter > self._said:
            self._said = quarter
            say(f"{self._title}: {min(25 * quarter, 100)} %")


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Bar]:
    """A bar of `total` units with the time remaining; for whatever takes more than a second."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    out = console()
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        yield Bar(progress, progress.add_task(title, total=total), title, total)
