"""Fills the store that the servers read: customers and their purchases, into SQLite.

A load replaces what an earlier one brought, so what is no longer in the data is no longer in the store, and
loading again changes nothing. Events that servers recorded stay, and so do the customers that these name. A
running server goes on reading (WAL) and sees either nothing of a load or all of it.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import ibis
import pyarrow.parquet as pq

from hemline import schema
from hemline.errors import DataError
from hemline.report import Bar, StepReport, progress_bar, show

MIGRATIONS = Path(__file__).resolve().parents[2] / "catalog" / "migrations" / "sqlite"
SOURCE = "history"
BATCH = 50_000
BUSY_SECONDS = 60.0
CACHE_KIB = 65_536  # of pages while loading; rows that come in the order of their key need no more
PREFIX = "sqlite://"

_CUSTOMERS = """
INSERT INTO customers (customer_id, age, club_member_status, fashion_news_frequency) VALUES (?, ?, ?, ?)
ON CONFLICT (customer_id) DO UPDATE SET age = excluded.age, club_member_status = excluded.club_member_status,
    fashion_news_frequency = excluded.fashion_news_frequency
"""
_UNNAMED = """
DELETE FROM customers
WHERE NOT EXISTS (SELECT 1 FROM interactions WHERE interactions.customer_id = customers.customer_id)
"""
_PURCHASES = f"""
INSERT INTO interactions (customer_id, kind, article_id, occurred_at, source)
VALUES (?, 'purchase', ?, ?, '{SOURCE}')
"""


def run(work: Path, store: str) -> None:
    """Loads the work directory into `store` (sqlite://PATH)."""
    path = store_path(store)
    for name in (schema.FEATURES_JSON, schema.CUSTOMERS, schema.TRANSACTIONS):
        if not (work / name).is_file():
            raise DataError(f"{name}: not in {work}; run `hemline features` first")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(connect(path)) as db,
            tempfile.TemporaryDirectory(dir=path.parent, prefix=".load-") as scratch,
        ):
            migrate(db, path)
            steps = _fill(db, work, Path(scratch))
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path}: SQLite cannot use it ({error})") from error
    show(f"load: {path}", steps)


def store_path(store: str) -> Path:
    """The file that a store's URL names."""
    if not store.startswith(PREFIX) or len(store) == len(PREFIX):
        raise DataError(f"--store: '{store}' is not of the form {PREFIX}path/to/store.db")
    return Path(store.removeprefix(PREFIX))


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode, synced at each commit; transactions are explicit."""
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return db


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Applies the migrations that the database lacks, each with its number in one transaction."""
    files = sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    if not files:
        raise DataError(f"{MIGRATIONS}: no migrations there; hemline must run from its repository")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(files):
        raise DataError(f"{path}: schema version {version} is newer than this program's {len(files)}")
    for number, file in enumerate(files[version:], start=version + 1):
        # executescript ends any open transaction, so the transaction is in the script
        db.executescript(f"BEGIN IMMEDIATE;\n{file.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")


def _sorted_purchases(transactions: Path, scratch: Path) -> Path:
    """Distinct purchases in the order of the table's key: SQLite then only appends, whatever the size."""
    con = ibis.duckdb.connect(temp_directory=str(scratch))
    con.raw_sql("SET enable_progress_bar = false")
    con.raw_sql("SET memory_limit = '50%'")  # of the machine's; what needs more goes to disk
    rows = con.read_parquet(transactions).select("customer_id", "article_id", "t_dat").distinct()
    con.to_parquet(rows.order_by("customer_id", "article_id", "t_dat"), scratch / "purchases.parquet")
    con.disconnect()
    return scratch / "purchases.parquet"


def _fill(db: sqlite3.Connection, work: Path, scratch: Path) -> list[StepReport]:
    """Loads both tables in one transaction, which starts when everything is ready to be written."""
    customers, transactions = work / schema.CUSTOMERS, work / schema.TRANSACTIONS
    purchases = _sorted_purchases(transactions, scratch)
    steps = []
    total = _rows(customers) + _rows(purchases)
    db.execute("BEGIN IMMEDIATE")
    try:
        with progress_bar("load", total) as bar:
            db.execute(f"DELETE FROM interactions WHERE source = '{SOURCE}'")
            db.execute(_UNNAMED)  # customers in the data come back at once; others are named by no event
            for batch in _customers(customers, bar):
                db.executemany(_CUSTOMERS, batch)
            steps.append(_report("customers", _rows(customers), _rows(customers)))
            for batch in _purchases(purchases, bar):
                db.executemany(_PURCHASES, batch)
            steps.append(_report("interactions", _rows(transactions), _rows(purchases)))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or the log would stay as large as the load
    return steps


def _rows(path: Path) -> int:
    """Rows of a Parquet file."""
    return pq.read_metadata(path).num_rows


def _report(table: str, rows_in: int, kept: int) -> StepReport:
    """What became of one table's rows."""
    report = StepReport(table, rows_in, kept, 0, rows_in - kept)
    report.because("dropped", rows_in - kept, "same customer, article and day as another row: one purchase")
    return report


def _customers(path: Path, bar: Bar) -> Iterator[Iterator[tuple]]:
    """Batches of rows for _CUSTOMERS; an age that was imputed is not a fact and stays out."""
    columns = ["customer_id", "age", "age_known", "club_member_status", "fashion_news_frequency"]
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=columns):
        ids, ages, known, status, news = (column.to_pylist() for column in batch.columns)
        ages = (age if sure else None for age, sure in zip(ages, known, strict=True))
        yield zip(ids, ages, status, news, strict=True)
        bar.advance(batch.num_rows)


def _purchases(path: Path, bar: Bar) -> Iterator[Iterator[tuple]]:
    """Batches of rows for _PURCHASES; the data know days only, so a purchase is at midnight UTC."""
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["customer_id", "article_id", "t_dat"]):
        customers, articles, days = (column.to_pylist() for column in batch.columns)
        yield zip(customers, articles, (f"{day.isoformat()}T00:00:00Z" for day in days), strict=True)
        bar.advance(batch.num_rows)
