"""Data that are small, but plausible: every step works, or says in one line why it can't."""

import json
from datetime import date, timedelta

import numpy as np
import pytest

from hemline import (
    bundle,
    course,
    embeddings,
    evaluate,
    features,
    interactions,
    ranking,
    retrieval,
    texts,
)
from hemline.errors import DataError


@pytest.fixture
def work(shop, tmp_path):
    """Makes the work directory of the shop as a test has changed it."""

    def make():
        out = tmp_path / "work"
        features.run(shop.write(), out, seed=42)
        return out

    return make


def day(number: int) -> str:
    return str(date(2020, 1, 1) + timedelta(days=number))


def purchases(shop, *days_customers_articles) -> list[dict]:
    some = shop.transactions[0]
    return [
        some | {"t_dat": day(d), "customer_id": f"c{c}", "article_id": shop.articles[a]["article_id"]}
        for d, c, a in days_customers_articles
    ]


def many_purchases(shop, days) -> list[dict]:
    return purchases(shop, *((d, n % 5, (7 * d + n) % 40) for d in days for n in range(4)))


def make_bundle(work):
    retrieval.train(work, seed=1, epochs=2)
    ranking.train(work, seed=1)
    embeddings.create(work)
    texts.create(work)
    return bundle.create(work, work.parent / "bundle")


def assert_all_json_is_strict(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    for path in folder.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)


def test_a_week_of_validation_without_purchases_is_no_obstacle(shop, work, capsys):
    shop.transactions = many_purchases(shop, [*range(30), *range(37, 44)])
    folder = work()
    assert not len(interactions.read(folder).of("validation").day)
    make_bundle(folder)
    evaluate.evaluate(folder, folder.parent / "bundle")
    said = capsys.readouterr().err
    assert "The validation split can't tell when to stop: 2 epochs" in said
    assert json.loads((folder / "retrieval.json").read_text())["validation_ndcg_at_100"] == {}
    assert_all_json_is_strict(folder.parent)


def test_a_week_of_validation_without_purchases_says_nothing_of_the_number_of_trees(shop, work, capsys):
    shop.transactions = many_purchases(shop, [*range(30), *range(37, 44)])
    ranking.train(work(), seed=1, recipes=True)
    assert "The validation split can't tell how many trees are best: 100" in capsys.readouterr().err


def test_without_a_validation_the_number_of_epochs_is_small_and_fixed(shop, work):
    shop.transactions = many_purchases(shop, [*range(30), *range(37, 44)])
    assert retrieval.train(work(), seed=1)["epochs"] == retrieval.BLIND_EPOCHS


def test_months_without_sales_before_the_last_days_are_no_obstacle(shop, work, capsys):
    shop.transactions = many_purchases(shop, [*range(30), *range(200, 210)])
    make_bundle(work())
    assert "all months are used" in capsys.readouterr().err


def test_one_customer_is_enough(shop, work):
    shop.customers = shop.customers[:1]
    shop.transactions = purchases(
        shop, *((d, 0, d % 20) for d in range(42)), *((d, 0, d - 10) for d in range(30, 42))
    )
    for place, article in enumerate(shop.articles):
        article["department_name"] = f"department {place % 2}"
    folder = work()
    assert make_bundle(folder)["counts"]["customers"] == 1
    assert_all_json_is_strict(folder.parent)


def test_one_article_is_embedded_and_found_but_cannot_be_ranked(shop, work):
    shop.articles = shop.articles[:1]
    shop.transactions = purchases(shop, *((d, d % 5, 0) for d in range(42)))
    folder = work()
    retrieval.train(folder, seed=1, epochs=2)
    assert embeddings.create(folder)["overlap"] == 1
    assert texts.create(folder)["overlap"] == 1
    with pytest.raises(DataError, match="nothing to tell purchases from others by"):
        ranking.train(folder, seed=1)
    assert not (folder / "ranker.json").exists()


def test_three_purchases_are_too_few_to_learn_from(shop, work):
    shop.transactions = purchases(shop, (0, 0, 0), (0, 1, 1), (0, 1, 2))
    folder = work()
    with pytest.raises(DataError, match="nothing to tell purchases from others by"):
        ranking.train(folder, seed=1, recipes=True)


def test_nothing_is_learned_where_all_purchases_are_of_the_test_days(shop, work):
    shop.transactions = many_purchases(shop, range(28))
    folder = work()
    table = folder / "transactions.parquet"
    rows = interactions.pq.read_table(table)
    place = rows.schema.get_field_index("split")
    interactions.pq.write_table(rows.set_column(place, "split", [["test"] * len(rows)]), table)
    with pytest.raises(DataError, match="no purchase outside the test split"):
        retrieval.train(folder, seed=1)


def test_one_day_is_learned_from_once_and_not_for_each_half_life(shop, work):
    shop.transactions = many_purchases(shop, [0] * 40)
    for place, purchase in enumerate(shop.transactions):
        purchase["article_id"] = shop.articles[place % 40]["article_id"]
    trials = retrieval.train(work(), seed=1, epochs=2)["validation_ndcg_at_100"]
    assert list(trials) == ["inf"]


@pytest.mark.parametrize("count", [1, 5, 64, 65, 1023, 1025, 2047, 2048, 5000])
def test_a_pass_leaves_no_purchase_out_and_repeats_few(count):
    batches = course.in_batches(np.arange(count), most=1024)
    assert set(batches.reshape(-1)) == set(range(count))
    assert batches.shape[1] <= 1024
    assert batches.size - count < course.BATCH_STEP * len(batches)
