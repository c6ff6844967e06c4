//! LLM servers that hang, have no room, break off or talk nonsense: every request ends in time, with an answer.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::{
    predictor::{Predictor, v2},
    scripted::{Llm, Reply},
};

const HOUR: Duration = Duration::from_secs(3600);

/// What servers do that are of no use.
fn useless() -> [(&'static str, Reply); 9] {
    [
        ("hangs", Reply::Hangs),
        ("hangs for an hour", Reply::Later(HOUR, Box::new(Reply::probability(0.5)))),
        ("half an answer", Reply::Half),
        ("no room", Reply::Status(429, &[], "")),
        ("no room for an hour", Reply::Status(429, &[("retry-after", "3600")], "")),
        ("no room for a moment, again and again", Reply::Status(429, &[("retry-after", "0")], "")),
        ("not ready", Reply::Status(503, &[], "")),
        ("failed", Reply::Status(500, &[], "")),
        ("garbage", Reply::Status(200, &[], "\u{0}<html>{]")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_llm_does_a_request_is_answered_before_its_deadline() {
    for (what, reply) in useless() {
        let llm = Llm::doing(move |_| reply.clone()).await;
        let predictor = Predictor::of(&llm, &["--concurrency=4"]).await;
        for number in 0..3 {
            let names: Vec<String> = (0..20).map(|place| format!("{number}-{place}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            // One that were late would be 504: the deadline is the server's own.
            let answer = predictor.infer(&v2(&names), &[("x-request-timeout", "400ms")]).await;
            assert_eq!((answer.status, answer.scores()), (200, vec![0.0; 20]), "{what}");
            assert_eq!((answer.ids().len(), answer.parameter("defaults")), (20, &json!(20)));
            let degraded = answer.parameter("degraded").as_str().unwrap_or_else(|| panic!("{what}: {answer:?}"));
            assert!(degraded.contains("the LLM"), "{degraded}");
        }
        assert_eq!(predictor.ready().await.0, 200, "{what}: it was ready once, and can answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_llm_that_is_not_there_is_503_where_that_is_wanted() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &["--on-llm-failure=error", "--llm-retries=0"]).await;
    llm.does(|_| Reply::Status(500, &[], "in 10.1.2.3"));
    let answer = predictor.score(&["a"]).await;
    assert_eq!((answer.status, &answer.body["code"]), (503, &json!("upstream_unavailable")));
    assert!(answer.body["error"].as_str().unwrap().contains("the LLM failed"), "{answer:?}");
    assert!(!answer.body.to_string().contains("10.1.2.3"));
    llm.does(|_| Reply::Hangs);
    let answer = predictor.infer(&v2(&["b"]), &[("x-request-timeout", "200ms")]).await;
    assert_eq!((answer.status, &answer.body["code"]), (504, &json!("upstream_timeout")));
    // One candidate with a score is an answer.
    llm.does(|asked| match asked.article() {
        "c" => Reply::Status(404, &[], ""),
        _ => Reply::probability(0.5),
    });
    assert_eq!(predictor.score(&["c", "d"]).await.scores(), [0.0, 0.5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_is_waited_for_and_then_asked_again() {
    let llm = Llm::doing(|asked| match asked.number {
        0 => Reply::Status(429, &[("retry-after", "1")], ""),
        _ => Reply::probability(0.5),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &[]).await;
    assert_eq!(predictor.score(&["a"]).await.scores(), [0.5]);
    assert_eq!(llm.asked().len(), 2);
    let retried = r#"upstream_retries_total{reason="overloaded",upstream="llm"} 1"#;
    assert!(predictor.metrics().await.contains(retried));
    // There is no time for it here, and so it is not waited for either.
    llm.does(|_| Reply::Status(429, &[("retry-after", "1")], ""));
    let answer = predictor.infer(&v2(&["b"]), &[("x-request-timeout", "900ms")]).await;
    assert_eq!((answer.parameter("degraded"), llm.asked().len()), (&json!("the LLM has no room"), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_circuit_opens_over_an_llm_that_keeps_failing_and_closes_when_it_does_better() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = fails.clone();
    let llm = Llm::doing(move |_| match failing.load(Ordering::SeqCst) {
        true => Reply::Status(500, &[], ""),
        false => Reply::probability(0.5),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &["--concurrency=1", "--cache-entries=0"]).await;
    let names: Vec<String> = (0..20).map(|place| format!("a{place}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = predictor.score(&names).await;
    assert_eq!((answer.parameter("defaults"), llm.asked().len()), (&json!(20), 5), "then it is left alone");
    assert_eq!(predictor.counts("llm_candidates_total").await["circuit_open"], 15.0);
    assert!(predictor.metrics().await.contains(r#"upstream_circuit_open{upstream="llm"} 1"#));
    fails.store(false, Ordering::SeqCst);
    predictor.until(async || predictor.score(&["b"]).await.scores() == [0.5]).await;
    assert!(predictor.metrics().await.contains(r#"upstream_circuit_open{upstream="llm"} 0"#));
    assert_eq!(predictor.score(&names).await.scores(), [0.5; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_circuit_opens_over_an_llm_that_hangs_too() {
    let llm = Llm::doing(|_| Reply::Hangs).await;
    let predictor = Predictor::of(&llm, &["--llm-timeout=100ms", "--concurrency=1"]).await;
    let names: Vec<String> = (0..20).map(|place| format!("a{place}")).collect();
    let answer = predictor.score(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!((answer.parameter("defaults"), llm.asked().len()), (&json!(20), 5));
    assert_eq!(predictor.counts("llm_requests_total").await["timeout"], 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_listens_answers_are_degraded_and_health_says_so() {
    // A port that is held, and on which nobody listens once this listener is gone.
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &["--llm-retries=0"]).await;
    assert_eq!(predictor.ready().await, (200, json!({"ready": true, "dependencies": {"llm": "ready"}})));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = Predictor::starting(&llm, &[&format!("--llm-url=http://{gone}"), "--llm-model=m"], &[]);
    away.until(async || !away.logged("the LLM did not answer the self-test: not ready yet").is_empty()).await;
    let (status, answer) = away.ready().await;
    assert_eq!(status, 503);
    assert!(answer["error"].as_str().unwrap().contains("llm"), "{answer}");
    let answer = away.score(&["a"]).await;
    assert_eq!((answer.status, &answer.body["code"]), (503, &json!("not_ready")));
}
