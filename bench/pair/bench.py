"""What every section uses: the arms' data and programs, the generator, and turns in rounds."""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TypeVar

import mix
from arms import MODEL, Arm, Data, Tools, cores
from generator import generate
from protocols import Request
from rich.progress import Progress

Cell = TypeVar("Cell", bound=Hashable)


@dataclass(frozen=True)
class Amounts:
    """How long and how often things are measured; seconds, where it says nothing else."""

    rounds: int
    seconds: float
    shorter: float  # where it is one product with itself that is compared
    warmup: float
    starts: int  # of Hemline and the floor, which start soon; the others start `rounds` + 2 times
    compared: int  # rankings
    soak: float

    def with_soak(self, seconds: float) -> "Amounts":
        """The same with another soak."""
        return replace(self, soak=seconds)


FULL = Amounts(rounds=3, seconds=5, shorter=3, warmup=1, starts=10, compared=500, soak=600)
QUICK = Amounts(rounds=1, seconds=1, shorter=0.6, warmup=0.3, starts=2, compared=50, soak=20)


@dataclass
class Bench:
    """One run."""

    tools: Tools
    folder: Path  # the data
    work: Path  # bodies and logs
    amounts: Amounts
    images: Path  # tars, where they were built
    progress: Progress
    results: dict = field(default_factory=dict)

    @property
    def recipe(self) -> Data:
        """The published recipe's models."""
        return Data(self.folder)

    @cached_property
    def questions(self) -> list[mix.Question]:
        """The mix."""
        manifest = json.loads((self.recipe.bundle / "manifest.json").read_text())
        return mix.questions(self.recipe.customers, manifest["window"]["test_end"])

    @cached_property
    def ranking_features(self) -> dict[str, str]:
        """The ranker's features with their datatypes, in their order."""
        manifest = json.loads((self.recipe.bundle / "manifest.json").read_text())
        return {feature["name"]: feature["datatype"] for feature in manifest["ranking"]["features"]}

    def bodies(self, protocol: str) -> tuple[Request, Path]:
        """The mix in a protocol, as the generator reads it."""
        file = self.work / f"mix-{protocol.replace(' ', '-')}.bodies"
        if protocol not in self._written:
            asked = [question.request(protocol, MODEL) for question in self.questions]
            self._written[protocol] = mix.write(asked, file)
        return self._written[protocol], file

    @cached_property
    def _written(self) -> dict[str, Request]:
        return {}

    @contextmanager
    def running(self, arms: Iterable[Arm]) -> Iterator[None]:
        """Starts them, and stops them whatever happens."""
        with ExitStack() as stack:
            for arm in arms:
                stack.callback(arm.stop)
                arm.start(self.work)
            yield

    def ask(
        self, arm: Arm, connections: int, protocol: str = "V1", seconds: float | None = None, **more
    ) -> dict:
        """Lets the generator ask a pair the mix; see `asked`."""
        request, file = self.bodies(protocol)
        port = arm.ports["grpc" if protocol == "gRPC" else "http"]
        return self.asked(arm, port, request, file, connections, protocol, seconds, **more)

    def asked(
        self,
        arm: Arm,
        port: int,
        request: Request,
        file: Path,
        connections: int,
        protocol: str,
        seconds: float | None = None,
        **more,
    ) -> dict:
        """What the generator saw, with the CPU that each process used for a request.

        Seconds are the usual ones if not given. `more` goes into the generator's plan: `rate`, `refusals`,
        `windows`.
        """
        plan = {
            "protocol": "grpc" if protocol == "gRPC" else "http",
            "port": port,
            "path": request.path,
            "headers": list(request.headers.items()),
            "bodies": str(file),
            "connections": connections,
            "seconds": self.amounts.seconds if seconds is None else seconds,
            "warmup": self.amounts.warmup,
            **more,
        }
        before = arm.cpu_seconds()
        # Always on the last core: it must not wander into what the others' caches hold.
        seen = generate(self.tools.bench / "load", plan, f"{arm.name}, {protocol}", cores() - 1)
        used = {name: after - before[name] for name, after in arm.cpu_seconds().items()}
        answered = seen["requests"] + seen["uncounted"]
        generator = seen.pop("generator_seconds")
        return seen | {
            "requests_per_second": seen["requests"] / seen["seconds"],
            "cpu_ms": {name: value / answered * 1e3 for name, value in used.items()},
            "generator_cpu_us": generator / answered * 1e6,
            "generator_cores": generator / (seen["seconds"] + self.amounts.warmup),
        }

    def first_answer(self, arm: Arm, request: Request, protocol: str) -> bytes:
        """The body of the answer to one request, which must be good."""
        body, answer = self.work / "first.bodies", self.work / "first.answer"
        mix.write([request], body)
        port = arm.ports["grpc" if protocol == "gRPC" else "http"]
        self.asked(arm, port, request, body, 1, protocol, 0, warmup=0, answer=str(answer))
        return answer.read_bytes()

    def turns(
        self, what: str, cells: list[Cell], measure: Callable[[Cell], dict], rounds: int | None = None
    ) -> dict[Cell, list[dict]]:
        """Measures every cell in each round, in an order that moves on from round to round."""
        rounds = rounds or self.amounts.rounds
        task = self.progress.add_task(what, total=rounds * len(cells))
        seen: dict[Cell, list[dict]] = {cell: [] for cell in cells}
        for number in range(rounds):
            first = number % len(cells)
            for cell in cells[first:] + cells[:first]:
                seen[cell].append(measure(cell))
                self.progress.advance(task)
        return seen


def mid(rounds: list[dict], what: str) -> float | None:
    """The median of the rounds; None where one of them has nothing."""
    values = [seen[what] for seen in rounds]
    return None if None in values else median(values)
