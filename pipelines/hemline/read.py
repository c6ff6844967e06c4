"""Reads H&M's CSV files into DuckDB, mends what can be mended, and counts every row that it mends or drops.

Each function takes a folder and gives (table, report of its rows). Files are read as text and parsed by
expressions here, so that nothing is guessed: an article id keeps its leading zero, and a bad value is named
by row and column.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
from ibis import _

from hemline import schema
from hemline.errors import DataError
from hemline.report import StepReport

UNKNOWN = "Unknown"
LONGEST_HEADER = 1 << 20  # bytes; a binary file may have no line ends at all
LONGEST_SHOWN = 80  # characters of a value in an error
YEARS = (1990, 2100)  # of a purchase, that are believed


@dataclass(frozen=True)
class Source:
    """One CSV file: its path, its rows as text (a view: each query reads the file), and its stray columns."""

    path: Path
    rows: ir.Table
    stray: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name


def open_csv(con: ibis.BaseBackend, path: Path, needed: tuple[str, ...], known: tuple[str, ...]) -> Source:
    """Checks the header of a CSV file and makes a view of the `needed` columns; all must be there."""
    header = _header(path)
    for column in needed:
        if column not in header:
            raise DataError(
                f"{path.name}: column {column} is missing (found: {_one_line(', '.join(header))})"
            )
        if header.count(column) > 1:
            raise DataError(f"{path.name}: column {column} is there twice")
    stray = tuple(
        name or f"(column {i + 1} without a name)" for i, name in enumerate(header) if name not in known
    )
    names = [name if name in needed else f"stray {i}" for i, name in enumerate(header)]
    types = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    location = str(path).replace("'", "''")
    view = f"csv_{path.stem}"
    try:
        con.raw_sql(
            f"CREATE OR REPLACE VIEW {view} AS SELECT {', '.join(needed)} "
            f"FROM read_csv('{location}', header = true, auto_detect = false, delim = ',', "
            f"quote = '\"', escape = '\"', columns = {{{types}}})"
        )
    except duckdb.IOException as error:
        raise DataError(f"{path.name}: cannot be read ({_one_line(str(error))})") from None
    return Source(path, con.table(view), stray)


def _header(path: Path) -> list[str]:
    """Column names of a CSV file."""
    if not path.is_file():
        raise DataError(f"{path.name}: no such file in {path.parent}")
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_HEADER)
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror})") from None
    if not line:
        raise DataError(f"{path.name}: the file is empty")
    try:
        return [name.strip() for name in next(csv.reader([line.decode("utf-8-sig")]))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name}: file line 1: not a CSV file in UTF-8 ({error})") from None


def store(con: ibis.BaseBackend, name: str, rows: ir.Table, source: Source) -> ir.Table:
    """Evaluates `rows` into the table `name`, in file order; what DuckDB cannot read raises DataError."""
    try:
        table = con.create_table(name, rows)
    except duckdb.IOException as error:
        raise DataError(f"{source.name}: cannot be read ({_one_line(str(error))})") from None
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        text = str(error)
        line = re.search(r"Line:? (\d+)", text)
        where = f"file line {line.group(1)}" if line else "line unknown"
        unicode = (
            "not UTF-8" if re.search("unicode|utf-?8", text, re.IGNORECASE) else "not a row of this CSV file"
        )
        reason = next((part.strip() for part in text.splitlines()[1:] if part.strip()), text.splitlines()[0])
        if "state machine" in text:
            reason = "lines end in both CRLF and LF, or a quote is out of place"
        raise DataError(f"{source.name}: {where}: {unicode} ({reason})") from None
    if not table.count().to_pyarrow().as_py():
        raise DataError(f"{source.name}: the file has a header but no rows")
    return table


def _refuse(source: Source, column: str, parse: Callable[[ir.Table], ir.Value], expected: str) -> None:
    """Raises DataError for the first row of the file in which `parse` gives null."""
    numbered = source.rows.select(column, data_row=ibis.row_number() + 1)
    rows = numbered.filter(parse(numbered).isnull()).order_by("data_row").limit(1).to_pyarrow().to_pylist()
    value = "no value" if rows[0][column] is None else repr(rows[0][column])
    value = value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 1] + "…"
    where = f"{source.name}: data row {rows[0]['data_row']}, column {column}"
    raise DataError(f"{where}: {value} is not {expected}")


def _one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())


def _text(column: ir.StringColumn) -> ir.StringColumn:
    """Text without spaces around it; empty is null."""
    return column.strip().nullif("")


def _age(rows: ir.Table) -> ir.FloatingColumn:
    """Null where the text is no number; an empty one is allowed, and 0."""
    return _text(rows.age).fill_null("0").try_cast("float64")


def article_id(column: ir.StringColumn) -> ir.StringColumn:
    """An article id as ten digits, or null where it cannot be one."""
    digits = column.strip()
    width = schema.ARTICLE_ID_DIGITS
    return ibis.ifelse(
        digits.re_search(f"^[0-9]{{1,{width}}}$"), digits.lpad(width, "0"), ibis.null("string")
    )


def _count(table: ir.Table, **conditions: ir.BooleanValue) -> dict[str, int]:
    """Rows for which each condition holds, and all `rows`, in one pass."""
    sums = {name: condition.fill_null(False).sum().fill_null(0) for name, condition in conditions.items()}
    row = table.aggregate(rows=table.count(), **sums).to_pyarrow().to_pylist()[0]
    return {name: int(value) for name, value in row.items()}


def _any(conditions: dict[str, ir.BooleanValue]) -> ir.BooleanValue:
    """True where one of the conditions holds."""
    first, *others = (condition.fill_null(False) for condition in conditions.values())
    for other in others:
        first = first | other
    return first


def _deduplicate(table: ir.Table, key: str) -> ir.Table:
    """The first row of each key, in file order; rows without a key go, too."""
    place = ibis.row_number().over(group_by=key, order_by="file_row")
    return table.filter(_[key].notnull()).mutate(place=place).filter(_.place == 0).drop("place")


def _report(source: Source, table: ir.Table, kept: ir.Table, key: str, mends: dict[str, tuple]) -> StepReport:
    """Counts the rows of `table` that `kept` lacks, and those mended; mends: name → (condition, why)."""
    rows_in = table.count().to_pyarrow().as_py()
    no_key = table.filter(_[key].isnull()).count().to_pyarrow().as_py()
    conditions = {name: condition for name, (condition, _why) in mends.items()}
    counts = _count(kept, any_mend=_any(conditions), **conditions)
    report = StepReport(source.name, rows_in, counts["rows"], counts["any_mend"], rows_in - counts["rows"])
    if source.stray:
        report.because("note", len(source.stray), f"stray columns dropped: {', '.join(source.stray)}")
    report.because("dropped", no_key, f"{key} is empty or cannot be one")
    report.because(
        "dropped", rows_in - no_key - counts["rows"], f"{key} is there already: the first row is kept"
    )
    for name, (_condition, why) in mends.items():
        report.because("mended", counts[name], why)
    return report


def articles(con: ibis.BaseBackend, folder: Path) -> tuple[ir.Table, StepReport]:
    """Columns: article_id, product_code, prod_name, the attributes, detail_desc; one row an id, no nulls."""
    source = open_csv(con, folder / schema.ARTICLES_CSV, schema.ARTICLE_COLUMNS, schema.ARTICLE_CSV_COLUMNS)
    raw = store(
        con, "raw_articles", source.rows.mutate(**{c: _text(_[c]) for c in source.rows.columns}), source
    )
    raw = raw.mutate(file_row=raw.rowid(), given_id=raw.article_id, article_id=article_id(raw.article_id))
    unique = con.create_table("unique_articles", _deduplicate(raw, "article_id"))
    if not unique.count().to_pyarrow().as_py():
        raise DataError(f"{source.name}: column article_id: no row has an id of up to ten digits")
    digits = schema.PRODUCT_CODE_DIGITS
    no_code = ~_.product_code.re_search(f"^[0-9]{{{digits}}}$").fill_null(False)
    names = {c: _[c].isnull() for c in ("prod_name", *schema.ARTICLE_ATTRIBUTES)}
    mends = {
        "padded": (_.given_id != _.article_id, f"article_id padded to {schema.ARTICLE_ID_DIGITS} digits"),
        "code": (no_code, f"product_code is not {digits} digits: taken from article_id"),
        "described": (_.detail_desc.isnull(), "detail_desc is empty: described from the attributes"),
        **{name: (condition, f"{name} is empty: '{UNKNOWN}'") for name, condition in names.items()},
    }
    report = _report(source, raw, unique, "article_id", mends)
    filled = unique.mutate(**{name: _[name].fill_null(UNKNOWN) for name in names})
    filled = filled.mutate(product_code=ibis.ifelse(no_code, _.article_id.left(digits), _.product_code))
    described = filled.detail_desc.fill_null(
        filled.colour_group_name + " " + filled.product_type_name.lower() + ", "
        + filled.graphical_appearance_name.lower() + ", " + filled.garment_group_name.lower() + ", from "
        + filled.section_name + "."
    )  # fmt: skip
    return filled.mutate(detail_desc=described).select(*schema.ARTICLE_COLUMNS), report


def customers(con: ibis.BaseBackend, folder: Path) -> tuple[ir.Table, StepReport]:
    """Columns: customer_id, age (or null), club_member_status, fashion_news_frequency; one row an id."""
    source = open_csv(
        con, folder / schema.CUSTOMERS_CSV, schema.CUSTOMER_COLUMNS, schema.CUSTOMER_CSV_COLUMNS
    )
    raw = store(
        con, "raw_customers", source.rows.mutate(**{c: _text(_[c]) for c in source.rows.columns}), source
    )
    if _count(raw, bad=_age(raw).isnull())["bad"]:
        _refuse(source, "age", _age, "an age in years")
    youngest, oldest = schema.AGE_RANGE
    age = raw.age.try_cast("float64")
    raw = raw.mutate(
        file_row=raw.rowid(), given_age=age, age=ibis.ifelse(age.between(youngest, oldest), age, None)
    )
    unique = con.create_table("unique_customers", _deduplicate(raw, "customer_id"))
    mends = {
        "no_age": (_.given_age.isnull(), "age is empty: imputed by the median"),
        "bad_age": (
            _.given_age.notnull() & _.age.isnull(),
            f"age is not in {youngest}..{oldest}: imputed by the median",
        ),
        "status": (_.club_member_status.isnull(), "club_member_status is empty: 'ABSENT'"),
        "news": (_.fashion_news_frequency.isnull(), "fashion_news_frequency is empty: 'NONE'"),
    }
    report = _report(source, raw, unique, "customer_id", mends)
    filled = unique.mutate(
        club_member_status=_.club_member_status.fill_null("ABSENT"),
        fashion_news_frequency=_.fashion_news_frequency.fill_null("NONE"),
    )
    return filled.select("customer_id", "age", "club_member_status", "fashion_news_frequency"), report


def transactions(
    con: ibis.BaseBackend, folder: Path, known_articles: ir.Table, known_customers: ir.Table
) -> tuple[ir.Table, StepReport]:
    """Columns as in the file, parsed. Equal rows are all kept: they say that two pieces were bought."""
    source = open_csv(
        con, folder / schema.TRANSACTIONS_CSV, schema.TRANSACTION_COLUMNS, schema.TRANSACTION_CSV_COLUMNS
    )
    raw = store(con, "raw_transactions", _parsed(source.rows), source)
    for column, (parse, expected) in _PARSED.items():
        if _count(raw, bad=raw[column].isnull())["bad"]:
            _refuse(source, column, parse, expected)
    good = raw.semi_join(known_articles, "article_id")
    good = good.left_join(
        known_customers.select(known_id="customer_id"), good.customer_id == known_customers.customer_id
    )
    mends = {
        "padded": (_.padded, f"article_id padded to {schema.ARTICLE_ID_DIGITS} digits"),
        "channel": (_.sales_channel_id.isnull(), "sales_channel_id is no number: 0"),
        "customer": (
            _.known_id.isnull(),
            f"customer is not in {schema.CUSTOMERS_CSV}: added without a profile, age imputed",
        ),
    }
    conditions = {name: condition for name, (condition, _why) in mends.items()}
    counts = _count(good, any_mend=_any(conditions), **conditions)
    rows_in = raw.count().to_pyarrow().as_py()
    if not counts["rows"]:
        raise DataError(f"{source.name}: column article_id: no row's article is in {schema.ARTICLES_CSV}")
    report = StepReport(source.name, rows_in, counts["rows"], counts["any_mend"], rows_in - counts["rows"])
    if source.stray:
        report.because("note", len(source.stray), f"stray columns dropped: {', '.join(source.stray)}")
    report.because("dropped", report.dropped, f"article is not in {schema.ARTICLES_CSV}")
    for name, (_condition, why) in mends.items():
        report.because("mended", counts[name], why)
    good = good.mutate(sales_channel_id=_.sales_channel_id.fill_null(0))
    return good.select(*schema.TRANSACTION_COLUMNS), report


def _day(rows: ir.Table) -> ir.DateColumn:
    """A day, written YYYY-MM-DD, in a year that is believed; otherwise null."""
    text = _text(rows.t_dat)
    day = text.try_cast("date")
    return ibis.ifelse(text.re_search(r"^\d{4}-\d{2}-\d{2}$") & day.year().between(*YEARS), day, None)


def _price(rows: ir.Table) -> ir.FloatingColumn:
    """A finite price, 0 or more; otherwise null."""
    price = rows.price.try_cast("float64")
    return ibis.ifelse((price >= 0) & ~price.isinf() & ~price.isnan(), price, None)


# Columns of a transaction that must have a value: how to parse it, and what is expected.
_PARSED = {
    "t_dat": (_day, f"a date (YYYY-MM-DD, {YEARS[0]} to {YEARS[1]})"),
    "price": (_price, "a price (a number, 0 or more)"),
    "customer_id": (lambda rows: _text(rows.customer_id), "a customer id"),
}


def _parsed(rows: ir.Table) -> ir.Table:
    """The text of transactions as values; null where one cannot be parsed."""
    return rows.select(
        **{column: parse(rows) for column, (parse, _expected) in _PARSED.items()},
        article_id=article_id(rows.article_id),
        padded=rows.article_id.strip() != article_id(rows.article_id),
        sales_channel_id=rows.sales_channel_id.try_cast("int64"),
    )
