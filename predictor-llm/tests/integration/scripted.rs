//! An OpenAI-compatible server that says what a test tells it to, or does what servers do when they fail.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE},
    routing::{get, post},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};

/// The model that it lists.
pub(crate) const MODEL: &str = "scripted-1";
/// Only the self-test's customer has bought this.
const SELF_TEST: &str = "Skinny jeans (Trousers, Black)";

/// A completion that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) body: Value,
    pub(crate) headers: HeaderMap,
    /// How many were asked for before it, the self-test's apart.
    pub(crate) number: usize,
}

impl Asked {
    /// What the user says.
    pub(crate) fn user(&self) -> &str {
        self.body["messages"][1]["content"].as_str().unwrap()
    }

    /// The name of the article that it is about.
    pub(crate) fn article(&self) -> &str {
        self.user().lines().find_map(|line| line.strip_prefix("- Name: ")).unwrap()
    }

    /// The names of the articles that are shown together, in the order of their labels.
    pub(crate) fn labelled(&self) -> Vec<&str> {
        let lines = self.user().lines().filter(|line| line.get(1..3) == Some(". "));
        lines.map(|line| line[3..].split_once(':').unwrap().0).collect()
    }

    fn is_self_test(&self) -> bool {
        self.user().contains(SELF_TEST)
    }
}

/// A piece of a completion.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// More of the text.
    Text(String),
    /// Nothing until a test says so.
    Gate(Arc<Notify>),
    /// The usage, the end and the word for it.
    Ends(&'static str),
    /// The connection ends.
    Breaks,
    /// Nothing any more.
    Hangs,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A completion of this text.
    Says(String),
    /// This body.
    Json(Value),
    /// This status, header and body.
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// The head and a piece of the body; then the connection ends.
    Half,
    /// A completion in pieces, as far as they go.
    Writes(Vec<Piece>),
    /// Never anything.
    Hangs,
    /// That, after a while.
    Later(Duration, Box<Reply>),
}

impl Reply {
    pub(crate) fn probability(probability: f64) -> Self {
        Self::Says(format!("Probability: {probability:.4}"))
    }

    /// A completion that is written word by word.
    pub(crate) fn written(text: &str) -> Self {
        let words = text.split_inclusive(' ').map(|word| Piece::Text(word.to_owned()));
        Self::Writes(words.chain([Piece::Ends("stop")]).collect())
    }

    /// A completion of one token, where those might have stood too.
    pub(crate) fn labels(probabilities: &[(&str, f64)]) -> Self {
        let tops =
            probabilities.iter().map(|(token, probability)| json!({"token": token, "logprob": probability.ln()}));
        let tops: Vec<_> = tops.collect();
        let mut body = completion(probabilities[0].0, "length");
        body["choices"][0]["logprobs"] =
            json!({"content": [{"token": probabilities[0].0, "logprob": -0.1, "top_logprobs": tops}]});
        Self::Json(body)
    }
}

/// A completion's body.
pub(crate) fn completion(text: &str, finish_reason: &str) -> Value {
    json!({
        "id": "c", "object": "chat.completion", "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}},
    })
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The running server.
#[derive(Clone)]
pub(crate) struct Llm(Arc<Inner>);

struct Inner {
    url: String,
    script: Mutex<Script>,
    self_test: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    count: AtomicUsize,
    lists: Mutex<bool>,
    left: AtomicUsize,
}

impl Llm {
    /// One that does as `script` says, and lets the self-test pass.
    pub(crate) async fn doing(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let llm = Self(Arc::new(Inner {
            url,
            script: Mutex::new(Arc::new(script)),
            self_test: Mutex::new(Arc::new(passing)),
            asked: Mutex::default(),
            count: AtomicUsize::new(0),
            lists: Mutex::new(true),
            left: AtomicUsize::new(0),
        }));
        let router = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(complete))
            .with_state(llm.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        llm
    }

    /// One that gives each article the probability that stands behind the dash in its name: `a-0.25`.
    pub(crate) async fn reading_names() -> Self {
        Self::doing(|asked| Reply::probability(in_name(asked.article()))).await
    }

    /// From now on it does this.
    pub(crate) fn does(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.0.script.lock().unwrap() = Arc::new(script);
    }

    /// From now on this is what the self-test sees.
    pub(crate) fn shows_the_self_test(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.0.self_test.lock().unwrap() = Arc::new(script);
    }

    /// Its list of models can be had, or is 503.
    pub(crate) fn lists(&self, lists: bool) {
        *self.0.lists.lock().unwrap() = lists;
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// What it was asked, the self-test apart.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.0.asked.lock().unwrap().iter().filter(|asked| !asked.is_self_test()).cloned().collect()
    }

    /// How many callers left before what they were told was at its end.
    pub(crate) fn left(&self) -> usize {
        self.0.left.load(Ordering::SeqCst)
    }

    /// What the self-test asked it.
    pub(crate) fn asked_by_the_self_test(&self) -> Vec<Asked> {
        self.0.asked.lock().unwrap().iter().filter(|asked| asked.is_self_test()).cloned().collect()
    }
}

/// The probability that stands behind the last dash of a name.
pub(crate) fn in_name(name: &str) -> f64 {
    name.rsplit_once('-').unwrap().1.parse().unwrap()
}

fn passing(asked: &Asked) -> Reply {
    match asked.body["logprobs"] == true {
        true => Reply::labels(&[("A", 0.8), ("B", 0.1), ("C", 0.05)]),
        false if asked.user().contains("High waist jeans") => Reply::probability(0.8),
        false => Reply::probability(0.1),
    }
}

async fn models(State(llm): State<Llm>) -> Response<Body> {
    if *llm.0.lists.lock().unwrap() {
        return json_body(StatusCode::OK, &json!({"object": "list", "data": [{"id": MODEL}, {"id": "another"}]}));
    }
    json_body(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "loading"}))
}

async fn complete(State(llm): State<Llm>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let body = serde_json::from_slice(&body).unwrap();
    let mut asked = Asked { body, headers, number: 0 };
    if !asked.is_self_test() {
        asked.number = llm.0.count.fetch_add(1, Ordering::SeqCst);
    }
    let script = if asked.is_self_test() { &llm.0.self_test } else { &llm.0.script };
    let script = script.lock().unwrap().clone();
    llm.0.asked.lock().unwrap().push(asked.clone());
    let mut reply = script(&asked);
    while let Reply::Later(after, then) = reply {
        tokio::time::sleep(after).await;
        reply = *then;
    }
    answer(&llm, reply).await
}

async fn answer(llm: &Llm, reply: Reply) -> Response<Body> {
    match reply {
        Reply::Says(text) => json_body(StatusCode::OK, &completion(&text, "stop")),
        Reply::Json(body) => json_body(StatusCode::OK, &body),
        Reply::Status(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Reply::Half => {
            let piece = stream::iter([Ok(Bytes::from_static(br#"{"choices": [{"mess"#))]);
            let broken = piece.chain(stream::iter([Err(std::io::Error::other("gone"))]));
            Response::new(Body::from_stream(broken))
        }
        Reply::Writes(pieces) => {
            let teller = Teller { llm: llm.clone(), pieces: pieces.into_iter(), ended: false };
            let body = stream::unfold(teller, |mut teller| async { Some((teller.next().await?, teller)) });
            Response::builder().header(CONTENT_TYPE, "text/event-stream").body(Body::from_stream(body)).unwrap()
        }
        Reply::Hangs | Reply::Later(..) => pending().await,
    }
}

/// Writes a completion piece by piece.
struct Teller {
    llm: Llm,
    pieces: std::vec::IntoIter<Piece>,
    ended: bool,
}

impl Teller {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        let chunk = |choices: Value, usage: Value| {
            let data = json!({"id": "c", "object": "chat.completion.chunk", "model": MODEL, "choices": choices, "usage": usage});
            format!("data: {data}\n\n")
        };
        loop {
            match self.pieces.next() {
                Some(Piece::Text(text)) => {
                    let choices = json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]);
                    return Some(Ok(chunk(choices, Value::Null).into()));
                }
                Some(Piece::Gate(gate)) => gate.notified().await,
                Some(Piece::Ends(reason)) => {
                    self.ended = true;
                    let end = chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}]), Value::Null);
                    let usage = completion("", reason)["usage"].clone();
                    return Some(Ok(format!("{end}{}data: [DONE]\n\n", chunk(json!([]), usage)).into()));
                }
                Some(Piece::Breaks) => {
                    // A connection that ends takes along what it has not sent yet.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    self.ended = true;
                    return Some(Err(std::io::Error::other("gone")));
                }
                Some(Piece::Hangs) => pending().await,
                None => {
                    self.ended = true;
                    return None;
                }
            }
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if !self.ended {
            self.llm.0.left.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn json_body(status: StatusCode, body: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// How often each answer was counted in lines of metrics that begin so.
pub(crate) fn by_label(metrics: &str, family: &str) -> BTreeMap<String, f64> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    let counts = lines.filter_map(|line| {
        let (labels, count) = line.rsplit_once("} ")?;
        Some((labels.split('"').nth(1)?.to_owned(), count.parse().ok()?))
    });
    counts.collect()
}
