//! `POST /v2/models/{stylist}/generate_stream`: an outfit as server-sent events, each item as soon as the LLM has written it.
//!
//! The answer begins with its first item, so that what fails before it is an error as any other; or after a while without one, with a comment
//! that keeps proxies patient. A caller who leaves drops the stream, and with it the call to the LLM.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{
        HeaderMap, HeaderName,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use dataplane::{Error, Handler, Inference, Kind, Model, Result, rest, worker::OwnedPermit};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, Interval, interval_at},
};

use super::{Done, Stylist, Told, degraded, wish};
use crate::{asking::Asking, miss::Missed, ranker::unavailable};

/// How long a stream says nothing at most.
const BEAT: Duration = Duration::from_secs(10);
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the route needs.
struct Streams {
    handler: Arc<Handler>,
    stylist: Arc<Stylist>,
}

/// The route of this stylist.
pub(crate) fn routes(handler: Arc<Handler>, stylist: Arc<Stylist>) -> Router {
    let streams = Arc::new(Streams { handler, stylist });
    Router::new().route("/v2/models/{model}/generate_stream", post(generate)).with_state(streams)
}

/// A body of the protocol's generate extension. Parameters that nobody here knows are passed over.
#[derive(Deserialize)]
struct Generate {
    text_input: Option<Value>,
    #[serde(default)]
    parameters: Option<Value>,
}

impl Generate {
    fn wish(&self) -> Result<wish::Wish> {
        let wrong = |field: &str, expected: &str| Error::invalid(format!("field `{field}`: expected {expected}"));
        let request = self.text_input.as_ref().and_then(Value::as_str);
        let request = request.ok_or_else(|| wrong("text_input", "text"))?;
        let parameters = match &self.parameters {
            None | Some(Value::Null) => None,
            Some(Value::Object(parameters)) => Some(parameters),
            Some(_) => return Err(wrong("parameters", "an object")),
        };
        let parameter = |name: &str| parameters.and_then(|parameters| parameters.get(name));
        let gender = match parameter("gender") {
            None | Some(Value::Null) => "",
            Some(gender) => gender.as_str().ok_or_else(|| wrong("parameters.gender", "text"))?,
        };
        let told = wish::Told { request, gender, profile: parameter("profile").cloned() };
        wish::Wish::of(told, |part| match part {
            "request" => "field `text_input`".to_owned(),
            part => format!("field `parameters.{part}`"),
        })
    }
}

async fn generate(
    State(streams): State<Arc<Streams>>,
    Extension(inference): Extension<Inference>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let Streams { handler, stylist } = streams.as_ref();
    inference.begins("generate", handler, &name);
    let permit = admit(handler)?;
    handler.ready_model(&name, None)?;
    if name != stylist.metadata().name {
        return Err(Error::new(Kind::Unimplemented, format!("model `{name}` has no answers that stream")));
    }
    let context = inference.context();
    let body = rest::read_decompressed_body(handler, &headers, body, context).await?;
    let body: Generate = serde_json::from_slice(&body)
        .map_err(|error| Error::malformed("the body is no JSON object with a `text_input`").with_detail(error))?;
    let mut answer = Answer::of(stylist.clone(), body.wish()?, Asking::of(context), permit);
    match answer.next().await {
        Some(News::Ended(Err(missed))) => Err(unavailable(&missed)),
        first => Ok(events(first.into_iter().collect(), answer)),
    }
}

/// A place among the requests under way, for as long as the answer takes.
fn admit(handler: &Handler) -> Result<OwnedPermit> {
    let permit = handler.permits.try_acquire_owned();
    // What it says of itself where there is no place is the handler's.
    permit.map_or_else(|| handler.admit().map(drop).and(Err(Error::internal("a place came late"))), Ok)
}

/// What there is to tell next.
enum News {
    Told(Told),
    Ended(Result<Done, Missed>),
    /// Nothing, still.
    Beat,
}

type Asked = Pin<Box<dyn Future<Output = Result<Done, Missed>> + Send>>;

/// An outfit that is being written.
struct Answer {
    stylist: Arc<Stylist>,
    told: UnboundedReceiver<Told>,
    /// The question, until it is answered.
    asked: Option<Asked>,
    beats: Interval,
    _permit: OwnedPermit,
}

impl Answer {
    fn of(stylist: Arc<Stylist>, wish: wish::Wish, asking: Asking, permit: OwnedPermit) -> Self {
        let (tell, told) = unbounded_channel();
        let asks = stylist.clone();
        let asked: Asked = Box::pin(async move { asks.ask(&wish, &asking, tell).await });
        let beats = interval_at(Instant::now() + BEAT, BEAT);
        Self { stylist, told, asked: Some(asked), beats, _permit: permit }
    }

    /// Nothing once it has ended.
    async fn next(&mut self) -> Option<News> {
        let asked = self.asked.as_mut()?;
        let ended = tokio::select! {
            biased;
            // First of all what is told: it was before the end. The channel closes with the end, of which there is word too.
            Some(told) = self.told.recv() => return Some(News::Told(told)),
            ended = asked => ended,
            _ = self.beats.tick() => return Some(News::Beat),
        };
        self.asked = None;
        Some(News::Ended(ended))
    }
}

/// The events of an answer, of which these are there already.
fn events(first: Vec<News>, answer: Answer) -> Response {
    let events = stream::unfold((first.into_iter(), answer), |(mut first, mut answer)| async move {
        let news = match first.next() {
            Some(news) => news,
            None => answer.next().await?,
        };
        let event = event(news, &mut answer).await;
        Some((Ok::<_, Infallible>(event), (first, answer)))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), (BUFFERING, "no")];
    (headers, Body::from_stream(events)).into_response()
}

#[derive(Serialize)]
struct End<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    llm: Option<&'a str>,
    form: &'static str,
    items: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<&'static str>,
}

async fn event(news: News, answer: &mut Answer) -> Bytes {
    let ended = match news {
        News::Beat => return Bytes::from_static(b": still writing\n\n"),
        News::Told(told @ Told::Item { .. }) => return written("item", &told),
        News::Told(told @ Told::Summary { .. }) => return written("summary", &told),
        News::Ended(ended) => ended,
    };
    // What was told just before the end.
    let mut bytes = Vec::new();
    while let Ok(told) = answer.told.try_recv() {
        let name = if matches!(told, Told::Item { .. }) { "item" } else { "summary" };
        bytes.extend_from_slice(&written(name, &told));
    }
    let last = match ended {
        Ok(Done { written: form, items, fallback }) => {
            let (llm, form) = (answer.stylist.llm().await, form.name());
            let (fallback, degraded) = (fallback.map(crate::miss::Miss::name), fallback.map(degraded));
            written("done", &End { llm, form, items, fallback, degraded })
        }
        Err(missed) => {
            let error = unavailable(&missed);
            written("error", &json!({"error": error.message(), "code": error.kind().row().code}))
        }
    };
    bytes.extend_from_slice(&last);
    bytes.into()
}

/// An event. JSON has no line breaks of its own.
fn written(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}
