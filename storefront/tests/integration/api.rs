//! What the page asks for, and what it is told where the transformer fails.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    shop::{Shop, client},
    transformer::Transformer,
};

const PREDICT: &str = "/v1/models/hemline:predict";
const EXPLAIN: &str = "/v1/models/hemline:explain";
const FIND: &str = "/v1/models/stylist:predict";

fn twelve() -> Value {
    let ranking: Vec<_> = (0..12).map(|i| json!([0.9 - 0.01 * f64::from(i), format!("01087750{i:02}")])).collect();
    json!({"ranking": ranking, "ranker": "ranking", "list_id": "ranking@v1/00ff", "model_version": "v1"})
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_cards_with_what_they_are_come_in_one_round_trip() {
    let transformer = Transformer::start().await;
    let transformer = transformer.answers(PREDICT, 200, json!({"predictions": [twelve()]}).to_string());
    let shop = Shop::start(&transformer.url, &[]);
    let body = r#"{"customer_id": "a1", "k": 12, "age": 1e1}"#;
    let answer = shop.post("/api/recommendations", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = answer.json();
    assert_eq!(page["prediction"], twelve());
    assert_eq!(page["server_timing"], "infer;dur=1.5");
    assert_eq!(page["articles"].as_object().unwrap().len(), 12);
    assert_eq!(page["articles"]["0108775011"]["prod_name"], "<b>0108775011</b>");
    assert_eq!(answer.header("cache-control"), "no-store");

    let asked = transformer.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    // As it was written: a number keeps its form.
    assert_eq!(asked[0].body, r#"{"instances":[{"age":1e1,"customer_id":"a1","k":12}]}"#);
    assert!(asked[1].path.starts_with("/v1/articles?ids=0108775000%2C0108775001"), "{}", asked[1].path);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_articles_than_fit_into_a_question_are_several_questions() {
    let ranking: Vec<_> = (0..450).map(|i| json!([0.5, format!("{i:010}")])).collect();
    let answer = json!({"predictions": [{"ranking": ranking}]}).to_string();
    let transformer = Transformer::start().await.answers(PREDICT, 200, answer);
    let shop = Shop::start(&transformer.url, &[]);
    let page = shop.post("/api/recommendations", r#"{"customer_id":"a1"}"#).await.json();
    assert_eq!(page["articles"].as_object().unwrap().len(), 450);
    assert_eq!(transformer.asked().len(), 1 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_brings_every_article_that_it_names() {
    let explanation = json!({
        "ranker": "ranking",
        "articles": [{"article_id": "01", "score": 0.9, "features": {"age": 31.0}}],
        "article": {"article_id": "02", "step": "filter"},
        "candidates": [{"article_id": "01", "score": 0.9}, {"article_id": "03", "score": null}, {"article_id": "9"}],
    });
    let answer = json!({"predictions": [], "explanations": [explanation]}).to_string();
    let transformer = Transformer::start().await.answers(EXPLAIN, 200, answer);
    let shop = Shop::start(&transformer.url, &[]);
    let page = shop.post("/api/explain", r#"{"customer_id":"a1","candidates":true}"#).await.json();
    assert_eq!(page["explanation"], explanation);
    let known: Vec<_> = page["articles"].as_object().unwrap().keys().collect();
    assert_eq!(known, ["01", "02", "03"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_asks_the_stylist_and_no_llm() {
    let prediction = json!({"ranking": [[0.7, "01"]], "list_id": "stylist@v1/01"});
    let transformer = Transformer::start().await.answers(FIND, 200, json!({"predictions": [prediction]}).to_string());
    let shop = Shop::start(&transformer.url, &[]);
    let page = shop.post("/api/search", r#"{"query":"red dress","gender":"women"}"#).await.json();
    assert_eq!((&page["prediction"], &page["articles"]["01"]["article_id"]), (&prediction, &json!("01")));
    let refused = shop.post("/api/search", r#"{"request":"an outfit"}"#).await;
    assert_eq!(refused.refusal(), (400, "invalid_argument".to_owned()));
    assert_eq!(transformer.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_told_what_it_must_know_first() {
    let rankers = json!({"active": "ranking", "rankers": [{"name": "ranking", "ready": true, "most": null}]});
    let transformer = Transformer::start().await.answers("/v1/rankers", 200, rankers.to_string());
    let shop = Shop::start(&transformer.url, &[]);
    let config = json!({"model": "hemline", "stylist": false, "images": null, "rankers": rankers, "last_day": null});
    assert_eq!(shop.get("/api/config").await.json(), config);

    let transformer = transformer.answers("/v2/models/tailor/ready", 200, "{}");
    let template = "https://cdn.example.com/{prefix}/{article_id}.jpg";
    let flags = ["--stylist-model=tailor", "--today=2020-09-22", "--model-name=m", "--image-url", template];
    let shop = Shop::start(&transformer.url, &flags);
    let config =
        json!({"model": "m", "stylist": true, "images": template, "rankers": rankers, "last_day": "2020-09-22"});
    assert_eq!(shop.get("/api/config").await.json(), config);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_articles_is_passed_on_as_it_is() {
    let transformer = Transformer::start().await;
    let transformer = transformer
        .answers("/v1/events", 202, r#"{"accepted": 1, "repeated": 0}"#)
        .answers("/v1/customers", 200, r#"{"customers": []}"#)
        .answers("/v1/customers/a%2Fb%20c", 200, r#"{"known": false}"#)
        .answers("/v1/interactions", 200, r#"{"totals": {}}"#)
        .answers("/v1/rankers", 200, r#"{"active": "ranking"}"#);
    let shop = Shop::start(&transformer.url, &[]);
    let event = r#"{"id": "1",  "type": "click", "visitor_id": "visitor-1", "article_id": "01"}"#;
    let told = shop.post("/api/events", event).await;
    assert_eq!((told.status.as_u16(), told.text()), (202, r#"{"accepted": 1, "repeated": 0}"#));
    for (path, expected) in [
        ("/api/customers?search=a%26b&limit=20", r#"{"customers": []}"#),
        ("/api/customers/a%2Fb%20c", r#"{"known": false}"#),
        ("/api/interactions?since=2020-09-01T00:00:00Z&bucket=day", r#"{"totals": {}}"#),
        ("/api/rankers", r#"{"active": "ranking"}"#),
        ("/api/articles?ids=9", r#"{"articles":[],"unknown":["9"]}"#),
    ] {
        assert_eq!(shop.get(path).await.text(), expected, "{path}");
    }
    let asked = transformer.asked();
    assert_eq!(asked[0].body, event);
    assert_eq!(asked[0].headers["content-type"], "application/json");
    let paths: Vec<_> = asked[1..].iter().map(|asked| asked.path.as_str()).collect();
    let same = "/v1/interactions?since=2020-09-01T00:00:00Z&bucket=day";
    assert_eq!(
        paths,
        ["/v1/customers?search=a%26b&limit=20", "/v1/customers/a%2Fb%20c", same, "/v1/rankers", "/v1/articles?ids=9"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_its_id_and_gets_one_where_it_has_none_of_use() {
    let transformer = Transformer::start().await.answers("/v1/rankers", 200, "{}");
    let shop = Shop::start(&transformer.url, &[]);
    let answer = shop.get_with("/api/rankers", &[("x-request-id", "r-1")]).await;
    assert_eq!(answer.header("x-request-id"), "r-1");
    let answer = shop.get_with("/api/rankers", &[("x-request-id", "two words")]).await;
    let made = answer.header("x-request-id");
    assert_eq!(made.len(), 36, "{made}");
    let told: Vec<_> = transformer.asked().iter().map(|asked| asked.headers["x-request-id"].clone()).collect();
    assert_eq!(told, ["r-1", made]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_its_status_its_words_and_when_to_come_back() {
    let refusal = r#"{"error":"row 0: field `k`: expected 1 or more","code":"invalid_argument"}"#;
    for status in [400, 403, 404, 429, 500, 503, 504] {
        let transformer = Transformer::start().await.answers(PREDICT, status, refusal);
        let shop = Shop::start(&transformer.url, &[]);
        let answer = shop.post("/api/recommendations", r#"{"k":0}"#).await;
        assert_eq!((answer.status.as_u16(), answer.text(), answer.header("retry-after")), (status, refusal, "7"));
    }
    // Articles that can't be told of are no cards.
    let transformer = Transformer::start().await.answers(PREDICT, 200, json!({"predictions": [twelve()]}).to_string());
    let transformer = transformer.answers("/v1/articles", 503, r#"{"error":"the store is away","code":"unavailable"}"#);
    let shop = Shop::start(&transformer.url, &[]);
    assert_eq!(shop.post("/api/recommendations", "{}").await.refusal(), (503, "unavailable".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformer_that_is_away_is_503_and_a_late_one_504() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    // Nobody accepts here: connections are made, and never answered.
    let shop = Shop::start(&format!("http://{address}"), &["--transformer-timeout=200ms"]);
    assert_eq!(shop.get("/api/rankers").await.refusal(), (504, "transformer_late".to_owned()));
    drop(port);
    for answer in [
        shop.get("/api/rankers").await,
        shop.get("/api/config").await,
        shop.post("/api/recommendations", "{}").await,
        shop.post("/api/events", "[]").await,
        shop.post("/api/stylist", r#"{"request":"x"}"#).await,
    ] {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.text(), r#"{"error":"the recommender can't be reached","code":"transformer_away"}"#);
    }
    // The page itself is there, to tell it.
    assert_eq!(shop.get("/").await.status, 200);
    assert_eq!(shop.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_can_not_be_read_is_502_and_shows_nothing_of_it() {
    for (status, body) in [(200, "<h1>10.0.0.1</h1>"), (200, r#"{"predictions":[]}"#), (502, "<h1>10.0.0.1</h1>")] {
        let transformer = Transformer::start().await.answers(PREDICT, status, body);
        let shop = Shop::start(&transformer.url, &[]);
        let answer = shop.post("/api/recommendations", "{}").await;
        assert_eq!(answer.status, 502, "{body}");
        assert!(answer.json()["code"].as_str().unwrap().starts_with("transformer_"));
        assert!(!answer.text().contains("10.0.0.1") && !answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_none_goes_no_further() {
    let transformer = Transformer::start().await;
    let shop = Shop::start(&transformer.url, &[]);
    for wrong in ["", "{", "[]", "7", "{\"a\": \u{1}}", "null"] {
        for path in ["/api/recommendations", "/api/explain", "/api/search", "/api/stylist"] {
            let answer = shop.post(path, wrong).await;
            assert_eq!(answer.refusal(), (400, "malformed_body".to_owned()), "{path} {wrong}");
        }
    }
    let large = format!(r#"{{"request":"{}"}}"#, "x".repeat(256 * 1024));
    assert_eq!(shop.post("/api/stylist", large).await.refusal(), (413, "payload_too_large".to_owned()));
    let form = client().post(format!("{}/api/events", shop.url)).header("content-type", "text/plain");
    assert_eq!(form.body("{}").send().await.unwrap().status(), 415);
    assert_eq!(shop.get("/api/events").await.refusal(), (405, "method_not_allowed".to_owned()));
    assert_eq!(shop.get("/api/nothing").await.refusal(), (404, "unknown_route".to_owned()));
    assert!(transformer.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_customers_id_is_a_way_to_another_path() {
    let transformer = Transformer::start().await;
    let shop = Shop::start(&transformer.url, &[]);
    for path in ["/api/customers/%2e%2e", "/api/customers/.", "/api/customers/..%2f..%2fv2"] {
        assert!(shop.raw(path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    let asked: Vec<_> = transformer.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, ["/v1/customers/..%2F..%2Fv2"]);
}
