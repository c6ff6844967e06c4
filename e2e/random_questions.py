"""Random questions, and who may be in the answers: computed apart, from articles.arrow and a store."""

import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from stores import TestStore
from under_test import CANDIDATES

from hemline import bundle as bundles

PRICE, ID, NAME = "price", "article_id", "prod_name"
_OWNED_OR_UNWANTED = """
SELECT customer_id, article_id FROM hemline.history JOIN hemline.customers USING (customer_key)
UNION ALL
SELECT customer_id, article_id FROM hemline.interactions WHERE kind IN ('purchase', 'dismiss')
"""


class Shelf:
    """The articles of a bundle by their columns."""

    def __init__(self, bundle: Path) -> None:
        """Reads articles.arrow as docs/bundle.md describes it."""
        with pa.memory_map(str(bundle / bundles.ARTICLES)) as file:
            table = pa.ipc.open_file(file).read_all()
        self.ids = table[ID].to_pylist()
        self.row = {article: row for row, article in enumerate(self.ids)}
        texts = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        self.texts = {name: table[name].to_pylist() for name in [ID, NAME, *texts]}
        # Equal texts have equal codes: numbers are compared in a moment.
        self._codes = {name: np.unique(column, return_inverse=True) for name, column in self.texts.items()}
        self._code = {name: {t: c for c, t in enumerate(values)} for name, (values, _) in self._codes.items()}
        self.prices = table[PRICE].to_numpy()

    def rows(self, articles) -> np.ndarray:
        """Rows of ids; those that are no article's are left out."""
        return np.array([self.row[article] for article in articles if article in self.row], dtype=np.int64)

    def matching(self, conditions: dict) -> np.ndarray:
        """Which articles meet a filter: bool [articles]."""
        found = np.ones(len(self.ids), bool)
        for column, condition in conditions.items():
            found &= self._prices(condition) if column == PRICE else self._among(column, condition)
        return found

    def _prices(self, condition: float | dict) -> np.ndarray:
        """A price that is not known is in no range."""
        condition = condition if isinstance(condition, dict) else {"gte": condition, "lte": condition}
        compare = {"gte": np.greater_equal, "gt": np.greater, "lte": np.less_equal, "lt": np.less}
        found = ~np.isnan(self.prices)
        for operator, bound in condition.items():
            found &= compare[operator](self.prices, np.float32(bound))
        return found

    def _among(self, column: str, condition: str | dict) -> np.ndarray:
        condition = condition if isinstance(condition, dict) else {"in": [condition]}
        _, codes = self._codes[column]
        found = np.ones(len(codes), bool)
        for operator, texts in condition.items():
            texts = [texts] if isinstance(texts, str) else texts
            named = np.isin(codes, [self._code[column].get(text, -1) for text in texts])
            found &= named if operator == "in" else ~named
        return found


class Eligibility:
    """Who may be recommended what, as a store says now."""

    def __init__(self, shelf: Shelf, store: TestStore) -> None:
        """Reads all of the store."""
        self.shelf = shelf
        self.gone: dict[str, list[str]] = defaultdict(list)
        for customer, article in store.rows(_OWNED_OR_UNWANTED):
            self.gone[customer].append(article)
        self.sold_out = [
            article for (article,) in store.rows("SELECT article_id FROM hemline.stock WHERE quantity = 0")
        ]

    def of(self, question: dict) -> set[str]:
        """The articles that may be in the answer."""
        eligible = self.shelf.matching(question.get("filter", {}))
        for articles in (self.gone[question["customer_id"]], self.sold_out, question.get("exclude", [])):
            eligible[self.shelf.rows(articles)] = False
        return {self.shelf.ids[row] for row in np.flatnonzero(eligible)}


class Questions:
    """Makes questions, always the same ones for a seed."""

    def __init__(self, shelf: Shelf, customers: list[str], date: str, seed: int = 7) -> None:
        """About these customers."""
        self.shelf, self.customers, self.date = shelf, customers, date
        self.random = random.Random(seed)

    def question(self) -> dict:
        """Somebody's, with any of what a question may have."""
        month = f"{self.date[:5]}{self.random.randint(1, 12):02}-15"
        asked = {"customer_id": self.random.choice(self.customers), "transaction_date": month}
        may_have = {
            "k": lambda: self.random.choice([1, 5, 12, 50, CANDIDATES, self.random.randint(1, CANDIDATES)]),
            "exclude": lambda: self.articles(self.random.choice([1, 20, 300])),
            "history": lambda: self.articles(self.random.choice([1, 5, 60])),
            "age": lambda: self.random.randint(16, 90),
            "filter": self.filter,
        }
        return asked | {name: make() for name, make in may_have.items() if self.random.random() < 0.5}

    def articles(self, count: int) -> list[str]:
        """Ids, and one that nobody has."""
        return ["no such article", *self.random.sample(self.shelf.ids, min(count, len(self.shelf.ids)))]

    def filter(self) -> dict:
        """Up to three conditions: narrow, broad, on texts and on the price."""
        columns = self.random.sample([PRICE, *self.shelf.texts], self.random.randint(0, 3))
        return {column: self.on_price() if column == PRICE else self.on_text(column) for column in columns}

    def on_price(self) -> float | dict:
        """Bounds that are articles' own prices, so that it matters whether they count."""
        prices = self.shelf.prices[~np.isnan(self.shelf.prices)]
        low, high = sorted(float(self.random.choice(prices)) for _ in range(2))
        bounds = [low, {"gte": low}, {"lt": high}, {"gt": low, "lte": high}, {"gte": low, "lt": high}]
        return self.random.choice(bounds)

    def on_text(self, column: str) -> str | dict:
        """Values that articles have, frequent ones more often, and one that none has."""
        count = self.random.choice([1, 3, 200 if column in (ID, NAME) else 5])
        values = [self.random.choice(self.shelf.texts[column]) for _ in range(count)]
        unknown = [*values, "nothing is called so"]
        return self.random.choice(
            [
                values[0],
                {"in": unknown},
                {"not": values[0]},
                {"not_in": unknown},
                {"in": values, "not_in": values[:1]},
            ]
        )
