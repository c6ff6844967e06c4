//! SIGTERM: not ready first, then no new connections, then the end, with requests under way answered.

use std::net::TcpStream;

use reqwest::StatusCode;
use tempfile::tempdir;
use tonic::transport::Endpoint;

use crate::{
    grpc::{
        self,
        wire::{Contents, InferRequest, Tensor, floats, tensor, typed},
    },
    toy::{Process, client},
    wire::{Http2, ask, connect, ends, get, metric, pause, post, read, reply, send, soon},
};

const PREDICT: &str = "/v1/models/toy:predict";
const ANSWER: &str = r#"{"predictions":[{"sums":[3.0],"ids":["x"]}]}"#;
const BODY: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;

/// A toy whose requests are not done before its drain is over.
const OUTLASTING: [&str; 8] =
    ["--pause", "600s", "--request-timeout", "600s", "--drain-delay", "0", "--drain-timeout", "50ms"];

/// Waits until the server says that so many requests are under way.
async fn until_under_way(toy: &Process, count: f64) {
    while metric(toy, "rest", "inference_requests_in_flight ").await != Some(count) {
        pause().await;
    }
}

/// A request under way, seen so by the server.
async fn under_way(toy: &Process) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
    let url = format!("{}/v1/models/toy:predict", toy.url);
    let asked = tokio::spawn(async move { client().post(url).body(BODY).send().await });
    until_under_way(toy, 1.0).await;
    asked
}

/// What [`BODY`] asks, over gRPC.
fn message() -> InferRequest {
    let column = |name: &str, number| Tensor { name: name.to_owned(), shape: vec![1, 1], ..floats(&[number]) };
    let ids = Contents { bytes: vec![axum::body::Bytes::from_static(b"x")], ..Contents::default() };
    let id = Tensor { contents: Some(ids), ..tensor("id", "BYTES", &[1, 1]) };
    InferRequest { model_name: "toy".to_owned(), ..typed(vec![column("a", 1.0), column("b", 2.0), id]) }
}

async fn ready(toy: &Process) -> Option<StatusCode> {
    // A client of its own each time: a kept connection outlives the listener.
    let answer = client().get(format!("{}/v2/health/ready", toy.url)).send().await;
    answer.ok().map(|answer| answer.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_goes_first_and_requests_under_way_are_answered() {
    let toy = Process::start(&["--pause", "3s", "--drain-delay", "1500ms"]);
    assert_eq!(ready(&toy).await, Some(StatusCode::OK));
    let asked = under_way(&toy).await;
    // Connections that are open and ask nothing don't hold up the end.
    let (kept, silent) = (client(), TcpStream::connect(toy.url.trim_start_matches("http://")).unwrap());
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
    assert_eq!(answer.text().await.unwrap(), ANSWER);
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
    let toy = Process::start(&OUTLASTING);
    let asked = under_way(&toy).await;
    toy.signal("TERM");
    assert!(asked.await.unwrap().is_err());
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    let cut = lines.iter().find(|line| line["message"] == "requests under way are cut").unwrap();
    assert_eq!((cut["requests"].as_i64(), cut["level"].as_str()), (Some(1), Some("WARN")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_deadline_cuts_and_counts_the_requests_of_every_protocol() {
    let toy = Process::start(&[&["--workers", "2"][..], &OUTLASTING].concat());
    let rest = under_way(&toy).await;
    let channel = Endpoint::from_shared(format!("http://{}", toy.address("grpc").unwrap())).unwrap();
    let channel = channel.connect().await.unwrap();
    let called = tokio::spawn(async move { grpc::infer(&channel, message()).await });
    until_under_way(&toy, 2.0).await;
    toy.signal("TERM");
    assert!(rest.await.unwrap().is_err());
    assert!(called.await.unwrap().is_err());
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    let cut: Vec<_> = lines.iter().filter(|line| line["message"] == "requests under way are cut").collect();
    assert_eq!(cut.len(), 1, "{lines:?}");
    assert_eq!((&cut[0]["requests"], &cut[0]["reason"]), (&2.into(), &"the drain timeout passed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_is_under_way_no_more_though_a_thread_still_computes_for_them() {
    let toy = Process::start(&["--pause", "600s", "--request-timeout", "600s", "--drain-delay", "0"]);
    let asked = under_way(&toy).await;
    toy.until_logged("adding up");
    asked.abort();
    let abandoned = r#"inference_requests_total{code="abandoned",model="toy",protocol="v1"}"#;
    while metric(&toy, "rest", abandoned).await != Some(1.0) {
        pause().await;
    }
    assert_eq!(metric(&toy, "rest", "inference_requests_in_flight ").await, Some(0.0));
    toy.signal("TERM");
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    assert!(lines.iter().all(|line| line["message"] != "requests under way are cut"), "{lines:?}");
}

#[test]
fn told_to_stop_while_it_loads_a_model_it_leaves_at_once() {
    for signal in ["TERM", "INT"] {
        let toy = Process::loading(&["--load", "600s"]);
        // There is nothing to read anew yet, and no reason to end.
        toy.signal("HUP");
        toy.signal(signal);
        let (code, lines) = toy.end();
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!((code, messages), (Some(0), vec!["told to stop before it served"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_twice_it_does_not_wait() {
    for signals in [["INT", "INT"], ["TERM", "TERM"], ["TERM", "INT"]] {
        let toy = Process::start(&[
            "--pause",
            "600s",
            "--request-timeout",
            "600s",
            "--drain-delay",
            "50ms",
            "--drain-timeout",
            "600s",
        ]);
        let asked = under_way(&toy).await;
        toy.signal(signals[0]);
        while ready(&toy).await.is_some() {
            pause().await;
        }
        toy.signal(signals[1]);
        assert!(asked.await.unwrap().is_err());
        let (code, lines) = toy.end();
        assert_eq!(code, Some(0));
        let cut = lines.iter().find(|line| line["message"] == "requests under way are cut").unwrap();
        assert_eq!((cut["requests"].as_i64(), cut["reason"].as_str()), (Some(1), Some("interrupted again")));
    }
}

#[tokio::test]
async fn on_every_listener_what_is_under_way_is_answered() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("toy.sock");
    let socket = socket.to_str().unwrap();
    let toy = Process::start(&["--pause", "1s", "--drain-delay", "0", "--workers", "8", "--uds", socket]);
    let (mut http1, mut http2, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for listener in ["rest", "grpc", "uds"] {
        let mut stream = connect(&toy, listener).await;
        send(&mut stream, &post(PREDICT, BODY)).await;
        http1.push(stream);
        let mut client = Http2::over(connect(&toy, listener).await).await;
        answers.push(client.send(PREDICT, BODY));
        answers.push(client.send(PREDICT, BODY));
        http2.push(client);
    }
    let answers: Vec<_> = answers.into_iter().map(tokio::spawn).collect();
    while metric(&toy, "rest", "inference_requests_in_flight ").await != Some(9.0) {
        pause().await;
    }
    toy.signal("TERM");
    toy.until_logged("draining");
    for stream in &mut http1 {
        let answer = reply(stream).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, ANSWER));
        ends(stream).await;
    }
    for answer in answers {
        assert_eq!(read(soon(answer).await.unwrap()).await, (StatusCode::OK, ANSWER.to_owned()));
    }
    for client in http2 {
        soon(client.connection).await.unwrap().expect("told to go, by GOAWAY");
    }
    assert_eq!(toy.end().0, Some(0));
}

#[tokio::test]
async fn as_it_leaves_it_serves_on_and_sends_http_1_callers_elsewhere() {
    // Longer than any test: what follows happens within the delay.
    let toy = Process::start(&["--drain-delay", "600s"]);
    let mut kept = connect(&toy, "rest").await;
    assert!(!ask(&mut kept, &get("/v2")).await.unwrap().closes());
    let mut http2 = Http2::over(connect(&toy, "grpc").await).await;
    toy.signal("TERM");
    toy.until_logged("draining");
    for mut stream in [kept, connect(&toy, "rest").await] {
        let answer = ask(&mut stream, &post(PREDICT, BODY)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str(), answer.closes()), (200, ANSWER, true));
        ends(&mut stream).await;
    }
    for _ in 0..2 {
        assert_eq!(http2.ask(PREDICT, BODY).await, (StatusCode::OK, ANSWER.to_owned()));
    }
    assert_eq!(http2.ask("/v2/health/ready", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    toy.signal("TERM");
    assert_eq!(toy.end().0, Some(0));
}

#[tokio::test]
async fn who_had_connected_before_the_listener_closed_is_served() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("toy.sock");
    // One connection is all it takes: the others are left to the kernel.
    let toy = Process::start(&["--max-connections", "1", "--drain-delay", "0", "--uds", socket.to_str().unwrap()]);
    let mut kept = connect(&toy, "rest").await;
    assert_eq!(ask(&mut kept, &get("/v2")).await.unwrap().status, 200);
    let mut waiting = Vec::new();
    for listener in ["rest", "grpc", "uds"] {
        for _ in 0..4 {
            let mut stream = connect(&toy, listener).await;
            send(&mut stream, &post(PREDICT, BODY)).await;
            waiting.push(stream);
        }
    }
    toy.signal("TERM");
    for stream in &mut waiting {
        let answer = reply(stream).await.expect("it was lost");
        assert_eq!((answer.status, answer.body.as_str(), answer.closes()), (200, ANSWER, true));
    }
    ends(&mut kept).await;
    assert_eq!(toy.end().0, Some(0));
}

#[tokio::test]
async fn a_request_that_has_begun_to_come_is_taken() {
    let toy = Process::start(&["--drain-delay", "0"]);
    let request = post(PREDICT, BODY);
    let (head, rest) = request.split_at(20);
    let mut fresh = connect(&toy, "rest").await;
    let mut kept = connect(&toy, "rest").await;
    assert_eq!(ask(&mut kept, &get("/v2")).await.unwrap().status, 200);
    for stream in [&mut fresh, &mut kept] {
        send(stream, head).await;
    }
    // Both beginnings have been read before the signal is: each connection is asked about after its bytes.
    let mut last = connect(&toy, "rest").await;
    assert_eq!(ask(&mut last, &get("/v2")).await.unwrap().status, 200);
    toy.signal("TERM");
    ends(&mut last).await;
    for stream in [&mut fresh, &mut kept] {
        send(stream, rest).await;
        assert_eq!(reply(stream).await.expect("it was lost").body, ANSWER);
    }
    assert_eq!(toy.end().0, Some(0));
}
