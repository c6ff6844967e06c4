//! A predictor that fails: its class is kept, its address is not told.

use std::{future::pending, time::Duration};

use axum::Router;
use dataplane::{Context, Error, Kind, client::Protocol, metrics::Metrics};
use tokio::net::{TcpListener, TcpSocket};

use crate::predictor::{Mock, context, predictor, predictor_with, request};

async fn failure(host: &str, protocol: Protocol, context: &Context) -> Error {
    let error = predictor(host, protocol).infer(&request(), context).await.unwrap_err();
    let port = host.rsplit(':').next().unwrap();
    assert!(!error.message().contains("127.0.0.1") && !error.message().contains(port), "{}", error.message());
    assert!(error.message().starts_with("predictor `ranking` "), "{}", error.message());
    error
}

async fn answered(status: u16, body: &'static str, protocol: Protocol) -> Error {
    failure(&Mock::answering(status, &[], body).await.address, protocol, &context()).await
}

/// An address that refuses connections and that nobody else can take.
pub(crate) fn down() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

/// A predictor that takes requests and answers none.
pub(crate) async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().fallback(|| async { pending::<()>().await });
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

#[tokio::test]
async fn one_that_is_down_is_unavailable() {
    let (_held, address) = down();
    for protocol in [Protocol::V1, Protocol::V2] {
        let error = failure(&address, protocol, &context()).await;
        assert_eq!((error.kind(), error.kind().row().http.as_u16()), (Kind::UpstreamUnavailable, 503));
        assert!(error.detail().is_some(), "the log is told why");
    }
    assert!(predictor(&address, Protocol::V2).ready(&context()).await.is_err());
}

#[tokio::test]
async fn one_that_is_slow_is_a_timeout() {
    let error = failure(&silent().await, Protocol::V2, &Context::background(Duration::from_millis(50))).await;
    assert_eq!((error.kind(), error.kind().row().http.as_u16()), (Kind::UpstreamTimeout, 504));
}

#[tokio::test]
async fn no_time_left_is_a_timeout_too() {
    let error = failure(&silent().await, Protocol::V1, &Context::background(Duration::ZERO)).await;
    assert_eq!(error.kind(), Kind::UpstreamTimeout);
}

#[tokio::test]
async fn statuses_keep_their_class() {
    for (status, kind, http) in [
        (400, Kind::UpstreamRejected, 400),
        (413, Kind::UpstreamRejected, 400),
        (422, Kind::UpstreamRejected, 400),
        (401, Kind::UpstreamUnauthenticated, 401),
        (403, Kind::UpstreamForbidden, 403),
        (404, Kind::UpstreamNotFound, 404),
        (405, Kind::UpstreamInvalid, 502),
        (301, Kind::UpstreamInvalid, 502),
        (429, Kind::UpstreamOverloaded, 429),
        (500, Kind::UpstreamInvalid, 502),
        (503, Kind::UpstreamUnavailable, 503),
        (504, Kind::UpstreamTimeout, 504),
    ] {
        let error = answered(status, r#"{"error": "at 127.0.0.1:9000"}"#, Protocol::V2).await;
        assert_eq!((error.kind(), error.kind().row().http.as_u16()), (kind, http), "{status}");
        assert!(error.detail().unwrap().contains("at 127.0.0.1:9000"), "the log is told what it said");
    }
}

#[tokio::test]
async fn answers_that_are_none_are_invalid() {
    for body in [
        "",
        "garbage",
        "[]",
        "{}",
        r#"{"outputs": 7}"#,
        r#"{"outputs": [{"name": "sum", "shape": [1], "datatype": "FP32", "data": ["x"]}]}"#,
        r#"{"outputs": [{"name": "sum", "shape": [2], "datatype": "FP32", "data": [1]}]}"#,
        r#"{"outputs": [{"name": "sum", "shape": [1], "datatype": "FP16", "data": [1]}]}"#,
    ] {
        assert_eq!(answered(200, body, Protocol::V2).await.kind(), Kind::UpstreamInvalid, "{body}");
    }
    for body in [
        "garbage",
        "{}",
        r#"{"predictions": []}"#,
        r#"{"predictions": [{"sums": [1]}, {"sums": [2]}]}"#,
        r#"{"predictions": [{"ids": ["x"]}]}"#,
        r#"{"predictions": [{"sums": ["x"]}]}"#,
        r#"{"predictions": [{"sums": [1, null]}]}"#,
        r#"{"predictions": [{"sums": [1], "ids": [7]}]}"#,
    ] {
        assert_eq!(answered(200, body, Protocol::V1).await.kind(), Kind::UpstreamInvalid, "{body}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let body = vec![b' '; 65 * 1024 * 1024];
    let error = failure(&Mock::answering(200, &[], body).await.address, Protocol::V2, &context()).await;
    assert_eq!(error.kind(), Kind::UpstreamInvalid);
    assert!(error.detail().unwrap().contains("larger than"), "{error}");
}

#[tokio::test]
async fn no_room_keeps_its_retry_after() {
    for status in [429, 503] {
        let mock = Mock::answering(status, &[("retry-after", "7")], "").await;
        // It is not waited for: there is no time to.
        let error = failure(&mock.address, Protocol::V2, &Context::background(Duration::from_secs(5))).await;
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{status}");
    }
    let dated = [("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")];
    let mock = Mock::answering(503, &dated, "").await;
    assert_eq!(failure(&mock.address, Protocol::V2, &context()).await.retry_after(), None);
}

#[tokio::test]
async fn calls_are_counted_by_outcome_also_when_they_are_given_up() {
    let metrics = Metrics::new().unwrap();
    let good = Mock::answering(200, &[], r#"{"outputs": []}"#).await;
    let (_held, address) = down();
    predictor_with(&good.address, Protocol::V2, metrics.clone()).infer(&request(), &context()).await.unwrap();
    predictor_with(&address, Protocol::V2, metrics.clone()).infer(&request(), &context()).await.unwrap_err();
    let silent = predictor_with(&silent().await, Protocol::V2, metrics.clone());
    let (given_up, context) = (request(), context());
    assert!(tokio::time::timeout(Duration::from_millis(50), silent.infer(&given_up, &context)).await.is_err());
    let text = String::from_utf8(metrics.text()).unwrap();
    for outcome in ["ok", "upstream_unavailable", "abandoned"] {
        let line = format!("upstream_requests_total{{outcome=\"{outcome}\",upstream=\"ranking\"}} 1");
        assert!(text.contains(&line), "{text}");
    }
}
