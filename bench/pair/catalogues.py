"""Makes bundles of other sizes out of one: articles drawn again under new ids, each a little elsewhere.

Models and customers stay as they are, so what changes is what a catalogue's size changes: the index, and the
columns that features are read from.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from hemline import bundle, embeddings, outputs
from hemline.report import progress_bar

MOVED = 0.05  # of an embedding's length, so that no two articles are the same point
SEED = 7
PART = 10_000  # articles between two steps of the progress bar


def main() -> None:
    """Writes `BUNDLE-SIZE` beside the bundle for each size; those that are there are made anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--articles", type=int, nargs="+", required=True)
    args = parser.parse_args()
    for count in args.articles:
        resized(args.bundle, count, args.bundle.with_name(f"{args.bundle.name}-{count}"))


def resized(source: Path, count: int, out: Path) -> None:
    """A bundle like `source` with `count` articles."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out)
    with pa.memory_map(str(source / bundle.ARTICLES)) as file:
        articles = pa.ipc.open_file(file).read_all()
    chance = np.random.default_rng(SEED)
    drawn = articles.take(pa.array(chance.integers(0, len(articles), count)))
    ids = pa.array([f"{number:010}" for number in range(count)])
    vectors = moved(matrix(drawn, "embedding"), chance)
    # Rows name other rows: of a smaller table those that there are.
    alike = matrix(drawn, "alike")
    alike = np.where(alike < 0, alike, alike % count)
    columns = {"article_id": ids, "embedding": fixed_size_list(vectors), "alike": fixed_size_list(alike)}
    for name, column in columns.items():
        drawn = replaced(drawn, name, column)
    bundle.write_arrow(drawn, out / bundle.ARTICLES)
    indexed(vectors).save(str(out / bundle.INDEX))
    manifest = bundle.read_manifest(out)
    manifest["counts"]["articles"] = count
    for file in (bundle.ARTICLES, bundle.INDEX):
        manifest["files"][file] = {
            "sha256": outputs.fingerprint(out / file),
            "bytes": (out / file).stat().st_size,
        }
    bundle.write_manifest(out, manifest)


def indexed(vectors: np.ndarray) -> embeddings.Index:
    """An index as the pipelines build it, but on all cores: no two runs have to give the same bytes here."""
    # Through that module, which knows what must be imported before usearch.
    index = embeddings.Index(
        ndim=vectors.shape[1],
        metric=embeddings.MetricKind.IP,
        dtype=embeddings.ScalarKind.F32,
        connectivity=embeddings.CONNECTIVITY,
        expansion_add=embeddings.EXPANSION_ADD,
    )
    with progress_bar("index", len(vectors)) as bar:
        for start in range(0, len(vectors), PART):
            part = vectors[start : start + PART]
            index.add(np.arange(start, start + len(part)), part)
            bar.advance(len(part))
    return index


def matrix(articles: pa.Table, name: str) -> np.ndarray:
    """A column of lists of one length, [articles, length]."""
    return articles[name].combine_chunks().flatten().to_numpy().reshape(len(articles), -1)


def moved(vectors: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """The same a little elsewhere, and as long as before: the index needs one length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    size = vectors.shape[1]
    steps = chance.standard_normal(vectors.shape, np.float32) * MOVED * lengths / np.sqrt(size)
    other = vectors + steps
    return (other * lengths / np.linalg.norm(other, axis=1, keepdims=True)).astype(np.float32)


def fixed_size_list(vectors: np.ndarray) -> pa.Array:
    """Vectors as a column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def replaced(articles: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """The table with another column of that name and type."""
    place = articles.schema.get_field_index(name)
    field = articles.schema.field(place)
    return articles.set_column(place, field, column.cast(field.type))


if __name__ == "__main__":
    main()
