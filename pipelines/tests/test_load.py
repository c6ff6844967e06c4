"""The store: what `load` writes, that it can be repeated, and that it refuses what it does not know."""

import sqlite3

import pytest
from conftest import rows_of

from hemline import features, load, schema
from hemline.errors import DataError


@pytest.fixture
def store(tiny_work, tmp_path):
    path = tmp_path / "state" / "store.db"
    load.run(tiny_work, f"sqlite://{path}")
    return path


def query(path, sql, *values):
    with sqlite3.connect(path) as db:
        return db.execute(sql, values).fetchall()


def dump(path):
    return query(path, "SELECT * FROM customers") + query(path, "SELECT * FROM interactions")


def test_every_customer_and_each_distinct_purchase_is_in_the_store(store, tiny_work):
    customers = {row["customer_id"] for row in rows_of(tiny_work / schema.CUSTOMERS)}
    assert {row[0] for row in query(store, "SELECT customer_id FROM customers")} == customers
    purchases = {
        (row["customer_id"], row["article_id"], f"{row['t_dat']}T00:00:00Z", "purchase", "history")
        for row in rows_of(tiny_work / schema.TRANSACTIONS)
    }
    rows = query(store, "SELECT customer_id, article_id, occurred_at, kind, source FROM interactions")
    assert len(rows) == len(purchases)
    assert set(rows) == purchases


def test_an_age_is_stored_only_where_it_is_known(store, tiny_work):
    stored = dict(query(store, "SELECT customer_id, age FROM customers"))
    rows = rows_of(tiny_work / schema.CUSTOMERS)
    assert not all(row["age_known"] for row in rows)
    assert all(stored[row["customer_id"]] == (row["age"] if row["age_known"] else None) for row in rows)


def test_loading_twice_changes_nothing(store, tiny_work):
    before = dump(store)
    load.run(tiny_work, f"sqlite://{store}")
    assert dump(store) == before


def test_events_that_servers_recorded_stay(store, tiny_work):
    with sqlite3.connect(store) as db:
        db.execute("INSERT INTO interactions VALUES ('c', 'click', 'a', '2020-01-01T10:00:00Z', 'gbdt')")
    load.run(tiny_work, f"sqlite://{store}")
    assert query(store, "SELECT count(*) FROM interactions WHERE kind = 'click'") == [(1,)]


def test_a_customer_that_is_not_in_the_data_stays_where_a_server_recorded_an_event(store, tiny_work):
    with sqlite3.connect(store) as db:
        for customer in ("guest", "nobody"):
            db.execute("INSERT INTO customers VALUES (?, 30.0, 'ACTIVE', 'NONE')", [customer])
        db.execute("INSERT INTO interactions VALUES ('guest', 'click', 'a', '2020-01-01T10:00:00Z', 'gbdt')")
    load.run(tiny_work, f"sqlite://{store}")
    sql = "SELECT customer_id FROM customers WHERE customer_id IN ('guest', 'nobody')"
    assert query(store, sql) == [("guest",)]


def test_what_is_no_longer_in_the_data_is_no_longer_in_the_store(shop, tmp_path):
    url = f"sqlite://{tmp_path}/store.db"
    features.run(shop.write(), tmp_path / "work")
    load.run(tmp_path / "work", url)
    gone = shop.transactions.pop()
    features.run(shop.write(), tmp_path / "work")
    load.run(tmp_path / "work", url)
    rows = query(
        tmp_path / "store.db", "SELECT customer_id, article_id, substr(occurred_at, 1, 10) FROM interactions"
    )
    assert (gone["customer_id"], f"{int(gone['article_id']):010}", gone["t_dat"]) not in rows
    assert rows


def test_a_profile_that_changed_is_updated(shop, tmp_path):
    url = f"sqlite://{tmp_path}/store.db"
    features.run(shop.write(), tmp_path / "work")
    load.run(tmp_path / "work", url)
    shop.customers[0] |= {"age": "77", "club_member_status": "LEFT CLUB"}
    features.run(shop.write(), tmp_path / "work")
    load.run(tmp_path / "work", url)
    sql = "SELECT age, club_member_status FROM customers WHERE customer_id = 'c0'"
    assert query(tmp_path / "store.db", sql) == [(77.0, "LEFT CLUB")]


def test_what_a_customer_purchased_is_read_from_the_index_alone(store):
    sql = "EXPLAIN QUERY PLAN SELECT article_id FROM interactions WHERE customer_id = ? AND kind = 'purchase'"
    ((*_, plan),) = query(store, sql, "c")
    # The table is its primary key (WITHOUT ROWID): searching that is reading nothing else.
    assert plan == "SEARCH interactions USING PRIMARY KEY (customer_id=? AND kind=?)"


def test_a_kind_that_does_not_exist_is_refused_by_the_store(store):
    with sqlite3.connect(store) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO interactions VALUES ('c', 'stare', 'a', '2020-01-01T10:00:00Z', 'x')")


def test_the_schema_version_is_the_number_of_migrations_and_the_journal_is_wal(store):
    assert query(store, "PRAGMA user_version") == [(len(list(load.MIGRATIONS.glob("*.sql"))),)]
    assert query(store, "PRAGMA journal_mode") == [("wal",)]


def test_a_newer_store_is_refused(store, tiny_work):
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="schema version 99 is newer"):
        load.run(tiny_work, f"sqlite://{store}")


def test_readers_see_all_of_a_load_or_nothing_and_never_wait(store, tiny_work, monkeypatch):
    with sqlite3.connect(store) as db:
        db.execute("DELETE FROM interactions")
        db.execute("INSERT INTO interactions VALUES ('c', 'click', 'a', '2020-01-01T10:00:00Z', 'gbdt')")
    before, seen, purchases = dump(store), [], load._purchases

    def watched(*arguments):
        for batch in purchases(*arguments):
            yield batch
            seen.append(dump(store))  # another connection, after the batch was inserted

    monkeypatch.setattr(load, "_purchases", watched)
    load.run(tiny_work, f"sqlite://{store}")
    assert seen == [before]
    assert len(dump(store)) > len(before)


def test_a_load_that_fails_leaves_the_store_as_it_was(store, tiny_work, monkeypatch):
    before = dump(store)

    def broken(path, bar):
        yield iter([("new", None, "ACTIVE", "NONE")])
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "_customers", broken)
    with pytest.raises(KeyboardInterrupt):
        load.run(tiny_work, f"sqlite://{store}")
    assert dump(store) == before


@pytest.mark.parametrize("url", ["store.db", "sqlite://", "postgres://localhost/x"])
def test_a_store_that_is_no_sqlite_url_is_refused(tiny_work, url):
    with pytest.raises(DataError, match="not of the form sqlite://"):
        load.run(tiny_work, url)


def test_an_unfinished_work_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"features.json: not in .*run `hemline features` first"):
        load.run(tmp_path, f"sqlite://{tmp_path}/store.db")


def test_a_file_that_is_no_database_is_refused(tiny_work, tmp_path):
    (tmp_path / "store.db").write_text("these are words, not a database" * 100)
    with pytest.raises(DataError, match="SQLite cannot use it"):
        load.run(tiny_work, f"sqlite://{tmp_path}/store.db")
