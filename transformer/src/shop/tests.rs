//! The routes' answers, over a store that does as it is told. Those that need a bundle are asked from outside (`e2e/test_shop_api.py`).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode},
};
use catalog::{
    events::{Event, Kind},
    store::{Account, Count, Failure, Fresh, Guard, Profile, Purchase, Since, Store, StoreError, Told},
};
use clap::Parser;
use dataplane::{Handler, config::ServerArgs, handler::ServerInfo, metrics::Metrics, repository::Repository};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Shop;
use crate::facts::Facts;

/// What the store does with questions.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer,
    Fail(Failure),
    Hang,
}

/// A store with one customer and four events, and what it was asked.
#[derive(Debug)]
struct Scripted {
    does: Does,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    async fn answer<T>(&self, asked: String, answer: T) -> Result<T, StoreError> {
        self.asked.lock().unwrap().push(asked);
        match self.does {
            Does::Answer => Ok(answer),
            Does::Fail(failure) => Err(StoreError::new(failure, "at db.internal:5432: password is wrong")),
            Does::Hang => std::future::pending().await,
        }
    }
}

fn anna() -> Profile {
    Profile { customer_id: "anna".to_owned(), age: Some(41.5), club_member_status: "ACTIVE".to_owned(), purchases: 3 }
}

#[async_trait]
impl Store for Scripted {
    async fn fresh(&self, _: &[&str], _: Duration) -> Result<Fresh, StoreError> {
        unreachable!("no recommendation is asked for")
    }

    fn at_once(&self) -> usize {
        1
    }

    async fn record(&self, _: &[Event], _: Duration) -> Result<Vec<bool>, StoreError> {
        unreachable!("nothing is told")
    }

    async fn check(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn expire(&self, _: Kind, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn customers(&self, prefix: &str, most: u32, _: Duration) -> Result<Vec<Profile>, StoreError> {
        let bob = Profile { customer_id: "bob".to_owned(), age: None, ..anna() };
        self.answer(format!("{prefix} {most}"), vec![anna(), bob]).await
    }

    async fn account(&self, customer_id: &str, most: u32, _: Duration) -> Result<Account, StoreError> {
        let bought = Purchase { article_id: "0108775015".to_owned(), bought_on: "2020-09-05".parse().unwrap() };
        let profile = (customer_id == "anna").then(anna);
        self.answer(format!("{customer_id} {most}"), Account { profile, purchases: vec![bought] }).await
    }

    async fn counts(&self, since: &Since, span: Duration, _: Duration) -> Result<Vec<Count>, StoreError> {
        let at = since.recorded.as_second();
        let count = |at, ranker: &str, kind, times| Count { at, ranker: ranker.to_owned(), kind, times };
        let counts = vec![
            count(at, "ranking", Kind::Shown, 12),
            count(at, "ranking", Kind::Click, 2),
            count(at + 3_600, "", Kind::Dismiss, 1),
            count(at + 3_600, "ranking", Kind::Shown, 3),
        ];
        self.answer(format!("{:?} {}", since.ranker, span.as_secs()), counts).await
    }

    async fn latest(&self, _: &Since, most: u32, _: Duration) -> Result<Vec<Told>, StoreError> {
        let told = Told {
            at: 1_600_084_801_500,
            kind: Kind::Click,
            article_id: "0108775015".to_owned(),
            customer_id: "anna".to_owned(),
            list_id: None,
        };
        self.answer(format!("latest {most}"), vec![told]).await
    }

    async fn changes(&self, _: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync)) {}
}

/// A server with the routes, over such a store.
struct World {
    store: Arc<Scripted>,
    routes: Router,
}

impl World {
    fn new(does: Does, tells_customers: bool) -> Self {
        #[derive(Parser)]
        struct Settings {
            #[command(flatten)]
            server: ServerArgs,
        }
        let settings = Settings::parse_from(["transformer"]);
        let server = ServerInfo { name: "hemline", version: "0" };
        let handler = Handler::new(server, Repository::default(), Metrics::new().unwrap(), &settings.server).unwrap();
        let handler = Arc::new(handler);
        let store = Arc::new(Scripted { does, asked: Mutex::default() });
        let timeout = Duration::from_millis(if matches!(does, Does::Hang) { 50 } else { 10_000 });
        let shop = super::routes(Shop {
            handler: handler.clone(),
            model: "hemline".to_owned(),
            facts: Arc::new(Facts::new(Arc::new(Guard::new(store.clone())), timeout, false)),
            store: store.clone(),
            timeout,
            tells_customers,
            places: Shop::places(),
        });
        Self { store, routes: dataplane::router(handler).merge(shop).into() }
    }

    async fn send(&self, method: &str, uri: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        self.routes.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, uri: &str) -> (u16, Value) {
        read(self.send("GET", uri).await).await
    }

    fn asked(&self) -> Vec<String> {
        self.store.asked.lock().unwrap().clone()
    }
}

async fn read(response: Response<Body>) -> (u16, Value) {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn customers_are_told_of_to_nobody_unless_a_flag_says_so() {
    let world = World::new(Does::Answer, false);
    for uri in ["/v1/customers", "/v1/customers?search=anna", "/v1/customers/anna", "/v1/customers?wrong=1"] {
        let (status, answer) = world.get(uri).await;
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{uri}");
        assert!(answer["error"].as_str().unwrap().contains("--customer-search"), "{answer}");
    }
    let (status, answer) = world.get("/v1/interactions").await;
    assert_eq!((status, answer.get("latest")), (200, None));
    assert!(!answer.to_string().contains("anna"));
    assert_eq!(world.asked(), ["None 3600"]);
}

#[tokio::test]
async fn customers_are_found_and_one_without_an_age_has_none() {
    let world = World::new(Does::Answer, true);
    let anna = json!({"customer_id": "anna", "age": 41.5, "club_member_status": "ACTIVE", "purchases": 3});
    let bob = json!({"customer_id": "bob", "age": null, "club_member_status": "ACTIVE", "purchases": 3});
    assert_eq!(world.get("/v1/customers").await, (200, json!({"customers": [anna, bob]})));
    world.get("/v1/customers?search=%25_'%22&limit=100").await;
    assert_eq!(world.asked(), [" 20", "%_'\" 100"]);
}

#[tokio::test]
async fn a_customer_is_told_whole_and_a_stranger_as_one() {
    let world = World::new(Does::Answer, true);
    let purchases = json!([{"article_id": "0108775015", "bought_on": "2020-09-05"}]);
    let anna = json!({"customer_id": "anna", "known": true, "age": 41.5, "club_member_status": "ACTIVE", "purchases": purchases});
    assert_eq!(world.get("/v1/customers/anna").await, (200, anna));
    let visitor = json!({"customer_id": "a/b ✂", "known": false, "age": null, "purchases": purchases});
    assert_eq!(world.get("/v1/customers/a%2Fb%20%E2%9C%82").await, (200, visitor));
    assert_eq!(world.asked(), ["anna 50", "a/b ✂ 50"]);
}

#[tokio::test]
async fn what_no_id_can_be_is_refused_before_the_store_is_asked() {
    let world = World::new(Does::Answer, true);
    let long = format!("/v1/customers/{}", "a".repeat(257));
    for (uri, status) in [
        ("/v1/customers/an%00na", 400),
        (long.as_str(), 400),
        ("/v1/customers/%FF", 404),
        ("/v1/customers/", 404),
        ("/v1/customers/anna?limit=1", 400),
        ("/v1/customers?search=%00", 400),
        ("/v1/customers?limit=101", 400),
        ("/v1/interactions?bucket=week", 400),
        ("/v1/interactions?ranker=%00", 400),
        ("/v1/interactions?since=2001-01-01T00:00:00Z", 400),
        ("/v1/rankers?a", 400),
        ("/v1/articles", 400),
        ("/v1/articles?ids=", 400),
        ("/v1/articles?id=1", 400),
    ] {
        let (answered, answer) = world.get(uri).await;
        assert_eq!(answered, status, "{uri}: {answer}");
        assert!(answer["error"].is_string() && answer["code"].is_string(), "{uri}: {answer}");
    }
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn interactions_are_added_up_by_ranker_and_in_all() {
    let world = World::new(Does::Answer, true);
    let (status, answer) = world.get("/v1/interactions?bucket=hour&ranker=ranking").await;
    assert_eq!((status, &answer["bucket"]), (200, &json!("hour")));
    let counts = |shown, click, dismiss| json!({"shown": shown, "click": click, "purchase": 0, "dismiss": dismiss});
    let of = |ranker: &str, mut counts: Value| {
        counts["ranker"] = json!(ranker);
        counts
    };
    assert_eq!(answer["totals"], counts(15, 2, 1));
    assert_eq!(answer["rankers"], json!([of("", counts(0, 0, 1)), of("ranking", counts(15, 2, 0))]));
    let mut series = answer["series"].as_array().unwrap().clone();
    assert_eq!(series[0]["at"], answer["since"], "the first bucket is a whole one");
    assert!(series[0]["at"].as_str() < series[1]["at"].as_str());
    for bucket in &mut series {
        bucket.as_object_mut().unwrap().remove("at").unwrap();
    }
    assert_eq!(series, [of("ranking", counts(12, 2, 0)), of("", counts(0, 0, 1)), of("ranking", counts(3, 0, 0))]);
    let click = json!({"at": "2020-09-14T12:00:01.500Z", "kind": "click", "article_id": "0108775015", "customer_id": "anna",
                       "list_id": null});
    assert_eq!(answer["latest"], json!([click]));
    assert_eq!(world.asked(), ["Some(\"ranking\") 3600", "latest 20"]);
}

#[tokio::test]
async fn a_store_that_fails_is_told_by_class_and_its_own_words_are_for_the_log() {
    for (failure, status, code) in
        [(Failure::Away, 503, "upstream_unavailable"), (Failure::Slow, 504, "upstream_timeout")]
    {
        let world = World::new(Does::Fail(failure), true);
        for uri in ["/v1/customers", "/v1/customers/anna", "/v1/interactions"] {
            let (answered, answer) = world.get(uri).await;
            assert_eq!((answered, &answer["code"]), (status, &json!(code)), "{uri}");
            assert!(!answer.to_string().contains("db.internal"), "{answer}");
        }
    }
}

#[tokio::test]
async fn of_many_questions_some_are_asked_and_the_others_told_to_come_back() {
    let world = World::new(Does::Hang, true);
    let mut asking: Vec<_> = (0..super::AT_ONCE).map(|_| Box::pin(world.get("/v1/interactions"))).collect();
    assert!(asking.iter_mut().all(|asking| asking.as_mut().now_or_never().is_none()));
    let response = world.send("GET", "/v1/customers").await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (status, answer) = read(response).await;
    assert_eq!((status, &answer["code"]), (429, &json!("overloaded")));
    assert_eq!(world.asked().len(), super::AT_ONCE);
    drop(asking);
    assert!(Box::pin(world.get("/v1/customers")).now_or_never().is_none(), "there is room again");
    assert_eq!(world.asked().len(), super::AT_ONCE + 1);
}

#[tokio::test]
async fn what_is_read_here_is_written_nowhere() {
    let world = World::new(Does::Answer, true);
    for uri in ["/v1/articles", "/v1/customers", "/v1/customers/anna", "/v1/interactions", "/v1/rankers"] {
        for method in ["POST", "PUT", "DELETE"] {
            let (status, answer) = read(world.send(method, uri).await).await;
            assert_eq!((status, &answer["code"]), (405, &json!("method_not_allowed")), "{method} {uri}");
        }
    }
}

#[tokio::test]
async fn without_a_model_there_are_no_articles_and_no_rankers() {
    let world = World::new(Does::Answer, true);
    for uri in ["/v1/articles?ids=a", "/v1/rankers"] {
        assert_eq!(world.get(uri).await.0, StatusCode::NOT_FOUND.as_u16(), "{uri}");
    }
}
