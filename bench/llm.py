"""Measures an LLM that ranks 20 candidates, asked in every way, in one run, and writes docs/benchmarks.md.

predictor-llm asks llama.cpp's server with the small model. In every round each way has its turn, in an order
that moves on from round to round, each time about a customer and candidates of its own, so that the server's
prefix cache holds of a prompt no more than what all prompts begin with. What is compared are ratios within a
round. Everything runs twice, without that cache and with it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import pyarrow.parquet as pq
from dataplane.report import machine, table, write_between
from rich.console import Console
from rich.markdown import Markdown
from scripted_llm import ScriptedLlm

from hemline import schema
from hemline.llm import LISTWISE, POINTWISE, PREDICTOR_LLM, Api, start_llama
from hemline.pair import MODEL, Server, interruptible, v2_body
from hemline.report import progress_bar

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- bench-llm: begin -->", "<!-- bench-llm: end -->"
CANDIDATES = 20
PURCHASES = 10
PATIENCE = 300
AGAIN = 20  # how often the same is asked again

RECIPE, CONCURRENT, LISTED = "recipe", "pointwise", "listwise"
ONE_BY_ONE, AT_ONCE = "server, one by one", "server, in parallel"
LABELS = {
    RECIPE: "the recipe's way: 20 pointwise calls, one after the other",
    CONCURRENT: "pointwise, as many calls at once as the server has slots",
    LISTED: "listwise, one call",
    ONE_BY_ONE: "the same 20 calls without predictor-llm, one after the other",
    AT_ONCE: "the same 20 calls without predictor-llm, as many at once as slots",
}


class Shop:
    """Real customers and articles to ask about."""

    def __init__(self, work: Path) -> None:
        columns = ["article_id", "prod_name", "detail_desc", *schema.ARTICLE_ATTRIBUTES]
        self._articles = pq.read_table(work / schema.ARTICLES, columns=columns)
        self._random = np.random.default_rng(42)

    def request(self) -> dict:
        """The V2 body of a request about a customer and candidates that nobody was asked about before."""
        drawn = self._random.choice(len(self._articles), CANDIDATES + PURCHASES, replace=False)
        rows = self._articles.take(drawn[:CANDIDATES])
        texts = {name: rows[name].to_pylist() for name in rows.column_names}
        age, month = float(self._random.integers(18, 70)), int(self._random.integers(1, 13))
        numbers = {
            "age": age,
            "month_sin": float(np.sin(2 * np.pi * month / 12)),
            "month_cos": float(np.cos(2 * np.pi * month / 12)),
        }
        texts["history"] = [self._history(drawn[CANDIDATES:])] * CANDIDATES
        inputs = {name: ("FP32", [[value]] * CANDIDATES) for name, value in numbers.items()}
        return v2_body(**inputs, **{name: ("BYTES", [[v] for v in column]) for name, column in texts.items()})

    def _history(self, drawn: np.ndarray) -> str:
        columns = ("prod_name", "product_type_name", "colour_group_name")
        rows = self._articles.take(drawn)
        named = zip(*(rows[name].to_pylist() for name in columns), strict=True)
        return "; ".join(f"{name} ({kind}, {colour})" for name, kind, colour in named)


class Predictor:
    """A predictor-llm that is asked over V2; it gets of a request's inputs those that it lists."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.wait_ready()
        self._http = httpx.Client(base_url=server.url, timeout=PATIENCE)
        listed = self._http.get(f"/v2/models/{MODEL}").json()["inputs"]
        self._inputs = {tensor["name"] for tensor in listed}

    def ask(self, body: dict) -> float:
        """Seconds until it answered. Exits where it did not, or by default."""
        wanted = {"inputs": [tensor for tensor in body["inputs"] if tensor["name"] in self._inputs]}
        begun = time.perf_counter()
        answer = self._http.post(f"/v2/models/{MODEL}/infer", json=wanted)
        took = time.perf_counter() - begun
        if answer.status_code != 200 or "degraded" in answer.json().get("parameters", {}):
            sys.exit(f"{self.server.name}: {answer.text}")
        return took


class Bench:
    """What is started for one setting of the server's prefix cache; a context manager."""

    def __init__(self, args: argparse.Namespace, prefix_cache: bool) -> None:
        self._args, self._logs = args, args.logs / ("cache-on" if prefix_cache else "cache-off")
        self._api = Api(slots=args.slots, prefix_cache=prefix_cache)
        self._running = ExitStack()

    def __enter__(self) -> "Bench":
        """Starts the LLM and a predictor for each way to ask it."""
        with ExitStack() as starting:
            llama = start_llama(self._api, self._logs / "llama.log")
            starting.callback(llama.stop)
            self.llm = f"{llama.url}/v1"
            self._scripted = starting.enter_context(ScriptedLlm())
            slots = f"--concurrency={self._args.slots}"
            uncached = "--cache-entries=0"
            ways = {
                RECIPE: (self.llm, POINTWISE, "--concurrency=1", uncached),
                CONCURRENT: (self.llm, POINTWISE, slots, uncached),
                LISTED: (self.llm, LISTWISE, slots, uncached),
                "recorder": (self._scripted.url, POINTWISE, slots, uncached),
                "cached pointwise": (self.llm, POINTWISE, slots),
                "cached listwise": (self.llm, LISTWISE, slots),
            }
            self.predictors = {name: self._predictor(name, starting, *way) for name, way in ways.items()}
            self._running = starting.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops everything."""
        self._running.close()

    def calls(self, body: dict) -> list[dict]:
        """The completions that predictor-llm asks for where it is asked this pointwise."""
        before = len(self._scripted.calls)
        self.predictors["recorder"].ask(body)
        return self._scripted.calls[before:]

    def directly(self, calls: list[dict], at_once: int) -> float:
        """Seconds until the LLM itself answered these calls, so many at once."""
        with httpx.Client(base_url=self.llm, timeout=PATIENCE) as http, ThreadPoolExecutor(at_once) as pool:
            begun = time.perf_counter()
            answers = list(pool.map(lambda call: http.post("chat/completions", json=call), calls))
            took = time.perf_counter() - begun
        if bad := [answer.text for answer in answers if answer.status_code != 200]:
            sys.exit(f"llama.cpp: {bad[0]}")
        return took

    def ways(self) -> dict[str, Callable[[dict], float]]:
        """How a request can be asked: by name, what takes its body and gives the seconds that it took."""
        slots = self._args.slots
        return {
            **{name: self.predictors[name].ask for name in (RECIPE, CONCURRENT, LISTED)},
            ONE_BY_ONE: lambda body: self.directly(self.calls(body), 1),
            AT_ONCE: lambda body: self.directly(self.calls(body), slots),
        }

    def _predictor(self, name: str, stack: ExitStack, url: str, strategy: str, *more: str) -> Predictor:
        arguments = [f"--model_name={MODEL}", "--http_port=0", f"--llm-url={url}", f"--strategy={strategy}"]
        # A model that fails the self-test pointwise takes as long as one that passes.
        patient = [f"--request-timeout={PATIENCE}s", f"--llm-timeout={PATIENCE}s", "--self-test=warn"]
        program = self._args.binaries / PREDICTOR_LLM
        log = self._logs / f"{name.replace(' ', '-')}.log"
        server = Server(PREDICTOR_LLM, program, [*arguments, *patient, *more], log)
        stack.callback(server.stop)
        return Predictor(server)


def measure(bench: Bench, shop: Shop, rounds: int, title: str) -> dict[str, list[float]]:
    """Seconds of each round, by way."""
    ways = bench.ways()
    took: dict[str, list[float]] = {name: [] for name in ways}
    ways[LISTED](shop.request())  # the model's pages are in memory; of a second a way's connection is nothing
    with progress_bar(title, rounds * len(ways)) as bar:
        for number in range(rounds):
            names = list(ways)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                took[name].append(ways[name](shop.request()))
                bar.advance()
    return took


def measure_again(bench: Bench, shop: Shop) -> dict[str, dict[str, float]]:
    """The same request for the first time and again (the median), by strategy, with predictor-llm's cache."""
    found = {}
    for strategy in (POINTWISE, LISTWISE):
        predictor, body = bench.predictors[f"cached {strategy}"], shop.request()
        first = predictor.ask(body)
        found[strategy] = {"first": first, "again": median(predictor.ask(body) for _ in range(AGAIN))}
    return found


def ratios(took: dict[str, list[float]], slow: str, fast: str) -> list[float]:
    """How many times as fast, by round."""
    return [one / other for one, other in zip(took[slow], took[fast], strict=True)]


def spread(values: list[float], digits: int = 1) -> str:
    """The median, the least and the most."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def page(results: dict) -> str:
    """What stands between the page's marks."""
    settings, off, on = results["settings"], results["cache_off"], results["cache_on"]
    again = results["again"]

    def beside(took: dict[str, list[float]]) -> str:
        ours, theirs = ratios(took, RECIPE, CONCURRENT), ratios(took, ONE_BY_ONE, AT_ONCE)
        return f"{spread(ours, 2)} beside {spread(theirs, 2)}"

    goals = [
        [
            "listwise ÷ the recipe's way ≥ 3, prefix cache off",
            f"{spread(ratios(off, RECIPE, LISTED))} times as fast",
        ],
        ["the same, prefix cache on", f"{spread(ratios(on, RECIPE, LISTED))} times as fast"],
        [
            "pointwise: concurrent ÷ one by one ≥ the server's own parallel speed-up, prefix cache off",
            beside(off),
        ],
        [
            "the same, prefix cache on",
            beside(on),
        ],
        [
            "the same request again < 1/50 of the first",
            "; ".join(f"{name} 1/{seen['first'] / seen['again']:,.0f}" for name, seen in again.items()),
        ],
    ]
    rows = [
        [
            LABELS[name],
            spread(off[name], 2),
            spread(on[name], 2),
            f"{median(off[name]) / median(off[LISTED]):.1f}",
        ]
        for name in LABELS
    ]
    parts = [
        f"{settings['started']}; {machine()}. {settings['rounds']} rounds, {settings['slots']} slots. "
        f"Load average before: {settings['load_average']:.2f}.",
        table(["goal", "measured"], goals).replace("---:", "---"),
        table(["20 candidates, s", "prefix cache off", "prefix cache on", "÷ listwise, off"], rows),
        table(
            ["again, from predictor-llm's cache", "first, s", "again, ms"],
            [[name, f"{seen['first']:.2f}", f"{1000 * seen['again']:.2f}"] for name, seen in again.items()],
        ),
    ]
    return "\n\n".join(parts)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binaries", type=Path, required=True, help="where predictor-llm is")
    parser.add_argument("--work", type=Path, required=True, help="a work directory with articles")
    parser.add_argument("--logs", type=Path, required=True, help="a folder for logs")
    parser.add_argument("--slots", type=int, default=4, help="calls that the LLM's server computes at once")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="a short run that writes nothing")
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    return args


def main() -> None:
    """Both settings of the prefix cache, then the page."""
    args = arguments()
    shop = Shop(args.work)
    begun, busy = time.time(), os.getloadavg()[0]
    results: dict = {}
    for key, prefix_cache in (("cache_off", False), ("cache_on", True)):
        with interruptible(), Bench(args, prefix_cache) as bench:
            results[key] = measure(bench, shop, args.rounds, key.replace("_", " "))
            if not prefix_cache:
                results["again"] = measure_again(bench, shop)
    results["settings"] = {
        "rounds": args.rounds,
        "slots": args.slots,
        "candidates": CANDIDATES,
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(begun)),
        "load_average": busy,
    }
    text = page(results)
    Console().print(Markdown(text))
    if args.quick:
        return
    file = ROOT / "bench" / "results" / "llm.json"
    file.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
    write_between(ROOT / "docs" / "benchmarks.md", BEGIN, END, text)


if __name__ == "__main__":
    main()
