"""Predictors are interchangeable: another protocol, another folder, another replica, the same ranking."""

import random
import shutil
from collections.abc import Iterator
from itertools import cycle

import httpx
import pytest
from mock_predictor import MockPredictor, Reply, good
from under_test import as_tensors, rankings

from hemline import bundle as bundles
from hemline.pair import MODEL, v2_body


@pytest.fixture
def questions(catalogue, some_customers) -> list[dict]:
    """Questions of 30 customers."""
    return [catalogue.instance(customer) for customer in some_customers[:30]]


@pytest.fixture
def model_folder(under_test, tmp_path):
    """A folder with a model.onnx and nothing else."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copyfile(under_test.bundle / bundles.RANKER, folder / "model.onnx")
    return folder


def test_a_predictor_behind_v1_ranks_as_behind_v2(under_test, pair, tmp_path, questions):
    with under_test.pair(tmp_path, transformer_args=["--predictor-protocol=v1"]) as other:
        assert rankings(other, questions) == rankings(pair, questions)


def test_a_folder_with_only_a_model_ranks_as_the_bundle_does(
    under_test, pair, tmp_path, model_folder, questions
):
    with under_test.pair(tmp_path, predictor_bundle=model_folder) as other:
        assert rankings(other, questions) == rankings(pair, questions)


def test_a_model_file_by_itself_is_served(under_test, tmp_path, model_folder, servers, catalogue):
    servers.append(under_test.predictor(tmp_path / "log", bundle=model_folder / "model.onnx"))
    servers[0].wait_ready()
    metadata = httpx.get(f"{servers[0].url}/v2/models/{MODEL}").json()
    names = [tensor["name"] for tensor in metadata["inputs"]]
    assert names == [*(name for name, _ in catalogue.inputs), "article_id"]


def test_two_replicas_answer_alike(under_test, tmp_path, catalogue, servers):
    for number in range(2):
        servers.append(under_test.predictor(tmp_path / f"{number}.log", f"--model_name={MODEL}"))
    articles = [str(article) for article in catalogue.article_ids[:500]]
    features = catalogue.features(catalogue.buyers(1)[0], articles)
    body = v2_body(**as_tensors(features), article_id=("BYTES", [[article] for article in articles]))
    answers = []
    for server in servers:
        server.wait_ready()
        answer = httpx.post(f"{server.url}/v2/models/{MODEL}/infer", json=body)
        assert answer.status_code == 200, answer.text
        answers.append(answer.json())
    assert answers[0] == answers[1]
    outputs = {output["name"]: output["data"] for output in answers[0]["outputs"]}
    assert outputs["article_ids"] == articles
    assert len(outputs["scores"]) == len(articles)


def test_a_predictor_serves_its_model_by_the_name_that_it_is_asked_for(
    under_test, tmp_path, a_question, servers
):
    with under_test.pair(tmp_path / "right", transformer_args=["--predictor_model=hemline"]) as pair:
        assert pair.predict(a_question).status_code == 200
        predictor = pair.predictor.url.removeprefix("http://")
        servers.append(under_test.transformer(tmp_path / "wrong", predictor, "--predictor_model=nobody"))
        servers[0].until(lambda: not_ready(servers[0]), "say that its ranker is not ready")
        assert not servers[0].is_ready()


def not_ready(transformer) -> bool | None:
    """Whether it has logged that its ranker is not ready."""
    return any("not ready" in line.get("message", "") for line in transformer.lines()) or None


PODS = ("age", "month_sin")  # what each kind takes beside the ids


def as_by_two_pods(mock: MockPredictor, turns: Iterator[int]) -> None:
    """Metadata and answers of two kinds of pods behind one address, each asked in its turn."""
    number = {"datatype": "FP32", "shape": [-1, 1]}
    ids = {"name": "article_id", "datatype": "BYTES", "shape": [-1, 1]}

    def metadata() -> Reply:
        return Reply.of(
            {"name": MODEL, "inputs": [ids, {"name": PODS[next(turns)], **number}], "outputs": []}
        )

    def answer(request: dict) -> Reply:
        given = {tensor["name"] for tensor in request["inputs"]}
        if given != {"article_id", PODS[next(turns)]}:
            return Reply.of({"error": "another model", "code": "invalid_argument"}, 400)
        return Reply.of(good(request))

    mock.metadata, mock.reply = metadata, answer


@pytest.mark.parametrize(
    "turns", [cycle((0, 1)), iter(random.Random(7).choices((0, 1), k=10_000))], ids=["in turns", "at random"]
)
def test_while_pods_of_two_kinds_are_behind_one_address_no_request_fails(
    under_test, catalogue, tmp_path, servers, turns
):
    with MockPredictor() as mock:
        as_by_two_pods(mock, turns)
        servers.append(under_test.transformer(tmp_path, mock.host))
        servers[0].wait_ready()
        with httpx.Client(base_url=servers[0].url, timeout=60) as http:
            for customer in catalogue.buyers(40):
                body = {"instances": [catalogue.instance(customer, k=5)]}
                answer = http.post(f"/v1/models/{MODEL}:predict", json=body)
                assert answer.status_code == 200, answer.text


def test_a_refusal_that_is_meant_is_told_and_the_next_one_at_once(under_test, catalogue, tmp_path, servers):
    asked = []

    def refuse(request: dict) -> Reply:
        asked.append(request)
        return Reply.of({"error": "never", "code": "invalid_argument"}, 400)

    with MockPredictor() as mock:
        mock.reply = refuse
        servers.append(under_test.transformer(tmp_path, mock.host))
        servers[0].wait_ready()
        body = {"instances": [catalogue.instance(catalogue.buyers(1)[0], k=5)]}
        with httpx.Client(base_url=servers[0].url, timeout=60) as http:
            for most in (9, 1):
                asked.clear()
                answer = http.post(f"/v1/models/{MODEL}:predict", json=body)
                assert (answer.status_code, answer.json()["code"]) == (400, "upstream_rejected")
                assert len(asked) <= most
