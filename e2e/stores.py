"""Stores of a test's own, and others who write to them."""

import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import psycopg

from hemline.postgres_server import PostgresServer
from hemline.stores import open_store

_INTERACTION = """
INSERT INTO hemline.interactions (event_id, source, customer_id, kind, article_id, occurred_at)
VALUES (?, 'test', ?, 'purchase', ?, ?)
"""
_CUSTOMER = """
INSERT INTO hemline.customers (customer_id, age, club_member_status, fashion_news_frequency)
VALUES (?, ?, 'ACTIVE', 'NONE')
"""


class TestStore:
    """An empty store. Statements are PostgreSQL's with `?` for values; SQLite gets them without a schema."""

    __test__ = False

    def __init__(self, url: str) -> None:
        """Migrates it; makes the file of one in SQLite."""
        self.url = url
        with open_store(url, create=True) as store:
            store.migrate()

    @classmethod
    def sqlite(cls, path: Path) -> "TestStore":
        """In a new file."""
        return cls(f"sqlite://{path}")

    @property
    def path(self) -> Path:
        """SQLite's file."""
        return Path(self.url.removeprefix("sqlite://"))

    def execute(self, sql: str, rows: Iterable[tuple] = ((),)) -> None:
        """One statement for each row of values, in one transaction."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
                db.executemany(sql.replace("hemline.", ""), rows)
        else:
            with psycopg.connect(self.url) as db, db.cursor() as cursor:
                cursor.executemany(sql.replace("?", "%s"), rows)

    def rows(self, sql: str) -> list[tuple]:
        """What a question is answered with."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.path, timeout=30)) as db:
                return db.execute(sql.replace("hemline.", "")).fetchall()
        with psycopg.connect(self.url) as db:
            return db.execute(sql).fetchall()

    def value(self, sql: str):
        """The one value that a question is answered with."""
        ((value,),) = self.rows(sql)
        return value

    def know(self, customers: Mapping[str, float | None]) -> None:
        """Customers and their ages."""
        self.execute(_CUSTOMER, customers.items())

    def buy(self, customer: str, articles: Iterable[str], at: str = "2020-01-01T00:00:00Z") -> None:
        """Purchases that somebody beside the servers writes."""
        self.execute(_INTERACTION, [(str(uuid.uuid4()), customer, article, at) for article in articles])


class Away(TestStore):
    """A store on a PostgreSQL of its own, which a test may take away."""

    def __init__(self, server: PostgresServer) -> None:
        """In a new database."""
        self.server = server
        super().__init__(server.create_database())
