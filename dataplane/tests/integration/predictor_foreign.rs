//! Predictors that are not ours: what they leave out, and what they write in other words.

use dataplane::{
    Data, InferResponse, Kind,
    client::{Protocol, Settings, V1Form},
    metrics::Metrics,
};
use serde_json::{Value, json};

use crate::predictor::{Mock, context, predictor, predictor_set, request};

#[tokio::test]
async fn answers_may_be_nested_in_other_datatypes_and_full_of_nulls() {
    let answer = json!({"model_name": "adder", "model_version": null, "id": null, "parameters": null, "outputs": [
        {"name": "sum", "shape": [2, 2], "datatype": "FP64", "data": [[0.9, 0.1], [0.2, 0.8]], "parameters": null},
        {"name": "id", "shape": [2], "datatype": "INT64", "data": [1, 2]}]});
    let mock = Mock::answering(200, &[], answer.to_string()).await;
    let response = predictor(&mock.address, Protocol::V2).infer(&request(), &context()).await.unwrap();
    assert_eq!(response.output("sum").unwrap().data(), &Data::from(vec![0.9, 0.1, 0.2, 0.8]));
    assert_eq!(response.output("id").unwrap().data(), &Data::from(vec![1_i64, 2]));
}

#[tokio::test]
async fn one_whose_readiness_is_in_the_body_is_understood() {
    for (body, ready) in [
        (r#"{"name":"adder","ready":false}"#, false),
        (r#"{"name":"adder","ready":true}"#, true),
        ("", true),
        ("{}", true),
    ] {
        let mock = Mock::answering(200, &[], body).await;
        for protocol in [Protocol::V1, Protocol::V2] {
            assert_eq!(predictor(&mock.address, protocol).ready(&context()).await.is_ok(), ready, "{body}");
        }
    }
}

async fn plain_rows(answer: &'static str) -> (Mock, dataplane::Result<dataplane::InferResponse>) {
    let mock = Mock::answering(200, &[], answer).await;
    let settings = Settings { protocol: Protocol::V1, v1_form: V1Form::Rows, ..Settings::default() };
    let predictor = predictor_set(&mock.address, &settings, Metrics::new().unwrap());
    let response = predictor.infer(&request(), &context()).await;
    (mock, response)
}

#[tokio::test]
async fn a_v1_predictor_of_plain_rows_gets_an_instance_a_row_and_answers_a_score_each() {
    let (mock, response) = plain_rows(r#"{"predictions": [0.1, 0.2]}"#).await;
    assert_eq!(mock.got()[0].body, r#"{"instances":[[1.0,10.0],[0.1,-2.5]]}"#);
    let response = response.unwrap();
    let scores = response.output("sum").unwrap();
    assert_eq!((scores.shape(), scores.data()), ([2, 1].as_slice(), &Data::from(vec![0.1, 0.2])));
}

#[tokio::test]
async fn or_with_a_score_for_each_class() {
    let (_, response) = plain_rows(r#"{"predictions": [[0.9, 0.1], [0.3, 0.7]]}"#).await;
    assert_eq!(response.unwrap().output("sum").unwrap().shape(), [2, 2]);
}

#[tokio::test]
async fn or_with_what_is_no_score() {
    for body in [
        r#"{"predictions": ["x", "y"]}"#,
        r#"{"predictions": [0.1, [0.1, 0.2]]}"#,
        r#"{"predictions": [null, 1]}"#,
        r#"{"predictions": {}}"#,
        "{}",
    ] {
        let (_, response) = plain_rows(body).await;
        assert_eq!(response.unwrap_err().kind(), Kind::UpstreamInvalid, "{body}");
    }
}

#[tokio::test]
async fn metadata_that_ask_for_the_unknown_are_named() {
    let body = r#"{"inputs":[{"name":"a","datatype":"FP8","shape":[-1,1]}]}"#;
    let mock = Mock::answering(200, &[], body).await;
    let error = predictor(&mock.address, Protocol::V2).metadata(&context()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamInvalid);
    assert!(error.detail().unwrap().contains("`FP8`"), "{error}");
}

/// What a predictor of which only `sum` and `id` are read makes of an answer.
async fn wanted(headers: &[(&'static str, &'static str)], answer: Vec<u8>) -> dataplane::Result<InferResponse> {
    let mock = Mock::answering(200, headers, answer).await;
    let settings = Settings { outputs: ["sum", "id"].map(str::to_owned).to_vec(), ..Settings::default() };
    predictor_set(&mock.address, &settings, Metrics::new().unwrap()).infer(&request(), &context()).await
}

fn sum() -> Value {
    json!({"name": "sum", "shape": [2], "datatype": "FP32", "data": [1, 2]})
}

#[tokio::test]
async fn outputs_that_nobody_reads_may_be_whatever_they_are() {
    let outputs = json!([
        {"name": "margins", "shape": [2], "datatype": "FP32", "data": [null, 1]},
        {"name": "halves", "shape": [1], "datatype": "BF16", "data": [1]},
        {"name": "tiny", "shape": [1], "datatype": "FP8", "data": [1], "parameters": {"headers": {"a": "b"}}},
        {"name": "objects", "shape": [1], "datatype": "BYTES", "data": [{"a": 1}]},
        sum(),
        {"name": "empty"}]);
    let response = wanted(&[], json!({"outputs": outputs}).to_string().into()).await.unwrap();
    assert_eq!((response.outputs.len(), response.f32s("sum").unwrap()), (1, [1.0, 2.0].as_slice()));
    // Without a word on what is wanted, all of it is.
    let mock = Mock::answering(200, &[], json!({"outputs": outputs}).to_string()).await;
    let error = predictor(&mock.address, Protocol::V2).infer(&request(), &context()).await.unwrap_err();
    assert!(error.detail().unwrap().contains("`margins`"), "{error:?}");
}

#[tokio::test]
async fn the_binary_data_of_outputs_that_nobody_reads_are_passed_over() {
    let answer = |size: usize| {
        let json = json!({"outputs": [
            {"name": "tiny", "shape": [3], "datatype": "FP8", "parameters": {"binary_data_size": size}},
            {"name": "sum", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]});
        let json = format!("{:<240}", json.to_string()).into_bytes();
        [json.as_slice(), b"abc", &0.5_f32.to_le_bytes()].concat()
    };
    let header = [("inference-header-content-length", "240")];
    assert_eq!(wanted(&header, answer(3)).await.unwrap().f32s("sum").unwrap(), [0.5]);
    for size in [2, 4, 8, usize::MAX] {
        assert_eq!(wanted(&header, answer(size)).await.unwrap_err().kind(), Kind::UpstreamInvalid, "{size}");
    }
}

#[tokio::test]
async fn an_output_that_is_read_has_to_be_one() {
    for (field, value) in [
        ("data", json!([null, 1])),
        ("data", json!([{}, 1])),
        ("datatype", json!("FP8")),
        ("shape", json!([3])),
        ("shape", json!(null)),
    ] {
        let mut sum = sum();
        sum[field] = value;
        let error = wanted(&[], json!({"outputs": [sum]}).to_string().into()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::UpstreamInvalid);
        assert!(error.detail().unwrap().contains("outputs[0]"), "{error:?}");
    }
}

#[tokio::test]
async fn ids_and_versions_may_be_numbers_and_parameters_more_than_ours() {
    let parameters = json!({"headers": {"ce-id": "1"}, "fast": true, "none": null});
    let mut sum = sum();
    sum["parameters"] = json!({"content_type": "np", "more": [1]});
    let answer = json!({"model_name": null, "model_version": 3, "id": 7, "parameters": parameters, "outputs": [sum]});
    let response = wanted(&[], answer.to_string().into()).await.unwrap();
    assert_eq!((response.model_version.as_deref(), response.id.as_deref()), (Some("3"), Some("7")));
    assert_eq!((response.model_name.as_str(), response.parameters.len()), ("", 1));
    assert_eq!(response.parameters["fast"], true.into());
    assert_eq!(response.outputs[0].parameters()["content_type"].as_str(), Some("np"));
}

#[tokio::test]
async fn v1_ids_that_are_null_are_none() {
    let mock = Mock::answering(200, &[], r#"{"predictions": [{"sums": [1, 2], "ids": null}]}"#).await;
    let response = predictor(&mock.address, Protocol::V1).infer(&request(), &context()).await.unwrap();
    assert!(response.f32s("sum").is_some() && response.bytes("id").is_none());
}

#[tokio::test]
async fn metadata_may_be_full_of_what_nobody_needs() {
    let body = json!({"name": null, "versions": [1], "platform": 7, "properties": {"a": 1, "b": {}, "c": "d"},
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [-1, 1], "parameters": {"optional": null}},
            {"name": "b", "datatype": "FP32", "parameters": {"optional": "no", "content_type": "np"}},
            {"name": "c", "datatype": "FP32", "shape": null, "parameters": "none"},
            {"name": "d", "datatype": "FP8", "shape": [1], "parameters": {"optional": true}}],
        "outputs": [{"name": "e", "datatype": "FP8", "shape": [1]}]});
    let mock = Mock::answering(200, &[], body.to_string()).await;
    let metadata = predictor(&mock.address, Protocol::V2).metadata(&context()).await.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.version()), ("adder", Some("1")));
    let inputs = metadata.inputs.iter().map(|input| (input.name.as_str(), input.shape.as_slice(), input.optional));
    assert_eq!(inputs.collect::<Vec<_>>(), ["a", "b", "c"].map(|name| (name, [-1, 1].as_slice(), false)));
    assert_eq!(metadata.properties.len(), 2);
}
