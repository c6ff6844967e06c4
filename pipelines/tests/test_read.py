"""Reading: what is mended, what is dropped, what is refused; and that all of it is counted."""

import csv
import re

import ibis
import pytest

from hemline import read, schema
from hemline.errors import DataError


@pytest.fixture
def con():
    return ibis.duckdb.connect()


def rows(table, key):
    return {row[key]: row for row in table.to_pyarrow().to_pylist()}


def reasons(report):
    return {reason.why: (reason.kind, reason.rows) for reason in report.reasons}


def read_all(con, folder):
    articles, first = read.articles(con, folder)
    customers, second = read.customers(con, folder)
    transactions, third = read.transactions(con, folder, articles, customers)
    return (articles, customers, transactions), (first, second, third)


def test_clean_files_are_kept_as_they_are(con, shop):
    tables, reports = read_all(con, shop.write())
    assert [table.count().to_pyarrow().as_py() for table in tables] == [40, 5, 40]
    assert all(r.mended == r.dropped == 0 and not r.reasons for r in reports)


def test_an_article_id_that_lost_its_leading_zero_is_padded_and_counted(con, shop):
    shop.articles[3]["article_id"] = "100000003"
    shop.transactions[3]["article_id"] = "100000003"
    (articles, _, transactions), (first, _, third) = read_all(con, shop.write())
    assert "0100000003" in rows(articles, "article_id")
    assert "0100000003" in rows(transactions, "article_id")
    assert reasons(first) == {"article_id padded to 10 digits": ("mended", 1)}
    assert reasons(third) == {"article_id padded to 10 digits": ("mended", 1)}


@pytest.mark.parametrize("code", ["", "100000", "101000000"])
def test_a_product_code_that_is_not_seven_digits_is_taken_from_the_article_id(con, shop, code):
    shop.articles[0]["product_code"] = code
    articles, report = read.articles(con, shop.write())
    assert rows(articles, "article_id")["0100000000"]["product_code"] == "0100000"
    assert reasons(report) == {"product_code is not 7 digits: taken from article_id": ("mended", 1)}


@pytest.mark.parametrize("bad", ["", "12a4", "12345678901", "-5", "663713001.0"])
def test_an_id_that_no_article_can_have_is_dropped_and_counted(con, shop, bad):
    shop.articles.append(shop.articles[0] | {"article_id": bad})
    articles, report = read.articles(con, shop.write())
    assert articles.count().to_pyarrow().as_py() == 40
    assert (report.rows_in, report.kept, report.dropped) == (41, 40, 1)
    assert reasons(report) == {"article_id is empty or cannot be one": ("dropped", 1)}


def test_of_rows_with_the_same_id_the_first_is_kept(con, shop):
    shop.articles.append(shop.articles[0] | {"prod_name": "Later"})
    shop.customers.append(shop.customers[0] | {"age": "99"})
    folder = shop.write()
    articles, first = read.articles(con, folder)
    customers, second = read.customers(con, folder)
    assert rows(articles, "article_id")["0100000000"]["prod_name"] == "Thing 0"
    assert rows(customers, "customer_id")["c0"]["age"] == 20
    assert (first.dropped, second.dropped) == (1, 1)


def test_an_empty_description_is_made_from_the_attributes(con, shop):
    shop.articles[0]["detail_desc"] = "  "
    articles, report = read.articles(con, shop.write())
    assert "product type" in rows(articles, "article_id")["0100000000"]["detail_desc"]
    assert reasons(report) == {"detail_desc is empty: described from the attributes": ("mended", 1)}


def test_an_attribute_without_a_name_is_unknown(con, shop):
    shop.articles[0]["section_name"] = ""
    articles, report = read.articles(con, shop.write())
    assert rows(articles, "article_id")["0100000000"]["section_name"] == "Unknown"
    assert reasons(report) == {"section_name is empty: 'Unknown'": ("mended", 1)}


def test_a_row_with_two_mends_counts_once_as_mended_and_once_for_each_reason(con, shop):
    shop.articles[0] |= {"section_name": "", "detail_desc": ""}
    _, report = read.articles(con, shop.write())
    assert report.mended == 1
    assert len(report.reasons) == 2


@pytest.mark.parametrize("age", ["", "9", "111", "-1", "nan"])
def test_an_age_that_is_absent_or_not_believed_is_left_to_be_imputed(con, shop, age):
    shop.customers[0]["age"] = age
    customers, report = read.customers(con, shop.write())
    assert rows(customers, "customer_id")["c0"]["age"] is None
    assert report.mended == 1


def test_a_customer_without_club_status_is_absent(con, shop):
    shop.customers[0]["club_member_status"] = ""
    customers, _ = read.customers(con, shop.write())
    assert rows(customers, "customer_id")["c0"]["club_member_status"] == "ABSENT"


def test_stray_columns_are_dropped_and_named(con, shop):
    shop.articles = [{"": str(i), "mood": "odd", **row} for i, row in enumerate(shop.articles)]
    articles, report = read.articles(con, shop.write())
    assert "mood" not in articles.columns
    (note,) = report.reasons
    assert note.kind == "note"
    assert "(column 1 without a name), mood" in note.why


def test_purchases_of_unknown_articles_are_dropped_and_counted(con, shop):
    shop.transactions[0]["article_id"] = "0999999999"
    (_, _, transactions), (_, _, report) = read_all(con, shop.write())
    assert transactions.count().to_pyarrow().as_py() == 39
    assert reasons(report) == {"article is not in articles.csv": ("dropped", 1)}


def test_equal_purchases_are_two_pieces_and_stay_two_rows(con, shop):
    shop.transactions.append(dict(shop.transactions[-1]))
    (_, _, transactions), (_, _, report) = read_all(con, shop.write())
    assert transactions.count().to_pyarrow().as_py() == 41
    assert report.dropped == 0


def test_quoted_text_with_commas_quotes_line_breaks_and_a_byte_order_mark_is_read(con, shop):
    shop.articles[1]["detail_desc"] = 'Soft, "airy"\nand Crêpe'
    folder = shop.write()
    path = folder / "articles.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n"))
    articles, report = read.articles(con, folder)
    assert rows(articles, "article_id")["0100000001"]["detail_desc"] == 'Soft, "airy"\nand Crêpe'
    assert report.rows_in == 40


@pytest.mark.parametrize("name", ["articles.csv", "customers.csv", "transactions_train.csv"])
def test_a_missing_file_is_named(con, shop, name):
    folder = shop.write()
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"^{name}: no such file"):
        read_all(con, folder)


@pytest.mark.parametrize(
    ("rows_name", "file", "column"),
    [
        ("articles", "articles.csv", "garment_group_name"),
        ("customers", "customers.csv", "age"),
        ("transactions", "transactions_train.csv", "t_dat"),
    ],
)
def test_a_missing_column_is_named_with_its_file(con, shop, rows_name, file, column):
    for row in getattr(shop, rows_name):
        del row[column]
    with pytest.raises(DataError, match=f"^{file}: column {column} is missing"):
        read_all(con, shop.write())


@pytest.mark.parametrize(
    ("rows_name", "row", "column", "value", "file"),
    [
        ("transactions", 7, "t_dat", "yesterday", "transactions_train.csv"),
        ("transactions", 8, "t_dat", "2020-02-31", "transactions_train.csv"),
        ("transactions", 9, "price", "cheap", "transactions_train.csv"),
        ("transactions", 9, "price", "-0.1", "transactions_train.csv"),
        ("transactions", 9, "price", "inf", "transactions_train.csv"),
        ("customers", 2, "age", "old", "customers.csv"),
    ],
)
def test_a_value_that_cannot_be_parsed_is_named_by_file_row_and_column(
    con, shop, rows_name, row, column, value, file
):
    getattr(shop, rows_name)[row][column] = value
    with pytest.raises(DataError) as error:
        read_all(con, shop.write())
    assert str(error.value).startswith(f"{file}: data row {row + 1}, column {column}: '{value}' is not a")


def test_a_purchase_without_a_date_is_refused(con, shop):
    shop.transactions[4]["t_dat"] = ""
    with pytest.raises(DataError, match="data row 5, column t_dat: no value is not a date"):
        read_all(con, shop.write())


def test_a_file_without_rows_is_refused(con, shop):
    folder = shop.write()
    path = folder / "transactions_train.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"^transactions_train.csv: the file has a header but no rows"):
        read_all(con, folder)


def test_an_empty_file_is_refused(con, shop):
    folder = shop.write()
    (folder / "transactions_train.csv").write_text("")
    with pytest.raises(DataError, match=r"^transactions_train.csv: the file is empty"):
        read_all(con, folder)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(con, shop):
    folder = shop.write()
    path = folder / "articles.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b"Thing", b"Th\xffng")
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"^articles.csv: file line 6: not UTF-8"):
        read_all(con, folder)


def test_a_row_with_too_few_fields_is_refused_with_its_line(con, shop):
    folder = shop.write()
    path = folder / "customers.csv"
    lines = path.read_text().splitlines()
    lines[3] = "c2,,"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"^customers.csv: file line 4: not a row of this CSV file"):
        read_all(con, folder)


def test_a_binary_file_is_refused(con, shop):
    folder = shop.write()
    (folder / "articles.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DataError, match=r"^articles.csv: "):
        read_all(con, folder)


@pytest.mark.parametrize(
    "value",
    [
        "2020-1-05",
        "20200105",
        "2020-01-05 10:00:00",
        "2020-01-05x",
        "2020-02-30",
        "0020-01-05",
        "1989-12-31",
        "2101-01-01",
        "infinity",
    ],
)
def test_a_date_that_is_not_a_day_of_a_year_that_is_believed_is_refused(con, shop, value):
    shop.transactions[2]["t_dat"] = value
    message = f"transactions_train.csv: data row 3, column t_dat: '{value}' is not a date (YYYY-MM-DD"
    with pytest.raises(DataError, match="^" + re.escape(message)):
        read_all(con, shop.write())


def test_the_first_and_the_last_day_that_are_believed_are_read(con, shop):
    days = ["1990-01-01", "2100-12-31"]
    for row, day in zip(shop.transactions, days, strict=False):
        row["t_dat"] = day
    (_, _, transactions), _ = read_all(con, shop.write())
    assert [str(row["t_dat"]) for row in transactions.limit(2).to_pyarrow().to_pylist()] == days


def test_a_value_with_line_breaks_is_shown_on_one_line_and_a_long_one_is_cut(con, shop):
    shop.customers[1]["age"] = "forty\nor so\r\n" + 500 * "x"
    with pytest.raises(DataError) as error:
        read_all(con, shop.write())
    message = str(error.value)
    assert message.startswith(r"customers.csv: data row 2, column age: 'forty\nor so\r\nxxx")
    assert message.endswith("x… is not an age in years")
    assert len(message) < 200
    assert len(message.splitlines()) == 1


def test_an_age_is_taken_for_absent_only_where_it_is(con, shop):
    shop.customers[0]["age"], shop.customers[1]["age"] = "-999", ""
    _, report = read.customers(con, shop.write())
    assert reasons(report) == {
        "age is empty: imputed by the median": ("mended", 1),
        "age is not in 10..110: imputed by the median": ("mended", 1),
    }


def test_a_file_with_both_kinds_of_line_ends_is_refused(con, shop):
    folder = shop.write()
    path = folder / "customers.csv"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\r\n".join(lines[:3]) + b"\n" + b"\r\n".join(lines[3:]) + b"\r\n")
    with pytest.raises(DataError, match=r"^customers.csv: (file line \d+|line unknown): .*both CRLF and LF"):
        read_all(con, folder)


def test_a_file_that_cannot_be_read_is_refused(con, shop, monkeypatch):
    folder = shop.write()

    def broken(self, *arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", broken)
    with pytest.raises(DataError, match=r"^articles.csv: cannot be read \(Permission denied\)"):
        read_all(con, folder)


def test_a_file_that_goes_away_while_it_is_read_is_refused(con, shop):
    source = read.open_csv(con, shop.write() / "customers.csv", ("customer_id",), ())
    source.path.unlink()
    with pytest.raises(DataError, match=r"^customers.csv: cannot be read \(.*\)$"):
        read.store(con, "raw", source.rows, source)


def column(path, name):
    """One column of a CSV file as it stands there."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        place = next(rows).index(name)
        return [row[place] for row in rows]


def test_the_real_sample_is_read_without_losing_a_row(con, hm_data):
    tables, reports = read_all(con, hm_data)
    ids = column(hm_data / schema.ARTICLES_CSV, "article_id")
    customers = column(hm_data / schema.CUSTOMERS_CSV, "customer_id")
    buyers = column(hm_data / schema.TRANSACTIONS_CSV, "customer_id")
    sizes = [len(ids), len(customers), len(buyers)]
    assert [table.count().to_pyarrow().as_py() for table in tables] == sizes
    assert [report.rows_in for report in reports] == sizes
    assert not any(report.dropped for report in reports)
    padded = reasons(reports[0]).get("article_id padded to 10 digits", ("mended", 0))
    assert padded == ("mended", sum(len(article) < 10 for article in ids))
    known = set(customers)
    why = "customer is not in customers.csv: added without a profile, age imputed"
    added = reasons(reports[2]).get(why, ("mended", 0))
    assert added == ("mended", sum(customer not in known for customer in buyers))
