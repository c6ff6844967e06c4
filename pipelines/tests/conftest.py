"""Shared by the tests: a tiny generated data set, hand-written CSV files, and the real sample, if any."""

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hemline import features, generate, schema
from hemline.postgres_server import PostgresServer

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """Generated data of 12,000 transactions over half a year."""
    out = tmp_path_factory.mktemp("tiny") / "data"
    generate.run(out, size="tiny", seed=42)
    return out


@pytest.fixture(scope="session")
def tiny_work(tiny_data) -> Path:
    """The work directory of the tiny data."""
    work = tiny_data.parent / "work"
    features.run(tiny_data, work, seed=42)
    return work


@pytest.fixture(scope="session")
def hm_data() -> Path:
    """The real sample; it is not part of the repository."""
    folder = Path(os.environ.get("HEMLINE_HM_DATA") or "no-sample-of-hm-data")
    if not (folder / schema.ARTICLES_CSV).is_file():
        pytest.skip(f"no H&M sample in {folder}: set HEMLINE_HM_DATA to test on real data")
    return folder


def rows_of(path: Path) -> list[dict]:
    """All rows of a Parquet file."""
    return pq.read_table(path).to_pylist()


@dataclass
class Shop:
    """Three small CSV files whose rows a test can change before it writes them."""

    folder: Path
    articles: list[dict] = field(default_factory=list)
    customers: list[dict] = field(default_factory=list)
    transactions: list[dict] = field(default_factory=list)

    def write(self) -> Path:
        """Writes the files; columns are those of each file's first row."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {
            schema.ARTICLES_CSV: self.articles,
            schema.CUSTOMERS_CSV: self.customers,
            schema.TRANSACTIONS_CSV: self.transactions,
        }
        for name, rows in files.items():
            with (self.folder / name).open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        return self.folder


@pytest.fixture
def shop(tmp_path) -> Shop:
    """40 articles, 5 customers, and a purchase of each article on each of 40 days."""
    attributes = {name: name.removesuffix("_name").replace("_", " ") for name in schema.ARTICLE_ATTRIBUTES}
    articles = [
        {"article_id": f"0{100_000_000 + i}", "product_code": "0100000", "prod_name": f"Thing {i}"}
        | attributes
        | {"detail_desc": "A thing."}
        for i in range(40)
    ]
    customers = [
        {
            "customer_id": f"c{i}",
            "FN": "",
            "Active": "",
            "club_member_status": "ACTIVE",
            "fashion_news_frequency": "NONE",
            "age": str(20 + 10 * i),
            "postal_code": "p",
        }
        for i in range(5)
    ]
    transactions = [
        {
            "t_dat": f"2020-{1 + i // 28:02d}-{1 + i % 28:02d}",
            "customer_id": f"c{i % 5}",
            "article_id": articles[i]["article_id"],
            "price": "0.05",
            "sales_channel_id": "2",
        }
        for i in range(40)
    ]
    return Shop(tmp_path / "shop", articles, customers, transactions)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL that the tests share."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def postgres_folder(tmp_path) -> Path:
    """Where another may be made."""
    return tmp_path / "another"
