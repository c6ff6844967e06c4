//! A transformer that is a script: it answers what a test says, and remembers what it was asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What was asked once.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Answer = Arc<dyn Fn() -> Response + Send + Sync>;

/// The script, and what came of it. Answers of articles are made of the ids asked for.
#[derive(Clone, Default)]
pub(crate) struct Transformer {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) url: String,
}

impl Transformer {
    /// One that only knows articles.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let transformer = Self { url: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let router = Router::new().fallback(answer).with_state(transformer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        transformer
    }

    /// From now on, `path` answers JSON.
    pub(crate) fn answers(self, path: &str, status: u16, body: impl Into<String>) -> Self {
        let body = body.into();
        let status = StatusCode::from_u16(status).unwrap();
        let headers = [("content-type", "application/json"), ("server-timing", "infer;dur=1.5"), ("retry-after", "7")];
        self.with(path, move || (status, headers, body.clone()).into_response())
    }

    /// From now on, `path` answers what `answer` makes.
    pub(crate) fn with(self, path: &str, answer: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        self.answers.lock().unwrap().insert(path.to_owned(), Arc::new(answer));
        self
    }

    /// What was asked so far, in its order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(transformer): State<Transformer>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked {
        path: parts.uri.path_and_query().unwrap().to_string(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    transformer.asked.lock().unwrap().push(asked);
    let scripted = transformer.answers.lock().unwrap().get(&path).cloned();
    match scripted {
        Some(answer) => answer(),
        None if path == "/v1/articles" => articles(parts.uri.query().unwrap_or_default()),
        None => (StatusCode::NOT_FOUND, r#"{"error":"no such path","code":"unknown_route"}"#).into_response(),
    }
}

/// An article for each id but those that start with 9.
fn articles(query: &str) -> Response {
    let ids = query.strip_prefix("ids=").unwrap().replace("%2C", ",");
    let (unknown, known): (Vec<_>, Vec<_>) = ids.split(',').partition(|id| id.starts_with('9'));
    let articles: Vec<_> =
        known.iter().map(|id| json!({"article_id": id, "prod_name": format!("<b>{id}</b>"), "price": 0.5})).collect();
    Response::new(Body::from(json!({"articles": articles, "unknown": unknown}).to_string()))
}
