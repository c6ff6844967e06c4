"""Measures the data plane beside its peers, all in one run, and writes docs/benchmarks.md.

Each server is asked for the same answers by the same generator. In every round each of them has its turn at
each kind of request, in an order that moves on from round to round, so that what else the machine does meets
all of them alike; what is compared are ratios within a round.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from arms import Arm, all_arms
from generator import generate
from payloads import Payload, is_identity, payloads, request
from protocols import PROTOCOLS
from report import write
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

CONSOLE = Console(stderr=True)
ROOT = Path(__file__).parents[2]


def ask(load: Path, work: Path, arm: Arm, payload: Payload, protocol: str, connections: int, seconds: float):
    """Lets the generator ask one server; what it saw, with the CPU that both used."""
    asked = request(payload, protocol)
    body = work / f"{payload.name}-{protocol}.body"
    if not body.exists():
        body.write_bytes(asked.body)
    grpc = protocol == "gRPC"
    plan = {
        "protocol": "grpc" if grpc else "http",
        "port": arm.grpc if grpc else arm.http,
        "path": asked.path,
        "headers": list(asked.headers.items()),
        "body": str(body),
        "connections": connections,
        "seconds": seconds,
        "answer": str(work / "answer"),
    }
    server = arm.cpu_seconds()
    seen = generate(load, plan, f"{arm.name}, {payload.name}, {protocol}")
    server, generator = arm.cpu_seconds() - server, seen["generator_seconds"]
    requests = seen["requests"]
    return {
        "requests_per_second": requests / seen["seconds"],
        "p50_us": seen["p50_us"],
        "p99_us": seen["p99_us"],
        "server_cpu_us": server / requests * 1e6,
        "generator_cpu_us": generator / requests * 1e6,
        "generator_cores": generator / seen["seconds"],
    }


def check(load: Path, work: Path, arm: Arm, payload: Payload, protocol: str) -> None:
    """Exits unless the server gives back what it is sent."""
    ask(load, work, arm, payload, protocol, 1, 0)
    if not is_identity(payload, protocol, (work / "answer").read_bytes()):
        sys.exit(
            f"{arm.name}, {payload.name}, {protocol}: the answer is not what was sent: {work / 'answer'}"
        )


def measure_starts(arms: list[Arm], work: Path, most: int, progress: Progress) -> dict[str, list[float]]:
    """Milliseconds from exec to ready, by server; again and again, in turns."""
    rounds = {arm.name: min(most, arm.starts) for arm in arms}
    task = progress.add_task("starts", total=sum(rounds.values()))
    took = {arm.name: [] for arm in arms}
    for number in range(max(rounds.values())):
        for arm in arms:
            if number < rounds[arm.name]:
                try:
                    took[arm.name].append(arm.start(work / f"{arm.name}.log") * 1000)
                finally:
                    arm.stop()
                progress.advance(task)
    return took


def measure_load(args, arms: list[Arm], work: Path, progress: Progress) -> list[dict]:
    """One entry for each kind of request and server, with what each round saw."""
    kinds = [
        (payload, protocol, connections)
        for payload in payloads()
        for protocol in PROTOCOLS
        for connections in args.connections
        if arms[0].offers(payload, protocol)
    ]
    asked = {kind: [arm for arm in arms if arm.offers(kind[0], kind[1])] for kind in kinds}
    for kind, offering in asked.items():
        for arm in offering:
            check(args.load, work, arm, kind[0], kind[1])
    task = progress.add_task("load", total=args.rounds * sum(map(len, asked.values())))
    rounds = {}
    for number in range(args.rounds):
        for kind, offering in asked.items():
            first = number % len(offering)
            for arm in offering[first:] + offering[:first]:
                seen = ask(args.load, work, arm, *kind, args.seconds)
                rounds.setdefault((kind, arm.name), []).append(seen)
                progress.advance(task)
    return [
        {
            "payload": payload.name,
            "protocol": protocol,
            "connections": connections,
            "arm": name,
            "rounds": seen,
        }
        for ((payload, protocol, connections), name), seen in rounds.items()
    ]


def arguments() -> argparse.Namespace:
    """The command line; `--quick` sets what else is not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binaries", type=Path, required=True, help="where the bench's release binaries are")
    parser.add_argument("--clients", type=Path, required=True, help="a Python that has KServe's SDK")
    parser.add_argument("--work", type=Path, required=True, help="a folder for bodies and logs")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that writes nothing into the repository"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="how long each server is asked in each round")
    parser.add_argument("--connections", type=int, nargs="+")
    parser.add_argument("--starts", type=int)
    args = parser.parse_args()
    usual = {"rounds": 5, "seconds": 2.0, "connections": [1, 16, 64], "starts": 20}
    quick = {"rounds": 2, "seconds": 0.3, "connections": [16], "starts": 3}
    for name, value in (quick if args.quick else usual).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.load = args.binaries / "load"
    return args


def main() -> None:
    """Starts, load, memory; then the page."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    for old in args.work.glob("*.body"):
        old.unlink()
    arms = all_arms(args.binaries, args.clients)
    missing = [protocol for protocol in PROTOCOLS if protocol not in arms[0].protocols]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    begun, busy = time.time(), os.getloadavg()[0]
    with Progress(*columns, console=CONSOLE) as progress, ExitStack() as running:
        starts = measure_starts(arms, args.work, args.starts, progress)
        for arm in arms:
            running.callback(arm.stop)
            arm.start(args.work / f"{arm.name}.log")
        idle = {arm.name: arm.memory_mb() for arm in arms}
        load = measure_load(args, arms, args.work, progress)
        memory = {arm.name: {"idle": idle[arm.name], "after": arm.memory_mb()} for arm in arms}
    results = {
        "settings": {
            "rounds": args.rounds,
            "seconds": args.seconds,
            "connections": args.connections,
            "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(begun)),
            "load_average": busy,
            "not_offered": missing,
        },
        "labels": {arm.name: arm.label for arm in arms},
        "payloads": {payload.name: payload.what for payload in payloads()},
        "starts_ms": starts,
        "memory_mb": memory,
        "load": load,
    }
    write(results, ROOT, quick=args.quick)


if __name__ == "__main__":
    main()
