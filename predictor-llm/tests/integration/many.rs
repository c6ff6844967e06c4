//! Many requests to an LLM of every kind of failure: nothing is left behind, neither connections nor memory.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use crate::{
    predictor::{Predictor, v2},
    scripted::{Asked, Llm, Reply},
};

/// Each of these in turn, with a good answer in between, so that the circuit stays closed.
fn in_turn(asked: &Asked) -> Reply {
    match asked.number % 14 {
        1 => Reply::Hangs,
        3 => Reply::Half,
        5 => Reply::Status(429, &[("retry-after", "3600")], "no room"),
        7 => Reply::Status(500, &[], "oops"),
        9 => Reply::Status(200, &[], "<html>"),
        11 => Reply::Says("I don't know.".to_owned()),
        _ => Reply::probability(0.5),
    }
}

/// How long each of so many requests took beyond its time, in order.
async fn overshoots(predictor: &Predictor, requests: usize, time: Duration) -> Vec<Duration> {
    let header = format!("{}ms", time.as_millis());
    let asked = (0..requests).map(|number| {
        let header = &header;
        async move {
            let body = v2(&[&format!("a{number}"), &format!("b{number}")]);
            let begun = Instant::now();
            assert_eq!(predictor.infer(&body, &[("x-request-timeout", header)]).await.status, 200);
            begun.elapsed().saturating_sub(time)
        }
    });
    let mut overshoots: Vec<_> = stream::iter(asked).buffer_unordered(16).collect().await;
    overshoots.sort_unstable();
    overshoots
}

struct Held {
    files: f64,
    memory: f64,
}

async fn held(predictor: &Predictor) -> Held {
    // What was hung up is closed by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let files = predictor.metric("process_open_fds").await;
    Held { files, memory: predictor.metric("process_resident_memory_bytes").await }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_hundreds_of_failures_no_connection_is_left_behind() {
    let llm = Llm::doing(in_turn).await;
    let predictor = Predictor::of(&llm, &["--concurrency=16"]).await;
    overshoots(&predictor, 100, Duration::from_millis(300)).await;
    let before = held(&predictor).await;
    overshoots(&predictor, 400, Duration::from_millis(300)).await;
    let after = held(&predictor).await;
    // Of each other's connections at most as many are open as calls were at once.
    assert!(after.files <= before.files + 16.0, "{} files were open, and {} are", before.files, after.files);
}

/// `cargo test -p predictor-llm --test integration -- --ignored --nocapture ten_thousand`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; says what ten thousand requests leave behind, and how late the latest is"]
async fn ten_thousand_requests_leave_nothing_behind() {
    let llm = Llm::doing(in_turn).await;
    let predictor =
        Predictor::of(&llm, &["--concurrency=16", "--cache-entries=1000", "--log-level=error,dataplane::serve=info"])
            .await;
    overshoots(&predictor, 1_000, Duration::from_millis(200)).await;
    let before = held(&predictor).await;
    let overshoots = overshoots(&predictor, 10_000, Duration::from_millis(200)).await;
    let after = held(&predictor).await;
    let (p99, most) = (overshoots[overshoots.len() * 99 / 100], overshoots[overshoots.len() - 1]);
    println!("open files {} -> {}", before.files, after.files);
    println!("resident {:.1} MB -> {:.1} MB", before.memory / 1e6, after.memory / 1e6);
    println!("beyond the deadline, seen by the caller: p99 {p99:?}, most {most:?}");
    println!("candidates {:?}", predictor.counts("llm_candidates_total").await);
    assert!(after.files <= before.files + 16.0 && after.memory < before.memory * 1.2);
}
