//! Calling a predictor over gRPC: what goes over the wire, and what its answers and statuses mean.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue},
    response::{IntoResponse, Response},
};
use dataplane::{
    Context, Data, Error, InferResponse, Kind,
    client::{Predictor, Protocol, Settings},
    context::Trace,
    grpc::{
        Contents,
        proto::{
            InferParameter, ModelInferRequest, ModelInferResponse, ModelMetadataResponse, ModelReadyResponse,
            infer_parameter::ParameterChoice, model_infer_response::InferOutputTensor,
            model_metadata_response::TensorMetadata,
        },
    },
    metrics::Metrics,
};
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tokio::net::TcpListener;

use crate::{
    predictor::{Mock, context, predictor, predictor_set, predictor_with, request},
    predictor_failures::{down, silent},
    serving::{rows, server},
};

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// An answer with this message, as gRPC frames it.
pub(crate) fn good(message: &impl Message) -> Response {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let data = Frame::data(Bytes::from([&[0], length.as_slice(), &message].concat()));
    let trailers = Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(0))]));
    let frames = [data, trailers].map(Ok::<_, std::io::Error>);
    ([GRPC], Body::new(StreamBody::new(stream::iter(frames)))).into_response()
}

/// An answer with nothing but this status.
fn bad(code: i32, more: &[(&'static str, &'static str)]) -> Response {
    let mut response = ([GRPC, ("grpc-message", "at 127.0.0.1:9000")], "").into_response();
    response.headers_mut().insert("grpc-status", HeaderValue::from(code));
    for &(name, value) in more {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn output(name: &str, datatype: &str, shape: &[i64], contents: Option<Data>) -> InferOutputTensor {
    InferOutputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        contents: contents.map(Contents::from),
        ..InferOutputTensor::default()
    }
}

fn answer(outputs: Vec<InferOutputTensor>, raw: &[&[u8]]) -> ModelInferResponse {
    let raw_output_contents = raw.iter().map(|raw| Bytes::copy_from_slice(raw)).collect();
    ModelInferResponse { outputs, raw_output_contents, ..ModelInferResponse::default() }
}

async fn asked(answer: ModelInferResponse) -> dataplane::Result<InferResponse> {
    let mock = Mock::serving(move |_, _| good(&answer)).await;
    predictor(&mock.address, Protocol::GrpcV2).infer(&request(), &context()).await
}

#[tokio::test]
async fn tensors_go_raw_with_ids() {
    let mock = Mock::serving(|_, _| good(&ModelInferResponse::default())).await;
    let trace = Trace::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let context = Context::new("seven", trace, Duration::from_secs(7));
    predictor(&mock.address, Protocol::GrpcV2).infer(&request(), &context).await.unwrap();
    let got = mock.got().pop().unwrap();
    assert!(got.line.ends_with("/inference.GRPCInferenceService/ModelInfer"), "{}", got.line);
    assert_eq!(got.headers["x-request-id"], "seven");
    assert!(got.headers.contains_key("traceparent"));
    let message = ModelInferRequest::decode(&got.body[5..]).unwrap();
    assert_eq!(message.model_name, "adder");
    let inputs = message.inputs.iter().map(|input| (input.name.as_str(), input.datatype.as_str(), &input.shape[..]));
    let expected = [("a", "FP32", &[2, 1][..]), ("b", "FP32", &[2, 1]), ("id", "BYTES", &[2, 1])];
    assert_eq!(inputs.collect::<Vec<_>>(), expected);
    assert!(message.inputs.iter().all(|input| input.contents.is_none()));
    assert_eq!(message.raw_input_contents[0], [1.0_f32, 0.1].map(f32::to_le_bytes).concat());
    assert_eq!(message.raw_input_contents[2][..5], [1, 0, 0, 0, b'x']);
}

#[tokio::test]
async fn answers_may_be_raw_or_typed() {
    let raw = [0.25_f64, 0.5].map(f64::to_le_bytes).concat();
    let scores = Data::from(vec![0.25_f64, 0.5]);
    let ids = Data::from(vec![1_i64, 2]);
    for message in [
        answer(vec![output("sum", "FP64", &[2], None)], &[&raw]),
        answer(vec![output("sum", "FP64", &[2, 1], Some(scores.clone()))], &[]),
        answer(vec![output("id", "INT64", &[2], Some(ids)), output("sum", "FP64", &[2], None)], &[&raw]),
    ] {
        let response = asked(message).await.unwrap();
        assert_eq!(response.output("sum").unwrap().data(), &scores);
    }
}

#[tokio::test]
async fn answers_that_are_none_are_invalid() {
    for message in [
        answer(vec![output("sum", "FP64", &[2], None)], &[&[0; 15]]),
        answer(vec![output("sum", "FP64", &[2], None)], &[]),
        answer(vec![output("sum", "FP64", &[1], None)], &[&[0; 8], &[0; 8]]),
        answer(vec![output("sum", "FP8", &[1], None)], &[&[0]]),
        answer(vec![output("sum", "FP32", &[-1], None)], &[&[0; 4]]),
        answer(vec![output("sum", "FP32", &[3], Some(Data::from(vec![1.0_f32])))], &[]),
    ] {
        assert_eq!(asked(message.clone()).await.unwrap_err().kind(), Kind::UpstreamInvalid, "{message:?}");
    }
}

#[tokio::test]
async fn outputs_that_nobody_reads_may_be_whatever_they_are_with_their_raw_contents() {
    let empty = Some(Data::from(Vec::<f32>::new()));
    let typed = Some(Data::from(vec![1_i64]));
    let message = answer(
        vec![
            output("tiny", "FP8", &[3], None),
            output("more", "FP8", &[-1], typed),
            // As MLServer does: contents with nothing in them, beside the raw ones.
            output("sum", "FP32", &[1], empty.clone()),
            output("half", "FP16", &[7], empty),
        ],
        &[b"abc", &0.5_f32.to_le_bytes(), b""],
    );
    let mock = Mock::serving(move |_, _| good(&message)).await;
    let settings = Settings { protocol: Protocol::GrpcV2, outputs: vec!["sum".to_owned()], ..Settings::default() };
    let predictor = predictor_set(&mock.address, &settings, Metrics::new().unwrap());
    let response = predictor.infer(&request(), &context()).await.unwrap();
    assert_eq!((response.outputs.len(), response.f32s("sum").unwrap()), (1, [0.5].as_slice()));
}

async fn refused(code: i32, more: &'static [(&'static str, &'static str)]) -> (Mock, Error) {
    let mock = Mock::serving(move |_, _| bad(code, more)).await;
    let predictor = predictor(&mock.address, Protocol::GrpcV2);
    let error = predictor.infer(&request(), &Context::background(Duration::from_secs(5))).await.unwrap_err();
    (mock, error)
}

#[tokio::test]
async fn statuses_keep_their_class_and_lose_their_address() {
    for (code, kind) in [
        (1, Kind::UpstreamTimeout),
        (2, Kind::UpstreamInvalid),
        (3, Kind::UpstreamRejected),
        (4, Kind::UpstreamTimeout),
        (5, Kind::UpstreamNotFound),
        (7, Kind::UpstreamForbidden),
        (8, Kind::UpstreamOverloaded),
        (9, Kind::UpstreamRejected),
        (11, Kind::UpstreamRejected),
        (12, Kind::UpstreamInvalid),
        (13, Kind::UpstreamInvalid),
        (14, Kind::UpstreamUnavailable),
        (16, Kind::UpstreamUnauthenticated),
    ] {
        let (_, error) = refused(code, &[]).await;
        assert_eq!(error.kind(), kind, "{code}");
        assert!(!error.message().contains("127.0.0.1") && error.detail().unwrap().contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn when_to_come_back_is_passed_on_and_never_means_never() {
    for (more, after, asked) in [
        (&[("grpc-retry-pushback-ms", "60000")][..], Some(Duration::from_secs(60)), 1),
        (&[("retry-after", "60")], Some(Duration::from_secs(60)), 1),
        (&[("grpc-retry-pushback-ms", "-1")], None, 1),
        (&[("grpc-retry-pushback-ms", "1")], Some(Duration::from_millis(1)), 2),
        (&[], None, 2),
    ] {
        let (mock, error) = refused(14, more).await;
        assert_eq!((error.retry_after(), mock.got().len()), (after, asked), "{more:?}");
    }
}

#[tokio::test]
async fn one_that_is_away_for_a_moment_is_asked_again() {
    let metrics = Metrics::new().unwrap();
    let mock = Mock::serving(|_, number| match number {
        0 => bad(14, &[]),
        _ => good(&ModelInferResponse::default()),
    })
    .await;
    predictor_with(&mock.address, Protocol::GrpcV2, metrics.clone()).infer(&request(), &context()).await.unwrap();
    let text = String::from_utf8(metrics.text()).unwrap();
    assert!(text.contains(r#"upstream_retries_total{reason="unavailable",upstream="ranking"} 1"#), "{text}");
}

#[tokio::test]
async fn one_that_is_down_is_unavailable_and_one_that_is_slow_a_timeout() {
    let (_held, address) = down();
    let error = predictor(&address, Protocol::GrpcV2).infer(&request(), &context()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamUnavailable);
    for budget in [50, 0] {
        let context = Context::background(Duration::from_millis(budget));
        let error = predictor(&silent().await, Protocol::GrpcV2).infer(&request(), &context).await.unwrap_err();
        assert_eq!(error.kind(), Kind::UpstreamTimeout);
    }
}

#[tokio::test]
async fn connections_are_several_and_replaced_by_age_and_no_request_fails() {
    let mock = Mock::serving(|_, _| good(&ModelInferResponse::default())).await;
    let predictor = predictor(&mock.address, Protocol::GrpcV2);
    for _ in 0..20 {
        predictor.infer(&request(), &context()).await.unwrap();
    }
    assert_eq!(mock.connections(), 4);
    let settings = Settings {
        protocol: Protocol::GrpcV2,
        connection_age: Duration::from_millis(20),
        retries: 0,
        ..Settings::default()
    };
    let predictor = predictor_set(&mock.address, &settings, Metrics::new().unwrap());
    let replaced = async {
        while mock.connections() < 16 {
            predictor.infer(&request(), &context()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), replaced).await.expect("connections are not replaced");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let mock = Mock::serving(|_, _| {
        let length = (65_u32 * 1024 * 1024).to_be_bytes();
        ([GRPC], [&[0], length.as_slice()].concat())
    })
    .await;
    let error = predictor(&mock.address, Protocol::GrpcV2).infer(&request(), &context()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamInvalid, "{error}");
}

#[tokio::test]
async fn readiness_is_what_it_says_of_its_model() {
    for ready in [true, false] {
        let mock = Mock::serving(move |_, _| good(&ModelReadyResponse { ready })).await;
        assert_eq!(predictor(&mock.address, Protocol::GrpcV2).ready(&context()).await.is_ok(), ready);
        assert!(mock.got()[0].line.ends_with("/ModelReady"));
    }
}

#[tokio::test]
async fn metadata_that_ask_for_the_unknown_are_named() {
    let input = TensorMetadata { name: "a".to_owned(), datatype: "FP8".to_owned(), ..TensorMetadata::default() };
    let metadata = ModelMetadataResponse { inputs: vec![input], ..ModelMetadataResponse::default() };
    let mock = Mock::serving(move |_, _| good(&metadata)).await;
    let error = predictor(&mock.address, Protocol::GrpcV2).metadata(&context()).await.unwrap_err();
    assert!(error.detail().unwrap().contains("`FP8`"), "{error}");
}

#[tokio::test]
async fn a_shape_that_is_not_said_is_that_of_a_column() {
    let input = TensorMetadata { name: "a".to_owned(), datatype: "FP32".to_owned(), ..TensorMetadata::default() };
    let metadata = ModelMetadataResponse { inputs: vec![input], ..ModelMetadataResponse::default() };
    let mock = Mock::serving(move |_, _| good(&metadata)).await;
    let metadata = predictor(&mock.address, Protocol::GrpcV2).metadata(&context()).await.unwrap();
    assert_eq!(metadata.inputs[0].shape, [-1, 1]);
}

#[tokio::test]
async fn an_input_that_stands_for_others_is_one_over_grpc_too() {
    let yes = || InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    let parameters = ["optional", "alternative"].map(|name| (name.to_owned(), yes()));
    let input = TensorMetadata {
        name: "matrix".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![-1, 2],
        parameters: parameters.into_iter().collect(),
    };
    let metadata = ModelMetadataResponse { inputs: vec![input], ..ModelMetadataResponse::default() };
    let mock = Mock::serving(move |_, _| good(&metadata)).await;
    let metadata = predictor(&mock.address, Protocol::GrpcV2).metadata(&context()).await.unwrap();
    let wanted = dataplane::TensorMetadata::alternative("matrix", dataplane::Datatype::Fp32, &[-1, 2]);
    assert_eq!(metadata.inputs, [wanted]);
}

#[tokio::test]
async fn a_server_of_ours_is_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = axum::Router::from(dataplane::router(Arc::new(server().handler)));
    tokio::spawn(axum::serve(listener, app).into_future());
    let settings = Settings { protocol: Protocol::GrpcV2, ..Settings::default() };
    let predictor =
        |model| Predictor::new("ranking", &address, model, &settings, rows(), Metrics::new().unwrap()).unwrap();
    let sum = predictor("sum");
    sum.ready(&context()).await.unwrap();
    let metadata = sum.metadata(&context()).await.unwrap();
    assert!(metadata.inputs.iter().any(|input| input.name == "note" && input.optional), "{metadata:?}");
    let response = sum.infer(&request(), &context()).await.unwrap();
    assert_eq!(response.f32s("sum").unwrap(), [11.0, -2.4]);
    assert_eq!(predictor("nope").infer(&request(), &context()).await.unwrap_err().kind(), Kind::UpstreamNotFound);
}

#[test]
fn an_address_with_a_path_is_refused() {
    let settings = Settings { protocol: Protocol::GrpcV2, ..Settings::default() };
    let made = |host| Predictor::new("r", host, "m", &settings, rows(), Metrics::new().unwrap());
    assert!(made("http://host/behind").is_err() && made("host:81").is_ok());
}
