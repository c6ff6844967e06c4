"""The sentence encoder all-MiniLM-L6-v2 as an ONNX graph, composed node by node from its weights.

BERT with six layers (Devlin et al. 2019; distilled as MiniLM, Wang et al. 2020), then the mean of the tokens'
vectors and L2 normalisation, as sentence-transformers does them: all of it inside the graph, so that whoever
runs it needs the tokeniser and nothing else.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, LAYERS, HEADS = 384, 6, 12
MAX_TOKENS = 256
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "sentence_embedding"
OPSET, IR_VERSION = 20, 9
LAYER_NORM_EPSILON = 1e-12
# What is added to the score of a token that is not there: e to its power is 0.
ABSENT = -1e9
SMALLEST_LENGTH = 1e-12


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The FP32 tensors of a safetensors file: a header's length (u64), the header (JSON), then the bytes."""
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int(content[:8].view("<u8")[0])
    header = json.loads(bytes(content[8:start]))
    return {
        name: content[start + told["data_offsets"][0] : start + told["data_offsets"][1]]
        .view("<f4")
        .reshape(told["shape"])
        for name, told in header.items()
        if name != "__metadata__" and told["dtype"] == "F32"
    }


def encoder(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The graph: INT64 `input_ids` and `attention_mask` [B, L ≤ 256] → unit vectors FP32 [B, 384]."""
    graph = _Graph()
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)  # [B, L]
    absent = graph.node("Mul", [graph.node("Sub", [graph.number(1), mask]), graph.number(ABSENT)])
    absent = graph.node("Unsqueeze", [absent, graph.integers(1, 2)])  # [B, 1, 1, L]
    x = _tokens(graph, weights)
    for layer in range(LAYERS):
        here = f"encoder.layer.{layer}."
        of_layer = {name.removeprefix(here): w for name, w in weights.items() if name.startswith(here)}
        x = _layer(graph, of_layer, x, absent)
    _pool(graph, x, mask)
    shape = ["B", "L"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "sentence_encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in INPUTS],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", SIZE])],
            graph.constants,
        ),
        producer_name="hemline",
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and constants, each named by its number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, operator: str, inputs: list[str], output: str = "", **attributes: object) -> str:
        """Adds a node and returns the name of its output."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        """Adds a constant and returns its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value: float) -> str:
        """Adds an FP32 number."""
        return self.constant(np.float32(value))

    def integers(self, *values: int) -> str:
        """Adds INT64 numbers."""
        return self.constant(np.array(values, np.int64))

    def dense(self, weights: Mapping[str, np.ndarray], name: str, x: str) -> str:
        """Adds a linear layer; PyTorch keeps its matrix as [out, in]."""
        product = self.node("MatMul", [x, self.constant(weights[f"{name}.weight"].T)])
        return self.node("Add", [product, self.constant(weights[f"{name}.bias"])])

    def layer_norm(self, weights: Mapping[str, np.ndarray], name: str, x: str) -> str:
        """Adds a layer normalisation over the last axis."""
        scale, bias = (self.constant(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.node("LayerNormalization", [x, scale, bias], epsilon=LAYER_NORM_EPSILON)


def _tokens(graph: _Graph, weights: Mapping[str, np.ndarray]) -> str:
    """Each token's vector and its place's: [B, L, SIZE]. All tokens are of type 0, added to the places."""
    word, place, kind = (
        weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
    )
    length = graph.node("Shape", ["input_ids"], start=1, end=2)
    places = graph.constant(place[:MAX_TOKENS] + kind[0])
    places = graph.node("Slice", [places, graph.integers(0), length, graph.integers(0)])
    x = graph.node("Add", [graph.node("Gather", [graph.constant(word), "input_ids"]), places])
    return graph.layer_norm(weights, "embeddings.LayerNorm", x)


def _layer(graph: _Graph, weights: Mapping[str, np.ndarray], x: str, absent: str) -> str:
    """One layer, [B, L, SIZE] → the same: a token looks at all others, then goes through a small network."""
    split = graph.integers(0, 0, HEADS, SIZE // HEADS)

    def heads(name: str, order: tuple[int, ...]) -> str:
        values = graph.dense(weights, f"attention.self.{name}", x)
        return graph.node("Transpose", [graph.node("Reshape", [values, split])], perm=order)

    query, value = (heads(name, (0, 2, 1, 3)) for name in ("query", "value"))  # [B, HEADS, L, 32]
    scores = graph.node("MatMul", [query, heads("key", (0, 2, 3, 1))])  # [B, HEADS, L, L]
    scores = graph.node("Div", [scores, graph.number((SIZE // HEADS) ** 0.5)])
    shares = graph.node("Softmax", [graph.node("Add", [scores, absent])], axis=-1)
    seen = graph.node("Transpose", [graph.node("MatMul", [shares, value])], perm=(0, 2, 1, 3))
    seen = graph.node("Reshape", [seen, graph.integers(0, 0, SIZE)])
    seen = graph.node("Add", [graph.dense(weights, "attention.output.dense", seen), x])
    seen = graph.layer_norm(weights, "attention.output.LayerNorm", seen)
    hidden = graph.node("Gelu", [graph.dense(weights, "intermediate.dense", seen)])
    out = graph.node("Add", [graph.dense(weights, "output.dense", hidden), seen])
    return graph.layer_norm(weights, "output.LayerNorm", out)


def _pool(graph: _Graph, x: str, mask: str) -> None:
    """The mean of the tokens that are there, made one long: [B, L, SIZE] → OUTPUT [B, SIZE]."""
    there = graph.node("Unsqueeze", [mask, graph.integers(2)])
    total = graph.node("ReduceSum", [graph.node("Mul", [x, there]), graph.integers(1)], keepdims=0)
    # The mean's divisor would fall out of the normalisation again: the sum points where the mean does.
    length = graph.node("ReduceL2", [total, graph.integers(1)], keepdims=1)
    graph.node("Div", [total, graph.node("Max", [length, graph.number(SMALLEST_LENGTH)])], OUTPUT)
