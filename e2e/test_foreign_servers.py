"""Servers that others made are predictors like our own, and our predictor is one behind theirs."""

import catboost
import httpx
import numpy as np
import pytest
from foreign.forest import Forest
from foreign_servers import address, start
from under_test import CANDIDATES, ids, leaks

from hemline import ranker, ranking
from hemline.pair import Server, predictions, v2_body

pytestmark = pytest.mark.conformance

TOLERANCE = 1e-6
SPEAKS = [
    ("kserve", "v1"),
    ("kserve", "v2"),
    ("kserve", "grpc-v2"),
    ("mlserver", "v2"),
    ("mlserver", "grpc-v2"),
]


@pytest.fixture(scope="module")
def forest(under_test, tmp_path_factory) -> Forest:
    """A ranker that is not the bundle's: it takes raw strings, and nobody would mistake its scores."""
    rows, features = ranking.held_out(under_test.work), ranking.features(under_test.work)
    frame = rows.select([feature["name"] for feature in features]).to_pandas()
    texts = ranker.categories(features)
    frame = frame.astype(dict.fromkeys(texts, str))
    model = catboost.CatBoostClassifier(
        iterations=30,
        learning_rate=0.3,
        cat_features=texts,
        random_seed=1,
        thread_count=ranker.THREADS,
        allow_writing_files=False,
        verbose=False,
    )
    file = tmp_path_factory.mktemp("forest") / "forest.cbm"
    model.fit(frame, ranker.labels(rows)).save_model(str(file))
    return Forest(file)


@pytest.fixture(scope="module")
def foreign(forest, tmp_path_factory):
    """KServe's and MLServer's process, by name."""
    # Both are started before either is waited for: importing their packages takes seconds.
    file = str(tmp_path_factory.mktemp("model") / "model.cbm")
    forest.model.save_model(file)
    started = {
        name: start(f"{name}_predictor.py", tmp_path_factory.mktemp(name), "--model", file)
        for name in ("kserve", "mlserver")
    }
    try:
        for server in started.values():
            server.wait_ready()
        yield started
    finally:
        for server in started.values():
            server.kill()


@pytest.fixture
def ours(under_test, foreign, tmp_path, servers):
    """Makes a client of a new transformer over (foreign server, protocol, its model, more flags)."""
    clients = []

    def over(server: str, protocol: str, model: str, *more: str, ready: bool = True) -> httpx.Client:
        flags = [f"--predictor_protocol={protocol}", f"--predictor_model={model}", *more]
        logs = tmp_path / f"{len(servers)}"
        servers.append(under_test.transformer(logs, address(foreign[server], protocol), *flags))
        if ready:
            servers[-1].wait_ready()
        clients.append(httpx.Client(base_url=servers[-1].url, timeout=60))
        return clients[-1]

    yield over
    for client in clients:
        client.close()


def check_ranking(catalogue, forest, http, pair, column: int = 1) -> None:
    """The ranking of some customers is the one that the foreign model's own scores imply."""
    for customer in catalogue.buyers(5):
        question = catalogue.instance(customer)
        answer = http.post("/v1/models/hemline:predict", json={"instances": [question]})
        assert answer.status_code == 200, answer.text
        (found,) = predictions(answer.json())
        (by_our_predictor,) = predictions(pair.predict(question).json())
        articles, scores = ids(found["ranking"]), np.array([score for score, _ in found["ranking"]])
        assert len(articles) == CANDIDATES
        assert set(articles) == set(ids(by_our_predictor["ranking"]))
        features = catalogue.features(customer, articles)
        own = forest.probabilities({name: features[name].to_pylist() for name in features.column_names})
        assert np.abs(own[:, column] - scores).max() <= TOLERANCE
        assert (np.diff(scores) <= 0).all()
        assert len(np.unique(scores)) > 10
        assert "scored" not in found


@pytest.mark.parametrize(("server", "protocol"), SPEAKS)
def test_a_foreign_model_that_names_its_inputs_and_rows_ranks(
    ours, catalogue, forest, pair, server, protocol
):
    check_ranking(catalogue, forest, ours(server, protocol, "named"), pair)


@pytest.mark.parametrize(("server", "protocol"), [speaks for speaks in SPEAKS if speaks[1] != "v1"])
def test_a_foreign_model_with_class_columns_and_without_ids_or_metadata_ranks(
    ours, catalogue, forest, pair, server, protocol
):
    check_ranking(catalogue, forest, ours(server, protocol, "classes", "--score-output=predict_proba"), pair)


def test_another_column_is_the_score_where_it_is_asked_for(ours, catalogue, forest, pair):
    flags = ["--score-output=predict_proba", "--score-column=0"]
    check_ranking(catalogue, forest, ours("kserve", "v2", "classes", *flags), pair, column=0)


def test_v1_scores_without_ids_are_in_the_order_of_the_rows(ours, catalogue, forest, pair):
    check_ranking(catalogue, forest, ours("kserve", "v1", "classes"), pair)


@pytest.mark.parametrize("model", ["echoing", "talkative"])
@pytest.mark.parametrize("protocol", ["v2", "grpc-v2"])
def test_a_kserve_model_that_wants_an_id_or_says_more_than_it_is_asked_ranks(
    ours, catalogue, forest, pair, protocol, model
):
    check_ranking(catalogue, forest, ours("kserve", protocol, model), pair)


@pytest.mark.parametrize("protocol", ["v2", "grpc-v2"])
def test_the_version_that_scored_is_told(ours, a_question, protocol):
    http = ours("mlserver", protocol, "named")
    answer = http.post("/v1/models/hemline:predict", json={"instances": [a_question]})
    (found,) = predictions(answer.json())
    assert found["model_version"] == "7"


def refused(http, foreign, protocol) -> tuple[int, str]:
    """Status and code of a failure, which shows nothing of what is behind."""
    question = {"customer_id": "c", "transaction_date": "2020-09-16"}
    answer = http.post("/v1/models/hemline:predict", json={"instances": [question]})
    ports = [f":{address(server, protocol).rsplit(':')[1]}" for server in foreign.values()]
    assert not leaks(answer, *ports, "inner text", "10.0.0.1", "Traceback", "RuntimeError", "/v2/models")
    assert set(answer.json()) == {"error", "code"}
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(("server", "protocol"), SPEAKS)
def test_a_foreign_model_that_fails_is_502_and_one_that_refuses_400(ours, foreign, server, protocol):
    assert refused(ours(server, protocol, "broken"), foreign, protocol) == (502, "upstream_invalid")
    assert refused(ours(server, protocol, "refusing"), foreign, protocol) == (400, "upstream_rejected")


@pytest.mark.parametrize(("server", "protocol"), SPEAKS)
def test_a_connection_that_a_server_closes_after_a_failure_is_not_the_next_callers_problem(
    ours, a_question, server, protocol
):
    # It fails at each third request: not so often that the transformer would leave it alone.
    http = ours(server, protocol, "moody")
    body = {"instances": [a_question]}
    # uvicorn hangs up after a 500 without saying so, when the connection is back in the pool already.
    answers = [http.post("/v1/models/hemline:predict", json=body).status_code for _ in range(30)]
    first = answers.index(502)
    assert answers == [502 if number % 3 == first else 200 for number in range(30)]


@pytest.mark.parametrize(("server", "protocol"), SPEAKS)
def test_a_model_that_a_foreign_server_does_not_have_is_404_and_never_ready(
    ours, foreign, servers, server, protocol
):
    http = ours(server, protocol, "nobody", ready=False)
    assert refused(http, foreign, protocol) == (404, "upstream_not_found")
    assert not servers[-1].is_ready()


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_a_model_that_kserve_says_is_not_ready_is_503_and_never_ready(ours, foreign, servers, protocol):
    http = ours("kserve", protocol, "asleep", ready=False)
    assert refused(http, foreign, protocol) == (503, "upstream_unavailable")
    assert not servers[-1].is_ready()


def test_a_model_that_kserve_says_over_grpc_is_not_ready_is_never_ready(ours, servers):
    ours("kserve", "grpc-v2", "asleep", ready=False)  # it answers requests all the same
    servers[-1].until(lambda: looked(servers[-1]) or None, "look whether its ranker is ready")
    assert not servers[-1].is_ready()


def looked(transformer: Server) -> bool:
    """Whether a transformer has found that its ranker is not ready."""
    return any(line.get("message") == "ranker is not ready" for line in transformer.lines())


@pytest.mark.parametrize(("name", "protocol"), [("kserve", "v2"), ("mlserver", "v2"), ("kserve", "grpc-v2")])
def test_a_foreign_server_that_was_restarted_is_used_again(
    under_test, forest, servers, tmp_path, a_question, name, protocol
):
    file = str(tmp_path / "model.cbm")
    forest.model.save_model(file)
    launch = [f"{name}_predictor.py", tmp_path / name, "--model", file]
    servers.append(start(*launch))
    servers[0].wait_ready()
    ports = [address(servers[0], protocol).rsplit(":")[1] for protocol in ("v2", "grpc-v2")]
    flags = [f"--predictor_protocol={protocol}", "--predictor_model=named"]
    transformer = under_test.transformer(tmp_path, address(servers[0], protocol), *flags)
    servers.append(transformer)

    def ask() -> httpx.Response:
        body = {"instances": [a_question]}
        return httpx.post(f"{transformer.url}/v1/models/hemline:predict", json=body, timeout=60)

    transformer.wait_ready()
    assert ask().status_code == 200
    servers[0].kill()
    answer = ask()
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
    assert not leaks(answer, *ports)
    transformer.until(lambda: not transformer.is_ready() or None, "say that it is not ready")
    servers.append(start(*launch, f"--http_port={ports[0]}", f"--grpc_port={ports[1]}"))
    transformer.wait_ready()
    assert ask().status_code == 200


@pytest.fixture
def labelling(under_test, foreign, tmp_path, servers):
    """Makes the data plane's example of a transformer, over (foreign server, protocol, its model)."""

    def over(server: str, protocol: str, model: str) -> Server:
        flags = [f"--model-name={model}", f"--predictor-host={address(foreign[server], protocol)}"]
        flags += ["--predictor-grpc"] if protocol == "grpc-v2" else []
        servers.append(
            under_test.example("transformer", tmp_path / f"{len(servers)}.log", "--scale=2", *flags)
        )
        servers[-1].wait_ready()
        return servers[-1]

    return over


@pytest.mark.parametrize(("server", "protocol"), [speaks for speaks in SPEAKS if speaks[1] != "v1"])
def test_the_example_of_a_transformer_scales_and_labels_for_a_foreign_model(
    labelling, catalogue, forest, server, protocol
):
    articles = [str(article) for article in catalogue.article_ids[:50]]
    features = catalogue.features(catalogue.buyers(1)[0], articles)
    given = {name: features[name].to_pylist() for name in features.column_names}
    doubled = {
        name: [2 * value for value in values] if forest.datatype(name) == "FP32" else values
        for name, values in given.items()
    }
    before, own = (forest.probabilities(columns)[:, 1] for columns in (given, doubled))
    assert np.abs(before - own).max() > TOLERANCE, "whether anything was scaled would not be seen"

    example = labelling(server, protocol, "named")
    metadata = httpx.get(f"{example.url}/v2/models/named").json()
    assert {tensor["name"] for tensor in metadata["inputs"]} == {*given, "article_id"}
    columns = {name: (forest.datatype(name), [[value] for value in values]) for name, values in given.items()}
    body = v2_body(**columns, article_id=("BYTES", [[article] for article in articles]))
    answer = httpx.post(f"{example.url}/v2/models/named/infer", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    found = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    scores = dict(zip(found["article_ids"], found["scores"], strict=True))
    assert scores == pytest.approx(dict(zip(articles, own, strict=True)), abs=TOLERANCE)
    assert found["label"] == ["yes" if score > 0.5 else "no" for score in found["scores"]]


@pytest.mark.parametrize(("server", "protocol"), [speaks for speaks in SPEAKS if speaks[1] != "v1"])
@pytest.mark.parametrize(
    ("model", "told"), [("broken", (502, "upstream_invalid")), ("refusing", (400, "upstream_rejected"))]
)
def test_the_example_of_a_transformer_keeps_the_class_of_a_failure_and_no_address(
    labelling, foreign, server, protocol, model, told
):
    example = labelling(server, protocol, model)
    inputs = httpx.get(f"{example.url}/v2/models/{model}").json()["inputs"]
    values = {"FP32": 0.5, "BYTES": "a"}
    body = v2_body(
        **{tensor["name"]: (tensor["datatype"], [[values[tensor["datatype"]]]]) for tensor in inputs}
    )
    answer = httpx.post(f"{example.url}/v2/models/{model}/infer", json=body, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == told
    ports = [f":{address(behind, protocol).rsplit(':')[1]}" for behind in foreign.values()]
    assert not leaks(answer, *ports, "inner text", "10.0.0.1", "Traceback", "RuntimeError", "/v2/models")


@pytest.fixture(scope="module")
def rows(catalogue) -> dict:
    """A V1 instance as predictor-gbdt takes it: rows of features, and their ids."""
    articles = list(catalogue.article_ids[:50])
    features = catalogue.features(catalogue.buyers(1)[0], articles)
    columns = [features[name].to_pylist() for name in features.column_names]
    return {"ranking_features": [list(row) for row in zip(*columns, strict=True)], "article_ids": articles}


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
def test_our_predictor_ranks_behind_kserves_transformer(
    under_test, servers, tmp_path, rows, protocol, catalogue
):
    predictor = under_test.predictor(tmp_path / "predictor.log", "--model_name=rows", "--grpc-port=0")
    servers.append(predictor)
    predictor.wait_ready()
    direct = httpx.post(f"{predictor.url}/v1/models/rows:predict", json={"instances": [rows]}).json()
    (prediction,) = direct["predictions"]
    own = dict(zip(prediction["article_ids"], prediction["scores"], strict=True))

    features = ",".join(f"{name}={datatype}" for name, datatype in catalogue.inputs)
    flags = ["--model_name=rows", f"--predictor_protocol={protocol}", f"--features={features}"]
    host = f"--predictor_host={address(predictor, protocol)}"
    theirs = start("kserve_transformer.py", tmp_path / "kserve", *flags, host)
    servers.append(theirs)
    theirs.wait_ready()
    answer = httpx.post(f"{theirs.url}/v1/models/rows:predict", json={"instances": [rows]}, timeout=60)
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["predictions"]
    assert {article: score for score, article in found["ranking"]} == pytest.approx(own, abs=1e-7)
    scores = [score for score, _ in found["ranking"]]
    assert scores == pytest.approx(sorted(own.values(), reverse=True), abs=1e-7)

    broken = rows | {"article_ids": rows["article_ids"][:1] * len(rows["article_ids"])}
    broken["ranking_features"] = [[*row[:1], "summer", *row[2:]] for row in rows["ranking_features"]]
    if protocol == "v1":
        # KServe makes 500 of every refusal; what the caller reads is still our text.
        answer = httpx.post(f"{theirs.url}/v1/models/rows:predict", json={"instances": [broken]}, timeout=60)
        assert "field `ranking_features[0][1]` (`month_sin`): expected FP32" in answer.json()["error"]
        assert "400 Bad Request" in answer.json()["error"]

    predictor.kill()
    theirs.until(lambda: not theirs.is_ready() or None, "see that its predictor is away")
