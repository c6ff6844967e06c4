//! Ready once the LLM has answered and is good for something, and never taken back.

use std::time::Duration;

use serde_json::json;

use crate::{
    predictor::Predictor,
    scripted::{Llm, Reply},
};

const FAILED: &str = "the LLM failed the self-test: not ready. Another --strategy, --llm-model or --template may do better; --self-test=warn serves it as it is";

#[tokio::test(flavor = "multi_thread")]
async fn one_score_for_all_is_not_ready_until_it_does_better() {
    for constant in [Reply::probability(0.0), Reply::probability(0.5), Reply::Says("Hm.".to_owned())] {
        let llm = Llm::reading_names().await;
        llm.shows_the_self_test(move |_| constant.clone());
        let predictor = Predictor::starting(&llm, &[], &[]);
        predictor.until(async || !predictor.logged(FAILED).is_empty()).await;
        let (status, answer) = predictor.ready().await;
        assert_eq!(status, 503);
        assert!(answer["error"].as_str().unwrap().contains("llm"), "{answer}");
        assert_eq!(predictor.score(&["a-0.5"]).await.status, 503, "constant scores are served to nobody");
        llm.shows_the_self_test(|asked| Reply::probability(if asked.user().contains("Silk tie") { 0.1 } else { 0.2 }));
        predictor.until_ready().await;
        assert_eq!(predictor.score(&["a-0.5"]).await.scores(), [0.5]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_test_that_only_warns_says_so_and_serves() {
    let llm = Llm::reading_names().await;
    llm.shows_the_self_test(|_| Reply::probability(0.0));
    let predictor = Predictor::of(&llm, &["--self-test=warn"]).await;
    let told = predictor.lines().iter().filter(|line| line.contains("its order means nothing")).count();
    assert_eq!((told, predictor.score(&["a-0.5"]).await.scores()), (1, vec![0.5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_llm_that_comes_late_is_waited_for_also_where_the_test_only_warns() {
    for policy in ["--self-test=require", "--self-test=warn"] {
        let llm = Llm::reading_names().await;
        llm.lists(false);
        let predictor = Predictor::starting(&llm, &[policy], &[]);
        let away = "the LLM did not answer the self-test: not ready yet";
        predictor.until(async || !predictor.logged(away).is_empty()).await;
        assert_eq!(predictor.ready().await.0, 503);
        llm.lists(true);
        predictor.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_llm_that_goes_away_is_told_and_readiness_stays() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &[]).await;
    predictor
        .until(async || predictor.ready().await.1 == json!({"ready": true, "dependencies": {"llm": "ready"}}))
        .await;
    llm.lists(false);
    predictor.until(async || predictor.ready().await.1["dependencies"]["llm"] == "away").await;
    assert_eq!(predictor.ready().await.0, 200);
    assert!(predictor.metrics().await.contains(r#"dependency_up{dependency="llm"} 0"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_open_while_the_llm_is_tested() {
    let llm = Llm::reading_names().await;
    llm.shows_the_self_test(|_| Reply::Later(Duration::from_secs(3600), Box::new(Reply::Hangs)));
    let predictor = Predictor::starting(&llm, &[], &[]);
    assert_eq!(predictor.get("/v2/health/live").await, (200, json!({"live": true})));
    assert_eq!(predictor.ready().await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_self_test_asks_five_candidates_pointwise_and_once_listwise() {
    for (strategy, calls) in [("pointwise", 5), ("listwise", 1)] {
        let llm = Llm::reading_names().await;
        let predictor = Predictor::of(&llm, &["--strategy", strategy]).await;
        assert_eq!(llm.asked_by_the_self_test().len(), calls, "{strategy}");
        drop(predictor);
    }
}
