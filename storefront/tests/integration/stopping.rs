//! How the shop ends.

use axum::{body::Body, response::Response};
use futures_util::stream;

use crate::{shop::Shop, transformer::Transformer};

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_what_is_under_way_first() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let once = std::sync::Mutex::new(Some(receiver));
    let transformer = Transformer::start().await.with("/v2/models/stylist/generate_stream", move || {
        let events = stream::unfold(once.lock().unwrap().take().unwrap(), async |mut receiver| {
            let text = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(text), receiver))
        });
        Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(events)).unwrap()
    });
    for signal in ["TERM", "INT"] {
        let mut idle = Shop::start(&transformer.url, &["--drain-delay=0"]);
        idle.signal(signal);
        assert_eq!(idle.process.wait().unwrap().code(), Some(0), "{signal}");
    }
    let mut shop = Shop::start(&transformer.url, &[]);
    sender.send("event: profile\ndata: {}\n\n").unwrap();
    let mut answer = shop.send("/api/stylist", r#"{"request":"x"}"#).await;
    answer.chunk().await.unwrap().unwrap();
    shop.signal("INT");
    // Its listener closes, and what is under way goes on.
    while std::net::TcpStream::connect(shop.url.strip_prefix("http://").unwrap()).is_ok() {
        tokio::task::yield_now().await;
    }
    sender.send("event: done\ndata: {}\n\n").unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "event: done\ndata: {}\n\n");
    assert_eq!(shop.process.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_left() {
    let transformer = Transformer::start().await.with("/v2/models/stylist/generate_stream", || {
        let first = stream::once(async { Ok::<_, std::convert::Infallible>("event: profile\ndata: {}\n\n") });
        let events = futures_util::StreamExt::chain(first, stream::pending());
        Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(events)).unwrap()
    });
    let mut shop = Shop::start(&transformer.url, &["--drain-timeout=100ms"]);
    let mut answer = shop.send("/api/stylist", r#"{"request":"x"}"#).await;
    answer.chunk().await.unwrap().unwrap();
    shop.signal("INT");
    assert_eq!(shop.process.wait().unwrap().code(), Some(0));
}
