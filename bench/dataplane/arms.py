"""The servers that are compared: how each starts, what it offers, and what it uses of the machine."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from payloads import PROTOCOLS, Payload

HERE = Path(__file__).parent
HOST = "127.0.0.1"
START_SECONDS = 60
TICK = os.sysconf("SC_CLK_TCK")
READY = f"GET /v2/health/ready HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


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
    process: subprocess.Popen | None = field(default=None, repr=False)

    def offers(self, payload: Payload, protocol: str) -> bool:
        """Whether it can be asked this."""
        return protocol in self.protocols and payload.model in self.models

    def start(self, log: Path) -> float:
        """Starts it on free ports; the seconds until it was ready."""
        self.http, self.grpc = free_ports(2)
        ports = [port.format(http=self.http, grpc=self.grpc) for port in self.ports]
        with log.open("ab") as output:
            begun = time.perf_counter()
            self.process = subprocess.Popen([*self.command, *ports], stdout=output, stderr=output)
            try:
                while not is_ready(self.http):
                    if self.process.poll() is not None or time.perf_counter() - begun > START_SECONDS:
                        sys.exit(f"{self.name} did not become ready: see {log}")
                    time.sleep(0.0002)
            except BaseException:
                self.process.kill()
                raise
            return time.perf_counter() - begun

    def stop(self) -> None:
        """Ends it, without waiting for what it might still want to do."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self) -> float:
        """User and system time that it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_mb(self) -> dict[str, float]:
        """Resident memory in MiB: now, and at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return {key: int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM")}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((HOST, 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def is_ready(port: int) -> bool:
    """Whether the server says so now."""
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(READY)
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


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
        with socket.create_connection((HOST, arm.http), timeout=5) as connection:
            connection.sendall(READY.replace(b"/v2/health/ready", b"/v2"))
            return b"binary_tensor_data" in b"".join(iter(lambda: connection.recv(4096), b""))
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
