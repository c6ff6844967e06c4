"""What the pairs are asked: the same questions in the same order, in every protocol."""

import csv
import itertools
import random
import struct
from bisect import bisect
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from protocols import Request, Tensor, v1, v2

QUESTIONS = 20_000
UNKNOWN = 0.05  # of the questions are about somebody nobody knows
DAYS = 730
SEED = 7


@dataclass(frozen=True)
class Question:
    """Who, and on which day."""

    customer_id: str
    transaction_date: str

    @property
    def body(self) -> bytes:
        """It as a V1 body."""
        return self.request("V1", "").body

    def request(self, protocol: str, model: str) -> Request:
        """It in a protocol."""
        if protocol == "V1":
            return v1(model, [{"customer_id": self.customer_id, "transaction_date": self.transaction_date}])
        values = {"customer_id": self.customer_id, "transaction_date": self.transaction_date}
        return v2(model, [Tensor(name, np.array([value])) for name, value in values.items()], protocol)


def questions(customers: Path, last: str, count: int = QUESTIONS) -> list[Question]:
    """Customers by Zipf's law over a shuffled list, days of the two years up to `last`."""
    chance = random.Random(SEED)
    with customers.open(newline="") as file:
        known = [row["customer_id"] for row in csv.DictReader(file)]
    chance.shuffle(known)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(known) + 1)))
    end = date.fromisoformat(last)

    def somebody() -> str:
        if chance.random() < UNKNOWN:
            return f"{chance.getrandbits(256):064x}"
        return known[bisect(weights, chance.random() * weights[-1])]

    days = (end - timedelta(days=chance.randrange(DAYS)) for _ in range(count))
    return [Question(somebody(), day.isoformat()) for day in days]


def write(asked: list[Request], file: Path) -> Request:
    """Writes the bodies for the generator. One request, whose path and headers are those of all."""
    bodies = (request.body for request in asked)
    file.write_bytes(b"".join(struct.pack("<I", len(body)) + body for body in bodies))
    first = asked[0]
    if any((request.path, request.headers) != (first.path, first.headers) for request in asked):
        raise ValueError(f"{file}: requests that differ in more than their bodies")
    return first
