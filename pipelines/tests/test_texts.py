"""Article texts: embedded once, as long as they are the same, and found by words."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trained
from usearch.index import Index

from hemline import bundle, embeddings, interactions, texts
from hemline.errors import DataError
from hemline.sentences import Encoder

FILES = (texts.EMBEDDINGS, texts.INDEX)


@pytest.fixture(scope="module")
def trained_work(tiny_work):
    return trained.work(tiny_work)


@pytest.fixture
def work(trained_work, tmp_path):
    """A copy, as far as texts are concerned."""
    for name in ("articles.parquet", "features.json", texts.REPORT, *FILES):
        shutil.copyfile(trained_work / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def embedded(monkeypatch):
    """The texts that were embedded meanwhile; each gets some vector."""
    told = []

    def embed(_encoder, sentences, _title):
        told.extend(sentences)
        vectors = np.random.default_rng(len(sentences)).standard_normal((len(sentences), 384), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr(Encoder, "embed", embed)
    return told


def change(work, column, row, value):
    table = pq.read_table(work / "articles.parquet")
    values = table[column].to_pylist()
    values[row] = value
    position = table.column_names.index(column)
    field = table.schema.field(column)
    pq.write_table(table.set_column(position, field, pa.array(values, field.type)), work / "articles.parquet")


def test_each_article_has_the_vector_of_its_description(trained_work):
    rows = [0, 17, 100]
    described = pq.read_table(trained_work / "articles.parquet")["description"].to_pylist()
    vectors = np.load(trained_work / texts.EMBEDDINGS)
    assert vectors.shape == (len(described), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = Encoder().embed([described[row] for row in rows])
    assert np.einsum("td,td->t", alone, vectors[rows]).min() > 0.9999


def test_the_index_finds_what_exact_search_finds_of_descriptions(trained_work):
    vectors = np.load(trained_work / texts.EMBEDDINGS)
    sentences = pq.read_table(trained_work / "articles.parquet")["detail_desc"].to_pylist()[:100]
    queries = Encoder().embed(sentences)
    index = Index.restore(str(trained_work / texts.INDEX), view=True)
    index.expansion_search = json.loads((trained_work / texts.REPORT).read_text())["expansion_search"]
    found = embeddings.search(index, queries, 25)
    exact = interactions.top(queries, vectors, interactions.no_baskets(len(queries)), 25)
    assert np.mean([np.isin(f, e).mean() for f, e in zip(found, exact, strict=True)]) >= 0.98


def test_texts_that_are_as_they_were_are_not_embedded_again(work, embedded):
    before = {name: (work / name).read_bytes() for name in (texts.REPORT, *FILES)}
    texts.create(work)
    assert embedded == []
    assert {name: (work / name).read_bytes() for name in before} == before


def test_of_articles_that_changed_in_other_respects_the_embeddings_stay(work, embedded):
    change(work, "prod_name", 0, "Other")
    before = [(work / name).read_bytes() for name in FILES]
    report = texts.create(work)
    assert embedded == []
    assert [(work / name).read_bytes() for name in FILES] == before
    assert report["inputs"] != {}
    texts.outputs.require(work, "create-embeddings", texts.REPORT, *FILES)


@pytest.mark.parametrize("lost", [texts.REPORT, *FILES])
def test_a_file_that_is_lost_is_made_again(work, embedded, lost):
    (work / lost).unlink()
    texts.create(work)
    assert embedded
    assert all((work / name).is_file() for name in (texts.REPORT, *FILES))


def test_a_text_that_changed_is_embedded_and_equal_ones_once(work, embedded):
    described = pq.read_table(work / "articles.parquet")["description"].to_pylist()
    change(work, "description", 1, "Something new")
    change(work, "description", 0, described[2])
    report = texts.create(work)
    wanted = set(described[2:]) | {"Something new"}
    assert sorted(embedded[: report["distinct"]]) == sorted(wanted)
    assert report["articles"] == len(described)


def test_hundreds_of_equal_texts_do_not_hide_others_from_the_search():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 8, 3000)
    numbers[:100] = np.arange(8, 108)
    points = rng.standard_normal((108, 384), np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    moved = texts.moved_apart(points[numbers], numbers)
    assert len(np.unique(moved, axis=0)) == len(moved)
    assert np.einsum("td,td->t", moved, points[numbers]).min() > 0.99999
    np.testing.assert_array_equal(moved[:100], points[numbers][:100])
    index = embeddings.build_index(moved)
    queries = (points[rng.integers(0, 108, 100)] + 0.02 * rng.standard_normal((100, 384))).astype(np.float32)
    expansion, overlaps = embeddings.choose_expansion(index, moved, queries)
    assert overlaps[expansion] >= embeddings.LEAST_OVERLAP


def test_texts_of_another_encoder_are_refused(work, trained_work, tmp_path):
    report = json.loads((work / texts.REPORT).read_text())
    report["encoder"]["sha256"] = "0" * 64
    (work / texts.REPORT).write_text(json.dumps(report))
    with pytest.raises(DataError, match="the encoder is another now; run `hemline create-embeddings` again"):
        texts.encoder(work)


def test_texts_of_other_articles_are_refused(trained_work, tmp_path):
    other = shutil.copytree(trained_work, tmp_path / "work")
    change(other, "description", 0, "Something new")
    with pytest.raises(DataError, match=r"articles\.parquet is another now; run `hemline create-embeddings`"):
        bundle.create(other, tmp_path / "bundle")
