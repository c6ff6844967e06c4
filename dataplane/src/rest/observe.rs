//! The one middleware: ids and deadline on the way in, counts and a log line on the way out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, field::Empty};
use uuid::Uuid;

use super::is_failure;
use crate::{
    context::{Context, Trace},
    error::Error,
    handler::Handler,
};

/// The header that carries a request's id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The W3C trace context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What an inference is counted under. Routes that infer attach it to their answers; others are not counted.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    protocol: &'static str,
    model: String,
}

impl Labels {
    /// A name that is not served counts as no name: strangers don't make time series.
    pub(super) fn of(protocol: &'static str, handler: &Handler, model: &str) -> Self {
        let model = if handler.repository.get(model, None).is_ok() { model } else { "" };
        Self { protocol, model: model.to_owned() }
    }

    pub(super) fn attach(self, response: &mut Response) {
        response.extensions_mut().insert(self);
    }
}

pub(super) async fn observe(State(handler): State<Arc<Handler>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let in_flight = handler.metrics.begin();
    let context = context(request.headers(), handler.limits.time);
    let span = tracing::info_span!(
        "request",
        request_id = context.request_id(),
        trace_id = context.trace().id(),
        method = request.method().as_str(),
        path = request.uri().path(),
        model = Empty,
    );
    request.extensions_mut().insert(context.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let took = begun.elapsed();
    if let Some(labels) = response.extensions().get::<Labels>() {
        span.record("model", &labels.model);
        handler.metrics.answered(labels.protocol, &labels.model, response.status().as_str(), took);
    }
    span.in_scope(|| log(&response, took));
    if let Ok(value) = HeaderValue::from_str(context.request_id()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn log(response: &Response, took: Duration) {
    let (status, took_us) = (response.status().as_u16(), took.as_micros());
    let error = response.extensions().get::<Arc<Error>>();
    match error {
        Some(error) if response.status().is_server_error() => {
            tracing::error!(status, took_us, code = error.kind().row().code, %error, "failed");
        }
        Some(error) => tracing::warn!(status, took_us, code = error.kind().row().code, %error, "refused"),
        None if response.extensions().get::<Labels>().is_some() => tracing::info!(status, took_us, "answered"),
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
