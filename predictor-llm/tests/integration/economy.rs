//! What is not asked twice, and what is not spent.

use std::time::Duration;

use futures_util::future::join;
use serde_json::json;

use crate::{
    predictor::{Predictor, named, v2},
    scripted::{Llm, Reply, in_name},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_before_is_not_asked_again() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &[]).await;
    let first = predictor.score(&["a-0.25", "b-0.75"]).await;
    let again = predictor.score(&["b-0.75", "a-0.25"]).await;
    assert_eq!((first.scores(), again.scores()), (vec![0.25, 0.75], vec![0.75, 0.25]));
    assert_eq!(llm.asked().len(), 2);
    let cache = predictor.counts("llm_cache_total").await;
    assert_eq!((cache["miss"], cache["hit"]), (2.0, 2.0));
    let mut older = v2(&["a-0.25"]);
    older["inputs"][0]["data"] = json!([62]);
    predictor.infer(&older, &[]).await;
    assert_eq!(llm.asked().len(), 3, "another customer is another question");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_where_that_is_wanted_nor_what_failed() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &["--cache-entries=0"]).await;
    for _ in 0..2 {
        predictor.score(&["a-0.25"]).await;
    }
    assert_eq!(llm.asked().len(), 2);
    let llm = Llm::doing(|asked| match asked.number {
        0 => Reply::Says("Hm.".to_owned()),
        _ => Reply::probability(0.25),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &[]).await;
    assert_eq!(predictor.score(&["a-0.25"]).await.scores(), [0.0]);
    assert_eq!(predictor.score(&["a-0.25"]).await.scores(), [0.25]);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_questions_at_the_same_time_are_one_call() {
    let llm = Llm::doing(|asked| {
        Reply::Later(Duration::from_millis(300), Box::new(Reply::probability(in_name(asked.article()))))
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &[]).await;
    let (one, other) = join(predictor.score(&["a-0.25", "b-0.75"]), predictor.score(&["a-0.25", "b-0.75"])).await;
    assert_eq!((one.scores(), llm.asked().len()), (other.scores(), 2));
    assert_eq!(predictor.counts("llm_cache_total").await["coalesced"], 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_their_cost_are_counted() {
    let llm = Llm::reading_names().await;
    let prices = ["--price-input=1", "--price-output=10", "--price-cached=0.5"];
    let predictor = Predictor::of(&llm, &prices).await;
    let before = (predictor.counts("llm_tokens_total").await, predictor.metric("llm_cost_total").await);
    predictor.score(&["a-0.25", "b-0.75"]).await;
    let after = (predictor.counts("llm_tokens_total").await, predictor.metric("llm_cost_total").await);
    // A completion says 100 tokens of the prompt, 40 of them cached, and 10 more.
    for (kind, expected) in [("prompt", 120.0), ("cached", 80.0), ("completion", 20.0)] {
        assert_eq!(after.0[kind] - before.0[kind], expected, "{kind}");
    }
    assert!((after.1 - before.1 - 2.0 * (60.0 + 20.0 + 100.0) / 1e6).abs() < 1e-12, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_budget_the_default_applies() {
    let llm = Llm::reading_names().await;
    let names = named(20);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (setting, budget) in [
        ("--max-tokens-per-request=1500", "request"),
        ("--max-tokens-per-minute=2000", "tokens_per_minute"),
        ("--max-cost-per-minute=2", "cost_per_minute"),
    ] {
        let predictor =
            Predictor::of(&llm, &[setting, "--price-input=1000", "--price-output=1000", "--concurrency=1"]).await;
        let answer = predictor.score(&names).await;
        let defaults = answer.parameter("defaults").as_u64().unwrap();
        assert!((1..20).contains(&defaults), "{setting}: {defaults}");
        assert!(answer.parameter("degraded").is_null());
        let count = |answer: f64| u64::try_from(answer as i64).unwrap();
        assert_eq!(count(predictor.counts("llm_budget_exhausted_total").await[budget]), defaults);
        assert_eq!(count(predictor.counts("llm_candidates_total").await["budget"]), defaults);
        // The best retrieved come first, and so they are who gets scores.
        assert_eq!(answer.scores()[0], in_name(names[0]), "{answer:?}");
        assert_eq!(answer.scores()[19], 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_any_budget_left_is_degraded_and_the_next_one_has_its_own() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &["--max-tokens-per-request=1000000"]).await;
    assert_eq!(predictor.score(&["a-0.25"]).await.scores(), [0.25]);
    // The self-test of this one has a budget as any request; so small a one lets nothing through.
    let predictor = Predictor::starting(&llm, &["--max-tokens-per-request=10"], &[]);
    predictor.until(async || !predictor.logged("the LLM did not answer the self-test: not ready yet").is_empty()).await;
    let told = predictor.logged("the LLM did not answer the self-test: not ready yet");
    assert!(told[0]["reason"].as_str().unwrap().starts_with("budget"), "{told:?}");
}
