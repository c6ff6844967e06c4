"""The servers that are compared: how each starts, what it offers, and what it uses of the machine."""

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from payloads import Payload
from protocols import PROTOCOLS
from servers import HOST, READY, Process, exchange, free_ports, is_ready

HERE = Path(__file__).parent


@dataclass
class Arm:
    """One server."""

    name: str
    label: str
    command: list[str]
    protocols: tuple[str, ...] = PROTOCOLS
    models: tuple[str, ...] = ("identity", "mixed")
    # How its ports are given: `{http}` and `{grpc}` are filled in.
    ports: tuple[str, ...] = ("{http}", "{grpc}")
    starts: int = 20
    http: int = 0
    grpc: int = 0
    process: Process | None = field(default=None, repr=False)

    def offers(self, payload: Payload, protocol: str) -> bool:
        """Whether it can be asked this."""
        return protocol in self.protocols and payload.model in self.models

    def start(self, log: Path) -> float:
        """Starts it on free ports; the seconds until it was ready."""
        self.http, self.grpc = free_ports(2)
        ports = [port.format(http=self.http, grpc=self.grpc) for port in self.ports]
        begun = time.perf_counter()
        self.process = Process(self.name, [*self.command, *ports], log)
        try:
            self.process.wait_until(lambda: is_ready(self.http))
        except BaseException:
            self.process.stop()
            raise
        return time.perf_counter() - begun

    def stop(self) -> None:
        """Ends it."""
        if self.process:
            self.process.stop()

    def cpu_seconds(self) -> float:
        """User and system time that it has used so far."""
        return self.process.cpu_seconds()

    def memory_mb(self) -> dict[str, float]:
        """Resident memory in MiB: now, and at most."""
        memory = self.process.memory_mb()
        return {key: memory[key] for key in ("VmRSS", "VmHWM")}


def hemline(binaries: Path) -> Arm:
    """Hemline, with those of its protocols that it has."""
    binary = str(binaries / "hemline")
    command = [binary, "--host", HOST, "--log-level", "warn"]
    ports = ["--http-port", "{http}"]
    protocols = ["V1", "V2 JSON"]
    usage = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout
    if "--grpc-port" in usage:
        ports += ["--grpc-port", "{grpc}"]
        protocols.append("gRPC")
    arm = Arm("hemline", "Hemline", command, ports=tuple(ports))
    if has_binary_tensors(arm):
        protocols.append("V2 binary")
    arm.protocols = tuple(protocol for protocol in PROTOCOLS if protocol in protocols)
    return arm


def has_binary_tensors(arm: Arm) -> bool:
    """Whether the server lists the extension."""
    arm.start(Path(os.devnull))
    try:
        answer = exchange(arm.http, READY.replace(b"/v2/health/ready", b"/v2"))
        return b"binary_tensor_data" in answer
    finally:
        arm.stop()


def all_arms(binaries: Path, clients: Path) -> list[Arm]:
    """Every server, Hemline first."""
    kserve = [str(clients), str(HERE / "identity_kserve.py")]
    flags = ("--http_port={http}", "--grpc_port={grpc}")
    return [
        hemline(binaries),
        Arm("handwritten", "by hand", [str(binaries / "handwritten")]),
        Arm(
            "furnace",
            "furnace-server",
            [str(binaries / "furnace")],
            protocols=("V2 JSON", "V2 binary", "gRPC"),
            models=("identity",),
        ),
        Arm("kserve", "KServe SDK", kserve, ports=flags, starts=5),
    ]
