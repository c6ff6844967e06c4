//! Callers who leave while their request waits.

use axum::http::StatusCode;

use super::{INFER, V2, message};
use crate::{
    grpc,
    toy::Process,
    wire::{Http2, ask, connect, metric, pause, post, reply, send, soon},
};

async fn until_in_flight(toy: &Process, count: f64) {
    while soon(metric(toy, "rest", "inference_requests_in_flight ")).await != Some(count) {
        pause().await;
    }
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_never_begun() {
    let toy = Process::start(&["--pause", "2s", "--workers", "1", "--queue", "8", "--drain-delay", "0"]);
    let mut first = connect(&toy, "rest").await;
    send(&mut first, &post(INFER, V2)).await;
    toy.until_logged("adding up");
    // Behind it, each with a connection of its own; over HTTP/2 a stream is reset, and its connection lives on.
    let mut closed = connect(&toy, "rest").await;
    send(&mut closed, &post(INFER, V2)).await;
    let mut streams = Http2::over(connect(&toy, "rest").await).await;
    let reset = tokio::spawn(streams.send(INFER, V2));
    let channel = super::channel(toy.address("grpc").unwrap());
    let called = tokio::spawn({
        let channel = channel.clone();
        async move { grpc::infer(&channel, message()).await }
    });
    until_in_flight(&toy, 4.0).await;
    drop(closed);
    reset.abort();
    called.abort();
    until_in_flight(&toy, 1.0).await;
    assert_eq!(reply(&mut first).await.unwrap().status, 200);
    // Who comes after them comes next.
    assert_eq!(ask(&mut first, &post(INFER, V2)).await.unwrap().status, 200);
    assert_eq!(streams.ask("/v2/health/live", "").await.0, StatusCode::OK);
    toy.signal("TERM");
    drop((first, streams, channel));
    let (code, lines) = toy.end();
    let logged = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    // The first of two began before anybody left.
    assert_eq!((code, logged("adding up"), logged("the caller left")), (Some(0), 1, 3));
}
