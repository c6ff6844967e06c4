use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{Lines, lines, ranker};
use crate::{args::PredictorProtocol, rankers::RankerSetting};

fn service(name: &str, labels: &Value, annotations: &Value, url: &str) -> DynamicObject {
    let status = if url.is_empty() { json!({}) } else { json!({"address": {"url": url}}) };
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"predictor": {}},
        "status": status,
    }))
    .unwrap()
}

#[test]
fn an_inference_service_is_the_ranker_that_its_label_names_at_the_address_that_kserve_gives() {
    let found =
        ranker(&service("recs-b", &json!({"hemline.io/ranker": "b"}), &json!({}), "http://recs-b-predictor.shop.svc/"));
    let expected = RankerSetting {
        name: "b".to_owned(),
        host: "http://recs-b-predictor.shop.svc".to_owned(),
        model: Some("recs-b".to_owned()),
        protocol: Some(PredictorProtocol::V2),
    };
    assert_eq!(found, Some(expected));
}

#[test]
fn annotations_say_how_it_is_asked() {
    let annotations = json!({"hemline.io/model": "twin", "hemline.io/protocol": "grpc-v2"});
    let found = ranker(&service("recs-b", &json!({"hemline.io/ranker": "b"}), &annotations, "http://b")).unwrap();
    assert_eq!((found.model.as_deref(), found.protocol), (Some("twin"), Some(PredictorProtocol::GrpcV2)));
    let unknown = json!({"hemline.io/protocol": "smtp"});
    let found = ranker(&service("recs-b", &json!({"hemline.io/ranker": "b"}), &unknown, "http://b")).unwrap();
    assert_eq!(found.protocol, Some(PredictorProtocol::V2));
}

#[test]
fn one_without_an_address_or_a_name_is_none_yet() {
    assert_eq!(ranker(&service("b", &json!({"hemline.io/ranker": "b"}), &json!({}), "")), None);
    assert_eq!(ranker(&service("b", &json!({"hemline.io/ranker": ""}), &json!({}), "http://b")), None);
}

#[test]
fn a_config_maps_keys_are_the_policys_lines_and_others_mean_nothing() {
    let keys = [("active", "b"), ("by-history", "llm<5"), ("shadow", ""), ("actve", "c")];
    let keys: BTreeMap<_, _> = keys.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
    let expected = Lines {
        active: Some("b".to_owned()),
        by_history: Some("llm<5".to_owned()),
        shadow: Some(String::new()),
        fallback: None,
    };
    assert_eq!(lines(&keys, "recs-ranking"), expected);
}
