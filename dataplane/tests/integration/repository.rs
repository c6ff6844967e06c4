//! The model repository extension: index, load, unload.

use std::sync::Arc;

use dataplane::{limits::Limits, repository::Repository};
use serde_json::{Value, json};

use crate::{
    echo::Shelf,
    serving::{Server, Toy, serving},
};

const V2: &str = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#;

fn shelves(control: bool) -> Server {
    let repository = Repository::default()
        .with(Arc::new(Toy::new("fixed")))
        .with_loader("good", Arc::new(Shelf { name: "good", broken: false }))
        .with_loader("bad", Arc::new(Shelf { name: "bad", broken: true }));
    serving(repository, Limits::default()).controlled(control)
}

fn line(name: &str, version: &str, state: &str, reason: &str) -> Value {
    json!({"name": name, "version": version, "state": state, "reason": reason})
}

async fn index(server: &Server, body: &str) -> Value {
    server.post("/v2/repository/index", body.to_owned()).await.json()
}

#[tokio::test]
async fn the_index_tells_of_every_model_or_of_those_that_answer() {
    let server = shelves(false);
    let fixed = line("fixed", "3", "READY", "");
    let all = json!([line("bad", "", "LOADING", ""), fixed, line("good", "", "LOADING", "")]);
    for body in ["", "{}", r#"{"ready": false}"#, r#"{"ready": null}"#, r#" {"more": 1} "#] {
        assert_eq!(index(&server, body).await, all, "{body}");
    }
    assert_eq!(index(&server, r#"{"ready": true}"#).await, json!([fixed]));
    let message = "field `ready`: expected true or false (invalid type: integer `1`, expected a boolean)";
    server.post("/v2/repository/index", r#"{"ready": 1}"#).await.refuses(400, "invalid_argument", message);
    assert_eq!(server.post("/v2/repository/index", "[]").await.failure().1, "malformed_body");
}

#[tokio::test]
async fn a_model_is_loaded_and_unloaded_while_the_server_runs() {
    let server = shelves(true);
    let infer = "/v2/models/good/infer";
    assert_eq!(server.post(infer, V2).await.failure().1, "not_ready");
    for body in ["", "{}", r#"{"parameters": {}}"#, r#"{"parameters": null}"#, r#"{"parameters": {"mine": 1}}"#] {
        let answer = server.post("/v2/repository/models/good/load", body).await;
        assert_eq!(answer.json(), json!({"name": "good", "load": true}), "{body}");
    }
    server.post(infer, V2).await.json();
    let unload = "/v2/repository/models/good/unload";
    let answer = server.post(unload, r#"{"parameters": {"unload_dependents": false}}"#).await;
    assert_eq!(answer.json(), json!({"name": "good", "unload": true}));
    assert_eq!(server.post(infer, V2).await.failure().1, "not_ready");
    assert_eq!(index(&server, "").await[2], line("good", "", "UNAVAILABLE", "unloaded"));
}

#[tokio::test]
async fn a_load_that_can_not_be_done_as_asked_is_refused() {
    let server = shelves(true);
    let why = "not supported here: a model is loaded as it lies in its repository";
    for key in ["config", "file:1/model.onnx"] {
        let body = json!({"parameters": {key: "x"}}).to_string();
        let answer = server.post("/v2/repository/models/good/load", body).await;
        answer.refuses(400, "invalid_argument", &format!("field `parameters.{key}`: {why}"));
    }
    let message = "field `parameters`: expected an object of strings, numbers and bools (invalid type: integer `7`, expected a map)";
    let answer = server.post("/v2/repository/models/good/load", r#"{"parameters": 7}"#).await;
    answer.refuses(400, "invalid_argument", message);
    let message = "Model with name bad could not be loaded: its checksum is wrong";
    server.post("/v2/repository/models/bad/load", "").await.refuses(409, "load_failed", message);
    let reason = "the last load failed: its checksum is wrong";
    assert_eq!(index(&server, "").await[0], line("bad", "", "UNAVAILABLE", reason));
    let message = "Model with name fixed was there from the start and can't be loaded anew.";
    for call in ["load", "unload"] {
        let answer = server.post(&format!("/v2/repository/models/fixed/{call}"), "").await;
        answer.refuses(409, "load_failed", message);
    }
    server.get("/v2/models/fixed/ready").await.json();
    for call in ["load", "unload"] {
        let answer = server.post(&format!("/v2/repository/models/nope/{call}"), "").await;
        answer.refuses(404, "unknown_model", "Model with name nope does not exist.");
    }
}

#[tokio::test]
async fn control_calls_are_off_unless_they_are_turned_on() {
    let server = shelves(false);
    let message = "control calls are off here; --enable-control turns them on";
    for call in ["good/load", "good/unload", "nope/load"] {
        let answer = server.post(&format!("/v2/repository/models/{call}"), "").await;
        answer.refuses(403, "control_disabled", message);
    }
    assert_eq!(index(&server, r#"{"ready": true}"#).await[0]["name"], "fixed");
}
