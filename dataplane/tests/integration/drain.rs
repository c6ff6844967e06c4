//! SIGTERM: not ready first, then no new connections, then the end, with requests under way answered.

use std::{net::TcpStream, time::Duration};

use reqwest::{Client, StatusCode};

use crate::toy::Process;

const BODY: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;

/// A request under way, seen so by the server.
async fn under_way(toy: &Process) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
    let url = format!("{}/v1/models/toy:predict", toy.url);
    let asked = tokio::spawn(async move { Client::new().post(url).body(BODY).send().await });
    loop {
        let text = reqwest::get(format!("{}/metrics", toy.url)).await.unwrap().text().await.unwrap();
        if text.lines().any(|line| line == "inference_requests_in_flight 1") {
            return asked;
        }
        pause().await;
    }
}

/// Between two looks; nothing depends on how long it is.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

async fn ready(toy: &Process) -> Option<StatusCode> {
    // A client of its own each time: a kept connection outlives the listener.
    let answer = Client::new().get(format!("{}/v2/health/ready", toy.url)).send().await;
    answer.ok().map(|answer| answer.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_goes_first_and_requests_under_way_are_answered() {
    let toy = Process::start(&["--pause", "3s", "--drain-delay", "1500ms"]);
    assert_eq!(ready(&toy).await, Some(StatusCode::OK));
    let asked = under_way(&toy).await;
    // Connections that are open and ask nothing don't hold up the end.
    let (kept, silent) = (Client::new(), TcpStream::connect(toy.url.trim_start_matches("http://")).unwrap());
    kept.get(format!("{}/v2", toy.url)).send().await.unwrap().text().await.unwrap();
    toy.signal("TERM");
    while ready(&toy).await == Some(StatusCode::OK) {
        pause().await;
    }
    assert_eq!(ready(&toy).await, Some(StatusCode::SERVICE_UNAVAILABLE), "closed before it said that it leaves");
    while ready(&toy).await.is_some() {
        pause().await;
    }
    assert!(!asked.is_finished(), "the listener closes while requests are under way");
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), r#"{"predictions":[{"sums":[3.0],"ids":["x"]}]}"#);
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    // The model's own line may come on either side of the signal.
    let lines: Vec<_> = lines.iter().filter(|line| line["message"] != "adding up").collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["draining", "answered", "stopped"]);
    assert_eq!(lines[0]["delay_ms"], 1500);
    drop((kept, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_outlasts_the_drain_is_cut_and_counted() {
    let toy = Process::start(&[
        "--pause",
        "600s",
        "--request-timeout",
        "600s",
        "--drain-delay",
        "0",
        "--drain-timeout",
        "50ms",
    ]);
    let asked = under_way(&toy).await;
    toy.signal("TERM");
    assert!(asked.await.unwrap().is_err());
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    let cut = lines.iter().find(|line| line["message"] == "requests under way are cut").unwrap();
    assert_eq!((cut["requests"].as_i64(), cut["level"].as_str()), (Some(1), Some("WARN")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_does_not_wait() {
    let toy = Process::start(&["--pause", "600s", "--request-timeout", "600s", "--drain-timeout", "600s"]);
    let asked = under_way(&toy).await;
    toy.signal("INT");
    while ready(&toy).await.is_some() {
        pause().await;
    }
    toy.signal("INT");
    assert!(asked.await.unwrap().is_err());
    assert_eq!(toy.end().0, Some(0));
}
