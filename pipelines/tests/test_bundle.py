"""The bundle is what docs/bundle.md says, the same each time, and never half written."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trained
from usearch.index import Index

from hemline import (
    bundle,
    embeddings,
    genders,
    outputs,
    ranker,
    ranking,
    retrieval,
    signals,
    texts,
    towers,
)
from hemline.errors import DataError
from hemline.ranking_features import FEATURES
from hemline.schema import ARTICLE_ATTRIBUTES


@pytest.fixture(scope="module")
def trained_work(tiny_work):
    return trained.work(tiny_work)


@pytest.fixture(scope="module")
def made_bundle(tiny_work):
    return trained.made_bundle(tiny_work)


def copy_of(trained_work, tmp_path):
    return shutil.copytree(trained_work, tmp_path / "work")


def batch_of(path):
    reader = pa.ipc.open_file(path)
    assert reader.num_record_batches == 1
    return reader.get_batch(0)


def test_the_manifest_says_what_is_in_the_bundle(trained_work, made_bundle):
    manifest = json.loads((made_bundle / "manifest.json").read_text())
    files = {str(p.relative_to(made_bundle)) for p in made_bundle.rglob("*") if p.is_file()} - {
        "manifest.json"
    }
    assert set(manifest["files"]) == files
    for path, told in manifest["files"].items():
        content = (made_bundle / path).read_bytes()
        assert told == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert manifest["schema_version"] == 1
    assert manifest["data"] == outputs.fingerprint(trained_work / "features.json")
    assert manifest["ranking"]["features"] == list(FEATURES)
    assert manifest["retrieval"]["sources"] == ranking.found_by(trained_work)["sources"]
    assert manifest["customers"]["age_groups"] == [18, 25, 35, 45, 55, 65]
    lines = "".join(f"{p}:{f['sha256']}\n" for p, f in sorted(manifest["files"].items()))
    assert manifest["version"] == hashlib.sha256(lines.encode()).hexdigest()[:12]


def test_customers_are_sorted_by_key_after_the_out_of_vocabulary_row(trained_work, made_bundle):
    batch = batch_of(made_bundle / "retrieval/customers.arrow")
    keys = batch["key"].to_pylist()
    assert keys[0] == bytes(16)
    assert keys == sorted(keys)
    ids = pq.read_table(trained_work / "customers.parquet")["customer_id"].to_pylist()
    vectors = towers.load(trained_work / "towers.npz")["customer_vectors"]
    stored = dict(zip(keys, batch["vector"].to_pylist(), strict=True))
    np.testing.assert_array_equal(np.float32(stored[bytes(16)]), vectors[0])
    for customer_id, vector in zip(ids, vectors[1:], strict=True):
        key = hashlib.sha256(customer_id.encode()).digest()[:16]
        if key in stored:
            np.testing.assert_array_equal(np.float32(stored[key]), vector)


def test_exactly_the_customers_with_a_purchase_before_the_test_window_have_a_row(trained_work, made_bundle):
    keys = set(batch_of(made_bundle / "retrieval/customers.arrow")["key"].to_pylist())
    purchases = pq.read_table(
        trained_work / "transactions.parquet", columns=["customer_id", "split"]
    ).to_pylist()
    seen = {row["customer_id"] for row in purchases if row["split"] != "test"}
    customers = set(pq.read_table(trained_work / "customers.parquet")["customer_id"].to_pylist())
    assert seen < customers
    assert keys == {bytes(16)} | {hashlib.sha256(i.encode()).digest()[:16] for i in seen}


def test_a_buyer_whose_vector_is_still_the_out_of_vocabulary_one_has_a_row_too(trained_work, tmp_path):
    work = copy_of(trained_work, tmp_path)
    vectors = np.load(work / "customer_vectors.npy")
    np.save(work / "customer_vectors.npy", np.repeat(vectors[:1], len(vectors), axis=0))
    assert len(bundle.customers(work)) == len(bundle.customers(trained_work)) > 1


def test_articles_have_their_columns_types_and_rows(trained_work, made_bundle):
    batch = batch_of(made_bundle / "retrieval/articles.arrow")
    text, category = pa.string(), pa.dictionary(pa.int32(), pa.string())
    expected = {"article_id": text, "prod_name": text, "detail_desc": text, "image": text}
    expected |= dict.fromkeys(ARTICLE_ATTRIBUTES, category)
    types = {f.name: f.type for f in batch.schema if not pa.types.is_fixed_size_list(f.type)}
    assert types == expected | dict.fromkeys(["price", *signals.NUMBERS], pa.float32())
    assert batch.schema.field("embedding").type.list_size == towers.EMBEDDING_SIZE
    assert all(batch[name].null_count == 0 for name in batch.schema.names)
    articles = pq.read_table(trained_work / "articles.parquet")
    for name in expected:
        assert batch[name].to_pylist() == articles[name].to_pylist()
    embeddings = batch["embedding"].flatten().to_numpy().reshape(len(batch), -1)
    np.testing.assert_array_equal(embeddings, np.load(trained_work / "item_embeddings.npy"))


def test_a_price_is_the_mean_of_the_purchases_outside_the_test_split(trained_work, made_bundle):
    batch = batch_of(made_bundle / "retrieval/articles.arrow")
    paid = {}
    for row in pq.read_table(trained_work / "transactions.parquet").to_pylist():
        if row["split"] != "test":
            paid.setdefault(row["article_id"], []).append(row["price"])
    ids = batch["article_id"].to_pylist()
    wanted = [np.mean(paid[article_id]) if article_id in paid else np.nan for article_id in ids]
    assert 0 < np.isnan(wanted).sum() < len(ids)
    np.testing.assert_allclose(batch["price"].to_numpy(), wanted, rtol=1e-6)


def test_the_same_work_makes_the_same_bundle_but_for_the_time(trained_work, made_bundle, tmp_path):
    again = bundle.create(trained_work, tmp_path / "again")
    first = bundle.read_manifest(made_bundle)
    assert again | {"created": "", "metrics": {}} == first | {"created": "", "metrics": {}}


def test_a_bundle_is_replaced_whole(trained_work, tmp_path):
    out = tmp_path / "bundle"
    bundle.create(trained_work, out)
    (out / "retrieval" / "articles.arrow").write_text("from before")
    bundle.create(trained_work, out)
    assert batch_of(out / "retrieval" / "articles.arrow").num_rows
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_article_texts_and_their_encoder_are_in_the_bundle(trained_work, made_bundle):
    batch = batch_of(made_bundle / "stylist/articles.arrow")
    assert batch.schema.names == ["embedding"]
    vectors = batch["embedding"].flatten().to_numpy().reshape(len(batch), -1)
    np.testing.assert_array_equal(vectors, np.load(trained_work / "text_embeddings.npy"))
    assert len(batch) == batch_of(made_bundle / "retrieval/articles.arrow").num_rows
    assert len(Index.restore(str(made_bundle / "stylist/articles.usearch"), view=True)) == len(batch)
    encoder = texts.encoder(trained_work)
    assert (made_bundle / "stylist/encoder.onnx").read_bytes() == encoder.model
    assert (made_bundle / "stylist/tokenizer.json").read_bytes() == encoder.tokenizer


def test_the_manifest_says_how_article_texts_are_searched_and_for_whom(trained_work, made_bundle):
    stylist = bundle.read_manifest(made_bundle)["stylist"]
    made = json.loads((trained_work / "texts.json").read_text())
    assert stylist.pop("genders") == genders.sections(trained_work)
    assert stylist == {
        "embedding_size": 384,
        "max_tokens": 256,
        "encoder": {"quantised": False},
        "index": {"metric": "ip", "expansion_search": made["expansion_search"]},
    }


def test_a_bundle_of_before_article_texts_is_replaced(trained_work, made_bundle, tmp_path):
    out = shutil.copytree(made_bundle, tmp_path / "bundle")
    manifest = bundle.read_manifest(out)
    del manifest["stylist"]
    manifest["files"] = {p: f for p, f in manifest["files"].items() if not p.startswith("stylist/")}
    shutil.rmtree(out / "stylist")
    bundle.write_manifest(out, manifest)
    assert bundle.create(trained_work, out)["version"] == bundle.read_manifest(made_bundle)["version"]


@pytest.mark.parametrize("stray", ["stray", "retrieval/stray", "empty/"])
def test_a_bundle_with_something_else_in_it_is_not_replaced(made_bundle, trained_work, tmp_path, stray):
    out = shutil.copytree(made_bundle, tmp_path / "bundle")
    (out / stray).mkdir() if stray.endswith("/") else (out / stray).write_text("mine")
    before = sorted(out.rglob("*"))
    with pytest.raises(DataError, match="is not of the bundle around it"):
        bundle.create(trained_work, out)
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize(
    "manifest", ["{}", '{"name": "a web app"}', "[]", "{", '{"schema_version": 1}', "\0"]
)
def test_a_folder_with_another_kind_of_manifest_is_not_replaced(trained_work, tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(DataError, match="is not a bundle, so it is not replaced"):
        bundle.create(trained_work, tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "manifest.json").read_text() == manifest


def test_features_that_changed_since_training_are_refused(trained_work, tmp_path):
    work = copy_of(trained_work, tmp_path)
    (work / "features.json").write_text((work / "features.json").read_text() + " ")
    with pytest.raises(
        DataError, match=r"features\.json is another now; run `hemline train-retrieval` again"
    ):
        bundle.create(work, tmp_path / "bundle")
    retrieval.train(work, seed=42, epochs=1)
    with pytest.raises(DataError, match="run `hemline create-embeddings` again"):
        bundle.create(work, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_embeddings_of_an_earlier_training_are_refused(trained_work, tmp_path):
    work = copy_of(trained_work, tmp_path)
    retrieval.train(work, seed=43, epochs=1)
    with pytest.raises(DataError, match=r"towers\.npz is another now; run `hemline create-embeddings` again"):
        bundle.create(work, tmp_path / "bundle")
    embeddings.create(work)
    with pytest.raises(DataError, match=r"retrieval\.json is another now; run `hemline train-ranking` again"):
        bundle.create(work, tmp_path / "bundle")
    ranking.train(work, seed=42)
    assert bundle.create(work, tmp_path / "bundle")["seed"] == 43


def test_a_step_that_fails_leaves_what_was_there(trained_work, tmp_path, monkeypatch):
    work = copy_of(trained_work, tmp_path)
    before = {path: path.read_bytes() for path in work.iterdir()}

    def fail(*_arguments):
        raise RuntimeError("differs")

    monkeypatch.setattr(retrieval, "check_parity", fail)
    monkeypatch.setattr(ranker, "check_parity", fail)
    monkeypatch.setattr(embeddings, "choose_expansion", fail)
    for step in (
        lambda: retrieval.train(work, seed=1, epochs=1),
        lambda: ranking.train(work, seed=1),
        lambda: embeddings.create(work),
    ):
        with pytest.raises(RuntimeError, match="differs"):
            step()
    assert {path: path.read_bytes() for path in work.iterdir()} == before


def test_training_again_with_the_same_seed_gives_the_same_files(tiny_work, tmp_path):
    first, second = (shutil.copytree(tiny_work, tmp_path / name) for name in ("first", "second"))
    for work in (first, second):
        retrieval.train(work, seed=7, epochs=1)
        ranking.train(work, seed=7)
        embeddings.create(work)
        texts.create(work)
    assert {p.name for p in first.iterdir()} == {p.name for p in second.iterdir()}
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_something_else_than_a_bundle_is_not_replaced(trained_work, tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(DataError, match="is not a bundle"):
        bundle.create(trained_work, tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"


def test_an_untrained_work_directory_is_refused(tiny_work, tmp_path):
    with pytest.raises(DataError, match=r"towers\.npz: missing; run `hemline train-retrieval` first"):
        bundle.create(tiny_work, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_another_schema_version_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"schema_version": 2}')
    with pytest.raises(DataError, match="schema_version 2, not 1"):
        bundle.read_manifest(tmp_path)
