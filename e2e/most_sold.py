"""Bundles that say what is sold to whom, and what the ladder's last rung then answers."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
from under_test import UnderTest, shadow, sign

from hemline import bundle as bundles

COLUMN = "sold_by_age_group"
BOUNDS = [18.0, 25.0, 35.0, 45.0, 55.0, 65.0]
GROUPS = len(BOUNDS) + 1


class MostSold:
    """A copy of the bundle under test with such shares: random ones in tenths, so that there are ties."""

    def __init__(self, under_test: UnderTest, copy: Path) -> None:
        """Writes it."""
        self.bundle = shadow(under_test.bundle, copy)
        table = articles(self.bundle)
        self.ids = table["article_id"].to_pylist()
        drawn = np.random.default_rng(11).normal(size=(len(self.ids), GROUPS))
        self.shares = np.round(drawn, 1).astype(np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(self.shares.ravel()), GROUPS)
        customers = under_test.manifest["customers"] | {"age_groups": BOUNDS}
        rewrite(self.bundle, table.append_column(COLUMN, column), customers=customers)

    def best(self, age: float, without: Collection[str], count: int) -> list[str]:
        """What is most sold to people of an age, of what is not in `without`."""
        group = sum(bound < age for bound in BOUNDS)
        order = np.argsort(-self.shares[:, group], kind="stable")
        eligible = (self.ids[row] for row in order if self.ids[row] not in without)
        return [article for article, _ in zip(eligible, range(count), strict=False)]


def without_most_sold(under_test: UnderTest, copy: Path) -> Path:
    """A copy of the bundle under test that does not say it, as those of before."""
    bundle, manifest = shadow(under_test.bundle, copy), under_test.manifest
    retrieval = {key: value for key, value in manifest["retrieval"].items() if key != "sources"}
    features = [feature for feature in manifest["ranking"]["features"] if "function" not in feature]
    changes = {"retrieval": retrieval, "ranking": manifest["ranking"] | {"features": features}}
    customers = {"default_age": manifest["customers"]["default_age"]}
    rewrite(bundle, articles(bundle), customers=customers, **changes)
    return bundle


def articles(bundle: Path) -> pa.Table:
    """The article table without such shares."""
    with pa.memory_map(str(bundle / bundles.ARTICLES)) as file:
        table = pa.ipc.open_file(file).read_all()
    return table.drop_columns([COLUMN] if COLUMN in table.column_names else [])


def rewrite(bundle: Path, table: pa.Table, **changes: object) -> None:
    """Puts another article table into a shadow, and what its manifest says then."""
    path = bundle / bundles.ARTICLES
    path.unlink()
    bundles.write_arrow(table, path)
    sign(bundle, **changes)
