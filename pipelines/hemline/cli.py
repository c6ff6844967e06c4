"""The `hemline` command: one subcommand per step, each a thin function over its module's `run`.

Exit codes: 0; 1 where a server of `run` or `smoke` failed, or a check of `smoke`; 64 for wrong usage
(EX_USAGE); 65 for data that cannot be used (EX_DATAERR), with one line on stderr. Modules are imported when
their command runs, so that `hemline --help` does not wait for the training libraries.
"""

import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hemline.errors import DataError

if TYPE_CHECKING:
    from hemline.llm import Api, LlmRanker

TYPER_USAGE_ERROR = 2
USAGE_ERROR = 64
DATA_ERROR = 65

app = typer.Typer(
    help="Feature and training pipelines that make Hemline's bundles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Work = Annotated[Path, typer.Option("--work", help="Work directory that all steps share.", file_okay=False)]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")]
AtLeastOne = Annotated[int | None, typer.Option(min=1)]


class Size(StrEnum):
    """Named sizes of generated data."""

    tiny = "tiny"
    small = "small"
    medium = "medium"
    full = "full"


@app.command()
def generate(
    out: Annotated[
        Path,
        typer.Option("--out", help="New directory for the data, or one that was generated.", file_okay=False),
    ],
    size: Annotated[Size, typer.Option(help="tiny is for tests, full is as large as H&M's.")] = Size.small,
    articles: Annotated[int | None, typer.Option(min=1, help="Instead of the size's number.")] = None,
    customers: Annotated[int | None, typer.Option(min=1, help="Instead of the size's number.")] = None,
    transactions: Annotated[int | None, typer.Option(min=1, help="Instead of the size's number.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Instead of the size's number; whole weeks.")
    ] = None,
    seed: Seed = 42,
) -> None:
    """Generate data in H&M's schema, with the oracle that knows the truth."""
    from hemline import generate as step

    step.run(out, size.value, seed, articles, customers, transactions, days)


@app.command()
def features(
    data: Annotated[
        Path, typer.Option("--data", help="Directory with H&M's three CSV files.", file_okay=False)
    ],
    work: Work,
    max_positives: Annotated[
        int,
        typer.Option(
            min=1,
            help="At most so many purchases in the ranking set for training, of the last two months of it; "
            "a tenth of that for validation and for test.",
        ),
    ] = 1_000_000,
    seed: Seed = 42,
) -> None:
    """Read the CSV files, mend them, and write the work directory."""
    from hemline import features as step

    step.run(data, work, seed, max_positives)


@app.command()
def train_retrieval(
    work: Work,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data (default: by their size).")
    ] = None,
    history: Annotated[
        bool, typer.Option(help="Whether the query tower is told what a customer touched of late.")
    ] = True,
    seed: Seed = 42,
) -> None:
    """Train the two towers."""
    from hemline import retrieval
    from hemline.course import Settings

    retrieval.train(work, seed, epochs, Settings(reads_history=history))


@app.command()
def train_ranking(
    work: Work,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="The recipe's fourteen features, and random negatives.")
    ] = False,
    seed: Seed = 42,
) -> None:
    """Train the ranker."""
    from hemline import ranking

    ranking.train(work, seed, recipe)


@app.command()
def create_embeddings(
    work: Work,
    of_texts: Annotated[
        bool, typer.Option("--texts/--no-texts", help="Whether the articles' texts too: the stylist's.")
    ] = True,
) -> None:
    """Compute the embedding of every article, and of what is said of it, and index both."""
    from hemline import embeddings, texts

    embeddings.create(work)
    if of_texts:
        texts.create(work)


@app.command()
def bundle(
    work: Work,
    out: Annotated[Path, typer.Option("--out", help="New directory for the bundle.", file_okay=False)],
    stylist: Annotated[
        bool, typer.Option("--stylist/--no-stylist", help="Whether with the embeddings of texts.")
    ] = True,
) -> None:
    """Write the bundle that the servers read."""
    from hemline import bundle as step

    step.create(work, out, stylist)


Store = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="HEMLINE_STORE",
        show_envvar=False,
        help="sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    ),
]


@app.command()
def load(
    work: Work,
    store: Store,
    stock: Annotated[
        Path | None,
        typer.Option(
            "--stock", help="CSV or Parquet with article_id and quantity; replaces the stock.", dir_okay=False
        ),
    ] = None,
) -> None:
    """Load customers, their purchases and stock into the store that the servers read."""
    from hemline import load as step

    step.run(work, store, stock)


@app.command()
def migrate(store: Store) -> None:
    """Bring a store's schema to this release's; `load` does so too."""
    from hemline import load

    load.migrate(store)


@app.command()
def forget(
    customer: Annotated[str, typer.Argument(help="The id of a customer or visitor.")], store: Store
) -> None:
    """Erase a customer or visitor from the store; loads do not bring them back."""
    from hemline import load

    load.forget(store, customer)


experiments = typer.Typer(help="What came of lists that were shown.", no_args_is_help=True)
app.add_typer(experiments, name="experiments")


@experiments.callback()
def _experiments() -> None:
    """What came of lists that were shown."""


@experiments.command("report")
def experiments_report(
    store: Store,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only lists that were shown since this day.")
    ] = None,
    within: Annotated[
        int, typer.Option(min=1, help="Days after it was shown in which an article is clicked or bought.")
    ] = 7,
    control: Annotated[
        str | None, typer.Option(help="The ranker, or ranker@bundle, that others are compared with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, on stdout.")] = False,
) -> None:
    """Each variant's conversion, with confidence intervals."""
    from hemline import experiments as step

    step.report(store, since and since.date().isoformat(), within, control, as_json)


Bundle = Annotated[Path, typer.Option("--bundle", help="The bundle to serve.", file_okay=False)]
Binaries = Annotated[Path, typer.Option("--binaries", help="Folder with the servers.", file_okay=False)]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


class Ranker(StrEnum):
    """Which predictor stands behind the transformer."""

    gbdt = "gbdt"
    llm = "llm"


class Strategy(StrEnum):
    """How predictor-llm asks the LLM."""

    pointwise = "pointwise"
    listwise = "listwise"


RankerOption = Annotated[
    Ranker,
    typer.Option("--ranker", help="gbdt is predictor-gbdt; llm is predictor-llm, with the other beside."),
]
LlmUrl = Annotated[
    str | None,
    typer.Option(envvar="LLM_URL", help="An OpenAI-compatible API; else a small model on this machine."),
]
LlmModel = Annotated[str | None, typer.Option(envvar="LLM_MODEL", help="The model to ask for there.")]
LlmStrategy = Annotated[Strategy, typer.Option(envvar="LLM_STRATEGY", help="How the LLM is asked.")]


def llm_api(url: str | None, model: str | None) -> "Api":
    """The LLM's API. Its key is LLM_API_KEY in the environment and no flag, which everybody could read."""
    from hemline.llm import Api

    if model and not url:
        needs = "needs an LLM_URL: the small model of this machine is the only one here"
        raise typer.BadParameter(needs, param_hint="LLM_MODEL")
    return Api(url, model)


def llm_ranker(ranker: Ranker, url: str | None, model: str | None, strategy: Strategy) -> "LlmRanker | None":
    """The LLM ranker that is asked for, if it is."""
    from hemline.llm import LlmRanker

    return LlmRanker(llm_api(url, model), strategy.value) if ranker is Ranker.llm else None


@app.command()
def evaluate(
    work: Work,
    bundle: Annotated[Path, typer.Option("--bundle", help="The bundle to measure.", file_okay=False)],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Where to draw the result (PNG).", dir_okay=False)
    ] = None,
    rankers: Annotated[
        str | None,
        typer.Option(
            help="Measure these as they are served instead: of gbdt, llm-pointwise, llm-listwise, popularity "
            "and retrieval, with commas between."
        ),
    ] = None,
    customers: Annotated[
        int, typer.Option(min=1, help="With --rankers: at most so many, drawn by the bundle's seed.")
    ] = 50,
    baselines: Annotated[
        bool,
        typer.Option(
            help="Also make and measure neighbours, ALS, EASE^R and tuned popularity; not with --rankers."
        ),
    ] = True,
    binaries: Binaries = Path("target/release"),
    llm_url: LlmUrl = None,
    llm_model: LlmModel = None,
) -> None:
    """Measure a bundle on the test days, beside baselines and the oracle; or rankers, as they are served."""
    if rankers is None:
        from hemline import evaluate as step

        step.evaluate(work, bundle, plot, baselines)
        return
    from hemline import evaluate_rankers
    from hemline.run import output, refusals

    api = llm_api(llm_url, llm_model)
    names = [name.strip() for name in rankers.split(",")]
    with refusals(output()) as outcome:
        evaluate_rankers.evaluate(work, bundle, binaries, names, customers, api, plot)
    raise typer.Exit(outcome.code)


Web = Annotated[Path, typer.Option("--web", help="The shop's front end, built.", file_okay=False)]


@app.command()
def run(
    bundle: Bundle,
    store: Store,
    work: Work,
    binaries: Binaries = Path("target/release"),
    port: Port = 8080,
    predictor_port: Port = 8085,
    shop: Annotated[bool, typer.Option(help="Whether the shop is started too.")] = True,
    shop_port: Port = 8090,
    web: Web = Path("storefront/web/dist"),
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of H&M's pictures for the shop.", file_okay=False)
    ] = None,
    image_url: Annotated[
        str | None, typer.Option(help="Or where browsers find them: a URL with {article_id}, {prefix}.")
    ] = None,
    ranker: RankerOption = Ranker.gbdt,
    llm: Annotated[
        bool | None,
        typer.Option(
            "--llm/--no-llm",
            help="Whether an LLM is there beside the ranker, for the stylist and to rank where it is chosen; "
            "by default, where one is named or the small model is installed.",
        ),
    ] = None,
    llm_url: LlmUrl = None,
    llm_model: LlmModel = None,
    llm_strategy: LlmStrategy = Strategy.listwise,
) -> None:
    """Start transformer, predictors and the shop, show one recommendation, and serve until Ctrl-C."""
    from hemline import run as step
    from hemline.llama_server import is_installed
    from hemline.llm import LlmRanker
    from hemline.storefront import Page

    if images and image_url:
        raise typer.BadParameter("--images says where pictures are too", param_hint="--image-url")
    asked = llm_ranker(ranker, llm_url, llm_model, llm_strategy)
    if asked is None and (bool(llm_url) or is_installed() if llm is None else llm):
        asked = LlmRanker(llm_api(llm_url, llm_model), llm_strategy.value, leads=False)
    page = Page(web, shop_port, images, image_url) if shop else None
    ports = step.Ports(port, predictor_port)
    raise typer.Exit(step.run(bundle, store, work, binaries, ports, page, asked))


@app.command()
def smoke(
    bundle: Bundle,
    store: Store,
    work: Work,
    binaries: Binaries = Path("target/release"),
    web: Annotated[
        Path | None, typer.Option("--web", help="Also check the shop, with this front end.", file_okay=False)
    ] = None,
    ranker: RankerOption = Ranker.gbdt,
    llm_url: LlmUrl = None,
    llm_model: LlmModel = None,
    llm_strategy: LlmStrategy = Strategy.listwise,
) -> None:
    """Start the pair on free ports, ask it what people ask it, and check the answers."""
    from hemline import smoke as step
    from hemline.storefront import Page

    llm = llm_ranker(ranker, llm_url, llm_model, llm_strategy)
    raise typer.Exit(step.smoke(bundle, store, work, binaries, web and Page(web), llm))


def main() -> None:
    """Runs the command line and exits."""
    try:
        app()
    except DataError as error:
        print(f"hemline: {error}", file=sys.stderr)
        sys.exit(DATA_ERROR)
    except SystemExit as stop:
        sys.exit(USAGE_ERROR if stop.code == TYPER_USAGE_ERROR else stop.code)
