"""The two towers: they learn, they export exactly, and they know what to do with whom they never saw."""

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import trained

from hemline import history as histories
from hemline import interactions, retrieval, towers


@pytest.fixture(scope="module")
def trained_work(tiny_work):
    return trained.work(tiny_work)


def run_onnx(path, vectors, ages, months, history=None, items=None):
    angle = 2 * np.pi * np.asarray(months) / 12
    columns = {"age": ages, "month_sin": np.sin(angle), "month_cos": np.cos(angle)}
    inputs = {name: np.asarray(values, np.float32)[:, None] for name, values in columns.items()}
    history = history or histories.nothing(len(vectors))
    items = np.zeros((1, towers.EMBEDDING_SIZE), np.float32) if items is None else items
    inputs |= {"history_weights": history.weights, "history_days": history.days}
    inputs |= {"history_vectors": items[history.articles], "customer_vector": vectors}
    return onnxruntime.InferenceSession(path).run(["query_emb"], inputs)[0]


def histories_of(work, customers):
    before = interactions.read(work).of("train", "validation")
    return before, retrieval.histories_at_test(before, interactions.window(work), customers)


def test_the_onnx_query_tower_answers_as_jax_does(trained_work):
    customers = pq.read_table(trained_work / "customers.parquet").slice(0, 200)
    ids, ages = customers["customer_id"].to_pylist(), customers["age"].to_numpy()
    months = np.arange(len(ids)) % 12 + 1
    _, history = histories_of(trained_work, np.arange(len(ids)))
    items = np.load(trained_work / "item_embeddings.npy")
    expected = retrieval.query_embedding(trained_work, ids, ages, months, history)
    vectors = towers.load(trained_work / "towers.npz")["customer_vectors"][1 : len(ids) + 1]
    got = run_onnx(trained_work / "query_tower.onnx", vectors, ages, months, history, items)
    assert history.sizes().max() > 5
    assert got.shape == (len(ids), towers.EMBEDDING_SIZE)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_an_unknown_customer_has_the_out_of_vocabulary_vector(trained_work):
    params = towers.load(trained_work / "towers.npz")
    got = retrieval.query_embedding(trained_work, ["nobody"], np.array([30.0]), np.array([8]))
    expected = retrieval.queries(params, params["customer_vectors"][:1], np.array([30.0]), np.array([8]))
    np.testing.assert_array_equal(got, expected)


def test_a_customer_without_purchases_has_the_out_of_vocabulary_vector(trained_work):
    bought = interactions.read(trained_work).of("train", "validation")
    never = np.setdiff1d(np.arange(bought.customers), bought.customer)
    vectors = towers.load(trained_work / "towers.npz")["customer_vectors"]
    assert len(never)
    np.testing.assert_array_equal(vectors[never + 1], np.repeat(vectors[:1], len(never), axis=0))


def test_a_graph_that_differs_from_jax_is_refused(trained_work, tmp_path):
    params = towers.load(trained_work / "towers.npz")
    other = params | {"query_b2": params["query_b2"] + 0.001}
    (tmp_path / "query_tower.onnx").write_bytes(towers.query_tower_onnx(other).SerializeToString())
    with pytest.raises(RuntimeError, match=r"differs from JAX by 1\.0e-03"):
        retrieval.check_parity(tmp_path, params, retrieval.customer_ages(trained_work), seed=1)


def test_training_beats_a_guess(trained_work):
    purchases = interactions.read(trained_work)
    before = purchases.of("train", "validation")
    truth = interactions.first_purchases(purchases.of("test"), before)
    bought = interactions.baskets(before.pairs(), before.articles).of(truth.customers)
    params = towers.load(trained_work / "towers.npz")
    items = retrieval.item_embeddings(params, retrieval.item_attributes(trained_work))
    ages = retrieval.customer_ages(trained_work)[truth.customers]
    vectors = params["customer_vectors"][truth.customers + 1]
    _, history = histories_of(trained_work, truth.customers)
    queries = retrieval.queries(params, vectors, ages, np.full(len(ages), 3), history, items)
    found = interactions.top(queries, items, bought, 40)
    chance = 40 / before.articles
    share = np.mean(
        [
            np.isin(truth.articles[a:b], f).mean()
            for a, b, f in zip(truth.offsets[:-1], truth.offsets[1:], found, strict=True)
        ]
    )
    assert share > 1.5 * chance


def test_all_item_embeddings_have_one_length_and_scores_do_not_change_by_it():
    rng = np.random.default_rng(1)
    items = rng.normal(size=(50, 16)).astype(np.float32)
    items[:, -1] = 0
    query = rng.normal(size=16).astype(np.float32)
    query[-1] = 0
    filled = towers.equal_lengths(items)
    np.testing.assert_allclose(np.linalg.norm(filled, axis=1), np.linalg.norm(items, axis=1).max(), rtol=1e-5)
    np.testing.assert_allclose(filled @ query, items @ query, rtol=1e-5)


def test_the_best_are_in_order_without_what_was_bought():
    items = np.eye(4, dtype=np.float32)
    queries = np.array([[1, 4, 3, 2], [1, 1, 1, 1]], np.float32)
    bought = interactions.Baskets(np.arange(2), np.array([0, 1, 1]), np.array([1]))
    assert interactions.top(queries, items, bought, 4).tolist() == [[2, 3, 0, -1], [0, 1, 2, 3]]


def test_of_equals_those_with_the_smaller_rows_are_the_best():
    scores = np.random.default_rng(0).integers(0, 4, (200, 50)).astype(np.float32)
    scores[:20, 3:] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")
    for count in (1, 7, 49, 50, 60):
        cut = expected[:, :count]
        cut = np.where(np.isneginf(np.take_along_axis(scores, cut, axis=1)), -1, cut)
        np.testing.assert_array_equal(interactions.best(scores, count), cut)


def test_baskets_follow_the_order_asked_for_and_are_empty_for_strangers():
    baskets = interactions.baskets(np.array([12, 13, 31]), articles=10)
    some = baskets.of(np.array([2, 3, 1]))
    assert some.sizes().tolist() == [0, 1, 2]
    assert some.articles.tolist() == [1, 2, 3]


def test_a_history_is_what_was_touched_before_the_day_newest_first(trained_work):
    purchases = interactions.read(trained_work)
    counts = np.bincount(purchases.customer)
    customer = np.abs(counts - histories.LENGTH // 2).argmin()
    own = purchases.where(purchases.customer == customer)
    day = int(np.median(own.day))
    history = histories.Touches(purchases).before(np.array([customer]), np.array([day]))
    size = int(history.sizes()[0])
    assert size == len(np.unique(np.stack([own.day, own.article])[:, own.day < day], axis=1).T)
    days = history.days[0, :size]
    assert (days >= 1).all()
    assert (np.diff(days) >= 0).all()
    for article, ago in zip(history.articles[0, :size], days, strict=True):
        assert ((own.article == article) & (own.day == day - ago)).any()


def test_in_a_random_split_what_is_asked_about_is_not_in_the_history(trained_work):
    purchases = interactions.read(trained_work)
    some = np.arange(0, len(purchases.day), 97)
    customers, days, asked = (c[some] for c in (purchases.customer, purchases.day, purchases.article))
    history = histories.Touches(purchases, strict=False).before(customers, days, asked=asked)
    assert not ((history.articles == asked[:, None]) & (history.weights > 0)).any()
    assert (history.days[history.weights > 0] == 0).any()


def test_a_click_moves_the_query_towards_what_is_like_it(trained_work):
    params = towers.load(trained_work / "towers.npz")
    items = np.load(trained_work / "item_embeddings.npy")
    vectors, ages, months = params["customer_vectors"][:1], np.array([30.0]), np.array([8])
    alone = retrieval.queries(params, vectors, ages, months)
    nearer = []
    for article in range(0, len(items), 7):
        clicked = histories.History(np.array([[article]]), np.float32([[0.5]]), np.float32([[0]]))
        moved = retrieval.queries(params, vectors, ages, months, clicked, items)
        nearer.append(((moved - alone) @ items[article])[0] > 0)
    assert np.mean(nearer) > 0.9


def test_towers_without_histories_have_the_inputs_that_they_had(tiny_work, tmp_path):
    params, _ = towers.initial(5, np.array([30.0]), np.random.default_rng(0))
    params |= {"age_mean": np.float32(30), "age_std": np.float32(10)}
    graph = towers.query_tower_onnx(params, reads_history=False)
    assert [i.name for i in graph.graph.input] == ["customer_vector", "age", "month_sin", "month_cos"]
    (tmp_path / "query_tower.onnx").write_bytes(graph.SerializeToString())
    rows = {"customer_vectors": np.ones((4, towers.EMBEDDING_SIZE), np.float32)}
    rows |= {"article_vectors": np.ones((4, towers.EMBEDDING_SIZE), np.float32)}
    retrieval.check_parity(tmp_path, params | rows, np.full(3, 30.0, np.float32), 1, reads_history=False)
