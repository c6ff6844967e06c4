"""A server under valgrind's callgrind, and how many instructions it runs for what it is asked."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from hemline.pair import MODEL, PairError, Server

SECONDS = 300.0  # that a start may take
VGDB_SECONDS = 30.0  # that a command to valgrind may take; most take less than one
OBJECTS = ("own", "onnxruntime", "libc", "rest")
# Requests are counted in batches, and the median counts: a timer that goes off spoils one of them.
WARM_UP, BATCHES, REQUESTS = 50, 3, 30
NAME = re.compile(rb"(c?ob)=\((\d+)\)(?: (.*))?")


class StuckError(PairError):
    """Valgrind does not hear commands any more: on a busy machine, one of some hundred gets lost."""


class Counted(Server):
    """A server of ours under callgrind, on free ports. `folder` gets its log and callgrind's dumps."""

    def __init__(
        self,
        valgrind: Path,
        program: Path,
        arguments: Sequence[str],
        folder: Path,
        secrets: Mapping[str, str],
    ) -> None:
        """Starts it; it counts only within `instructions`."""
        self._program, self._dumps = program.resolve(), folder / f"{program.name}.callgrind"
        for old in folder.glob(f"{self._dumps.name}*"):
            old.unlink()
        callgrind = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self._dumps}"]
        # Nothing of its own goes on meanwhile.
        ours = ["--http-port=0", "--grpc-port=0", "--model-name", MODEL, "--model-watch=0", *arguments]
        log = folder / f"{program.name}.log"
        super().__init__(program.name, valgrind, [*callgrind, str(self._program), *ours], log, secrets)

    def until(self, look: Callable, what: str, seconds: float = SECONDS) -> object:
        """Looks until there is an answer, for longer than others wait."""
        return super().until(look, what, seconds)

    def instructions(self, ask: Callable[[], object]) -> dict[str, int]:
        """How many instructions one call of `ask` costs the server, by object."""
        for _ in range(WARM_UP):
            ask()
        self._tell("instrumentation on")
        batches = [self._batch(ask) for _ in range(1 + BATCHES)][1:]  # vgdb's own call is in the first one
        self._tell("instrumentation off")
        return {name: round(median(batch[name] for batch in batches) / REQUESTS) for name in OBJECTS}

    def _batch(self, ask: Callable[[], object]) -> Counter:
        """The instructions of so many requests, by object."""
        for _ in range(REQUESTS):
            ask()
        self._tell("dump")  # and count from 0 again
        dumps = self._dumps.parent.glob(f"{self._dumps.name}.*")
        return by_object(max(dumps, key=lambda dump: int(dump.suffix[1:])), self._program)

    def _tell(self, command: str) -> None:
        """Gives valgrind a command, and waits until it is done."""
        vgdb = ["vgdb", f"--pid={self.process.pid}", *command.split()]
        try:
            told = subprocess.run(vgdb, capture_output=True, text=True, timeout=VGDB_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StuckError(f"vgdb hears nothing from {self.name}") from error
        if told.returncode != 0:
            raise PairError(f"vgdb can't reach {self.name}: {told.stderr.strip()}")


def by_object(dump: Path, program: Path) -> Counter:
    """The instructions of one dump, by object. Raises PairError where they do not add up to its total."""
    counts: Counter = Counter()
    names: dict[bytes, str] = {}
    current, total, of_a_call = "rest", -1, False
    for line in dump.read_bytes().splitlines():
        if match := NAME.match(line):
            kind, number, path = match.groups()
            if path is not None:
                names[number] = which(path.decode(errors="replace"), program)
            current = names[number] if kind == b"ob" else current
        elif line.startswith(b"calls="):
            of_a_call = True  # the next line is what was called, which has lines of its own
        elif line[:1].isdigit() or line[:1] in (b"+", b"-", b"*"):
            counts[current] += 0 if of_a_call else int(line.split()[1])
            of_a_call = False
        elif line.startswith(b"totals:"):
            total = int(line.split()[1])
    if counts.total() != total:
        raise PairError(f"{dump}: its lines have {counts.total():,} instructions, and it says {total:,}")
    return counts


def which(path: str, program: Path) -> str:
    """Whose an object is."""
    name = Path(path).name
    if path == str(program):
        return "own"
    if name.startswith("libonnxruntime"):
        return "onnxruntime"
    return "libc" if re.match(r"libc[.-]", name) else "rest"
