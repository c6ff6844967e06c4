"""Which sections sell to women and which to men, by the names that H&M's schema has for them.

A section's own name says it first ("Womens Casual", "Men H&M Sport"), then its index ("Ladies Accessories"),
then its index group ("Menswear"). What is for children is offered to neither. Where no name says anything
("Divided", "Sport"), the garments do, of all such sections of the index group: a tenth of dresses, skirts and
blouses is women's, and with fewer the sections sell to both.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hemline.schema import ARTICLES

WOMEN, MEN = "women", "men"
BOTH = frozenset({WOMEN, MEN})
NEITHER: frozenset[str] = frozenset()
# From the most telling to the least.
NAMES = ("section_name", "index_name", "index_group_name")
CHILDRENS = re.compile(r"\b(kids?|bab(y|ies)|child(ren)?s?|boys?|girls?|teens?|newborns?)\b", re.IGNORECASE)
WOMENS = re.compile(
    r"\b(wom[ae]n('?s)?|lad(y|ies|ieswear)|womenswear|lingeries?|mama|maternity)\b", re.IGNORECASE
)
MENS = re.compile(r"\b(m[ae]n('?s)?|menswear|gentlem[ae]n)\b", re.IGNORECASE)
WOMENS_GARMENTS = re.compile(r"dress\b|\bskirt\b|\bblouse\b", re.IGNORECASE)
WOMENS_SHARE = 0.1


def sections(work: Path) -> dict[str, list[str]]:
    """For each gender the names of the sections whose articles may be offered to them, sorted."""
    return of_articles(pq.read_table(work / ARTICLES, columns=[*NAMES, "product_type_name"]))


def of_articles(articles: pa.Table) -> dict[str, list[str]]:
    """The same of a table with the columns NAMES and `product_type_name`.

    A section of several indexes is offered to whom most of its articles are.
    """
    told = articles.append_column("womens", _matches(articles["product_type_name"], WOMENS_GARMENTS))
    told = told.group_by(list(NAMES)).aggregate([("womens", "sum"), ("womens", "count")]).to_pylist()
    silent = [row for row in told if of_names(row[name] for name in NAMES) is None]
    by_garments = {row["index_group_name"]: _by_garments(silent, row["index_group_name"]) for row in silent}
    counts: dict[str, dict[frozenset[str], int]] = {}
    for row in sorted(told, key=lambda row: [row[name] for name in NAMES]):
        named = of_names(row[name] for name in NAMES)
        genders = by_garments[row["index_group_name"]] if named is None else named
        votes = counts.setdefault(row["section_name"], {})
        votes[genders] = votes.get(genders, 0) + row["womens_count"]
    offered = {section: max(votes, key=votes.__getitem__) for section, votes in counts.items()}
    return {
        gender: sorted(s for s, genders in offered.items() if gender in genders) for gender in (WOMEN, MEN)
    }


def of_names(names: Iterable[str]) -> frozenset[str] | None:
    """Whom the first of the names that says anything names; None where none does."""
    for name in names:
        if CHILDRENS.search(name):
            return NEITHER
        told = frozenset(g for g, words in ((WOMEN, WOMENS), (MEN, MENS)) if words.search(name))
        if told:
            return told
    return None


def _by_garments(rows: list[dict], group: str) -> frozenset[str]:
    """Whom the sections of an index group sell to, of which no name tells."""
    of_group = [row for row in rows if row["index_group_name"] == group]
    womens, articles = (sum(row[f"womens_{name}"] for row in of_group) for name in ("sum", "count"))
    return frozenset({WOMEN}) if womens >= WOMENS_SHARE * articles else BOTH


def _matches(names: pa.ChunkedArray, words: re.Pattern[str]) -> pa.Array:
    """1 for each name in which one of the words is, else 0."""
    known = pc.unique(names.cast(pa.string()))
    found = pa.array([int(bool(words.search(name))) for name in known.to_pylist()], pa.int64())
    return found.take(pc.index_in(names.cast(pa.string()).combine_chunks(), known))
