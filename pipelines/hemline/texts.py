"""Embeds what is said of every article, and builds the index in which words find articles.

The text is `description` of articles.parquet: the name, the attributes and `detail_desc`. Articles of equal
texts are embedded once.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hemline import embeddings, interactions, outputs
from hemline.errors import DataError
from hemline.report import say
from hemline.schema import ARTICLES, FEATURES_JSON
from hemline.sentences import QUANTISED, Encoder

REPORT = "texts.json"
EMBEDDINGS = "text_embeddings.npy"
INDEX = "texts.usearch"
# The width of the search is chosen by so many of the catalogue's own sentences, without what surrounds them
# in the texts: they are what a request in words is like.
QUERIES = 500
# What moves equal texts apart, as a share of their length: see `embeddings.NUDGE`.
NUDGE = 1e-4


def create(work: Path) -> dict:
    """Write `text_embeddings.npy`, `texts.usearch` and `texts.json` into `work`; return what the latter says.

    Nothing is embedded where texts and encoder are those of the last time. Raises DataError before the
    feature pipeline or without the encoder's wheels, and RuntimeError where the index finds too little.
    """
    interactions.require(work, "features", FEATURES_JSON, ARTICLES)
    table = pq.read_table(work / ARTICLES, columns=["description", "detail_desc"])
    texts, sentences = (table[name].to_pylist() for name in table.column_names)
    reads = Encoder()
    made = {"texts": _fingerprint(texts), "encoder": {"quantised": QUANTISED, "sha256": reads.sha256}}
    with outputs.replacing(work, REPORT) as new:
        report = _made_before(work, made) or made | _embed(reads, texts, sentences, new)
        report["inputs"] = outputs.inputs(work, ARTICLES)
        outputs.write_json(new / REPORT, report)
    return report


def encoder(work: Path) -> Encoder:
    """The encoder that embedded the texts of `work`. Raises DataError where it is another by now."""
    made, now = json.loads((work / REPORT).read_text(encoding="utf-8")), Encoder()
    if made["encoder"]["sha256"] != now.sha256:
        raise DataError(f"{work / REPORT}: the encoder is another now; run `hemline create-embeddings` again")
    return now


def _made_before(work: Path, made: dict) -> dict | None:
    """The last report, where it is of the same texts and encoder and its files are there."""
    if not all((work / name).is_file() for name in (REPORT, EMBEDDINGS, INDEX)):
        return None
    report = json.loads((work / REPORT).read_text(encoding="utf-8"))
    if any(report.get(name) != value for name, value in made.items()):
        return None
    say(f"Texts of {report['articles']:,} articles: as they were.")
    return report


def _embed(reads: Encoder, texts: list[str], sentences: list[str], folder: Path) -> dict:
    """Write embeddings and index of the texts into `folder`; returns what the report says of them."""
    distinct, rows = np.unique(np.array(texts, object), return_inverse=True)
    vectors = moved_apart(reads.embed(distinct.tolist(), "article texts")[rows], rows)
    index = embeddings.build_index(vectors)
    queries = reads.embed(_sample(sentences), "queries")
    expansion, overlaps = embeddings.choose_expansion(index, vectors, queries)
    np.save(folder / EMBEDDINGS, vectors)
    index.save(str(folder / INDEX))
    found = f"expansion_search {expansion} finds {overlaps[expansion]:.2%} of the exact neighbours"
    say(f"Texts of {len(texts):,} articles, {len(distinct):,} of them distinct: {found}.")
    return {
        "articles": len(texts),
        "distinct": len(distinct),
        "embedding_size": vectors.shape[1],
        "expansion_search": expansion,
        "overlap": overlaps[expansion],
        "overlaps": {str(e): o for e, o in overlaps.items()},
    }


def moved_apart(vectors: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Unit vectors [n, size], those that share a text (numbers [n]) moved a little, each its own way.

    The graph of an index loses its way among hundreds of equal points.
    """
    shared = np.flatnonzero(np.bincount(texts)[texts] > 1)
    moves = np.random.default_rng(0).standard_normal((len(shared), vectors.shape[1]), np.float32)
    vectors = vectors.copy()
    vectors[shared] += NUDGE * moves
    vectors[shared] /= np.linalg.norm(vectors[shared], axis=1, keepdims=True)
    return vectors


def _sample(sentences: list[str]) -> list[str]:
    distinct = sorted(set(sentences))
    rows = np.random.default_rng(0).permutation(len(distinct))[:QUERIES]
    return [distinct[row] for row in rows]


def _fingerprint(texts: list[str]) -> str:
    """SHA-256 of the texts in their order, as hex digits."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
