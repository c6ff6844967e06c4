"""Starts predictor-gbdt and transformer on this machine: for `hemline run`, `hemline smoke` and the tests."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import httpx

from hemline.errors import DataError

HOST = "127.0.0.1"
MODEL = "hemline"
TRANSFORMER, PREDICTOR = "transformer", "predictor-gbdt"
STORE = "HEMLINE_STORE"  # a variable and no flag, which everybody could read: there may be a password in it
API_KEY = "LLM_API_KEY"
# Safety nets, not expectations: the servers start in under a second and stop when nobody waits for them.
START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02
LAST_LINES = 12

T = TypeVar("T")


class PairError(Exception):
    """A server did not start, or ended by itself; the message has its exit code and the end of its log."""


class Server:
    """One running server process, its log in a file."""

    health = "/v2/health/ready"  # the path that answers 200 when it is ready

    def __init__(
        self,
        name: str,
        program: Path,
        arguments: Sequence[str],
        log: Path,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Spawns it on 127.0.0.1. Raises DataError where the program is not there.

        `secrets` are variables that it gets beside its arguments, which everybody on the machine can read.
        """
        if not program.is_file():
            raise DataError(
                f"{program}: no such program; build the servers, or name their folder with --binaries"
            )
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            # A process group of its own: Ctrl-C reaches only us, and we stop the servers in order.
            self.process = subprocess.Popen(
                [program, *arguments, "--host", HOST],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment() | dict(secrets or {}),
                process_group=0,
            )
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Where it listens, such as http://127.0.0.1:43121; waits for it. PairError if it never does."""
        if self._url is None:
            self._url = self.until(self._listening, "listen")
        return self._url

    def wait_ready(self) -> None:
        """Waits until it says that it is ready. Raises PairError if it ends or takes too long."""
        self.until(lambda: self.is_ready() or None, "be ready")

    def is_ready(self) -> bool:
        """Whether it says so now."""
        try:
            return httpx.get(f"{self.url}{self.health}", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def until(self, look: Callable[[], T | None], what: str, seconds: float = START_SECONDS) -> T:
        """Looks until there is an answer. Raises PairError if the process ends or takes too long."""
        deadline = time.monotonic() + seconds
        while (found := look()) is None:
            self.check_alive()
            if time.monotonic() > deadline:
                raise PairError(f"{self.name} did not {what} within {seconds:.0f} s\n{self.last_lines()}")
            time.sleep(POLL_SECONDS)
        return found

    def check_alive(self) -> None:
        """Raises PairError where the process has ended."""
        if (code := self.process.poll()) is not None:
            raise PairError(f"{self.name} ended with exit code {code}\n{self.last_lines()}")

    def lines(self) -> list[dict]:
        """What it logged so far; lines that are no JSON object are left out."""
        lines = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                lines.append(value)
        return lines

    def last_lines(self) -> str:
        """The end of its log, and where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join([f"{self.log}:", *(f"  {line}" for line in lines)])

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless the process has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stops it as a person's Ctrl-C does, without the delay that endpoints need; its exit code."""
        self.signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode
        except BaseException:
            self.kill()
            raise

    def _listening(self) -> str | None:
        addresses = (line["rest"] for line in self.lines() if line.get("message") == "listening")
        return next((f"http://{address}" for address in addresses), None)


class Pair:
    """The two servers over one bundle: a context manager that is ready when it is entered.

    A port of 0 takes a free one. The predictor serves `predictor_bundle` where that is another one. Raises
    PairError where a server does not start, with the end of its log.
    """

    patience = 30.0  # seconds that an answer may take

    def __init__(
        self,
        bundle: Path,
        store: str,
        binaries: Path,
        port: int = 0,
        predictor_port: int = 0,
        *,
        logs: Path,
        transformer_args: Sequence[str] = (),
        predictor_args: Sequence[str] = (),
        predictor_bundle: Path | None = None,
    ) -> None:
        self._bundle, self._store, self._binaries, self._logs = bundle, store, binaries, logs
        self._port, self._predictor_port = port, predictor_port
        self._transformer_args, self._predictor_args = transformer_args, predictor_args
        self._predictor_bundle = predictor_bundle or bundle
        self.servers: list[Server] = []  # in the order in which they start

    def __enter__(self) -> Self:
        """Starts both."""
        try:
            self.start_predictors()
            self.start_transformer().wait_ready()
            self.http = httpx.Client(base_url=self.transformer.url, timeout=self.patience)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops both."""
        self.http.close()
        self.stop()

    @property
    def predictor(self) -> Server:
        """The predictor that runs, or ran last."""
        return next(server for server in reversed(self.servers) if server.name == PREDICTOR)

    @property
    def transformer(self) -> Server:
        """The transformer."""
        return next(server for server in self.servers if server.name == TRANSFORMER)

    def start_predictors(self) -> None:
        """Starts what the transformer asks, and waits until it is ready."""
        self.start_predictor(self._predictor_port).wait_ready()

    def start_predictor(self, port: int) -> Server:
        """Starts the predictor; once more, where it was killed."""
        model = ["--model_dir", str(self._predictor_bundle)]
        return self._start(PREDICTOR, port, [*model, *self._predictor_args])

    def start_transformer(self) -> Server:
        """Starts the transformer over the predictor that runs."""
        arguments = ["--model_dir", str(self._bundle), *self.behind(), *self._transformer_args]
        return self._start(TRANSFORMER, self._port, arguments, {STORE: self._store})

    def behind(self) -> list[str]:
        """The transformer's arguments that say what it asks."""
        return ["--predictor_host", self.predictor.url.removeprefix("http://")]

    def predict(self, *instances: object) -> httpx.Response:
        """Asks over V1."""
        return self.http.post(f"/v1/models/{MODEL}:predict", json={"instances": instances})

    def explain(self, *instances: object) -> httpx.Response:
        """Asks over V1 why."""
        return self.http.post(f"/v1/models/{MODEL}:explain", json={"instances": instances})

    def infer(self, **inputs: tuple[str, list]) -> httpx.Response:
        """Asks over V2: each input by its name as (datatype, rows)."""
        return self.http.post(f"/v2/models/{MODEL}/infer", json=v2_body(**inputs))

    def check_alive(self) -> None:
        """Raises PairError where one of the servers has ended."""
        for server in (self.predictor, self.transformer):
            server.check_alive()

    def stop(self) -> None:
        """Stops the transformer, then the predictor that it asks; no process is left, whatever happens."""
        try:
            for server in reversed(self.servers):
                server.stop()
        except BaseException:
            for server in self.servers:
                server.kill()
            raise

    def _start(
        self, name: str, port: int, more: Sequence[str], secrets: Mapping[str, str] | None = None
    ) -> Server:
        arguments = ["--model_name", MODEL, "--http_port", str(port), *more]
        return self._spawn(name, self._binaries / name, arguments, secrets)

    def _spawn(
        self, name: str, program: Path, arguments: Sequence[str], secrets: Mapping[str, str] | None = None
    ) -> Server:
        runs = sum(server.name == name for server in self.servers)
        log = self._logs / (f"{name}.{runs}.log" if runs else f"{name}.log")
        server = Server(name, program, arguments, log, secrets)
        self.servers.append(server)
        return server


def v2_body(**inputs: tuple[str, list]) -> dict:
    """The body of a V2 request: each input by its name as (datatype, rows)."""
    tensors = []
    for name, (datatype, rows) in inputs.items():
        width = [len(rows[0])] if rows and isinstance(rows[0], list) else []
        data = [value for row in rows for value in row] if width else rows
        tensors.append({"name": name, "datatype": datatype, "shape": [len(rows), *width], "data": data})
    return {"inputs": tensors}


def predictions(body: dict) -> list[dict]:
    """The predictions of an answer; those of V2 as V1 has them, so that the two can be compared."""
    if "predictions" in body:
        return body["predictions"]
    outputs = {output["name"]: output for output in body["outputs"]}
    ids, scores, info = (outputs[name]["data"] for name in ("article_ids", "scores", "info"))
    width = outputs["scores"]["shape"][1]
    starts = (row * width for row in range(len(info)))
    lists = [
        [[scores[i], ids[i]] for i in range(start, start + count)]
        for start, count in zip(starts, outputs["count"]["data"], strict=True)
    ]
    return [{"ranking": ranking, **json.loads(text)} for ranking, text in zip(lists, info, strict=True)]


def environment() -> dict[str, str]:
    """The servers' environment: ours, with ONNX Runtime's library from the wheel where none is named."""
    variables = dict(os.environ)
    # One of the servers may need it, and gets it by itself.
    variables.pop(API_KEY, None)
    # Two servers of one machine can't both have gRPC's usual port.
    variables.setdefault("HEMLINE_GRPC_PORT", "0")
    if "ORT_DYLIB_PATH" not in variables:
        variables["ORT_DYLIB_PATH"] = str(onnxruntime_library())
    if "HEMLINE_LOG" in variables:
        # The line that says where a server listens is waited for, whatever else is to be logged.
        variables["HEMLINE_LOG"] += ",dataplane::serve=info,storefront::serve=info"
    return variables


def onnxruntime_library() -> Path:
    """ONNX Runtime's shared library in the installed wheel. Raises DataError where there is none."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec and spec.origin:
        folder = Path(spec.origin).parent / "capi"
        found = sorted(path for path in folder.glob("libonnxruntime.*") if "providers" not in path.name)
        if found:
            return found[0]
    raise DataError("onnxruntime: not installed, or its wheel has no shared library; set ORT_DYLIB_PATH")


def check_free(port: int, flag: str, variable: str) -> None:
    """Raises PairError where somebody else has the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = f"port {port} can't be had ({error.strerror})"
            raise PairError(f"{reason}: choose another with {flag} (with make: {variable}=…)") from error


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it, being told to end (SIGTERM, SIGHUP) is as Ctrl-C is: what was started is stopped."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
