"""A running server as a client knows it, and a good request to it with the answer that is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
import numpy as np

NUMPY = {"FP32": np.float32, "INT32": np.int32, "BYTES": np.object_}
# Texts that a client or a server could get wrong: no ASCII, a quote, nothing at all.
WORDS = ("Trousers", 'Köln "✂"', "")

# What `Served.mistakes` has.
MISTAKES = ("a missing input", "a wrong datatype", "a wrong shape")


@dataclass(frozen=True)
class Column:
    """An input or output: datatype, shape and values."""

    datatype: str
    values: np.ndarray

    @property
    def shape(self) -> list[int]:
        """How many of what."""
        return list(self.values.shape)

    @property
    def flat(self) -> list:
        """Values as JSON has them."""
        return self.values.reshape(-1).tolist()


@dataclass(frozen=True)
class Served:
    """A server, its model, and a question that it answers."""

    rest: str
    grpc: str
    model: str
    question: dict[str, Column]
    instance: dict
    # Outputs that are in an answer only where the request names them.
    on_request: frozenset[str] = frozenset()

    @property
    def url(self) -> str:
        """Where REST is."""
        return f"http://{self.rest}"

    @cached_property
    def metadata(self) -> dict:
        """What the model says of itself."""
        return httpx.get(f"{self.url}/v2/models/{self.model}").json()

    @property
    def version(self) -> str:
        """The version that answers."""
        (version,) = self.metadata["versions"]
        return version

    @cached_property
    def answer(self) -> dict[str, Column]:
        """The right answer to the question, by the plainest request there is."""
        return columns(self.post(f"/v2/models/{self.model}/infer", self.body()))

    @cached_property
    def predictions(self) -> list:
        """The right answer to the instance."""
        return self.post(f"/v1/models/{self.model}:predict", self.v1_body())["predictions"]

    @property
    def first(self) -> str:
        """The question's first input, with which something is wrong in `mistakes`."""
        return next(iter(self.question))

    @property
    def mistakes(self) -> dict[str, dict[str, Column]]:
        """The question with something wrong, by what it is."""
        rest = {name: column for name, column in self.question.items() if name != self.first}
        column = self.question[self.first]
        numbers = Column("INT32", np.zeros(column.shape, np.int32))
        deeper = Column(column.datatype, column.values[..., None])
        wrong = [rest, {self.first: numbers} | rest, {self.first: deeper} | rest]
        return dict(zip(MISTAKES, wrong, strict=True))

    def body(self) -> dict:
        """The question as V2 JSON."""
        return {"inputs": [json_tensor(name, column) for name, column in self.question.items()]}

    def v1_body(self) -> dict:
        """The instance as V1 has it."""
        return {"instances": [self.instance]}

    def post(self, path: str, body: dict) -> dict:
        """A good answer to a JSON body."""
        answer = httpx.post(self.url + path, json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass(frozen=True)
class Controlled:
    """A server that may be told to load and unload, the file that it loads, and what is in it at first."""

    served: Served
    file: Path
    good: bytes

    def spoil(self) -> None:
        """Half a model lies there from now on."""
        self.file.write_bytes(self.good[: len(self.good) // 2])

    def restore(self) -> None:
        """The good model lies there, and is loaded."""
        self.file.write_bytes(self.good)
        self.served.post(f"/v2/repository/models/{self.served.model}/load", {})


def json_tensor(name: str, column: Column) -> dict:
    """A tensor as V2 JSON has it."""
    return {"name": name, "shape": column.shape, "datatype": column.datatype, "data": column.flat}


def columns(body: dict) -> dict[str, Column]:
    """The outputs of a V2 JSON answer."""
    return {
        output["name"]: Column(
            output["datatype"], np.array(output["data"], NUMPY[output["datatype"]]).reshape(output["shape"])
        )
        for output in body["outputs"]
    }


def check(found: dict[str, np.ndarray], wanted: dict[str, Column], only: Sequence[str] = ()) -> None:
    """The outputs that a client read are the right ones: all of them, or only those, in that order."""
    assert list(found) == (list(only) or list(wanted))
    for name, values in found.items():
        column = wanted[name]
        assert list(values.shape) == column.shape
        if column.datatype == "BYTES":
            assert [text(value) for value in values.reshape(-1)] == column.flat
        else:
            assert values.dtype == NUMPY[column.datatype]
            np.testing.assert_allclose(values, column.values, atol=1e-7)


def text(value: str | bytes) -> str:
    """A BYTES element, which clients show as text or as bytes."""
    return value.decode() if isinstance(value, bytes) else value
