"""Embeds every article and customer, and builds the vector index that the servers map.

An article that nobody bought has no trained vector of its own: it is zero, and its embedding is what the item
tower says of its garment group and index group. The tower knows such articles from training, where vectors
are left out at random. A customer who never bought has the out-of-vocabulary vector, for the same reason.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401  unused, but importing it (1.32) after usearch (2.26) crashes the process
from usearch.index import Index, MetricKind, ScalarKind

from hemline import interactions, retrieval, towers
from hemline.report import progress_bar, say
from hemline.towers import Params

NEIGHBOURS = 100
QUERIES = 2000
# usearch's default links, and twice its search while building: more links cost memory and find little more,
# as all embeddings have one length (see `towers.equal_lengths`).
CONNECTIVITY = 16
EXPANSION_ADD = 256
# Wider searches are slower; the first that finds this share of the exact neighbours is the one to serve with.
EXPANSIONS = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
OVERLAP = 0.99
LEAST_OVERLAP = 0.98


def create(work: Path) -> dict:
    """Write `{item_embeddings,customer_vectors}.npy`, `articles.usearch` and `embeddings.json` into `work`.

    Returns what `embeddings.json` says: sizes, expansion_search and the index's overlap with exact search.
    Raises DataError before training and RuntimeError where no expansion finds 98 % of the exact neighbours.
    """
    interactions.require(work, "train-retrieval", "towers.npz")
    params = towers.load(work / "towers.npz")
    items = retrieval.item_embeddings(params, retrieval.item_attributes(work))
    np.save(work / "item_embeddings.npy", items)
    np.save(work / "customer_vectors.npy", params["customer_vectors"])

    index = build_index(items)
    expansion, overlaps = choose_expansion(index, items, sample_queries(work, params))
    index.save(str(work / "articles.usearch"))
    report = {
        "articles": len(items),
        "customers": len(params["customer_vectors"]) - 1,
        "embedding_size": items.shape[1],
        "connectivity": CONNECTIVITY,
        "expansion_add": EXPANSION_ADD,
        "expansion_search": expansion,
        "overlap": overlaps[expansion],
        "overlaps": {str(e): o for e, o in overlaps.items()},
    }
    (work / "embeddings.json").write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    found = f"expansion_search {expansion} finds {overlaps[expansion]:.2%} of the exact neighbours"
    say(f"Index of {len(items):,} articles: {found}.")
    return report


def build_index(items: np.ndarray) -> Index:
    """A usearch index over embeddings [articles, size], keys = rows, metric inner product, f32.

    One thread: the graph depends on the order of insertion, and the same run must give the same bytes.
    """
    index = Index(
        ndim=items.shape[1],
        metric=MetricKind.IP,
        dtype=ScalarKind.F32,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
    )
    with progress_bar("index", len(items)) as bar:
        for start in range(0, len(items), 1000):
            part = items[start : start + 1000]
            index.add(np.arange(start, start + len(part)), part, threads=1)
            bar.advance(len(part))
    return index


def sample_queries(work: Path, params: Params) -> np.ndarray:
    """Query embeddings [≤ QUERIES, size] of the last buyers, at their age and the test window's month."""
    purchases = interactions.read(work)
    recent = np.unique(purchases.customer[-10 * QUERIES :])
    rows = np.random.default_rng(0).permutation(recent)[:QUERIES]
    month = int(interactions.window(work)["test_start"][5:7])
    ages = retrieval.customer_ages(work)[rows]
    return retrieval.queries(params, params["customer_vectors"][rows + 1], ages, np.full(len(rows), month))


def choose_expansion(index: Index, items: np.ndarray, queries: np.ndarray) -> tuple[int, dict[int, float]]:
    """The smallest expansion_search that finds OVERLAP of the exact neighbours, and what each found.

    Sets it on the index. Raises RuntimeError where even the widest search finds less than LEAST_OVERLAP.
    """
    count = min(NEIGHBOURS, len(items))
    exact = interactions.top(queries, items, interactions.no_baskets(len(queries)), count)
    overlaps: dict[int, float] = {}
    for expansion in EXPANSIONS:
        index.expansion_search = expansion
        found = index.search(queries, count, threads=1).keys.astype(np.int64)
        shares = [np.isin(f, e).mean() for f, e in zip(found, exact, strict=True)]
        overlaps[expansion] = float(np.mean(shares))
        if overlaps[expansion] >= OVERLAP:
            return expansion, overlaps
    if overlaps[expansion] < LEAST_OVERLAP:
        found = f"the index finds {overlaps[expansion]:.1%} of the exact neighbours"
        raise RuntimeError(f"{found}, at least {LEAST_OVERLAP:.0%} are needed")
    return expansion, overlaps
