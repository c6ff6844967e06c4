//! V2: metadata, readiness, infer.

use serde_json::{Value, json};

use crate::serving::server;

const INFER: &str = "/v2/models/sum/infer";

fn column(name: &str, data: &Value) -> Value {
    json!({"name": name, "shape": [2, 1], "datatype": "FP32", "data": data})
}

fn ids() -> Value {
    json!({"name": "id", "shape": [2, 1], "datatype": "BYTES", "data": ["x", "y"]})
}

fn inputs() -> Vec<Value> {
    vec![column("a", &json!([1, 2.5])), column("b", &json!([10, 20])), ids()]
}

fn request() -> Value {
    json!({"inputs": inputs()})
}

#[tokio::test]
async fn an_answer_has_every_output_and_says_who_answered() {
    assert_eq!(
        server().post(INFER, request().to_string()).await.json(),
        json!({"model_name": "sum", "model_version": "3", "outputs": [
            {"name": "sum", "shape": [2], "datatype": "FP32", "data": [11.0, 22.5]},
            {"name": "id", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]}]})
    );
}

#[tokio::test]
async fn nested_data_means_the_same_as_flat() {
    let nested = json!({"inputs": [column("a", &json!([[1], [2.5]])), column("b", &json!([[10], [20]])), ids()]});
    let answer = server().post(INFER, nested.to_string()).await;
    assert_eq!(answer.json()["outputs"][0]["data"], json!([11.0, 22.5]));
}

#[tokio::test]
async fn members_may_come_in_any_order_with_null_for_what_is_absent() {
    let body = r#" {"outputs": null, "id": null, "parameters": null, "more": {"x": []}, "inputs": [
        {"data": [1], "datatype": "FP32", "shape": [1, 1], "name": "a", "parameters": {}},
        {"data": [[2]], "name": "b", "datatype": "FP32", "shape": [1, 1]},
        {"data": ["\u0069d"], "n\u0061me": "id", "datatype": "BYTES", "shape": [1, 1]}]} "#;
    let answer = server().post(INFER, body).await.json();
    assert_eq!((&answer["outputs"][0]["data"], &answer["outputs"][1]["data"]), (&json!([3.0]), &json!(["id"])));
}

#[tokio::test]
async fn outputs_are_those_asked_for_in_that_order() {
    let server = server();
    for wanted in [vec!["id", "sum"], vec!["id"], vec!["sum", "id"]] {
        let mut request = request();
        request["outputs"] = wanted.iter().map(|name| json!({"name": name})).collect();
        let answer = server.post(INFER, request.to_string()).await.json();
        let names: Vec<_> = answer["outputs"].as_array().unwrap().iter().map(|output| &output["name"]).collect();
        assert_eq!(names, wanted);
    }
}

#[tokio::test]
async fn an_id_is_echoed_and_an_absent_one_stays_absent() {
    let server = server();
    let mut request = request();
    assert_eq!(server.post(INFER, request.to_string()).await.json().get("id"), None);
    request["id"] = json!("seven");
    assert_eq!(server.post(INFER, request.to_string()).await.json()["id"], "seven");
}

#[tokio::test]
async fn parameters_reach_the_model_and_come_back() {
    let mut request = request();
    request["parameters"] = json!({"k": 3, "fast": true, "tier": "gold", "weight": 0.5});
    assert_eq!(server().post(INFER, request.to_string()).await.json()["parameters"], request["parameters"]);
}

#[tokio::test]
async fn an_optional_input_may_be_given() {
    let mut inputs = inputs();
    inputs.push(json!({"name": "note", "shape": [1], "datatype": "BYTES", "data": ["hello"]}));
    server().post(INFER, json!({"inputs": inputs}).to_string()).await.json();
}

async fn refusal(inputs: Value) -> String {
    let (status, code, message) = server().post(INFER, json!({"inputs": inputs}).to_string()).await.failure();
    assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{message}");
    message
}

#[tokio::test]
async fn inputs_that_do_not_fit_the_model_are_named() {
    let [a, b, id] = <[Value; 3]>::try_from(inputs()).unwrap();
    assert_eq!(refusal(json!([a, id])).await, "input `b`: missing (expected FP32 [-1, 1])");
    assert_eq!(refusal(json!([a, b, a, id])).await, "input `a`: given twice");
    let c = column("c", &json!([1, 2]));
    assert_eq!(refusal(json!([a, b, c, id])).await, "input `c`: model `sum` takes a, b, id, note");
    let whole = json!({"name": "b", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]});
    assert_eq!(refusal(json!([a, whole, id])).await, "input `b`: expected FP32, got INT64");
    let flat = json!({"name": "b", "shape": [2], "datatype": "FP32", "data": [1, 2]});
    assert_eq!(refusal(json!([a, flat, id])).await, "input `b`: expected shape [-1, 1], got [2]");
}

#[tokio::test]
async fn tensors_that_contradict_themselves_are_named() {
    for (tensor, message) in [
        (
            json!(7),
            "field `inputs[0]`: expected a tensor: an object with name, shape, datatype and data (invalid type: integer `7`, expected an object)",
        ),
        (
            json!(["a", [1], "FP32", [1]]),
            "field `inputs[0]`: expected a tensor: an object with name, shape, datatype and data (invalid type: sequence, expected an object)",
        ),
        (json!({}), "field `inputs[0].name`: missing (expected a string)"),
        (
            json!({"name": 1}),
            "field `inputs[0].name`: expected a string (invalid type: integer `1`, expected a string)",
        ),
        (json!({"name": "a"}), "field `inputs[0] `a`.shape`: missing (expected a list of whole numbers from 0)"),
        (
            json!({"name": "a", "shape": [-1]}),
            "field `inputs[0] `a`.shape`: expected a list of whole numbers from 0 (invalid value: integer `-1`, expected usize)",
        ),
        (json!({"name": "a", "shape": [1]}), "field `inputs[0] `a`.datatype`: missing (expected a string)"),
        (
            json!({"name": "a", "shape": [1], "datatype": "FP17"}),
            "field `inputs[0] `a`.datatype`: unknown datatype `FP17`",
        ),
        (
            json!({"name": "a", "shape": [1], "datatype": "FP32"}),
            "field `inputs[0] `a`.data`: missing (expected a list of elements)",
        ),
        (
            column("a", &json!([1])),
            "field `inputs[0] `a`.data`: expected FP32 of shape [2, 1]: 1 elements instead of 2",
        ),
        (
            column("a", &json!([1, 2, 3])),
            "field `inputs[0] `a`.data`: expected FP32 of shape [2, 1]: more than 2 elements",
        ),
        (
            column("a", &json!([1, "2"])),
            "field `inputs[0] `a`.data`: expected FP32 of shape [2, 1]: element 1 is \"2\"",
        ),
        (
            column("a", &json!([[1, 2]])),
            "field `inputs[0] `a`.data`: expected FP32 of shape [2, 1]: 2 items at depth 1 instead of 1",
        ),
    ] {
        assert_eq!(refusal(json!([tensor])).await, message);
    }
    assert_eq!(refusal(json!([])).await, "field `inputs`: expected at least one tensor");
    assert_eq!(refusal(json!(null)).await, "field `inputs`: missing (expected a list of tensors)");
    let message = "field `inputs`: expected a list of tensors (invalid type: string \"a\", expected a list)";
    assert_eq!(refusal(json!("a")).await, message);
}

#[tokio::test]
async fn shapes_beyond_reason_take_neither_memory_nor_stack() {
    let tensor = |shape: &Value, data: &str| {
        format!(r#"{{"inputs": [{{"name": "a", "shape": {shape}, "datatype": "FP32", "data": {data}}}]}}"#)
    };
    let server = server();
    for (shape, data) in [
        (json!([u64::MAX]), "[1]".to_owned()),
        (json!([u64::MAX, u64::MAX]), "[1]".to_owned()),
        (json!([1_000_000_000_000_u64, 1]), "[1]".to_owned()),
        (json!(vec![1; 10_000]), "[".repeat(10_000) + "1" + &"]".repeat(10_000)),
        (json!([1]), "[".repeat(20_000) + "1" + &"]".repeat(20_000)),
    ] {
        let answer = server.post(INFER, tensor(&shape, &data)).await;
        assert_eq!(answer.failure().0, 400);
        assert!(answer.body.len() < 1024, "{}", answer.text());
    }
    let rank = server.post(INFER, tensor(&json!(vec![1; 33]), "[1]")).await;
    rank.refuses(400, "invalid_argument", "field `inputs[0] `a`.shape`: expected at most 32 dimensions, got 33");
}

#[tokio::test]
async fn a_body_that_can_not_be_read_is_400_and_says_why() {
    let server = server();
    for (body, message) in [
        ("", "the body is no JSON: EOF while parsing a value at line 1 column 0"),
        ("{\"inputs\": [{]}", "the body is no JSON: key must be a string at line 1 column 14"),
        ("{\"inputs\": [{}]", "the body is no JSON: EOF while parsing an object at line 1 column 15"),
        (
            "[null, null, null, []]",
            "the body: expected a V2 request: an object with `inputs` (invalid type: sequence, expected an object)",
        ),
        (
            r#"{"inputs": [], "inputs": []}"#,
            "the body: expected a V2 request: an object with `inputs` (`inputs` is given twice)",
        ),
    ] {
        server.post(INFER, body).await.refuses(400, "malformed_body", message);
    }
    server.post(INFER, "{}").await.refuses(
        400,
        "invalid_argument",
        "field `inputs`: missing (expected a list of tensors)",
    );
}

#[tokio::test]
async fn wrong_outputs_ids_and_parameters_are_named() {
    let server = server();
    for (key, value, message) in [
        ("outputs", json!([{"name": "zzz"}]), "output `zzz`: model `sum` has no such output"),
        ("outputs", json!([{"name": "id"}, {"name": "id"}]), "output `id`: asked for twice"),
        ("outputs", json!([{}]), "field `outputs[0].name`: missing (expected a string)"),
        (
            "outputs",
            json!(["id"]),
            "field `outputs`: expected a list of objects with a `name` (item 0: invalid type: string \"id\", expected an object)",
        ),
        ("id", json!(7), "field `id`: expected a string (invalid type: integer `7`, expected a string)"),
        (
            "parameters",
            json!([]),
            "field `parameters`: expected an object of strings, numbers and bools (invalid type: sequence, expected an object)",
        ),
    ] {
        let mut request = request();
        request[key] = value;
        server.post(INFER, request.to_string()).await.refuses(400, "invalid_argument", message);
    }
}

#[tokio::test]
async fn versions_have_routes_of_their_own() {
    let server = server();
    let versioned = "/v2/models/sum/versions/3";
    assert_eq!(server.get(versioned).await.json(), server.get("/v2/models/sum").await.json());
    assert_eq!(server.get(&format!("{versioned}/ready")).await.json(), json!({"name": "sum", "ready": true}));
    let answer = server.post(&format!("{versioned}/infer"), request().to_string()).await.json();
    assert_eq!(answer["model_version"], "3");
    let message = "Model with name sum has no version 9; it has 3.";
    server.get("/v2/models/sum/versions/9").await.refuses(404, "unknown_version", message);
    server.get("/v2/models/sum/versions/9/ready").await.refuses(404, "unknown_version", message);
    let answer = server.post("/v2/models/sum/versions/9/infer", request().to_string()).await;
    answer.refuses(404, "unknown_version", message);
}

#[tokio::test]
async fn what_is_not_ready_says_so_with_retry_after() {
    let server = server();
    let message = "Model with name unready is not ready.";
    for answer in [
        server.get("/v2/models/unready/ready").await,
        server.post("/v2/models/unready/infer", request().to_string()).await,
    ] {
        answer.refuses(503, "not_ready", message);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let whole = server.get("/v2/health/ready").await;
    whole.refuses(503, "not_ready", "Server is not ready: model.");
    assert_eq!(whole.header("retry-after"), Some("1"));
    assert_eq!(server.get("/v2/health/live").await.json(), json!({"live": true}));
    let latch = server.handler.readiness.latch("predictor");
    server.get("/v2/models/sum/ready").await.refuses(503, "not_ready", "Server is not ready: predictor.");
    latch.open();
    server.get("/v2/models/sum/ready").await.json();
}

#[tokio::test]
async fn unknown_models_are_404_on_every_route() {
    let server = server();
    let message = "Model with name nope does not exist.";
    for path in ["/v2/models/nope", "/v2/models/nope/ready", "/v2/models/nope/versions/1"] {
        server.get(path).await.refuses(404, "unknown_model", message);
    }
    server.post("/v2/models/nope/infer", request().to_string()).await.refuses(404, "unknown_model", message);
}
