"""Measures the two stores, small and as large as H&M's, in one run, and writes docs/benchmarks.md.

Each size is loaded into each store by `hemline load`; then the data plane's question ("who is this customer,
what did they buy, what is out of stock") is asked for random customers, one after the other, in an order of
stores and sizes that moves on from round to round.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
from dataplane.report import machine, table, write_between
from rich.console import Console
from rich.markdown import Markdown

from hemline import schema
from hemline.postgres_server import PostgresServer

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- bench-store: begin -->", "<!-- bench-store: end -->"
STORES = ("SQLite", "PostgreSQL")
ASKED = 100_000  # different customers


def main() -> None:
    """Loads, asks, writes."""
    args = arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    loads, urls = {}, {}
    with PostgresServer(args.folder / "postgres") as server:
        for size, work in (("small", args.small), ("full", args.full)):
            customers = args.folder / f"{size}.ids"
            write_ids(work, customers)
            for store in STORES:
                urls[size, store] = empty(args.folder, server, size, store)
                loads[size, store] = load(work, urls[size, store])
        asked = ask(args, urls)
    results = {
        "machine": machine(),
        "loads": [{"size": size, "store": store, **found} for (size, store), found in loads.items()],
        "questions": [
            {"size": size, "store": store, "rounds": found} for (size, store), found in asked.items()
        ],
    }
    text = page(results)
    Console().print(Markdown(text))
    if not args.quick:
        (ROOT / "bench" / "results" / "store.json").write_text(json.dumps(results, indent=1) + "\n")
        write_between(ROOT / "docs" / "benchmarks.md", BEGIN, END, text)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=Path, required=True, help="work directory of the small data")
    parser.add_argument("--full", type=Path, required=True, help="work directory of the full data")
    parser.add_argument("--fresh", type=Path, required=True, help="the program that asks: catalog's example")
    parser.add_argument("--folder", type=Path, required=True, help="where stores are made")
    parser.add_argument("--quick", action="store_true", help="one round, and no page")
    return parser.parse_args()


def write_ids(work: Path, file: Path) -> None:
    """Random customers to ask about, a line each."""
    ids = pq.read_table(work / schema.CUSTOMERS, columns=["customer_id"])["customer_id"].to_pylist()
    random.Random(7).shuffle(ids)
    file.write_text("".join(f"{customer}\n" for customer in ids[:ASKED]))


def empty(folder: Path, server: PostgresServer, size: str, store: str) -> str:
    """The URL of a store that is not there yet."""
    if store == "PostgreSQL":
        return server.create_database()
    path = folder / f"{size}.db"
    for file in folder.glob(f"{path.name}*"):
        file.unlink()
    return f"sqlite://{path}"


def load(work: Path, url: str) -> dict:
    """Loads by the command that users have; what it took."""
    rows = sum(pq.read_metadata(work / name).num_rows for name in (schema.CUSTOMERS, schema.TRANSACTIONS))
    begun = time.monotonic()
    subprocess.run(
        [Path(sys.executable).parent / "hemline", "load", "--work", work, "--store", url], check=True
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest so far
    return {"rows": rows, "seconds": time.monotonic() - begun, "peak_mib": peak, "bytes": size_of(url)}


def size_of(url: str) -> int:
    """Bytes on disk."""
    if url.startswith("sqlite://"):
        path = Path(url.removeprefix("sqlite://"))
        return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    import psycopg

    with psycopg.connect(url) as db:
        (size,) = db.execute("SELECT pg_database_size(current_database())").fetchone()
    return size


def ask(args: argparse.Namespace, urls: dict[tuple[str, str], str]) -> dict[tuple[str, str], list[dict]]:
    """The times of questions, by size and store; a round each."""
    kinds, found = list(urls), {kind: [] for kind in urls}
    for number in range(1 if args.quick else 5):
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            ids = args.folder / f"{kind[0]}.ids"
            command = [args.fresh, urls[kind], ids, "2" if args.quick else "5"]
            found[kind].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    return found


def page(results: dict) -> str:
    """The tables."""
    loads = {(found["size"], found["store"]): found for found in results["loads"]}
    asked = {(found["size"], found["store"]): found["rounds"] for found in results["questions"]}

    def middle(size: str, store: str, what: str) -> float:
        return median(found[what] for found in asked[size, store])

    def growth(store: str, what: str) -> str:
        pairs = zip(asked["small", store], asked["full", store], strict=True)
        ratios = [large[what] / small[what] for small, large in pairs]
        return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"

    load_rows = [
        [
            f"{size}, {store}",
            f"{found['rows']:,}",
            f"{found['seconds']:,.0f}",
            f"{found['rows'] / found['seconds']:,.0f}",
            f"{found['peak_mib']:,.0f}",
            f"{found['bytes'] / 2**20:,.0f}",
        ]
        for (size, store), found in loads.items()
    ]
    question_rows = [
        [
            store,
            *(
                f"{middle(size, store, 'p50_us'):,.0f} / {middle(size, store, 'p99_us'):,.0f}"
                for size in ("small", "full")
            ),
            growth(store, "p50_us"),
            growth(store, "mean_us"),
        ]
        for store in STORES
    ]
    head = ["", "customers and purchases", "s", "rows/s", "peak of the loader, MiB", "on disk, MiB"]
    return "\n\n".join(
        [
            results["machine"],
            "### Loading",
            table(head, load_rows),
            "### One question, µs (p50 / p99)",
            table(["store", "small", "full", "p50: full ÷ small", "mean: full ÷ small"], question_rows),
        ]
    )


if __name__ == "__main__":
    main()
