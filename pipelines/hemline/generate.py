"""Data in H&M's schema with a known truth: three CSV files, and the oracle that knows the best answers.

`generated.json` beside them says how they were made; only a directory with it is ever replaced.

The same options and seed give the same bytes. Purchases are drawn and written a week at a time, so that full
size (31.8 million) needs no more memory than the pairs of customer and article, which the oracle excludes as
bought.
"""

import json
import tempfile
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hemline import catalogue, schema, tastes
from hemline.errors import DataError
from hemline.report import progress_bar, say

MADE_BY = "hemline generate"
FIRST_DAY = date(2018, 9, 20)
WEEK = 7
ORACLE_DEPTH = 100
ORACLE_BATCH = 200  # customers at once: their probabilities of all articles are 170 MB at full size
ORACLE_CUSTOMERS = 20_000  # at most; more are sampled, or the oracle would outweigh the data

ACTIVITY_SPREAD = 1.0  # log standard deviation of customers' numbers of purchases
NEVER_BUYS = 0.02
BASKET = 2.6  # articles, mean
SECOND_PIECE = 0.03  # share of rows that repeat the row before: the same article twice in a basket
MARKDOWN = 0.12  # share of rows below list price
WEEKDAYS = np.array([0.9, 0.9, 0.95, 1.0, 1.1, 1.25, 0.9])  # Monday first
MONTHS = np.array([0.85, 0.8, 0.9, 1.0, 1.05, 1.2, 1.1, 0.95, 1.0, 0.95, 1.1, 1.1])
EURO = 590.0  # H&M publishes prices divided by this


@dataclass(frozen=True)
class Size:
    """How much to generate; transactions are exact, and `days` are a whole number of weeks."""

    articles: int
    customers: int
    transactions: int
    days: int


# 343 days end in August: every month of the year, and no test month that is in the data twice.
SIZES = {
    "tiny": Size(400, 600, 12_000, 182),
    "small": Size(10_000, 20_000, 400_000, 343),
    "medium": Size(40_000, 150_000, 3_500_000, 343),
    "full": Size(105_542, 1_371_980, 31_788_324, 735),
}


@dataclass(frozen=True)
class _World:
    """Everything that is drawn once, before the weeks."""

    seed: int
    size: Size
    articles: catalogue.Catalogue
    truth: tastes.Truth
    mixtures: tastes.Mixtures
    age_groups: np.ndarray  # [customers]
    activity: np.ndarray  # [customers], cumulative, ends at 1
    online: np.ndarray  # [customers], share of purchases that are made online
    customers: pa.Table  # the rows of customers.csv


def run(
    out: Path,
    size: str = "small",
    seed: int = 42,
    articles: int | None = None,
    customers: int | None = None,
    transactions: int | None = None,
    days: int | None = None,
) -> None:
    """Generates data of a named size, each number of which can be replaced, into the directory `out`.

    What an earlier run generated there is replaced when the new data are complete. DataError where `out` is
    anything else: nothing is changed then.
    """
    out = out.resolve()
    given = {"articles": articles, "customers": customers, "transactions": transactions, "days": days}
    chosen = replace(SIZES[size], **{name: value for name, value in given.items() if value is not None})
    _check(chosen)
    _refuse_unless_ours(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise DataError(f"--out: cannot write beside {out} ({error.strerror})") from None
    with scratch as folder:
        new = Path(folder) / "new"
        new.mkdir()
        _write(_draw_world(seed, chosen), new)
        _refuse_unless_ours(out)  # somebody may have put something there meanwhile
        if out.exists():
            out.rename(Path(folder) / "old")
        new.rename(out)
    say(
        f"generated {chosen.articles:,} articles, {chosen.customers:,} customers and {chosen.transactions:,} "
        f"transactions over {chosen.days} days (seed {seed}) in {out}"
    )


def _write(world: _World, folder: Path) -> None:
    """Writes all files."""
    _write_csv(world.articles.table, folder / schema.ARTICLES_CSV)
    _write_csv(world.customers, folder / schema.CUSTOMERS_CSV)
    bought = _write_transactions(world, folder / schema.TRANSACTIONS_CSV)
    _write_oracle(world, bought, folder / schema.ORACLE)
    days = [FIRST_DAY + timedelta(world.size.days - before) for before in (WEEK, 1)]
    facts = {
        "made_by": MADE_BY,
        "seed": world.seed,
        "counts": vars(world.size),
        "oracle": {"first": str(days[0]), "last": str(days[1])},
        "bytes": _sizes(folder),
    }
    (folder / schema.GENERATED_JSON).write_text(json.dumps(facts, indent=2) + "\n")


def _sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of each file but the stamp."""
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name != schema.GENERATED_JSON}


def read_stamp(folder: Path) -> dict | None:
    """What generated.json in `folder` says; None where there is none, or where it is not ours."""
    try:
        facts = json.loads((folder / schema.GENERATED_JSON).read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and facts.get("made_by") == MADE_BY else None


def _check(size: Size) -> None:
    """Refuses sizes that cannot be generated."""
    least = {"articles": 2 * ORACLE_DEPTH, "customers": 10, "transactions": 100, "days": 28}
    for name, minimum in least.items():
        if getattr(size, name) < minimum:
            raise DataError(f"--{name}: {getattr(size, name)} is too few, at least {minimum} are needed")
    if size.days % WEEK:
        raise DataError(f"--days: {size.days} is no whole number of weeks")


def _refuse_unless_ours(out: Path) -> None:
    """Refuses a directory with anything in it that was not generated, and the one that this runs in."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"--out: {out} is not a directory")
    if Path.cwd().is_relative_to(out):
        raise DataError(f"--out: {out} is the directory that this runs in; choose a new one")
    try:
        empty, sizes = not any(out.iterdir()), _sizes(out)
    except OSError as error:
        raise DataError(f"--out: {out} cannot be read ({error.strerror})") from None
    if not empty and (read_stamp(out) or {}).get("bytes") != sizes:
        raise DataError(f"--out: {out} has files in it that were not generated; choose a new directory")


def _rng(seed: int, *stream: int) -> np.random.Generator:
    """An own stream of random numbers for each part, so that none depends on how much another one drew."""
    return np.random.default_rng([seed, *stream])


def _draw_world(seed: int, size: Size) -> _World:
    """Articles, truth and customers."""
    articles = catalogue.draw(_rng(seed, 1), size.articles)
    truth = tastes.draw(_rng(seed, 2), articles, size.days)
    rng = _rng(seed, 3)
    ages = _draw_ages(rng, size.customers)
    activity = np.exp(rng.normal(0, ACTIVITY_SPREAD, size.customers))
    activity[rng.random(size.customers) < NEVER_BUYS] = 0.0
    activity = np.cumsum(activity)
    return _World(
        seed=seed,
        size=size,
        articles=articles,
        truth=truth,
        mixtures=tastes.draw_mixtures(rng, truth, ages),
        age_groups=tastes.age_group(ages),
        activity=activity / activity[-1],
        online=rng.beta(1.2, 0.8, size.customers),
        customers=_draw_customers(rng, ages),
    )


def _draw_ages(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ages in whole years: many in their twenties, and a second hill around fifty."""
    hill = rng.choice(3, size=n, p=[0.55, 0.33, 0.12])
    ages = rng.normal(np.array([26.0, 48.0, 62.0])[hill], np.array([5.0, 8.0, 7.0])[hill])
    return np.clip(np.floor(ages), 16, 95)


def _hex_ids(rng: np.random.Generator, n: int) -> np.ndarray:
    """N identifiers of 64 hexadecimal digits, sorted."""
    return np.sort(np.frombuffer(rng.bytes(32 * n).hex().encode(), dtype="S64"))


def _draw_customers(rng: np.random.Generator, ages: np.ndarray) -> pa.Table:
    """The rows of customers.csv, with gaps as H&M's file has them."""
    n = len(ages)
    active = rng.random(n) < 0.34
    news = rng.choice(4, size=n, p=[0.64, 0.345, 0.005, 0.01])
    status = rng.choice(4, size=n, p=[0.925, 0.065, 0.0005, 0.0095])
    postal = _hex_ids(rng, max(n // 4, 1))[rng.integers(max(n // 4, 1), size=n)]
    flag = pa.array(np.where(active, "1.0", ""))
    columns = (
        pa.array(_hex_ids(rng, n)).cast(pa.string()),
        flag,
        pa.array(np.where(active & (rng.random(n) < 0.97), "1.0", "")),
        pa.array(["ACTIVE", "PRE-CREATE", "LEFT CLUB", ""]).take(pa.array(status)),
        pa.array(["NONE", "Regularly", "Monthly", ""]).take(pa.array(news)),
        pa.array(np.where(rng.random(n) < 0.01, "", ages.astype(int).astype(str))),
        pa.array(postal).cast(pa.string()),
    )
    return pa.table(columns, names=list(schema.CUSTOMER_CSV_COLUMNS))


def _draw_week(world: _World, week: int, count: int) -> dict[str, np.ndarray]:
    """`count` purchases of one week, sorted by day and customer: day, customer, article, price, channel."""
    rng = _rng(world.seed, 4, week)
    basket = np.searchsorted(np.cumsum(rng.geometric(1 / BASKET, size=count)), np.arange(count), side="right")
    days = [FIRST_DAY + timedelta(week * WEEK + i) for i in range(WEEK)]
    traffic = np.array([WEEKDAYS[day.weekday()] * MONTHS[day.month - 1] for day in days])
    day = rng.choice(WEEK, size=count, p=traffic / traffic.sum())[basket]
    customer = np.searchsorted(world.activity, rng.random(count), side="right")[basket]
    article = _draw_articles(world, rng, _now(world, week), customer)
    price = world.articles.price[article] / EURO
    price = price * np.where(rng.random(count) < MARKDOWN, rng.choice([0.5, 0.7, 0.8], size=count), 1.0)
    channel = 1 + (rng.random(count) < world.online[customer])[np.searchsorted(basket, basket)]
    again = np.flatnonzero((rng.random(count) < SECOND_PIECE)[1:] & (basket[1:] == basket[:-1])) + 1
    article[again], price[again] = article[again - 1], price[again - 1]
    order = np.lexsort((customer, day))
    rows = {
        "day": day + week * WEEK,
        "customer": customer,
        "article": article,
        "price": price,
        "channel": channel,
    }
    return {name: values[order] for name, values in rows.items()}


def _now(world: _World, week: int) -> np.ndarray:
    """Weights of the articles in the middle of a week."""
    middle = week * WEEK + WEEK // 2
    return world.truth.on(middle, (FIRST_DAY + timedelta(middle)).timetuple().tm_yday)


def _draw_articles(
    world: _World, rng: np.random.Generator, now: np.ndarray, customer: np.ndarray
) -> np.ndarray:
    """One article per purchase: a cluster from the customer's mixture, then an article from its table."""
    group = world.mixtures.pick(rng, customer) * len(tastes.GROUP_AGES) + world.age_groups[customer]
    uniform = rng.random(len(customer))
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    article = np.empty(len(customer), dtype=np.int64)
    for start, end in zip(starts, np.r_[starts[1:], len(order)], strict=True):
        rows = order[start:end]
        bounds = np.cumsum(world.truth.weights(now, *divmod(int(group[rows[0]]), len(tastes.GROUP_AGES))))
        article[rows] = np.searchsorted(bounds, uniform[rows] * bounds[-1], side="right")
    return article


def _write_transactions(world: _World, path: Path) -> dict[str, np.ndarray]:
    """Writes transactions_train.csv; gives customer [T], article [T], and where the `last` week starts."""
    weeks = world.size.days // WEEK
    middles = [FIRST_DAY + timedelta(week * WEEK + WEEK // 2) for week in range(weeks)]
    traffic = np.array([MONTHS[middle.month - 1] for middle in middles])
    counts = _rng(world.seed, 5).multinomial(world.size.transactions, traffic / traffic.sum())
    names = (
        world.customers["customer_id"].combine_chunks(),
        world.articles.table["article_id"].combine_chunks(),
    )
    days = pa.array([(FIRST_DAY + timedelta(i)).isoformat() for i in range(world.size.days)])
    types = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.int64())
    csv_schema = pa.schema(list(zip(schema.TRANSACTION_CSV_COLUMNS, types, strict=True)))
    kept = {"customer": np.empty(counts.sum(), np.int32), "article": np.empty(counts.sum(), np.int32)}
    with (
        pa.csv.CSVWriter(path, csv_schema, write_options=_plain()) as writer,
        progress_bar("transactions", int(counts.sum())) as bar,
    ):
        start = 0
        for week, count in enumerate(counts):
            rows = _draw_week(world, week, int(count))
            columns = (
                days.take(pa.array(rows["day"])),
                *(ids.take(pa.array(rows[name])) for ids, name in zip(names, kept, strict=True)),
            )
            writer.write(pa.table([*columns, rows["price"], rows["channel"]], schema=csv_schema))
            for name, values in kept.items():
                values[start : start + count] = rows[name]
            start += count
            bar.advance(int(count))
    return {**kept, "last": start - counts[-1]}


def _plain() -> pa.csv.WriteOptions:
    """No quotes: identifiers and numbers need none."""
    return pa.csv.WriteOptions(quoting_style="none", batch_size=65_536)


def _write_csv(table: pa.Table, path: Path) -> None:
    """A CSV file with quotes where text needs them."""
    pa.csv.write_csv(table, path)


def _write_oracle(world: _World, bought: dict[str, np.ndarray], path: Path) -> None:
    """Writes the true best articles of the last week for those who bought in it, ORACLE_CUSTOMERS at most."""
    last = bought["last"]
    buyers = np.unique(bought["customer"][last:])
    if len(buyers) > ORACLE_CUSTOMERS:
        buyers = np.sort(_rng(world.seed, 6).choice(buyers, ORACLE_CUSTOMERS, replace=False))
    before = np.flatnonzero(np.isin(bought["customer"][:last], buyers))
    before = before[np.argsort(bought["customer"][before], kind="stable")]
    bounds = np.searchsorted(bought["customer"][before], np.r_[buyers, np.iinfo(np.int32).max])
    had = {c: bought["article"][before[bounds[i] : bounds[i + 1]]] for i, c in enumerate(buyers)}
    now = _now(world, world.size.days // WEEK - 1)
    found = []
    with progress_bar("oracle", len(buyers)) as bar:
        for group in range(len(tastes.GROUP_AGES)):
            members = buyers[world.age_groups[buyers] == group]
            for start in range(0, len(members), ORACLE_BATCH):
                batch = members[start : start + ORACLE_BATCH]
                top, probability = tastes.best(
                    world.truth, world.mixtures, now, group, batch, [had[c] for c in batch], ORACLE_DEPTH
                )
                found.append((np.repeat(batch, ORACLE_DEPTH), top.ravel(), probability.ravel()))
                bar.advance(len(batch))
    customer, article, probability = (np.concatenate(part) for part in zip(*found, strict=True))
    rank = np.tile(np.arange(1, ORACLE_DEPTH + 1, dtype=np.int32), len(buyers))
    order = np.argsort(customer, kind="stable")
    table = {
        "customer_id": world.customers["customer_id"].combine_chunks().take(pa.array(customer[order])),
        "article_id": world.articles.table["article_id"].combine_chunks().take(pa.array(article[order])),
        "rank": pa.array(rank),
        "probability": pa.array(probability[order]),
    }
    pa.parquet.write_table(pa.table(table), path, compression="zstd")
