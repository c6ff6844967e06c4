"""Embeds every article and customer, and builds the vector index that the servers map.

An article that nobody bought has no trained vector of its own: it is zero, and its embedding is what the item
tower says of its attributes. The tower knows such articles from training, where vectors
are left out at random. A customer who never bought has the out-of-vocabulary vector, for the same reason.
"""

from pathlib import Path

import numpy as np
import onnxruntime  # noqa: F401  imported after usearch (2.26) it (1.28, 1.32) crashes the process
from usearch.index import Index, MetricKind, ScalarKind

from hemline import interactions, outputs, retrieval, towers
from hemline.report import progress_bar, say
from hemline.towers import Params

NEIGHBOURS = 100
QUERIES = 2000
# usearch's default links, and twice its search while building: more links cost memory and find little more,
# as all embeddings have one length (see `towers.equal_lengths`).
CONNECTIVITY = 16
EXPANSION_ADD = 256
# Wider searches are slower; the first that finds this share of the exact neighbours is the one to serve with.
EXPANSIONS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192, 16384)
OVERLAP = 0.99
LEAST_OVERLAP = 0.98
# Articles that score the same but for rounding are one as good as the other.
SCORE_TOLERANCE = 1e-5
# Articles without a vector of their own are the same point if their attributes are, and the graph of an index
# loses its way among hundreds of equal points. So each is moved a little, by this share of an embedding's
# length: far less than what sets two groups apart, well above rounding. Everything that has an item embedding
# (the bundle, exact search) has this one.
NUDGE = 1e-4


def create(work: Path) -> dict:
    """Write `{item_embeddings,customer_vectors}.npy`, `articles.usearch` and `embeddings.json` into `work`.

    Returns what `embeddings.json` says: sizes, expansion_search and the index's overlap with exact search.
    Raises DataError before training and RuntimeError where no expansion finds 98 % of the exact neighbours.
    """
    outputs.require(work, "train-retrieval", "retrieval.json", "towers.npz")
    made_from = outputs.inputs(work, "towers.npz")
    params = towers.load(work / "towers.npz")
    items = nudged(retrieval.item_embeddings(params, retrieval.item_attributes(work)), params)
    index = build_index(items)
    expansion, overlaps = choose_expansion(index, items, sample_queries(work, params, items))
    report = {
        "inputs": made_from,
        "articles": len(items),
        "customers": len(params["customer_vectors"]) - 1,
        "embedding_size": items.shape[1],
        "connectivity": CONNECTIVITY,
        "expansion_add": EXPANSION_ADD,
        "expansion_search": expansion,
        "overlap": overlaps[expansion],
        "overlaps": {str(e): o for e, o in overlaps.items()},
    }
    with outputs.replacing(work, "embeddings.json") as new:
        np.save(new / "item_embeddings.npy", items)
        np.save(new / "customer_vectors.npy", params["customer_vectors"])
        index.save(str(new / "articles.usearch"))
        outputs.write_json(new / "embeddings.json", report)
    found = f"expansion_search {expansion} finds {overlaps[expansion]:.2%} of the exact neighbours"
    say(f"Index of {len(items):,} articles: {found}.")
    return report


def nudged(items: np.ndarray, params: Params) -> np.ndarray:
    """The embeddings, those of articles without a vector of their own moved a little, each its own way."""
    alike = np.flatnonzero(~np.any(params["article_vectors"], axis=1))
    length = np.linalg.norm(items[0]) or 1.0
    moves = np.random.default_rng(0).standard_normal(items.shape, np.float32)[alike]
    items = items.copy()
    items[alike] += NUDGE * length * moves
    return towers.equal_lengths(items)


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


def sample_queries(work: Path, params: Params, items: np.ndarray) -> np.ndarray:
    """Query embeddings [≤ QUERIES, size] of the last buyers before the test window, on its first day."""
    purchases = interactions.read(work).of("train", "validation")
    recent = np.unique(purchases.customer[-10 * QUERIES :])
    rows = np.random.default_rng(0).permutation(recent)[:QUERIES]
    window = interactions.window(work)
    month, ages = int(window["test_start"][5:7]), retrieval.customer_ages(work)[rows]
    history = retrieval.histories_at_test(purchases, window, rows) if retrieval.reads_history(work) else None
    vectors = params["customer_vectors"][rows + 1]
    return retrieval.queries(params, vectors, ages, np.full(len(rows), month), history, items)


def choose_expansion(index: Index, items: np.ndarray, queries: np.ndarray) -> tuple[int, dict[int, float]]:
    """The smallest expansion_search that finds OVERLAP of the exact neighbours, and what each found.

    A neighbour that scores what the last of the exact ones does, but for rounding, is found as well. Sets it
    on the index. Raises RuntimeError where even the widest search finds less than LEAST_OVERLAP.
    """
    count = min(NEIGHBOURS, len(items))
    exact = interactions.top(queries, items, interactions.no_baskets(len(queries)), count)
    least = _scores(queries, items, exact).min(axis=1, keepdims=True) - SCORE_TOLERANCE
    overlaps: dict[int, float] = {}
    with progress_bar("choose expansion_search", len(EXPANSIONS)) as bar:
        for expansion in EXPANSIONS:
            index.expansion_search = expansion
            found = search(index, queries, count)
            good = (_scores(queries, items, found) >= least) & (found >= 0)
            overlaps[expansion] = float(good.mean())
            if overlaps[expansion] >= OVERLAP:
                return expansion, overlaps
            bar.advance()
    if overlaps[expansion] < LEAST_OVERLAP:
        found = f"the index finds {overlaps[expansion]:.1%} of the exact neighbours"
        raise RuntimeError(f"{found}, at least {LEAST_OVERLAP:.0%} are needed")
    return expansion, overlaps


def search(index: Index, queries: np.ndarray, count: int) -> np.ndarray:
    """What the index finds, best first: int64 [n, count]; -1 at the end of a row where it finds fewer."""
    matches = index.search(queries, count, threads=1)
    # Of a single query usearch answers one row, without `counts` and only as long as what it found.
    keys = matches.keys.reshape(len(queries), -1).astype(np.int64)
    sizes = np.atleast_1d(getattr(matches, "counts", keys.shape[1]))
    found = np.full((len(queries), count), -1, np.int64)
    found[:, : keys.shape[1]] = np.where(np.arange(keys.shape[1]) < sizes[:, None], keys, -1)
    return found


def _scores(queries: np.ndarray, items: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.einsum("qd,qkd->qk", queries, items[found], dtype=np.float64)
