//! Connections to a predictor: kept, replaced by age, several under load, and never a request lost to one that was closed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, serve::ListenerExt};
use dataplane::{
    Kind,
    client::{Protocol, Settings},
    metrics::Metrics,
};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Barrier, mpsc, watch},
    time::timeout,
};

use crate::predictor::{Mock, context, predictor, predictor_set, predictor_with, request};

const ANSWER: &str = r#"{"outputs": []}"#;
const SAFETY: Duration = Duration::from_secs(60);

fn aging(age: Duration) -> Settings {
    Settings { connection_age: age, retries: 0, ..Settings::default() }
}

#[tokio::test]
async fn a_young_connection_is_used_again() {
    let mock = Mock::answering(200, &[], ANSWER).await;
    let predictor = predictor(&mock.address, Protocol::V2);
    for _ in 0..20 {
        predictor.infer(&request(), &context()).await.unwrap();
    }
    assert_eq!(mock.connections(), 1);
}

#[tokio::test]
async fn one_that_refused_is_used_again_too() {
    let mock = Mock::answering(400, &[], "no").await;
    let predictor = predictor(&mock.address, Protocol::V2);
    for _ in 0..5 {
        predictor.infer(&request(), &context()).await.unwrap_err();
    }
    assert_eq!(mock.connections(), 1);
}

#[tokio::test]
async fn connections_are_replaced_by_age_and_no_request_fails() {
    let mock = Mock::answering(200, &[], ANSWER).await;
    let predictor = predictor_set(&mock.address, &aging(Duration::from_millis(20)), Metrics::new().unwrap());
    let replaced = async {
        while mock.connections() < 4 {
            let (one, other) = (request(), request());
            let both = [&one, &other].map(|request| async { predictor.infer(request, &context()).await });
            assert!(join_all(both).await.iter().all(Result::is_ok));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SAFETY, replaced).await.expect("connections are not replaced");
}

#[tokio::test]
async fn a_request_under_way_outlives_its_connections_age() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().fallback(|| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ANSWER
    });
    tokio::spawn(axum::serve(listener.tap_io(|_| ()), app).into_future());
    let predictor = predictor_set(&address, &aging(Duration::from_millis(1)), Metrics::new().unwrap());
    predictor.infer(&request(), &context()).await.unwrap();
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Nobody is answered before all have asked.
    let all = Arc::new(Barrier::new(8));
    let app = Router::new().fallback(move || {
        let all = all.clone();
        async move {
            all.wait().await;
            ANSWER
        }
    });
    tokio::spawn(axum::serve(listener, app).into_future());
    let predictor = predictor(&address, Protocol::V2);
    let (request, context) = (request(), context());
    let answers = timeout(SAFETY, join_all((0..8).map(|_| predictor.infer(&request, &context)))).await;
    assert!(answers.expect("some wait for others").iter().all(Result::is_ok));
}

/// Reads one request with its body; nothing at the end of the connection.
pub(crate) async fn read_one(stream: &mut TcpStream) -> Option<()> {
    let mut got = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.ok().filter(|&length| length > 0)?;
        got.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&got).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let wanted: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        if body.len() >= wanted {
            return Some(());
        }
    }
}

async fn answer_one(stream: &mut TcpStream) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// A server that answers the first request of a connection, reads the second, and closes.
async fn forgetful(answers: bool) -> String {
    breaking(answers, "").await.0
}

/// A server that reads the second request of a connection (the first where it `answers` none), says so much, and closes; and how many
/// times it did.
pub(crate) async fn breaking(answers: bool, says: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broken = Arc::new(AtomicUsize::new(0));
    let count = broken.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                if answers && read_one(&mut stream).await.is_some() {
                    answer_one(&mut stream).await;
                }
                if read_one(&mut stream).await.is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(says.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, broken)
}

#[tokio::test]
async fn a_request_whose_reused_connection_is_closed_without_an_answer_is_sent_again() {
    let metrics = Metrics::new().unwrap();
    // However often, and also where calls that fail are not tried again.
    let predictor = predictor_set(&forgetful(true).await, &aging(SAFETY), metrics.clone());
    for _ in 0..40 {
        predictor.infer(&request(), &context()).await.unwrap();
    }
    let text = String::from_utf8(metrics.text()).unwrap();
    assert!(text.contains(r#"upstream_retries_total{reason="closed",upstream="ranking"} 39"#), "{text}");
}

#[tokio::test]
async fn it_is_sent_again_over_a_new_connection_and_not_another_that_may_be_closed_too() {
    let metrics = Metrics::new().unwrap();
    let predictor = predictor_set(&forgetful(true).await, &aging(SAFETY), metrics.clone());
    for _ in 0..3 {
        let (request, context) = (request(), context());
        let answers = timeout(SAFETY, join_all((0..8).map(|_| predictor.infer(&request, &context)))).await;
        assert!(answers.unwrap().iter().all(Result::is_ok));
    }
}

/// Answers the first request of each of `crowd` connections, reads a second of all of them, and then hangs up on all at once. Later
/// connections are answered when `go` says so.
async fn dying(crowd: usize, go: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let all = Arc::new(Barrier::new(crowd));
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (all, mut go) = (all.clone(), go.clone());
            tokio::spawn(async move {
                if number >= crowd {
                    read_one(&mut stream).await?;
                    go.wait_for(|go| *go).await.ok()?;
                    answer_one(&mut stream).await;
                    return Some(());
                }
                read_one(&mut stream).await?;
                // Nobody's connection is free before everybody has one.
                all.wait().await;
                answer_one(&mut stream).await;
                read_one(&mut stream).await?;
                all.wait().await;
                None
            });
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_dies_takes_no_crowd_along_to_the_next() {
    const CROWD: usize = 20;
    let (go, gone) = watch::channel(false);
    let metrics = Metrics::new().unwrap();
    let predictor = Arc::new(predictor_set(&dying(CROWD, gone).await, &aging(SAFETY), metrics.clone()));
    let (sender, mut answers) = mpsc::unbounded_channel();
    for wanted in [[true; CROWD], std::array::from_fn(|number| number >= 12)] {
        for _ in 0..CROWD {
            let (predictor, sender) = (predictor.clone(), sender.clone());
            tokio::spawn(async move { sender.send(predictor.infer(&request(), &context()).await.is_ok()) });
        }
        for (number, wanted) in wanted.into_iter().enumerate() {
            assert_eq!(timeout(SAFETY, answers.recv()).await.unwrap(), Some(wanted), "{number}");
            // Those who may be sent again wait until the others have failed.
            go.send_replace(!wanted && number == 11);
        }
    }
    let text = String::from_utf8(metrics.text()).unwrap();
    assert!(text.contains(r#"upstream_retries_total{reason="closed",upstream="ranking"} 8"#), "{text}");
}

#[tokio::test]
async fn one_whose_fresh_connection_is_closed_may_be_the_cause_and_is_not() {
    let metrics = Metrics::new().unwrap();
    let predictor = predictor_with(&forgetful(false).await, Protocol::V2, metrics.clone());
    let error = predictor.infer(&request(), &context()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamUnavailable);
    assert!(!String::from_utf8(metrics.text()).unwrap().contains("upstream_retries_total{"));
}

#[tokio::test]
async fn one_of_whose_answer_any_part_came_was_done_and_is_not_sent_again() {
    for says in ["HTTP/1.1 20", "garbage\r\n\r\n"] {
        for answers in [true, false] {
            let (address, broken) = breaking(answers, says).await;
            let predictor = predictor_set(&address, &aging(SAFETY), Metrics::new().unwrap());
            if answers {
                predictor.infer(&request(), &context()).await.unwrap();
            }
            let error = predictor.infer(&request(), &context()).await.unwrap_err();
            let asked = broken.load(Ordering::SeqCst);
            assert_eq!((error.kind(), asked), (Kind::UpstreamInvalid, 1), "{says:?} {answers}: {error}");
        }
    }
}

#[tokio::test]
async fn connections_that_the_server_closes_between_requests_cost_nothing() {
    let mock = Mock::answering(200, &[("connection", "close")], ANSWER).await;
    let predictor = predictor_set(&mock.address, &aging(SAFETY), Metrics::new().unwrap());
    for _ in 0..5 {
        predictor.infer(&request(), &context()).await.unwrap();
    }
    assert_eq!(mock.connections(), 5);
}
