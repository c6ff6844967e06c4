"""What the servers are asked: the same values in every protocol, and whether an answer has them."""

import json
import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

PROTOCOLS = ("V1", "V2 JSON", "V2 binary", "gRPC")
WIDTH = 16
ROWS = 100
# What the ranker gets: three numbers and eleven categories for each candidate.
NUMBERS, STRINGS = 3, 11
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
BINARY_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named tensor: FP32, or BYTES where the values are strings."""

    name: str
    values: np.ndarray

    @property
    def datatype(self) -> str:
        """The protocol's name for what the values are."""
        return "FP32" if self.values.dtype == np.float32 else "BYTES"

    @property
    def raw(self) -> bytes:
        """The values as binary tensors have them: little endian, strings behind their length."""
        if self.datatype == "FP32":
            return self.values.astype("<f4").tobytes()
        strings = [str(value).encode() for value in self.values.flat]
        return b"".join(struct.pack("<I", len(string)) + string for string in strings)

    @property
    def plain(self) -> list[float | str]:
        """The values, flat, as JSON writes them: numbers with as many digits as FP32 has."""
        if self.datatype == "FP32":
            return [float(str(value)) for value in self.values.flat]
        return [str(value) for value in self.values.flat]


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


@dataclass(frozen=True)
class Request:
    """A payload as one protocol sends it."""

    path: str
    headers: dict[str, str]
    body: bytes


def compact(value: object) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def request(payload: Payload, protocol: str) -> Request:
    """The payload in this protocol."""
    infer = f"/v2/models/{payload.model}/infer"
    if protocol == "V1":
        path = f"/v1/models/{payload.model}:predict"
        return Request(path, {"Content-Type": "application/json"}, compact({"instances": instances(payload)}))
    if protocol == "V2 JSON":
        return Request(infer, {"Content-Type": "application/json"}, compact(v2_json(payload)))
    if protocol == "V2 binary":
        head, tail = v2_binary(payload)
        headers = {"Content-Type": "application/octet-stream", BINARY_HEADER: str(len(head))}
        return Request(infer, headers, head + tail)
    return Request(GRPC_PATH, {}, message(payload))


def instances(payload: Payload) -> list:
    """V1 knows no tensors: rows for the one model; for the other a table of rows, and ids for them."""
    rows = [list(row) for row in zip(*(tensor.plain for tensor in payload.tensors), strict=True)]
    if payload.model == "mixed":
        return [{"rows": rows, "ids": [f"{number:010}" for number in range(len(rows))]}]
    values = payload.tensors[0].plain
    return [values[start : start + WIDTH] for start in range(0, len(values), WIDTH)]


def v2_json(payload: Payload) -> dict:
    """A request with its elements as JSON."""
    inputs = [
        {"name": t.name, "shape": list(t.values.shape), "datatype": t.datatype, "data": t.plain}
        for t in payload.tensors
    ]
    return {"id": "1", "inputs": inputs}


def v2_binary(payload: Payload) -> tuple[bytes, bytes]:
    """A request's JSON, and the elements behind it. The answer is asked for in the same form."""
    inputs = []
    for t in payload.tensors:
        size = {"binary_data_size": len(t.raw)}
        inputs.append(
            {"name": t.name, "shape": list(t.values.shape), "datatype": t.datatype, "parameters": size}
        )
    head = {"id": "1", "parameters": {"binary_data_output": True}, "inputs": inputs}
    return compact(head), b"".join(t.raw for t in payload.tensors)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf that has a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(payload: Payload) -> bytes:
    """A `ModelInferRequest` with raw contents, encoded."""
    parts = [field(1, payload.model.encode()), field(3, b"1")]
    for t in payload.tensors:
        shape = b"".join(varint(dimension) for dimension in t.values.shape)
        parts.append(field(5, field(1, t.name.encode()) + field(2, t.datatype.encode()) + field(3, shape)))
    parts += [field(7, t.raw) for t in payload.tensors]
    return b"".join(parts)


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
