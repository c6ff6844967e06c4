"""A caller's mistake is 4xx in the one envelope and says what and where; V1 and V2 say the same."""

import json

import httpx
import pytest
from under_test import ask_both, leaks

from hemline.pair import MODEL, predictions, v2_body

DAY = "2020-09-16"


def instance(**more: object) -> dict:
    return {"customer_id": "c", "transaction_date": DAY} | more


def rows(*options: dict) -> dict:
    """A V2 request whose rows say everything in `options`."""
    return v2_body(options=("BYTES", [json.dumps(row) for row in options]))


# What is wrong, as V1 and V2 say it, and words that the answer must have.
BOTH = {
    "no customer": ({"transaction_date": DAY}, ["row 0", "`customer_id`", "1 to 256"]),
    "a customer that is a number": (instance(customer_id=7), ["row 0", "`customer_id`", "string"]),
    "an empty customer": (instance(customer_id=""), ["row 0", "`customer_id`"]),
    "a customer of 1000 letters": (instance(customer_id="c" * 1000), ["row 0", "`customer_id`", "256"]),
    "no date": ({"customer_id": "c"}, ["row 0", "`transaction_date`", "ISO date"]),
    "a date in another form": (
        instance(transaction_date="16.9.2020"),
        ["row 0", "`transaction_date`", "16.9.2020"],
    ),
    "a date that never was": (instance(transaction_date="2020-02-30"), ["row 0", "`transaction_date`"]),
    "a date that is a number": (
        instance(transaction_date=20200916),
        ["row 0", "`transaction_date`", "string"],
    ),
    "k = 0": (instance(k=0), ["row 0", "`k`", "from 1 to"]),
    "k too large": (instance(k=1_000_000), ["row 0", "`k`", "1000000"]),
    "k below 0": (instance(k=-1), ["row 0", "`k`"]),
    "k in halves": (instance(k=1.5), ["row 0", "`k`"]),
    "k as text": (instance(k="ten"), ["row 0", "`k`"]),
    "a query_emb of another length": (
        instance(query_emb=[0.5, 1]),
        ["row 0", "`query_emb`", "numbers, got 2"],
    ),
    "an empty query_emb": (instance(query_emb=[]), ["row 0", "`query_emb`", "got 0"]),
    "a query_emb of text": (instance(query_emb=["a"]), ["row 0", "`query_emb[0]`"]),
    "a query_emb without months": ({"customer_id": "c", "query_emb": [0.1] * 16}, ["row 0", "`month_sin`"]),
    "a month out of range": (instance(month_sin=2), ["row 0", "`month_sin`", "-1 to 1"]),
    "an age out of range": (instance(age=200), ["row 0", "`age`", "0 to 130"]),
    "exclude that is no list": (instance(exclude="0108775015"), ["row 0", "`exclude`"]),
    "an id in exclude that is a number": (instance(exclude=["a", 5]), ["row 0", "`exclude[1]`"]),
    "a filter that is no object": (instance(filter="red"), ["row 0", "`filter`", "an object"]),
    "a filter on a column that is not there": (
        instance(filter={"size": "M"}),
        ["row 0", "`filter.size`", "`article_id`", "`price`"],
    ),
    "a number among a filter's texts": (
        instance(filter={"index_name": {"in": ["a", 5]}}),
        ["row 0", "`filter.index_name.in[1]`", "a string", "5"],
    ),
    "a text as a filter's bound": (
        instance(filter={"price": {"gte": "1"}}),
        ["`filter.price.gte`", "a number"],
    ),
    "another ranker": (instance(ranker="best"), ["row 0", "`ranker`", "`ranking`"]),
    "a field nobody knows": (instance(exlude=[]), ["row 0", "`exlude`"]),
}

MALFORMED = {
    "no JSON": b"{not json",
    "nothing": b"",
    "a list": b"[]",
    "a number": b"5",
    "bytes that are no text": b"\xff\xfe{}",
    "half a body": b'{"instances": [{"customer_id": "c"',
}


@pytest.fixture
def http(pair, a_question):
    """A client; after whatever a test does, the pair still answers."""
    yield pair.http
    assert pair.predict(a_question).status_code == 200
    pair.check_alive()


def check(response: httpx.Response, status: int, code: str, *words: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    envelope = response.json()
    assert set(envelope) == {"error", "code"}
    assert envelope["code"] == code
    for word in words:
        assert word in envelope["error"], envelope
    assert not leaks(response)
    return envelope


@pytest.mark.parametrize("what", BOTH)
def test_a_wrong_instance_is_400_and_says_where(http, what):
    wrong, words = BOTH[what]
    answers = ask_both(http, {"instances": [wrong]}, rows(wrong))
    envelopes = [check(answer, 400, "invalid_argument", *words) for answer in answers.values()]
    assert envelopes[0] == envelopes[1]


def test_the_row_that_is_wrong_is_named(http):
    wrong = [instance(), instance(), instance(k=0)]
    for answer in ask_both(http, {"instances": wrong}, rows(*wrong)).values():
        check(answer, 400, "invalid_argument", "row 2", "`k`")


@pytest.mark.parametrize("wrong", [7, "c", None, ["c", DAY], True])
def test_an_instance_that_is_no_object_is_400(http, wrong):
    for answer in ask_both(http, {"instances": [instance(), wrong]}, rows(instance(), wrong)).values():
        check(answer, 400, "invalid_argument", "row 1", "expected an object")


def test_no_instances_are_400(http):
    check(
        http.post(f"/v1/models/{MODEL}:predict", json={"instances": []}),
        400,
        "invalid_argument",
        "`instances`",
    )
    check(
        http.post(f"/v1/models/{MODEL}:predict", json={}), 400, "invalid_argument", "`instances`", "missing"
    )
    check(
        http.post(f"/v1/models/{MODEL}:predict", json={"instances": 5}),
        400,
        "invalid_argument",
        "instances",
        "list",
    )
    check(http.post(f"/v2/models/{MODEL}/infer", json={"inputs": []}), 400, "invalid_argument", "`inputs`")
    check(http.post(f"/v2/models/{MODEL}/infer", json={}), 400, "invalid_argument", "`inputs`", "missing")
    none = v2_body(customer_id=("BYTES", []), transaction_date=("BYTES", []))
    check(http.post(f"/v2/models/{MODEL}/infer", json=none), 400, "invalid_argument", "rows, got 0")


def test_too_many_instances_are_400(http):
    many = [instance()] * 257
    for answer in ask_both(http, {"instances": many}, rows(*many)).values():
        check(answer, 400, "invalid_argument", "256", "257")


@pytest.mark.parametrize("what", MALFORMED)
def test_a_body_that_is_none_is_400(http, what):
    for path in (f"/v1/models/{MODEL}:predict", f"/v2/models/{MODEL}/infer"):
        response = http.post(path, content=MALFORMED[what], headers={"content-type": "application/json"})
        check(response, 400, "malformed_body", "body")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datatype": "FP32", "data": [1.0]}, ["`customer_id`", "BYTES"]),
        ({"datatype": "TEXT"}, ["inputs[0] `customer_id`.datatype", "TEXT"]),
        ({"shape": [2]}, ["customer_id", "2"]),
        ({"shape": [-1]}, ["inputs[0] `customer_id`.shape"]),
        ({"shape": [1, 1, 1]}, ["`customer_id`"]),
        ({"data": [7]}, ["inputs[0] `customer_id`.data"]),
        ({"data": None}, ["inputs[0] `customer_id`.data", "missing"]),
        ({"name": "customer"}, ["`customer`"]),
    ],
)
def test_a_wrong_tensor_is_400_and_named(http, change, words):
    body = v2_body(customer_id=("BYTES", ["c"]), transaction_date=("BYTES", [DAY]))
    body["inputs"][0] |= change
    check(http.post(f"/v2/models/{MODEL}/infer", json=body), 400, "invalid_argument", *words)


def test_tensors_that_disagree_on_their_rows_are_400(http):
    body = v2_body(customer_id=("BYTES", ["a", "b"]), transaction_date=("BYTES", [DAY]))
    words = ("`customer_id`", "`transaction_date`", "rows")
    check(http.post(f"/v2/models/{MODEL}/infer", json=body), 400, "invalid_argument", *words)


def test_a_query_emb_tensor_of_another_length_is_400(http):
    body = v2_body(
        customer_id=("BYTES", ["a"]), query_emb=("FP32", [[0.5, 0.5]]), transaction_date=("BYTES", [DAY])
    )
    check(http.post(f"/v2/models/{MODEL}/infer", json=body), 400, "invalid_argument", "`query_emb`", "2")


def test_unknown_models_versions_and_paths_are_404(http):
    body = {"instances": [instance()]}
    check(http.post("/v1/models/nobody:predict", json=body), 404, "unknown_model", "nobody")
    check(http.post("/v2/models/nobody/infer", json=rows(instance())), 404, "unknown_model", "nobody")
    check(http.get("/v2/models/nobody"), 404, "unknown_model", "nobody")
    check(http.get("/v1/models/nobody"), 404, "unknown_model", "nobody")
    version = f"/v2/models/{MODEL}/versions/nine/infer"
    check(http.post(version, json=rows(instance())), 404, "unknown_version", "nine")
    check(http.get("/v3"), 404, "unknown_route", "/v3")


def test_wrong_methods_are_405(http):
    check(http.get(f"/v2/models/{MODEL}/infer"), 405, "method_not_allowed", "GET")
    check(http.post(f"/v2/models/{MODEL}", json={}), 405, "method_not_allowed", "POST")
    check(http.put(f"/v1/models/{MODEL}:predict", json={}), 405, "method_not_allowed", "PUT")


def test_a_body_that_is_too_large_is_413(http):
    check(
        http.post(f"/v1/models/{MODEL}:predict", content=b" " * (9 << 20)), 413, "payload_too_large", "larger"
    )


def test_a_content_type_that_nobody_reads_is_415(http):
    response = http.post(
        f"/v1/models/{MODEL}:predict", content=b"<a/>", headers={"content-type": "application/xml"}
    )
    check(response, 415, "unsupported_media_type", "application/json")


def test_who_rejects_unknown_customers_answers_404_and_names_the_row(under_test, tmp_path, a_question):
    with under_test.pair(tmp_path, transformer_args=["--unknown-customer=reject"]) as pair:
        assert pair.predict(a_question).status_code == 200
        unknown = a_question | {"customer_id": "nobody-knows-this-customer"}
        answers = ask_both(pair.http, {"instances": [a_question, unknown]}, rows(a_question, unknown))
        for answer in answers.values():
            check(answer, 404, "not_found", "row 1", "`customer_id`")


@pytest.mark.parametrize(
    "date",
    [
        "2020-09-16",
        "2020-09-16T23:30:00",
        "2020-09-16 10:00:00",
        "2020-09-16T10:00:00Z",
        "2020-09-16T10:00+02:00",
    ],
)
def test_dates_and_date_times_are_both_taken(http, date):
    plain, other = (
        predictions(
            http.post(
                f"/v1/models/{MODEL}:predict", json={"instances": [instance(transaction_date=day)]}
            ).json()
        )
        for day in ("2020-09-01", date)
    )
    assert plain == other


TENSOR = {"name": "customer_id", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}
HEAD = json.dumps({"inputs": [TENSOR]}).encode()
# How many bytes are said to be JSON, the body, and words that the answer must have.
BINARY = {
    "a length that is no number": ("two", HEAD, ["`inference-header-content-length`"]),
    "more JSON than there is": ("9999", HEAD, ["`inference-header-content-length`", "9999"]),
    "too few bytes": (str(len(HEAD)), HEAD + b"\1\0\0\0", ["`customer_id`", "binary_data_size"]),
    "bytes left over": (str(len(HEAD)), HEAD + b"\1\0\0\0cc", ["1 bytes are left", "`customer_id`"]),
    "a string longer than its tensor": (str(len(HEAD)), HEAD + b"\x09\0\0\0c", ["`customer_id`"]),
}


@pytest.mark.parametrize("what", BINARY)
def test_binary_tensors_that_do_not_fit_are_400(http, what):
    length, body, words = BINARY[what]
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": length}
    response = http.post(f"/v2/models/{MODEL}/infer", content=body, headers=headers)
    check(response, 400, "invalid_argument", *words)


def test_more_tensors_than_anybody_means_are_400(http):
    response = http.post(f"/v2/models/{MODEL}/infer", content='{"inputs":[' + "{}," * 5000 + "{}]}")
    check(response, 400, "invalid_argument", "1024")
