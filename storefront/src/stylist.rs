//! The stylist's answer as it is written: the transformer's events as they come, each item with what its articles are.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{self, Instant};

use crate::{
    api::{articles, encoded},
    failure::Failure,
    request::{JsonBody, Members, RequestId},
    shop::Shop,
    sse::{Event, Parser},
    upstream::away,
};

/// How long a stream may be silent before a comment keeps proxies from closing it.
const SILENCE: Duration = Duration::from_secs(15);
const ALIVE: &[u8] = b": waiting\n\n";

/// Answers a request in words with a stream of events.
pub(crate) async fn stylist(
    State(shop): State<Arc<Shop>>,
    Extension(id): Extension<RequestId>,
    body: JsonBody,
) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct Generate {
        text_input: Box<RawValue>,
        parameters: Members,
    }
    let mut parameters = body.members()?;
    let text = parameters.remove("request").filter(|text| text.get().starts_with('"'));
    let text_input = text.ok_or_else(|| Failure::invalid("field `request`: expected text"))?;
    let body = encoded(&Generate { text_input, parameters })?;
    let response = shop.upstream.stream(&["v2", "models", &shop.stylist, "generate_stream"], body, &id).await?;
    let passing = Passing { shop, id, response, parser: Parser::default(), ended: false };
    // Who goes away drops this stream, and with it the transformer's.
    let events = stream::unfold(passing, async |mut passing| {
        let bytes = passing.next().await?;
        Some((Ok::<_, Infallible>(bytes), passing))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (NO_BUFFER, "no")];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// nginx's, and that of ingresses made of it: events must not wait there for each other.
const NO_BUFFER: axum::http::HeaderName = axum::http::HeaderName::from_static("x-accel-buffering");

/// A stream that is passed on.
struct Passing {
    shop: Arc<Shop>,
    id: RequestId,
    response: reqwest::Response,
    parser: Parser,
    /// Whether the last event was said.
    ended: bool,
}

impl Passing {
    /// The next bytes for the caller; none after the last event.
    async fn next(&mut self) -> Option<Bytes> {
        let began = Instant::now();
        while !self.ended {
            match time::timeout(SILENCE, self.response.chunk()).await {
                Err(_) if began.elapsed() < self.shop.upstream.timeout() => return Some(Bytes::from_static(ALIVE)),
                Err(_) => return Some(self.end(&Failure::late())),
                Ok(Err(error)) => return Some(self.end(&away(&error))),
                // Its last event is `done` or `error`: this stream broke off.
                Ok(Ok(None)) => return Some(self.end(&Failure::away())),
                Ok(Ok(Some(chunk))) => {
                    let bytes = self.pass(&chunk).await;
                    if !bytes.is_empty() {
                        return Some(bytes.into());
                    }
                }
            }
        }
        None
    }

    /// The events that end in `chunk`, as they are to be sent.
    async fn pass(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Ok(events) = self.parser.read(chunk) else {
            bytes.extend_from_slice(&self.end(&Failure::unreadable()));
            return bytes;
        };
        for event in events {
            let event = if event.name == "item" { self.detailed(event).await } else { Ok(event) };
            match event {
                Ok(event) => {
                    self.ended |= matches!(event.name.as_str(), "done" | "error");
                    bytes.extend(event.bytes());
                }
                Err(failure) => bytes.extend_from_slice(&self.end(&failure)),
            }
            if self.ended {
                break;
            }
        }
        bytes
    }

    /// An item with what its articles are, by id.
    async fn detailed(&self, event: Event) -> Result<Event, Failure> {
        #[derive(Deserialize)]
        struct Item {
            articles: Vec<(f64, String)>,
        }
        let unreadable = |_| Failure::unreadable();
        let Item { articles: found } = serde_json::from_str(&event.data).map_err(unreadable)?;
        let mut members: Members = serde_json::from_str(&event.data).map_err(unreadable)?;
        let details = articles(&self.shop, found.into_iter().map(|(_, article)| article), &self.id).await?;
        let details = String::from_utf8_lossy(&encoded(&details)?).into_owned();
        members.insert("details".to_owned(), RawValue::from_string(details).map_err(unreadable)?);
        Ok(Event::new("item", &String::from_utf8_lossy(&encoded(&members)?)))
    }

    /// The last event, where something failed.
    fn end(&mut self, failure: &Failure) -> Bytes {
        self.ended = true;
        tracing::warn!(request_id = self.id.text(), ?failure, "a stream broke off");
        Event::new("error", &String::from_utf8_lossy(&failure.json())).bytes().into()
    }
}
