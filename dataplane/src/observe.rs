//! The one middleware, of every protocol: ids and deadline on the way in, counts and a log line on the way out.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span, field::Empty};
use uuid::Uuid;

use crate::{
    config,
    context::{Context, Trace},
    error::{Error, Kind},
    handler::Handler,
    metrics::InFlight,
};

/// The header that carries a request's id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The W3C trace context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How long the caller waits, as gRPC says it (`500m`: milliseconds) and as REST callers may (`500ms`, `2`: seconds).
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// What an inference is counted as that was answered.
const ANSWERED: &str = "ok";
/// What an inference is counted as whose caller left before the answer. No answer carries it.
const ABANDONED: &str = "abandoned";

/// Which inference a request is, if it is one, and how it failed, if it did. A route that infers says so as it begins, so that what ends
/// early (a refusal, a panic, a caller who leaves) is counted and logged with its model too. Other routes are not counted.
#[derive(Clone, Default)]
pub(crate) struct Inference(Arc<Fate>);

#[derive(Default)]
struct Fate {
    begun: OnceLock<Begun>,
    failure: OnceLock<Arc<Error>>,
}

struct Begun {
    protocol: &'static str,
    model: String,
    _in_flight: InFlight,
}

impl Inference {
    /// A name that is not served counts as no name: strangers don't make time series. What has begun stays as it began.
    pub(crate) fn begins(&self, protocol: &'static str, handler: &Handler, model: &str) {
        if self.0.begun.get().is_some() {
            return;
        }
        let model = if handler.repository.has(model) { model } else { "" };
        Span::current().record("model", model);
        let begun = Begun { protocol, model: model.to_owned(), _in_flight: handler.metrics.begin() };
        drop(self.0.begun.set(begun));
    }

    /// It fails so. For transports whose answers can't carry an [`Error`] as an extension.
    pub(crate) fn failed(&self, error: Arc<Error>) {
        drop(self.0.failure.set(error));
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
    fn count(&self, code: &str) {
        if let Some(inference) = self.inference.0.begun.get() {
            self.handler.metrics.answered(inference.protocol, &inference.model, code, self.begun.elapsed());
        }
    }

    fn end(mut self, response: &Response) {
        self.answered = true;
        let failure = response.extensions().get::<Arc<Error>>().or_else(|| self.inference.0.failure.get());
        self.count(failure.map_or(ANSWERED, |error| error.kind().row().code));
        let inference = self.inference.0.begun.get().is_some();
        self.span.in_scope(|| log(response.status(), failure, inference, self.begun.elapsed()));
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

pub(crate) async fn observe(State(handler): State<Arc<Handler>>, mut request: Request, next: Next) -> Response {
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

fn log(status: StatusCode, failure: Option<&Arc<Error>>, inference: bool, took: Duration) {
    // gRPC answers 200 whatever happened; the table's status says what it means.
    let status = failure.map_or(status, |error| error.kind().row().http);
    let (server_fault, status, took_us) = (status.is_server_error(), status.as_u16(), micros(took));
    let Some(error) = failure else {
        return match inference {
            true => tracing::info!(status, took_us, "answered"),
            false => tracing::debug!(status, took_us, "answered"),
        };
    };
    let code = error.kind().row().code;
    match error.kind() {
        // A server that starts or leaves is asked every second whether it is ready; "no" is no news. To a caller it is, and no failure.
        Kind::NotReady if !inference => tracing::debug!(status, took_us, code, %error, "refused"),
        kind if server_fault && kind != Kind::NotReady => tracing::error!(status, took_us, code, %error, "failed"),
        _ => tracing::warn!(status, took_us, code, %error, "refused"),
    }
}

fn context(headers: &HeaderMap, budget: Duration) -> Context {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = text(REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= 128);
    let request_id = request_id.map_or_else(|| Uuid::new_v4().to_string(), ToOwned::to_owned);
    let trace = text(TRACEPARENT).and_then(Trace::parse).unwrap_or_else(Trace::generate);
    let timeouts = [text(GRPC_TIMEOUT).and_then(grpc_timeout), text(REQUEST_TIMEOUT).and_then(request_timeout)];
    let budget = timeouts.into_iter().flatten().fold(budget, Duration::min);
    Context::new(request_id, trace, budget)
}

/// A `grpc-timeout`: at most 8 digits and a unit. What is none is no timeout, as in every gRPC server.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8 && !digits.starts_with('+'))?;
    Some(match unit {
        "H" => Duration::from_secs(count * 60 * 60),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// An `x-request-timeout`, in the words of the settings. What is none is no timeout: the header is a hint that proxies add.
fn request_timeout(text: &str) -> Option<Duration> {
    config::timeout(text).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::grpc_timeout;

    #[test]
    fn a_grpc_timeout_has_a_unit() {
        assert_eq!(grpc_timeout("500m"), Some(Duration::from_millis(500)));
        assert_eq!(grpc_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for none in ["", "m", "5", "-5m", "+5m", "123456789S", "5é", "5s"] {
            assert_eq!(grpc_timeout(none), None, "{none}");
        }
    }
}
