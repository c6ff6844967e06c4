"""What a shop's pages ask a transformer beside recommendations."""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mock_predictor import MockPredictor, Reply, answer, good, told
from told import Shop, event, purchase, shops
from under_test import leaks, replace, shadow, sign

from hemline import bundle as bundles
from hemline.pair import MODEL, predictions, v2_body
from hemline.schema import ARTICLE_ATTRIBUTES

OPEN = "--customer-search=true"
TEXTS = ("article_id", "prod_name", "detail_desc", "image")
HOSTILE = ("'; DROP TABLE customers; --", "%", "_", "anna%", "<script>", "✂ é", "../../etc/passwd", "\\", '"')


@pytest.fixture
def shop(under_test, a_store, pair, tmp_path) -> Iterator[Shop]:
    """A transformer over an empty store of each kind, which tells of customers."""
    predictor = pair.predictor.url.removeprefix("http://")
    with shops(under_test, a_store.url, predictor, tmp_path, OPEN, count=1) as (shop,):
        yield shop


def read(http: httpx.Client, path: str, **parameters: object) -> dict:
    """An answer that must be one."""
    answered = http.get(path, params=parameters)
    assert answered.status_code == 200, answered.text
    return answered.json()


def refused(http: httpx.Client, path: str) -> tuple[int, str, str]:
    """Status, code and text of a refusal."""
    answered = http.get(path)
    assert set(answered.json()) == {"error", "code"}, answered.text
    return answered.status_code, answered.json()["code"], answered.json()["error"]


# --- Articles ---


def test_articles_are_told_in_the_order_asked_as_the_catalogue_has_them(pair, catalogue):
    asked = [str(article) for article in catalogue.article_ids[[7, 3, 11]]]
    told = read(pair.http, "/v1/articles", ids=",".join([*asked, "no such article", asked[0]]))
    assert told["unknown"] == ["no such article"]
    assert [article["article_id"] for article in told["articles"]] == asked
    columns = [*TEXTS, *ARTICLE_ATTRIBUTES]
    table = pq.read_table(catalogue.work / "articles.parquet", columns=columns)
    for article in told["articles"]:
        row = table.slice(catalogue.rows[article["article_id"]], 1).to_pylist()[0]
        texts = set(article) - {"price", "in_stock"}
        assert {name: article[name] for name in texts} == {name: row[name] for name in texts}
        assert {*TEXTS, "product_type_name", "index_group_name", "price", "in_stock"} <= set(article)


def test_a_price_is_a_number_or_nothing(pair, under_test, catalogue):
    prices = pa.ipc.open_file(under_test.bundle / bundles.ARTICLES).read_all()["price"].to_numpy()
    without_one = [row for row in range(len(prices)) if prices[row] != prices[row]][:5]
    rows = [*range(50), *without_one]
    ids = ",".join(str(catalogue.article_ids[row]) for row in rows)
    for row, article in zip(rows, read(pair.http, "/v1/articles", ids=ids)["articles"], strict=False):
        assert article["price"] == (None if row in without_one else pytest.approx(prices[row], rel=1e-6))


def test_what_is_sold_out_is_told_as_of_now(shop, a_store, catalogue):
    first, second = (str(article) for article in catalogue.article_ids[:2])

    def in_stock() -> list[bool]:
        told = read(shop.http, "/v1/articles", ids=f"{first},{second}")
        return [article["in_stock"] for article in told["articles"]]

    assert in_stock() == [True, True]
    a_store.execute("INSERT INTO hemline.stock VALUES (?, 0)", [(second,)])
    assert in_stock() == [True, False]
    a_store.execute("UPDATE hemline.stock SET quantity = 1 WHERE article_id = ?", [(second,)])
    assert in_stock() == [True, True]


def test_a_new_bundles_articles_are_told_once_it_is_served(under_test, pair, tmp_path, catalogue, servers):
    """Its first article has another name, and it has no column of images."""
    new = shadow(under_test.bundle, tmp_path / "new")
    table = pa.ipc.open_file(under_test.bundle / bundles.ARTICLES).read_all()
    names = ["<b>Renamed</b> ✂", *table["prod_name"].to_pylist()[1:]]
    table = table.set_column(table.column_names.index("prod_name"), "prod_name", pa.array(names))
    write(new, table.drop_columns(["image"]))
    link = tmp_path / "current"
    link.symlink_to(under_test.bundle)
    predictor = pair.predictor.url.removeprefix("http://")
    servers.append(
        under_test.transformer(tmp_path, predictor, "--enable_control", "--model_watch=0", bundle=link)
    )
    servers[0].wait_ready()
    article = str(catalogue.article_ids[0])
    with httpx.Client(base_url=servers[0].url, timeout=30) as http:
        (before,) = read(http, "/v1/articles", ids=article)["articles"]
        link.with_suffix(".next").symlink_to(new)
        os.replace(link.with_suffix(".next"), link)
        assert read(http, "/v1/articles", ids=article)["articles"] == [before]
        assert http.post(f"/v2/repository/models/{MODEL}/load").status_code == 200
        (after,) = read(http, "/v1/articles", ids=article)["articles"]
    assert before["image"]
    assert after == {key: value for key, value in before.items() if key != "image"} | {"prod_name": names[0]}


def write(bundle: Path, table: pa.Table) -> None:
    """Another article table for a shadow."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table.combine_chunks().to_batches()[0])
    replace(bundle, bundles.ARTICLES, sink.getvalue().to_pybytes())
    sign(bundle)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "parameter `ids`: expected 1 to 200 ids with commas between them, got 0"),
        (
            "?ids=" + ",".join(map(str, range(201))),
            "parameter `ids`: expected 1 to 200 ids with commas between",
        ),
        ("?ids=a,,b", "parameter `ids`: expected ids of 1 to 256 characters"),
        ("?ids=a%00b", "parameter `ids`: expected UTF-8 without control characters"),
        ("?ids=a&ids=b", "parameter `ids`: stands twice"),
        ("?id=a", "parameter `id`: unknown (expected `ids`)"),
    ],
)
def test_a_wrong_question_about_articles_is_refused_by_its_parameter(pair, query, text):
    status, code, error = refused(pair.http, f"/v1/articles{query}")
    assert (status, code) == (400, "invalid_argument")
    assert text in error


# --- Customers ---


def test_customers_are_told_of_to_nobody_by_default(pair, catalogue):
    customer = str(catalogue.customer_ids[0])
    for path in ("/v1/customers", f"/v1/customers?search={customer[:5]}", f"/v1/customers/{customer}"):
        status, code, error = refused(pair.http, path)
        assert (status, code) == (403, "forbidden"), path
        assert "--customer-search" in error
        assert customer not in error
    assert "latest" not in read(pair.http, "/v1/interactions")


def test_customers_are_found_by_the_beginning_of_their_ids(shop, a_store):
    a_store.know({"anna": 41, "annabel": None, "Anna": 30, "bob": 20, "anna%": 50})
    a_store.buy("annabel", ["0108775015", "0108775044"])

    def found(**parameters: object) -> list[str]:
        told = read(shop.http, "/v1/customers", **parameters)["customers"]
        return [customer["customer_id"] for customer in told]

    assert found(search="anna") == ["anna", "anna%", "annabel"]
    assert found(search="anna", limit=1) == ["anna"]
    assert found(search="anna%") == ["anna%"]
    assert found()[0] == "annabel", "the only one who bought anything"
    assert len(found(limit=3)) == 3
    for hostile in ("'; DROP TABLE customers; --", "%", "_", "\\"):
        assert found(search=hostile) == []
    (annabel,) = read(shop.http, "/v1/customers", search="annabel")["customers"]
    assert annabel == {
        "customer_id": "annabel",
        "age": None,
        "club_member_status": "ACTIVE",
        "purchases": 2,
    }
    for wrong in ("limit=0", "limit=101", "limit=x", "search=%00", "offset=1"):
        status, _, error = refused(shop.http, f"/v1/customers?{wrong}")
        assert status == 400
        assert f"parameter `{wrong.split('=')[0]}`" in error


def test_a_customers_purchases_are_told_newest_first_at_once(shop, a_store):
    a_store.know({"anna": 41.5})
    a_store.buy("anna", [f"{number:010}" for number in range(60)])
    now = purchase("anna", "0999999999")
    assert shop.tell(now).status_code == 202
    anna = read(shop.http, "/v1/customers/anna")
    assert (anna["known"], anna["age"], len(anna["purchases"])) == (True, 41.5, 50)
    assert anna["purchases"][0]["article_id"] == "0999999999"
    assert anna["purchases"][1] == {"article_id": "0000000000", "bought_on": "2020-01-01"}
    assert shop.tell(event("click", "visitor-7", "0999999999")).status_code == 202
    visitor = {"customer_id": "visitor-7", "known": False, "age": None, "purchases": []}
    assert read(shop.http, "/v1/customers/visitor-7") == visitor


@pytest.mark.parametrize("customer", HOSTILE)
def test_any_text_is_an_id_that_a_store_can_be_asked_for(shop, customer):
    bought = purchase(customer, "0108775015")
    assert shop.tell(bought).status_code == 202
    told = read(shop.http, f"/v1/customers/{quote(customer, safe='')}")
    assert (told["customer_id"], len(told["purchases"])) == (customer, 1)
    assert read(shop.http, "/v1/interactions", ranker=customer)["totals"]["purchase"] == 0


@pytest.mark.parametrize(
    ("customer", "status"), [("%00", 400), ("a%0Ab", 400), ("a" * 257, 400), ("%FF", 404)]
)
def test_what_no_id_can_be_is_refused(shop, customer, status):
    assert refused(shop.http, f"/v1/customers/{customer}")[0] == status


# --- Interactions ---


def test_what_is_told_is_counted_at_once_by_the_ranker_of_its_list(shop, catalogue):
    visitor = f"visitor {uuid.uuid4()}"
    asked = {"customer_id": visitor, "transaction_date": catalogue.date, "k": 3}
    listed = shop.prediction(**asked)
    articles = [article for _, article in listed["ranking"]]
    seen = [event("shown", visitor, article, list_id=listed["list_id"]) for article in articles]
    assert (
        shop.tell(*seen, event("click", visitor, articles[0], list_id=listed["list_id"])).status_code == 202
    )
    # It happened long ago, and is told now: what is live is what is told.
    old = purchase(visitor, articles[0], list_id="page-9", time="2020-09-16T10:00:00Z")
    assert shop.tell(old).status_code == 202
    told = read(shop.http, "/v1/interactions", bucket="minute")
    counts = {"shown": 3, "click": 1, "purchase": 0, "dismiss": 0}
    other = dict.fromkeys(counts, 0) | {"purchase": 1}
    assert told["totals"] == counts | {"purchase": 1}
    assert told["rankers"] == [{"ranker": "", **other}, {"ranker": "ranking", **counts}]
    assert sum(bucket["shown"] for bucket in told["series"]) == 3
    assert all(told["since"] <= bucket["at"] <= told["until"] for bucket in told["series"])
    assert len(told["latest"]) == 5
    newest = told["latest"][0]
    assert (newest["kind"], newest["customer_id"], newest["list_id"]) == ("purchase", visitor, "page-9")
    of_one = read(shop.http, "/v1/interactions", ranker="ranking", since=told["since"])
    assert (of_one["totals"], of_one["bucket"]) == (counts, "hour")
    assert {latest["list_id"] for latest in of_one["latest"]} == {listed["list_id"]}


def test_what_was_told_before_is_not_counted(shop, a_store):
    assert shop.tell(event("shown", "anna", "0108775015")).status_code == 202
    a_store.execute("UPDATE hemline.interactions SET recorded_at = '2020-01-01T00:00:00.000Z'")
    told = read(shop.http, "/v1/interactions", bucket="day")
    assert (told["totals"]["shown"], told["series"], told["latest"]) == (0, [], [])


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("bucket=week", "parameter `bucket`: expected minute, hour or day, got `week`"),
        ("since=yesterday", "parameter `since`: expected a time such as"),
        ("since=2999-01-01T00:00:00Z", "parameter `since`: expected a time that has been"),
        ("since=2020-01-01T00:00:00Z", "parameter `since`: expected at most 1000 buckets of a hour"),
        ("until=2020-01-01T00:00:00Z", "parameter `until`: unknown (expected `since`, `bucket`, `ranker`)"),
    ],
)
def test_a_wrong_window_is_refused_by_its_parameter(pair, query, text):
    status, code, error = refused(pair.http, f"/v1/interactions?{query}")
    assert (status, code) == (400, "invalid_argument")
    assert text in error


def test_a_store_that_is_away_says_nothing_of_where_it_was(under_test, away, pair, tmp_path):
    predictor = pair.predictor.url.removeprefix("http://")
    with shops(under_test, away.url, predictor, tmp_path, OPEN, count=1) as (shop,):
        away.server.kill()
        for path in ("/v1/customers", "/v1/customers/anna", "/v1/interactions", "/v1/articles?ids=a"):
            answered = shop.http.get(path)
            assert answered.status_code in (503, 504), answered.text
            assert not leaks(answered, away.url)
        assert shop.http.get("/v1/rankers").status_code == 200


# --- Rankers and candidates ---


def twenty(request: dict) -> Reply:
    """An honest answer about the first 20."""
    outputs = {output["name"]: output["data"] for output in good(request)["outputs"]}
    return Reply.of(answer(outputs["scores"][:20], outputs["article_ids"][:20]))


def test_rankers_are_told_with_who_is_there_and_how_many_each_scores(under_test, pair, tmp_path, catalogue):
    host = pair.predictor.url.removeprefix("http://")
    with MockPredictor() as few, MockPredictor() as away:
        few.reply, away.ready = twenty, False
        arguments = [
            f"--ranker=few={few.host}",
            f"--ranker=away={away.host}",
            "--active-ranker=ranking=1,few=3",
        ]
        with shops(under_test, under_test.store, host, tmp_path, *arguments, count=1) as (shop,):

            def rankers() -> dict[str, dict]:
                told = read(shop.http, "/v1/rankers")
                assert told["active"] == "few"
                return {ranker["name"]: ranker for ranker in told["rankers"]}

            shop.server.until(lambda: rankers()["few"]["ready"] or None, "find the ranker")
            unasked = {"ready": True, "most": None}
            assert list(rankers()) == ["ranking", "few", "away"]
            assert rankers()["ranking"] == {"name": "ranking", "share": 0.25} | unasked
            assert rankers()["few"] == {"name": "few", "share": 0.75} | unasked
            assert rankers()["away"] == {"name": "away", "ready": False, "most": None, "share": 0.0}
            question = catalogue.instance(catalogue.buyers(1)[0])
            assert shop.prediction(**question, ranker="few")["scored"] == 20
            shop.prediction(**question, ranker="ranking")
            assert (rankers()["few"]["most"], rankers()["ranking"]["most"]) == (20, None)
            few.reply = told
            shop.prediction(**question, ranker="few")
            assert rankers()["few"]["most"] is None, "it scores all by now"


def test_all_candidates_are_told_in_retrieval_order_where_they_are_asked_for(pair, catalogue):
    question = catalogue.instance(catalogue.buyers(1)[0])
    (listed,) = predictions(pair.predict(question).json())
    asked = question | {"k": 3, "candidates": True}
    (explanation,) = pair.explain(asked).json()["explanations"]
    candidates = explanation["candidates"]
    assert [candidate["retrieval_rank"] for candidate in candidates] == list(range(1, len(candidates) + 1))
    nearness = [candidate["retrieval_score"] for candidate in candidates]
    assert nearness == sorted(nearness, reverse=True)
    # Before ranking and after: the same articles, the same scores.
    assert {candidate["article_id"]: candidate["score"] for candidate in candidates} == {
        article: score for score, article in listed["ranking"]
    }
    best = {candidate["article_id"]: candidate for candidate in candidates}
    for article in explanation["articles"]:
        candidate = best[article["article_id"]]
        assert candidate["sources"] == article["retrieval"]["sources"]
        assert candidate["retrieval_rank"] == article["retrieval"]["rank"]
    (plain,) = pair.explain(question | {"k": 3}).json()["explanations"]
    assert explanation == plain | {"candidates": candidates}
    by_v2 = v2_body(options=("BYTES", [json.dumps(asked)])) | {"outputs": [{"name": "explanations"}]}
    (output,) = pair.http.post(f"/v2/models/{MODEL}/infer", json=by_v2).json()["outputs"]
    assert json.loads(output["data"][0]) == explanation


def test_a_candidate_that_was_not_scored_has_no_score(under_test, tmp_path, catalogue, servers):
    with MockPredictor() as mock:
        mock.outputs = [{"name": "explanations", "datatype": "BYTES", "shape": [-1]}]
        mock.reply = lambda request: (
            told(request)
            if request.get("outputs", [{}])[-1].get("name") == "explanations"
            else twenty(request)
        )
        servers.append(under_test.transformer(tmp_path, mock.host))
        question = catalogue.instance(catalogue.buyers(1)[0], candidates=True)
        (explanation,) = Shop(servers[0]).explain(question).json()["explanations"]
    scores = [candidate["score"] for candidate in explanation["candidates"]]
    assert all(score is not None for score in scores[:20])
    assert set(scores[20:]) == {None}


def test_candidates_are_told_only_beside_explanations(pair, catalogue):
    question = catalogue.instance(catalogue.buyers(1)[0])
    refusal = pair.predict(question | {"candidates": True})
    assert refusal.status_code == 400
    expected = "row 0: field `candidates`: expected only where explanations are asked for"
    assert refusal.json()["error"] == expected
    assert "field `candidates`" in pair.explain(question | {"candidates": 5}).json()["error"]


def test_a_ranker_that_does_not_explain_has_no_candidates_to_tell(under_test, tmp_path, catalogue, servers):
    with MockPredictor() as mock:
        servers.append(under_test.transformer(tmp_path, mock.host))
        question = catalogue.instance(catalogue.buyers(1)[0], candidates=True)
        answered = Shop(servers[0]).explain(question)
    assert (answered.status_code, answered.json()["code"]) == (501, "unimplemented")
