"""A store in a SQLite file."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import pyarrow as pa

from hemline.errors import DataError
from hemline.stores import CUSTOMER_COLUMNS, Exposure, check, digest_of, migrations

BUSY_SECONDS = 60.0
CACHE_KIB = 65_536  # of pages while loading; rows that come in the order of their key need no more
PAUSE_SECONDS = 0.002  # between chunks: SQLite's lock is not fair, and servers write too

_UPDATE = """
UPDATE customers SET age = new.age, club_member_status = new.club_member_status,
    fashion_news_frequency = new.fashion_news_frequency
FROM customers_loading AS new
WHERE customers.customer_id = new.customer_id
  AND (customers.age, customers.club_member_status, customers.fashion_news_frequency)
      IS NOT (new.age, new.club_member_status, new.fashion_news_frequency)
"""
_DELETE = """
DELETE FROM customers
WHERE customer_id NOT IN (SELECT customer_id FROM customers_loading)
  AND customer_id NOT IN (SELECT customer_id FROM interactions)
"""
_ADD = f"""
INSERT INTO customers ({", ".join(CUSTOMER_COLUMNS)})
SELECT {", ".join(CUSTOMER_COLUMNS)} FROM customers_loading WHERE true
ON CONFLICT (customer_id) DO NOTHING
"""
_STOCK = """
INSERT INTO stock (article_id, quantity) VALUES (?, ?)
ON CONFLICT (article_id) DO UPDATE SET quantity = excluded.quantity WHERE quantity <> excluded.quantity
"""


# Of each article that was shown, whether it was clicked or bought later by the one who saw it.
_DONE = """
EXISTS (
    SELECT 1 FROM interactions d
    WHERE d.customer_id = shown.customer_id AND d.kind = '{kind}' AND d.article_id = shown.article_id
      AND julianday(d.occurred_at) BETWEEN julianday(shown.at) AND julianday(shown.at) + :within
)
"""
_EXPOSURES = f"""
WITH shown AS (
    SELECT customer_id, list_id, article_id, min(occurred_at) AS at FROM interactions
    WHERE kind = 'shown' AND list_id LIKE '%@%/________________' AND occurred_at >= :since
    GROUP BY customer_id, list_id, article_id
), told AS (
    SELECT customer_id, substr(list_id, 1, length(list_id) - 17) AS variant, list_id,
           {_DONE.format(kind="click")} AS clicked, {_DONE.format(kind="purchase")} AS bought
    FROM shown
)
SELECT customer_id, variant, count(DISTINCT list_id), count(*), max(clicked), max(bought)
FROM told GROUP BY customer_id, variant ORDER BY customer_id, variant
"""


def as_loaded(store: Path, copy: Path) -> None:
    """Copies a store as it was loaded: without what customers were said to do since. Servers may be at it."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        with target:
            target.execute("DELETE FROM interactions")


class SqliteStore:
    """SQLite in WAL mode, synced at each commit."""

    chunk = 50_000

    def __init__(self, path: Path, create: bool) -> None:
        """Opens it. Raises DataError where it is not there, or is no database."""
        self.name, self._path = str(path), path
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise DataError(f"{path}: no such file; `hemline load` makes it")
        self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        with self._failures():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            # A page that is split would keep a copy of what is deleted from it later.
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self._db.close()

    def migrate(self) -> tuple[int, int]:
        """See `Store`."""
        with self._failures():
            before = self._value("PRAGMA user_version")
            for number, sql in migrations("sqlite", before, self.name):
                # executescript ends any open transaction, so the transaction is in the script
                self._db.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
            return before, self._value("PRAGMA user_version")

    def forgotten(self) -> list[str]:
        """See `Store`."""
        return [digest for (digest,) in self._db.execute("SELECT customer_digest FROM forgotten")]

    def stage_customers(self, batches: list[pa.RecordBatch]) -> None:
        """See `Store`."""
        with self._failures():
            self._db.execute("DROP TABLE IF EXISTS temp.customers_loading")
            self._db.execute(
                "CREATE TEMP TABLE customers_loading (customer_id TEXT NOT NULL PRIMARY KEY, age REAL, "
                "club_member_status TEXT NOT NULL, fashion_news_frequency TEXT NOT NULL) WITHOUT ROWID"
            )
            for batch in batches:
                self._db.executemany("INSERT INTO customers_loading VALUES (?, ?, ?, ?)", rows(batch))
            with self._transaction():
                self._db.execute(_ADD)

    def customer_keys(self) -> pa.Table:
        """See `Store`."""
        ids, keys = [], []
        for customer_id, key in self._db.execute("SELECT customer_id, customer_key FROM customers"):
            ids.append(customer_id)
            keys.append(key)
        return pa.table(
            {"customer_id": pa.array(ids, pa.string()), "customer_key": pa.array(keys, pa.int32())}
        )

    def begin_history(self, digest: str) -> int:
        """See `Store`."""
        with self._failures(), self._transaction():
            found = self._db.execute(
                "SELECT rows FROM load_progress WHERE step = 'history' AND digest = ?", [digest]
            ).fetchone()
            exists = self._value("SELECT count(*) FROM sqlite_schema WHERE name = 'history_loading'")
            if found and exists:
                return found[0]
            self._db.execute("DROP TABLE IF EXISTS history_loading")
            schema = self._value("SELECT sql FROM sqlite_schema WHERE name = 'history'")
            self._db.execute(schema.replace("history", "history_loading", 1))
            self._progress(digest, 0)
            return 0

    def add_history(self, rows_: pa.RecordBatch, done: int) -> None:
        """See `Store`."""
        with self._failures(), self._transaction():
            self._db.executemany("INSERT INTO history_loading VALUES (?, ?, ?)", rows(rows_))
            progress = "UPDATE load_progress SET rows = ? WHERE step = 'history'"
            check(self._db.execute(progress, [done]).rowcount, self.name)
        time.sleep(PAUSE_SECONDS)

    def publish(self, stock: pa.Table | None) -> None:
        """See `Store`."""
        with self._failures():
            with self._transaction():
                self._db.execute(_UPDATE)
                self._db.execute(_DELETE)
                self._db.execute("DROP TABLE IF EXISTS history_before")
                self._db.execute("ALTER TABLE history RENAME TO history_before")
                self._db.execute("ALTER TABLE history_loading RENAME TO history")
                progress = "DELETE FROM load_progress WHERE step = 'history'"
                check(self._db.execute(progress).rowcount, self.name)
                if stock is not None:
                    self._replace_stock(stock)
            # In a transaction of its own: it touches as much as there was.
            self._db.execute("DROP TABLE history_before")

    def _replace_stock(self, stock: pa.Table) -> None:
        self._db.execute("CREATE TEMP TABLE stock_loading (article_id TEXT PRIMARY KEY, quantity INTEGER)")
        for batch in stock.to_batches():
            self._db.executemany("INSERT INTO stock_loading VALUES (?, ?)", rows(batch))
        self._db.execute("DELETE FROM stock WHERE article_id NOT IN (SELECT article_id FROM stock_loading)")
        self._db.executemany(
            _STOCK, self._db.execute("SELECT article_id, quantity FROM stock_loading").fetchall()
        )
        self._db.execute("DROP TABLE stock_loading")

    def tidy(self) -> None:
        """See `Store`. The log would stay as large as the load."""
        with self._failures():
            self._db.execute("ANALYZE")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def exposures(self, since: str | None, within: int) -> list[Exposure]:
        """See `Store`."""
        with self._failures():
            rows = self._db.execute(_EXPOSURES, {"since": since or "", "within": within}).fetchall()
        return [Exposure(*counts, bool(clicked), bool(bought)) for *counts, clicked, bought in rows]

    def forget(self, customer_id: str) -> dict[str, int]:
        """See `Store`. What is deleted is overwritten, in the file and in its log."""
        with self._failures():
            with self._transaction():
                key = "(SELECT customer_key FROM customers WHERE customer_id = ?)"
                statements = {
                    "history": f"DELETE FROM history WHERE customer_key = {key}",
                    "interactions": "DELETE FROM interactions WHERE customer_id = ?",
                    "customers": "DELETE FROM customers WHERE customer_id = ?",
                }
                found = {}
                if self._value("SELECT count(*) FROM sqlite_schema WHERE name = 'history_loading'"):
                    self._db.execute(f"DELETE FROM history_loading WHERE customer_key = {key}", [customer_id])
                    self._db.execute("DELETE FROM load_progress WHERE step = 'history'")
                for table, sql in statements.items():
                    found[table] = self._db.execute(sql, [customer_id]).rowcount
                self._db.execute(
                    "INSERT INTO forgotten (customer_digest) VALUES (?) ON CONFLICT DO NOTHING",
                    [digest_of(customer_id)],
                )
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return found

    def _progress(self, digest: str, done: int) -> None:
        self._db.execute(
            "INSERT INTO load_progress VALUES ('history', ?, ?) "
            "ON CONFLICT (step) DO UPDATE SET digest = excluded.digest, rows = excluded.rows",
            [digest, done],
        )

    def _value(self, sql: str):
        return self._db.execute(sql).fetchone()[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self._path}: SQLite cannot use it ({error})") from error


def rows(batch: pa.RecordBatch) -> Iterator[tuple]:
    """Rows as sqlite3 takes them; days as ISO text."""
    columns = [
        column.cast(pa.string()) if pa.types.is_date(column.type) else column for column in batch.columns
    ]
    return zip(*(column.to_pylist() for column in columns), strict=True)
