"""What the ranker is told of each candidate: every feature is defined once, here, and stands in the manifest.

A definition has a name and a datatype. One without a function is by its name what it always was: age,
month_sin and month_cos of the request, or a text of the article. The functions, some of which read a `column`
of the article table (of the feature's own name where they do not say):

column               the article's number
age_group_column     the number of the customer's age group, of a column with one for each
retrieval_score      inner product of the query and the article's embedding
retrieval_rank       place among the candidates by that score, from 0
alike                how much it is like what was touched, as candidates are found by it
history_weight       log(1 + what the history weighs)
history_days         log(1 + days since the last touch); of a year where there was none
history_gap          the article's number, less its weighted mean over the history; 0 without one
history_share        share of the history's weight that has the article's text of the column
history_similarity   largest cosine of the article's embedding and one of the history's; -1 without one

The transformer computes the same (`transformer/src/features/`).
"""

from dataclasses import dataclass

import numpy as np

from hemline.candidates import Candidates
from hemline.history import History
from hemline.schema import RANKING_FEATURES
from hemline.signals import NUMBERS, Signals

NO_TOUCH_DAYS = 365
# What a customer may have a liking for. The finer colours and the index group say little that these do not.
SHARED = (
    "product_type_name",
    "graphical_appearance_name",
    "colour_group_name",
    "perceived_colour_master_name",
    "department_name",
    "index_name",
    "section_name",
    "garment_group_name",
)

Feature = dict[str, str]


def _number(name: str, function: str, column: str | None = None) -> Feature:
    return {"name": name, "datatype": "FP32", "function": function} | ({"column": column} if column else {})


# In the order in which a ranker gets them; the recipe's come first.
RECIPE = tuple({"name": name, "datatype": datatype} for name, datatype in RANKING_FEATURES)
FEATURES = (
    *RECIPE,
    *(_number(name, name) for name in ("retrieval_score", "retrieval_rank", "alike")),
    *(_number(name, "column") for name in NUMBERS),
    _number("sold_to_age_group", "age_group_column", "sold_by_age_group"),
    _number("history_weight", "history_weight"),
    _number("history_days", "history_days"),
    _number("history_similarity", "history_similarity"),
    _number("price_gap", "history_gap", "log_price"),
    *(_number(f"share_of_{name}", "history_share", name) for name in SHARED),
)


@dataclass(frozen=True)
class Profiles:
    """Who is asked about: n customers."""

    age: np.ndarray  # years, float32 [n]
    age_group: np.ndarray  # number of it, [n]
    month: int  # of the request, 1 to 12
    history: History


@dataclass(frozen=True)
class Table:
    """What is known of A articles."""

    signals: Signals
    codes: dict[str, np.ndarray]  # of each text, int32 [A]
    items: np.ndarray  # embeddings, float32 [A, D]


def compute(
    features: tuple[Feature, ...], found: Candidates, profiles: Profiles, table: Table
) -> dict[str, np.ndarray]:
    """These features of each candidate by name: float32 [pairs], and of texts their codes, int32 [pairs]."""
    return {f["name"]: _values(f, found, profiles, table) for f in features}


def _values(feature: Feature, found: Candidates, profiles: Profiles, table: Table) -> np.ndarray:
    name, customer, article, history = feature["name"], found.customer, found.article, profiles.history
    numbers, function, column = (
        table.signals.numbers,
        feature.get("function", name),
        feature.get("column", name),
    )
    weight = history.weights.sum(axis=1)
    touched = weight > 0
    match function:
        case _ if feature["datatype"] == "BYTES":
            return table.codes[name][article]
        case "age":
            values = profiles.age[customer]
        case "month_sin" | "month_cos":
            angle = 2 * np.pi * profiles.month / 12
            values = np.full(len(article), np.sin(angle) if function == "month_sin" else np.cos(angle))
        case "retrieval_score":
            values = found.score
        case "retrieval_rank":
            values = found.rank
        case "alike":
            values = found.alike
        case "column":
            values = numbers[column][article]
        case "age_group_column":
            values = table.signals.sold_by_age_group[article, profiles.age_group[customer]]
        case "history_weight":
            values = np.log1p(weight)[customer]
        case "history_days":
            values = np.log1p(np.where(touched, history.days[:, 0], NO_TOUCH_DAYS))[customer]
        case "history_gap":
            mean = (numbers[column][history.articles] * history.weights).sum(axis=1) / np.where(
                touched, weight, 1
            )
            values = np.where(touched[customer], numbers[column][article] - mean[customer], 0)
        case "history_share":
            values = _share(table.codes[column], history, customer, article)
        case "history_similarity":
            values = _similarity(table.items, history, customer, article)
        case _:
            raise ValueError(f"feature {name}: no function {function!r}")
    return values.astype(np.float32)


def _share(codes: np.ndarray, history: History, customer: np.ndarray, article: np.ndarray) -> np.ndarray:
    """Share of the weight of touches with the article's value, [pairs]."""
    weight, n = history.weights.sum(axis=1), len(history.weights)
    values = int(codes.max(initial=0)) + 1
    keys = np.arange(n)[:, None] * values + codes[history.articles]
    total = np.bincount(keys.ravel(), history.weights.ravel(), n * values).reshape(n, values)
    return total[customer, codes[article]] / np.where(weight > 0, weight, 1)[customer]


def _similarity(items: np.ndarray, history: History, customer: np.ndarray, article: np.ndarray) -> np.ndarray:
    """Largest cosine of each article's embedding and one of its customer's history, [pairs]."""
    unit = items / np.maximum(np.linalg.norm(items, axis=1, keepdims=True), 1e-12)
    best = np.full(len(customer), -1, np.float32)
    for place in range(history.weights.shape[1]):
        seen = (history.weights[:, place] > 0)[customer]
        others = unit[history.articles[:, place]][customer[seen]]
        best[seen] = np.maximum(best[seen], np.einsum("pd,pd->p", unit[article[seen]], others))
    return best
