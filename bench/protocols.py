"""KServe's protocols as bytes: the same tensors in V2 as JSON, V2 with binary tensors, and gRPC."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROTOCOLS = ("V1", "V2 JSON", "V2 binary", "gRPC")
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
BINARY_HEADER = "Inference-Header-Content-Length"
JSON = {"Content-Type": "application/json"}


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


@dataclass(frozen=True)
class Request:
    """A payload as one protocol sends it."""

    path: str
    headers: dict[str, str]
    body: bytes


def compact(value: object) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def v1(model: str, instances: list) -> Request:
    """V1 knows no tensors."""
    return Request(f"/v1/models/{model}:predict", JSON, compact({"instances": instances}))


def v2(model: str, tensors: Sequence[Tensor], protocol: str) -> Request:
    """Tensors in one of the other protocols."""
    infer = f"/v2/models/{model}/infer"
    if protocol == "V2 JSON":
        return Request(infer, JSON, compact(v2_json(tensors)))
    if protocol == "V2 binary":
        head, tail = v2_binary(tensors)
        headers = {"Content-Type": "application/octet-stream", BINARY_HEADER: str(len(head))}
        return Request(infer, headers, head + tail)
    return Request(GRPC_PATH, {}, message(model, tensors))


def v2_json(tensors: Sequence[Tensor]) -> dict:
    """A request with its elements as JSON."""
    inputs = [
        {"name": t.name, "shape": list(t.values.shape), "datatype": t.datatype, "data": t.plain}
        for t in tensors
    ]
    return {"id": "1", "inputs": inputs}


def v2_binary(tensors: Sequence[Tensor]) -> tuple[bytes, bytes]:
    """A request's JSON, and the elements behind it. The answer is asked for in the same form."""
    inputs = []
    for t in tensors:
        size = {"binary_data_size": len(t.raw)}
        inputs.append(
            {"name": t.name, "shape": list(t.values.shape), "datatype": t.datatype, "parameters": size}
        )
    head = {"id": "1", "parameters": {"binary_data_output": True}, "inputs": inputs}
    return compact(head), b"".join(t.raw for t in tensors)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf that has a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(model: str, tensors: Sequence[Tensor]) -> bytes:
    """A `ModelInferRequest` with raw contents, encoded."""
    parts = [field(1, model.encode()), field(3, b"1")]
    for t in tensors:
        shape = b"".join(varint(dimension) for dimension in t.values.shape)
        parts.append(field(5, field(1, t.name.encode()) + field(2, t.datatype.encode()) + field(3, shape)))
    parts += [field(7, t.raw) for t in tensors]
    return b"".join(parts)
