"""Asks the running pair what people ask it, and checks the answers: `hemline smoke`."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hemline import bundle as bundles
from hemline import interactions, schema, served, smoke_llm
from hemline.history import Touches
from hemline.llm import LlmPair, LlmRanker, pair_of
from hemline.pair import Pair, interruptible, predictions
from hemline.run import Shop, output, refusals
from hemline.storefront import Page, storefront
from hemline.stores.sqlite import as_loaded

SQLITE = "sqlite://"
CANDIDATES = 100
UNKNOWN = "nobody-knows-this-customer"


@dataclass
class Smoke:
    """A running pair, what is known of its customers, and what was found so far."""

    pair: Pair
    shop: Shop
    catalogue: set[str]
    customer: str
    day: str
    bought: set[str]
    rows: list[tuple[str, str, str]] = field(default_factory=list)  # what, answer, fault ("" for none)

    def instance(self, **more: object) -> dict:
        """A question of the known customer."""
        return {"customer_id": self.customer, "transaction_date": self.day, **more}

    def check(self, what: str, look: Callable[[], str]) -> None:
        """Runs one check: it says what was answered, and fails an assertion where that is wrong."""
        try:
            self.rows.append((what, look(), ""))
        except AssertionError as fault:
            self.rows.append((what, "", str(fault)))
        except (httpx.TransportError, KeyError, ValueError) as fault:
            self.rows.append((what, "", f"{type(fault).__name__}: {fault}"))

    def ask(self, *instances: dict, status: int = 200) -> list[dict] | dict:
        """The same question over V1 and V2; both must say the same. Predictions, or the error's envelope."""
        v1, v2 = self.pair.predict(*instances), self.pair.infer(**as_inputs(instances))
        for name, answer in (("V1", v1), ("V2", v2)):
            said = f"{name}: {answer.status_code} instead of {status}: {answer.text}"
            assert answer.status_code == status, said
        if status != 200:
            assert v1.json() == v2.json(), f"V1 says {v1.text}, V2 says {v2.text}"
            return v1.json()
        first, second = predictions(v1.json()), predictions(v2.json())
        assert first == second, "V1 and V2 differ"
        return first

    def ranking(self, instance: dict, length: int, bought: set[str]) -> list[list]:
        """One ranking, checked: its length, its order, real articles once each, nothing bought."""
        (prediction,) = self.ask(instance)
        ranking = prediction["ranking"]
        scores, ids = [score for score, _ in ranking], [article for _, article in ranking]
        assert len(ids) == length, f"{len(ids)} articles instead of {length}"
        assert scores == sorted(scores, reverse=True), "not in descending order"
        assert len(set(ids)) == len(ids), "an article stands twice"
        assert set(ids) <= self.catalogue, f"not in the catalogue: {sorted(set(ids) - self.catalogue)[:3]}"
        assert not set(ids) & bought, f"bought already: {sorted(set(ids) & bought)[:3]}"
        return ranking


def smoke(
    bundle: Path,
    store: str,
    work: Path,
    binaries: Path,
    page: Page | None = None,
    llm: LlmRanker | None = None,
) -> int:
    """Starts the pair, and the shop where there is a page, on free ports; checks them, prints findings.

    The exit code: 0 or 1.

    Raises DataError where the work directory, the manifest or a program is missing, or of no use.
    """
    console, shop = output(), Shop(work)
    manifest = bundles.read_manifest(bundle)
    customer = shop.customer()
    ids = pq.read_table(work / schema.ARTICLES, columns=["article_id"])["article_id"].to_pylist()
    logs = work / "logs" / f"smoke-{os.getpid()}"
    with refusals(console) as outcome, interruptible(), ExitStack() as opened:
        store = opened.enter_context(untouched(store))
        pair = opened.enter_context(pair_of(bundle, store, binaries, (0, 0), logs, llm))
        checks = Smoke(pair, shop, set(ids), customer, shop.last_day(), set(shop.purchases(customer)))
        check(checks, bundle, work, manifest)
        if isinstance(pair, LlmPair):
            smoke_llm.check(checks, pair)
        if page:
            with storefront(binaries, pair.transformer.url, page, checks.day, logs) as front:
                checks.check("shop", lambda: shopped(checks, front.url))
        show(console, checks)
        outcome.code = int(any(fault for *_, fault in checks.rows))
        return outcome.code
    return outcome.code or 1  # interrupted before the checks ended


@contextmanager
def untouched(store: str) -> Iterator[str]:
    """The store's URL; of a file, that of a copy as it was loaded.

    What is checked is what the data say: whoever used the shop before has bought and clicked since.
    """
    file = Path(store.removeprefix(SQLITE))
    if not store.startswith(SQLITE) or not file.is_file():
        yield store  # the transformer says what is wrong with it
        return
    with tempfile.TemporaryDirectory(prefix="hemline-smoke-") as folder:
        copy = Path(folder) / file.name
        as_loaded(file, copy)
        yield f"{SQLITE}{copy}"


def shopped(checks: Smoke, url: str) -> str:
    """The shop's page, and what it shows a customer in one round trip."""
    with httpx.Client(base_url=url, timeout=checks.pair.patience) as http:
        page, config = http.get("/"), http.get("/api/config")
        assert page.status_code == 200, f"the page: {page.status_code}"
        assert config.json()["last_day"] == checks.day, f"config: {config.text}"
        answer = http.post("/api/recommendations", json=checks.instance(k=12))
    assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
    ids = {article for _, article in answer.json()["prediction"]["ranking"]}
    assert ids == set(answer.json()["articles"]), "an article of the list is not told of"
    return f"the page, and {len(ids)} articles with what they are"


def check(checks: Smoke, bundle: Path, work: Path, manifest: dict) -> None:
    """Every check, in order."""
    full = min(CANDIDATES, len(checks.catalogue) - len(checks.bought))
    answers: dict[str, list] = {}

    def known() -> str:
        answers["known"] = checks.ranking(checks.instance(), full, checks.bought)
        return f"{full} articles, best {answers['known'][0][0]:.4f}; none of {len(checks.bought)} bought"

    def unknown() -> str:
        instance = checks.instance(customer_id=UNKNOWN)
        checks.ranking(instance, min(CANDIDATES, len(checks.catalogue)), set())
        (prediction,) = checks.ask(instance)
        assert prediction.get("cold_start"), "not marked `cold_start`"
        return "served, marked cold_start"

    def first() -> str:
        found = checks.ranking(checks.instance(k=5), 5, checks.bought)
        assert found == answers["known"][:5], "not the first five of the whole list"
        return "the first five of the whole list"

    def exclude() -> str:
        left_out = {article for _, article in answers["known"][:3]}
        length = min(CANDIDATES, len(checks.catalogue) - len(checks.bought) - 3)
        checks.ranking(checks.instance(exclude=sorted(left_out)), length, checks.bought | left_out)
        return "the first three are gone, others came up"

    def embedded() -> str:
        vector = query(checks, bundle, work, manifest)
        found = checks.ranking(checks.instance(**vector), full, checks.bought)
        # The last bit of an embedding may differ between two runtimes, and the list's end with it.
        common = {article for _, article in found} & {article for _, article in answers["known"]}
        assert len(common) >= full - 2, f"only {len(common)} of {full} articles are those of the customer"
        return "same articles as by the customer's id"

    def several() -> str:
        instances = [checks.instance(k=3), checks.instance(customer_id=UNKNOWN, k=4), checks.instance(k=1)]
        alone = [checks.ask(instance)[0] for instance in instances]
        assert checks.ask(*instances) == alone, "not what each is answered alone"
        return "each as if asked alone, in order"

    def invalid() -> str:
        envelope = checks.ask(checks.instance(), checks.instance(k=0), status=400)
        assert set(envelope) == {"error", "code"}, f"not the envelope: {envelope}"
        says_where = all(part in envelope["error"] for part in ("row 1", "`k`"))
        assert says_where, f"says not where: {envelope['error']}"
        return f"400 {envelope['code']}: {envelope['error']}"

    checks.check("known customer", known)
    checks.check("unknown customer", unknown)
    checks.check("k", first)
    checks.check("exclude", exclude)
    checks.check("precomputed query_emb", embedded)
    checks.check("several instances", several)
    checks.check("invalid request", invalid)


def query(checks: Smoke, bundle: Path, work: Path, manifest: dict) -> dict:
    """The customer's query vector from the bundle's own files, with the months that belong to it."""
    table = pq.read_table(work / schema.CUSTOMERS, columns=["customer_id", "age", "age_known"])
    row = pc.index(table["customer_id"], checks.customer).as_py()
    known, age = table["age_known"][row].as_py(), table["age"][row].as_py()
    angle = 2 * np.pi * int(checks.day[5:7]) / 12
    sin, cos = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    inputs = {
        "customer_vector": served.customer_vectors(work, bundle, np.array([row])),
        "age": np.array([[age if known else manifest["customers"]["default_age"]]], np.float32),
        "month_sin": sin.reshape(1, 1),
        "month_cos": cos.reshape(1, 1),
    }
    items, history = np.load(work / "item_embeddings.npy"), None
    if served.reads_history(manifest):
        purchases = interactions.read(work)
        asked_on = (np.datetime64(checks.day) - np.datetime64(manifest["window"]["first"])).astype(int)
        history = Touches(purchases, strict=False).before(np.array([row]), np.array([asked_on]))
    vectors = served.queries(bundle, manifest, inputs, items, history)
    return {"query_emb": vectors[0].tolist(), "month_sin": float(sin), "month_cos": float(cos)}


def as_inputs(instances: tuple[dict, ...]) -> dict[str, tuple[str, list]]:
    """V1 instances as the inputs of a V2 request: what has a tensor of its own, and the rest as options."""
    inputs = {"customer_id": ("BYTES", [instance["customer_id"] for instance in instances])}
    if all("transaction_date" in instance for instance in instances):
        inputs["transaction_date"] = ("BYTES", [instance["transaction_date"] for instance in instances])
    for name in ("query_emb", "month_sin", "month_cos"):
        if all(name in instance for instance in instances):
            inputs[name] = ("FP32", [instance[name] for instance in instances])
    rest = [{key: value for key, value in instance.items() if key not in inputs} for instance in instances]
    if any(rest):
        inputs["options"] = ("BYTES", [json.dumps(options) for options in rest])
    return inputs


def show(console: Console, checks: Smoke) -> None:
    """Prints what was checked, a line a check."""
    table = Table(title="Smoke test: V1 and V2, which must say the same", title_justify="left")
    for name in ("check", "", "answer"):
        table.add_column(name, overflow="fold")
    for what, answer, fault in checks.rows:
        table.add_row(what, "[red]failed[/]" if fault else "[green]ok[/]", Text(fault or answer))
    console.print(table)
