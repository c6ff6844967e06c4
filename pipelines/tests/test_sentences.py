"""The sentence encoder says what its weights say, of a text whatever stands beside it."""

import json

import numpy as np
import onnxruntime
import pytest
from scipy.special import erf
from tokenizers import Tokenizer

from hemline import encoder_graph, sentences
from hemline.errors import DataError

TEXTS = [
    "Slim-fit dark jeans in stretch denim with a button fly.",
    "",
    "👖👕 ¿Qué? فستان أحمر 赤いドレス",
    "a flowing summer dress " * 20,
]


@pytest.fixture(scope="module")
def encoder():
    return sentences.Encoder()


def reference(texts):
    """The model once more, in NumPy and FP64, from the weights and the published architecture."""
    folder = sentences.model_folder()
    w = {k: v.astype(np.float64) for k, v in encoder_graph.read_weights(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())
    heads, layers, epsilon = (
        config[name] for name in ("num_attention_heads", "num_hidden_layers", "layer_norm_eps")
    )

    def dense(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attention(name, x):
        parts = []
        q, k, v = (np.split(dense(f"{name}.self.{part}", x), heads, -1) for part in ("query", "key", "value"))
        for head in range(heads):
            scores = np.exp(q[head] @ k[head].T / np.sqrt(q[head].shape[1]))
            parts.append(scores / scores.sum(-1, keepdims=True) @ v[head])
        return norm(f"{name}.output.LayerNorm", dense(f"{name}.output.dense", np.hstack(parts)) + x)

    def embedding(ids):
        names = ("word", "position", "token_type")
        word, position, kind = (w[f"embeddings.{name}_embeddings.weight"] for name in names)
        x = norm("embeddings.LayerNorm", word[ids] + position[: len(ids)] + kind[0])
        for layer in range(layers):
            name = f"encoder.layer.{layer}"
            x = attention(f"{name}.attention", x)
            hidden = dense(f"{name}.intermediate.dense", x)
            hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
            x = norm(f"{name}.output.LayerNorm", dense(f"{name}.output.dense", hidden) + x)
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return np.array([embedding(np.array(tokenizer.encode(text).ids)) for text in texts])


def test_the_graph_computes_what_the_weights_say(encoder):
    cosines = np.einsum("td,td->t", encoder.embed(TEXTS), reference(TEXTS))
    assert cosines.min() >= 0.99999


def test_similarities_are_those_that_sentence_transformers_publishes(encoder):
    # In the first example of its documentation, of this model.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    vectors = encoder.embed(texts)
    published = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=6e-5)


def test_texts_of_one_meaning_are_nearer_than_others(encoder):
    one, same, other = encoder.embed(["a red dress for summer", "red summer frock", "winter boots for men"])
    assert one @ same > one @ other + 0.2


def test_every_text_has_a_unit_vector(encoder):
    vectors = encoder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.embed([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder):
    together = encoder.embed(TEXTS)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_array_equal(together, encoder.embed(TEXTS[::-1])[::-1])


def test_a_server_that_pads_its_batches_gets_the_same_vectors(encoder):
    session = onnxruntime.InferenceSession(encoder.model)
    encodings = Tokenizer.from_buffer(encoder.tokenizer).encode_batch(TEXTS)
    assert len({len(encoding.ids) for encoding in encodings}) == 1
    inputs = {
        "input_ids": np.array([encoding.ids for encoding in encodings]),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
    }
    [vectors] = session.run(["sentence_embedding"], inputs)
    np.testing.assert_allclose(vectors, encoder.embed(TEXTS), atol=1e-6)


def test_what_is_longer_than_the_encoder_reads_is_cut(encoder):
    words = "dress " * 254  # and the tokens of beginning and end
    longer, exact, shorter = encoder.embed([words + "winter boots", words, words[:-12]])
    np.testing.assert_array_equal(longer, exact)
    assert np.abs(exact - shorter).max() > 1e-6
    assert len(Tokenizer.from_buffer(encoder.tokenizer).encode("dress " * 1000).ids) == 256


def test_the_encoder_has_the_same_bytes_each_time(encoder):
    again = sentences.Encoder()
    assert (again.model, again.tokenizer, again.sha256) == (encoder.model, encoder.tokenizer, encoder.sha256)


def test_an_environment_without_the_wheels_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(sentences.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DataError, match="run `make setup`"):
        sentences.Encoder()
