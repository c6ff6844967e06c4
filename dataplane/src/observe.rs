//! The one middleware, of every protocol: ids and deadline on the way in, counts and a log line on the way out.

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
};
use tracing::{Span, field::Empty};

use crate::{
    config,
    context::{Context, Observers, REQUEST_ID},
    error::{Error, Kind},
    grpc,
    handler::Handler,
    metrics::{ANSWERED, InferenceMetrics},
    rest,
    telemetry::{
        self, Telemetry,
        scope::{self, Scope},
    },
};

/// What the steps of an answer took.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How long the caller waits, as gRPC says it (`500m`: milliseconds) and as REST callers may (`500ms`, `2`: seconds).
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// Tells a span of a gRPC call from one of an HTTP request.
const RPC_SYSTEM: &str = "rpc.system";

/// What an inference is counted as whose caller left before the answer. No answer carries it.
const ABANDONED: &str = "abandoned";

/// Bytes of a path that lines and spans show: a head may hold one of 64 KiB, and spans wait in memory.
const SHOWN: usize = 512;

/// The field of a request's lines that names its model.
const MODEL: &str = "model";

/// Which inference a request is, if it is one, and how it failed, if it did. A route that infers says so as it begins, so that what ends
/// early (a refusal, a panic, a caller who leaves) is counted and logged with its model too. Other routes are not counted.
///
/// Every request over HTTP has one among its extensions. A protocol of one's own takes it from there: see
/// [`Server::with_routes`](crate::serve::Server::with_routes).
#[derive(Clone)]
pub struct Inference(Arc<Fate>);

struct Fate {
    context: Context,
    method: Method,
    uri: Uri,
    begun: OnceLock<Begun>,
    failure: OnceLock<Arc<Error>>,
}

struct Begun {
    metrics: Arc<InferenceMetrics>,
    /// Until the request is answered or its caller leaves. A thread that computes for it may know it for longer.
    under_way: AtomicBool,
}

impl Inference {
    /// It is one, of this model, asked by this protocol. A name that is not served counts as no name: strangers don't make time series.
    /// What has begun stays as it began.
    pub fn begins(&self, protocol: &'static str, handler: &Handler, model: &str) {
        if self.0.begun.get().is_some() {
            return;
        }
        let model = if handler.repository.has(model) { model } else { "" };
        if !scope::is_asked() {
            Span::current().record(MODEL, model);
        }
        let metrics = handler.metrics.of(protocol, model);
        self.0.begun.get_or_init(|| {
            metrics.enters();
            Begun { metrics, under_way: AtomicBool::new(true) }
        });
    }

    /// It fails so. For transports whose answers can't carry an [`Error`] as an extension.
    pub(crate) fn failed(&self, error: Arc<Error>) {
        drop(self.0.failure.set(error));
    }

    /// A request that is not known to be one.
    fn new(context: Context, request: &Request) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self(Arc::new(Fate { context, method, uri, begun: OnceLock::new(), failure: OnceLock::new() }))
    }

    /// The request's context: its ids, its deadline.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// How it was asked.
    pub(crate) fn method(&self) -> &Method {
        &self.0.method
    }

    /// What was asked for.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// It is under way no more.
    fn ends(&self) {
        if let Some(begun) = self.0.begun.get().filter(|begun| begun.under_way.swap(false, Relaxed)) {
            begun.metrics.leaves();
        }
    }

    fn metrics(&self) -> Option<&InferenceMetrics> {
        self.0.begun.get().map(|begun| begun.metrics.as_ref())
    }
}

impl scope::Request for Fate {
    fn fields(&self, write: &mut dyn FnMut(&'static str, &str)) {
        write("request_id", self.context.request_id());
        write("trace_id", &self.context.trace().id());
        write("method", shown(self.method.as_str()));
        write("path", shown(self.uri.path()));
        if let Some(begun) = self.begun.get() {
            write(MODEL, begun.metrics.model());
        }
        self.context.notes(write);
    }
}

/// One request, from its head to its answer, or to where its caller left.
struct Observation<'a> {
    telemetry: &'a Telemetry,
    inference: Inference,
    scope: Scope,
    /// As a collector gets it, where it does.
    server_span: Option<Box<telemetry::Span>>,
    begun: Instant,
    answered: bool,
}

impl Observation<'_> {
    fn end(mut self, response: &mut Response) {
        self.answered = true;
        self.inference.ends();
        let failure = response.extensions().get::<Arc<Error>>().or_else(|| self.inference.0.failure.get()).cloned();
        let status = response.status();
        let ended = Instant::now();
        let took = ended.duration_since(self.begun);
        if let Some(metrics) = self.inference.metrics() {
            let timeline = self.inference.context().timeline(self.begun, ended);
            metrics.ended(code(failure.as_ref()), took);
            if let Some(phases) = timeline.phases(failure.is_none()) {
                metrics.kserve(&phases);
            }
            // Browsers and curl show this header. Clients of gRPC don't, and compressing it would be a twentieth of a small call's work.
            let told = self.telemetry.server_timing && metrics.protocol() != grpc::PROTOCOL;
            let timing = told.then(|| timeline.header()).flatten();
            timing.map(|timing| response.headers_mut().insert(SERVER_TIMING, of_one_answer(timing)));
        }
        self.trace(Some(status), failure.as_ref());
        let quiet = self.inference.metrics().is_none() || !self.telemetry.access_log;
        let inference = self.inference.metrics().is_some();
        self.scope.run(|| log(status, failure.as_ref(), inference, quiet, took));
        response.headers_mut().insert(REQUEST_ID, of_one_answer(self.inference.context().request_id_header()));
    }

    /// Probes and scrapes are no part of a trace.
    fn trace(&mut self, status: Option<StatusCode>, failure: Option<&Arc<Error>>) {
        let (Some(tracer), Some(span), Some(metrics)) =
            (self.inference.context().tracer(), self.server_span.take(), self.inference.metrics())
        else {
            return;
        };
        let outcome = if status.is_some() { code(failure) } else { ABANDONED };
        let span = span
            .with("inference.protocol", metrics.protocol())
            .with("inference.model", metrics.model().to_owned())
            .with("inference.code", outcome)
            .with("inference.request_id", self.inference.context().request_id().to_owned());
        let grpc = span.attributes.iter().any(|(name, _)| *name == RPC_SYSTEM);
        let span = match (grpc, status) {
            (true, _) => span.with("rpc.grpc.status_code", failure.map_or(0, |error| error.kind().row().grpc.into())),
            (false, Some(status)) => span.with("http.response.status_code", i64::from(status.as_u16())),
            (false, None) => span,
        };
        // What a caller did wrong is no failure of the server's span: semantic conventions say so.
        let ours = failure.is_none_or(|error| error.kind().row().http.is_server_error());
        let span = if outcome == ANSWERED || !ours { span } else { span.failed(outcome) };
        tracer.record(span, Instant::now());
    }
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.inference.ends();
            if let Some(metrics) = self.inference.metrics() {
                metrics.ended(ABANDONED, self.begun.elapsed());
            }
            self.trace(None, None);
            self.scope.run(|| tracing::info!(took_us = micros(self.begun.elapsed()), "the caller left"));
        }
    }
}

/// A value that no other answer has. Marked so that HTTP/2 keeps it out of its table of headers, where it would only push out those that
/// come again.
fn of_one_answer(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn code(failure: Option<&Arc<Error>>) -> &'static str {
    failure.map_or(ANSWERED, |error| error.kind().row().code)
}

/// Answers always.
pub(crate) async fn observe<F: Future<Output = Response>>(
    handler: &Handler,
    observers: &Arc<Observers>,
    request: Request,
    answer: impl FnOnce(Inference, Request) -> F,
) -> Response {
    let begun = Instant::now();
    let headers = request.headers();
    let context = Context::from_headers(headers, begun + budget(headers, handler.limits.time), observers);
    let server_span = context.tracer().map(|_| Box::new(server_span(&request, &context, begun)));
    let inference = Inference::new(context, &request);
    let scope = Scope::of(inference.0.clone(), || span(inference.context(), &request));
    let telemetry = &handler.telemetry;
    let observation = Observation { telemetry, inference, scope, server_span, begun, answered: false };
    let answer = pin!(answer(observation.inference.clone(), request));
    let mut response = observation.scope.hold(answer).await;
    observation.end(&mut response);
    response
}

/// As much of a path, or a method, as is shown of it.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

/// A request's span. At the level of errors, so that no filter that shows a request's line hides whose it is.
fn span(context: &Context, request: &Request) -> Span {
    tracing::error_span!(
        "request",
        request_id = context.request_id(),
        trace_id = context.trace().id(),
        method = shown(request.method().as_str()),
        path = shown(request.uri().path()),
        model = Empty,
    )
}

/// A request as OpenTelemetry's semantic conventions describe it.
fn server_span(request: &Request, context: &Context, begun: Instant) -> telemetry::Span {
    let (kind, path) = (telemetry::Kind::Server, shown(request.uri().path()));
    let of = |name| telemetry::Span::new(context.trace(), context.trace().span(), kind, name, begun);
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        let full = path.trim_start_matches('/');
        let (service, method) = full.split_once('/').unwrap_or((full, ""));
        return of(full.to_owned())
            .with(RPC_SYSTEM, grpc::PROTOCOL)
            .with("rpc.service", service.to_owned())
            .with("rpc.method", method.to_owned());
    }
    let method = shown(request.method().as_str());
    let route = rest::template(request.uri().path());
    let span = of(route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")))
        .with("http.request.method", method.to_owned())
        .with("url.path", path.to_owned());
    match route {
        Some(route) => span.with("http.route", route),
        None => span,
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn log(status: StatusCode, failure: Option<&Arc<Error>>, inference: bool, quiet: bool, took: Duration) {
    // gRPC answers 200 whatever happened; the table's status says what it means.
    let status = failure.map_or(status, |error| error.kind().row().http);
    let (server_fault, status, took_us) = (status.is_server_error(), status.as_u16(), micros(took));
    let Some(error) = failure else {
        return match quiet {
            false => tracing::info!(status, took_us, "answered"),
            true => tracing::debug!(status, took_us, "answered"),
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

/// How long the answer may take: what the server gives it, or less where the caller waits less.
fn budget(headers: &HeaderMap, most: Duration) -> Duration {
    // Most requests have neither: one walk past the few headers is cheaper than two look-ups.
    if !headers.keys().any(|name| *name == GRPC_TIMEOUT || *name == REQUEST_TIMEOUT) {
        return most;
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let timeouts = [text(GRPC_TIMEOUT).and_then(grpc_timeout), text(REQUEST_TIMEOUT).and_then(request_timeout)];
    timeouts.into_iter().flatten().fold(most, Duration::min)
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
