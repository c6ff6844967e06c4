//! CloudEvents around V1: both modes, and what is wrong with some.

use axum::{body::Body, http::Request};
use dataplane::{Datatype, config::CloudEvents};
use serde_json::{Value, json};

use crate::{
    echo::{Echo, echoing},
    serving::{Answer, Server},
};

const PREDICT: &str = "/v1/models/echo:predict";
const STRUCTURED: &str = "application/cloudevents+json";
const BINARY: [(&str, &str); 6] = [
    ("ce-id", "one"),
    ("ce-specversion", "1.0"),
    ("ce-source", "shop"),
    ("ce-type", "ask"),
    ("ce-subject", "you"),
    ("ce-time", "2026-01-31T12:00:00Z"),
];

fn server() -> Server {
    echoing([Echo::new("echo", &[("x", Datatype::Fp32, &[-1])])])
}

fn merging() -> Server {
    let source = Some("here".to_owned());
    server().answering_events(CloudEvents { kind: "answer".to_owned(), source, merge: true })
}

fn event() -> Value {
    let mut event: Value = BINARY.iter().map(|(name, value)| (name[3..].to_owned(), json!(value))).collect();
    event["data"] = json!({"instances": [1, 2]});
    event
}

async fn send(server: &Server, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
    let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
    server.send(request.body(Body::from(body)).unwrap()).await
}

async fn structured(server: &Server, event: &Value) -> Answer {
    send(server, PREDICT, &[("content-type", STRUCTURED)], event.to_string()).await
}

fn event_of(answer: &Answer) -> Value {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some(STRUCTURED));
    serde_json::from_slice(&answer.body).unwrap()
}

fn assert_fresh(id: &str, time: &str) {
    assert_eq!((id.len(), time.ends_with('Z')), (36, true), "{id} {time}");
}

#[tokio::test]
async fn an_event_in_headers_is_answered_by_headers() {
    let server = server();
    for (path, body) in [
        (PREDICT, json!({"predictions": [1.0]})),
        ("/v1/models/echo:explain", json!({"predictions": [], "explanations": [{"row": 0, "of": 1}]})),
    ] {
        let answer = send(&server, path, &BINARY, r#"{"instances": [1]}"#.to_owned()).await;
        assert_eq!(answer.json(), body);
        assert_eq!(answer.header("ce-specversion"), Some("1.0"));
        assert_eq!(answer.header("ce-type"), Some("io.kserve.inference.response"));
        assert_eq!(answer.header("ce-source"), Some("io.kserve.inference.echo"));
        assert_fresh(answer.header("ce-id").unwrap(), answer.header("ce-time").unwrap());
        assert_eq!(answer.header("ce-subject"), None);
        assert_eq!(answer.header("x-model-version"), Some("3"));
    }
    let plain = server.post(PREDICT, r#"{"instances": [1]}"#).await;
    assert!(plain.headers.keys().all(|name| !name.as_str().starts_with("ce-")));
}

#[tokio::test]
async fn an_event_in_the_body_is_answered_by_one() {
    let server = server();
    let by_type = structured(&server, &event()).await;
    // Having what every event has is enough, whatever the type says.
    let by_members = server.post(PREDICT, event().to_string()).await;
    for answer in [by_type, by_members] {
        let got = event_of(&answer);
        assert_eq!(got["data"], json!({"predictions": [1.0, 2.0]}));
        assert_eq!((&got["specversion"], &got["type"]), (&json!("1.0"), &json!("io.kserve.inference.response")));
        assert_eq!(got["source"], "io.kserve.inference.echo");
        assert_eq!((&got["datacontenttype"], got.get("subject")), (&json!("application/json"), None));
        assert_fresh(got["id"].as_str().unwrap(), got["time"].as_str().unwrap());
        assert_eq!(answer.header("x-model-version"), Some("3"));
    }
}

#[tokio::test]
async fn data_may_be_base64() {
    let mut event = event();
    event.as_object_mut().unwrap().remove("data");
    event["data_base64"] = json!("eyJpbnN0YW5jZXMiOlszXX0=");
    assert_eq!(event_of(&structured(&server(), &event).await)["data"], json!({"predictions": [3.0]}));
}

#[tokio::test]
async fn attributes_are_copied_where_the_settings_say_so() {
    let server = merging();
    let answer = send(&server, PREDICT, &BINARY, r#"{"instances": [1]}"#.to_owned()).await;
    for (header, value) in [("ce-subject", "you"), ("ce-type", "answer"), ("ce-source", "here")] {
        assert_eq!(answer.header(header), Some(value));
    }
    assert_ne!(answer.header("ce-id"), Some("one"));
    let mut event = event();
    event["count"] = json!(7);
    event["dataschema"] = json!("x:y");
    let got = event_of(&structured(&server, &event).await);
    assert_eq!((&got["subject"], &got["count"], &got["type"]), (&json!("you"), &json!(7), &json!("answer")));
    assert_eq!(got.get("dataschema"), None);
    assert_ne!((&got["id"], &got["time"]), (&event["id"], &event["time"]));
}

#[tokio::test]
async fn an_event_that_is_none_is_refused_with_its_attribute() {
    let server = server();
    for (name, value, what) in [
        ("id", Value::Null, "missing"),
        ("id", json!(""), "expected a text that is not empty"),
        ("id", json!(7), "expected a string, got 7"),
        ("source", Value::Null, "missing"),
        ("type", Value::Null, "missing"),
        ("specversion", Value::Null, "missing"),
        ("specversion", json!("0.3"), "expected 1.0, got 0.3"),
        ("time", json!("noon"), "expected a time such as 2026-01-31T12:00:00Z, got noon"),
        ("data", Value::Null, "missing"),
        ("data_base64", json!("e30="), "expected it or `data_base64`, got both"),
    ] {
        let mut event = event();
        event[name] = value.clone();
        let named = if name == "data_base64" { "data" } else { name };
        let message = format!("the CloudEvent's attribute `{named}`: {what}");
        structured(&server, &event).await.refuses(400, "invalid_argument", &message);
        if let (Some(text), "id" | "specversion" | "time") = (value.as_str(), name) {
            let mut headers = BINARY;
            headers.iter_mut().filter(|(header, _)| header[3..] == *name).for_each(|(_, value)| *value = text);
            let answer = send(&server, PREDICT, &headers, r#"{"instances": [1]}"#.to_owned()).await;
            answer.refuses(400, "invalid_argument", &message);
        }
    }
    let answer = send(&server, PREDICT, &BINARY[..2], r#"{"instances": [1]}"#.to_owned()).await;
    answer.refuses(400, "invalid_argument", "the CloudEvent's attribute `source`: missing");
    let mut event = event();
    event.as_object_mut().unwrap().remove("data");
    event["data_base64"] = json!("%");
    let (status, _, message) = structured(&server, &event).await.failure();
    assert!(
        status == 400 && message.starts_with("the CloudEvent's attribute `data_base64`: is no base64"),
        "{message}"
    );
}

#[tokio::test]
async fn a_failure_to_answer_an_event_is_the_envelope() {
    let server = server();
    let answer = send(&server, PREDICT, &BINARY, r#"{"instances": ["a"]}"#.to_owned()).await;
    answer.refuses(400, "invalid_argument", "instances[0]: field `x`: expected FP32, got \"a\"");
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("ce-")));
    let mut event = event();
    event["data"] = json!({"instances": ["a"]});
    structured(&server, &event).await.refuses(
        400,
        "invalid_argument",
        "instances[0]: field `x`: expected FP32, got \"a\"",
    );
}

#[tokio::test]
async fn events_come_one_a_request() {
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = send(&server(), PREDICT, &headers, json!([event()]).to_string()).await;
    let message = "content type `application/cloudevents-batch+json`: events are taken one a request, not in batches";
    answer.refuses(415, "unsupported_media_type", message);
}
