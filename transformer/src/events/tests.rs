//! The route's answers, over a store that does as it is told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, StatusCode},
    response::Response,
};
use catalog::{
    events::{Event, Kind},
    store::{Account, Count, Failure, Fresh, Profile, Since, Store, StoreError, Told, Unrecorded, Writer},
};
use clap::Parser;
use dataplane::{Handler, config::ServerArgs, handler::ServerInfo, metrics::Metrics, repository::Repository};
use futures_util::{FutureExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

const TELLING_AGAIN_IS_RIGHT: &str = "told again with the same ids they count once";

/// What the store does with events.
#[derive(Clone, Copy, Debug)]
enum Does {
    Write,
    Fail(Failure),
    Hang,
}

#[derive(Debug)]
struct Scripted {
    does: Does,
    written: Mutex<Vec<Event>>,
}

#[async_trait]
impl Store for Scripted {
    async fn fresh(&self, _: &[&str], _: Duration) -> Result<Fresh, StoreError> {
        unreachable!("events are told, nothing is asked")
    }

    fn at_once(&self) -> usize {
        1
    }

    async fn record(&self, events: &[Event], _: Duration) -> Result<Vec<bool>, StoreError> {
        match self.does {
            Does::Hang => std::future::pending().await,
            Does::Fail(failure) => Err(StoreError::new(failure, "at db.internal:5432: password is wrong")),
            Does::Write => {
                let mut written = self.written.lock().unwrap();
                let news = events.iter().map(|event| {
                    let is_new = written.iter().all(|known| known.event_id != event.event_id);
                    written.extend(is_new.then(|| event.clone()));
                    is_new
                });
                Ok(news.collect())
            }
        }
    }

    async fn check(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn expire(&self, _: Kind, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn customers(&self, _: &str, _: u32, _: Duration) -> Result<Vec<Profile>, StoreError> {
        Ok(Vec::new())
    }

    async fn account(&self, _: &str, _: u32, _: Duration) -> Result<Account, StoreError> {
        Ok(Account::default())
    }

    async fn counts(&self, _: &Since, _: Duration, _: Duration) -> Result<Vec<Count>, StoreError> {
        Ok(Vec::new())
    }

    async fn latest(&self, _: &Since, _: u32, _: Duration) -> Result<Vec<Told>, StoreError> {
        Ok(Vec::new())
    }

    async fn changes(&self, _: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync)) {}
}

/// A server with the route, over such a store.
struct World {
    store: Arc<Scripted>,
    handler: Arc<Handler>,
    routes: Router,
}

impl World {
    fn new(does: Does, flags: &[&str]) -> Self {
        Self::with_places(does, flags, 100)
    }

    fn with_places(does: Does, flags: &[&str], places: usize) -> Self {
        #[derive(Parser)]
        struct Settings {
            #[command(flatten)]
            server: ServerArgs,
        }
        let settings = Settings::parse_from([&["transformer"], flags].concat());
        let server = ServerInfo { name: "hemline", version: "0" };
        let handler = Handler::new(server, Repository::default(), Metrics::new().unwrap(), &settings.server).unwrap();
        let handler = Arc::new(handler);
        let store = Arc::new(Scripted { does, written: Mutex::default() });
        let writer = Writer::start(store.clone(), places, Duration::from_secs(1));
        let events = super::routes(handler.clone(), writer).unwrap();
        Self { store, routes: dataplane::router(handler.clone()).merge(events).into(), handler }
    }

    async fn tell(&self, body: impl Into<Body>) -> Response {
        let request = Request::post("/v1/events").header("content-type", "application/json");
        self.routes.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
    }

    fn metrics(&self) -> String {
        String::from_utf8(self.handler.metrics.text()).unwrap()
    }
}

fn purchase(id: &str) -> Value {
    json!({"id": id, "type": "purchase", "customer_id": "anna", "article_id": "0108775015"})
}

async fn read(response: Response) -> (StatusCode, Value) {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_store_and_counted_by_whether_it_was_new() {
    let world = World::new(Does::Write, &[]);
    let told = json!([purchase("1"), purchase("2"), purchase("1")]).to_string();
    let (status, answer) = read(world.tell(told).await).await;
    assert_eq!((status, answer), (StatusCode::ACCEPTED, json!({"accepted": 2, "repeated": 1})));
    assert_eq!(world.store.written.lock().unwrap().len(), 2);
    let metrics = world.metrics();
    assert!(metrics.contains(r#"events_total{outcome="accepted"} 2"#), "{metrics}");
    assert!(metrics.contains(r#"events_total{outcome="repeated"} 1"#), "{metrics}");
}

#[tokio::test]
async fn one_wrong_event_is_named_and_none_is_written() {
    let world = World::new(Does::Write, &[]);
    let told = json!([purchase("1"), {"id": "2", "type": "stare"}]).to_string();
    let (status, answer) = read(world.tell(told).await).await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_argument")));
    assert!(answer["error"].as_str().unwrap().starts_with("event 1: field `customer_id`"), "{answer}");
    assert!(world.store.written.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_fails_says_whether_to_tell_it_again_and_its_own_words_are_for_the_log() {
    for (failure, status, code) in [
        (Failure::Away, 503, "upstream_unavailable"),
        (Failure::Busy, 503, "upstream_unavailable"),
        (Failure::ReadOnly, 503, "upstream_unavailable"),
        (Failure::Full, 503, "upstream_unavailable"),
        (Failure::Setup, 503, "upstream_unavailable"),
        (Failure::Slow, 504, "upstream_timeout"),
        (Failure::Refused, 400, "invalid_argument"),
    ] {
        let answer = World::new(Does::Fail(failure), &[]).tell(purchase("1").to_string()).await;
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503, "{failure:?}");
        let (said, answer) = read(answer).await;
        assert_eq!((said.as_u16(), &answer["code"]), (status, &json!(code)), "{failure:?}");
        let text = answer["error"].as_str().unwrap();
        assert_eq!(text.contains(TELLING_AGAIN_IS_RIGHT), status != 400, "{text}");
        assert!(!text.contains("db.internal") && !text.contains("password"), "{text}");
        let error = StoreError::new(failure, "at db.internal:5432");
        let told = super::unacknowledged(&Unrecorded::Store(Arc::new(error)));
        assert!(told.detail().is_some_and(|detail| detail.contains("db.internal")), "the log says what it was");
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_504_at_the_requests_deadline() {
    let world = World::new(Does::Hang, &["--request-timeout=200ms"]);
    let (status, answer) = read(world.tell(purchase("1").to_string()).await).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(answer["error"].as_str().unwrap().contains(TELLING_AGAIN_IS_RIGHT), "{answer}");
}

#[tokio::test]
async fn events_beyond_what_may_wait_are_refused_at_once_and_not_written() {
    let world = World::with_places(Does::Hang, &[], 2);
    let first = world.tell(json!([purchase("1"), purchase("2")]).to_string());
    let mut first = Box::pin(first);
    assert!(first.as_mut().now_or_never().is_none(), "it waits for the store");
    let answer = world.tell(purchase("3").to_string()).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "1");
    let outcome = r#"events_total{outcome="refused"} 1"#;
    assert!(world.metrics().contains(outcome), "{}", world.metrics());
}

#[tokio::test]
async fn a_body_takes_a_place_among_requests_while_it_is_read_and_none_while_the_store_writes() {
    let world = World::new(Does::Hang, &["--max-in-flight=1"]);
    let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let mut reading = Box::pin(world.tell(endless));
    assert!(reading.as_mut().now_or_never().is_none());
    assert_eq!(world.tell(purchase("1").to_string()).await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(reading);
    let mut writing = Box::pin(world.tell(purchase("2").to_string()));
    assert!(writing.as_mut().now_or_never().is_none());
    assert!(world.handler.admit().is_ok());
}
