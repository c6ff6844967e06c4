//! Many large bodies at once: memory holds those that were let in, and no others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{INFER, V2, channel, head, message, resident};
use crate::{
    grpc::{self, wire},
    toy::{Process, client},
    wire::{Reply, connect, metric, pause, reply, soon},
};

const BODY: usize = 1024 * 1024;
const CALLERS: usize = 64;
const LET_IN: usize = 8;
/// What those that were let in may take, with room for what reading them takes.
const GROWTH_KIB: usize = 24 * 1024;

#[derive(Default)]
struct Seen {
    refused: AtomicUsize,
    /// All but the last byte of so many bodies was sent.
    sent: AtomicUsize,
    measured: AtomicUsize,
}

async fn until(count: &AtomicUsize, wanted: usize) {
    while count.load(SeqCst) < wanted {
        pause().await;
    }
}

/// Sends a body slowly, until it is refused or, where it was let in, to its end.
async fn send(address: String, seen: Arc<Seen>) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&head(BODY)).await.unwrap();
    stream.write_all(V2.as_bytes()).await.unwrap();
    let spaces = vec![b' '; BODY - V2.len()];
    let (first, rest) = spaces.split_at(64 * 1024);
    stream.write_all(first).await.unwrap();
    let refused = tokio::select! {
        refused = reply(&mut stream) => refused.map(Some),
        () = until(&seen.refused, CALLERS - LET_IN) => Some(None),
    };
    if let Some(refused) = refused.expect("it was cut off without an answer") {
        seen.refused.fetch_add(1, SeqCst);
        return refused;
    }
    let (most, last) = rest.split_at(rest.len() - 1);
    stream.write_all(most).await.unwrap();
    seen.sent.fetch_add(1, SeqCst);
    until(&seen.measured, 1).await;
    stream.write_all(last).await.unwrap();
    reply(&mut stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_large_bodies_only_those_that_were_let_in_are_read() {
    let _turn = super::TURN.lock().await;
    let toy = Process::start(&["--max-in-flight", "8"]);
    let before = resident(&toy);
    let seen = Arc::new(Seen::default());
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(send(toy.address("rest").unwrap().to_owned(), seen.clone()))).collect();
    soon(until(&seen.sent, LET_IN)).await;
    let grown = resident(&toy) - before;
    seen.measured.store(1, SeqCst);
    let mut answered = 0;
    for caller in callers {
        let answer = soon(caller).await.unwrap();
        if answer.status == 200 {
            answered += 1;
            continue;
        }
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    }
    assert_eq!(answered, LET_IN);
    assert!(grown < GROWTH_KIB, "{grown} KiB");
}

#[tokio::test]
async fn who_is_refused_while_still_sending_reads_the_refusal() {
    let toy = Process::start(&["--max-in-flight", "1"]);
    // One whose body does not come holds the only place.
    let mut holder = connect(&toy, "rest").await;
    holder.write_all(&head(BODY)).await.unwrap();
    while soon(metric(&toy, "rest", "inference_requests_in_flight ")).await != Some(1.0) {
        pause().await;
    }
    let channel = channel(toy.address("grpc").unwrap());
    for _ in 0..8 {
        let answer = client().post(format!("{}{INFER}", toy.url)).body(vec![b' '; 4 * BODY]).send();
        assert_eq!(soon(answer).await.unwrap().status(), 429);
        let message = wire::InferRequest { id: "x".repeat(4 * BODY), ..message() };
        let status = soon(grpc::infer(&channel, message)).await.unwrap_err();
        assert_eq!(status.metadata().get("x-error-code").unwrap(), "overloaded", "{status:?}");
    }
}
