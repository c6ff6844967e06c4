//! Why an article suits its customer: by V1's `:explain`, and by V2 where the output is asked for by name.

use serde_json::json;

use crate::{
    predictor::{Predictor, named, v1, v2},
    scripted::{Asked, Llm, Reply, completion},
};

/// Explains, and scores nothing.
fn explaining(asked: &Asked) -> Reply {
    match asked.body["messages"][0]["content"].as_str().unwrap().contains("shop assistant") {
        true if asked.article() == "shy" => Reply::Json(completion("", "content_filter")),
        true => Reply::Says(format!("You  like {}.\nIt is soft.", asked.article())),
        false => Reply::probability(0.5),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_explain_and_neither_does_unasked() {
    let llm = Llm::doing(explaining).await;
    let predictor = Predictor::of(&llm, &[]).await;
    let texts = json!(["You like a. It is soft.", "", "You like b. It is soft."]);
    let (status, answer) = predictor.get("/v2/models/hemline").await;
    assert_eq!((status, &answer["outputs"][2]["name"]), (200, &json!("explanations")));
    let plain = predictor.score(&["a", "b"]).await;
    assert_eq!(plain.body["outputs"].as_array().unwrap().len(), 2);
    assert_eq!(llm.asked().len(), 2);

    let answer = predictor.post("/v1/models/hemline:explain", &v1(&["a", "shy", "b"])).send().await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let explanations = json!([{"article_ids": ["id0", "id1", "id2"], "explanations": texts}]);
    assert_eq!(answer, json!({"predictions": [], "explanations": explanations}));
    assert_eq!(llm.asked().len(), 5, "explained, and not scored");

    let mut request = v2(&["a", "shy", "b"]);
    request["outputs"] = json!([{"name": "article_ids"}, {"name": "explanations"}]);
    let answer = predictor.infer(&request, &[]).await;
    assert_eq!((json!(answer.output("explanations")), answer.ids().len()), (texts, 3));
    assert_eq!((llm.asked().len(), answer.parameter("strategy")), (8, &json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_candidates_twenty_are_explained() {
    let llm = Llm::doing(explaining).await;
    let predictor = Predictor::of(&llm, &[]).await;
    let names = named(100);
    let mut request = v2(&names.iter().map(String::as_str).collect::<Vec<_>>());
    request["outputs"] = json!([{"name": "explanations"}]);
    assert_eq!(predictor.infer(&request, &[]).await.output("explanations").len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_llm_that_explains_nothing_is_a_failure_of_its_class() {
    let llm = Llm::doing(explaining).await;
    let predictor = Predictor::of(&llm, &["--llm-retries=0"]).await;
    for (reply, status, code) in [
        (Reply::Status(500, &[], "at 10.1.2.3"), 503, "upstream_unavailable"),
        (Reply::Json(completion("", "stop")), 502, "upstream_invalid"),
        (Reply::Hangs, 504, "upstream_timeout"),
    ] {
        llm.does(move |_| reply.clone());
        let mut request = v2(&["a"]);
        request["outputs"] = json!([{"name": "explanations"}]);
        let answer = predictor.infer(&request, &[("x-request-timeout", "600ms")]).await;
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)));
        assert!(!answer.body.to_string().contains("10.1.2.3"), "{answer:?}");
    }
}
