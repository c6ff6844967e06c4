//! The stylist's stream, event by event.

use std::{convert::Infallible, sync::Arc};

use axum::{body::Body, response::Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{shop::Shop, transformer::Transformer};

const GENERATE: &str = "/v2/models/stylist/generate_stream";
const REQUEST: &str = r#"{"request":"an outfit","gender":"women","k":3}"#;
const PROFILE: &str = "event: profile\ndata: {\"gender\":\"women\"}\n\n";
const ITEM: &str = "event: item\ndata: {\"index\":0,\"emoji\":\"👖\",\"category\":\"Pants\",\"description\":\"<b>slim</b>\",\"articles\":[[0.8,\"01\"],[0.7,\"9\"]]}\n\n";
const DONE: &str =
    "event: summary\ndata: {\"summary\":\"Nice.\"}\n\nevent: done\ndata: {\"list_id\":\"stylist@v1/01\"}\n\n";

/// Says when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.take().map(|gone| gone.send(()));
    }
}

/// A transformer whose stream is what is sent into the channel; the other end hears when the stream was dropped.
async fn streaming() -> (Transformer, mpsc::UnboundedSender<Vec<u8>>, oneshot::Receiver<()>) {
    let (sender, receiver) = mpsc::unbounded_channel::<Vec<u8>>();
    let (gone, dropped) = oneshot::channel();
    let once = Arc::new(Mutex::new(Some((receiver, Guard(Some(gone))))));
    let transformer = Transformer::start().await.with(GENERATE, move || {
        let state = once.try_lock().unwrap().take().unwrap();
        let chunks = stream::unfold(state, async |(mut receiver, guard)| {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, Infallible>(bytes), (receiver, guard)))
        });
        let response = Response::builder().header("content-type", "text/event-stream");
        response.body(Body::from_stream(chunks)).unwrap()
    });
    (transformer, sender, dropped)
}

/// The rest of an answer as (event, data).
async fn rest(mut response: reqwest::Response) -> Vec<(String, Value)> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    let events = text.split("\n\n").filter(|event| !event.is_empty());
    let read = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    events.map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_comes_when_it_is_written_with_what_its_articles_are() {
    let (transformer, events, _dropped) = streaming().await;
    let shop = Shop::start(&transformer.url, &[]);
    events.send(PROFILE.into()).unwrap();
    let mut answer = shop.send("/api/stylist", REQUEST).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    // The next is only sent when the one before has arrived.
    assert_eq!(answer.chunk().await.unwrap().unwrap(), PROFILE);
    for byte in ITEM.as_bytes() {
        events.send(vec![*byte]).unwrap();
    }
    let item = answer.chunk().await.unwrap().unwrap();
    let data = str::from_utf8(&item).unwrap().strip_prefix("event: item\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["emoji"], &data["description"]), (&json!("👖"), &json!("<b>slim</b>")));
    assert_eq!(data["articles"], json!([[0.8, "01"], [0.7, "9"]]));
    let details = data["details"].as_object().unwrap();
    assert_eq!(details.keys().collect::<Vec<_>>(), ["01"]);
    assert_eq!(details["01"]["prod_name"], "<b>01</b>");
    events.send(DONE.into()).unwrap();
    let rest = rest(answer).await;
    assert_eq!(rest.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["summary", "done"]);

    let asked = transformer.asked();
    let expected = json!({"text_input": "an outfit", "parameters": {"gender": "women", "k": 3}});
    assert_eq!(asked[0].json(), expected);
    assert_eq!(asked[0].headers["x-request-id"], asked[1].headers["x-request-id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_takes_the_transformers_stream_along() {
    let (transformer, events, dropped) = streaming().await;
    let shop = Shop::start(&transformer.url, &[]);
    events.send(PROFILE.into()).unwrap();
    let mut answer = shop.send("/api/stylist", REQUEST).await;
    answer.chunk().await.unwrap().unwrap();
    drop(answer);
    dropped.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_says_so_and_what_came_stays() {
    let (transformer, events, _dropped) = streaming().await;
    let shop = Shop::start(&transformer.url, &[]);
    events.send([PROFILE, ITEM, "event: item\ndata: {\"ind"].concat().into()).unwrap();
    let answer = shop.send("/api/stylist", REQUEST).await;
    drop(events);
    let rest = rest(answer).await;
    assert_eq!(rest.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["profile", "item", "error"]);
    assert_eq!(rest[2].1["code"], "transformer_away");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_can_not_be_read_or_shown_ends_the_stream() {
    for (item, articles, code) in [
        ("event: item\ndata: {\"articles\":7}\n\n", None, "transformer_invalid"),
        ("event: item\ndata: nothing\n\n", None, "transformer_invalid"),
        (ITEM, Some(r#"{"error":"the store is away","code":"unavailable"}"#), "unavailable"),
    ] {
        let (mut transformer, events, dropped) = streaming().await;
        if let Some(articles) = articles {
            transformer = transformer.answers("/v1/articles", 503, articles);
        }
        let shop = Shop::start(&transformer.url, &[]);
        events.send([PROFILE, item, DONE].concat().into()).unwrap();
        let rest = rest(shop.send("/api/stylist", REQUEST).await).await;
        assert_eq!(rest.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["profile", "error"]);
        assert_eq!(rest[1].1["code"], code);
        dropped.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_transformer_is_late_in_the_stream_too() {
    let (transformer, events, _dropped) = streaming().await;
    let shop = Shop::start(&transformer.url, &["--transformer-timeout=300ms"]);
    events.send(PROFILE.into()).unwrap();
    let rest = rest(shop.send("/api/stylist", REQUEST).await).await;
    assert_eq!(rest[1].0, "error");
    assert_eq!(rest[1].1["code"], "transformer_late");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_the_first_byte_is_an_ordinary_refusal() {
    let refusal = r#"{"error":"field `request`: expected at most 2,000 characters","code":"invalid_argument"}"#;
    let transformer = Transformer::start().await.answers(GENERATE, 400, refusal);
    let shop = Shop::start(&transformer.url, &[]);
    let answer = shop.post("/api/stylist", REQUEST).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (400, refusal));
    // No stream at all is none that could be read.
    let transformer = transformer.answers(GENERATE, 200, "{}");
    assert_eq!(shop.post("/api/stylist", REQUEST).await.refusal(), (502, "transformer_invalid".to_owned()));
    for wrong in ["{}", r#"{"request": 7}"#] {
        let answer = shop.post("/api/stylist", wrong).await;
        assert_eq!(answer.refusal(), (400, "invalid_argument".to_owned()));
        assert!(answer.text().contains("request"));
    }
    assert_eq!(transformer.asked().len(), 2);
}
