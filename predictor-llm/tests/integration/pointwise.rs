//! A call a candidate: each gets its own score, and what fails for one concerns no other.

use std::time::Duration;

use serde_json::json;

use crate::{
    predictor::{Predictor, named, v2},
    scripted::{Llm, MODEL, Reply, completion, in_name},
};

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_twenty_are_scored_and_answered_with_their_ids() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &[]).await;
    for count in [1, 19, 20, 21, 100] {
        let names = named(count);
        let answer = predictor.score(&refs(&names)).await;
        let scored = count.min(20);
        let expected: Vec<f64> = names[..scored].iter().map(|name| in_name(name)).collect();
        assert_eq!((answer.status, answer.scores()), (200, expected), "{count}");
        let ids: Vec<String> = (0..scored).map(|place| format!("id{place}")).collect();
        assert_eq!(answer.ids(), ids);
        assert_eq!((answer.parameter("strategy"), answer.parameter("llm_model")), (&json!("pointwise"), &json!(MODEL)));
        assert!(answer.parameter("defaults").is_null() && answer.parameter("degraded").is_null(), "{answer:?}");
    }
    assert_eq!(llm.asked().len(), 20, "each of them once; the others were known already");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_candidates_get_an_empty_answer_and_no_call() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &[]).await;
    let answer = predictor.score(&[]).await;
    assert_eq!((answer.status, answer.scores(), answer.ids()), (200, vec![], vec![]));
    assert_eq!(llm.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_out_of_order_find_their_ids() {
    let llm = Llm::doing(|asked| {
        let probability = in_name(asked.article());
        // The first come last.
        let after = Duration::from_secs_f64((0.0120 - probability) * 100.0);
        Reply::Later(after, Box::new(Reply::probability(probability)))
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &["--concurrency=20"]).await;
    let names = named(20);
    let answer = predictor.score(&refs(&names)).await;
    assert_eq!(answer.scores(), names.iter().map(|name| in_name(name)).collect::<Vec<_>>());
    assert_eq!(answer.ids()[19], "id19");
}

/// An article of this name, and what is answered about it.
fn fault(name: &str) -> Reply {
    match name {
        "no_marker" => Reply::Says("I would say that it is likely.".to_owned()),
        "not_a_number" => Reply::Says("Probability: high".to_owned()),
        "out_of_range" => Reply::Says("Probability: 1.2".to_owned()),
        "refusal" => Reply::Json(completion("Probability: 0.5", "content_filter")),
        "truncated" => Reply::Json(completion("The customer is 31 and", "length")),
        "overloaded" => Reply::Status(429, &[], "slow down"),
        "unavailable" => Reply::Status(503, &[], "loading"),
        "rejected" => Reply::Status(404, &[], "no such model"),
        "failed" => Reply::Status(500, &[], "oops"),
        "invalid" => Reply::Json(json!({"answer": 42})),
        "broken_off" => Reply::Half,
        "timeout" => Reply::Hangs,
        good => Reply::probability(in_name(good)),
    }
}

const FAULTS: [&str; 12] = [
    "no_marker",
    "not_a_number",
    "out_of_range",
    "refusal",
    "truncated",
    "overloaded",
    "unavailable",
    "rejected",
    "failed",
    "invalid",
    "broken_off",
    "timeout",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_a_default_for_its_own_candidate_and_moves_its_own_counter() {
    let llm = Llm::doing(|asked| fault(asked.article())).await;
    let predictor = Predictor::of(&llm, &["--concurrency=1", "--llm-retries=0", "--llm-timeout=300ms"]).await;
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let before = predictor.counts("llm_candidates_total").await;
        // Fresh names: what is known already would not be asked.
        let names = [format!("{fault}-a-0.25"), fault.to_owned(), format!("{fault}-b-0.75")];
        let answer = predictor.score(&refs(&names)).await;
        assert_eq!((answer.status, answer.scores()), (200, vec![0.25, 0.0, 0.75]), "{fault}");
        assert_eq!(answer.ids(), ["id0", "id1", "id2"]);
        assert_eq!(answer.parameter("defaults"), &json!(1), "{fault}");
        assert!(answer.parameter("degraded").is_null(), "{fault}: the LLM was there");
        let mut expected = before;
        *expected.entry(fault.to_owned()).or_default() += 1.0;
        *expected.entry("scored".to_owned()).or_default() += 2.0;
        assert_eq!(predictor.counts("llm_candidates_total").await, expected);
        // The answer may be here before the line is.
        predictor.until(async || predictor.logged("scored 0 by default").len() > number).await;
        let told = predictor.logged("scored 0 by default");
        assert_eq!((&told.last().unwrap()["class"], &told.last().unwrap()["first"]), (&json!(fault), &json!("id1")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_whose_answer_does_not_come_in_time_is_a_default_and_the_others_are_not() {
    let llm = Llm::doing(|asked| match asked.article() {
        "slow" => Reply::Hangs,
        name => Reply::probability(in_name(name)),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &[]).await;
    let answer = predictor.infer(&v2(&["a-0.25", "slow", "b-0.75"]), &[("x-request-timeout", "800ms")]).await;
    assert_eq!((answer.status, answer.scores()), (200, vec![0.25, 0.0, 0.75]));
    assert_eq!(predictor.counts("llm_candidates_total").await["deadline"], 1.0);
    assert_eq!(predictor.counts("llm_requests_total").await["abandoned"], 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_calls_as_are_allowed_go_side_by_side_and_no_more() {
    let llm = Llm::doing(|_| Reply::Hangs).await;
    let predictor = Predictor::of(&llm, &["--concurrency=3"]).await;
    let names = named(20);
    let answer = predictor.infer(&v2(&refs(&names)), &[("x-request-timeout", "500ms")]).await;
    assert_eq!((answer.status, llm.asked().len()), (200, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_a_schema_is_asked_for_until_it_is_refused() {
    let llm = Llm::doing(|asked| match asked.body["response_format"]["type"].as_str() {
        Some("json_schema") => Reply::Says(r#"{"probability": 0.25}"#.to_owned()),
        _ => Reply::probability(0.5),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &[]).await;
    assert_eq!(predictor.score(&["a-0"]).await.scores(), [0.25]);
    assert!(llm.asked()[0].user().contains("JSON"));
    // Another server, which takes neither that nor the switch against thinking.
    let refusing = Llm::doing(|_| Reply::probability(0.5)).await;
    refusing.shows_the_self_test(|asked| {
        if asked.body.get("response_format").is_some() {
            return Reply::Status(400, &[], r#"{"error": {"message": "response_format is not supported"}}"#);
        }
        if asked.body.get("chat_template_kwargs").is_some() {
            return Reply::Status(400, &[], r#"{"error": {"message": "Unrecognized request argument"}}"#);
        }
        Reply::probability(if asked.user().contains("High waist jeans") { 0.8 } else { 0.1 })
    });
    let predictor = Predictor::of(&refusing, &["--concurrency=1"]).await;
    assert_eq!(
        refusing.asked_by_the_self_test().len(),
        7,
        "two were refused, and it was asked without them from then on"
    );
    assert_eq!(predictor.score(&["a-0"]).await.scores(), [0.5]);
    let asked = &refusing.asked()[0];
    assert!(asked.body.get("response_format").is_none() && asked.body.get("chat_template_kwargs").is_none());
    assert!(asked.user().ends_with("Probability: 0.1234"), "{}", asked.user());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_what_the_settings_say() {
    let llm = Llm::reading_names().await;
    let extra = r#"{"temperature": null, "seed": 7, "max_tokens": null, "max_completion_tokens": 12}"#;
    let arguments = ["--temperature=0.7", "--llm-model=other", "--llm-extra", extra, "--structured-output=off"];
    let predictor = Predictor::of(&llm, &arguments).await;
    let answer = predictor.score(&["a-0.5"]).await;
    assert_eq!(answer.parameter("llm_model"), &json!("other"));
    let mut body = llm.asked()[0].body.clone();
    body.as_object_mut().unwrap().remove("messages");
    let expected = json!({"model": "other", "seed": 7, "max_completion_tokens": 12, "chat_template_kwargs": {"enable_thinking": false}});
    assert_eq!(body, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_thinks_whatever_it_is_told_has_room_for_it() {
    let llm = Llm::doing(|asked| match asked.body["max_tokens"].as_u64().unwrap() {
        few if few < 1000 => Reply::Json(completion("<think>Probability: 0.9? The customer", "length")),
        _ => Reply::Says("<think>Probability: 0.9? No.</think>Probability: 0.25".to_owned()),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &["--concurrency=1"]).await;
    assert_eq!(predictor.score(&["a-0", "b-0"]).await.scores(), [0.25, 0.25]);
    assert_eq!(llm.asked().len(), 3, "only the first was asked twice");
}
