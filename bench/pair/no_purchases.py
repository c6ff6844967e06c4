"""Makes a work directory whose `hemline load` gives a store of customers who bought nothing.

Hemline leaves out what a customer bought, which the peers don't know. Without purchases all of them have the
same to do, and the same answer.
"""

import argparse
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from hemline import schema


def main() -> None:
    """Copies what `hemline load` reads, with all rows of purchases left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a work directory after `hemline features`")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in (schema.FEATURES_JSON, schema.CUSTOMERS):
        shutil.copyfile(args.work / name, args.out / name)
    purchases = pq.read_schema(args.work / schema.TRANSACTIONS).empty_table()
    pq.write_table(purchases, args.out / schema.TRANSACTIONS)


if __name__ == "__main__":
    main()
