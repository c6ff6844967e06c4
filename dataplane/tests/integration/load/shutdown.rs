//! SIGTERM in the middle of it all loses nothing.

use std::sync::Arc;

use serde_json::Value;

use super::Tally;
use crate::{
    toy::Process,
    wire::{pause, soon},
};

const RUNS: usize = 10;
const CALLERS: usize = 4;

/// One run: how many were answered and how many lost, as callers see it, and what the server logged.
async fn run(delay: &str) -> (Tally, Vec<Value>) {
    let toy = Process::start(&["--pause", "2ms", "--workers", "4", "--drain-delay", delay]);
    let tally = Arc::new(Tally::default());
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        for listener in ["rest", "grpc"] {
            let (tally, address) = (tally.clone(), toy.address(listener).unwrap().to_owned());
            callers.push(tokio::spawn(async move {
                match listener {
                    "rest" => tally.rest(&address).await,
                    _ => tally.grpc(&address).await,
                }
            }));
        }
    }
    while tally.answered() < 20 * CALLERS {
        pause().await;
    }
    toy.signal("TERM");
    for caller in callers {
        soon(caller).await.unwrap();
    }
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    (Arc::into_inner(tally).unwrap(), lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_that_was_taken_is_answered_whenever_the_server_is_told_to_stop() {
    let _turn = super::TURN.lock().await;
    for number in 0..RUNS {
        let (tally, lines) = run(if number % 2 == 0 { "100ms" } else { "300ms" }).await;
        assert_eq!(tally.lost(), 0, "run {number}: {tally:?}");
        let logged = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
        // What the server says that it answered has come to a caller.
        assert_eq!(logged("answered"), tally.answered(), "run {number}");
        for wrong in
            ["the caller left", "requests under way are cut", "connections without a request are cut", "failed"]
        {
            assert_eq!(logged(wrong), 0, "run {number}: {wrong}");
        }
    }
}
