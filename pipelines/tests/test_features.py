"""The work directory: what is in it, how it is split, and that it is the same each time."""

import hashlib
import json
import math
from datetime import date, timedelta

import pyarrow.parquet as pq
import pytest
from conftest import rows_of

from hemline import features, generate, recipe, schema
from hemline.errors import DataError


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_work_directory_holds_what_the_contract_says_and_nothing_else(tiny_work):
    names = {schema.ARTICLES, schema.CUSTOMERS, schema.TRANSACTIONS, schema.ORACLE, schema.FEATURES_JSON}
    assert {path.name for path in tiny_work.iterdir()} == names | {
        schema.ranking_file(s) for s in schema.SPLITS
    }


def test_the_same_data_and_seed_give_the_same_bytes(tiny_data, tiny_work, tmp_path):
    features.run(tiny_data, tmp_path / "again", seed=42)
    assert digests(tmp_path / "again") == digests(tiny_work)


def test_another_seed_draws_other_negatives_from_the_same_purchases(tiny_data, tiny_work, tmp_path):
    features.run(tiny_data, tmp_path / "other", seed=7)
    ours, others = digests(tiny_work), digests(tmp_path / "other")
    assert ours["transactions.parquet"] == others["transactions.parquet"]
    assert ours["ranking_train.parquet"] != others["ranking_train.parquet"]


def test_files_are_sorted_by_their_keys(tiny_work):
    keys = {
        schema.ARTICLES: ("article_id",),
        schema.CUSTOMERS: ("customer_id",),
        schema.TRANSACTIONS: ("t_dat", "customer_id", "article_id", "price"),
    }
    for name, key in keys.items():
        values = [tuple(row[column] for column in key) for row in rows_of(tiny_work / name)]
        assert values == sorted(values)


def test_the_split_is_by_time_with_a_week_each_for_validation_and_test(tiny_work):
    window = json.loads((tiny_work / schema.FEATURES_JSON).read_text())["window"]
    day = {name: date.fromisoformat(window[name]) for name in window if name != "split"}
    assert window["split"] == "temporal"
    assert day["test_end"] - day["test_start"] == timedelta(6)
    assert day["validation_end"] + timedelta(1) == day["test_start"]
    assert day["validation_end"] - day["train_end"] == timedelta(7)
    for row in rows_of(tiny_work / schema.TRANSACTIONS):
        expected = "train" if row["t_dat"] <= day["train_end"] else "validation"
        assert row["split"] == ("test" if row["t_dat"] >= day["test_start"] else expected)


@pytest.mark.parametrize(("days", "split"), [(1, "random"), (27, "random"), (28, "temporal")])
def test_fewer_than_28_days_have_no_temporal_split(days, split):
    first = date(2020, 1, 1)
    assert features.split_window(first, first + timedelta(days - 1)).split == split


def test_a_random_split_is_about_80_10_10_and_said_plainly(shop, tmp_path, capsys):
    customers = [f"c{i % 5}" for i in range(40)]
    shop.transactions = [
        {**row, "t_dat": f"2020-01-{1 + day:02d}", "customer_id": customers[i]}
        for i, row in enumerate(shop.transactions)
        for day in range(20)
    ]
    features.run(shop.write(), tmp_path / "work")
    assert "No temporal split" in capsys.readouterr().err
    splits = [row["split"] for row in rows_of(tmp_path / "work" / schema.TRANSACTIONS)]
    assert 600 < splits.count("train") < 680
    assert 50 < splits.count("validation") < 110
    assert 50 < splits.count("test") < 110


def test_months_are_on_a_circle_and_monday_is_day_zero(tiny_work):
    for row in rows_of(tiny_work / schema.TRANSACTIONS)[::500]:
        assert row["month_sin"] == pytest.approx(math.sin(2 * math.pi * row["t_dat"].month / 12))
        assert row["month_cos"] == pytest.approx(math.cos(2 * math.pi * row["t_dat"].month / 12))
        assert row["day_of_week"] == row["t_dat"].weekday()
        assert (row["year"], row["month"], row["day"]) == row["t_dat"].timetuple()[:3]


def test_customers_that_only_purchases_know_are_added_without_a_profile(shop, tmp_path):
    shop.transactions[0]["customer_id"] = "stranger"
    shop.customers[4]["age"] = ""
    features.run(shop.write(), tmp_path / "work")
    customers = {row["customer_id"]: row for row in rows_of(tmp_path / "work" / schema.CUSTOMERS)}
    default_age = json.loads((tmp_path / "work" / schema.FEATURES_JSON).read_text())["default_age"]
    assert default_age == 35.0  # the median of 20, 30, 40 and 50
    stranger = customers["stranger"]
    assert (stranger["profile"], stranger["age_known"], stranger["age"]) == (False, False, default_age)
    assert stranger["club_member_status"] == "ABSENT"
    assert (customers["c4"]["profile"], customers["c4"]["age_known"], customers["c4"]["age"]) == (
        True,
        False,
        35.0,
    )
    assert (customers["c0"]["age_known"], customers["c0"]["age"]) == (True, 20.0)


def test_ages_fall_into_their_groups(shop, tmp_path):
    groups = {
        18: "0-18",
        19: "19-25",
        25: "19-25",
        26: "26-35",
        36: "36-45",
        55: "46-55",
        65: "56-65",
        66: "66+",
    }
    shop.customers = [shop.customers[0] | {"customer_id": f"c{age}", "age": str(age)} for age in groups]
    features.run(shop.write(), tmp_path / "work")
    customers = rows_of(tmp_path / "work" / schema.CUSTOMERS)
    assert {row["age"]: row["age_group"] for row in customers if row["profile"]} == groups


def test_articles_are_described_pictured_and_dated_by_their_first_sale(shop, tmp_path):
    shop.transactions[1]["article_id"] = shop.articles[0]["article_id"]
    features.run(shop.write(), tmp_path / "work")
    first, second = rows_of(tmp_path / "work" / schema.ARTICLES)[:2]
    assert first["image"] == "images/010/0100000000.jpg"
    assert first["description"].startswith("Thing 0 - product type in product group; appearance: graphical")
    assert first["description"].endswith("; A thing.")
    assert first["first_seen"] == date(2020, 1, 1)
    assert second["first_seen"] is None


def test_ranking_rows_are_a_label_and_the_features_in_order(tiny_work):
    for split in schema.SPLITS:
        table = pq.read_table(tiny_work / schema.ranking_file(split))
        names = [name for name, _ in schema.RANKING_FEATURES]
        assert table.column_names == ["customer_id", "article_id", "label", *names]
        assert {str(table.schema.field(name).type) for name in names[:3]} == {"float"}
        assert not any(column.null_count for column in table.columns)


def bought_until(work, split):
    """(customer, article) of the purchases of a split and those before it."""
    splits = schema.SPLITS[: schema.SPLITS.index(split) + 1]
    rows = (row for row in rows_of(work / schema.TRANSACTIONS) if row["split"] in splits)
    return {(row["customer_id"], row["article_id"]) for row in rows}


def test_a_negative_of_training_may_be_bought_later_or_it_would_tell_what_is_not(tiny_work):
    for earlier, later in (("train", "validation"), ("validation", "test")):
        rows = rows_of(tiny_work / schema.ranking_file(earlier))
        negatives = {(row["customer_id"], row["article_id"]) for row in rows if not row["label"]}
        assert negatives & (bought_until(tiny_work, later) - bought_until(tiny_work, earlier))


def test_each_purchase_has_ten_different_negatives_that_its_customer_had_not_bought(tiny_work):
    shared = ("customer_id", "age", "month_sin", "month_cos")
    sizes = []
    for split in schema.SPLITS:
        bought = bought_until(tiny_work, split)
        groups = []
        for row in rows_of(tiny_work / schema.ranking_file(split)):
            if row["label"]:
                groups.append([])
            groups[-1].append(row)
        for positive, *negatives in groups:
            sizes.append(len(negatives))
            assert {row["label"] for row in negatives} == {0}
            assert len({row["article_id"] for row in negatives}) == len(negatives)
            assert all(row[name] == positive[name] for row in negatives for name in shared)
            assert not any((row["customer_id"], row["article_id"]) in bought for row in negatives)
    # The keenest customers of so small a catalogue have bought so much that ten are not always found.
    assert max(sizes) == 10
    assert sizes.count(10) > 0.95 * len(sizes)


def test_positives_are_the_distinct_purchases_of_the_split(tiny_work):
    for split in ("validation", "test"):
        rows = (row for row in rows_of(tiny_work / schema.TRANSACTIONS) if row["split"] == split)
        purchases = {(row["customer_id"], row["article_id"], row["t_dat"]) for row in rows}
        positives = [row for row in rows_of(tiny_work / schema.ranking_file(split)) if row["label"]]
        assert len(positives) == len(purchases)
        assert {(row["customer_id"], row["article_id"]) for row in positives} == {p[:2] for p in purchases}


def test_positives_of_training_are_the_season_that_the_ranker_learns_from(
    tiny_work, tiny_data, tmp_path, capsys
):
    train_end = json.loads((tiny_work / schema.FEATURES_JSON).read_text())["window"]["train_end"]
    last = date.fromisoformat(train_end).month
    purchases = {
        (row["customer_id"], row["article_id"], row["t_dat"]): row["t_dat"].month
        for row in rows_of(tiny_work / schema.TRANSACTIONS)
        if row["split"] == "train"
    }
    season = [key for key, month in purchases.items() if month in (last, (last - 2) % 12 + 1)]
    table = pq.read_table(tiny_work / schema.ranking_file("train"))
    assert table["label"].to_pylist().count(1) == len(season) < len(purchases)
    assert recipe.of_season(table, train_end).num_rows == table.num_rows
    assert schema.SEASON_MONTHS == recipe.SEASON_MONTHS
    features.run(tiny_data, tmp_path / "work")
    err = capsys.readouterr().err
    (line,) = (
        line for line in err.splitlines() if "season of the last training day: February and March" in line
    )
    assert f" {len(purchases) - len(season):,} " in line


def test_a_season_with_too_few_purchases_is_not_enough_and_all_months_are_taken(shop, tmp_path):
    features.run(shop.write(), tmp_path / "work")
    rows = rows_of(tmp_path / "work" / schema.TRANSACTIONS)
    labels = pq.read_table(tmp_path / "work" / schema.ranking_file("train"))["label"].to_pylist()
    assert labels.count(1) == sum(row["split"] == "train" for row in rows)


@pytest.mark.parametrize(
    ("last", "months"),
    [(date(2020, 1, 5), [12, 1]), (date(2020, 9, 30), [8, 9]), (date(2020, 12, 1), [11, 12])],
)
def test_the_season_is_the_last_month_of_training_and_the_one_before(last, months):
    assert features.season_months(last) == months


def test_a_cap_on_positives_keeps_a_sample_and_reports_it(tiny_data, tmp_path, capsys):
    features.run(tiny_data, tmp_path / "work", max_positives=500)
    for split, positives in (("train", 500), ("test", 50)):
        labels = pq.read_table(tmp_path / "work" / schema.ranking_file(split))["label"].to_pylist()
        assert labels.count(1) == positives
    assert "more than 500 positives: sampled by hash" in capsys.readouterr().err


def test_refused_data_leave_the_work_directory_as_it_was(shop, tmp_path):
    work = tmp_path / "work"
    features.run(shop.write(), work)
    before = digests(work)
    shop.transactions[39]["price"] = "free"
    with pytest.raises(DataError, match="data row 40, column price"):
        features.run(shop.write(), work)
    assert digests(work) == before
    with pytest.raises(DataError):
        features.run(shop.folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_oracle_of_other_data_does_not_stay(shop, tiny_data, tmp_path):
    features.run(tiny_data, tmp_path / "work")
    assert (tmp_path / "work" / schema.ORACLE).exists()
    features.run(shop.write(), tmp_path / "work")
    assert not (tmp_path / "work" / schema.ORACLE).exists()


def test_an_oracle_of_other_days_than_those_of_the_test_is_left_out_and_reported(tmp_path, capsys):
    data, work = tmp_path / "data", tmp_path / "work"
    generate.run(data, articles=200, customers=50, transactions=1000, days=56)
    features.run(data, work)
    assert (work / schema.ORACLE).exists()
    path = data / schema.TRANSACTIONS_CSV
    header, *lines = path.read_text().splitlines()
    last = lines[-1][:10]
    path.write_text("\n".join([header, *(line for line in lines if line[:10] != last)]) + "\n")
    capsys.readouterr()
    features.run(data, work)
    assert not (work / schema.ORACLE).exists()
    assert f"to {last}, and the test is of" in capsys.readouterr().err


def test_an_oracle_that_does_not_say_its_days_is_left_out_and_reported(tmp_path, capsys):
    data, work = tmp_path / "data", tmp_path / "work"
    generate.run(data, articles=200, customers=50, transactions=1000, days=56)
    (data / schema.GENERATED_JSON).unlink()
    features.run(data, work)
    assert not (work / schema.ORACLE).exists()
    assert "of unknown days (generated.json)" in capsys.readouterr().err


def test_an_oracle_that_cannot_be_read_is_refused(shop, tmp_path):
    (shop.write() / schema.ORACLE).write_text("these are words")
    with pytest.raises(DataError, match=r"^oracle.parquet: cannot be read"):
        features.run(shop.folder, tmp_path / "work")


def test_a_column_whose_name_looks_like_markup_is_reported_as_it_is(shop, tmp_path, capsys):
    for row in shop.articles:
        row["[/b]"] = "odd"
    features.run(shop.write(), tmp_path / "work")
    assert "stray columns dropped: [/b]" in capsys.readouterr().err


def test_no_believable_age_at_all_is_refused(shop, tmp_path):
    for row in shop.customers:
        row["age"] = ""
    with pytest.raises(DataError, match="column age: no customer has an age"):
        features.run(shop.write(), tmp_path / "work")
