"""A store in PostgreSQL."""

import io
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from hemline.errors import DataError
from hemline.stores import CUSTOMER_COLUMNS, HISTORY_COLUMNS, Exposure, check, digest_of, migrations

# One lock for all who change the schema or load: the project's name and what is done, in ASCII.
MIGRATE_LOCK, LOAD_LOCK = 29382133427266150, 29382133427266151
LOCK_TIMEOUT = "200ms"  # who waits for a table keeps everybody waiting who comes after
LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS = 300, 0.2

_COLUMNS = ", ".join(CUSTOMER_COLUMNS)
_ADD = f"""
INSERT INTO hemline.customers ({_COLUMNS}) SELECT {_COLUMNS} FROM customers_loading
ON CONFLICT (customer_id) DO NOTHING
"""
_UPDATE = """
UPDATE hemline.customers AS old SET age = new.age, club_member_status = new.club_member_status,
    fashion_news_frequency = new.fashion_news_frequency
FROM customers_loading AS new
WHERE old.customer_id = new.customer_id
  AND (old.age, old.club_member_status, old.fashion_news_frequency)
      IS DISTINCT FROM (new.age, new.club_member_status, new.fashion_news_frequency)
"""
_DELETE = """
DELETE FROM hemline.customers AS old
WHERE NOT EXISTS (SELECT FROM customers_loading AS new WHERE new.customer_id = old.customer_id)
  AND NOT EXISTS (SELECT FROM hemline.interactions WHERE interactions.customer_id = old.customer_id)
"""
_STOCK_DELETE = """
DELETE FROM hemline.stock AS old
WHERE NOT EXISTS (SELECT FROM stock_loading AS new WHERE new.article_id = old.article_id)
"""
_STOCK = """
INSERT INTO hemline.stock AS old (article_id, quantity) SELECT article_id, quantity FROM stock_loading
ORDER BY article_id
ON CONFLICT (article_id) DO UPDATE SET quantity = excluded.quantity WHERE old.quantity <> excluded.quantity
"""
_GRANTS = """
SELECT privilege_type, is_grantable, CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END
FROM pg_class, aclexplode(relacl) WHERE oid = 'hemline.history'::regclass
"""


# Of each article that was shown, whether it was clicked or bought later by the one who saw it.
_DONE = """
EXISTS (
    SELECT FROM hemline.interactions d
    WHERE d.customer_id = shown.customer_id AND d.kind = '{kind}' AND d.article_id = shown.article_id
      AND d.occurred_at BETWEEN shown.at AND shown.at + make_interval(days => %(within)s)
)
"""
_EXPOSURES = f"""
WITH shown AS (
    SELECT customer_id, list_id, article_id, min(occurred_at) AS at FROM hemline.interactions
    WHERE kind = 'shown' AND list_id LIKE '%%@%%/________________'
      AND occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
    GROUP BY customer_id, list_id, article_id
), told AS (
    SELECT customer_id, left(list_id, -17) AS variant, list_id,
           {_DONE.format(kind="click")} AS clicked, {_DONE.format(kind="purchase")} AS bought
    FROM shown
)
SELECT customer_id, variant, count(DISTINCT list_id), count(*), bool_or(clicked), bool_or(bought)
FROM told GROUP BY customer_id, variant ORDER BY customer_id, variant
"""


class PostgresStore:
    """PostgreSQL 14 or newer."""

    chunk = 500_000

    def __init__(self, url: str) -> None:
        """Connects. Raises DataError where that fails; no message has the password."""
        try:
            self._db = psycopg.connect(url, autocommit=True, application_name="hemline load")
        except (psycopg.Error, UnicodeError) as error:
            reason = (
                str(error).splitlines()[0] if isinstance(error, psycopg.OperationalError) else "no such URL"
            )
            raise DataError(f"--store: PostgreSQL cannot be used ({reason})") from None
        info = self._db.info
        self.name = f"postgres://{info.host}:{info.port}/{info.dbname}"

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self._db.close()

    def migrate(self) -> tuple[int, int]:
        """See `Store`."""
        with self._failures(), self._db.transaction():
            self._db.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATE_LOCK])
            # Only where it is missing: who owns the schema need not be allowed to make one.
            if self._value("SELECT to_regnamespace('hemline')") is None:
                self._db.execute("CREATE SCHEMA hemline")
            before = after = 0
            if self._value("SELECT to_regclass('hemline.schema_version')") is not None:
                before = after = self._value("SELECT version FROM hemline.schema_version")
            for number, script in migrations("postgres", before, self.name):
                self._db.execute(script)
                self._db.execute("UPDATE hemline.schema_version SET version = %s", [number])
                after = number
            return before, after

    def forgotten(self) -> list[str]:
        """See `Store`."""
        with self._failures():
            return [digest for (digest,) in self._db.execute("SELECT customer_digest FROM hemline.forgotten")]

    def stage_customers(self, batches: Iterable[pa.RecordBatch]) -> None:
        """See `Store`. From here on no other load runs beside this one."""
        with self._failures():
            if not self._value("SELECT pg_try_advisory_lock(%s)", [LOAD_LOCK]):
                raise DataError(f"{self.name}: another load is under way")
            self._db.execute("DROP TABLE IF EXISTS pg_temp.customers_loading")
            self._db.execute(
                'CREATE TEMP TABLE customers_loading (customer_id text COLLATE "C" PRIMARY KEY, age real, '
                "club_member_status text, fashion_news_frequency text)"
            )
            for batch in batches:
                self._copy(sql.Identifier("customers_loading"), CUSTOMER_COLUMNS, batch)
            self._db.execute("ANALYZE customers_loading")
            self._db.execute(_ADD)

    def customer_keys(self) -> pa.Table:
        """See `Store`."""
        with self._failures(), self._db.cursor() as cursor:
            buffer = io.BytesIO(b"")
            query = "COPY (SELECT customer_id, customer_key FROM hemline.customers) TO STDOUT (FORMAT csv)"
            with cursor.copy(query) as copy:
                for block in copy:
                    buffer.write(block)
        buffer.seek(0)
        types = {"customer_id": pa.string(), "customer_key": pa.int32()}
        if not buffer.getbuffer().nbytes:
            return pa.schema(types.items()).empty_table()
        names = csv.ReadOptions(column_names=list(types))
        return csv.read_csv(
            buffer, names, csv.ParseOptions(newlines_in_values=True), csv.ConvertOptions(column_types=types)
        )

    def begin_history(self, digest: str) -> int:
        """See `Store`."""
        with self._failures(), self._db.transaction():
            exists = self._value("SELECT to_regclass('hemline.history_loading')")
            found = self._db.execute(
                "SELECT rows FROM hemline.load_progress WHERE step = 'history' AND digest = %s", [digest]
            ).fetchone()
            if found and exists:
                return found[0]
            self._db.execute("DROP TABLE IF EXISTS hemline.history_loading")
            # Without its key: an index that is built over all rows at once takes a fraction of the time.
            self._db.execute("CREATE TABLE hemline.history_loading (LIKE hemline.history INCLUDING DEFAULTS)")
            self._db.execute(
                "INSERT INTO hemline.load_progress VALUES ('history', %s, 0) "
                "ON CONFLICT (step) DO UPDATE SET digest = excluded.digest, rows = 0",
                [digest],
            )
            return 0

    def add_history(self, rows: pa.RecordBatch, done: int) -> None:
        """See `Store`."""
        with self._failures(), self._db.transaction():
            self._copy(sql.SQL("hemline.history_loading"), HISTORY_COLUMNS, rows)
            progress = "UPDATE hemline.load_progress SET rows = %s WHERE step = 'history'"
            check(self._db.execute(progress, [done]).rowcount, self.name)

    def publish(self, stock: pa.Table | None) -> None:
        """See `Store`. The key is built before; the lock that readers would wait for is held for moments."""
        with self._failures():
            self._finish_history()
            if stock is not None:
                self._stage_stock(stock)
            with self._db.transaction():
                self._db.execute(_UPDATE)
                self._db.execute(_DELETE)
                if stock is not None:
                    self._db.execute(_STOCK_DELETE)
                    self._db.execute(_STOCK)
                self._lock_history()
                self._swap_history()
                progress = "DELETE FROM hemline.load_progress WHERE step = 'history'"
                check(self._db.execute(progress).rowcount, self.name)

    def _finish_history(self) -> None:
        index = "SELECT count(*) FROM pg_index WHERE indrelid = 'hemline.history_loading'::regclass"
        if not self._value(index):
            columns = ", ".join(HISTORY_COLUMNS)
            self._db.execute("SET maintenance_work_mem = '512MB'")
            self._db.execute(f"ALTER TABLE hemline.history_loading ADD PRIMARY KEY ({columns})")
        self._db.execute("VACUUM (ANALYZE, FREEZE) hemline.history_loading")

    def _lock_history(self) -> None:
        self._db.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
        for _ in range(LOCK_ATTEMPTS):
            try:
                with self._db.transaction():  # a savepoint
                    self._db.execute("LOCK TABLE hemline.history IN ACCESS EXCLUSIVE MODE")
                    return
            except psycopg.errors.LockNotAvailable:
                time.sleep(LOCK_PAUSE_SECONDS)
        raise DataError(f"{self.name}: somebody holds a lock on hemline.history; run the load again later")

    def _swap_history(self) -> None:
        """The new table in the old one's place, with its owner and what was granted on it."""
        owner = self._value(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'hemline.history'::regclass"
        )
        for privilege, grantable, grantee in self._db.execute(_GRANTS).fetchall():
            self._db.execute(
                sql.SQL("GRANT {} ON hemline.history_loading TO {}{}").format(
                    sql.SQL(privilege),
                    sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee),
                    sql.SQL(" WITH GRANT OPTION" if grantable else ""),
                )
            )
        self._db.execute(
            sql.SQL("ALTER TABLE hemline.history_loading OWNER TO {}").format(sql.Identifier(owner))
        )
        self._db.execute("DROP TABLE hemline.history")
        self._db.execute("ALTER TABLE hemline.history_loading RENAME TO history")
        self._db.execute("ALTER INDEX hemline.history_loading_pkey RENAME TO history_pkey")

    def _stage_stock(self, stock: pa.Table) -> None:
        self._db.execute("DROP TABLE IF EXISTS pg_temp.stock_loading")
        self._db.execute(
            'CREATE TEMP TABLE stock_loading (article_id text COLLATE "C" PRIMARY KEY, quantity int)'
        )
        for batch in stock.to_batches():
            self._copy(sql.Identifier("stock_loading"), ("article_id", "quantity"), batch)

    def tidy(self) -> None:
        """See `Store`."""
        with self._failures():
            self._db.execute("VACUUM (ANALYZE) hemline.customers, hemline.stock, hemline.stock_changes")

    def exposures(self, since: str | None, within: int) -> list[Exposure]:
        """See `Store`."""
        with self._failures():
            rows = self._db.execute(_EXPOSURES, {"since": since, "within": within}).fetchall()
        return [Exposure(*row) for row in rows]

    def forget(self, customer_id: str) -> dict[str, int]:
        """See `Store`. VACUUM gives the bytes free; they are overwritten in time, as are those in the log."""
        key = "(SELECT customer_key FROM hemline.customers WHERE customer_id = %s)"
        statements = {
            "history": f"DELETE FROM hemline.history WHERE customer_key = {key}",
            "interactions": "DELETE FROM hemline.interactions WHERE customer_id = %s",
            "customers": "DELETE FROM hemline.customers WHERE customer_id = %s",
        }
        with self._failures():
            with self._db.transaction():
                if self._value("SELECT to_regclass('hemline.history_loading')") is not None:
                    self._db.execute(
                        f"DELETE FROM hemline.history_loading WHERE customer_key = {key}", [customer_id]
                    )
                    self._db.execute("DELETE FROM hemline.load_progress WHERE step = 'history'")
                found = {
                    table: self._db.execute(text, [customer_id]).rowcount
                    for table, text in statements.items()
                }
                self._db.execute(
                    "INSERT INTO hemline.forgotten (customer_digest) VALUES (%s) ON CONFLICT DO NOTHING",
                    [digest_of(customer_id)],
                )
            # ANALYZE, because the planner keeps samples of ids.
            self._db.execute("VACUUM (ANALYZE) hemline.customers, hemline.history, hemline.interactions")
        return found

    def _copy(self, table: sql.Composable, columns: tuple[str, ...], batch: pa.RecordBatch) -> None:
        """Rows as CSV: pyarrow writes it many times faster than Python could hand over values."""
        buffer = io.BytesIO()
        csv.write_csv(batch, buffer, csv.WriteOptions(include_header=False))
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(table, names)
        with self._db.cursor() as cursor, cursor.copy(query) as copy:
            copy.write(buffer.getbuffer())

    def _value(self, query: str, values: list | None = None):
        return self._db.execute(query, values).fetchone()[0]

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{self.name}: PostgreSQL cannot use it ({reason})") from error
