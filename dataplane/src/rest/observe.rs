//! The one middleware: ids and deadline on the way in, counts and a log line on the way out.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span, field::Empty};
use uuid::Uuid;

use super::is_failure;
use crate::{
    context::{Context, Trace},
    error::{Error, Kind},
    handler::Handler,
    metrics::InFlight,
};

/// The header that carries a request's id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The W3C trace context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The status that an inference is counted under whose caller left before the answer. No answer carries it.
const ABANDONED: &str = "499";

/// Which inference a request is, if it is one. A route that infers says so as it begins, so that what ends early (a refusal, a panic,
/// a caller who leaves) is counted and logged with its model too. Other routes are not counted.
#[derive(Clone, Default)]
pub(super) struct Inference(Arc<OnceLock<Begun>>);

struct Begun {
    protocol: &'static str,
    model: String,
    _in_flight: InFlight,
}

impl Inference {
    /// A name that is not served counts as no name: strangers don't make time series.
    pub(super) fn begins(&self, protocol: &'static str, handler: &Handler, model: &str) {
        let model = if handler.repository.get(model, None).is_ok() { model } else { "" };
        Span::current().record("model", model);
        let begun = Begun { protocol, model: model.to_owned(), _in_flight: handler.metrics.begin() };
        drop(self.0.set(begun));
    }
}

/// One request, from its head to its answer, or to where its caller left.
struct Observation {
    handler: Arc<Handler>,
    inference: Inference,
    span: Span,
    begun: Instant,
    answered: bool,
}

impl Observation {
    fn count(&self, status: &str) {
        if let Some(inference) = self.inference.0.get() {
            self.handler.metrics.answered(inference.protocol, &inference.model, status, self.begun.elapsed());
        }
    }

    fn end(mut self, response: &Response) {
        self.answered = true;
        self.count(response.status().as_str());
        self.span.in_scope(|| log(response, self.inference.0.get().is_some(), self.begun.elapsed()));
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.answered {
            self.count(ABANDONED);
            self.span.in_scope(|| tracing::info!(took_us = micros(self.begun.elapsed()), "the caller left"));
        }
    }
}

pub(super) async fn observe(State(handler): State<Arc<Handler>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let context = context(request.headers(), handler.limits.time);
    // At the level of errors, so that no filter that shows a request's line hides whose it is.
    let span = tracing::error_span!(
        "request",
        request_id = context.request_id(),
        trace_id = context.trace().id(),
        method = request.method().as_str(),
        path = request.uri().path(),
        model = Empty,
    );
    let inference = Inference::default();
    request.extensions_mut().insert(context.clone());
    request.extensions_mut().insert(inference.clone());
    let observation = Observation { handler, inference, span: span.clone(), begun, answered: false };
    let mut response = next.run(request).instrument(span).await;
    observation.end(&response);
    if let Ok(value) = HeaderValue::from_str(context.request_id()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn log(response: &Response, inference: bool, took: Duration) {
    let (status, took_us) = (response.status().as_u16(), micros(took));
    let error = response.extensions().get::<Arc<Error>>();
    match error {
        // A server that starts or leaves is asked every second whether it is ready; "no" is no news. To a caller it is, and no failure.
        Some(error) if error.kind() == Kind::NotReady => {
            let code = error.kind().row().code;
            if inference {
                tracing::warn!(status, took_us, code, %error, "refused");
            } else {
                tracing::debug!(status, took_us, code, %error, "refused");
            }
        }
        Some(error) if response.status().is_server_error() => {
            tracing::error!(status, took_us, code = error.kind().row().code, %error, "failed");
        }
        Some(error) => tracing::warn!(status, took_us, code = error.kind().row().code, %error, "refused"),
        None if inference => tracing::info!(status, took_us, "answered"),
        None if is_failure(response.status()) => tracing::warn!(status, took_us, "refused"),
        None => tracing::debug!(status, took_us, "answered"),
    }
}

fn context(headers: &HeaderMap, budget: Duration) -> Context {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = text(REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= 128);
    let request_id = request_id.map_or_else(|| Uuid::new_v4().to_string(), ToOwned::to_owned);
    let trace = text(TRACEPARENT).and_then(Trace::parse).unwrap_or_else(Trace::generate);
    Context::new(request_id, trace, budget)
}
