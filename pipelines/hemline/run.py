"""Runs the pair in the foreground: `hemline run` shows one real recommendation, and serves until Ctrl-C."""

import itertools
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hemline import schema
from hemline.errors import DataError
from hemline.llm import LlmPair, LlmRanker, pair_of
from hemline.pair import MODEL, Pair, PairError, Server, check_free, interruptible, predictions
from hemline.storefront import Page, storefront

USAGE_ERROR = 64
TITLES = 6  # purchases that are shown
SHOWN = 10  # recommendations that are shown
WATCH_SECONDS = 0.2
SMALL_MODEL = (
    "The LLM is a small one (SmolLM2, 135 million parameters) on this machine's CPU: it shows that "
    "everything works, and is no good ranker. An answer takes seconds, and the same one again milliseconds. "
    "LLM_URL= names another."
)
PLAIN_WIDTH = 120


@dataclass(frozen=True)
class Article:
    """What people want to see of an article."""

    article_id: str
    prod_name: str
    product_type_name: str
    colour_group_name: str
    department_name: str


class Shop:
    """The work directory's tables, by id. Raises DataError where they are missing."""

    def __init__(self, work: Path) -> None:
        """Opens them; nothing is read before it is asked for."""
        tables = (schema.ARTICLES, schema.CUSTOMERS, schema.TRANSACTIONS)
        for table in tables:
            if not (work / table).is_file():
                raise DataError(f"{table}: not in {work}; run `hemline features` first")
        self._db = duckdb.connect()
        for table in tables:
            self._db.read_parquet(str(work / table)).create_view(table.removesuffix(".parquet"))

    def articles(self) -> dict[str, Article]:
        """All articles."""
        columns = ", ".join(Article.__dataclass_fields__)
        return {row[0]: Article(*row) for row in self._db.sql(f"select {columns} from articles").fetchall()}

    def customer(self) -> str:
        """Somebody who bought a few articles on the last day; always the same one."""
        # The file is sorted by day: all rows but that day's are skipped unread.
        question = """
            select customer_id from transactions where t_dat = ?
            group by customer_id order by abs(count(distinct article_id) - 4), customer_id limit 1
        """
        rows = self._db.execute(question, [self.last_day()]).fetchall()
        if not rows:
            raise DataError("transactions.parquet: has no purchases, so there is nobody to recommend to")
        return rows[0][0]

    def last_day(self) -> str:
        """The day of the last purchase (ISO)."""
        return str(self._db.sql("select max(t_dat)::date from transactions").fetchall()[0][0])

    def purchases(self, customer_id: str) -> list[str]:
        """Ids of the articles that the customer bought, the latest first."""
        question = """
            select article_id from transactions where customer_id = ?
            group by article_id order by max(t_dat) desc, article_id
        """
        return [row[0] for row in self._db.execute(question, [customer_id]).fetchall()]


@dataclass(frozen=True)
class Ports:
    """Where the pair serves; 0 takes a free port."""

    transformer: int
    predictor: int


def run(
    bundle: Path,
    store: str,
    work: Path,
    binaries: Path,
    ports: Ports,
    page: Page | None,
    llm: LlmRanker | None = None,
) -> int:
    """Serves until Ctrl-C (or SIGTERM), and returns the exit code; the shop too, where there is a page.

    0; 64 for a port that is taken; 1 where a server fails. Raises DataError where the work directory or a
    program is missing.
    """
    console, shop = output(), Shop(work)
    try:
        check_ports(ports, page)
    except PairError as error:
        say_why(error)
        return USAGE_ERROR
    logs = work / "logs" / f"run-{os.getpid()}"
    pair = pair_of(bundle, store, binaries, (ports.transformer, ports.predictor), logs, llm)
    if llm and llm.api.is_local:
        say(console, SMALL_MODEL)
    with refusals(console) as outcome, interruptible(), pair, ExitStack() as opened:
        url = pair.transformer.url
        front = opened.enter_context(storefront(binaries, url, page, shop.last_day(), logs)) if page else None
        introduce(console, pair, front, shop, logs)
        while True:
            pair.check_alive()
            if front:
                front.check_alive()
            time.sleep(WATCH_SECONDS)
    return outcome.code


def check_ports(ports: Ports, page: Page | None) -> None:
    """Raises PairError where a port is wanted twice, or somebody else has it."""
    named = [
        (ports.transformer, "--port", "PORT"),
        (ports.predictor, "--predictor-port", "PREDICTOR_PORT"),
        *([(page.port, "--shop-port", "SHOP_PORT")] if page else []),
    ]
    for (port, *first), (other, *second) in itertools.combinations(named, 2):
        if port == other != 0:
            flags, variables = (f"{one} and {two}" for one, two in zip(first, second, strict=True))
            raise PairError(f"{flags} ({variables}): both are {port}")
    for port, flag, variable in named:
        check_free(port, flag, variable)


def output() -> Console:
    """A console on stdout, wide enough for a table where stdout is no terminal."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


class Outcome:
    """How a run ended."""

    code = 0


@contextmanager
def refusals(console: Console) -> Iterator[Outcome]:
    """Ends quietly on Ctrl-C, and with one message and code 1 where a server fails."""
    outcome = Outcome()
    try:
        yield outcome
    except KeyboardInterrupt:
        console.print("stopped")
    except PairError as error:
        say_why(error)
        outcome.code = 1


def say_why(error: PairError) -> None:
    """Prints on stderr why the pair is not there."""
    print(f"hemline: {error}", file=sys.stderr)


def introduce(console: Console, pair: Pair, front: Server | None, shop: Shop, logs: Path) -> None:
    """Prints where the shop is, one recommendation, where to ask for more, and where the logs are."""
    articles, customer, day = shop.articles(), shop.customer(), shop.last_day()
    instance = {"customer_id": customer, "transaction_date": day, "k": SHOWN}
    answer = pair.predict(instance)
    if answer.status_code != 200:
        said = f"transformer answered {answer.status_code}: {answer.text}"
        raise PairError(f"{said}\n{pair.transformer.last_lines()}")
    (prediction,) = predictions(answer.json())
    bought = shop.purchases(customer)

    if front:
        say(console, f"\n{'shop':10} {front.url}")
    say(console, f"\nCustomer {customer}, on {day}, had bought:")
    for article_id in bought[:TITLES]:
        article = articles[article_id]
        say(console, f"  {article.prod_name} ({article.product_type_name}, {article.colour_group_name})")
    if len(bought) > TITLES:
        say(console, f"  … and {len(bought) - TITLES} more")
    console.print(ranking_table(prediction["ranking"], articles, by=prediction["ranker"]))
    for sentence in shortcomings(prediction):
        say(console, sentence)
    url, predictor = pair.transformer.url, pair.predictor.url
    for name, address in (
        ("V1", f"{url}/v1/models/{MODEL}:predict"),
        ("V2", f"{url}/v2/models/{MODEL}/infer"),
        ("health", f"{url}/v2/health/ready"),
        ("metrics", f"{url}/metrics"),
        ("predictor", f"{predictor}/v2/models/{MODEL}"),
        ("logs", str(logs)),
    ):
        say(console, f"{name:10} {address}")
    say(console, f"\n{curl(url, instance)}")
    if isinstance(pair, LlmPair):
        for name in list(pair.rankers)[1:]:
            other = {**instance, "ranker": name}
            say(console, f"\nThe same by {pair.rankers[name].name}, without a restart:\n{curl(url, other)}")
    say(console, "\nCtrl-C stops all servers.")


def curl(url: str, instance: dict) -> str:
    """A line for a shell that asks the same."""
    body = shlex.quote(json.dumps({"instances": [instance]}))
    return f"curl -s {url}/v1/models/{MODEL}:predict -d {body}"


def shortcomings(prediction: dict) -> list[str]:
    """What an answer lacks, in plain sentences."""
    sentences = []
    if scored := prediction.get("scored"):
        sentences.append(f"{scored} candidates were scored; the others follow in retrieval order.")
    if defaults := prediction.get("defaults"):
        sentences.append(f"Of these, {defaults} got a default 0, as the LLM gave no usable answer for them.")
    if degraded := prediction.get("degraded"):
        sentences.append(f"Degraded: {degraded}")
    return sentences


def say(console: Console, line: str) -> None:
    """Prints a line as it stands: no markup, no colours, no breaks."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def ranking_table(ranking: list, articles: dict[str, Article], by: str) -> Table:
    """Ranked articles as people read them."""
    table = Table(title=f"Recommended by {by}", title_justify="left")
    table.add_column("score", justify="right")
    for name in ("article", "name", "product type", "colour", "department"):
        table.add_column(name)
    for score, article_id in ranking:
        article = articles[article_id]
        names = (article.prod_name, article.product_type_name, article.colour_group_name)
        table.add_row(f"{score:.4f}", article_id, *map(Text, names), Text(article.department_name))
    return table
