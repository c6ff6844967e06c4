"""A trained copy of the tiny work directory and its bundle, made once for all tests."""

import functools
import shutil
from pathlib import Path

from hemline import bundle, embeddings, ranking, retrieval, texts


@functools.cache
def work(tiny_work: Path) -> Path:
    """The tiny work directory after training and embedding."""
    trained = tiny_work.parent / "trained"
    shutil.copytree(tiny_work, trained)
    retrieval.train(trained, seed=42, epochs=3)
    ranking.train(trained, seed=42)
    embeddings.create(trained)
    texts.create(trained)
    return trained


@functools.cache
def made_bundle(tiny_work: Path) -> Path:
    """The bundle of the trained work directory."""
    out = tiny_work.parent / "bundle"
    bundle.create(work(tiny_work), out)
    return out
