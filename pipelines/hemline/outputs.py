"""What a step leaves in the work directory: all of its files or none, and what they were made from."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hemline.errors import DataError


@contextmanager
def replacing(work: Path, report: str) -> Iterator[Path]:
    """A folder to write a step's files into; without an error they then take their places, `report` last.

    The old report goes first, so that a step which was interrupted in between counts as not done.
    """
    with tempfile.TemporaryDirectory(dir=work, prefix=f".{report}.") as scratch:
        new = Path(scratch)
        yield new
        (work / report).unlink(missing_ok=True)
        for path in sorted(new.iterdir(), key=lambda path: path.name == report):
            os.replace(path, work / path.name)


def write_json(path: Path, content: dict) -> None:
    """Write JSON that every reader understands: NaN, which is none, raises ValueError."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inputs(work: Path, *names: str) -> dict[str, str]:
    """What a report says about the files that the step reads: name → SHA-256."""
    return {name: fingerprint(work / name) for name in names}


def require(work: Path, step: str, report: str, *names: str) -> dict:
    """A step's report. Raises DataError where the step has not run, or its inputs have changed since."""
    for name in (*names, report):
        if not (work / name).is_file():
            raise DataError(f"{work / name}: missing; run `hemline {step}` first")
    content = json.loads((work / report).read_text(encoding="utf-8"))
    for name, sha256 in content.get("inputs", {"what it was made from": ""}).items():
        if not (work / name).is_file() or fingerprint(work / name) != sha256:
            raise DataError(f"{work / report}: {name} is another now; run `hemline {step}` again")
    return content
