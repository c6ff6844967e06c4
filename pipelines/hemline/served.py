"""What a bundle's own files answer: its query tower, its index, its candidates and its ranker.

A server leaves out what was bought while it searches the index. Python's usearch can't, so here the index is
asked for as many more, which are then left out. As in a server, exact search answers where the graph comes up
short.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from usearch.index import Index

from hemline import bundle as bundles
from hemline import candidates, embeddings, interactions, ranking_features, retrieval, schema
from hemline import history as histories
from hemline.candidates import CANDIDATES, Candidates
from hemline.errors import DataError
from hemline.history import History
from hemline.interactions import Baskets
from hemline.ranking_features import Profiles
from hemline.report import progress_bar
from hemline.schema import ARTICLES, CUSTOMERS

CHUNK = 200  # searches at once
ROWS = 20_000  # rows a call of the ranker


@dataclass(frozen=True)
class Asked:
    """Customers in a month, and what they `bought` and touched before the day that is asked about."""

    customers: np.ndarray  # rows of customers.parquet [n]
    month: int
    bought: Baskets
    history: History
    known: bool = True  # the bundle may have a vector for them

    def at(self, rows: np.ndarray) -> "Asked":
        """Only the customers in these places."""
        customers, bought, history = self.customers[rows], self.bought.at(rows), self.history.of(rows)
        return replace(self, customers=customers, bought=bought, history=history)

    def clicked(self, count: int) -> "Asked":
        """The same, asked about strangers who clicked the last `count` of what they touched."""
        last = self.history.last(count)
        weights = (last.weights > 0) * np.float32(histories.WEIGHTS["click"])
        return replace(self, history=History(last.articles, weights, last.days), known=False)


def lists(work: Path, bundle: Path, manifest: dict, asked: Asked) -> dict[str, np.ndarray]:
    """The lists `retrieval`, `candidates` and `served` of the bundle's own files: [n, CANDIDATES] each.

    Where the query tower is told a history, also what it finds `without_history`.
    """
    articles = _arrow(bundle / bundles.ARTICLES)
    ids = pq.read_table(work / ARTICLES, columns=["article_id"])["article_id"].cast(pa.string())
    if not articles["article_id"].combine_chunks().equals(ids.combine_chunks()):
        raise DataError(f"{bundle}: made of other articles than {work}")
    ages = retrieval.customer_ages(work)[asked.customers]
    inputs = profiles(work, bundle, asked, ages)
    items = articles["embedding"].combine_chunks().flatten().to_numpy().reshape(len(articles), -1)
    index = Index.restore(str(bundle / bundles.INDEX), view=True)
    index.expansion_search = manifest["retrieval"]["index"]["expansion_search"]
    found, seen = {}, None
    if reads_history(manifest):
        seen, nothing = asked.history, histories.nothing(len(ages))
        blank = queries(bundle, manifest, inputs, items, nothing)
        found["without_history"] = neighbours(index, blank, items, asked.bought)
    vectors = queries(bundle, manifest, inputs, items, seen)
    nearest = neighbours(index, vectors, items, asked.bought)
    groups = schema.age_group_numbers(ages)
    table = ranking_features.Table(bundles.read_signals(articles), _codes(articles), items)
    if "sources" in manifest["retrieval"]:
        known = (asked.history, asked.bought, table.signals, groups)
        chosen = candidates.find(vectors, items, nearest, *known, manifest["retrieval"]["sources"])
    else:
        chosen = candidates.of_towers(vectors, items, nearest)
    who = Profiles(ages, groups, asked.month, asked.history)
    scores = rank(bundle, manifest, articles, chosen, who, table)
    return found | {
        "retrieval": nearest,
        "candidates": chosen.lists(len(ages)),
        "served": chosen.lists(len(ages), scores),
    }


def reads_history(manifest: dict) -> bool:
    """Whether the bundle's query tower is told what a customer touched of late."""
    return any(
        tensor["name"] == "history_vectors" for tensor in manifest["retrieval"]["query_tower"]["inputs"]
    )


def profiles(work: Path, bundle: Path, asked: Asked, ages: np.ndarray) -> dict[str, np.ndarray]:
    """The query tower's inputs that are not the history: float32 [n, …] each."""
    season = 2 * np.pi * asked.month / 12
    seasons = {"month_sin": np.sin(season), "month_cos": np.cos(season)}
    return {
        "customer_vector": customer_vectors(work, bundle, asked.customers, asked.known),
        "age": ages[:, None],
        **{name: np.full((len(ages), 1), value, np.float32) for name, value in seasons.items()},
    }


def queries(
    bundle: Path, manifest: dict, inputs: dict, items: np.ndarray, history: History | None
) -> np.ndarray:
    """What the bundle's query tower makes of the profiles' `inputs` and of histories: [n, size]."""
    tower, output = _session(bundle / bundles.QUERY_TOWER), manifest["retrieval"]["query_tower"]["output"]
    found = []
    count = len(inputs["customer_vector"])
    for start in range(0, count, retrieval.QUERIES_AT_ONCE):
        part = np.arange(start, min(start + retrieval.QUERIES_AT_ONCE, count))
        asked = {name: values[part] for name, values in inputs.items()}
        if history is not None:
            seen = history.of(part)
            asked |= {
                "history_vectors": items[seen.articles],
                "history_weights": seen.weights,
                "history_days": seen.days,
            }
        found.append(tower.run([output], asked)[0])
    return np.concatenate(found)


def neighbours(index: Index, queries: np.ndarray, items: np.ndarray, bought: Baskets) -> np.ndarray:
    """What the index finds for each query without what was bought, best first: [n, CANDIDATES]."""
    found = np.full((len(queries), CANDIDATES), -1)
    # Those who bought about as much are asked for together, as for each of them so many more are asked for.
    sizes = bought.sizes()
    by_size = np.argsort(sizes, kind="stable")
    with progress_bar("search", len(queries)) as bar:
        for start in range(0, len(queries), CHUNK):
            rows = by_size[start : start + CHUNK]
            count = min(CANDIDATES + sizes[rows[-1]], len(items))
            for row, keys in zip(rows, embeddings.search(index, queries[rows], count), strict=True):
                own = bought.articles[bought.offsets[row] : bought.offsets[row + 1]]
                fresh = keys[(keys >= 0) & ~np.isin(keys, own)][:CANDIDATES]
                found[row, : len(fresh)] = fresh
            bar.advance(len(rows))
    short = np.flatnonzero((found >= 0).sum(axis=1) < np.minimum(CANDIDATES, len(items) - sizes))
    found[short] = interactions.top(queries[short], items, bought.of(bought.customers[short]), CANDIDATES)
    return found


def customer_vectors(work: Path, bundle: Path, rows: np.ndarray, known: bool = True) -> np.ndarray:
    """The bundle's vectors of customers, given as rows of `customers.parquet`: float32 [n, size].

    Found by key, as a server does; the out-of-vocabulary vector where the bundle does not have the customer,
    and for all where they are not `known`.
    """
    ids = pq.read_table(work / CUSTOMERS, columns=["customer_id"])["customer_id"].take(rows)
    table = _arrow(bundle / bundles.CUSTOMERS)
    keys = pa.array([bundles.customer_key(i) for i in ids.to_pylist()], pa.binary(bundles.KEY_BYTES))
    at = pc.index_in(keys, value_set=table["key"]).fill_null(0).to_numpy()
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return vectors[at if known else np.zeros_like(at)]


def rank(
    bundle: Path,
    manifest: dict,
    articles: pa.Table,
    found: Candidates,
    who: Profiles,
    table: ranking_features.Table,
) -> np.ndarray:
    """The score of each candidate by the bundle's ranker: float32 [pairs]."""
    session, output = _session(bundle / bundles.RANKER), manifest["ranking"]["output"]
    features = tuple(manifest["ranking"]["features"])
    columns = ranking_features.compute(features, found, who, table)
    texts = {
        feature["name"]: np.array(
            articles[feature["name"]].combine_chunks().dictionary.to_pylist(), dtype=object
        )
        for feature in features
        if feature["datatype"] == "BYTES"
    }
    scores = np.empty(len(found.article), np.float32)
    with progress_bar("rank", len(scores)) as bar:
        for start in range(0, len(scores), ROWS):
            rows = {name: values[start : start + ROWS, None] for name, values in columns.items()}
            inputs = {name: texts[name][values] if name in texts else values for name, values in rows.items()}
            part = session.run([output], inputs)[0].reshape(-1)
            scores[start : start + ROWS] = part
            bar.advance(len(part))
    return scores


def _codes(articles: pa.Table) -> dict[str, np.ndarray]:
    """Of each text of the article table that has few values, their codes: int32 [articles]."""
    texts = {
        f.name: articles[f.name].combine_chunks() for f in articles.schema if pa.types.is_dictionary(f.type)
    }
    return {name: column.indices.to_numpy() for name, column in texts.items()}


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
