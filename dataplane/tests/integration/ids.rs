//! Request ids.

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
