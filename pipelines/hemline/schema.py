"""Names and types: the H&M schema that comes in, and the work directory that goes out.

In: `articles.csv`, `customers.csv` and `transactions_train.csv`, as in the H&M Personalized Fashion
Recommendations data set. Columns are found by name; those not listed here are dropped, and reported.

Out, the work directory. Every step reads and writes the same one:

`articles.parquet`, sorted by article_id
    article_id, product_code (text, with the leading zero), prod_name, the eleven `ARTICLE_ATTRIBUTES`,
    detail_desc (never empty), description (the text for semantic search), image (path in H&M's image set),
    first_seen (date of the first transaction, or null).
`customers.parquet`, sorted by customer_id
    customer_id, age (years; imputed where unknown), age_known, age_group, club_member_status,
    fashion_news_frequency, profile (false: known from transactions only).
`transactions.parquet`, sorted by t_dat, customer_id, article_id, price
    t_dat (date), customer_id, article_id, price, sales_channel_id, year, month, day,
    day_of_week (0 = Monday), month_sin, month_cos, split ('train', 'validation' or 'test').
`ranking_{train,validation,test}.parquet`
    customer_id, article_id, label (1 = bought), then `RANKING_FEATURES` in order. Those of train are of the
    `SEASON_MONTHS` months, of whichever year, that end with the month of the last training day.
`oracle.parquet`, only where the data are generated
    customer_id, article_id, rank (1..100), probability: the true best articles of the test days.
`features.json`, written last: a directory without it is unfinished
    seed, default_age, counts {articles, customers, transactions}, files {name: SHA-256}, and
    window {first, train_end, validation_end, test_start, test_end, split: 'temporal' or 'random'}.
"""

import numpy as np

ARTICLES_CSV = "articles.csv"
CUSTOMERS_CSV = "customers.csv"
TRANSACTIONS_CSV = "transactions_train.csv"

ARTICLES = "articles.parquet"
CUSTOMERS = "customers.parquet"
TRANSACTIONS = "transactions.parquet"
ORACLE = "oracle.parquet"
GENERATED_JSON = "generated.json"  # beside generated CSV files only: seed, counts, days of the oracle
FEATURES_JSON = "features.json"
SPLITS = ("train", "validation", "test")


def ranking_file(split: str) -> str:
    """File name of one split's ranking set."""
    return f"ranking_{split}.parquet"


ARTICLE_ATTRIBUTES = (
    "product_type_name",
    "product_group_name",
    "graphical_appearance_name",
    "colour_group_name",
    "perceived_colour_value_name",
    "perceived_colour_master_name",
    "department_name",
    "index_name",
    "index_group_name",
    "section_name",
    "garment_group_name",
)

# Name and KServe datatype, in the order in which every ranker gets them.
RANKING_FEATURES = (
    ("age", "FP32"),
    ("month_sin", "FP32"),
    ("month_cos", "FP32"),
    *((name, "BYTES") for name in ARTICLE_ATTRIBUTES),
)

# The ranker learns from these last months of training only: what sells changes with the season.
SEASON_MONTHS = 2

# The columns that the pipelines need; a file without one of them is refused.
ARTICLE_COLUMNS = ("article_id", "product_code", "prod_name", *ARTICLE_ATTRIBUTES, "detail_desc")
CUSTOMER_COLUMNS = ("customer_id", "club_member_status", "fashion_news_frequency", "age")
TRANSACTION_COLUMNS = ("t_dat", "customer_id", "article_id", "price", "sales_channel_id")

# Everything that H&M's files have, in their order: what the generator writes, and what is not "stray".
ARTICLE_CSV_COLUMNS = (
    "article_id",
    "product_code",
    "prod_name",
    "product_type_no",
    "product_type_name",
    "product_group_name",
    "graphical_appearance_no",
    "graphical_appearance_name",
    "colour_group_code",
    "colour_group_name",
    "perceived_colour_value_id",
    "perceived_colour_value_name",
    "perceived_colour_master_id",
    "perceived_colour_master_name",
    "department_no",
    "department_name",
    "index_code",
    "index_name",
    "index_group_no",
    "index_group_name",
    "section_no",
    "section_name",
    "garment_group_no",
    "garment_group_name",
    "detail_desc",
)
CUSTOMER_CSV_COLUMNS = (
    "customer_id",
    "FN",
    "Active",
    "club_member_status",
    "fashion_news_frequency",
    "age",
    "postal_code",
)
TRANSACTION_CSV_COLUMNS = TRANSACTION_COLUMNS

ARTICLE_ID_DIGITS = 10
PRODUCT_CODE_DIGITS = 7

# Youngest and oldest age that is believed; others are imputed.
AGE_RANGE = (10, 110)
# Upper bound (inclusive, years) of each age group; the last one is open.
AGE_GROUPS = ((18, "0-18"), (25, "19-25"), (35, "26-35"), (45, "36-45"), (55, "46-55"), (65, "56-65"))
OLDEST_AGE_GROUP = "66+"
AGE_GROUP_COUNT = len(AGE_GROUPS) + 1


def age_group_numbers(ages: np.ndarray) -> np.ndarray:
    """Number of the age group of each age in years: how many groups' bounds are below it."""
    return np.searchsorted([bound for bound, _ in AGE_GROUPS], ages)
