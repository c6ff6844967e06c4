//! One envelope for every failure, and nothing from inside in it.

use axum::{body::Body, http::Request};
use futures_util::stream;

use crate::{
    openapi,
    serving::{SECRET, post, server},
};

const V1: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;
const V2: &str = r#"{"inputs": [{"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [1]},
    {"name": "b", "shape": [1, 1], "datatype": "FP32", "data": [2]},
    {"name": "id", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}]}"#;

/// A body of unknown length, in pieces.
fn chunked(pieces: usize) -> Body {
    Body::from_stream(stream::iter((0..pieces).map(|_| Ok::<_, std::io::Error>(" ".repeat(1024)))))
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body.into()).unwrap()
}

fn failing() -> Vec<(Request<Body>, u16, &'static str)> {
    let (predict, infer) = ("/v1/models/sum:predict", "/v2/models/sum/infer");
    let of = |model: &str| (format!("/v1/models/{model}:predict"), format!("/v2/models/{model}/infer"));
    let mut cases = vec![
        (request("GET", "/nowhere", ""), 404, "unknown_route"),
        (request("GET", "/v2/", ""), 404, "unknown_route"),
        (request("GET", "/v2/models/sum/nothing", ""), 404, "unknown_route"),
        (request("GET", "/v2/models/sum/infer/", ""), 404, "unknown_route"),
        (request("GET", "/v2/models/%ff", ""), 404, "unknown_route"),
        (request("GET", infer, ""), 405, "method_not_allowed"),
        (request("DELETE", "/v2/models/sum", ""), 405, "method_not_allowed"),
        (request("POST", "/", ""), 405, "method_not_allowed"),
        (request("PUT", "/v1/models", ""), 405, "method_not_allowed"),
        (request("PATCH", predict, ""), 405, "method_not_allowed"),
        (request("POST", "/v1/models/sum:explain", V1), 501, "unimplemented"),
        (request("POST", "/v2/models/nope/infer", V2), 404, "unknown_model"),
        (request("GET", "/v2/models/sum/versions/0", ""), 404, "unknown_version"),
        (request("GET", "/v2/health/ready", ""), 503, "not_ready"),
    ];
    for (path, body) in [(predict, V1), (infer, V2)] {
        let declared = post(path).header("content-length", "65537");
        cases.push((declared.body(Body::from(" ".repeat(65_537))).unwrap(), 413, "payload_too_large"));
        cases.push((request("POST", path, chunked(65)), 413, "payload_too_large"));
        let text = post(path).header("content-type", "text/plain");
        cases.push((text.body(Body::from(body)).unwrap(), 415, "unsupported_media_type"));
        let odd = post(path).header("content-type", b"\xff".as_slice());
        cases.push((odd.body(Body::from(body)).unwrap(), 415, "unsupported_media_type"));
        let broken = stream::iter([Err::<String, _>(std::io::Error::other(SECRET))]);
        cases.push((request("POST", path, Body::from_stream(broken)), 400, "malformed_body"));
        cases.push((request("POST", path, "{"), 400, "malformed_body"));
        cases.push((request("POST", path, "{}"), 400, "invalid_argument"));
    }
    for (model, status, code) in [
        ("unready", 503, "not_ready"),
        ("failing", 500, "internal"),
        ("panicking", 500, "internal"),
        ("full", 429, "overloaded"),
        ("broken", 502, "upstream_invalid"),
    ] {
        let (predict, infer) = of(model);
        cases.push((request("POST", &predict, V1), status, code));
        cases.push((request("POST", &infer, V2), status, code));
    }
    cases
}

#[tokio::test]
async fn every_failure_has_the_one_envelope_and_tells_nothing_of_the_inside() {
    let server = server();
    let document = openapi::document(&server).await;
    for (request, status, code) in failing() {
        let what = format!("{} {}", request.method(), request.uri());
        let operation = openapi::operation(&document, request.method().as_str(), request.uri().path());
        let answer = server.send(request).await;
        let (got, got_code, message) = answer.failure();
        assert_eq!((got, got_code.as_str()), (status, code), "{what}: {message}");
        let text = answer.text();
        assert!(!text.contains(SECRET) && !text.contains("panick"), "{what}: {text}");
        assert!(answer.header("x-request-id").is_some(), "{what}");
        // Whoever reads the document has been told of it.
        let status = status.to_string();
        assert!(operation.is_none_or(|operation| operation["responses"][status].is_object()), "{what}: {code}");
    }
}

#[tokio::test]
async fn a_fault_of_ours_says_only_that() {
    let server = server();
    for model in ["failing", "panicking"] {
        server.post(&format!("/v2/models/{model}/infer"), V2).await.refuses(500, "internal", "internal error");
    }
}

#[tokio::test]
async fn no_room_says_when_to_come_back_in_whole_seconds() {
    let answer = server().post("/v1/models/full:predict", V1).await;
    assert_eq!(answer.header("retry-after"), Some("2"));
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = server();
    let allowed = |answer: &crate::serving::Answer| answer.header("allow").map(str::to_owned);
    assert_eq!(allowed(&server.get("/v2/models/sum/infer").await).as_deref(), Some("POST"));
    assert_eq!(allowed(&server.post("/v2/health/live", "").await).as_deref(), Some("GET,HEAD"));
}

#[tokio::test]
async fn a_body_as_large_as_the_limit_is_read() {
    let body = V2.to_owned() + &" ".repeat(64 * 1024 - V2.len());
    server().post("/v2/models/sum/infer", body).await.json();
    // The limit is on what comes, not on what was said.
    let chunked = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(V2)]));
    server().post("/v2/models/sum/infer", chunked).await.json();
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = server();
    let answer = server.send(request("HEAD", "/v2/health/live", "")).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(server.send(request("HEAD", "/nowhere", "")).await.status.as_u16(), 404);
}
