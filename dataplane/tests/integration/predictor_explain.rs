//! Asking a predictor why: V1 by its verb, V2 and gRPC by the output that a request names.

use std::time::Duration;

use axum::response::IntoResponse;
use dataplane::{
    Context, Data, InferRequest, InferResponse, Kind, RequestedOutput, Result,
    client::{Protocol, Settings, V1Form},
    grpc::{
        Contents,
        proto::{ModelInferRequest, ModelInferResponse, model_infer_response::InferOutputTensor},
    },
    metrics::Metrics,
    v1::EXPLANATIONS,
};
use prost::Message;
use serde_json::json;

use crate::{
    golden,
    predictor::{Mock, context, predictor, predictor_set, request},
    predictor_grpc::good,
};

fn asking() -> InferRequest {
    let outputs = ["id", EXPLANATIONS].map(RequestedOutput::named).to_vec();
    InferRequest { outputs, ..request() }
}

async fn explained(mock: &Mock, protocol: Protocol) -> Result<InferResponse> {
    // What is read of answers otherwise is no concern of these.
    let settings = Settings { protocol, outputs: vec!["sum".to_owned()], ..Settings::default() };
    predictor_set(&mock.address, &settings, Metrics::new().unwrap()).explain(&asking(), &context()).await
}

fn texts<'a>(response: &'a InferResponse, output: &str) -> Vec<&'a str> {
    response.bytes(output).unwrap().iter().map(|text| std::str::from_utf8(text).unwrap()).collect()
}

fn output(name: &str, values: &[&str]) -> InferOutputTensor {
    let data = Data::Bytes(values.iter().collect());
    let (datatype, shape) = ("BYTES".to_owned(), vec![i64::try_from(values.len()).unwrap()]);
    InferOutputTensor {
        name: name.to_owned(),
        datatype,
        shape,
        contents: Some(Contents::from(data)),
        ..Default::default()
    }
}

#[tokio::test]
async fn v1_has_a_verb_for_it() {
    let answer =
        json!({"predictions": [], "explanations": [{"ids": ["y", "x"], "explanations": ["é", ""], "more": 1}]});
    let mock = Mock::answering(200, &[], answer.to_string()).await;
    let response = explained(&mock, Protocol::V1).await.unwrap();
    assert_eq!((texts(&response, "id"), texts(&response, EXPLANATIONS)), (vec!["y", "x"], vec!["é", ""]));
    golden::check("client/v1_explain.http", &mock.shown());
}

#[tokio::test]
async fn v2_names_the_output_which_is_read_whatever_is_read_otherwise() {
    let answer = json!({"outputs": [
        {"name": "sum", "shape": [1], "datatype": "FP8", "data": [1]},
        {"name": "id", "shape": [1], "datatype": "BYTES", "data": ["y"]},
        {"name": "explanations", "shape": [1], "datatype": "BYTES", "data": ["é"]}]});
    let mock = Mock::answering(200, &[], answer.to_string()).await;
    let response = explained(&mock, Protocol::V2).await.unwrap();
    assert_eq!((texts(&response, "id"), texts(&response, EXPLANATIONS)), (vec!["y"], vec!["é"]));
    assert_eq!(response.outputs.len(), 2);
    golden::check("client/v2_explain.http", &mock.shown());
}

#[tokio::test]
async fn grpc_names_it_too() {
    let outputs = vec![output("id", &["y"]), output(EXPLANATIONS, &["é"])];
    let answer = ModelInferResponse { outputs, ..ModelInferResponse::default() };
    let mock = Mock::serving(move |_, _| good(&answer)).await;
    let response = explained(&mock, Protocol::GrpcV2).await.unwrap();
    assert_eq!((texts(&response, "id"), texts(&response, EXPLANATIONS)), (vec!["y"], vec!["é"]));
    let message = ModelInferRequest::decode(&mock.only().body[5..]).unwrap();
    let named: Vec<_> = message.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(named, ["id", EXPLANATIONS]);
}

#[tokio::test]
async fn one_that_does_not_explain_says_so_and_is_not_at_fault() {
    let mock = Mock::answering(501, &[], r#"{"error": "no"}"#).await;
    let predictor = predictor(&mock.address, Protocol::V1);
    for _ in 0..20 {
        let error = predictor.explain(&asking(), &context()).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Unimplemented, "predictor `ranking` does not explain"));
    }
    assert_eq!(mock.got().len(), 20, "its circuit stays closed");
    let settings = Settings { protocol: Protocol::V1, v1_form: V1Form::Rows, ..Settings::default() };
    let rows = predictor_set(&mock.address, &settings, Metrics::new().unwrap());
    assert_eq!(rows.explain(&asking(), &context()).await.unwrap_err().kind(), Kind::Unimplemented);
}

#[tokio::test]
async fn failures_are_those_of_any_call() {
    for (status, kind) in [(400, Kind::UpstreamRejected), (429, Kind::UpstreamOverloaded), (500, Kind::UpstreamInvalid)]
    {
        for protocol in [Protocol::V1, Protocol::V2] {
            let mock = Mock::answering(status, &[], "").await;
            assert_eq!(explained(&mock, protocol).await.unwrap_err().kind(), kind, "{protocol:?}");
        }
    }
    for body in [
        "[]",
        "{}",
        r#"{"explanations": []}"#,
        r#"{"explanations": [{}, {}]}"#,
        r#"{"explanations": [{"ids": ["x"]}]}"#,
        r#"{"explanations": [{"ids": ["x"], "explanations": [7]}]}"#,
        r#"{"explanations": [{"ids": [7], "explanations": ["x"]}]}"#,
    ] {
        let mock = Mock::answering(200, &[], body).await;
        assert_eq!(explained(&mock, Protocol::V1).await.unwrap_err().kind(), Kind::UpstreamInvalid, "{body}");
    }
}

#[tokio::test]
async fn it_is_tried_again_and_held_to_its_deadline_as_any_call() {
    let answer = r#"{"explanations": [{"explanations": ["a"]}]}"#;
    let mock = Mock::serving(move |_, number| match number {
        0 => axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => answer.into_response(),
    })
    .await;
    let response = explained(&mock, Protocol::V1).await.unwrap();
    assert_eq!((texts(&response, EXPLANATIONS), mock.got().len()), (vec!["a"], 2));
    assert!(response.bytes("id").is_none(), "it may leave out the ids");
    let late = Context::background(Duration::ZERO);
    let error = predictor(&mock.address, Protocol::V1).explain(&asking(), &late).await.unwrap_err();
    assert_eq!((error.kind(), mock.got().len()), (Kind::UpstreamTimeout, 2));
}
