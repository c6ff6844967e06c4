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
    queries = embeddings.sample_queries(trained_work, towers.load(trained_work / "towers.npz"))
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


def test_an_index_that_finds_too_little_is_refused():
    rng = np.random.default_rng(0)
    index = embeddings.build_index(rng.normal(size=(300, 16)).astype(np.float32))
    others = rng.normal(size=(300, 16)).astype(np.float32)
    with pytest.raises(RuntimeError, match="of the exact neighbours"):
        embeddings.choose_expansion(index, others, others[:50])


@pytest.mark.parametrize("step", ["retrieval", "ranking", "embeddings", "bundle", "evaluate"])
def test_each_step_starts_in_a_process_of_its_own(step):
    # Among other tests, modules may have been imported before, in an order that happens to work.
    subprocess.run([sys.executable, "-c", f"import hemline.{step}"], check=True, timeout=60)
