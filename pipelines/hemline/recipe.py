"""The recipe's ranker: fourteen features of the customer, the month and the article, and random negatives.

It learns which kind of article sells to whom, and nothing of the candidates that it will be asked about. It
is what `train-ranking --recipe` trains, and what there is where candidates have too little to learn from.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hemline import interactions, ranker
from hemline.ranker import Sets
from hemline.ranking_features import RECIPE
from hemline.report import say
from hemline.schema import ranking_file

PARAMETERS = {"iterations": 100, "depth": 10, "learning_rate": 0.2, "scale_pos_weight": 10}
EARLY_STOPPING_ROUNDS = 5

# What sells changes with the season: older months made the ranker worse on validation, and slower to train. A
# bundle is made for the weeks that follow its data; the month tells the ranker where in its season a request
# is.
SEASON_MONTHS = 2


def sets(work: Path) -> Sets:
    """The ranking sets of the feature pipeline; of training, the season at hand."""
    training, validation, test = (read(work, split) for split in ("train", "validation", "test"))
    training = of_season(training, interactions.window(work)["train_end"])
    return Sets(RECIPE, training, validation, test, PARAMETERS, EARLY_STOPPING_ROUNDS)


def read(work: Path, split: str) -> pa.Table:
    """One split's ranking set, with dictionary-encoded categories."""
    columns = ranker.columns(RECIPE)
    texts = ranker.categories(RECIPE)
    return pq.read_table(work / ranking_file(split), columns=columns.names, read_dictionary=texts).cast(
        columns
    )


def of_season(table: pa.Table, last: str) -> pa.Table:
    """The rows of the SEASON_MONTHS months, of whichever year, that end with the month of an ISO date.

    All rows where these have no purchases, or nothing but purchases.
    """
    angle = np.arctan2(table["month_sin"].to_numpy(), table["month_cos"].to_numpy())
    month = np.round(angle * 6 / np.pi).astype(int)
    season = table.filter(pa.array((int(last[5:7]) - month) % 12 < SEASON_MONTHS))
    if len(np.unique(ranker.labels(season))) == 2:
        return season
    say(f"No purchases to learn from in the {SEASON_MONTHS} months that end {last}: all months are used.")
    return table
