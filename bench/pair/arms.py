"""The pairs that are compared: what their processes are, and how they are started on free ports."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from protocols import v1
from servers import HOST, Process, exchange, free_ports, is_ready

HERE = Path(__file__).parent
MODEL = "hemline"
CANDIDATES = 100
# Whatever is not a default, in one place: the page says the same.
FLAGS = {
    "predictor-gbdt": ["--log-level", "warn"],
    "transformer": ["--log-level", "warn", "--stylist", "off"],
}


@dataclass(frozen=True)
class Data:
    """A folder with what the servers read, as the Makefile makes it."""

    folder: Path
    profile: str = "recipe"
    articles: int | None = None  # another size of catalogue than the data's own

    @property
    def bundle(self) -> Path:
        """The profile's bundle, for so many articles."""
        return self.folder / (f"bundle-{self.profile}" + (f"-{self.articles}" if self.articles else ""))

    @property
    def store(self) -> str:
        """The profile's store."""
        return f"sqlite://{self.folder / f'store-{self.profile}.db'}"

    @property
    def customers(self) -> Path:
        """H&M's file of customers."""
        return self.folder / "data" / "customers.csv"

    @property
    def forest(self) -> Path:
        """CatBoost's own file of the ranker."""
        return self.folder / self.profile / "ranker.cbm"


@dataclass(frozen=True)
class Tools:
    """Programs."""

    binaries: Path  # the product's
    bench: Path  # the benches'
    peer: Path  # a Python with KServe's SDK, hnswlib and CatBoost
    mlserver: Path  # a Python with MLServer and CatBoost
    onnxruntime: Path


Ports = dict[str, int]


@dataclass
class Arm:
    """A transformer and its predictor, or what stands in their place."""

    name: str
    label: str
    commands: Callable[[Ports], dict[str, list[str]]]
    """The command of each process by its name, in the order in which a request meets them."""
    cores: str | None = None  # those that it may use, as taskset takes them
    ports: Ports = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list, repr=False)

    def start(self, logs: Path, first: bytes | None = None) -> float:
        """Starts all processes at once; the seconds until a recommendation was answered.

        `first` is the V1 body that is asked until there is an answer.
        """
        names = ("http", "grpc", "predictor_http", "predictor_grpc")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        commands = self.commands(self.ports)
        pin = ["taskset", "-c", self.cores] if self.cores else []
        asked = request_bytes(first or FIRST)
        begun = time.perf_counter()
        self.processes = []
        try:
            for name, command in commands.items():
                self.processes.append(Process(name, [*pin, *command], logs / f"{self.name}-{name}.log"))
            # Readiness first: who is asked for what he can't do yet would defend himself, and take longer.
            for process, port in zip(self.processes, ("http", "predictor_http"), strict=False):
                process.wait_until(lambda port=port: self._is_ready(port))
            self.processes[0].wait_until(lambda: self._answers(asked))
        except BaseException:
            self.stop()
            raise
        return time.perf_counter() - begun

    def _is_ready(self, port: str) -> bool:
        for process in self.processes:
            process.check_alive()
        return is_ready(self.ports[port])

    def _answers(self, asked: bytes) -> bool:
        return exchange(self.ports["http"], asked).split(b" ")[1:2] == [b"200"]

    def stop(self) -> None:
        """Ends all of it."""
        for process in self.processes:
            process.stop()
        self.processes = []

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time that each process has used so far."""
        return {process.name: process.cpu_seconds() for process in self.processes}

    def memory_mb(self) -> dict[str, float]:
        """Memory of all processes together, in MiB; with that of each by its name under `RSS of`."""
        each = {process.name: process.memory_mb() for process in self.processes}
        total = {key: sum(memory[key] for memory in each.values()) for key in ("VmRSS", "RssAnon", "Pss")}
        return total | {f"RSS of {name}": memory["VmRSS"] for name, memory in each.items()}

    def ask(self, body: bytes) -> bytes:
        """The body of the answer to a V1 request, whatever it is."""
        return exchange(self.ports["http"], request_bytes(body)).partition(b"\r\n\r\n")[2]

    def pinned(self, cores: str) -> "Arm":
        """The same on these cores only."""
        return replace(self, name=f"{self.name}-on-{cores}", cores=cores, processes=[])


def request_bytes(body: bytes) -> bytes:
    """A V1 request after which the server hangs up. In HTTP/1.0, so that no answer comes in chunks."""
    head = f"POST /v1/models/{MODEL}:predict HTTP/1.0\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


FIRST = v1(MODEL, [{"customer_id": "nobody", "transaction_date": "2019-08-01"}]).body


def hemline(tools: Tools, data: Data, name: str = "hemline", **flags: object) -> Arm:
    """Hemline's pair; `flags` are more of the transformer's, with underscores."""
    more = [part for flag, value in flags.items() for part in (f"--{flag.replace('_', '-')}", str(value))]

    def commands(ports: Ports) -> dict[str, list[str]]:
        def server(binary: str, prefix: str) -> list[str]:
            where = ["--host", HOST, "--http-port", str(ports[f"{prefix}http"])]
            where += ["--grpc-port", str(ports[f"{prefix}grpc"])]
            files = ["--model-dir", str(data.bundle), "--onnxruntime", str(tools.onnxruntime)]
            return [str(tools.binaries / binary), *where, *files, *FLAGS[binary]]

        beside = ["--store", data.store, "--predictor-host", f"{HOST}:{ports['predictor_http']}"]
        return {
            "transformer": [*server("transformer", ""), *beside, *more],
            "predictor-gbdt": server("predictor-gbdt", "predictor_"),
        }

    return Arm(name, "Hemline", commands)


def peer_transformer(tools: Tools, data: Data, ports: Ports, protocol: str) -> list[str]:
    """The transformer on KServe's SDK, in front of a predictor that speaks this."""
    port = ports["predictor_grpc" if protocol == "grpc-v2" else "predictor_http"]
    return [
        *(str(tools.peer), str(HERE / "peer" / "transformer.py")),
        *("--bundle", str(data.bundle), "--ages", str(data.customers), "--model_name", MODEL),
        *("--http_port", str(ports["http"]), "--grpc_port", str(ports["grpc"])),
        *("--predictor_host", f"{HOST}:{port}", "--predictor_protocol", protocol),
    ]


def kserve(tools: Tools, data: Data) -> Arm:
    """Both on KServe's Python SDK."""

    def commands(ports: Ports) -> dict[str, list[str]]:
        files = ["--model", str(data.forest), "--bundle", str(data.bundle), "--model_name", MODEL]
        where = ["--http_port", str(ports["predictor_http"]), "--grpc_port", str(ports["predictor_grpc"])]
        return {
            "transformer": peer_transformer(tools, data, ports, "v1"),
            "predictor": [str(tools.peer), str(HERE / "peer" / "predictor.py"), *files, *where],
        }

    return Arm("kserve", "KServe SDK", commands)


def mlserver(tools: Tools, data: Data) -> Arm:
    """The same transformer, and MLServer as the predictor."""

    def commands(ports: Ports) -> dict[str, list[str]]:
        where = ["--http_port", str(ports["predictor_http"]), "--grpc_port", str(ports["predictor_grpc"])]
        script = str(HERE / "peer" / "mlserver_predictor.py")
        return {
            "transformer": peer_transformer(tools, data, ports, "grpc-v2"),
            "predictor": [
                str(tools.mlserver),
                script,
                "--model",
                str(data.forest),
                "--model_name",
                MODEL,
                *where,
            ],
        }

    return Arm("mlserver", "KServe SDK + MLServer", commands)


def floor(tools: Tools, data: Data) -> Arm:
    """One process that does nothing but what cannot be left out."""

    def commands(ports: Ports) -> dict[str, list[str]]:
        files = ["--model-dir", str(data.bundle), "--ages", str(data.customers)]
        where = ["--onnxruntime", str(tools.onnxruntime), "--http-port", str(ports["http"])]
        return {"floor": [str(tools.bench / "floor"), *files, *where]}

    return Arm("floor", "floor", commands)


def delayed(tools: Tools, data: Data, workers: int, milliseconds: int) -> Arm:
    """Hemline's transformer in front of a ranker that takes a fixed time."""

    def commands(ports: Ports) -> dict[str, list[str]]:
        transformer = hemline(tools, data).commands(ports)["transformer"]
        where = ["--http-port", str(ports["predictor_http"]), "--grpc-port", str(ports["predictor_grpc"])]
        threads = ["--workers", str(workers), "--delay", str(milliseconds), "--log-level", "error"]
        return {
            "transformer": transformer,
            "delay": [str(tools.bench / "delay"), "--host", HOST, *where, *threads],
        }

    return Arm("delayed", "Hemline before a slow ranker", commands)


def all_arms(tools: Tools, data: Data) -> list[Arm]:
    """Every pair, Hemline first."""
    return [make(tools, data) for make in (hemline, kserve, mlserver, floor)]


def ranking(answer: bytes) -> list[tuple[str, float]]:
    """Ids and scores of a V1 answer's only ranking, best first."""
    (prediction,) = json.loads(answer)["predictions"]
    return [(article, score) for score, article in prediction["ranking"]]


def cores() -> int:
    """How many the machine has."""
    return os.cpu_count() or 1
