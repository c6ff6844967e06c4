"""What came of lists that were shown: each variant's conversion, of customers, with confidence intervals.

A variant is who ordered a list, and the bundle that it was made by: both stand in the list's id, which a shop
tells with its events. A customer converts who clicks, or buys, an article within some days after it was shown
to them. Customers to whom several variants were shown say nothing of either, and are left out and counted.
"""

import json
import math
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass

from rich.table import Table

from hemline.errors import DataError
from hemline.report import console, say
from hemline.stores import Exposure, open_store

Z = 1.959964  # of 95 %
KINDS = ("clicks", "purchases")


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Variant:
    """What was shown by one variant, and what came of it."""

    ranker: str
    bundle: str
    customers: int
    lists: int
    articles: int  # shown, each list's counted
    clicks: Rate  # share of the customers who clicked
    purchases: Rate  # share of the customers who bought
    clicks_minus_control: Rate | None
    purchases_minus_control: Rate | None


def report(store: str, since: str | None, within: int, control: str | None, as_json: bool) -> dict:
    """Print the report of a store, and return it.

    `since` is an ISO date; `within` how many days after it was shown an article may be clicked or bought;
    `control` the variant, or the ranker, that others are compared with: by default the one with most
    customers. Raises DataError where nothing was shown, or nothing of the control.
    """
    with open_store(store) as opened:
        found = measure(opened.exposures(since, within), control)
    if as_json:
        print(json.dumps(found, indent=2))
        return found
    _show(found, within)
    return found


def measure(exposures: list[Exposure], control: str | None = None) -> dict:
    """The report: `variants`, and how many `customers_of_several` were left out."""
    seen = Counter(exposure.customer_id for exposure in exposures)
    by_variant: dict[str, list[Exposure]] = defaultdict(list)
    for exposure in exposures:
        if seen[exposure.customer_id] == 1:
            by_variant[exposure.variant].append(exposure)
    if not by_variant:
        raise DataError("no list was shown, or every customer was shown lists of several variants")
    names = sorted(by_variant, key=lambda name: (-len(by_variant[name]), name))
    first = _control(names, control)
    names.sort(key=lambda name: name != first)
    variants = [
        _variant(name, by_variant[name], by_variant[first] if name != first else None) for name in names
    ]
    several = sum(count > 1 for count in seen.values())
    return {"variants": [asdict(variant) for variant in variants], "customers_of_several": several}


def _control(names: list[str], wanted: str | None) -> str:
    found = [name for name in names if wanted in (None, name, name.rpartition("@")[0])]
    if not found:
        raise DataError(f"--control: nothing was shown by {wanted!r}, only by {', '.join(names)}")
    return found[0]


def _variant(name: str, own: list[Exposure], control: list[Exposure] | None) -> Variant:
    ranker, _, bundle = name.rpartition("@")
    clicked, bought = _counts(own)
    differences = (None, None)
    if control is not None:
        others = _counts(control)
        differences = tuple(
            difference(count, len(own), other, len(control))
            for count, other in zip((clicked, bought), others, strict=True)
        )
    return Variant(
        ranker=ranker,
        bundle=bundle,
        customers=len(own),
        lists=sum(exposure.lists for exposure in own),
        articles=sum(exposure.articles for exposure in own),
        clicks=rate(clicked, len(own)),
        purchases=rate(bought, len(own)),
        clicks_minus_control=differences[0],
        purchases_minus_control=differences[1],
    )


def _counts(exposures: list[Exposure]) -> tuple[int, int]:
    return sum(e.clicked for e in exposures), sum(e.bought for e in exposures)


def rate(count: int, of: int) -> Rate:
    """A share with Wilson's score interval, which is right for few and for rare ones too."""
    share = count / of
    middle = (share + Z**2 / (2 * of)) / (1 + Z**2 / of)
    half = Z * math.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2)) / (1 + Z**2 / of)
    return Rate(share, max(0.0, middle - half), min(1.0, middle + half))


def difference(count: int, of: int, control: int, of_control: int) -> Rate:
    """The difference of two shares with Newcombe's interval, made of the two score intervals."""
    own, other = rate(count, of), rate(control, of_control)
    apart = own.share - other.share
    below = math.hypot(own.share - own.low, other.high - other.share)
    above = math.hypot(own.high - own.share, other.share - other.low)
    return Rate(apart, apart - below, apart + above)


def _show(found: dict, within: int) -> None:
    table = Table(
        title=f"What came of lists, within {within} days; shares of customers, 95 %", title_justify="left"
    )
    for place, name in enumerate(("ranker", "bundle", "customers", "lists", "clicked", "bought")):
        table.add_column(name, justify="right" if place > 1 else "left")
    for kind in KINDS:
        table.add_column(f"{kind} − control", justify="right")
    for variant in found["variants"]:
        rates = [_percent(variant[kind]) for kind in KINDS]
        apart = [_percent(variant[f"{kind}_minus_control"], "+") for kind in KINDS]
        counts = (f"{variant['customers']:,}", f"{variant['lists']:,}")
        table.add_row(variant["ranker"], variant["bundle"], *counts, *rates, *apart)
    console().print(table)
    say(f"Left out: {found['customers_of_several']:,} customers who were shown lists of several variants.")
    for variant in found["variants"][1:]:
        for kind in KINDS:
            say(f"{variant['ranker']}: {kind} {_verdict(variant[f'{kind}_minus_control'])}.")


def _percent(rate: dict | None, sign: str = "") -> str:
    if rate is None:
        return "control"
    return f"{rate['share']:{sign}.2%} [{rate['low']:{sign}.2%}, {rate['high']:{sign}.2%}]"


def _verdict(apart: dict) -> str:
    if apart["low"] > 0:
        return "are more than the control's"
    return "are fewer than the control's" if apart["high"] < 0 else "can't be told from the control's"
