"""The feature pipeline: from H&M's CSV files to the work directory (see `hemline.schema` for what it holds).

Everything is an Ibis expression that DuckDB evaluates out of memory where it must, and every file is sorted
by a full key: equal inputs and seed give equal bytes.
"""

import calendar
import math
import os
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import _

from hemline import generate, outputs, read, schema
from hemline.errors import DataError
from hemline.report import Bar, StepReport, progress_bar, say, show

SPLIT_DAYS = 7  # of validation, and of test
FEWEST_DAYS = 28  # below, there is no temporal split
NEGATIVES = 10  # for each positive
ATTEMPTS = 16  # draws for these negatives: some are bought articles, or drawn twice
OTHER_SPLITS_SHARE = 10  # validation and test have a tenth of training's positives, at most
FEWEST_OF_SEASON = 1_000  # positives; with fewer, training takes all its months
ROW_GROUP = 122_880


@dataclass(frozen=True)
class Window:
    """Days of the data and of its split; all inclusive. `split` is 'temporal' or 'random'."""

    first: date
    train_end: date
    validation_end: date
    test_start: date
    test_end: date
    split: str


def run(data: Path, work: Path, seed: int = 42, max_positives: int = 1_000_000) -> None:
    """Reads the CSV files in `data` and writes the work directory, which DataError leaves as it was."""
    partial = work / ".features.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    made = not work.exists()
    partial.mkdir(parents=True)
    try:
        con = ibis.duckdb.connect(partial / "scratch.duckdb", temp_directory=str(partial / "spill"))
        con.raw_sql("SET preserve_insertion_order = true")
        con.raw_sql("SET enable_progress_bar = false")
        con.raw_sql("SET memory_limit = '50%'")  # of the machine's; what needs more goes to disk
        with progress_bar("features", 10) as bar:
            steps, window = _build(con, data, partial, seed, max_positives, bar)
        con.disconnect()
        _publish(partial, work)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if made and not any(work.iterdir()):
            work.rmdir()
    show("features: what became of the rows", steps)
    if window.split == "random":
        days = (window.test_end - window.first).days + 1
        say(
            f"No temporal split: the data have {days} day(s), fewer than {FEWEST_DAYS}. Train, validation "
            "and test are random 80/10/10: metrics tell how well purchases of the same days are filled in, "
            "not how well later ones are foretold, and are not comparable to those of a temporal split."
        )


def _build(
    con: ibis.BaseBackend, data: Path, out: Path, seed: int, max_positives: int, bar: Bar
) -> tuple[list[StepReport], Window]:
    """Writes all files into `out`."""
    articles, article_report = read.articles(con, data)
    articles = con.create_table("articles", articles)
    bar.advance()
    customers, customer_report = read.customers(con, data)
    customers = con.create_table("customers", customers)
    bar.advance()
    transactions, transaction_report = read.transactions(con, data, articles, customers)
    transactions = con.create_table("purchases", transactions)
    _drop(con, "raw_articles", "unique_articles", "raw_customers", "unique_customers", "raw_transactions")
    bar.advance()
    window = split_window(*_first_and_last(transactions))
    transactions = con.create_table("transactions", with_calendar(transactions, window, seed))
    _drop(con, "purchases")
    default_age = _default_age(transactions, customers)
    customers = con.create_table("all_customers", complete_customers(customers, transactions, default_age))
    _drop(con, "customers")
    bar.advance()
    _write(con, describe_articles(articles, transactions).order_by("article_id"), out / schema.ARTICLES)
    _write(con, customers.order_by("customer_id"), out / schema.CUSTOMERS)
    bar.advance()
    order = ("t_dat", "customer_id", "article_id", "price", "sales_channel_id")
    _write(con, transactions.order_by(*order), out / schema.TRANSACTIONS)
    bar.advance()
    steps = [article_report, customer_report, transaction_report]
    for split in schema.SPLITS:
        limit = max_positives if split == "train" else max(max_positives // OTHER_SPLITS_SHARE, 1)
        steps.append(_write_ranking(con, out, seed, split, limit, window.train_end))
        bar.advance()
    if (data / schema.ORACLE).is_file():
        steps.append(_copy_oracle(data, out, window))
    counts = {"articles": articles, "customers": customers, "transactions": transactions}
    facts = {
        "seed": seed,
        "default_age": default_age,
        "counts": {name: _scalar(table.count()) for name, table in counts.items()},
        "window": {name: str(value) for name, value in vars(window).items()},
    }
    # Whoever fingerprints features.json fingerprints the tables with it.
    facts["files"] = {path.name: outputs.fingerprint(path) for path in sorted(out.glob("*.parquet"))}
    outputs.write_json(out / schema.FEATURES_JSON, facts)
    bar.advance()
    return steps, window


def _drop(con: ibis.BaseBackend, *tables: str) -> None:
    """Makes room in the scratch database."""
    for table in tables:
        con.raw_sql(f"DROP TABLE {table}")


def _copy_oracle(data: Path, out: Path, window: Window) -> StepReport:
    """Copies the oracle, unless it is about other days than those of the test."""
    try:
        rows = pq.read_metadata(data / schema.ORACLE).num_rows
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{schema.ORACLE}: cannot be read ({' '.join(str(error).split())})") from None
    found = (generate.read_stamp(data) or {}).get("oracle")
    if found == {"first": str(window.test_start), "last": str(window.test_end)}:
        shutil.copyfile(data / schema.ORACLE, out / schema.ORACLE)
        return StepReport(schema.ORACLE, rows, rows)
    report = StepReport(schema.ORACLE, rows, 0, 0, rows)
    days = (
        f"of {found['first']} to {found['last']}" if found else f"of unknown days ({schema.GENERATED_JSON})"
    )
    report.because("dropped", rows, f"{days}, and the test is of {window.test_start} to {window.test_end}")
    return report


def _publish(partial: Path, work: Path) -> None:
    """Moves the finished files into the work directory; features.json goes first and comes last."""
    (work / schema.FEATURES_JSON).unlink(missing_ok=True)
    files = [path for path in sorted(partial.iterdir()) if path.suffix == ".parquet"]
    if schema.ORACLE not in {path.name for path in files}:
        (work / schema.ORACLE).unlink(missing_ok=True)  # of other data
    for path in files:
        os.replace(path, work / path.name)
    os.replace(partial / schema.FEATURES_JSON, work / schema.FEATURES_JSON)


def _scalar(value: ir.Scalar):
    """A scalar expression as a Python value."""
    return value.to_pyarrow().as_py()


def _write(con: ibis.BaseBackend, rows: ir.Table, path: Path) -> None:
    """Parquet, in the order of `rows`; fixed row groups, so that equal rows are equal bytes."""
    con.to_parquet(rows, path, compression="zstd", row_group_size=ROW_GROUP)


def _first_and_last(transactions: ir.Table) -> tuple[date, date]:
    """First and last day of the data."""
    row = transactions.aggregate(first=_.t_dat.min(), last=_.t_dat.max()).to_pyarrow().to_pylist()[0]
    return row["first"], row["last"]


def split_window(first: date, last: date) -> Window:
    """The last seven days are for test, the seven before for validation; too few days have no such split."""
    if (last - first).days + 1 < FEWEST_DAYS:
        return Window(first, last, last, first, last, "random")
    validation_end = last - timedelta(SPLIT_DAYS)
    train_end = validation_end - timedelta(SPLIT_DAYS)
    return Window(first, train_end, validation_end, validation_end + timedelta(1), last, "temporal")


def bucket(seed: int, purpose: str, rows: ir.Table, *columns: str) -> ir.IntegerValue:
    """62 bits that only depend on seed, purpose and columns: random, yet the same in every run."""
    text = ibis.literal(f"{seed}|{purpose}")
    for column in columns:
        text = text + "|" + rows[column].cast("string")
    return text.hash() & (2**62 - 1)


def with_calendar(transactions: ir.Table, window: Window, seed: int) -> ir.Table:
    """Adds year, month, day, day_of_week (0 = Monday), month_sin, month_cos and split."""
    t = transactions
    if window.split == "temporal":
        split = ibis.cases(
            (t.t_dat <= window.train_end, "train"),
            (t.t_dat <= window.validation_end, "validation"),
            else_="test",
        )
    else:
        tenth = bucket(seed, "split", t, "customer_id", "article_id", "t_dat") % 10
        split = ibis.cases((tenth < 8, "train"), (tenth == 8, "validation"), else_="test")
    angle = 2 * math.pi * t.t_dat.month() / 12
    return t.mutate(
        year=t.t_dat.year(),
        month=t.t_dat.month(),
        day=t.t_dat.day(),
        day_of_week=t.t_dat.day_of_week.index(),
        month_sin=angle.sin(),
        month_cos=angle.cos(),
        split=split,
    )


def _default_age(transactions: ir.Table, customers: ir.Table) -> float:
    """Median of the known ages of customers who bought in training days; failing these, of all."""
    training = transactions.filter(_.split == "train")
    age = _scalar(customers.semi_join(training, "customer_id").age.median())
    age = _scalar(customers.age.median()) if age is None else age
    if age is None:
        raise DataError(
            f"{schema.CUSTOMERS_CSV}: column age: no customer has an age in the range that is believed"
        )
    return float(age)


def complete_customers(customers: ir.Table, transactions: ir.Table, default_age: float) -> ir.Table:
    """All customers, with those that only transactions know; ages imputed and grouped."""
    known = customers.mutate(profile=ibis.literal(True))
    others = transactions.anti_join(customers, "customer_id").select("customer_id").distinct()
    others = others.mutate(
        age=ibis.null("float64"),
        club_member_status=ibis.literal("ABSENT"),
        fashion_news_frequency=ibis.literal("NONE"),
        profile=ibis.literal(False),
    )
    everyone = known.union(others.select(known.columns))
    everyone = everyone.mutate(age=_.age.fill_null(default_age), age_known=_.age.notnull())
    groups = [(everyone.age <= bound, name) for bound, name in schema.AGE_GROUPS]
    everyone = everyone.mutate(age_group=ibis.cases(*groups, else_=schema.OLDEST_AGE_GROUP))
    columns = ("customer_id", "age", "age_known", "age_group")
    return everyone.select(*columns, "club_member_status", "fashion_news_frequency", "profile")


def describe_articles(articles: ir.Table, transactions: ir.Table) -> ir.Table:
    """Adds description (for semantic search), image and first_seen."""
    a = articles
    description = (
        a.prod_name + " - " + a.product_type_name + " in " + a.product_group_name
        + "; appearance: " + a.graphical_appearance_name
        + "; colour: " + a.colour_group_name + " (" + a.perceived_colour_value_name + " "
        + a.perceived_colour_master_name + ")"
        + "; category: " + a.index_group_name + ", " + a.index_name + ", " + a.department_name
        + ", " + a.garment_group_name + "; section: " + a.section_name + "; " + a.detail_desc
    )  # fmt: skip
    image = ibis.literal("images/") + a.article_id.left(3) + "/" + a.article_id + ".jpg"
    seen = transactions.group_by("article_id").aggregate(first_seen=_.t_dat.min())
    described = a.mutate(description=description, image=image).left_join(seen, "article_id")
    return described.select(*a.columns, "description", "image", "first_seen")


def season_months(last: date) -> list[int]:
    """The SEASON_MONTHS months (1 to 12) that end with the month of `last`; they are meant in every year."""
    return [(last.month - 1 - before) % 12 + 1 for before in reversed(range(schema.SEASON_MONTHS))]


def _write_ranking(
    con: ibis.BaseBackend, out: Path, seed: int, split: str, limit: int, train_end: date
) -> StepReport:
    """One split's ranking set: its purchases, and random articles that the customer had not bought."""
    purchases = con.table("transactions").filter(_.split == split)
    purchases = purchases.select("customer_id", "article_id", "t_dat", "month_sin", "month_cos").distinct()
    total = left = _scalar(purchases.count())
    if split == "train":
        recent = purchases.filter(_.t_dat.month().isin(season_months(train_end)))
        count = _scalar(recent.count())
        if count >= FEWEST_OF_SEASON:
            purchases, left = recent, count
    if left > limit:
        key = ("customer_id", "article_id", "t_dat")
        draw = bucket(seed, f"positives {split}", purchases, *key)
        purchases = purchases.mutate(draw=draw).order_by("draw", *key).limit(limit).drop("draw")
    number = ibis.row_number().over(order_by=("t_dat", "customer_id", "article_id"))
    positives = con.create_table(f"positives_{split}", purchases.mutate(positive=number))
    negatives = con.create_table(f"negatives_{split}", _negatives(con, positives, seed, split))
    labels = positives.select(
        "positive", "article_id", label=ibis.literal(1, "int8"), attempt=ibis.literal(-1, "int64")
    )
    labels = labels.union(
        negatives.select(
            "positive", "article_id", label=ibis.literal(0, "int8"), attempt=_.attempt.cast("int64")
        )
    )
    rows = _with_features(con, labels, positives).order_by("positive", "attempt")
    _write(con, rows.drop("positive", "attempt"), out / schema.ranking_file(split))
    kept, drawn = _scalar(positives.count()), _scalar(negatives.count())
    report = StepReport(f"ranking: {split}", total, kept, 0, total - kept)
    season = " and ".join(calendar.month_name[month] for month in season_months(train_end))
    report.because("dropped", total - left, f"not in the season of the last training day: {season}")
    report.because(
        "dropped", left - kept, f"more than {limit:,} positives: sampled by hash (--max-positives)"
    )
    report.because(
        "note",
        1,
        f"{drawn:,} negatives added: {NEGATIVES} for each positive, that its customer had not bought",
    )
    short = kept * NEGATIVES - drawn
    report.because(
        "note", short, f"{short:,} negatives fewer: too few articles that the customer did not buy"
    )
    _drop(con, f"positives_{split}", f"negatives_{split}")
    return report


def _negatives(con: ibis.BaseBackend, positives: ir.Table, seed: int, split: str) -> ir.Table:
    """positive, attempt, article_id: NEGATIVES articles for each positive, none that its customer bought.

    Later splits do not count: what a customer buys in them is not known yet, and must not show as a gap here.
    """
    articles = con.table("articles").select("article_id", place=ibis.row_number().over(order_by="article_id"))
    count = _scalar(articles.count())
    draws = positives.select(
        "positive",
        "customer_id",
        purchased="article_id",
        t_dat="t_dat",
        attempt=ibis.range(ATTEMPTS).unnest(),
    )
    place = bucket(seed, f"negatives {split}", draws, "customer_id", "purchased", "t_dat", "attempt") % count
    draws = draws.select("positive", "customer_id", "attempt", place=place).join(articles, "place")
    draws = draws.group_by("positive", "customer_id", "article_id").aggregate(attempt=_.attempt.min())
    so_far = schema.SPLITS[: schema.SPLITS.index(split) + 1]
    bought = (
        con.table("transactions")
        .filter(_.split.isin(so_far))
        .semi_join(positives, "customer_id")
        .select("customer_id", "article_id")
        .distinct()
    )
    draws = draws.anti_join(bought, ["customer_id", "article_id"])
    nth = ibis.row_number().over(group_by="positive", order_by="attempt")
    return draws.mutate(nth=nth).filter(_.nth < NEGATIVES).select("positive", "attempt", "article_id")


def _with_features(con: ibis.BaseBackend, labels: ir.Table, positives: ir.Table) -> ir.Table:
    """customer_id, article_id, label and the ranking features, in the order of the schema."""
    rows = labels.join(positives.drop("article_id"), "positive")
    rows = rows.join(con.table("all_customers").select("customer_id", "age"), "customer_id")
    rows = rows.join(con.table("articles").select("article_id", *schema.ARTICLE_ATTRIBUTES), "article_id")
    features = [
        rows[name].cast("float32").name(name) if datatype == "FP32" else rows[name]
        for name, datatype in schema.RANKING_FEATURES
    ]
    return rows.select("customer_id", "article_id", "label", *features, "positive", "attempt")
