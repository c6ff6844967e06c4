"""What is served is what was trained: JAX's embeddings, their neighbours, CatBoost's scores."""

import hashlib

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from under_test import CANDIDATES, ids, rankings, shadow, sign, small_store

from hemline import bundle as bundles
from hemline import embeddings, load, ranking, retrieval

TOLERANCE = 1e-5
OVERLAP = 0.98
PAIRS = 1000


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(request, under_test, tmp_path_factory):
    """The pair over the store under test; and over the same, loaded into PostgreSQL."""
    store = under_test.store
    if request.param == "postgresql":
        store = request.getfixturevalue("postgres").create_database()
        load.run(under_test.work, store)
    with under_test.pair(tmp_path_factory.mktemp("pair"), store=store) as pair:
        yield pair


@pytest.fixture(scope="module")
def customers(catalogue) -> np.ndarray:
    """250 customers with purchases, rows of customers.parquet."""
    return catalogue.buyers(250)


@pytest.fixture(scope="module")
def served(pair, catalogue, customers) -> list[list[list]]:
    """Their rankings: all candidates, best first."""
    return rankings(pair, (catalogue.instance(customer) for customer in customers))


def test_served_scores_are_catboosts_own_probabilities(served, customers, catalogue):
    scores = np.concatenate([[score for score, _ in ranking] for ranking in served])
    features = pa.concat_tables(
        [
            catalogue.features(customer, ids(ranking))
            for customer, ranking in zip(customers, served, strict=True)
        ]
    )
    assert len(scores) >= PAIRS
    # A number that lies on a tree's border may, by its last bit, stand on the other side of it.
    differ = np.abs(ranking.predict_proba(catalogue.work, features) - scores) > TOLERANCE
    assert differ.mean() <= 0.001


def test_the_bundles_query_tower_embeds_as_jax_does(under_test, catalogue, customers):
    known = [str(customer) for customer in catalogue.customer_ids[customers]]
    everybody = [*known, "nobody-knows-this-customer"]
    ages = np.append(catalogue.ages[customers], np.float32(40))
    vectors = bundle_vectors(under_test.bundle, everybody)
    session = onnxruntime.InferenceSession(
        under_test.bundle / bundles.QUERY_TOWER, providers=["CPUExecutionProvider"]
    )
    items = np.load(catalogue.work / "item_embeddings.npy")
    history = catalogue.history(np.append(customers, customers[0]))
    seen = {"vectors": items[history.articles], "weights": history.weights, "days": history.days}
    seen = {f"history_{name}": values for name, values in seen.items()}
    for month in range(1, 13):
        angle = 2 * np.pi * month / 12
        season = {"month_sin": np.sin(angle), "month_cos": np.cos(angle)}
        columns = {name: np.full((len(ages), 1), value, np.float32) for name, value in season.items()}
        profile = {"customer_vector": vectors, "age": ages[:, None], **columns}
        (embedded,) = session.run(None, profile | seen)
        months = np.full(len(ages), month)
        trained = retrieval.query_embedding(catalogue.work, everybody, ages, months, history)
        assert np.abs(embedded - trained).max() <= TOLERANCE, f"month {month}"


def test_a_query_that_jax_embedded_is_answered_as_the_customers_own(pair, catalogue, customers, served):
    some = customers[:50]
    queries = catalogue.queries(some)
    angle = 2 * np.pi * catalogue.month / 12
    season = {"month_sin": float(np.sin(angle)), "month_cos": float(np.cos(angle))}
    embedded = rankings(
        pair,
        (
            catalogue.instance(customer, query_emb=query.tolist(), **season)
            for customer, query in zip(some, queries, strict=True)
        ),
    )
    overlaps, differences = [], []
    for by_id, by_query in zip(served, embedded, strict=False):
        scores = {article: score for score, article in by_id}
        common = [(scores[article], score) for score, article in by_query if article in scores]
        overlaps.append(len(common) / len(by_id))
        differences += [abs(ours - theirs) for ours, theirs in common]
    # The last bit of an embedding may decide which of two equals is the hundredth, or where one stands.
    assert np.mean(overlaps) >= 0.99
    assert np.mean(np.array(differences) > TOLERANCE) <= 0.02


def test_served_candidates_are_those_of_training_over_exact_search(under_test, catalogue, customers, served):
    exact = catalogue.candidates(customers, catalogue.bought(customers), under_test.manifest)
    overlaps = [
        len(set(ids(ranking)) & set(catalogue.article_ids[best[best >= 0]])) / max(1, (best >= 0).sum())
        for ranking, best in zip(served, exact, strict=True)
    ]
    assert len(overlaps) >= min(200, len(np.unique(catalogue.purchases.customer)))
    assert np.mean(overlaps) >= OVERLAP


def test_all_candidates_are_ranked_best_first_and_once(served, catalogue, customers):
    sizes = catalogue.bought(customers).sizes()
    for found, size in zip(served, sizes, strict=True):
        scores = [score for score, _ in found]
        assert scores == sorted(scores, reverse=True)
        assert len(set(ids(found))) == len(found) == min(CANDIDATES, len(catalogue.article_ids) - size)


def test_the_order_of_the_articles_in_a_bundle_does_not_matter(
    under_test, tmp_path, catalogue, customers, served
):
    shuffled = shuffle(under_test.bundle, tmp_path / "shuffled")
    with under_test.pair(tmp_path / "logs", bundle=shuffled) as other:
        assert_same_but_for_noise(served, rankings(other, map(catalogue.instance, customers)))


def test_a_customer_that_only_the_store_knows_gets_what_nobody_knows_gets(under_test, tmp_path, catalogue):
    store = small_store(tmp_path / "store.db", {"new-here": []})
    with under_test.pair(tmp_path / "logs", store=store) as pair:
        question = {"transaction_date": catalogue.date}
        first, second = rankings(
            pair, ({"customer_id": name, **question} for name in ("new-here", "not-here"))
        )
        assert first == second


def assert_same_but_for_noise(first: list, second: list) -> None:
    """The same articles, but for what approximate search leaves out, in about the same places."""
    overlaps, differences = [], []
    for ours, theirs in zip(first, second, strict=True):
        scores = {article: score for score, article in ours}
        common = [(scores[article], score) for score, article in theirs if article in scores]
        differences += [abs(one - other) for one, other in common]
        overlaps.append(len(common) / max(1, len(ours)))
    assert np.mean(overlaps) >= OVERLAP
    assert np.mean(np.array(differences) > 0.01) <= 0.02


def shuffle(bundle, copy):
    """The same bundle with its articles, and the index over them, in another order."""
    shadow(bundle, copy)
    table = read_arrow(bundle / bundles.ARTICLES)
    order = np.random.default_rng(3).permutation(len(table))
    table = renumbered(table.take(order), order)
    (copy / bundles.ARTICLES).unlink()
    bundles.write_arrow(table, copy / bundles.ARTICLES)
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    (copy / bundles.INDEX).unlink()
    embeddings.build_index(vectors).save(str(copy / bundles.INDEX))
    sign(copy)
    return copy


def renumbered(table: pa.Table, order: np.ndarray) -> pa.Table:
    """The same table where what is alike is named by its new row."""
    place = np.empty(len(order) + 1, np.int32)
    place[order], place[-1] = np.arange(len(order)), -1  # -1 is none, and stays so
    column = table["alike"].combine_chunks()
    rows = pa.array(place[column.flatten().to_numpy()])
    lists = pa.FixedSizeListArray.from_arrays(rows, type=column.type)
    return table.set_column(table.column_names.index("alike"), "alike", lists)


def bundle_vectors(bundle, customer_ids: list[str]) -> np.ndarray:
    """Vectors from customers.arrow as docs/bundle.md describes it, read without the project's own code."""
    table = read_arrow(bundle / "retrieval" / "customers.arrow")
    rows = {key: row for row, key in enumerate(table["key"].to_pylist())}
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    keys = [hashlib.sha256(customer_id.encode()).digest()[:16] for customer_id in customer_ids]
    return vectors[[rows.get(key, 0) for key in keys]]


def read_arrow(path) -> pa.Table:
    """A table in Arrow's IPC file format."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
