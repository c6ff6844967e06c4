"""The server encodes sentences as Python does with the bundle's files, and finds the same neighbours."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from outfits import Stylist
from tokenizers import Tokenizer
from under_test import ids

SENTENCES = json.loads((Path(__file__).parent / "sentences.json").read_text(encoding="utf-8"))
LONGEST = 2_000  # characters of a query
NEIGHBOURS = 25
DESCRIPTIONS = 100


class Texts:
    """The bundle's `stylist/` in Python: no line of the server's is in it."""

    def __init__(self, bundle: Path, max_tokens: int) -> None:
        """Reads it."""
        folder = bundle / "stylist"
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.no_padding()
        self._session = onnxruntime.InferenceSession(folder / "encoder.onnx")
        column = pa.ipc.open_file(folder / "articles.arrow").read_all()["embedding"].combine_chunks()
        self.embeddings = column.flatten().to_numpy().reshape(len(column), -1)
        articles = pa.ipc.open_file(bundle / "retrieval/articles.arrow").read_all()
        self.article_ids = articles["article_id"].to_pylist()
        self.descriptions = articles["detail_desc"].to_pylist()
        self.rows = {article: row for row, article in enumerate(self.article_ids)}

    def embed(self, text: str) -> np.ndarray:
        """A text's vector."""
        encoding = self._tokenizer.encode(text)
        values = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask}
        tensors = {name: np.array([value], np.int64) for name, value in values.items()}
        return self._session.run(["sentence_embedding"], tensors)[0][0]


@pytest.fixture(scope="module")
def texts(under_test) -> Texts:
    """What the bundle says."""
    return Texts(under_test.bundle, under_test.manifest["stylist"]["max_tokens"])


@pytest.fixture(scope="module")
def ranking(under_test, tmp_path_factory):
    """What a server finds for a query: pairs of score and article."""
    logs = tmp_path_factory.mktemp("sentences")
    server = under_test.transformer(logs, "127.0.0.1:9", "--on-ranker-failure=degrade")
    stylist = Stylist(server)

    @cache
    def ranking(query: str) -> list[list]:
        return stylist.prediction(query=query, k=NEIGHBOURS)["ranking"]

    yield ranking
    server.kill()


def askable(sentences: list[str]) -> list[str]:
    """Those that a request may be."""
    return [text for text in sentences if text.strip() and len(text) <= LONGEST]


def test_scores_are_the_cosines_that_python_finds_whatever_the_text(texts, ranking):
    asked = askable(SENTENCES)
    assert len(asked) >= 200
    for sentence in asked:
        found = ranking(sentence)
        expected = texts.embeddings[[texts.rows[article] for _, article in found]] @ texts.embed(sentence)
        np.testing.assert_allclose([score for score, _ in found], expected, atol=1e-5, err_msg=sentence[:60])


def test_neighbours_are_those_of_exact_search(texts, ranking):
    rng = np.random.default_rng(3)
    described = sorted({text for text in texts.descriptions if text.strip()})
    overlaps = []
    for sentence in rng.choice(described, DESCRIPTIONS, replace=False):
        scores = texts.embeddings @ texts.embed(sentence)
        # A tie at the end may be broken either way.
        least = np.sort(scores)[-NEIGHBOURS] - 1e-5
        found = [texts.rows[article] for article in ids(ranking(str(sentence)))]
        overlaps.append(np.mean(scores[found] >= least))
    assert np.mean(overlaps) >= 0.98
