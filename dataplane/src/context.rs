//! What travels with a request: its ids and trace, how long it may take, and what its steps took.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use uuid::fmt::Hyphenated;

use crate::{
    metrics::StepTimes,
    telemetry::{Kind, Span, Tracer},
};

mod call;
mod ids;
mod steps;
mod trace;

pub use call::Call;
pub(crate) use steps::{Phases, Timeline};
pub use trace::Trace;

use steps::{Steps, Stretch};

/// The header that carries a request's id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a caller.
const MOST_ID: usize = 128;

/// The ids, the deadline and the time line of one request. Cheap to clone; clones are the same request.
///
/// Cancellation needs no member: a caller who leaves drops the future of its request, and queued work sees that its answer has no
/// receiver (see [`crate::worker`]).
#[derive(Clone, Debug)]
pub struct Context {
    request: Arc<Request>,
    deadline: Instant,
    /// The call that this is about, where it is about one: what is sent is then a part of it.
    call: Option<u64>,
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    trace: Trace,
    /// What the caller may do, for the services behind this one. Marked as sensitive: no `Debug` shows it.
    authorization: Option<HeaderValue>,
    steps: Steps,
    observers: Option<Arc<Observers>>,
}

/// Who is told of requests' steps: one for a connection, so that no other one writes its count.
#[derive(Debug)]
pub(crate) struct Observers {
    pub(crate) steps: Arc<StepTimes>,
    pub(crate) tracer: Option<Arc<Tracer>>,
}

impl Context {
    /// A context for a request that came just now. An id that no header can carry is replaced by one that is made here.
    #[must_use]
    pub fn new(request_id: &str, trace: Trace, budget: Duration) -> Self {
        let id = RequestId::given(HeaderValue::from_str(request_id).ok());
        let request = Request { id, trace, authorization: None, steps: Steps::default(), observers: None };
        Self { request: Arc::new(request), deadline: Instant::now() + budget, call: None }
    }

    /// A context for work that no request asked for: a warm-up, a self-test.
    #[must_use]
    pub fn background(budget: Duration) -> Self {
        Self::new("background", Trace::generate(), budget)
    }

    /// The context of a request with these headers.
    pub(crate) fn from_headers(headers: &HeaderMap, deadline: Instant, observers: &Arc<Observers>) -> Self {
        let mut trace = Trace::from_headers(headers);
        if let Some(tracer) = &observers.tracer {
            trace.sample(tracer.share());
        }
        let authorization = headers.get(AUTHORIZATION).cloned().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        let request = Request {
            id: RequestId::given(headers.get(REQUEST_ID).cloned()),
            trace,
            authorization,
            steps: Steps::default(),
            observers: Some(observers.clone()),
        };
        Self { request: Arc::new(request), deadline, call: None }
    }

    /// The caller's `x-request-id`, or one that was made here.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request.id.as_str()
    }

    /// The request's id as a header carries it.
    pub(crate) fn request_id_header(&self) -> HeaderValue {
        self.request.id.header()
    }

    /// The trace that the request belongs to.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.request.trace
    }

    /// Where the request's spans go: nowhere unless its trace is sampled and exported.
    pub(crate) fn tracer(&self) -> Option<&Arc<Tracer>> {
        let observers = self.request.observers.as_ref().filter(|_| self.trace().sampled() == Some(true));
        observers.and_then(|observers| observers.tracer.as_ref())
    }

    /// When the answer is worth nothing any more.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same request with at most this much time from now.
    #[must_use]
    pub fn within(&self, budget: Duration) -> Self {
        Self { deadline: self.deadline.min(Instant::now() + budget), ..self.clone() }
    }

    /// What is left of the budget.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// A step of the answer ended now and took this long: it goes into `server-timing`, the metrics, and the trace. `name` is a token,
    /// as HTTP calls it.
    pub fn step(&self, name: &'static str, took: Duration) {
        let stretch = ended_now(took);
        self.request.steps.step(name, stretch);
        if let Some(observers) = &self.request.observers {
            observers.steps.observe(name, took);
        }
        if let Some(tracer) = self.tracer() {
            let span = Span::new(self.trace(), Trace::new_span(), Kind::Internal, name, stretch.begun);
            tracer.record(span, stretch.ended);
        }
    }

    /// Something that every later line of this request's log says of it, and that has no room in the answer's `server-timing`. Of values
    /// with one name each is said once, with commas between them.
    pub fn note(&self, name: &'static str, value: &str) {
        self.request.steps.note(name, value);
    }

    /// Each note with its values.
    pub(crate) fn notes(&self, tell: &mut dyn FnMut(&'static str, &str)) {
        self.request.steps.notes(tell);
    }

    /// The part of the answer that ended now and took this long is what KServe counts as `predict`: a transformer's call to its
    /// predictor. Of a model that does not say so, it is the whole of [`crate::Model::infer`].
    pub fn predicted(&self, took: Duration) {
        self.request.steps.predictor(ended_now(took));
    }

    /// The model answered, having begun then.
    pub(crate) fn inferred(&self, begun: Instant) {
        self.request.steps.model(Stretch { begun, ended: Instant::now() }, false);
    }

    /// The model explained, having begun then.
    pub(crate) fn explained(&self, begun: Instant) {
        self.request.steps.model(Stretch { begun, ended: Instant::now() }, true);
    }

    /// The time line of the request, which came at `begun` and was answered at `ended`.
    pub(crate) fn timeline(&self, begun: Instant, ended: Instant) -> Timeline {
        self.request.steps.timeline(Stretch { begun, ended })
    }

    /// A call to a service behind this one begins. `operation` is what a trace shows: an HTTP method or a gRPC method's full name;
    /// `upstream` is the service's name here.
    #[must_use]
    pub fn call(&self, operation: &str, upstream: &str) -> Call {
        Call::begin(self, operation, upstream)
    }

    /// The headers for a service behind this one: id, trace (in every form that it came in), and what the caller may do. Those of
    /// [`Call::context`] name that call.
    pub fn outgoing_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let span = self.call.unwrap_or_else(Trace::new_span);
        let authorization = self.request.authorization.clone().map(|value| (AUTHORIZATION, value));
        let trace = self.request.trace.headers(span);
        std::iter::once((REQUEST_ID, self.request_id_header())).chain(trace).chain(authorization)
    }
}

fn ended_now(took: Duration) -> Stretch {
    let ended = Instant::now();
    Stretch { begun: ended.checked_sub(took).unwrap_or(ended), ended }
}

/// A request's id: the caller's, or one that was made here and is a header only where one is written.
#[derive(Debug)]
enum RequestId {
    Given(HeaderValue),
    Made([u8; Hyphenated::LENGTH]),
}

impl RequestId {
    /// The caller's, where it is visible ASCII of a sensible length.
    fn given(id: Option<HeaderValue>) -> Self {
        let usable = |id: &HeaderValue| (1..=MOST_ID).contains(&id.len()) && id.to_str().is_ok();
        id.filter(usable).map_or_else(Self::make, Self::Given)
    }

    fn make() -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        ids::uuid().hyphenated().encode_lower(&mut text);
        Self::Made(text)
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Given(id) => id.to_str().unwrap_or_default(),
            Self::Made(text) => str::from_utf8(text).unwrap_or_default(),
        }
    }

    fn header(&self) -> HeaderValue {
        match self {
            Self::Given(id) => id.clone(),
            Self::Made(text) => HeaderValue::from_bytes(text).unwrap_or(const { HeaderValue::from_static("none") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use axum::http::HeaderMap;

    use super::{Context, Observers, Trace};
    use crate::metrics::Metrics;

    fn context(headers: &[(&'static str, &'static str)]) -> Context {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = headers.collect();
        let observers = Observers { steps: Metrics::new().unwrap().step_times(), tracer: None };
        Context::from_headers(&headers, Instant::now() + Duration::from_secs(1), &Arc::new(observers))
    }

    #[test]
    fn what_came_goes_out_and_what_callers_may_do_is_shown_to_nobody() {
        let context = context(&[("x-request-id", "seven"), ("authorization", "Bearer s3cret"), ("b3", "1")]);
        let sent: HeaderMap = context.outgoing_headers().collect();
        let mut names: Vec<_> = sent.keys().map(axum::http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "b3", "traceparent", "x-request-id"]);
        assert_eq!(
            (&sent["x-request-id"], &sent["authorization"]),
            (&"seven".parse().unwrap(), &"Bearer s3cret".parse().unwrap())
        );
        assert!(!format!("{context:?} {sent:?}").contains("s3cret"));
    }

    #[test]
    fn each_call_is_a_span_of_its_own() {
        let context = context(&[("b3", "1")]);
        let parent = |call: HeaderMap| call["traceparent"].clone();
        let calls = [context.call("POST", "r"), context.call("POST", "r")]
            .map(|call| parent(call.context().outgoing_headers().collect()));
        assert_ne!(calls[0], calls[1]);
        assert_ne!(parent(context.outgoing_headers().collect()), parent(context.outgoing_headers().collect()));
    }

    #[test]
    fn an_id_that_no_header_carries_is_replaced() {
        for id in ["", "a\nb", "é", &"x".repeat(129)] {
            assert_eq!(Context::new(id, Trace::generate(), Duration::from_secs(1)).request_id().len(), 36, "{id}");
        }
        assert_eq!(Context::new("a b", Trace::generate(), Duration::from_secs(1)).request_id(), "a b");
    }
}
