"""predictor-llm in predictor-gbdt's place: nothing changes but what stands behind the transformer."""

import json

import httpx
import pytest
from scripted_llm import ScriptedLlm
from under_test import ask_both

from hemline.llm import GBDT, LISTWISE, POINTWISE, Api
from hemline.pair import predictions, v2_body

MOST_SCORED = 20
SAFETY_SECONDS = 60


@pytest.fixture(scope="module")
def llm():
    """An LLM that answers everything well."""
    with ScriptedLlm() as llm:
        yield llm


@pytest.fixture(scope="module")
def customer(catalogue) -> int:
    """Somebody with purchases, a row of customers.parquet."""
    return catalogue.buyers(1)[0]


@pytest.fixture(scope="module")
def answers(under_test, catalogue, customer, llm, tmp_path_factory) -> dict[str, dict]:
    """The same question's answers over V1 and V2, by what stands behind the transformer."""
    instance = catalogue.instance(customer)
    v1 = {"instances": [instance]}
    v2 = v2_body(**{name: ("BYTES", [value]) for name, value in instance.items()})
    found = {}
    for kind in (GBDT, POINTWISE, LISTWISE):
        logs = tmp_path_factory.mktemp(kind)
        if kind == GBDT:
            servers = [under_test.predictor(logs / "predictor.log")]
        else:
            servers = [under_test.predictor_llm(logs / "predictor.log", llm.url, kind)]
        try:
            # The one setting that differs; KServe gives it.
            servers.append(under_test.transformer(logs, servers[0].url.removeprefix("http://")))
            for server in servers:
                server.wait_ready()
            with httpx.Client(base_url=servers[1].url, timeout=SAFETY_SECONDS) as http:
                found[kind] = {protocol: good(answer) for protocol, answer in ask_both(http, v1, v2).items()}
        finally:
            for server in servers:
                server.kill()
    return found


def good(answer: httpx.Response) -> dict:
    """The body of an answer that succeeded."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def shape(value: object) -> object:
    """What a value is made of, without what it says; of a list, of all its elements."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return "number" if isinstance(value, int | float) else type(value).__name__


def without_counts(prediction: dict) -> dict:
    """A prediction without what only a ranker that scores some of the candidates has to say."""
    return {name: value for name, value in prediction.items() if name not in ("scored", "defaults")}


@pytest.mark.parametrize("kind", [POINTWISE, LISTWISE])
def test_over_v1_the_answer_has_the_shape_that_it_has_with_predictor_gbdt(answers, kind):
    (ours,), (theirs,) = (predictions(answers[who]["v1"]) for who in (kind, GBDT))
    assert shape(without_counts(ours)) == shape(without_counts(theirs))
    assert ours["ranker"] == theirs["ranker"]


@pytest.mark.parametrize("kind", [POINTWISE, LISTWISE])
def test_over_v2_the_answer_has_the_shape_that_it_has_with_predictor_gbdt(answers, kind):
    ours, theirs = (
        {output["name"]: (output["datatype"], output["shape"]) for output in answers[who]["v2"]["outputs"]}
        for who in (kind, GBDT)
    )
    assert ours == theirs
    assert set(answers[kind]["v2"]) == set(answers[GBDT]["v2"])


@pytest.mark.parametrize("kind", [GBDT, POINTWISE, LISTWISE])
def test_v1_and_v2_say_the_same(answers, kind):
    assert predictions(answers[kind]["v1"]) == predictions(answers[kind]["v2"])


@pytest.mark.parametrize("kind", [POINTWISE, LISTWISE])
def test_the_same_articles_are_found_and_twenty_of_them_scored(answers, kind):
    (ours,), (theirs,) = (predictions(answers[who]["v1"]) for who in (kind, GBDT))
    assert sorted(article for _, article in ours["ranking"]) == sorted(
        article for _, article in theirs["ranking"]
    )
    scores = [score for score, _ in ours["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert ours["scored"] == MOST_SCORED
    assert all(0 < score <= 1 for score in scores[: MOST_SCORED - 1])
    assert not any(scores[MOST_SCORED:])
    assert "scored" not in theirs
    assert "degraded" not in ours


def test_the_llm_reads_what_the_customer_bought_and_what_the_candidates_are_called(
    answers, llm, catalogue, customer
):
    names = catalogue.names([article for _, article in answers[LISTWISE]["v1"]["predictions"][0]["ranking"]])
    bought = catalogue.names(catalogue.bought_ids(customer))
    candidates = names[:MOST_SCORED]
    asked = [text for text in llm.prompts() if all(name in text for name in candidates)]
    assert asked
    assert all(any(name in text for name in bought) for text in asked)


def test_one_transformer_answers_by_the_ranker_that_a_request_names(
    under_test, catalogue, customer, llm, tmp_path
):
    rankers = {"llmranking": LISTWISE, "pointwise": POINTWISE, "ranking": GBDT}
    instance = catalogue.instance(customer)
    with under_test.llm_pair(tmp_path, Api(llm.url), rankers=rankers) as pair:
        for asked, by in [({}, "llmranking"), *(({"ranker": name}, name) for name in rankers)]:
            v1 = {"instances": [{**instance, **asked}]}
            inputs = {name: ("BYTES", [value]) for name, value in instance.items()}
            v2 = v2_body(**inputs, options=("BYTES", [json.dumps(asked)]))
            for answer in ask_both(pair.http, v1, v2).values():
                (prediction,) = predictions(good(answer))
                assert prediction["ranker"] == by
                assert prediction.get("scored") == (None if by == "ranking" else MOST_SCORED)
