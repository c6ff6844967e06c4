"""Several rankers behind one transformer: a request picks one by its name, and each answers for itself."""

import json
from collections.abc import Iterator

import httpx
import pyarrow.parquet as pq
import pytest
from foreign_servers import address
from mock_predictor import MockPredictor, Reply, explained, hang_up, names, told
from stores import TestStore
from under_test import ask_both, ids, leaks, shadow, without

from hemline import bundle as bundles
from hemline.pair import MODEL, Pair, predictions, v2_body

HISTORY = {"name": "history", "datatype": "BYTES", "shape": [-1, 1]}
EXPLANATIONS = {"name": "explanations", "datatype": "BYTES", "shape": [-1]}
TWINS = ("twin", "rows", "grpc")
TEXTUAL = ("llmranking", "llmrows")


@pytest.fixture(scope="module")
def llm() -> Iterator[MockPredictor]:
    """A ranker that explains, and says which of its scores it made up."""
    with MockPredictor() as mock:
        mock.outputs = [EXPLANATIONS]
        yield mock


@pytest.fixture(scope="module")
def several(under_test, llm, tmp_path_factory) -> Iterator[Pair]:
    """The pair with another predictor beside the first, spoken to in three ways, and the mock, in two.

    That other one does not explain: its bundle has not what that needs.
    """
    logs = tmp_path_factory.mktemp("several")
    old = without(shadow(under_test.bundle, logs / "old"), bundles.CONTRIBUTIONS)
    twin = under_test.predictor(logs / "twin.log", "--model_name=twin", "--grpc-port=0", bundle=old)
    try:
        twin.wait_ready()
        places = {
            "twin": f"{twin.url},model=twin",
            "rows": f"{twin.url},model=twin,protocol=v1",
            "grpc": f"{address(twin, 'grpc-v2')},model=twin,protocol=grpc-v2",
            "llmranking": llm.host,
            "llmrows": f"{llm.host},protocol=v1",
        }
        rankers = [f"--ranker={name}={place}" for name, place in places.items()]
        with under_test.pair(logs, transformer_args=rankers) as pair:
            yield pair
            pair.check_alive()
    finally:
        twin.kill()


@pytest.fixture
def mock(llm) -> Iterator[MockPredictor]:
    """The mock, good before and after."""
    inputs = list(llm.inputs)
    llm.reply = told
    yield llm
    llm.reply, llm.inputs = told, inputs


def rows(*instances: dict) -> dict:
    """The same by V2."""
    return v2_body(options=("BYTES", [json.dumps(instance) for instance in instances]))


def answers(pair: Pair, *instances: dict) -> dict[str, list[dict]]:
    """The predictions of V1 and V2."""
    asked = ask_both(pair.http, {"instances": instances}, rows(*instances))
    for answer in asked.values():
        assert answer.status_code == 200, answer.text
    return {protocol: predictions(answer.json()) for protocol, answer in asked.items()}


def upstream(pair: Pair, ranker: str) -> int:
    """How often a ranker answered well."""
    start = f'upstream_requests_total{{outcome="ok",upstream="{ranker}"}} '
    lines = pair.http.get("/metrics").text.splitlines()
    return sum(int(line.removeprefix(start)) for line in lines if line.startswith(start))


def test_a_request_picks_its_ranker_by_name(several, a_question):
    (default,) = answers(several, a_question)["v1"]
    assert default["ranker"] == "ranking"
    for name in ("ranking", *TWINS):
        before = {other: upstream(several, other) for other in ("ranking", *TWINS)}
        for (prediction,) in answers(several, a_question | {"ranker": name}).values():
            assert prediction["ranker"] == name
            assert prediction["ranking"] == default["ranking"]
        asked = {other: upstream(several, other) - count for other, count in before.items()}
        assert asked == {other: 2 * (other == name) for other in before}


def test_rows_of_one_request_pick_each_for_itself(several, mock, a_question):
    wanted = ["llmranking", "twin", "ranking"]
    for found in answers(several, *(a_question | {"ranker": name} for name in wanted)).values():
        assert [prediction["ranker"] for prediction in found] == wanted


def test_a_ranker_that_nobody_knows_is_400_and_the_known_ones_are_told(several, a_question):
    wrong = a_question | {"ranker": "best"}
    for answer in ask_both(several.http, {"instances": [wrong]}, rows(wrong)).values():
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
        known = " or ".join(f"`{name}`" for name in ("ranking", *TWINS, *TEXTUAL))
        assert answer.json()["error"] == f"row 0: field `ranker`: expected {known}, got `best`"


@pytest.mark.parametrize("ranker", TEXTUAL)
def test_what_a_ranker_says_of_its_scores_is_told(several, mock, a_question, ranker):
    question = a_question | {"ranker": ranker}
    for (prediction,) in answers(several, question).values():
        assert not {"degraded", "defaults"} & set(prediction)
    mock.reply = lambda request: told(request, defaults=3, strategy="pointwise")
    for (prediction,) in answers(several, question).values():
        assert prediction["defaults"] == 3
        assert not {"degraded", "strategy"} & set(prediction)
    mock.reply = lambda request: told(request, defaults=20, degraded="no answer in time")
    for (prediction,) in answers(several, question).values():
        assert (prediction["degraded"], prediction["defaults"]) == (f"{ranker}: no answer in time", 20)


def explanations(pair: Pair, *instances: dict) -> dict[str, list[dict]]:
    """What V1's verb and V2's output say."""
    asked = ask_why(pair, *instances)
    for answer in asked.values():
        assert answer.status_code == 200, answer.text
    v1, v2 = asked["v1"].json(), asked["v2"].json()
    assert v1["predictions"] == []
    (output,) = (output for output in v2["outputs"] if output["name"] == "explanations")
    assert output["shape"] == [len(instances)]
    return {"v1": v1["explanations"], "v2": [json.loads(text) for text in output["data"]]}


def ask_why(pair: Pair, *instances: dict) -> dict[str, httpx.Response]:
    """Asks for explanations by both."""
    wanted = {"outputs": [{"name": name} for name in ("article_ids", "explanations")]}
    return {
        "v1": pair.http.post(f"/v1/models/{MODEL}:explain", json={"instances": instances}),
        "v2": pair.http.post(f"/v2/models/{MODEL}/infer", json=rows(*instances) | wanted),
    }


@pytest.mark.parametrize("ranker", TEXTUAL)
def test_the_best_are_explained_by_the_ranker_that_ordered_them(several, mock, a_question, ranker):
    question = a_question | {"ranker": ranker}
    (prediction,) = answers(several, question)["v1"]
    for k, more in ((3, {}), (1, {"k": 1}), (20, {"k": 20})):
        best = prediction["ranking"][:k]
        articles = [
            {"article_id": article, "score": score, "explanation": f"Because of {article}."}
            for score, article in best
        ]
        for found in explanations(several, question | more).values():
            (explanation,) = found
            told = [
                {name: article[name] for name in ("article_id", "score", "explanation")}
                for article in explanation["articles"]
            ]
            assert (explanation["ranker"], told) == (ranker, articles)


def test_an_article_without_words_has_null(several, mock, a_question):
    def speechless(request: dict) -> Reply:
        """Explains one article."""
        if not names(request, "explanations"):
            return told(request)
        (first, *_), *_ = (tensor["data"] for tensor in request["inputs"] if tensor["name"] == "article_id")
        answer = explained({"inputs": [{"name": "article_id", "data": [first]}]})
        return Reply.of(answer)

    mock.reply = speechless
    for (found,) in explanations(several, a_question | {"ranker": "llmranking"}).values():
        words = [article["explanation"] for article in found["articles"]]
        assert words == [f"Because of {found['articles'][0]['article_id']}.", None, None]


def test_nobody_is_asked_why_unless_somebody_wants_to_know(several, mock, a_question):
    asked = []
    mock.reply = lambda request: asked.append(request) or told(request)
    question = a_question | {"ranker": "llmranking"}
    answers(several, question)
    assert [request.get("outputs") for request in asked] == [None, None]
    body = several.http.post(f"/v2/models/{MODEL}/infer", json=rows(question)).json()
    assert [output["name"] for output in body["outputs"]] == ["article_ids", "scores", "count", "info"]


@pytest.mark.parametrize("ranker", TWINS)
def test_a_ranker_that_does_not_explain_is_501_and_named(several, a_question, ranker):
    for answer in ask_why(several, a_question | {"ranker": ranker}).values():
        assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
        assert answer.json()["error"] == f"predictor `{ranker}` does not explain"


def test_more_than_twenty_are_not_explained(several, a_question):
    for answer in ask_why(several, a_question, a_question | {"k": 21}).values():
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
        assert answer.json()["error"] == "row 1: field `k`: expected a whole number from 1 to 20, got 21"


def test_an_explanation_that_fails_keeps_its_class(several, mock, a_question, under_test):
    def failing(reply: Reply) -> None:
        """Scores well and does not explain."""
        mock.reply = lambda request: reply if names(request, "explanations") else told(request)

    no_room = Reply(429, b"SECRET", {"retry-after": "7"})
    of_another = Reply.of(explained({"inputs": [{"name": "article_id", "data": ["no-such-article"]}]}))
    cases = {(429, "upstream_overloaded"): no_room, (502, "upstream_invalid"): of_another}
    for wanted, reply in cases.items():
        failing(reply)
        for answer in ask_why(several, a_question | {"ranker": "llmranking"}).values():
            assert (answer.status_code, answer.json()["code"]) == wanted
            assert not leaks(answer, f":{mock.port}", under_test.bundle, "SECRET", "no-such-article")


def test_who_degrades_does_not_make_up_explanations(under_test, tmp_path, servers, a_question):
    with MockPredictor() as mock:
        mock.outputs = [EXPLANATIONS]
        mock.reply = told
        servers.append(under_test.transformer(tmp_path, mock.host, "--on_ranker_failure=degrade"))
        servers[0].until(lambda: upstream_is(servers[0].url, {"ranking": "ready"}), "see the mock")
        mock.reply = lambda _: hang_up()
        with httpx.Client(base_url=servers[0].url, timeout=60) as http:
            predicted = http.post(f"/v1/models/{MODEL}:predict", json={"instances": [a_question]})
            (prediction,) = predictions(predicted.json())
            assert prediction["degraded"] == "ranking: upstream_unavailable; retrieval"
            why = http.post(f"/v1/models/{MODEL}:explain", json={"instances": [a_question]})
            assert (why.status_code, why.json()["code"]) == (503, "upstream_unavailable")


def upstream_is(url: str, wanted: dict[str, str]) -> bool | None:
    """Whether a transformer that is ready says so of its rankers; of its store it says so too."""
    answer = httpx.get(f"{url}/v2/health/ready")
    wanted = {**wanted, "store": "ready"}
    return (answer.status_code == 200 and answer.json()["dependencies"] == wanted) or None


def test_only_the_default_ranker_holds_back_readiness(under_test, tmp_path, servers, a_question):
    with MockPredictor() as default, MockPredictor() as other:
        other.ready = False
        ranker = f"--ranker=other={other.host}"
        servers.append(under_test.transformer(tmp_path, default.host, ranker))
        server = servers[0]
        server.until(lambda: upstream_is(server.url, {"other": "away", "ranking": "ready"}), "be ready")
        text = httpx.get(f"{server.url}/metrics").text
        assert 'dependency_up{dependency="ranking"} 1' in text
        assert 'dependency_up{dependency="other"} 0' in text
        other.reply = lambda _: hang_up()
        body = {"instances": [a_question, a_question | {"ranker": "other"}]}
        failed = httpx.post(f"{server.url}/v1/models/{MODEL}:predict", json=body, timeout=60)
        assert (failed.status_code, failed.json()["code"]) == (503, "upstream_unavailable")
        body["instances"].pop()
        assert httpx.post(f"{server.url}/v1/models/{MODEL}:predict", json=body).status_code == 200
        other.ready = True
        server.until(lambda: upstream_is(server.url, {"other": "ready", "ranking": "ready"}), "see it")
        default.ready = False
        server.until(lambda: not server.is_ready() or None, "say that it is not ready")


def test_one_that_is_left_alone_leaves_the_others_alone(several, mock, a_question):
    mock.reply = lambda _: hang_up()
    question = {"instances": [a_question | {"ranker": "llmranking"}]}
    for _ in range(6):
        failed = several.http.post(f"/v1/models/{MODEL}:predict", json=question)
        assert (failed.status_code, failed.json()["code"]) == (503, "upstream_unavailable")
    assert 'upstream_circuit_open{upstream="llmranking"} 1' in several.http.get("/metrics").text
    assert several.predict(a_question).status_code == 200
    mock.reply = told

    def is_used() -> bool:
        """Whether it is asked again."""
        return several.http.post(f"/v1/models/{MODEL}:predict", json=question).status_code == 200

    several.transformer.until(lambda: is_used() or None, "use it again")


@pytest.fixture
def shopper(under_test, catalogue, tmp_path) -> tuple[str, str, list[str]]:
    """A store with a customer who bought twelve articles, one of them twice; what they bought last first."""
    articles = [str(article) for article in catalogue.article_ids[:12]]
    bought = [(article, f"2020-09-{day:02}T00:00:00Z") for day, article in enumerate(articles, start=1)]
    bought += [(articles[0], "2020-09-20T00:00:00Z"), ("no-such-article", "2020-09-21T00:00:00Z")]
    store = TestStore.sqlite(tmp_path / "store.db")
    for article, at in bought:
        store.buy("anna", [article], at)
    return store.url, "anna", [articles[0], *articles[:0:-1]]


def in_words(catalogue, articles: list[str]) -> str:
    """A history as a ranker reads it."""
    columns = ["article_id", "prod_name", "product_type_name", "colour_group_name"]
    table = pq.read_table(catalogue.work / "articles.parquet", columns=columns).to_pylist()
    known = {row["article_id"]: row for row in table}
    parts = (known[article] for article in articles)
    return "; ".join(
        f"{row['prod_name']} ({row['product_type_name']}, {row['colour_group_name']})" for row in parts
    )


def test_a_ranker_that_reads_it_gets_what_the_customer_bought_last(under_test, catalogue, tmp_path, shopper):
    store, customer, last = shopper
    asked: list[dict] = []
    with MockPredictor() as mock:
        mock.reply = lambda request: asked.append(inputs(request)) or told(request)
        with under_test.pair(
            tmp_path / "logs", store=store, transformer_args=[f"--ranker=llm={mock.host}"]
        ) as pair:
            question = {"customer_id": customer, "transaction_date": catalogue.date, "ranker": "llm"}
            (before,) = answers(pair, question)["v1"]
            assert "history" not in asked[-1]
            # No waiting: the next question may well come before anybody has looked at the metadata.
            mock.reply = strict(mock, asked)
            mock.inputs = [*mock.inputs, HISTORY]
            for (prediction,) in answers(pair, question).values():
                assert prediction == before
                assert set(asked[-1]["history"]) == {in_words(catalogue, last[:10])}
                assert len(asked[-1]["history"]) == len(asked[-1]["article_id"])
            answers(pair, question | {"customer_id": "nobody"})
            assert set(asked[-1]["history"]) == {""}
            assert not set(ids(before["ranking"])) & set(last)


def inputs(request: dict) -> dict[str, list]:
    """The input tensors of a V2 request."""
    return {tensor["name"]: tensor["data"] for tensor in request["inputs"]}


def strict(mock: MockPredictor, asked: list[dict]):
    """A mock's reply that refuses what it does not take, as our predictors do."""

    def reply(request: dict) -> Reply:
        """400, or what the mock always says."""
        if list(inputs(request)) != [tensor["name"] for tensor in mock.inputs]:
            return Reply.of({"error": "another input"}, 400)
        asked.append(inputs(request))
        return told(request)

    return reply


def test_by_v1_a_ranker_gets_the_inputs_that_it_lists(several, mock, a_question):
    asked = []
    mock.reply = lambda request: asked.append(request) or told(request)
    (prediction,) = answers(several, a_question | {"ranker": "llmrows"})["v1"]
    (instance,) = asked[0]["instances"]
    assert {len(row) for row in instance["ranking_features"]} == {1}  # its one input beside the ids: an age
    assert instance["article_ids"] == ids(prediction["ranking"])
