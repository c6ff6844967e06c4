"""Shared by the tests: what is under test, its customers and articles, and the running pair.

`make test-e2e` says what is under test: HEMLINE_BINARIES (default target/release), HEMLINE_EXAMPLES (default
target/debug/examples), HEMLINE_WORK, HEMLINE_BUNDLE, HEMLINE_STORE. The tests run on whatever bundle they are
given and change none of it.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import Hemline, calling
from mock_predictor import MockPredictor
from stores import Away, TestStore
from told import Shop, shops
from under_test import Catalogue, UnderTest

from hemline.pair import Server
from hemline.postgres_server import PostgresServer
from hemline.stores.sqlite import as_loaded

REPOSITORY = Path(__file__).resolve().parents[1]
NEEDED = ("HEMLINE_WORK", "HEMLINE_BUNDLE", "HEMLINE_STORE")
# What the servers read from their environment: a test says it with flags, and nothing else may.
KEPT = ("HEMLINE_HM_DATA", "HEMLINE_CLIENTS", "HEMLINE_MLSERVER")
FOREIGN = ("HEMLINE_", "PREDICTOR_", "INFERENCE_SERVICE_NAME", "RANKING_MODEL_TYPE", "LLM_")


def pytest_configure(config: pytest.Config) -> None:
    """Reads what is under test. Raises UsageError where nobody says it."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise pytest.UsageError(f"{', '.join(missing)}: not set; run `make test-e2e`, which sets them")
    target = REPOSITORY / "target"
    binaries = Path(os.environ.get("HEMLINE_BINARIES") or target / "release").resolve()
    examples = Path(os.environ.get("HEMLINE_EXAMPLES") or target / "debug" / "examples").resolve()
    work, bundle, store = (os.environ[name] for name in NEEDED)
    config.stash[UNDER_TEST] = UnderTest(
        binaries, examples, Path(work).resolve(), Path(bundle).resolve(), store
    )
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # the processes that run the tests inherit what is under test
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name not in KEPT:
            del os.environ[name]


UNDER_TEST = pytest.StashKey[UnderTest]()


@pytest.fixture(scope="session")
def under_test(pytestconfig, tmp_path_factory) -> UnderTest:
    """Programs, examples, work directory, bundle, and a copy of the store as it was loaded."""
    under_test = pytestconfig.stash[UNDER_TEST]
    copy = tmp_path_factory.mktemp("loaded") / "store.db"
    as_loaded(Path(under_test.store.removeprefix("sqlite://")), copy)
    return replace(under_test, store=f"sqlite://{copy}")


@pytest.fixture(scope="session")
def catalogue(under_test) -> Catalogue:
    """Customers and articles as the work directory has them."""
    return Catalogue(under_test.work)


@pytest.fixture(scope="session")
def pair(under_test, tmp_path_factory):
    """The pair over the bundle and the store under test. Tests that stop or change it start their own."""
    with under_test.pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[PostgresServer]:
    """A PostgreSQL that the tests share; a test that takes it away brings it back."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def a_store(request, tmp_path) -> TestStore:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return TestStore.sqlite(tmp_path / "store.db")
    return TestStore(request.getfixturevalue("postgres").create_database())


@pytest.fixture
def two(under_test, a_store, pair, tmp_path) -> Iterator[list[Shop]]:
    """Two transformers over one empty store of each kind, and one predictor."""
    with shops(under_test, a_store.url, pair.predictor.url.removeprefix("http://"), tmp_path) as two:
        yield two


@pytest.fixture
def away(postgres) -> Iterator[Away]:
    """An empty store whose server a test may take away."""
    yield Away(postgres)
    postgres.kill()
    postgres.start()


@pytest.fixture(scope="module")
def mock():
    """A predictor that does what a test tells it."""
    with MockPredictor() as mock:
        yield mock


@pytest.fixture
def servers():
    """A list for servers that a test starts by itself: what is in it is stopped when the test ends."""
    started: list[Server] = []
    yield started
    for server in reversed(started):
        server.kill()


@pytest.fixture
def hemline(under_test) -> Iterator[Hemline]:
    """Starts `hemline` with what is under test; what still runs when the test ends is stopped."""
    options = {name: getattr(under_test, name) for name in ("bundle", "store", "work", "binaries")}
    with calling(**options) as hemline:
        yield hemline


@pytest.fixture
def some_customers(catalogue) -> np.ndarray:
    """250 customers with purchases, rows of customers.parquet."""
    return catalogue.buyers(250)


@pytest.fixture
def a_question(catalogue) -> dict:
    """A good instance of a customer with purchases."""
    return catalogue.instance(catalogue.buyers(1)[0])
