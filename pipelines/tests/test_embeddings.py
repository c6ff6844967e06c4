"""Embeddings of everything, and an index that finds what exact search finds."""

import json
import subprocess
import sys

import numpy as np
import pytest
import trained
from usearch.index import Index

from hemline import embeddings, interactions, retrieval, towers


@pytest.fixture(scope="module")
def trained_work(tiny_work):
    return trained.work(tiny_work)


def test_every_article_and_customer_has_an_embedding(trained_work):
    purchases = interactions.read(trained_work)
    items, customers = (np.load(trained_work / f"{n}.npy") for n in ("item_embeddings", "customer_vectors"))
    assert items.shape == (purchases.articles, 16)
    assert customers.shape == (purchases.customers + 1, 16)
    assert np.isfinite(items).all()
    assert np.isfinite(customers).all()


def test_the_saved_index_finds_what_exact_search_finds(trained_work):
    items = np.load(trained_work / "item_embeddings.npy")
    queries = embeddings.sample_queries(trained_work, towers.load(trained_work / "towers.npz"), items)
    index = Index.restore(str(trained_work / "articles.usearch"), view=True)
    index.expansion_search = json.loads((trained_work / "embeddings.json").read_text())["expansion_search"]
    found = index.search(queries, 100).keys
    exact = np.argsort(-(queries @ items.T), axis=1, kind="stable")[:, :100]
    overlap = np.mean([np.isin(f, e).mean() for f, e in zip(found, exact, strict=True)])
    assert overlap >= embeddings.LEAST_OVERLAP


def test_the_index_has_the_same_bytes_each_time(trained_work):
    items = np.load(trained_work / "item_embeddings.npy")
    assert bytes(embeddings.build_index(items).save()) == bytes(embeddings.build_index(items).save())


def test_an_article_nobody_bought_is_embedded_by_its_attributes(trained_work):
    params = towers.load(trained_work / "towers.npz")
    one_hot = retrieval.item_attributes(trained_work)
    unseen = params | {"article_vectors": np.zeros_like(params["article_vectors"])}
    items = retrieval.item_embeddings(unseen, one_hot)
    _, first, group = np.unique(one_hot, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_allclose(items, items[first][group.reshape(-1)], atol=1e-6)
    assert len(np.unique(items.round(4), axis=0)) > 1


def test_hundreds_of_articles_that_nobody_bought_do_not_hide_others_from_the_search():
    rng = np.random.default_rng(0)
    groups, vectors = rng.integers(0, 8, 4000), np.zeros((4000, 16), np.float32)
    vectors[:100] = rng.normal(size=(100, 16)) * 0.2
    items = towers.equal_lengths(rng.normal(size=(8, 16)).astype(np.float32)[groups] + vectors)
    queries = (rng.normal(size=(200, 16)) * towers.LEARNED).astype(np.float32)
    nudged = embeddings.nudged(items, {"article_vectors": vectors})
    assert len(np.unique(nudged, axis=0)) == len(nudged)
    change = np.abs(queries @ nudged.T - queries @ items.T).max()
    assert change < (queries @ items.T).std() / 50
    index = embeddings.build_index(nudged)
    expansion, overlaps = embeddings.choose_expansion(index, nudged, queries)
    assert overlaps[expansion] >= embeddings.LEAST_OVERLAP
    exact = interactions.top(queries, nudged, interactions.no_baskets(len(queries)), 100)
    found = embeddings.search(index, queries, 100)
    assert np.mean([np.isin(f, e).mean() for f, e in zip(found, exact, strict=True)]) >= 0.98


def test_articles_with_a_vector_of_their_own_are_not_moved(trained_work):
    params = towers.load(trained_work / "towers.npz")
    trained_items = retrieval.item_embeddings(params, retrieval.item_attributes(trained_work))
    own = params["article_vectors"].any(axis=1)
    saved = np.load(trained_work / "item_embeddings.npy")
    assert own.any()
    np.testing.assert_array_equal(saved[own, :-1], trained_items[own, :-1])


def test_a_neighbour_that_scores_like_the_last_is_found():
    items = np.ones((500, 16), np.float32)
    index = embeddings.build_index(items)
    _, overlaps = embeddings.choose_expansion(index, items, items[:1])
    assert list(overlaps.values())[-1] == 1


@pytest.mark.parametrize("queries", [1, 3])
def test_a_search_has_a_row_a_query_even_where_articles_are_few(queries):
    index = embeddings.build_index(np.eye(2, 16, dtype=np.float32))
    found = embeddings.search(index, np.tile(np.arange(16, 0, -1, dtype=np.float32), (queries, 1)), 4)
    assert found.tolist() == [[0, 1, -1, -1]] * queries


def test_the_width_of_the_search_is_chosen_without_the_buyers_of_the_test_days(trained_work, monkeypatch):
    asked = []
    monkeypatch.setattr(retrieval, "queries", lambda _, vectors, *__: asked.append(vectors))
    params = towers.load(trained_work / "towers.npz")
    params = params | {"customer_vectors": np.arange(len(params["customer_vectors"]))}
    embeddings.sample_queries(trained_work, params, np.zeros((1, 16), np.float32))
    before = interactions.read(trained_work).of("train", "validation")
    assert set(asked[0] - 1) <= set(before.customer)


def test_an_index_that_finds_too_little_is_refused():
    rng = np.random.default_rng(0)
    index = embeddings.build_index(rng.normal(size=(300, 16)).astype(np.float32))
    others = rng.normal(size=(300, 16)).astype(np.float32)
    with pytest.raises(RuntimeError, match="of the exact neighbours"):
        embeddings.choose_expansion(index, others, others[:50])


@pytest.mark.parametrize("step", ["retrieval", "ranking", "embeddings", "texts", "bundle", "evaluate"])
def test_each_step_starts_in_a_process_of_its_own(step):
    # Among other tests, modules may have been imported before, in an order that happens to work.
    subprocess.run([sys.executable, "-c", f"import hemline.{step}"], check=True, timeout=60)
