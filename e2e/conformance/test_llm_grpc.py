"""Over gRPC too, the answer has the same shape whichever predictor ranked: KServe's client asks."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import UNDER_TEST, addresses
from kserve import InferInput, InferRequest
from scripted_llm import ScriptedLlm
from served import Column, Served
from test_kserve_grpc import run

from hemline.llm import GBDT, LISTWISE, POINTWISE, Api, LlmPair
from hemline.pair import MODEL

RANKERS = {"llm-listwise": LISTWISE, "llm-pointwise": POINTWISE, "gbdt": GBDT}


@pytest.fixture(scope="module")
def answers(pytestconfig, bundle, transformer, tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    """The outputs of the same question's answers, by ranker."""
    names = pytestconfig.stash[UNDER_TEST]
    binaries = Path(names["HEMLINE_BINARIES"]).resolve()
    logs = tmp_path_factory.mktemp("llm")
    with (
        ScriptedLlm() as llm,
        LlmPair(
            bundle, names["HEMLINE_STORE"], binaries, logs=logs, api=Api(llm.url), rankers=RANKERS
        ) as pair,
    ):
        served = Served(*addresses(pair.transformer), MODEL, transformer.question, transformer.instance)
        return {name: ask(served, name) for name in RANKERS}


def ask(served: Served, ranker: str) -> dict[str, np.ndarray]:
    """One question to one ranker."""
    options = Column("BYTES", np.array([json.dumps({"ranker": ranker})], np.object_))
    inputs = []
    for name, column in {**served.question, "options": options}.items():
        tensor = InferInput(name, column.shape, column.datatype)
        tensor.set_data_from_numpy(column.values, binary_data=False)
        inputs.append(tensor)
    answer = run(served, lambda client: client.infer(InferRequest(MODEL, inputs)))
    return {output.name: output.as_numpy() for output in answer.outputs}


@pytest.mark.parametrize("ranker", ["llm-listwise", "llm-pointwise"])
def test_it_reads_the_same_outputs_from_an_llm_as_from_predictor_gbdt(answers, ranker):
    ours, theirs = answers[ranker], answers["gbdt"]
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        assert (values.dtype, values.shape) == (theirs[name].dtype, theirs[name].shape), name
    assert sorted(ours["article_ids"].reshape(-1)) == sorted(theirs["article_ids"].reshape(-1))
    assert json.loads(ours["info"].reshape(-1)[0])["ranker"] == ranker
