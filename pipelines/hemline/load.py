"""Fills the store that the servers read: customers, what they bought, and stock.

A load replaces what an earlier one brought, so what is no longer in the data is no longer in the store, and
loading again changes nothing. Events that were told stay, and so do the customers that these name; customers
who were erased stay away. Servers go on reading, and see either nothing of a load or all of it. A load that
was broken off goes on where it was when it is run again.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from hemline import schema
from hemline.errors import DataError
from hemline.report import Bar, StepReport, progress_bar, say, show
from hemline.stores import HISTORY_COLUMNS, Store, open_store

BATCH = 50_000


def run(work: Path, url: str, stock: Path | None = None) -> None:
    """Loads the work directory into the store at `url`.

    `stock` is a CSV or Parquet file with article_id and quantity.
    """
    for name in (schema.FEATURES_JSON, schema.CUSTOMERS, schema.TRANSACTIONS):
        if not (work / name).is_file():
            raise DataError(f"{name}: not in {work}; run `hemline features` first")
    with (
        open_store(url, create=True) as store,
        tempfile.TemporaryDirectory(prefix="hemline-load-") as scratch,
    ):
        store.migrate()
        steps = _fill(store, work, Path(scratch), stock)
        store.tidy()
    show(f"load: {store.name}", steps)


def migrate(url: str) -> None:
    """Brings a store's schema to this release's."""
    with open_store(url, create=True) as store:
        before, after = store.migrate()
    say(
        f"{store.name}: schema version {after}" + (f", before {before}" if before != after else ", as before")
    )


def forget(url: str, customer_id: str) -> None:
    """Erases a customer or visitor from a store."""
    with open_store(url) as store:
        found = store.forget(customer_id)
    rows = ", ".join(f"{count:,} in {table}" for table, count in found.items() if count)
    say(f"{store.name}: erased {rows or 'nothing: nobody of this id was there'}; loads leave this id out")


def _fill(store: Store, work: Path, scratch: Path, stock_file: Path | None) -> list[StepReport]:
    """Loads everything; what it brings is seen when all of it is there."""
    con = ibis.duckdb.connect(temp_directory=str(scratch))
    con.raw_sql("SET enable_progress_bar = false")
    con.raw_sql("SET memory_limit = '50%'")  # of the machine's; what needs more goes to disk
    stock = _stock(con, stock_file) if stock_file else None
    customers, transactions = work / schema.CUSTOMERS, work / schema.TRANSACTIONS
    total = _rows(customers) + _rows(transactions)
    with progress_bar("load", total) as bar:
        forgotten = pa.table({"digest": pa.array(store.forgotten(), pa.string())})
        pq.write_table(forgotten, scratch / "forgotten.parquet")
        forgotten = con.read_parquet(scratch / "forgotten.parquet")
        known = con.read_parquet(customers)
        known = known.anti_join(forgotten, known.customer_id.hexdigest("sha256") == forgotten.digest)
        # An age that was imputed is not a fact and stays out.
        age = ibis.ifelse(known.age_known, known.age, None)
        known = known.select("customer_id", "club_member_status", "fashion_news_frequency", age=age)
        known = known.select("customer_id", "age", "club_member_status", "fashion_news_frequency")
        con.to_parquet(known.order_by("customer_id"), scratch / "customers.parquet")
        store.stage_customers(_batches(scratch / "customers.parquet", BATCH, bar))
        left = _rows(scratch / "customers.parquet")
        bar.advance(_rows(customers) - left)
        steps = [_report("customers", _rows(customers), left, "erased before (`hemline forget`)")]
        digest = _sort(con, store, scratch, transactions)
        con.disconnect()
        kept = _load_history(store, scratch / "history.parquet", digest, bar)
        bar.advance(_rows(transactions) - kept)
    why = "same customer, article and day as another row, or of a customer who was erased"
    steps.append(_report("history", _rows(transactions), kept, why))
    store.publish(stock)
    if stock is not None:
        steps.append(_report("stock", len(stock), len(stock), ""))
    return steps


def _sort(con: ibis.BaseBackend, store: Store, scratch: Path, transactions: Path) -> str:
    """Writes distinct purchases in the order of the table's key: then a store only appends, at any size.

    The digest of what is in there: rows have one order, so equal digests mean equal rows.
    """
    keys = store.customer_keys().sort_by("customer_key")
    serialized = pa.BufferOutputStream()
    with pa.ipc.new_stream(serialized, keys.schema) as stream:
        stream.write_table(keys.combine_chunks())
    digest = hashlib.sha256(serialized.getvalue())
    with transactions.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    pq.write_table(keys, scratch / "keys.parquet")
    bought = con.read_parquet(transactions).join(con.read_parquet(scratch / "keys.parquet"), "customer_id")
    bought = bought.select("customer_key", "article_id", bought_on=bought.t_dat.cast("date")).distinct()
    con.to_parquet(bought.order_by(*HISTORY_COLUMNS), scratch / "history.parquet")
    return digest.hexdigest()


def _load_history(store: Store, file: Path, digest: str, bar: Bar) -> int:
    """Adds what is not there yet; how many rows there are then."""
    total, done = _rows(file), store.begin_history(digest)
    if done:
        say(f"load: {done:,} of {total:,} purchases are there from a load that was broken off")
    bar.advance(done)
    skip = done
    for batch in _batches(file, store.chunk):
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        batch, skip = batch.slice(skip), 0
        done += batch.num_rows
        store.add_history(batch, done)
        bar.advance(batch.num_rows)
    return total


def _stock(con: ibis.BaseBackend, file: Path) -> pa.Table:
    """article_id (ten digits) and quantity; one row each. Raises DataError for a row that is none."""
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    rows = con.read_parquet(file) if file.suffix == ".parquet" else con.read_csv(file, all_varchar=True)
    missing = {"article_id", "quantity"} - set(rows.columns)
    if missing:
        raise DataError(
            f"{file}: has no column {', '.join(sorted(missing))}; expected article_id and quantity"
        )
    rows = rows.select(
        line=ibis.row_number() + 1,
        article_id=rows.article_id.cast("string").strip(),
        given=rows.quantity.cast("string"),
        quantity=rows.quantity.try_cast("int32"),
    )
    bad = rows.filter(
        rows.quantity.isnull()
        | (rows.quantity < 0)
        | ~rows.article_id.re_search("^[0-9]{1,10}$").fill_null(False)
    )
    bad = bad.select("line", "article_id", "given").order_by("line").limit(1)
    for line, article, given in _values(bad):
        expected = "expected an article_id of up to ten digits and a quantity of 0 or more"
        raise DataError(f"{file}: row {line}: {expected}, got {article} and {given}")
    rows = rows.select(article_id=rows.article_id.lpad(10, "0"), quantity=rows.quantity)
    twice = (
        rows.group_by("article_id").aggregate(count=rows.count()).filter(lambda t: t["count"] > 1).limit(1)
    )
    for article, _ in _values(twice):
        raise DataError(f"{file}: article {article} has more than one row")
    return rows.order_by("article_id").to_pyarrow()


def _values(table: ibis.Table) -> list[tuple]:
    """The rows of a small table."""
    return [tuple(row.values()) for row in table.to_pyarrow().to_pylist()]


def _rows(path: Path) -> int:
    """Rows of a Parquet file."""
    return pq.read_metadata(path).num_rows


def _report(table: str, rows_in: int, kept: int, why: str) -> StepReport:
    """What became of one table's rows."""
    report = StepReport(table, rows_in, kept, 0, rows_in - kept)
    report.because("dropped", rows_in - kept, why)
    return report


def _batches(path: Path, size: int, bar: Bar | None = None) -> Iterator[pa.RecordBatch]:
    """All rows of a Parquet file, so many at once."""
    for batch in pq.ParquetFile(path).iter_batches(size):
        yield batch
        if bar:
            bar.advance(batch.num_rows)
