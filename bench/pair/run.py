"""Measures Hemline's pair beside its peers, all in one run, and writes docs/benchmarks.md.

In every round each pair has its turn at each kind of load, in an order that moves on from round to round, so
that what else the machine does meets all of them alike.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import report
from arms import Tools
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import FULL, QUICK, Bench

ROOT = Path(__file__).parents[2]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--binaries", type=Path, required=True, help="where transformer and predictor-gbdt are"
    )
    parser.add_argument("--bench-binaries", type=Path, required=True, help="where load, floor and delay are")
    parser.add_argument("--peer", type=Path, required=True, help="a Python that has KServe's SDK")
    parser.add_argument("--mlserver", type=Path, required=True, help="a Python that has MLServer")
    parser.add_argument("--onnxruntime", type=Path, required=True, help="its shared library")
    parser.add_argument("--images", type=Path, required=True, help="where `make images` writes")
    parser.add_argument("--data", type=Path, required=True, help="the folder with data, bundles and stores")
    parser.add_argument("--work", type=Path, required=True, help="a folder for bodies and logs")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that writes nothing into the repository"
    )
    parser.add_argument("--soak", type=float, help="seconds of the soak")
    every = ",".join(report.SECTIONS)
    parser.add_argument("--sections", default=every, help=f"only these; nothing is written then: {every}")
    args = parser.parse_args()
    args.sections = args.sections.split(",")
    if unknown := set(args.sections) - report.SECTIONS.keys():
        parser.error(f"--sections: no {', '.join(sorted(unknown))}; there are {every}")
    return args


def main() -> None:
    """Every section, then the page."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    for log in args.work.glob("*.log"):
        log.unlink()
    programs = (args.binaries, args.bench_binaries, args.peer, args.mlserver, args.onnxruntime)
    # Not resolved: what a link in an environment points to is not that environment.
    tools = Tools(*(program.absolute() for program in programs))
    amounts = QUICK if args.quick else FULL
    if args.soak:
        amounts = amounts.with_soak(args.soak)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    begun, busy = time.time(), os.getloadavg()[0]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bench = Bench(tools, args.data.absolute(), args.work, amounts, args.images, progress)
        for name in args.sections:
            bench.results[name] = report.SECTIONS[name].measure(bench)
    settings = report.settings(bench, begun, busy)
    results = {"settings": settings, "sections": bench.results}
    whole = set(args.sections) == report.SECTIONS.keys()
    if whole:
        results["ratios"] = report.ratios(bench.results)
    folder = ROOT if whole and not args.quick else Path(tempfile.mkdtemp(prefix="bench-"))
    file = report.write(results, folder, ROOT)
    print(f"written to {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
