//! Predictors that are not ours: what they leave out, and what they write in other words.

use dataplane::{
    Data, Kind,
    client::{Protocol, Settings, V1Form},
    metrics::Metrics,
};
use serde_json::json;

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
