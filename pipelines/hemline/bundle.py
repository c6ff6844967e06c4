"""Writes the bundle: the directory that the servers read, as docs/bundle.md describes it."""

import hashlib
import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hemline import (
    genders,
    history,
    interactions,
    outputs,
    ranking,
    ranking_features,
    retrieval,
    schema,
    signals,
    texts,
)
from hemline.encoder_graph import MAX_TOKENS
from hemline.errors import DataError
from hemline.ranker import OUTPUT
from hemline.ranking import CONTRIBUTIONS as WORK_CONTRIBUTIONS
from hemline.ranking import ENCODED_GRAPH, GRAPH
from hemline.report import say
from hemline.schema import AGE_GROUPS, ARTICLE_ATTRIBUTES, FEATURES_JSON, TRANSACTIONS
from hemline.signals import Signals
from hemline.towers import EMBEDDING_SIZE, QUERY_OUTPUT, query_inputs

SCHEMA_VERSION = 1
KEY_BYTES = 16
MANIFEST = "manifest.json"
QUERY_TOWER = "retrieval/query_tower.onnx"
CUSTOMERS = "retrieval/customers.arrow"
ARTICLES = "retrieval/articles.arrow"
INDEX = "retrieval/articles.usearch"
RANKER = "ranker/model.onnx"
ENCODED_RANKER = "ranker/encoded.onnx"
CONTRIBUTIONS = "ranker/contributions.json"
STYLIST = "stylist"
ENCODER, TOKENIZER = f"{STYLIST}/encoder.onnx", f"{STYLIST}/tokenizer.json"
TEXTS, TEXTS_INDEX = f"{STYLIST}/articles.arrow", f"{STYLIST}/articles.usearch"
FILES = (QUERY_TOWER, CUSTOMERS, ARTICLES, INDEX, RANKER, ENCODED_RANKER, CONTRIBUTIONS)
STYLIST_FILES = (ENCODER, TOKENIZER, TEXTS, TEXTS_INDEX)


def create(work: Path, out: Path, stylist: bool = True) -> dict:
    """Write the bundle of a trained work directory to `out` and return its manifest.

    Without the `stylist` it needs no embeddings of texts; servers answer then without one.

    The bundle is written beside `out` and then takes its place; one that was there is replaced, and processes
    that have mapped its files keep them. Raises DataError where `out` is something else than a bundle, or
    where a step is missing or was made from other data than its neighbours: nothing is changed then.
    """
    _refuse_unless_bundle(out)
    interactions.require(work, "features", FEATURES_JSON)
    outputs.require(work, "train-retrieval", "retrieval.json", "towers.npz", "query_tower.onnx")
    vectors = ("item_embeddings.npy", "customer_vectors.npy")
    outputs.require(work, "create-embeddings", "embeddings.json", "articles.usearch", *vectors)
    if stylist:
        outputs.require(work, "create-embeddings", texts.REPORT, texts.EMBEDDINGS, texts.INDEX)
    outputs.require(work, "train-ranking", "ranker.json", "ranker.onnx", WORK_CONTRIBUTIONS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        new = Path(scratch) / "new"
        for folder in ("retrieval", "ranker"):
            (new / folder).mkdir(parents=True)
        shutil.copyfile(work / "query_tower.onnx", new / QUERY_TOWER)
        shutil.copyfile(work / "articles.usearch", new / INDEX)
        shutil.copyfile(work / GRAPH, new / RANKER)
        shutil.copyfile(work / ENCODED_GRAPH, new / ENCODED_RANKER)
        shutil.copyfile(work / WORK_CONTRIBUTIONS, new / CONTRIBUTIONS)
        write_arrow(articles(work), new / ARTICLES)
        write_arrow(customers(work), new / CUSTOMERS)
        if stylist:
            _write_stylist(work, new)
        manifest = describe(work, new, stylist)
        write_manifest(new, manifest)
        if out.exists():
            out.rename(Path(scratch) / "old")
        new.rename(out)
    size = sum(file["bytes"] for file in manifest["files"].values())
    say(f"Bundle {manifest['version']}: {size:,} bytes in {out}")
    return manifest


def _write_stylist(work: Path, new: Path) -> None:
    (new / STYLIST).mkdir()
    texts.encoder(work).write(new / STYLIST)
    shutil.copyfile(work / texts.INDEX, new / TEXTS_INDEX)
    write_arrow(pa.table({"embedding": _vectors(np.load(work / texts.EMBEDDINGS))}), new / TEXTS)


def read_manifest(bundle: Path) -> dict:
    """The manifest. Raises DataError where there is none, or none of this schema version."""
    path = bundle / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"{bundle}: no bundle here ({MANIFEST} is missing)") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    if not isinstance(manifest, dict):
        raise DataError(f"{path}: not a JSON object")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise DataError(f"{path}: schema_version {manifest.get('schema_version')}, not {SCHEMA_VERSION}")
    if not isinstance(manifest.get("files"), dict):
        raise DataError(f"{path}: no `files`")
    return manifest


def write_manifest(bundle: Path, manifest: dict) -> None:
    """Write the manifest, or put it in place of the one that is there, at once."""
    part = bundle / f".{MANIFEST}.part"
    part.write_text(json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n")
    os.replace(part, bundle / MANIFEST)


def articles(work: Path) -> pa.Table:
    """`articles.arrow`: a row an article, in the order of `articles.parquet`, which is the index's keys."""
    texts = ("article_id", "prod_name", "detail_desc", "image")
    table = pq.read_table(work / "articles.parquet", columns=[*texts, *ARTICLE_ATTRIBUTES])
    columns = {name: table[name].cast(pa.string()).combine_chunks() for name in table.column_names}
    columns |= {name: columns[name].dictionary_encode() for name in ARTICLE_ATTRIBUTES}
    columns["price"] = pa.array(prices(work, table["article_id"]), pa.float32())
    columns["embedding"] = _vectors(np.load(work / "item_embeddings.npy"))
    known = signals_at_test(work)
    columns |= {name: pa.array(values) for name, values in known.numbers.items()}
    columns["sold_by_age_group"] = _vectors(known.sold_by_age_group)
    columns["alike"], columns["alikeness"] = _vectors(known.alike), _vectors(known.alikeness)
    return pa.table(columns)


def signals_at_test(work: Path) -> Signals:
    """What purchases outside the test split say of every article, as of the first day of the test window.

    In a random split, as of the day after the last.
    """
    purchases, window = interactions.read(work), interactions.window(work)
    before = purchases.of("train", "validation")
    temporal = window["split"] == "temporal"
    day = (
        np.datetime64(window["test_start" if temporal else "test_end"]) - np.datetime64(window["first"])
    ).astype(int)
    groups = schema.age_group_numbers(retrieval.customer_ages(work))
    days = ranking.found_by(work).get("age_group_days", signals.AGE_GROUP_DAYS)
    return signals.of(before, int(day) + (not temporal), groups, schema.AGE_GROUP_COUNT, days)


def read_signals(articles: pa.Table) -> Signals:
    """The signals of a bundle's article table."""
    lists = {name: articles[name].combine_chunks() for name in ("sold_by_age_group", "alike", "alikeness")}
    flat = {name: column.flatten().to_numpy().reshape(len(column), -1) for name, column in lists.items()}
    return Signals({name: articles[name].to_numpy() for name in signals.NUMBERS}, **flat)


def prices(work: Path, article_ids: pa.ChunkedArray) -> np.ndarray:
    """Each article's mean price over its purchases outside the test split, NaN without any: [articles]."""
    with duckdb.connect() as db:
        db.read_parquet(str(work / TRANSACTIONS)).create_view("transactions")
        db.register("articles", pa.table({"article_id": article_ids, "row": np.arange(len(article_ids))}))
        # Summed as decimals, which give the same in whatever order threads come to them.
        means = db.sql(
            """
            select a.row, sum(t.price::decimal(38, 12))::double / count(*) as price
            from articles a join transactions t using (article_id) where t.split <> 'test' group by a.row
            """
        ).fetchnumpy()
    price = np.full(len(article_ids), np.nan, np.float32)
    price[means["row"]] = means["price"]
    return price


def customers(work: Path) -> pa.Table:
    """`customers.arrow`: key and vector, by key; row 0 is the out-of-vocabulary customer with a zero key.

    The others are exactly those with a purchase before the test window. Of the rest training saw nothing:
    servers say that they do not know them, which is true.
    """
    known = np.unique(interactions.read(work).of("train", "validation").customer)
    ids = pq.read_table(work / "customers.parquet", columns=["customer_id"])["customer_id"]
    ids = ids.take(pa.array(known)).to_pylist()
    vectors = np.load(work / "customer_vectors.npy")[np.append(0, known + 1)]
    keys = np.array([customer_key(i) for i in ids], dtype=f"V{KEY_BYTES}")
    # Big-endian halves compare as the bytes do.
    halves = keys.view(">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    sorted_keys = bytes(KEY_BYTES) + keys[order].tobytes()
    key = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(KEY_BYTES), len(ids) + 1, [None, pa.py_buffer(sorted_keys)]
    )
    return pa.table({"key": key, "vector": _vectors(np.concatenate([vectors[:1], vectors[1:][order]]))})


def customer_key(customer_id: str) -> bytes:
    """First 16 bytes of the SHA-256 of the id's UTF-8 text."""
    return hashlib.sha256(customer_id.encode()).digest()[:KEY_BYTES]


def write_arrow(table: pa.Table, path: Path) -> None:
    """Write one uncompressed record batch in Arrow's IPC file format; no column may have nulls.

    Raises DataError where one has.
    """
    table = table.combine_chunks()
    for name in table.column_names:
        if table[name].null_count:
            raise DataError(f"{path.name}: {table[name].null_count} nulls in column {name!r}, expected none")
    schema = pa.schema([pa.field(f.name, f.type, nullable=False) for f in table.schema])
    columns = [table[name].chunk(0) if table[name].num_chunks else table[name] for name in table.column_names]
    with pa.OSFile(str(path), "wb") as file, pa.RecordBatchFileWriter(file, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def describe(work: Path, bundle: Path, stylist: bool = True) -> dict:
    """The manifest of the files in `bundle`, with metrics still empty."""
    features, reads_history = interactions.features(work), retrieval.reads_history(work)
    told, found_by = ranking.features(work), ranking.found_by(work)
    touches = {"history": {"length": history.LENGTH, "weights": history.WEIGHTS}}
    if told == ranking_features.RECIPE and not reads_history:
        touches = {}
    training, embeddings = (json.loads((work / f"{n}.json").read_text()) for n in ("retrieval", "embeddings"))
    files = {path: _fingerprint(bundle / path) for path in (*FILES, *(STYLIST_FILES if stylist else ()))}
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "version": version(files),
        "seed": training["seed"],
        "data": outputs.fingerprint(work / FEATURES_JSON),
        "window": features["window"],
        "counts": {
            "articles": _rows(bundle / ARTICLES),
            "customers": _rows(bundle / CUSTOMERS) - 1,
            "transactions": features["counts"]["transactions"],
        },
        "customers": {
            "default_age": features["default_age"],
            "age_groups": [bound for bound, _ in AGE_GROUPS],
        },
        "retrieval": {
            "embedding_size": EMBEDDING_SIZE,
            "query_tower": {
                "inputs": [
                    {"name": name, "datatype": "FP32", "shape": [-1, *shape]}
                    for name, shape in query_inputs(reads_history)
                ],
                "output": QUERY_OUTPUT,
            },
            **touches,
            **({"sources": found_by["sources"]} if found_by else {}),
            "index": {"metric": "ip", "expansion_search": embeddings["expansion_search"]},
        },
        "ranking": {
            "features": list(told),
            "output": OUTPUT,
        },
        **({"stylist": _describe_stylist(work)} if stylist else {}),
        "metrics": {},
        "files": files,
    }


def _describe_stylist(work: Path) -> dict:
    """What the manifest says about the article texts, their encoder, and whom sections are for."""
    made = json.loads((work / texts.REPORT).read_text(encoding="utf-8"))
    return {
        "embedding_size": made["embedding_size"],
        "max_tokens": MAX_TOKENS,
        "encoder": {"quantised": made["encoder"]["quantised"]},
        "index": {"metric": "ip", "expansion_search": made["expansion_search"]},
        "genders": genders.sections(work),
    }


def version(files: dict[str, dict]) -> str:
    """First 12 hex digits of the SHA-256 over the sorted `path:sha256` lines, each ended by a newline."""
    lines = "".join(f"{path}:{files[path]['sha256']}\n" for path in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def _rows(table: Path) -> int:
    with pa.memory_map(str(table)) as file:
        return pa.ipc.open_file(file).get_batch(0).num_rows


def _fingerprint(path: Path) -> dict:
    return {"sha256": outputs.fingerprint(path), "bytes": path.stat().st_size}


def _vectors(matrix: np.ndarray) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    item = pa.field("item", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(item, matrix.shape[1]))


def _refuse_unless_bundle(out: Path) -> None:
    """Raises DataError where something is at `out` that is not a bundle, or more than that."""
    if not out.exists():
        return
    try:
        files = [out / name for name in (MANIFEST, *read_manifest(out)["files"])]
    except DataError as error:
        raise DataError(f"{out}: is not a bundle, so it is not replaced ({error})") from None
    belonging = {path for file in files for path in (file, *file.parents)}
    for path in sorted(out.rglob("*")):
        if path not in belonging:
            raise DataError(f"{path}: is not of the bundle around it, which is not replaced therefore")
