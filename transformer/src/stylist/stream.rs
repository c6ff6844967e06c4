//! `POST /v2/models/{model}/generate_stream`: the stylist's answer as it comes to be, in server-sent events.

use std::{any::Any, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
    routing::post,
};
use dataplane::{Context, Error, Handler, Inference, Kind, Result, rest, worker::OwnedPermit};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    time::timeout_at,
};
use tracing::Instrument;

use super::{
    Stylist,
    instance::Instance,
    outfit::{Asked, News},
    wire::ShownItem,
};
use crate::start::AbortOnDrop;

/// The route.
pub(crate) fn routes(handler: Arc<Handler>) -> Router {
    Router::new().route("/v2/models/{model}/generate_stream", post(generate)).with_state(handler)
}

/// A request, as the protocol's generate extension has it.
#[derive(Deserialize)]
struct Generate<'a> {
    text_input: String,
    /// The keys of an instance.
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
}

async fn generate(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    inference.begins("v2", &handler, &model);
    let permit = handler.permits.try_acquire_owned().ok_or_else(|| {
        let text = "as many requests as this server takes at once are under way";
        Error::new(Kind::Overloaded, text).with_retry_after(Duration::from_secs(1))
    })?;
    let found: Arc<dyn Any + Send + Sync> = handler.ready_model(&model, None)?;
    let unimplemented = |_| Error::new(Kind::Unimplemented, format!("Model with name {model} does not generate."));
    let stylist: Arc<Stylist> = found.downcast().map_err(unimplemented)?;
    let context = inference.context().clone();
    let body = rest::read_decompressed_body(&handler, &headers, body, &context).await?;
    let asked = asked(&stylist, &body, &context).await?;
    Ok(streamed(stylist, asked, context, permit))
}

/// What is asked, with all that could be wrong with it.
async fn asked(stylist: &Stylist, body: &[u8], context: &Context) -> Result<Asked> {
    let Generate { text_input, parameters } = serde_json::from_slice(body)
        .map_err(|error| Error::malformed(format!("expected an object with `text_input` ({error})")))?;
    let parameters = parameters.map(RawValue::get).filter(|json| *json != "null").unwrap_or("{}");
    let instance = Instance::from_json(parameters.as_bytes()).map_err(|error| error.at("parameters"))?;
    if instance.request.is_some() {
        return Err(Error::invalid("field `parameters.request`: expected as `text_input`"));
    }
    let question = Instance { request: Some(text_input), ..instance }.check(&stylist.columns)?;
    let mut asked = stylist.customers(vec![question], context).await?;
    asked.pop().ok_or_else(|| Error::internal("a question without its customer"))
}

/// The answer's events. Whoever leaves ends the work for it.
fn streamed(stylist: Arc<Stylist>, asked: Asked, context: Context, permit: OwnedPermit) -> Response {
    // What an outfit tells is bounded, and so is what may wait here.
    let (tell, told) = mpsc::unbounded_channel();
    let telling = async move {
        let _permit = permit;
        let answer = Box::pin(answer(&stylist, &asked, &context, &tell));
        let late = |_| Err(Error::new(Kind::DeadlineExceeded, "the request's deadline passed before all was told"));
        if let Err(error) = timeout_at(context.deadline().into(), answer).await.unwrap_or_else(late) {
            tracing::error!(code = error.kind().row().code, %error, "a stream failed");
            send(&tell, "error", &json!({"error": error.message(), "code": error.kind().row().code}));
        }
    };
    let task = AbortOnDrop::spawn(telling.in_current_span());
    let events = stream::unfold((told, task), async |(mut told, task)| {
        let event: Bytes = told.recv().await?;
        Some((Ok::<_, Infallible>(event), (told, task)))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, const { HeaderValue::from_static("text/event-stream") });
    headers.insert(header::CACHE_CONTROL, const { HeaderValue::from_static("no-cache") });
    response
}

async fn answer(stylist: &Stylist, asked: &Asked, context: &Context, tell: &UnboundedSender<Bytes>) -> Result<()> {
    let articles = &stylist.texts.articles;
    let mut listener = |news: News<'_>| match news {
        News::Known(profile, gender) => send(tell, "profile", &json!({"profile": profile, "gender": gender})),
        News::Item(index, styled) => send(tell, "item", &Numbered { index, item: ShownItem::of(styled, articles) }),
        News::Summary(summary) => send(tell, "summary", &json!({"summary": summary})),
    };
    let mut info = stylist.answer(asked, context, &mut listener).await?.info;
    info.profile = None; // told before
    send(tell, "done", &info);
    Ok(())
}

/// An item and its place.
#[derive(Serialize)]
struct Numbered<'a> {
    index: usize,
    #[serde(flatten)]
    item: ShownItem<'a>,
}

/// Sends an event to whoever is still there.
fn send(tell: &UnboundedSender<Bytes>, name: &str, data: &impl Serialize) {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    drop(tell.send(format!("event: {name}\ndata: {data}\n\n").into()));
}
