//! Binary tensors towards a predictor: where it lists them, and only as long as it reads them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use dataplane::{Kind, client::Protocol};
use futures_util::stream;

use crate::predictor::{Got, Mock, context, predictor, request};

const LENGTH: &str = "inference-header-content-length";
const LISTED: &str = r#"{"name":"x","version":"1","extensions":["binary_tensor_data"]}"#;
const METADATA: &str = r#"{"name":"adder","inputs":[],"outputs":[]}"#;
const ANSWER: &str = r#"{"outputs":[{"name":"sum","shape":[2],"datatype":"FP32","data":[11,-2.4]}]}"#;

/// An answer in pieces, with neither content type nor length, as KServe's Python server sends binary tensors.
fn binary() -> Response {
    let json = r#"{"model_name":"adder","outputs":[{"name":"sum","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
    let numbers: Vec<u8> = [11.0_f32, -2.4].into_iter().flat_map(f32::to_le_bytes).collect();
    let pieces = [Bytes::from(json), Bytes::from(numbers)].map(Ok::<_, std::io::Error>);
    let mut headers = HeaderMap::new();
    headers.insert(LENGTH, HeaderValue::from(json.len()));
    (headers, Body::from_stream(stream::iter(pieces))).into_response()
}

/// A predictor that says `server` of itself and answers `infer`.
async fn mock(server: &'static str, infer: impl Fn(&Got) -> Response + Clone + Send + Sync + 'static) -> Mock {
    Mock::serving(move |request, _| match request.line.as_str() {
        "GET /v2" => server.into_response(),
        "GET /v2/models/adder" => METADATA.into_response(),
        _ => infer(request),
    })
    .await
}

fn is_binary(request: &Got) -> bool {
    request.headers.contains_key(LENGTH)
}

fn inferences(mock: &Mock) -> Vec<bool> {
    mock.got().iter().filter(|request| request.line.starts_with("POST")).map(is_binary).collect()
}

#[tokio::test]
async fn a_server_that_lists_binary_tensors_gets_them_and_may_answer_with_them() {
    let mock = mock(LISTED, |_| binary()).await;
    let predictor = predictor(&mock.address, Protocol::V2);
    predictor.metadata(&context()).await.unwrap();
    let response = predictor.infer(&request(), &context()).await.unwrap();
    assert_eq!(response.f32s("sum").unwrap(), [11.0, -2.4]);
    let got = mock.got().pop().unwrap();
    assert_eq!(got.headers["content-type"], "application/octet-stream");
    let json: usize = got.headers[LENGTH].to_str().unwrap().parse().unwrap();
    assert_eq!(got.headers["content-length"].to_str().unwrap(), got.body.len().to_string());
    let text = std::str::from_utf8(&got.body[..json]).unwrap();
    assert!(text.contains(r#""binary_data_size":8"#) && text.contains(r#""binary_data_output":true"#), "{text}");
    assert_eq!(&got.body[json..json + 4], 1.0_f32.to_le_bytes());
}

#[tokio::test]
async fn a_server_that_lists_none_or_nothing_gets_json() {
    for server in [r#"{"extensions":["model_repository_extension"]}"#, r#"{"extensions":null}"#, "garbage"] {
        let mock = mock(server, |_| ANSWER.into_response()).await;
        let predictor = predictor(&mock.address, Protocol::V2);
        predictor.infer(&request(), &context()).await.unwrap();
        predictor.metadata(&context()).await.unwrap();
        predictor.infer(&request(), &context()).await.unwrap();
        assert_eq!(inferences(&mock), [false, false], "{server}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_binary_tensors_after_all_gets_json_from_then_on() {
    for (status, text) in [
        (400, "received byte inputs, but the'inference-header-content-length' header is missing."),
        (400, r#"{"detail":"There was an error parsing the body"}"#),
        (415, ""),
    ] {
        let mock = mock(LISTED, move |request| match is_binary(request) {
            true => (StatusCode::from_u16(status).unwrap(), text).into_response(),
            false => ANSWER.into_response(),
        })
        .await;
        let predictor = predictor(&mock.address, Protocol::V2);
        for _ in 0..2 {
            predictor.metadata(&context()).await.unwrap();
            assert!(predictor.infer(&request(), &context()).await.is_ok(), "{text}");
        }
        assert_eq!(inferences(&mock), [true, false, false], "asked once, answered at once, and remembered");
    }
}

#[tokio::test]
async fn a_server_that_was_replaced_is_tried_again() {
    let replaced = Arc::new(AtomicBool::new(false));
    let new = replaced.clone();
    let mock = Mock::serving(move |request, _| match request.line.as_str() {
        "GET /v2" if new.load(Ordering::SeqCst) => LISTED.replace('1', "2").into_response(),
        "GET /v2" => LISTED.into_response(),
        "GET /v2/models/adder" => METADATA.into_response(),
        _ if is_binary(request) && !new.load(Ordering::SeqCst) => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
        _ => ANSWER.into_response(),
    })
    .await;
    let predictor = predictor(&mock.address, Protocol::V2);
    for again in [false, true] {
        replaced.store(again, Ordering::SeqCst);
        predictor.metadata(&context()).await.unwrap();
        predictor.infer(&request(), &context()).await.unwrap();
    }
    assert_eq!(inferences(&mock), [true, false, true]);
}

#[tokio::test]
async fn a_refusal_of_what_the_tensors_say_is_not_sent_again() {
    let refusal = || (StatusCode::BAD_REQUEST, r#"{"error":"input `a`: out of range"}"#).into_response();
    let mock = mock(LISTED, move |_| refusal()).await;
    let predictor = predictor(&mock.address, Protocol::V2);
    predictor.metadata(&context()).await.unwrap();
    let error = predictor.infer(&request(), &context()).await.unwrap_err();
    assert_eq!((error.kind(), inferences(&mock)), (Kind::UpstreamRejected, vec![true]));
}

#[tokio::test]
async fn a_refusal_that_only_sounds_like_one_of_binary_tensors_changes_nothing() {
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = refuses.clone();
    let mock = mock(LISTED, move |_| match switch.load(Ordering::SeqCst) {
        true => (StatusCode::BAD_REQUEST, r#"{"error":"input `a`: a binary feature is 0 or 1"}"#).into_response(),
        false => binary(),
    })
    .await;
    let predictor = predictor(&mock.address, Protocol::V2);
    predictor.metadata(&context()).await.unwrap();
    let error = predictor.infer(&request(), &context()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamRejected);
    refuses.store(false, Ordering::SeqCst);
    predictor.infer(&request(), &context()).await.unwrap();
    assert_eq!(inferences(&mock), [true, false, true]);
}
