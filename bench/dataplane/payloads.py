"""What the servers are asked: the same values in every protocol, and whether an answer has them."""

import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from protocols import Request, Tensor, v1, v2

WIDTH = 16
ROWS = 100
# What the ranker gets: three numbers and eleven categories for each candidate.
NUMBERS, STRINGS = 3, 11


@dataclass(frozen=True, eq=False)
class Payload:
    """One size of request, for one model."""

    name: str
    model: str
    what: str
    tensors: tuple[Tensor, ...]


def payloads() -> list[Payload]:
    """Small, medium and mixed; always the same values."""
    random = np.random.default_rng(7)

    def matrix(rows: int) -> tuple[Tensor]:
        return (Tensor("input", random.normal(size=(rows, WIDTH)).astype(np.float32)),)

    words = np.array([f"category {number}" for number in range(50)])
    numbers = [random.normal(size=(ROWS, 1)).astype(np.float32) for _ in range(NUMBERS)]
    strings = [random.choice(words, size=(ROWS, 1)) for _ in range(STRINGS)]
    columns = (Tensor(str(number), values) for number, values in enumerate(numbers + strings))
    return [
        Payload("small", "identity", f"FP32 [1,{WIDTH}]", matrix(1)),
        Payload("medium", "identity", f"FP32 [{ROWS},{WIDTH}]", matrix(ROWS)),
        Payload("mixed", "mixed", f"{NUMBERS} FP32 and {STRINGS} BYTES [{ROWS},1]", tuple(columns)),
    ]


def request(payload: Payload, protocol: str) -> Request:
    """The payload in this protocol."""
    if protocol == "V1":
        return v1(payload.model, instances(payload))
    return v2(payload.model, payload.tensors, protocol)


def instances(payload: Payload) -> list:
    """V1 knows no tensors: rows for the one model; for the other a table of rows, and ids for them."""
    rows = [list(row) for row in zip(*(tensor.plain for tensor in payload.tensors), strict=True)]
    if payload.model == "mixed":
        return [{"rows": rows, "ids": [f"{number:010}" for number in range(len(rows))]}]
    values = payload.tensors[0].plain
    return [values[start : start + WIDTH] for start in range(0, len(values), WIDTH)]


def is_identity(payload: Payload, protocol: str, answer: bytes) -> bool:
    """Whether an answer gives back what was sent."""
    if protocol == "V1":
        predictions = json.loads(answer)["predictions"]
        if payload.model == "identity":
            return np.allclose(predictions, instances(payload))
        (sent,), (got,) = instances(payload), predictions
        return got["ids"] == sent["ids"] and np.allclose(got["scores"], [row[0] for row in sent["rows"]])
    if protocol == "V2 JSON":
        outputs = json.loads(answer)["outputs"]
        return len(outputs) == len(payload.tensors) and all(
            same(tensor, output["data"]) for tensor, output in zip(payload.tensors, outputs, strict=True)
        )
    ends = [answer.find(tensor.raw) for tensor in payload.tensors]
    return all(end >= 0 for end in ends) and all(one < other for one, other in pairwise(ends))


def same(tensor: Tensor, data: list) -> bool:
    """Whether these are the tensor's values."""
    return np.allclose(data, tensor.plain) if tensor.datatype == "FP32" else data == tensor.plain
