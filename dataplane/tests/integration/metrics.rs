//! What is counted.

use std::{collections::HashMap, sync::Arc};

use axum::{body::Body, http::Request};
use dataplane::{limits::Limits, repository::Repository};
use futures_util::future::join_all;
use tokio::time::{Duration, timeout};

use crate::{
    echo::Shelf,
    serving::{Server, server, serving},
};

const GOOD: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;

/// Requests counted, by outcome.
async fn counted(server: &Server) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for line in server.get("/metrics").await.text().lines() {
        if let Some((labels, count)) =
            line.strip_prefix("inference_requests_total{").and_then(|rest| rest.split_once("} "))
        {
            let code = labels.split("code=\"").nth(1).unwrap().split('"').next().unwrap();
            *counts.entry(code.to_owned()).or_default() += count.parse::<u64>().unwrap();
        }
    }
    counts
}

#[tokio::test]
async fn every_inference_is_counted_once_as_a_success_or_a_failure() {
    let server = server();
    for (model, body, times) in
        [("sum", GOOD, 3), ("sum", "{", 2), ("failing", GOOD, 1), ("panicking", GOOD, 1), ("nope", GOOD, 2)]
    {
        for _ in 0..times {
            server.post(&format!("/v1/models/{model}:predict"), body).await;
            server.post(&format!("/v2/models/{model}/infer"), "{}").await;
        }
    }
    for path in ["/", "/v2", "/v2/health/ready", "/nowhere", "/metrics"] {
        server.get(path).await;
    }
    let expected =
        [("ok", 3), ("malformed_body", 2), ("invalid_argument", 3 + 2 + 1 + 1), ("unknown_model", 4), ("internal", 2)];
    let expected = expected.map(|(code, count)| (code.to_owned(), count));
    assert_eq!(counted(&server).await, HashMap::from(expected));
    let text = server.get("/metrics").await.text();
    let counts = text.lines().filter_map(|line| {
        line.strip_prefix("inference_request_duration_seconds_count{")?.split_once("} ")?.1.parse::<u64>().ok()
    });
    assert_eq!(counts.sum::<u64>(), 18);
}

#[tokio::test]
async fn nothing_is_in_flight_when_all_is_answered_refused_or_abandoned() {
    let server = Arc::new(server());
    assert_eq!(server.metric("inference_requests_in_flight").await, Some(0.0));
    let under_way = {
        let server = server.clone();
        tokio::spawn(async move { server.post("/v1/models/slow:predict", GOOD).await })
    };
    while server.metric("inference_requests_in_flight").await != Some(1.0) {
        tokio::task::yield_now().await;
    }
    join_all(["sum", "failing", "panicking", "nope", "unready"].map(|model| {
        let server = server.clone();
        async move { server.post(&format!("/v1/models/{model}:predict"), GOOD).await }
    }))
    .await;
    assert_eq!(server.metric("inference_requests_in_flight").await, Some(1.0));
    under_way.abort();
    assert!(under_way.await.unwrap_err().is_cancelled());
    assert_eq!(server.metric("inference_requests_in_flight").await, Some(0.0));
}

#[tokio::test]
async fn a_caller_who_leaves_is_counted_too() {
    let server = server();
    assert!(timeout(Duration::from_millis(1), server.post("/v1/models/slow:predict", GOOD)).await.is_err());
    assert_eq!(counted(&server).await, HashMap::from([("abandoned".to_owned(), 1)]));
}

#[tokio::test]
async fn names_that_are_not_served_make_no_time_series() {
    let server = server();
    let lines = |text: String| text.lines().count();
    server.post("/v1/models/nope:predict", GOOD).await;
    server.post("/v2/models/nope/infer", "{}").await;
    let before = lines(server.get("/metrics").await.text());
    for number in 0..20 {
        server.post(&format!("/v1/models/nope{number}:predict"), GOOD).await;
        server.post(&format!("/v2/models/nope{number}/infer"), "{}").await;
    }
    let text = server.get("/metrics").await.text();
    assert!(!text.contains("nope") && text.contains("model=\"\""), "{text}");
    assert_eq!(lines(text), before);
}

#[tokio::test]
async fn the_text_is_what_kserves_aggregator_reads() {
    let server = server();
    server.post("/v1/models/sum:predict", GOOD).await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(typed.contains(&family) || typed.contains(&name), "{line}");
    }
}

#[tokio::test]
async fn a_scraper_that_would_rather_have_openmetrics_gets_the_same_text() {
    let server = server();
    let asked = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let answer = server.send(Request::get("/metrics").header("accept", asked).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    // Of OpenMetrics alone: the mark of its end, and counters whose family is without `_total`.
    assert!(!text.contains("# EOF") && text.contains("# TYPE server_requests_cut_total counter\n"), "{text}");
}

/// The values of all samples of this name, summed up.
async fn sum(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").await.text();
    let samples = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    samples.map(|sample| sample.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn kserves_histograms_count_the_parts_that_a_request_went_through() {
    let server = server();
    for (model, body) in [("sum", GOOD), ("sum", GOOD), ("sum", "{"), ("failing", GOOD)] {
        server.post(&format!("/v1/models/{model}:predict"), body).await;
    }
    // One body could not be read, one model failed after it was asked.
    for (name, count) in [("preprocess", 3.0), ("predict", 3.0), ("postprocess", 2.0), ("explain", 0.0)] {
        assert_eq!(sum(&server, &format!("request_{name}_seconds_count")).await, count, "{name}");
    }
    assert_eq!(server.metric("request_predict_seconds_count{model_name=\"sum\"}").await, Some(2.0));
    assert_eq!(sum(&server, "inference_requests_total").await, 4.0);
    assert_eq!(sum(&server, "inference_request_duration_seconds_count").await, 4.0);
}

#[tokio::test]
async fn what_is_loaded_and_where_it_runs_is_told() {
    let repository = Repository::default().with_loader("good", Arc::new(Shelf { name: "good", broken: false }));
    let server = serving(repository, Limits::default());
    server.handler.repository.load("good").await.unwrap();
    let loaded = "model_info{digest=\"sha256:0123\",model=\"good\",version=\"3\"}";
    assert_eq!(server.metric(loaded).await, Some(1.0));
    server.handler.repository.unload("good").await.unwrap();
    assert_eq!(server.metric(loaded).await, None);
    assert_eq!(server.metric("server_info{name=\"toys\",version=\"1\"}").await, Some(1.0));
    assert!(server.metric("process_resident_memory_bytes").await.unwrap() > 100_000.0);
    assert!(server.metric("process_open_fds").await.unwrap() > 2.0);
    assert!(server.metric("process_cpu_seconds_total").await.is_some());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - server.metric("process_start_time_seconds").await.unwrap();
    assert!((-10.0..86_400.0).contains(&age), "{age}");
}

#[tokio::test]
async fn a_models_own_metrics_are_shown_beside_the_servers() {
    let server = server();
    let own = prometheus::IntCounter::new("toys_total", "Toys.").unwrap();
    server.handler.metrics.register(own.clone()).unwrap();
    own.inc();
    assert_eq!(server.metric("toys_total").await, Some(1.0));
    assert!(server.handler.metrics.register(own).is_err(), "a name is taken once");
}
