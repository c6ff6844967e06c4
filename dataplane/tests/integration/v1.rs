//! V1: predict, and the questions around it.

use dataplane::{Datatype, InferRequest, ModelMetadata, Result, TensorMetadata, v1::V1Codec};
use serde_json::{json, value::RawValue};

use crate::serving::{columns, rows, server};

const PREDICT: &str = "/v1/models/sum:predict";
const ONE: &str = r#"{"instances": [{"rows": [[1, 10], [2.5, 20]], "ids": ["x", "y"]}]}"#;

#[tokio::test]
async fn each_instance_gets_one_prediction_in_order() {
    let body = r#"{"instances": [
        {"rows": [[1, 10], [2.5, 20]], "ids": ["x", "y"]},
        {"ids": [], "rows": []},
        {"rows": [[0, -1]], "ids": ["\u00e9\"\n"], "more": {"is": ["passed", "over"]}}]}"#;
    let answer = server().post(PREDICT, body).await;
    assert_eq!(
        answer.json(),
        json!({"predictions": [
            {"sums": [11.0, 22.5], "ids": ["x", "y"]},
            {"sums": [], "ids": []},
            {"sums": [-1.0], "ids": ["é\"\n"]}]})
    );
}

#[tokio::test]
async fn instances_may_be_called_inputs_and_those_win() {
    let server = server();
    let body = ONE.replace("instances", "inputs");
    assert_eq!(server.post(PREDICT, body).await.json()["predictions"][0]["sums"], json!([11.0, 22.5]));
    let both = r#"{"instances": 7, "inputs": [{"rows": [[1, 1]], "ids": ["x"]}]}"#;
    assert_eq!(server.post(PREDICT, both).await.json()["predictions"][0]["sums"], json!([2.0]));
    let null = ONE.replacen('{', r#"{"inputs": null, "#, 1);
    assert_eq!(server.post(PREDICT, null).await.json()["predictions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn json_is_taken_in_every_dress_that_clients_send_it_in() {
    let server = server();
    server.post(PREDICT, ONE).await.json();
    for content_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/cloudevents+json",
        "application/ld+json;profile=x",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ] {
        server.post_as(content_type, PREDICT, ONE).await.json();
    }
    for content_type in ["text/plain", "application/xml", "multipart/form-data; boundary=x", "json"] {
        let (status, code, message) = server.post_as(content_type, PREDICT, ONE).await.failure();
        assert_eq!((status, code.as_str()), (415, "unsupported_media_type"), "{content_type}");
        assert!(message.contains("expected application/json"), "{message}");
    }
}

#[tokio::test]
async fn a_body_that_can_not_be_read_is_400_and_says_why() {
    let server = server();
    for (body, message) in [
        ("", "the body is no JSON: EOF while parsing a value at line 1 column 0"),
        ("{\"instances\": [1,}", "the body is no JSON: expected value at line 1 column 18"),
        ("{} {}", "the body is no JSON: trailing characters at line 1 column 4"),
        (
            r#"[{"instances": []}]"#,
            "the body: expected an object with a list of `instances` (invalid type: sequence, expected an object)",
        ),
        (
            r#"{"instances": [1], "instances": [2]}"#,
            "the body: expected an object with a list of `instances` (`instances` is given twice)",
        ),
    ] {
        server.post(PREDICT, body).await.refuses(400, "malformed_body", message);
    }
    for body in [&b"{\"instances\": [\"\xff\"]}"[..], b"{\"x\": \"\xff\", \"instances\": [1]}"] {
        let (status, code, _) = server.post(PREDICT, body.to_vec()).await.failure();
        assert_eq!((status, code.as_str()), (400, "malformed_body"));
    }
}

#[tokio::test]
async fn wrong_instances_are_400_and_named() {
    let server = server();
    for (body, message) in [
        ("{}", "field `instances`: missing (expected a list)"),
        (r#"{"instances": null}"#, "field `instances`: missing (expected a list)"),
        (r#"{"instances": {}}"#, "Expected \"instances\" to be a list"),
        (r#"{"inputs": "x"}"#, "Expected \"inputs\" to be a list"),
        (r#"{"instances": []}"#, "field `instances`: expected at least one instance"),
        (r#"{"instances": [1, 2, 3, 4, 5]}"#, "field `instances`: expected at most 3 instances, got 5"),
        (
            r#"{"instances": [{"rows": [], "ids": []}, [1, 10]]}"#,
            "instances[1]: expected an object with `rows` and `ids` (invalid type: sequence, expected an object)",
        ),
        (r#"{"instances": [{"ids": []}]}"#, "instances[0]: field `rows`: missing"),
        (r#"{"instances": [{"rows": [], "ids": "x"}]}"#, "instances[0]: field `ids`: expected a list"),
        (
            r#"{"instances": [{"rows": [[1, 2], [3]], "ids": ["x", "y"]}]}"#,
            "instances[0]: field `rows[1]`: expected a list of 2 values",
        ),
        (
            r#"{"instances": [{"rows": [[1, 2, 3]], "ids": ["x"]}]}"#,
            "instances[0]: field `rows[0]`: expected a list of 2 values",
        ),
        (
            r#"{"instances": [{"rows": [1], "ids": ["x"]}]}"#,
            "instances[0]: field `rows[0]`: expected a list of 2 values",
        ),
        (
            r#"{"instances": [{"rows": [[1, 2], [3, "x"]], "ids": ["x", "y"]}]}"#,
            "instances[0]: field `rows[1][1]` (`b`): expected FP32, got \"x\"",
        ),
        (
            r#"{"instances": [{"rows": [[[1], 2]], "ids": ["x"]}]}"#,
            "instances[0]: field `rows[0][0]` (`a`): expected FP32, got [1], 2]]",
        ),
        (
            r#"{"instances": [{"rows": [[1, 2]], "ids": [7]}]}"#,
            "instances[0]: field `ids[0]`: expected a string, got 7",
        ),
        (
            r#"{"instances": [{"rows": [[1, 2]], "ids": ["x", "y"]}]}"#,
            "instances[0]: field `ids`: expected 1 ids, one for each of `rows`, got 2",
        ),
    ] {
        server.post(PREDICT, body).await.refuses(400, "invalid_argument", message);
    }
}

#[tokio::test]
async fn deep_nesting_is_refused_like_any_other_wrong_value() {
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    for body in [
        format!(r#"{{"instances": {deep}}}"#),
        format!(r#"{{"instances": [{{"rows": {deep}, "ids": []}}]}}"#),
        format!(r#"{{"instances": [{{"rows": [], "ids": [], "more": {deep}}}, 1]}}"#),
    ] {
        assert_eq!(server().post(PREDICT, body).await.failure().0, 400);
    }
}

#[tokio::test]
async fn json_nests_no_deeper_than_the_limit_in_both_protocols() {
    // An object, a list, and this.
    let nested = |depth: usize| "[".repeat(depth - 2) + &"]".repeat(depth - 2);
    for (path, member) in [(PREDICT, "instances"), ("/v2/models/sum/infer", "inputs")] {
        let body = |depth| format!(r#"{{"{member}": [{}]}}"#, nested(depth));
        server().post(path, body(17)).await.refuses(
            400,
            "malformed_body",
            "the body: expected lists and objects nested at most 16 deep",
        );
        let (status, _, failure) = server().post(path, body(16)).await.failure();
        assert_eq!((status, failure.contains("nested")), (400, false), "{failure}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_404_405_or_501() {
    let server = server();
    server.post("/v1/models/nope:predict", ONE).await.refuses(
        404,
        "unknown_model",
        "Model with name nope does not exist.",
    );
    server.get("/v1/models/nope").await.refuses(404, "unknown_model", "Model with name nope does not exist.");
    server.post("/v1/models/nope:explain", ONE).await.refuses(
        404,
        "unknown_model",
        "Model with name nope does not exist.",
    );
    server.post("/v1/models/sum:explain", ONE).await.refuses(
        501,
        "unimplemented",
        "Model with name sum does not explain.",
    );
    server.post("/v1/models/sum:dance", ONE).await.refuses(
        404,
        "unknown_route",
        "no such verb: dance; try sum:predict",
    );
    server.post("/v1/models/sum/", ONE).await.refuses(404, "unknown_route", "no such path: /v1/models/sum/");
    let message = "POST is not allowed on /v1/models/sum; try sum:predict";
    server.post("/v1/models/sum", ONE).await.refuses(405, "method_not_allowed", message);
    // A name may hold a colon, so a model of that name could be asked whether it is ready; here none is.
    let answer = server.get(PREDICT).await;
    answer.refuses(405, "method_not_allowed", "GET is not allowed on /v1/models/sum:predict");
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(server.post("/v1/models/sum", ONE).await.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_name_is_decoded_and_what_is_no_text_names_nothing() {
    let server = server();
    server.post("/v1/models/s%75m%3Apredict", ONE).await.json();
    assert_eq!(server.get("/v1/models/a%0Ab").await.failure().2, "Model with name a\nb does not exist.");
    assert_eq!(server.get("/v1/models/%ff").await.failure().0, 404);
}

#[tokio::test]
async fn models_are_listed_and_say_whether_they_are_ready() {
    let server = server();
    let models = server.get("/v1/models").await.json();
    assert_eq!(models["models"].as_array().unwrap().len(), 7);
    assert_eq!(server.get("/v1/models/sum").await.json(), json!({"name": "sum", "ready": true}));
    let unready = server.get("/v1/models/unready").await;
    unready.refuses(503, "not_ready", "Model with name unready is not ready.");
    assert_eq!(unready.header("retry-after"), Some("1"));
    server.post("/v1/models/unready:predict", ONE).await.refuses(
        503,
        "not_ready",
        "Model with name unready is not ready.",
    );
}

#[tokio::test]
async fn a_draining_server_says_so_for_each_model_and_still_answers() {
    let server = server();
    server.handler.readiness.drain();
    server.get("/v1/models/sum").await.refuses(503, "not_ready", "Server is not ready: draining.");
    server.get("/v2/models/sum/ready").await.refuses(503, "not_ready", "Server is not ready: draining.");
    server.post(PREDICT, ONE).await.json();
}

#[test]
fn optional_columns_at_the_end_may_be_left_out_of_all_rows_alike() {
    let optional = ["c", "d"].map(|name| TensorMetadata::optional(name, Datatype::Bytes, &[-1, 1]));
    let codec = dataplane::v1::RowsCodec { columns: [columns(), optional.to_vec()].concat(), ..rows() };
    let read = |rows: &str, ids: usize| -> Result<Vec<InferRequest>> {
        let ids = vec!["x"; ids];
        let instance = RawValue::from_string(format!(r#"{{"rows": {rows}, "ids": {}}}"#, json!(ids))).unwrap();
        codec.decode(&[&instance], &ModelMetadata::default())
    };
    for (rows, ids, names) in [
        (r#"[[1, 2, "a", "b"], [3, 4, "c", "d"]]"#, 2, vec!["a", "b", "c", "d", "id"]),
        (r#"[[1, 2, "a"]]"#, 1, vec!["a", "b", "c", "id"]),
        ("[[1, 2], [3, 4]]", 2, vec!["a", "b", "id"]),
        ("[]", 0, vec!["a", "b", "c", "d", "id"]),
    ] {
        let requests = read(rows, ids).unwrap();
        let inputs = requests[0].inputs.iter();
        assert_eq!(inputs.clone().map(dataplane::Tensor::name).collect::<Vec<_>>(), names, "{rows}");
        assert!(inputs.clone().all(|input| input.shape() == [ids, 1]), "{rows}");
    }
    for (rows, expected) in [
        ("[[1]]", "instances[0]: field `rows[0]`: expected a list of 2 to 4 values"),
        (r#"[[1, 2, "a", "b", "c"]]"#, "instances[0]: field `rows[0]`: expected a list of 2 to 4 values"),
        (r#"[[1, 2, "a"], [3, 4]]"#, "instances[0]: field `rows[1]`: expected a list of 3 values"),
        (r#"[[1, 2], [3, 4, "a"]]"#, "instances[0]: field `rows[1]`: expected a list of 2 values"),
    ] {
        assert_eq!(read(rows, 2).unwrap_err().message(), expected);
    }
}
