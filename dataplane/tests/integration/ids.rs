//! Request ids, and what the steps of an answer took.

use axum::{body::Body, http::Request};

use crate::serving::{Answer, server};

async fn asked_with(id: &[u8]) -> Answer {
    server().send(Request::get("/v2").header("x-request-id", id).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_callers_id_comes_back() {
    assert_eq!(asked_with(b"my id: 7").await.header("x-request-id"), Some("my id: 7"));
}

#[tokio::test]
async fn a_request_without_a_usable_id_gets_one_of_its_own() {
    let server = server();
    let (first, second) = (server.get("/v2").await, server.get("/nowhere").await);
    let ids = [first.header("x-request-id").unwrap(), second.header("x-request-id").unwrap()];
    assert_ne!(ids[0], ids[1]);
    for id in [b"".as_slice(), "x".repeat(129).as_bytes(), b"\xff"] {
        let answer = asked_with(id).await;
        assert_eq!(answer.header("x-request-id").unwrap().len(), 36);
    }
}

const GOOD: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;

/// The steps' names; each has milliseconds with three digits after the point.
fn steps(answer: &Answer) -> Option<Vec<String>> {
    let name = |step: &str| {
        let (name, took) = step.split_once(";dur=").unwrap();
        let (whole, part) = took.split_once('.').unwrap();
        assert!(whole.parse::<u64>().is_ok() && part.len() == 3 && part.parse::<u64>().is_ok(), "{took}");
        name.to_owned()
    };
    answer.header("server-timing").map(|header| header.split(", ").map(name).collect())
}

#[tokio::test]
async fn an_inference_says_what_its_steps_took() {
    let server = server();
    let answered = server.post("/v1/models/sum:predict", GOOD).await;
    assert_eq!(steps(&answered).unwrap(), ["decode", "infer", "encode", "total"]);
    assert_eq!(steps(&server.post("/v1/models/sum:predict", "{").await).unwrap(), ["total"]);
    assert_eq!(steps(&server.get("/v2/health/live").await), None);
}

/// HTTP/2 would push headers that come again out of its table with them.
#[tokio::test]
async fn what_no_other_answer_has_is_marked_never_to_be_indexed() {
    let answer = server().post("/v1/models/sum:predict", GOOD).await;
    for name in ["x-request-id", "server-timing"] {
        assert!(answer.headers[name].is_sensitive(), "{name}");
    }
    assert!(!answer.headers["content-type"].is_sensitive());
}

#[tokio::test]
async fn timing_can_be_kept_from_callers() {
    let mut server = server();
    server.handler.telemetry.server_timing = false;
    assert_eq!(steps(&server.again().post("/v1/models/sum:predict", GOOD).await), None);
}
