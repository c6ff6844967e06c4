"""Measures how long the servers take from start to ready, on a bundle of any size.

Each round starts the predictor and the transformer anew, with the files in the page cache, and asks
`/v2/health/ready` until it says yes. The transformer is measured beside a predictor that is ready, as in a
rolling update.
"""

import argparse
import json
import socket
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from hemline.pair import HOST, START_SECONDS, PairError, Server


def start(name: str, binaries: Path, logs: Path, arguments: list[str]) -> tuple[Server, str, float]:
    """Starts a server: itself, its URL, and the seconds until it was ready. PairError if it never is."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    url = f"http://{HOST}:{port}"
    with httpx.Client() as client:
        begun = time.perf_counter()
        server = Server(name, binaries / name, [*arguments, "--http-port", str(port)], logs / f"{name}.log")
        try:
            while (took := time.perf_counter() - begun) < START_SECONDS:
                if is_ready(client, url):
                    return server, url, time.perf_counter() - begun
                server.check_alive()
                time.sleep(0.001)
            raise PairError(f"{name} was not ready after {took:.0f} s\n{server.last_lines()}")
        except BaseException:
            server.kill()
            raise


def is_ready(client: httpx.Client, url: str) -> bool:
    """Whether the server says so now."""
    try:
        return client.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def resident_mb(pid: int) -> tuple[float, float]:
    """Resident memory in MB: all of it, and without the pages of mapped files."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    resident, anonymous = (int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon"))
    return resident, anonymous


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    args.logs.mkdir(parents=True, exist_ok=True)
    counts = json.loads((args.bundle / "manifest.json").read_text())["counts"]
    common = ["--model-dir", str(args.bundle)]
    seconds: dict[str, list[float]] = {"predictor-gbdt": [], "transformer": []}
    memory: dict[str, tuple[float, float]] = {}
    for _ in range(args.rounds):
        with ExitStack() as running:  # stops them in reverse, whatever happens
            predictor, predictor_url, took = start("predictor-gbdt", args.binaries, args.logs, common)
            running.callback(predictor.stop)
            seconds["predictor-gbdt"].append(took)
            extra = ["--store", args.store, "--predictor-host", predictor_url]
            transformer, _, took = start("transformer", args.binaries, args.logs, [*common, *extra])
            running.callback(transformer.stop)
            seconds["transformer"].append(took)
            memory = {server.name: resident_mb(server.process.pid) for server in (predictor, transformer)}
    print(f"{counts['articles']:,} articles, {counts['customers']:,} customers, {args.rounds} starts")
    for name, times in seconds.items():
        resident, anonymous = memory[name]
        median, worst = statistics.median(times) * 1000, max(times) * 1000
        print(f"{name:16} ready after {median:.0f} ms (median), {worst:.0f} ms (worst);", end=" ")
        print(f"{resident:.0f} MB resident, {anonymous:.0f} MB of it not mapped files")


if __name__ == "__main__":
    main()
