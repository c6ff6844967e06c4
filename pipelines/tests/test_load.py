"""Stores of both kinds: what `load` writes, that it can be repeated and broken off, and what it refuses."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import rows_of

from hemline import features, load, schema, stores
from hemline.errors import DataError
from hemline.postgres_server import HOST, PostgresServer
from hemline.stores import open_store
from hemline.stores.postgres import PostgresStore
from hemline.stores.sqlite import SqliteStore, as_loaded

PURCHASES = (
    "SELECT customer_id, article_id, bought_on "
    "FROM hemline.history JOIN hemline.customers USING (customer_key)"
)
EVENT = (
    "INSERT INTO hemline.interactions (event_id, customer_id, kind, article_id, occurred_at) "
    "VALUES ('{0}', '{0}', 'click', 'a', '2020-01-01T10:00:00Z')"
)
CUSTOMER = (
    "INSERT INTO hemline.customers (customer_id, age, club_member_status, fashion_news_frequency) "
    "VALUES ('{}', 30, 'ACTIVE', 'NONE')"
)


class Db:
    """A store by its URL, and statements for it; SQLite is given them without the schema."""

    def __init__(self, url):
        self.url = url

    def load(self, work, stock=None):
        load.run(work, self.url, stock)
        return self

    def query(self, sql):
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite://"))) as db, db:
                return db.execute(sql.replace("hemline.", "")).fetchall()
        with psycopg.connect(self.url) as db:
            cursor = db.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def purchases(self):
        return sorted((customer, article, str(day)) for customer, article, day in self.query(PURCHASES))

    def customers(self):
        columns = "customer_id, age, club_member_status, fashion_news_frequency"
        return sorted(self.query(f"SELECT {columns} FROM hemline.customers"))

    def stock(self):
        return dict(self.query("SELECT article_id, quantity FROM hemline.stock"))

    def all(self):
        return (
            self.customers(),
            self.purchases(),
            self.stock(),
            sorted(self.query("SELECT event_id FROM hemline.interactions")),
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request, tmp_path):
    if request.param == "sqlite":
        return Db(f"sqlite://{tmp_path}/state/store.db")
    return Db(request.getfixturevalue("postgres").create_database())


@pytest.fixture
def loaded(db, tiny_work):
    return db.load(tiny_work)


def test_every_customer_and_each_distinct_purchase_is_in_the_store(loaded, tiny_work):
    assert {row[0] for row in loaded.customers()} == {
        row["customer_id"] for row in rows_of(tiny_work / schema.CUSTOMERS)
    }
    rows = rows_of(tiny_work / schema.TRANSACTIONS)
    purchases = {(row["customer_id"], row["article_id"], str(row["t_dat"])[:10]) for row in rows}
    assert loaded.purchases() == sorted(purchases)


def test_an_age_is_stored_only_where_it_is_known(loaded, tiny_work):
    stored = {row[0]: row[1] for row in loaded.customers()}
    rows = rows_of(tiny_work / schema.CUSTOMERS)
    assert not all(row["age_known"] for row in rows)
    assert all(stored[row["customer_id"]] == (row["age"] if row["age_known"] else None) for row in rows)


def test_loading_twice_changes_nothing(loaded, tiny_work):
    before = loaded.all()
    keys = sorted(loaded.query("SELECT customer_id, customer_key FROM hemline.customers"))
    assert loaded.load(tiny_work).all() == before
    assert sorted(loaded.query("SELECT customer_id, customer_key FROM hemline.customers")) == keys


def test_events_stay_and_so_do_the_customers_that_they_name(loaded, tiny_work):
    for customer in ("guest", "nobody"):
        loaded.query(CUSTOMER.format(customer))
    loaded.query(EVENT.format("guest"))
    loaded.load(tiny_work)
    assert {row[0] for row in loaded.customers()} & {"guest", "nobody"} == {"guest"}
    assert loaded.query("SELECT event_id FROM hemline.interactions") == [("guest",)]


def test_a_copy_as_it_was_loaded_has_no_events_and_leaves_those_that_are_there(tiny_work, tmp_path):
    loaded = Db(f"sqlite://{tmp_path}/store.db").load(tiny_work)
    before = loaded.all()
    loaded.query(CUSTOMER.format("guest"))
    loaded.query(EVENT.format("guest"))
    as_loaded(tmp_path / "store.db", tmp_path / "copy.db")
    copy = Db(f"sqlite://{tmp_path}/copy.db")
    assert copy.query("SELECT event_id FROM hemline.interactions") == []
    assert copy.purchases() == before[1]
    assert loaded.query("SELECT event_id FROM hemline.interactions") == [("guest",)]


def test_what_is_no_longer_in_the_data_is_no_longer_in_the_store(db, shop, tmp_path):
    features.run(shop.write(), tmp_path / "work")
    before = db.load(tmp_path / "work").purchases()
    gone = shop.transactions.pop()
    features.run(shop.write(), tmp_path / "work")
    after = db.load(tmp_path / "work").purchases()
    assert set(before) - set(after) == {
        (gone["customer_id"], f"{int(gone['article_id']):010}", gone["t_dat"])
    }
    assert not set(after) - set(before)


def test_a_profile_that_changed_is_updated(db, shop, tmp_path):
    features.run(shop.write(), tmp_path / "work")
    db.load(tmp_path / "work")
    shop.customers[0] |= {"age": "77", "club_member_status": "LEFT CLUB"}
    features.run(shop.write(), tmp_path / "work")
    db.load(tmp_path / "work")
    assert [row[1:3] for row in db.customers() if row[0] == "c0"] == [(77.0, "LEFT CLUB")]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_stock_is_replaced_by_what_a_file_says(db, tiny_work, tmp_path, suffix):
    def write(rows):
        file = tmp_path / f"stock.{suffix}"
        if suffix == "csv":
            file.write_text("article_id,quantity\n" + "".join(f"{a},{q}\n" for a, q in rows))
        else:
            ids, quantities = zip(*rows, strict=True)
            pq.write_table(pa.table({"article_id": [str(i) for i in ids], "quantity": quantities}), file)
        return file

    db.load(tiny_work, write([(108775015, 0), ("0108775044", 5), (7, 1)]))
    assert db.stock() == {"0108775015": 0, "0108775044": 5, "0000000007": 1}
    assert db.load(tiny_work).stock(), "a load without the file leaves stock alone"
    db.load(tiny_work, write([(108775015, 2), ("0108775044", 0)]))
    assert db.stock() == {"0108775015": 2, "0108775044": 0}
    out = "SELECT article_id FROM hemline.stock_changes WHERE out_of_stock = true ORDER BY 1"
    assert db.query(out) == [("0108775044",)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("article_id,quantity\n1,5\n2,-1\n", "row 2"),
        ("article_id,quantity\n1,many\n", "row 1"),
        ("article_id,quantity\nshoe,1\n", "row 1"),
        ("article_id,quantity\n1,1\n0000000001,2\n", "more than one row"),
        ("article,quantity\n1,1\n", "no column article_id"),
    ],
)
def test_stock_that_is_none_is_refused_before_anything_is_loaded(db, tiny_work, tmp_path, text, what):
    (tmp_path / "stock.csv").write_text(text)
    with pytest.raises(DataError, match=what):
        db.load(tiny_work, tmp_path / "stock.csv")
    assert db.customers() == []


def test_a_load_that_is_killed_changes_nothing_and_the_next_goes_on_where_it_was(db, shop, tmp_path, capsys):
    features.run(shop.write(), tmp_path / "work")
    db.load(tmp_path / "work")
    before = db.all()
    shop.transactions.pop()
    shop.transactions[0] |= {"t_dat": "2020-08-01"}
    features.run(shop.write(), tmp_path / "work")
    process = multiprocessing.get_context("spawn").Process(
        target=die_after_two_chunks, args=[tmp_path / "work", db.url]
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert db.all() == before
    (rows,) = db.query("SELECT rows FROM hemline.load_progress")[0]
    assert rows == 4
    capsys.readouterr()
    db.load(tmp_path / "work")
    assert "4 of" in capsys.readouterr().err
    other = Db(f"sqlite://{tmp_path}/other.db").load(tmp_path / "work")
    assert db.purchases() == other.purchases() != before[1]


def die_after_two_chunks(work, url):
    for kind in (SqliteStore, PostgresStore):
        kind.chunk = 2
        add = kind.add_history

        def dying(self, rows, done, add=add):
            add(self, rows, done)
            if done >= 4:
                os.kill(os.getpid(), signal.SIGKILL)

        kind.add_history = dying
    load.run(work, url)


def test_progress_of_other_data_is_of_no_use(db, shop, tmp_path):
    features.run(shop.write(), tmp_path / "work")
    with open_store(db.url, create=True) as store:
        store.migrate()
        assert store.begin_history("other data") == 0
        store.add_history(
            pa.record_batch({"k": pa.array([1], pa.int32()), "a": ["x"], "d": ["2020-01-01"]}), 1
        )
        assert store.begin_history("other data") == 1
    db.load(tmp_path / "work")
    assert not [row for row in db.purchases() if row[1] == "x"]


def test_readers_see_all_of_a_load_or_nothing(loaded, tiny_work, monkeypatch):
    loaded.query("DELETE FROM hemline.history")
    loaded.query("UPDATE hemline.customers SET age = 1")
    before, seen = loaded.all(), []
    kind = SqliteStore if loaded.url.startswith("sqlite") else PostgresStore
    add = kind.add_history
    monkeypatch.setattr(kind, "chunk", 1000)
    monkeypatch.setattr(kind, "add_history", lambda *args: (add(*args), seen.append(loaded.all())))
    loaded.load(tiny_work)
    assert len(seen) > 3
    assert all(found == before for found in seen)
    assert len(loaded.purchases()) > len(before[1])


def test_who_was_erased_leaves_no_trace_and_does_not_come_back(loaded, tiny_work):
    customer = loaded.purchases()[0][0]
    loaded.query(EVENT.format(customer))
    load.forget(loaded.url, customer)
    load.forget(loaded.url, "nobody of this id")
    assert customer not in str(loaded.all())
    rest = loaded.all()
    assert loaded.load(tiny_work).all() == rest
    if loaded.url.startswith("sqlite"):
        file = loaded.url.removeprefix("sqlite://")
        found = subprocess.run(["grep", "-c", customer, file], capture_output=True, text=True).stdout
        assert found.strip() == "0", "not even in what was deleted"


def test_a_customer_who_is_erased_while_a_load_runs_is_not_in_what_it_brings(loaded, tiny_work, monkeypatch):
    customer = loaded.purchases()[0][0]
    kind = SqliteStore if loaded.url.startswith("sqlite") else PostgresStore
    monkeypatch.setattr(kind, "chunk", 1000)
    add = kind.add_history

    def erase_in_between(self, rows, done):
        add(self, rows, done)
        if done == 2000:
            load.forget(loaded.url, customer)

    monkeypatch.setattr(kind, "add_history", erase_in_between)
    with pytest.raises(DataError, match="run it again"):
        loaded.load(tiny_work)
    monkeypatch.undo()
    assert customer not in str(loaded.load(tiny_work).all())


def test_the_schema_version_is_the_number_of_migrations(loaded):
    if loaded.url.startswith("sqlite"):
        assert loaded.query("PRAGMA user_version") == [
            (len(list((stores.MIGRATIONS / "sqlite").glob("*.sql"))),)
        ]
        assert loaded.query("PRAGMA journal_mode") == [("wal",)]
    else:
        files = list((stores.MIGRATIONS / "postgres").glob("*.sql"))
        assert loaded.query("SELECT version FROM hemline.schema_version") == [(len(files),)]


def test_a_newer_store_is_refused(loaded, tiny_work):
    newer = "PRAGMA user_version = 99"
    loaded.query(
        newer if loaded.url.startswith("sqlite") else "UPDATE hemline.schema_version SET version = 99"
    )
    for act in (lambda: loaded.load(tiny_work), lambda: load.migrate(loaded.url)):
        with pytest.raises(DataError, match="schema version 99 is newer"):
            act()


def test_a_store_of_the_first_schema_keeps_what_it_has(tmp_path):
    with closing(sqlite3.connect(tmp_path / "store.db")) as db:
        db.executescript((stores.MIGRATIONS / "sqlite" / "0001_initial.sql").read_text())
        db.executescript(
            "INSERT INTO customers VALUES ('c', 30, 'ACTIVE', 'NONE');"
            "INSERT INTO interactions VALUES ('c', 'purchase', 'a', '2020-01-01T00:00:00Z', 'history');"
            "INSERT INTO interactions VALUES ('c', 'purchase', 'b', '2020-01-02T10:00:00Z', 'shop');"
            "INSERT INTO interactions VALUES ('v', 'click', 'b', '2020-01-02T10:00:00Z', 'shop');"
            "PRAGMA user_version = 1"
        )
    store = Db(f"sqlite://{tmp_path}/store.db")
    load.migrate(store.url)
    assert store.customers() == [("c", 30.0, "ACTIVE", "NONE")]
    assert store.purchases() == [("c", "a", "2020-01-01")]
    events = store.query("SELECT customer_id, kind, article_id, source FROM interactions ORDER BY 1")
    assert events == [("c", "purchase", "b", "shop"), ("v", "click", "b", "shop")]


def test_what_was_granted_on_the_history_is_granted_on_the_one_that_replaces_it(postgres, tiny_work):
    db = Db(postgres.create_database()).load(tiny_work)
    db.query("CREATE ROLE reader")
    db.query("GRANT SELECT ON hemline.history TO reader")
    db.load(tiny_work)
    assert db.query("SELECT has_table_privilege('reader', 'hemline.history', 'SELECT')") == [(True,)]
    db.query("DROP OWNED BY reader")
    db.query("DROP ROLE reader")


def test_what_a_customer_purchased_is_one_range_of_an_index(tmp_path, tiny_work):
    db = Db(f"sqlite://{tmp_path}/store.db").load(tiny_work)
    for sql, plan in [
        (
            "SELECT article_id FROM history WHERE customer_key = 1",
            "SEARCH history USING PRIMARY KEY (customer_key=?)",
        ),
        (
            "SELECT article_id FROM interactions WHERE customer_id = 'c' AND kind = 'purchase'",
            "SEARCH interactions USING COVERING INDEX interactions_of_customer (customer_id=? AND kind=?)",
        ),
    ]:
        ((*_, found),) = db.query(f"EXPLAIN QUERY PLAN {sql}")
        assert found == plan


@pytest.mark.parametrize("url", ["store.db", "sqlite://", "mysql://u:s3cret@localhost/x", "postgres://"])
def test_what_is_no_stores_url_is_refused_and_not_repeated(tiny_work, url):
    with pytest.raises(DataError, match="--store: expected sqlite://") as refused:
        load.run(tiny_work, url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("where", ["127.0.0.1:1/x", "127.0.0.1:port/x"])
def test_a_server_that_is_not_there_is_named_without_its_password(where):
    with pytest.raises(DataError) as refused:
        load.migrate(f"postgres://u:s3cret@{where}")
    assert "s3cret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "store.db").write_bytes(b"This is no database. " * 500)
    with pytest.raises(DataError, match="SQLite cannot use it"):
        load.migrate(f"sqlite://{tmp_path}/store.db")
    with pytest.raises(DataError, match="no such file"):
        load.forget(f"sqlite://{tmp_path}/nowhere.db", "c")


def test_a_work_directory_without_its_tables_is_named(tmp_path):
    with pytest.raises(DataError, match="run `hemline features` first"):
        load.run(tmp_path, f"sqlite://{tmp_path}/store.db")


def test_a_command_beside_a_server_gets_its_url_and_gives_its_exit_code(postgres_folder):
    code = "import os, psycopg, sys; psycopg.connect(os.environ['HEMLINE_TEST_POSTGRES']); sys.exit(7)"
    command = [
        sys.executable,
        "-m",
        "hemline.postgres_server",
        str(postgres_folder),
        "--",
        sys.executable,
        "-c",
        code,
    ]
    assert subprocess.run(command).returncode == 7


def test_a_server_whose_port_was_taken_while_it_was_down_waits_for_it_as_its_clients_know_no_other(tmp_path):
    with PostgresServer(tmp_path / "server") as server:
        server.kill()
        with socket.create_server((HOST, int(server.url.rpartition(":")[2].split("/")[0]))) as taken:
            threading.Timer(1, taken.close).start()
            server.start()
        psycopg.connect(server.url).close()
