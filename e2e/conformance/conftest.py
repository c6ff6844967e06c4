"""The pair, for clients that others made. These tests run in the clients' environment (.venv-clients).

`make conformance` says what is under test: HEMLINE_BINARIES, HEMLINE_BUNDLE, HEMLINE_STORE, and where ONNX
Runtime is: ORT_DYLIB_PATH.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served import WORDS, Column, Controlled, Served

from hemline.pair import MODEL, PREDICTOR, Pair, Server

NEEDED = ("HEMLINE_BINARIES", "HEMLINE_BUNDLE", "HEMLINE_STORE", "ORT_DYLIB_PATH")


def pytest_configure(config: pytest.Config) -> None:
    """Reads what is under test. Raises UsageError where nobody says it."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise pytest.UsageError(f"{', '.join(missing)}: not set; run `make conformance`, which sets them")
    config.stash[UNDER_TEST] = {name: os.environ.pop(name) for name in NEEDED[:3]}


UNDER_TEST = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def bundle(pytestconfig) -> Path:
    """The bundle under test."""
    return Path(pytestconfig.stash[UNDER_TEST]["HEMLINE_BUNDLE"]).resolve()


@pytest.fixture(scope="session")
def store_file(pytestconfig) -> str:
    """The file of the store under test, which is not to be changed."""
    return pytestconfig.stash[UNDER_TEST]["HEMLINE_STORE"].removeprefix("sqlite://")


@pytest.fixture(scope="session")
def make_pair(pytestconfig, bundle) -> Callable[..., Pair]:
    """Makes a pair, not yet started: from where its logs go, and flags of its transformer."""
    names = pytestconfig.stash[UNDER_TEST]
    binaries = Path(names["HEMLINE_BINARIES"]).resolve()

    def make(logs: Path, *flags: str) -> Pair:
        return Pair(
            bundle,
            names["HEMLINE_STORE"],
            binaries,
            logs=logs,
            transformer_args=["--grpc-port=0", *flags],
            predictor_args=["--grpc-port=0"],
        )

    return make


@pytest.fixture(scope="session")
def pair(make_pair, tmp_path_factory):
    """The pair, with gRPC on free ports."""
    with make_pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture(scope="session")
def predictor(pair, bundle) -> Served:
    """predictor-gbdt, asked to score three rows of numbers and texts."""
    rest, grpc = addresses(pair.predictor)
    manifest = json.loads((bundle / "manifest.json").read_text())
    numbers = np.array([[18.0], [0.1], [-1.5]], np.float32)
    words = np.array([[word] for word in WORDS], np.object_)
    features = {
        feature["name"]: Column(feature["datatype"], numbers if feature["datatype"] == "FP32" else words)
        for feature in manifest["ranking"]["features"]
    }
    articles = Column("BYTES", np.array([["0108775015"], ["0108775044"], ["Ä"]], np.object_))
    rows = [list(row) for row in zip(*(column.flat for column in features.values()), strict=True)]
    instance = {"ranking_features": rows, "article_ids": articles.flat}
    question = features | {"article_id": articles}
    return Served(rest, grpc, MODEL, question, instance, on_request=frozenset({"explanations"}))


@pytest.fixture(scope="session")
def transformer(pair, store_file, bundle) -> Served:
    """The transformer, asked by a customer of the store."""
    rest, grpc = addresses(pair.transformer)
    with closing(sqlite3.connect(f"file:{store_file}?mode=ro", uri=True)) as db:
        (customer,) = db.execute("SELECT min(customer_id) FROM customers").fetchone()
    date = json.loads((bundle / "manifest.json").read_text())["window"]["test_end"]
    instance = {"customer_id": customer, "transaction_date": date}
    question = {name: Column("BYTES", np.array([value], np.object_)) for name, value in instance.items()}
    return Served(rest, grpc, MODEL, question, instance, on_request=frozenset({"explanations"}))


@pytest.fixture(scope="session")
def controllable(pytestconfig, bundle, predictor, tmp_path_factory):
    """A predictor of its own that may be told to load and unload: it looks at its file only then."""
    folder = tmp_path_factory.mktemp("controllable")
    file = folder / "model.onnx"
    shutil.copyfile(bundle / "ranker" / "model.onnx", file)
    program = Path(pytestconfig.stash[UNDER_TEST]["HEMLINE_BINARIES"]).resolve() / PREDICTOR
    arguments = [f"--model_name={MODEL}", f"--model_dir={folder}", "--http_port=0", "--grpc-port=0"]
    control = ["--enable_control", "--model_watch=0"]
    server = Server("controllable", program, [*arguments, *control], folder / "log")
    try:
        server.wait_ready()
        rest, grpc = addresses(server)
        yield Controlled(replace(predictor, rest=rest, grpc=grpc), file, file.read_bytes())
        server.check_alive()
    finally:
        server.kill()


@pytest.fixture
def controlled(controllable) -> Controlled:
    """The same with its model loaded, whatever the test before did to it."""
    controllable.restore()
    return controllable


@pytest.fixture(params=["predictor", "transformer"])
def served(request) -> Served:
    """Each of the two servers in turn."""
    return request.getfixturevalue(request.param)


def addresses(server: Server) -> tuple[str, str]:
    """Where REST and gRPC listen, by the line that says it."""
    rest = server.url.removeprefix("http://")
    line = next(line for line in server.lines() if line.get("message") == "listening")
    return rest, line["grpc"]
