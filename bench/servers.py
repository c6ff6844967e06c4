"""Server processes that are measured: how they start and end, and what they use of the machine."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 120
TICK = os.sysconf("SC_CLK_TCK")
READY = f"GET /v2/health/ready HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()


class Process:
    """One running process."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        """Starts it; what it says is added to `log`."""
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.pid = self._popen.pid

    def wait_until(self, is_so: Callable[[], bool], pause: float = 0.0002) -> None:
        """Looks until it is so. Exits where the process ends or it takes too long."""
        deadline = time.perf_counter() + START_SECONDS
        while not is_so():
            self.check_alive()
            if time.perf_counter() > deadline:
                sys.exit(f"{self.name} did not become ready: see {self.log}")
            time.sleep(pause)

    def check_alive(self) -> None:
        """Exits where the process has ended."""
        if (code := self._popen.poll()) is not None:
            sys.exit(f"{self.name} ended with {code}: see {self.log}")

    def stop(self) -> None:
        """Ends it, without waiting for what it might still want to do."""
        self._popen.kill()
        self._popen.wait()

    def cpu_seconds(self) -> float:
        """User and system time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_mb(self) -> dict[str, float]:
        """Memory in MiB: resident now, of it anonymous, at most, and with shared pages divided by users."""
        status, rollup = (read_fields(f"/proc/{self.pid}/{name}") for name in ("status", "smaps_rollup"))
        found = {key: status[key] / 1024 for key in ("VmRSS", "RssAnon", "VmHWM")}
        return found | {"Pss": rollup["Pss"] / 1024}


def read_fields(file: str) -> dict[str, int]:
    """The lines of a /proc file that are a name and a number."""
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    values = ((name, value.split()) for name, _, value in lines)
    return {name: int(parts[0]) for name, parts in values if parts and parts[0].isdigit()}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((HOST, 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def exchange(port: int, request: bytes) -> bytes:
    """What a server answers before it hangs up; nothing where it is not there."""
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return b""


def is_ready(port: int) -> bool:
    """Whether the server says so now."""
    return exchange(port, READY).split(b" ")[1:2] == [b"200"]
