"""Generated data: H&M's schema, the stated numbers and truth, and the same bytes for the same seed."""

import csv
import hashlib
import json
from collections import Counter, defaultdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from conftest import rows_of

from hemline import catalogue, generate, schema, tastes
from hemline.errors import DataError


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tiny_data, tmp_path):
    generate.run(tmp_path / "again", size="tiny", seed=42)
    generate.run(tmp_path / "other", size="tiny", seed=43)
    assert digests(tmp_path / "again") == digests(tiny_data)
    assert all(value != digests(tmp_path / "other")[name] for name, value in digests(tiny_data).items())


def test_the_files_have_the_columns_and_the_numbers_of_rows_that_were_asked_for(tiny_data):
    size = generate.SIZES["tiny"]
    expected = {
        schema.ARTICLES_CSV: (schema.ARTICLE_CSV_COLUMNS, size.articles),
        schema.CUSTOMERS_CSV: (schema.CUSTOMER_CSV_COLUMNS, size.customers),
        schema.TRANSACTIONS_CSV: (schema.TRANSACTION_CSV_COLUMNS, size.transactions),
    }
    for name, (columns, count) in expected.items():
        rows = read_csv(tiny_data / name)
        assert tuple(rows[0]) == columns
        assert len(rows) == count


def test_ids_look_like_those_of_hm_and_are_unique(tiny_data):
    articles = read_csv(tiny_data / schema.ARTICLES_CSV)
    customers = read_csv(tiny_data / schema.CUSTOMERS_CSV)
    assert len({row["article_id"] for row in articles}) == len(articles)
    assert len({row["customer_id"] for row in customers}) == len(customers)
    assert all(
        len(row["article_id"]) == 10 and row["article_id"][:7] == row["product_code"] for row in articles
    )
    assert all(row["article_id"].startswith("0") for row in articles)
    assert all(len(row["customer_id"]) == 64 and int(row["customer_id"], 16) >= 0 for row in customers)
    assert max(Counter(row["product_code"] for row in articles).values()) > 1  # colours of one product


def test_each_name_has_one_number_and_each_number_one_name(tiny_data):
    articles = read_csv(tiny_data / schema.ARTICLES_CSV)
    pairs = [
        ("product_type_no", "product_type_name"),
        ("graphical_appearance_no", "graphical_appearance_name"),
        ("colour_group_code", "colour_group_name"),
        ("perceived_colour_value_id", "perceived_colour_value_name"),
        ("perceived_colour_master_id", "perceived_colour_master_name"),
        ("index_code", "index_name"),
        ("index_group_no", "index_group_name"),
        ("section_no", "section_name"),
        ("garment_group_no", "garment_group_name"),
    ]
    for number, name in pairs:
        both = {(row[number], row[name]) for row in articles}
        assert len({one for one, _ in both}) == len({other for _, other in both}) == len(both), name


def test_dates_fill_the_days_in_order(tiny_data):
    days = [date.fromisoformat(row["t_dat"]) for row in read_csv(tiny_data / schema.TRANSACTIONS_CSV)]
    assert days == sorted(days)
    assert days[0] == generate.FIRST_DAY
    assert days[-1] == generate.FIRST_DAY + timedelta(generate.SIZES["tiny"].days - 1)


def test_an_article_is_never_sold_before_its_launch_and_never_by_an_index_that_lacks_its_type():
    articles = catalogue.draw(np.random.default_rng(1), 1000)
    truth = tastes.draw(np.random.default_rng(2), articles, 364)
    assert (truth.launch > 0).any()
    assert (truth.on(100, 100)[truth.launch > 100] == 0).all()
    sells = [set(row[4]) for row in catalogue.INDEXES]
    of_type = [set(row[3]) for row in catalogue.PRODUCT_TYPES]
    assert all(sells[i] & of_type[t] for i, t in zip(articles.index, articles.product_type, strict=True))


def test_purchases_follow_the_stated_probabilities():
    world = generate._draw_world(5, generate.Size(200, 50, 1000, 28))
    now = generate._now(world, 2)
    customer = 7
    drawn = generate._draw_articles(world, np.random.default_rng(0), now, np.full(200_000, customer))
    group = int(world.age_groups[customer])
    stated = (world.mixtures.dense(np.array([customer])) @ world.truth.tables(now, group))[0]
    assert stated.sum() == pytest.approx(1)
    seen = np.bincount(drawn, minlength=200) / len(drawn)
    error = np.sqrt(stated * (1 - stated) / len(drawn))
    assert (np.abs(seen - stated) <= 5 * error + 1e-12).all()


def test_the_oracle_lists_the_most_probable_articles_that_the_customer_had_not_bought(tiny_data):
    purchases = read_csv(tiny_data / schema.TRANSACTIONS_CSV)
    test_start = (date.fromisoformat(purchases[-1]["t_dat"]) - timedelta(6)).isoformat()
    before, buyers = defaultdict(set), set()
    for row in purchases:
        if row["t_dat"] < test_start:
            before[row["customer_id"]].add(row["article_id"])
        else:
            buyers.add(row["customer_id"])
    oracle = defaultdict(list)
    for row in rows_of(tiny_data / schema.ORACLE):
        oracle[row["customer_id"]].append(row)
    assert set(oracle) == buyers
    for customer, rows in oracle.items():
        assert [row["rank"] for row in rows] == list(range(1, 101))
        probabilities = [row["probability"] for row in rows]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0 < sum(probabilities) <= 1
        assert not {row["article_id"] for row in rows} & before[customer]


def ndcg_at_12(ranking, truth):
    gain = sum(1 / np.log2(place + 2) for place, article in enumerate(ranking[:12]) if article in truth)
    return gain / sum(1 / np.log2(place + 2) for place in range(min(12, len(truth))))


def test_popularity_is_no_straw_man_and_not_the_answer(tmp_path):
    data = tmp_path / "data"
    generate.run(data, size="small", customers=8_000, transactions=160_000, articles=4_000, seed=42)
    purchases = read_csv(data / schema.TRANSACTIONS_CSV)
    last = date.fromisoformat(purchases[-1]["t_dat"])
    test_start, week_before = (last - timedelta(6)).isoformat(), (last - timedelta(13)).isoformat()
    before, truth, popular = defaultdict(set), defaultdict(set), Counter()
    for row in purchases:
        customer, article = row["customer_id"], row["article_id"]
        if row["t_dat"] < test_start:
            before[customer].add(article)
            popular[article] += row["t_dat"] >= week_before
        elif article not in before[customer]:
            truth[customer].add(article)
    oracle = defaultdict(list)
    for row in rows_of(data / schema.ORACLE):
        oracle[row["customer_id"]].append(row["article_id"])
    ranking = [article for article, _ in popular.most_common(200)]
    popularity = np.mean([ndcg_at_12([a for a in ranking if a not in before[c]], truth[c]) for c in truth])
    best = np.mean([ndcg_at_12(oracle[c], truth[c]) for c in truth])
    assert best / 5 <= popularity <= best / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"days": 30}, "whole number of weeks"), ({"days": 7}, "too few"), ({"articles": 50}, "too few")],
)
def test_sizes_that_make_no_data_are_refused(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        generate.run(tmp_path / "data", size="tiny", **options)
    assert not (tmp_path / "data").exists()


SMALLEST = {"articles": 200, "customers": 10, "transactions": 100, "days": 28}
HM_FILES = (schema.ARTICLES_CSV, schema.CUSTOMERS_CSV, schema.TRANSACTIONS_CSV)


def refused(out, message="that were not generated"):
    """What is beside and in `out`, which must be the same after it was refused."""
    before = {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=message):
        generate.run(out, **SMALLEST)
    assert {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("names", [("thesis.txt",), HM_FILES, (*HM_FILES, schema.ORACLE)])
def test_a_directory_with_files_that_were_not_generated_is_left_alone(tmp_path, names):
    out = tmp_path / "out"
    out.mkdir()
    for name in names:
        (out / name).write_text("dear")
    refused(out)


@pytest.mark.parametrize("stamp", ["", "{}", "[]", '{"made_by": "hand"}'])
def test_a_directory_whose_stamp_is_not_ours_is_left_alone(tmp_path, stamp):
    out = tmp_path / "out"
    generate.run(out, **SMALLEST)
    (out / schema.GENERATED_JSON).write_text(stamp)
    refused(out)


def test_generated_data_with_a_file_of_somebody_else_are_left_alone(tmp_path):
    out = tmp_path / "out"
    generate.run(out, **SMALLEST)
    (out / "thesis.txt").write_text("dear")
    refused(out)


def test_generated_data_with_a_file_that_was_changed_are_left_alone(tmp_path):
    out = tmp_path / "out"
    generate.run(out, **SMALLEST)
    (out / schema.CUSTOMERS_CSV).write_text("the real ones")
    refused(out)


def test_generated_data_are_replaced_and_nothing_stays_beside_them(tmp_path):
    out = tmp_path / "out"
    generate.run(out, **SMALLEST, seed=1)
    before = digests(out)
    generate.run(out, **SMALLEST, seed=2)
    assert digests(out) != before
    assert list(tmp_path.iterdir()) == [out]


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    generate.run(tmp_path / "out", **SMALLEST)
    assert (tmp_path / "out" / schema.GENERATED_JSON).is_file()


def test_a_directory_of_a_similar_name_stays(tmp_path):
    (tmp_path / "out.tmp").mkdir()
    (tmp_path / "out.tmp" / "thesis.txt").write_text("dear")
    generate.run(tmp_path / "out", **SMALLEST)
    assert (tmp_path / "out.tmp" / "thesis.txt").read_text() == "dear"


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_the_directory_that_it_runs_in_is_refused(tmp_path, monkeypatch, out):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match="is the directory that this runs in"):
        generate.run(Path(out), **SMALLEST)
    assert (tmp_path / "here").is_dir()


def test_a_link_to_a_directory_with_other_files_is_refused(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "thesis.txt").write_text("dear")
    (tmp_path / "link").symlink_to(real)
    refused(tmp_path / "link")


def test_the_stamp_says_seed_counts_and_the_days_of_the_oracle(tiny_data):
    facts = json.loads((tiny_data / schema.GENERATED_JSON).read_text())
    last = date.fromisoformat(read_csv(tiny_data / schema.TRANSACTIONS_CSV)[-1]["t_dat"])
    assert facts["seed"] == 42
    assert facts["counts"] == vars(generate.SIZES["tiny"])
    assert facts["oracle"] == {"first": str(last - timedelta(6)), "last": str(last)}
