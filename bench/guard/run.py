"""Guards how many instructions a request costs: compares them with those in bench/results/guard.json.

The real servers run under valgrind's callgrind and are asked over sockets, one request after the other.

Exits with 1 where a case costs above 10 % more than in the baseline, and with 2 where it can't be measured.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import sha256
from importlib import metadata as wheels
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
from asking import Grpc, Http1
from counted import OBJECTS, SECONDS, Counted, StuckError
from protocols import Request, Tensor, v1, v2
from rich.table import Table

from hemline import bundle as bundles
from hemline import schema
from hemline.errors import DataError
from hemline.pair import MODEL, PREDICTOR, STORE, TRANSFORMER, PairError, Server, interruptible
from hemline.report import progress_bar
from hemline.run import Shop, output
from hemline.smoke import untouched

BASELINE = Path(__file__).parents[1] / "results" / "guard.json"
LIMIT = 0.10
ROWS, TOTAL, ATTEMPTS = 100, "total", 3
# Those that valgrind passes on.
CPU_FLAGS = ("sse4_2", "avx", "avx2", "f16c", "fma", "bmi1", "bmi2", "rdrand")
# A ranker is asked in numbers by a transformer of ours, and otherwise by feature.
ENCODED = "V2 binary, encoded"
CASES = {PREDICTOR: (ENCODED, "V2 binary", "V1"), TRANSFORMER: ("V1", "gRPC", "V2 binary")}


def main() -> None:
    """Measures, and compares or writes the baseline."""
    args = arguments()
    # One core: as many threads everywhere, and none that looks for work while others have it.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ.pop("ORT_DYLIB_PATH", None)  # the environment's wheel, whose version is known
    try:
        here = {"fingerprint": fingerprint(args.bundle), "cases": {}}
        there = here if args.update else json.loads(BASELINE.read_text())
        machine, baselines = (one["fingerprint"]["machine"] for one in (here, there))
        if machine != baselines:
            raise DataError(f"the baseline is of {baselines}, which says nothing about {machine}")
        with interruptible(), progress_bar("bench-guard", sum(map(len, CASES.values()))) as bar:
            for name in CASES:
                here["cases"] |= patiently(args, name)
                bar.advance(len(CASES[name]))
        if missing := here["cases"].keys() - there["cases"].keys():
            raise DataError(f"the baseline has no {'; '.join(sorted(missing))}: renew it with UPDATE=1")
    except (PairError, DataError, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
        print(f"bench-guard: {error}; logs are in {args.folder}", file=sys.stderr)
        sys.exit(2)
    if args.update:
        BASELINE.write_text(json.dumps(here, indent=1) + "\n")
    sys.exit(compare(there, here))


def arguments() -> argparse.Namespace:
    """The command line; exits with 2 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=Path, required=True, help="folder of the servers' programs")
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that they serve")
    parser.add_argument("--work", type=Path, required=True, help="work directory: customers and articles")
    parser.add_argument("--store", required=True, help="URL of the store; of a file, a copy is used")
    parser.add_argument("--folder", type=Path, required=True, help="for logs and callgrind's dumps")
    parser.add_argument("--update", action="store_true", help="make what is measured the baseline")
    args = parser.parse_args()
    if missing := [tool for tool in ("valgrind", "vgdb") if not shutil.which(tool)]:
        parser.exit(2, f"bench-guard: no {' and no '.join(missing)} here: install valgrind\n")
    if not args.update and not BASELINE.is_file():
        parser.exit(2, f"bench-guard: no baseline in {BASELINE}: make one with UPDATE=1\n")
    args.folder.mkdir(parents=True, exist_ok=True)
    return args


def patiently(args: argparse.Namespace, name: str) -> dict[str, dict[str, int]]:
    """Measures one server; anew where valgrind is stuck."""
    for _ in range(ATTEMPTS - 1):
        with suppress(StuckError):
            return measure(args, name)
    return measure(args, name)


def measure(args: argparse.Namespace, name: str) -> dict[str, dict[str, int]]:
    """One server's instructions a request, by case and object."""
    model = ["--model-dir", str(args.bundle), "--request-timeout=120s"]
    with ExitStack() as opened:
        more, store = [], {}
        if name == TRANSFORMER:
            ports, log = ["--http-port=0", "--model-name", MODEL], args.folder / "behind.log"
            behind = Server(PREDICTOR, args.binaries / PREDICTOR, [*model, *ports], log)
            opened.callback(behind.stop)
            asks = ["--predictor-host", behind.url.removeprefix("http://")]
            more = [*asks, "--store-timeout=120s", "--stylist=off"]
            store = {STORE: opened.enter_context(untouched(args.store))}
        valgrind = Path(shutil.which("valgrind") or "valgrind")
        server = Counted(valgrind, args.binaries / name, [*model, *more], args.folder, store)
        opened.callback(server.stop)
        server.wait_ready()
        asked = candidates(server.url, args.work) if name == PREDICTOR else customer(Shop(args.work))
        return dict(counted(server, asked))


def counted(server: Counted, asked: dict[str, tuple[Tensor, ...]]) -> Iterator[tuple[str, dict[str, int]]]:
    """The cases of one server: the same is asked in each protocol."""
    for case in CASES[server.name]:
        tensors = asked.get(case, asked[""])
        form = rows(server.name, tensors) if case == "V1" else v2(MODEL, tensors, case.partition(",")[0])
        if case == "gRPC":
            address = next(line["grpc"] for line in server.lines() if line.get("message") == "listening")
            connected = Grpc(address, form)
        else:
            connected = Http1(server.url.removeprefix("http://"), form)
        yield f"{server.name}, {case}", server.instructions(partial(ask, connected))


def ask(connected: Http1 | Grpc) -> None:
    """Asks once. Raises PairError where the answer is less than it should be."""
    if b"degraded" in (answer := connected.ask()):
        raise PairError(f"the answer is degraded: {answer.decode(errors='replace')}")


def rows(server: str, tensors: tuple[Tensor, ...]) -> Request:
    """The request as V1 has it: for the predictor rows beside their ids, else an object of fields."""
    columns = {tensor.name: tensor.plain for tensor in tensors}
    instance = {name: values[0] for name, values in columns.items()}
    if server == PREDICTOR:
        ids = columns.pop("article_id")
        instance = {"ranking_features": list(zip(*columns.values(), strict=True)), "article_ids": ids}
    return v1(MODEL, [instance])


def candidates(url: str, work: Path) -> dict[str, tuple[Tensor, ...]]:
    """What the predictor is asked: the first articles, with numbers that are always the same."""
    inputs = httpx.get(f"{url}/v2/models/{MODEL}", timeout=SECONDS).raise_for_status().json()["inputs"]
    articles, random = pq.read_table(work / schema.ARTICLES).slice(0, ROWS), np.random.default_rng(7)
    columns = {name: np.array(articles[name].to_pylist()) for name in articles.column_names}
    matrices = [one for one in inputs if one.get("parameters", {}).get("alternative")]
    tensors = tuple(
        Tensor(name, columns.get(name, random.normal(size=ROWS).astype(np.float32)).reshape(-1, 1))
        for name in (one["name"] for one in inputs if one not in matrices)
    )
    width = matrices[0]["shape"][1]
    encoded = Tensor(matrices[0]["name"], random.normal(size=(ROWS, width)).astype(np.float32))
    return {"": tensors, ENCODED: (encoded,)}


def customer(shop: Shop) -> dict[str, tuple[Tensor, ...]]:
    """What the transformer is asked: one customer's list."""
    fields = {"customer_id": shop.customer(), "transaction_date": shop.last_day()}
    return {"": tuple(Tensor(name, np.array([value])) for name, value in fields.items())}


def fingerprint(bundle: Path) -> dict[str, str]:
    """What counts depend on besides our code: ONNX Runtime and glibc choose theirs by the CPU."""
    cpu = Path("/proc/cpuinfo").read_text()
    vendor, flags = re.search(r"(vendor_id|implementer)\s*: (.*)", cpu), re.search(r"(flags)\s*: (.*)", cpu)
    has = [flag for flag in CPU_FLAGS if flags and flag in flags[2].split()]
    files = json.dumps(bundles.read_manifest(bundle)["files"], sort_keys=True)
    return {
        "machine": platform.machine(),
        "cpu": " ".join([vendor[2] if vendor else "unknown", *has]),
        "onnxruntime": wheels.version("onnxruntime"),
        "libc": " ".join(platform.libc_ver()),
        "rustc": version("rustc"),
        "valgrind": version("valgrind"),
        "bundle": sha256(files.encode()).hexdigest()[:12],
    }


def version(tool: str) -> str:
    """What a program says that it is."""
    return subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def compare(there: dict, here: dict) -> int:
    """Prints how what is measured here stands to the baseline. The exit code: 1 where it is too much more."""
    says = {name: (there["fingerprint"].get(name), value) for name, value in here["fingerprint"].items()}
    others = [f"{name} {old} there, {new} here" for name, (old, new) in says.items() if old != new]
    judged = ("own",) if others else ("own", TOTAL)
    table, up, down = Table("case", "object", "baseline", "now", "change"), [], []
    for case, now in here["cases"].items():
        for name in (*OBJECTS, TOTAL):
            both = (there["cases"][case], now)
            old, new = (sum(one.values()) if name == TOTAL else one[name] for one in both)
            change = new / old - 1 if old else float(new > 0)
            table.add_row(case if name == OBJECTS[0] else "", name, f"{old:,}", f"{new:,}", f"{change:+.1%}")
            if name in judged and abs(change) > LIMIT:
                (up if change > 0 else down).append(f"{case}: {name} {change:+.1%}")
        table.add_section()
    for column in table.columns[2:]:
        column.justify = "right"
    output().print(table)
    if others:
        print(f"Only Hemline's own code is judged, for the baseline is of elsewhere: {'; '.join(others)}.")
    if down:
        print(f"Down by more than {LIMIT:.0%}; renew the baseline with UPDATE=1:", *down, sep="\n  ")
    if up:
        print(f"FAILED: up by more than {LIMIT:.0%}:", *up, sep="\n  ")
    return int(bool(up))


if __name__ == "__main__":
    main()
