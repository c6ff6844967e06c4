"""What is under test, and what is known of its customers and articles from elsewhere than the bundle."""

import hashlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from stores import TestStore

from hemline import bundle as bundles
from hemline import candidates, interactions, ranking, ranking_features, retrieval, schema
from hemline.candidates import Candidates
from hemline.history import History, Touches
from hemline.interactions import Baskets
from hemline.llm import PREDICTOR_LLM, Api, LlmPair
from hemline.pair import MODEL, PREDICTOR, STORE, TRANSFORMER, Pair, Server, environment, predictions, v2_body
from hemline.ranking_features import Profiles
from hemline.schema import ARTICLE_ATTRIBUTES
from hemline.signals import Signals

CANDIDATES = 100
SAFETY_SECONDS = 60


@dataclass(frozen=True)
class UnderTest:
    """Programs, the data plane's examples, work directory, bundle and store."""

    binaries: Path
    examples: Path
    work: Path
    bundle: Path
    store: str

    def pair(self, logs: Path, **changes: object) -> Pair:
        """A pair of its own, not yet started; `bundle` and `store` may be others."""
        arguments = {"bundle": self.bundle, "store": self.store, "logs": logs} | changes
        return Pair(binaries=self.binaries, **arguments)

    def transformer(
        self,
        logs: Path,
        predictor: str,
        *arguments: str,
        bundle: Path | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Server:
        """A transformer alone, over any predictor (host:port); `secrets` are variables beside the store's."""
        own = [
            "--model_dir",
            str(bundle or self.bundle),
            "--predictor_host",
            predictor,
            "--http_port=0",
        ]
        program, log = self.binaries / TRANSFORMER, logs / "transformer.log"
        return Server(TRANSFORMER, program, [*own, *arguments], log, {STORE: self.store, **(secrets or {})})

    def predictor(self, log: Path, *arguments: str, bundle: Path | None = None) -> Server:
        """A predictor alone."""
        own = ["--model_dir", str(bundle or self.bundle), "--http_port=0"]
        return Server(PREDICTOR, self.binaries / PREDICTOR, [*own, *arguments], log)

    def predictor_llm(self, log: Path, llm_url: str, strategy: str, *arguments: str, port: int = 0) -> Server:
        """A predictor-llm alone, over any LLM."""
        own = [f"--llm-url={llm_url}", f"--strategy={strategy}", f"--http_port={port}"]
        return Server(PREDICTOR_LLM, self.binaries / PREDICTOR_LLM, [*own, *arguments], log)

    def llm_pair(self, logs: Path, api: Api, **changes: object) -> LlmPair:
        """A transformer over `rankers`, not yet started; what else a pair has may be changed."""
        arguments = {"bundle": self.bundle, "store": self.store, "logs": logs} | changes
        return LlmPair(binaries=self.binaries, api=api, **arguments)

    def example(self, name: str, log: Path, *arguments: str) -> Server:
        """One of the data plane's examples."""
        ports = ["--http-port=0", "--grpc-port=0"]
        return Server(name, self.examples / name, [*ports, *arguments], log)

    @cached_property
    def manifest(self) -> dict:
        """The bundle's manifest."""
        return json.loads((self.bundle / bundles.MANIFEST).read_text())


class Catalogue:
    """The work directory's customers, articles and purchases. Nothing here is read from the bundle."""

    def __init__(self, work: Path) -> None:
        """Reads the tables."""
        self.work = work
        self.purchases = interactions.read(work)
        customers = pq.read_table(work / "customers.parquet", columns=["customer_id", "age"])
        self.customer_ids = np.array(customers["customer_id"].to_pylist(), dtype=object)
        self.ages = customers["age"].to_numpy().astype(np.float32)
        columns = ["article_id", "prod_name", *ARTICLE_ATTRIBUTES]
        self._articles = pq.read_table(work / "articles.parquet", columns=columns)
        self.article_ids = np.array(self._articles["article_id"].to_pylist(), dtype=object)
        self.rows = {article: row for row, article in enumerate(self.article_ids)}
        window = interactions.window(work)
        self.first = window["first"]
        self.date, self.month = window["test_start"], int(window["test_start"][5:7])

    def buyers(self, count: int) -> np.ndarray:
        """So many customers with purchases, always the same ones, as rows of customers.parquet."""
        buyers = np.unique(self.purchases.customer)
        return np.random.default_rng(7).permutation(buyers)[:count]

    def bought(self, customers: np.ndarray) -> interactions.Baskets:
        """What they ever bought."""
        pairs = self.purchases.pairs()
        return interactions.baskets(pairs, self.purchases.articles).of(customers)

    def bought_ids(self, customer: int) -> set[str]:
        """Ids of what one of them ever bought."""
        return set(self.article_ids[np.unique(self.purchases.article[self.purchases.customer == customer])])

    def instance(self, customer: int, **more: object) -> dict:
        """A question of a customer, given as a row of customers.parquet."""
        return {"customer_id": self.customer_ids[customer], "transaction_date": self.date, **more}

    def names(self, articles: Iterable[str]) -> list[str]:
        """What articles are called."""
        return self._articles["prod_name"].take([self.rows[article] for article in articles]).to_pylist()

    def values(self, attribute: str) -> dict[str, str]:
        """An attribute's value of each article."""
        return dict(zip(self.article_ids, self._articles[attribute].to_pylist(), strict=True))

    def queries(self, customers: np.ndarray) -> np.ndarray:
        """JAX's query embeddings of customers in the month of the questions."""
        ids, months = list(self.customer_ids[customers]), np.full(len(customers), self.month)
        history = self.history(customers)
        return retrieval.query_embedding(self.work, ids, self.ages[customers], months, history)

    def history(self, customers: np.ndarray) -> History:
        """All that the store says they touched; what was later than the questions' day counts as of it."""
        last = np.full(len(customers), self.purchases.day.max())
        history = Touches(self.purchases, strict=False).before(customers, last)
        asked_on = (np.datetime64(self.date) - np.datetime64(self.first)).astype(int)
        days = np.maximum(history.days - (last[0] - asked_on), 0).astype(np.float32)
        return History(history.articles, history.weights, days)

    @cached_property
    def inputs(self) -> list[tuple[str, str]]:
        """Name and datatype of each of the ranker's features, in order."""
        return [(feature["name"], feature["datatype"]) for feature in ranking.features(self.work)]

    @cached_property
    def signals(self) -> Signals:
        """What purchases before the test window say of the articles."""
        return bundles.signals_at_test(self.work)

    def candidates(self, customers: np.ndarray, left_out: Baskets, manifest: dict) -> np.ndarray:
        """What a bundle with this manifest should find, over exact search: [n, CANDIDATES], -1 at the end."""
        items, queries = np.load(self.work / "item_embeddings.npy"), self.queries(customers)
        nearest = interactions.top(queries, items, left_out, CANDIDATES)
        shares = manifest["retrieval"].get("sources")
        if shares is None:
            return nearest
        groups, history = schema.age_group_numbers(self.ages[customers]), self.history(customers)
        known = (history, left_out, self.signals, groups, shares)
        return candidates.find(queries, items, nearest, *known).lists(len(customers))

    def features(self, customer: int, articles: Sequence[str]) -> pa.Table:
        """The ranker's features of a customer and these candidates, made anew from the tables."""
        rows = np.array([self.rows[article] for article in articles])
        items, one = np.load(self.work / "item_embeddings.npy"), np.array([customer])
        history = self.history(one)
        scores = (self.queries(one) @ items[rows].T)[0]
        ranks = np.empty(len(rows), np.float32)
        ranks[np.lexsort((rows, -scores))] = np.arange(len(rows))
        alike = candidates.alikeness(history, self.signals, np.zeros(len(rows), int), rows)
        found = Candidates(np.zeros(len(rows), int), rows, scores, ranks, alike)
        age = self.ages[one]
        who = Profiles(age, schema.age_group_numbers(age), self.month, history)
        texts = {
            name: self._articles[name].combine_chunks().dictionary_encode() for name in ARTICLE_ATTRIBUTES
        }
        codes = {name: column.indices.to_numpy() for name, column in texts.items()}
        table = ranking_features.Table(self.signals, codes, items)
        columns = ranking_features.compute(ranking.features(self.work), found, who, table)
        plain = {name: texts[name].take(rows).cast(pa.string()) for name in columns if name in texts}
        return pa.table(columns | plain)


def as_tensors(features: pa.Table) -> dict[str, tuple[str, list]]:
    """Features as a V2 body has them: name → datatype and a column of values."""
    datatypes = {f.name: "BYTES" if pa.types.is_string(f.type) else "FP32" for f in features.schema}
    return {name: (kind, [[v] for v in features[name].to_pylist()]) for name, kind in datatypes.items()}


def rankings(pair: Pair, instances: Iterable[dict], batch: int = 50) -> list[list[list]]:
    """The ranking that each instance is answered with, as [score, article_id] pairs."""
    instances, found = list(instances), []
    for start in range(0, len(instances), batch):
        answer = pair.predict(*instances[start : start + batch])
        assert answer.status_code == 200, answer.text
        found += [prediction["ranking"] for prediction in predictions(answer.json())]
    return found


def ids(ranking: list[list]) -> list[str]:
    """The article ids of a ranking, in order."""
    return [article for _, article in ranking]


def ask_both(http: httpx.Client, v1: object, v2: object) -> dict[str, httpx.Response]:
    """The answers of V1 and V2 to two bodies that mean the same."""
    return {
        "v1": http.post(f"/v1/models/{MODEL}:predict", json=v1),
        "v2": http.post(f"/v2/models/{MODEL}/infer", json=v2),
    }


def ask(http: httpx.Client) -> dict[str, httpx.Response]:
    """One question over V1 and V2; the answers of both."""
    v1 = {"instances": [{"customer_id": "c", "transaction_date": "2020-09-16"}]}
    v2 = v2_body(customer_id=("BYTES", ["c"]), transaction_date=("BYTES", ["2020-09-16"]))
    return ask_both(http, v1, v2)


def small_store(path: Path, purchases: dict[str, Iterable[str]]) -> str:
    """A store of its own with these customers' purchases; its URL."""
    store = TestStore.sqlite(path)
    store.know(dict.fromkeys(purchases))
    for customer, articles in purchases.items():
        store.buy(customer, articles)
    return store.url


def shadow(bundle: Path, copy: Path) -> Path:
    """A bundle whose files are links to those of another, so that a test can replace some."""
    for file in (path for path in bundle.rglob("*") if path.is_file()):
        link = copy / file.relative_to(bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return copy


def replace(bundle: Path, file: str, content: bytes) -> None:
    """Puts other content in the place of a shadow's file; the bundle behind it stays as it is."""
    path = bundle / file
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def sign(bundle: Path, **changes: object) -> None:
    """Writes a shadow's manifest anew, so that it says the truth about its files."""
    manifest = json.loads((bundle / bundles.MANIFEST).read_text()) | changes
    for file in manifest["files"]:
        content = (bundle / file).read_bytes()
        manifest["files"][file] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest["version"] = bundles.version(manifest["files"])
    replace(bundle, bundles.MANIFEST, json.dumps(manifest).encode())


def without(bundle: Path, file: str) -> Path:
    """The same shadow without a file, as if it had been made before there was one."""
    manifest = json.loads((bundle / bundles.MANIFEST).read_text())
    del manifest["files"][file]
    (bundle / file).unlink()
    sign(bundle, files=manifest["files"])
    return bundle


def refusal(under_test: UnderTest, program: str, *arguments: str) -> str:
    """The one line with which a program refuses to start: arguments that are not given are good ones."""
    good = {"--host": "127.0.0.1", "--http_port": "0", "--model_dir": str(under_test.bundle)}
    if program == TRANSFORMER:
        good |= {"--store": under_test.store, "--predictor_host": "127.0.0.1:9"}
    given = {argument.split("=")[0] for argument in arguments}
    own = [f"{name}={value}" for name, value in good.items() if name not in given]
    ended = subprocess.run(
        [under_test.binaries / program, *own, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=SAFETY_SECONDS,
    )
    assert ended.returncode == 64, f"exit code {ended.returncode}: {ended.stderr}"
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return line


def leaks(answer: httpx.Response, *secrets: object) -> list[str]:
    """Which inner addresses or paths an answer shows, in its body or a header."""
    text = answer.text + "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    private = [
        "127.0.0.1",
        "localhost",
        os.sep + "tmp",
        str(Path.home()) + os.sep,
        "sqlite",
        "postgres",
        ".onnx",
        ".arrow",
    ]
    return [secret for secret in [*private, *map(str, secrets)] if secret in text]


def user_version(path: Path, version: int) -> None:
    """Says that a store has another schema version."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")
