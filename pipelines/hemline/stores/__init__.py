"""The store that the servers read, filled and kept: SQLite for one machine, PostgreSQL for many.

What it holds is said by the migrations in `catalog/migrations/`; those of each kind count for themselves.
"""

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from hemline.errors import DataError

MIGRATIONS = Path(__file__).resolve().parents[3] / "catalog" / "migrations"
EXPECTED = "sqlite://path/to/store.db or postgres://user:password@host:port/database"

# What a load brings of a customer; a key is the store's own.
CUSTOMER_COLUMNS = ("customer_id", "age", "club_member_status", "fashion_news_frequency")
# A purchase of `history`, in the order in which rows are loaded.
HISTORY_COLUMNS = ("customer_key", "article_id", "bought_on")


class Exposure(NamedTuple):
    """What one variant showed one customer, and what came of it."""

    customer_id: str
    variant: str  # the list ids' part before the digest of 16 digits: ranker@bundle
    lists: int
    articles: int
    clicked: bool
    bought: bool


class Store(AbstractContextManager, Protocol):
    """An open store. Every method is one transaction, unless it says otherwise."""

    name: str
    """What people are told it is; without a password."""
    chunk: int
    """Rows of `history` that are written at once: others must get their turn."""

    def migrate(self) -> tuple[int, int]:
        """Applies what it lacks, each migration with its number in one transaction: versions before, after.

        Raises DataError for a store that is newer than this program.
        """

    def forgotten(self) -> list[str]:
        """SHA-256 of the ids of customers who were erased, hexadecimal."""

    def stage_customers(self, batches: list[pa.RecordBatch]) -> None:
        """Keeps CUSTOMER_COLUMNS for `publish`, and adds those who are new: nobody asks for them yet."""

    def customer_keys(self) -> pa.Table:
        """customer_id (string) and customer_key (int32) of all."""

    def begin_history(self, digest: str) -> int:
        """How many rows of this history are there already; 0 where another was begun."""

    def add_history(self, rows: pa.RecordBatch, done: int) -> None:
        """Adds HISTORY_COLUMNS; then `done` are there."""

    def publish(self, stock: pa.Table | None) -> None:
        """Makes all of it what servers read, at one moment: customers, history, `stock` where it is given."""

    def tidy(self) -> None:
        """Gives room back, and tells the planner what there is. No transaction."""

    def exposures(self, since: str | None, within: int) -> list[Exposure]:
        """What was shown since an ISO date, and whether it was clicked or bought within days after."""

    def forget(self, customer_id: str) -> dict[str, int]:
        """Erases a customer or visitor: rows by table. A load does not bring them back."""


def open_store(url: str, create: bool = False) -> Store:
    """The store that a URL names; `create` makes a SQLite file that is not there.

    Raises DataError for what is no store's URL. It does not repeat what was given, which may hold a password.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest:
        from hemline.stores.sqlite import SqliteStore

        return SqliteStore(Path(rest), create)
    if scheme in ("postgres", "postgresql") and rest:
        from hemline.stores.postgres import PostgresStore

        return PostgresStore(url)
    raise DataError(f"--store: expected {EXPECTED}")


def migrations(kind: str, version: int, name: str) -> list[tuple[int, str]]:
    """Number and SQL of the migrations that a store of this version lacks."""
    files = sorted((MIGRATIONS / kind).glob("[0-9][0-9][0-9][0-9]_*.sql"))
    if not files:
        raise DataError(f"{MIGRATIONS / kind}: no migrations there; hemline must run from its repository")
    if version > len(files):
        raise DataError(f"{name}: schema version {version} is newer than this program's {len(files)}")
    return [(number, file.read_text()) for number, file in enumerate(files, 1) if number > version]


def digest_of(customer_id: str) -> str:
    """What stays of a customer who was erased."""
    return hashlib.sha256(customer_id.encode()).hexdigest()


def check(progress: int, name: str) -> None:
    """Raises DataError where a load's progress is gone: a customer was erased, who is in what it brings."""
    if progress != 1:
        raise DataError(f"{name}: a customer was erased while this load ran; run it again")
