//! What fails, and how callers, metrics and log learn of it.

use std::{io::Write, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, Request},
};
use dataplane::{Kind, limits::Limits};
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use prost::Message;
use tonic::Code;
use tower::ServiceExt;

use super::{
    Echo, INFER, echo, echoing, exchange, framed, infer, post, refused, toys,
    wire::{Choice, InferRequest, floats, told, typed},
};
use crate::serving::{Answer, server, server_with};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Calls that infer nothing, and are no conversations.
const OTHERS: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    WATCH,
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/RepositoryModelLoad",
];

#[tokio::test]
async fn every_kind_of_failure_has_its_code_and_says_when_to_come_back() {
    let (handler, channel) = echo().await;
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        let row = kind.row();
        let status = infer(&channel, told("fail", Choice::Int64(i64::try_from(number).unwrap()))).await.unwrap_err();
        assert_eq!((status.code() as i32, status.message()), (i32::from(row.grpc), "it failed"));
        let metadata = ["x-error-code", "retry-after", "grpc-retry-pushback-ms"]
            .map(|name| status.metadata().get(name).unwrap().to_str().unwrap());
        assert_eq!(metadata, [row.code, "2", "1500"]);
        let counted = format!(r#"inference_requests_total{{code="{}",model="echo",protocol="grpc"}} 1"#, row.code);
        let metrics = String::from_utf8(handler.metrics.text()).unwrap();
        assert!(metrics.lines().any(|line| line == counted), "{counted}\n{metrics}");
    }
}

#[tokio::test]
async fn an_answer_is_counted_and_carries_the_callers_id() {
    let (handler, channel) = echo().await;
    let message = typed(vec![floats(&[1.0])]).encode_to_vec();
    let request = post(INFER).header("x-request-id", "mine").body(framed(&message)).unwrap();
    let (headers, _, trailers) = exchange(&channel, request).await;
    assert_eq!((&headers["x-request-id"], &trailers["grpc-status"]), (&"mine".parse().unwrap(), &"0".parse().unwrap()));
    assert!(!headers.contains_key("server-timing"), "{headers:?}");
    let metrics = String::from_utf8(handler.metrics.text()).unwrap();
    assert!(metrics.contains(r#"inference_requests_total{code="ok",model="echo",protocol="grpc"} 1"#), "{metrics}");
    let request = post(INFER).header("x-request-id", "mine").body(framed(b"\xff")).unwrap();
    assert_eq!(exchange(&channel, request).await.0["x-request-id"], "mine");
}

#[tokio::test]
async fn a_panic_says_nothing_of_itself() {
    let (_, channel) = echo().await;
    let answer = infer(&channel, told("panic", Choice::Bool(true))).await;
    refused(answer, Code::Internal, "internal", "internal error");
}

#[tokio::test]
async fn models_that_are_not_there_or_not_ready_are_told_apart() {
    let (_, channel) = toys().await;
    let ask = |model: &str, version: &str| {
        let (model_name, model_version) = (model.to_owned(), version.to_owned());
        infer(&channel, InferRequest { model_name, model_version, ..typed(vec![floats(&[1.0])]) })
    };
    let text = "Model with name nope does not exist.";
    refused(ask("nope", "").await, Code::NotFound, "unknown_model", text);
    let text = "Model with name sum has no version 9; it has 3.";
    refused(ask("sum", "9").await, Code::NotFound, "unknown_version", text);
    refused(ask("unready", "").await, Code::Unavailable, "not_ready", "Model with name unready is not ready.");
}

#[tokio::test]
async fn what_the_model_does_not_take_is_refused_by_the_core() {
    let (_, channel) = toys().await;
    let request = InferRequest { model_name: "sum".to_owned(), ..typed(vec![floats(&[1.0])]) };
    let text = "input `x`: model `sum` takes a, b, id, note";
    refused(infer(&channel, request).await, Code::InvalidArgument, "invalid_argument", text);
}

/// Sends bytes without a socket.
async fn send(request: Request<Vec<u8>>) -> Answer {
    server().send(request.map(Body::from)).await
}

fn status(headers: &HeaderMap) -> [&str; 2] {
    ["grpc-status", "x-error-code"].map(|name| headers.get(name).map_or("none", |value| value.to_str().unwrap()))
}

#[tokio::test]
async fn what_is_no_message_is_the_callers_mistake() {
    let malformed = ["3", "malformed_body"];
    let cases = [
        ("no protobuf", framed(b"\xff\xff\xff")),
        ("text that is not UTF-8", framed(&[0x0a, 1, 0xff])),
        ("an element cut short", framed(&[0x2a, 6, 0x2a, 4, 0x32, 2, 0, 0])),
        ("a byte string cut short", framed(&[0x2a, 5, 0x2a, 3, 0x42, 9, b'a'])),
        ("a byte string of another wire type", framed(&[0x2a, 4, 0x2a, 2, 0x40, 1])),
        ("an element of another wire type", framed(&[0x2a, 4, 0x2a, 2, 0x30, 1])),
        ("a tensor nested in itself without an end", framed(&[0x2a, 127, 0x2a, 126])),
        ("less than it says", framed(b"\x0a\x04echo")[..9].to_vec()),
        ("no frame", b"{\"inputs\": []}".to_vec()),
        ("compressed without saying how", vec![1, 0, 0, 0, 0]),
        ("compressed in a way that is none", vec![2, 0, 0, 0, 0]),
        ("two messages", framed(b"").repeat(2)),
        ("nothing", vec![]),
    ];
    for (what, body) in cases {
        let server = server();
        let answer = server.send(post(INFER).body(Body::from(body)).unwrap()).await;
        assert_eq!(status(&answer.headers), malformed, "{what}: {:?}", answer.headers);
        let counted = r#"inference_requests_total{code="malformed_body",model="",protocol="grpc"}"#;
        assert_eq!(server.metric(counted).await, Some(1.0), "{what}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_length() {
    let mut frame = vec![0, 0, 1, 0, 1];
    frame.extend_from_slice(b"not even sent");
    let answer = send(post(INFER).body(frame).unwrap()).await;
    assert_eq!(status(&answer.headers), ["8", "payload_too_large"]);
    assert_eq!(answer.header("grpc-message"), Some("the%20message%20is%20larger%20than%2065536%20bytes"));
}

#[tokio::test]
async fn methods_and_services_that_are_not_there_are_unimplemented() {
    for path in ["/inference.GRPCInferenceService/Nothing", "/no.Service/Method", "/nowhere"] {
        for content_type in ["application/grpc", "application/grpc+proto", "Application/GRPC; a=b"] {
            let request = Request::post(path).header("content-type", content_type).body(vec![]).unwrap();
            let answer = send(request).await;
            assert_eq!((answer.status.as_u16(), status(&answer.headers)), (200, ["12", "unknown_route"]), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/grpc"));
            assert!(answer.header("grpc-message").unwrap().contains(path));
        }
    }
}

#[tokio::test]
async fn what_is_no_grpc_gets_an_answer_of_http() {
    for content_type in ["application/json", "application/grpc-web+proto", "application/grpcx"] {
        let request = Request::post(INFER).header("content-type", content_type).body(vec![]).unwrap();
        send(request).await.refuses(415, "unsupported_media_type", "expected content type application/grpc");
    }
    let nowhere = Request::post("/no.Service/Method").body(vec![]).unwrap();
    send(nowhere).await.refuses(404, "unknown_route", "no such path: /no.Service/Method");
}

#[tokio::test]
async fn a_deadline_is_kept_whoever_says_it() {
    let slow = InferRequest { model_name: "echo".to_owned(), ..told("hang", Choice::Bool(true)) };
    let late = "the request's deadline passed before its answer was ready";
    let (_, channel) = echo().await;
    let mut request = tonic::Request::new(slow.clone());
    request.metadata_mut().insert("x-request-timeout", "20ms".parse().unwrap());
    refused(infer(&channel, request).await, Code::DeadlineExceeded, "deadline_exceeded", late);
    let mut request = slow;
    request.parameters.insert("timeout".to_owned(), Choice::Int64(20_000).into());
    refused(infer(&channel, request).await, Code::DeadlineExceeded, "deadline_exceeded", late);
}

#[tokio::test]
async fn a_message_that_does_not_come_in_time_is_too_late() {
    // As long as it is not there, tonic's own client can't be asked: it would give up by itself.
    let body = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let answer = server().send(post(INFER).header("grpc-timeout", "20m").body(body).unwrap()).await;
    assert_eq!(status(&answer.headers), ["4", "deadline_exceeded"]);
}

#[tokio::test]
async fn the_message_of_any_other_call_has_to_come_in_time_too() {
    let server = server_with(Limits::default());
    for path in OTHERS {
        // It announces as much as is allowed, and stops there.
        let announced = stream::iter([Ok::<_, std::io::Error>(vec![0, 0, 1, 0, 0])]).chain(stream::pending());
        let body = Body::from_stream(announced);
        let answer = server.send(post(path).header("grpc-timeout", "20m").body(body).unwrap()).await;
        assert_eq!(status(&answer.headers), ["4", "deadline_exceeded"], "{path}");
    }
}

#[tokio::test]
async fn the_message_of_any_other_call_is_small_whatever_an_inferences_may_be() {
    let server = server_with(Limits::default());
    let large = vec![0; 64 * 1024 + 1];
    let mut compressed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    compressed.write_all(&large).unwrap();
    let mut compressed = framed(&compressed.finish().unwrap());
    compressed[0] = 1;
    for path in OTHERS {
        for (encoding, body) in [("identity", framed(&large)), ("gzip", compressed.clone())] {
            // It is not read to its end, which never comes.
            let body = stream::iter([Ok::<_, std::io::Error>(body)]).chain(stream::pending());
            let body = if encoding == "gzip" { Body::from_stream(body.take(1)) } else { Body::from_stream(body) };
            let answer = server.send(post(path).header("grpc-encoding", encoding).body(body).unwrap()).await;
            assert_eq!(status(&answer.headers), ["8", "payload_too_large"], "{path} {encoding}");
            let text = "the%20message%20is%20larger%20than%2065536%20bytes";
            assert_eq!(answer.header("grpc-message"), Some(text), "{path} {encoding}");
        }
    }
}

#[tokio::test]
async fn only_so_many_streams_are_open_at_once() {
    let router = axum::Router::from(dataplane::router(Arc::new(server().handler)));
    let open = async |path: &str| {
        let request = post(path).body(Body::from(framed(b""))).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let is_open = |answer: &axum::response::Response| !answer.headers().contains_key("grpc-status");
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let mut streams = vec![open(reflection).await];
    while streams.len() < 1024 {
        streams.push(open(WATCH).await);
    }
    assert!(streams.iter().all(is_open));
    for path in [WATCH, reflection] {
        let answer = open(path).await;
        assert_eq!(status(answer.headers()), ["8", "overloaded"], "{path}");
        assert_eq!(answer.headers()["retry-after"], "1");
    }
    assert!(is_open(&open(OTHERS[0]).await), "other calls have places of their own");
    for path in [WATCH, reflection] {
        streams.pop();
        let answer = open(path).await;
        assert!(is_open(&answer), "{path}: {:?}", answer.headers());
        streams.push(answer);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_models_work() {
    let echo = Echo::new();
    let (began, dropped) = (echo.began.clone(), echo.dropped.clone());
    let (handler, channel) = echoing(echo).await;
    let asked = tokio::spawn(async move { infer(&channel, told("hang", Choice::Bool(true))).await });
    began.notified().await;
    asked.abort();
    dropped.notified().await;
    let counted = r#"inference_requests_total{code="abandoned",model="echo",protocol="grpc"} 1"#;
    while !String::from_utf8(handler.metrics.text()).unwrap().contains(counted) {
        tokio::task::yield_now().await;
    }
}
