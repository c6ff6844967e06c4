"""Who is forgotten leaves no trace in the store, whatever they did and whoever has it open."""

import subprocess
import sys
import uuid

import pytest
from command_line import PIPELINES
from stores import TestStore
from told import KINDS, Shop, event

from hemline import load

PEOPLE, FORGOTTEN, AT_ONCE = 400, 40, 100


@pytest.fixture
def people(two, a_store, catalogue) -> list[str]:
    """Customers and visitors who did everything that can be done, told to both; their ids are in no order."""
    people = [f"person-{uuid.uuid4()}" for _ in range(PEOPLE)]
    a_store.know(dict.fromkeys(people[::2], 30.0))
    for kind in KINDS:
        for start in range(0, PEOPLE, AT_ONCE):
            events = [
                event(kind, person, str(article), id=f"{kind} by {person}", list_id=f"list of {person}")
                for person, article in zip(people[start:], catalogue.article_ids[:AT_ONCE], strict=False)
            ]
            for told in events[1::2]:
                told["visitor_id"] = told.pop("customer_id")
            assert two[start // AT_ONCE % 2].tell(*events).status_code == 202
    return people


def by_command(store: TestStore, customer_id: str) -> None:
    """Erases somebody as a shop's owner does."""
    command = [sys.executable, "-m", "hemline", "forget", customer_id, "--store", store.url]
    subprocess.run(command, cwd=PIPELINES, check=True, capture_output=True, timeout=60)


def content(store: TestStore) -> str:
    """All that can be read in it: SQLite's files as they are; PostgreSQL's tables and its statistics."""
    if store.url.startswith("sqlite"):
        files = store.path.parent.glob(f"{store.path.name}*")
        return "".join(file.read_bytes().decode("latin-1") for file in files)
    tables = store.rows("SELECT relid::regclass::text FROM pg_stat_user_tables")
    tables = [*(table for (table,) in tables), "pg_catalog.pg_stats"]
    return "".join(row for table in tables for (row,) in store.rows(f"SELECT a_row::text FROM {table} a_row"))


def named(people: list[str], store: TestStore) -> list[str]:
    """Which of them can be found in a store."""
    text = content(store)
    return [person for person in people if person in text]


def test_who_is_forgotten_is_in_no_byte_of_a_store_that_servers_have_open(two, a_store, people):
    assert named(people, a_store) == people
    by_command(a_store, people[0])
    for person in people[1:FORGOTTEN]:
        load.forget(a_store.url, person)
    assert named(people, a_store) == people[FORGOTTEN:]
    kept = len(KINDS) * (PEOPLE - FORGOTTEN)
    assert a_store.value("SELECT count(*) FROM hemline.interactions") == kept


def test_the_planners_statistics_name_nobody_who_is_forgotten(two, a_store, people):
    a_store.execute("ANALYZE")
    for person in people[:FORGOTTEN]:
        load.forget(a_store.url, person)
    assert named(people[:FORGOTTEN], a_store) == []


def test_who_is_forgotten_is_a_stranger_to_every_servers_very_next_answer(two, a_store, people, catalogue):
    question = {"transaction_date": catalogue.date, "k": 50}

    def ranking(shop: Shop, customer: str) -> list[list]:
        return shop.prediction(customer_id=customer, **question)["ranking"]

    stranger = ranking(two[0], "a stranger")
    for person in people[:4]:
        before = [ranking(shop, person) for shop in two]
        assert before[0] == before[1] != stranger
        load.forget(a_store.url, person)
        assert [ranking(shop, person) for shop in two] == [stranger, stranger]
