//! What travels with a request: its ids, and how long it may take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

/// The ids and the deadline of one request. Cheap to clone.
///
/// Cancellation needs no member: a caller who leaves drops the future of its request, and queued work sees that its answer has no
/// receiver (see [`crate::worker`]).
#[derive(Clone, Debug)]
pub struct Context {
    request_id: Arc<str>,
    trace: Trace,
    deadline: Instant,
}

impl Context {
    /// A context for a request that came just now.
    #[must_use]
    pub fn new(request_id: impl Into<Arc<str>>, trace: Trace, budget: Duration) -> Self {
        Self { request_id: request_id.into(), trace, deadline: Instant::now() + budget }
    }

    /// A context for work that no request asked for: a warm-up, a self-test.
    #[must_use]
    pub fn background(budget: Duration) -> Self {
        Self::new("background", Trace::generate(), budget)
    }

    /// The caller's `x-request-id`, or one that was made here.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The W3C trace that the request belongs to.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
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
}

/// A W3C trace context: the trace's id and whether it is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: Arc<str>,
    flags: u8,
}

impl Trace {
    /// A trace that starts here, unsampled.
    #[must_use]
    pub fn generate() -> Self {
        Self { id: Uuid::new_v4().simple().to_string().into(), flags: 0 }
    }

    /// Reads a `traceparent` header; anything that is not one is ignored, as the W3C text asks.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let valid = hex(version, 2)
            && version != "ff"
            && hex(id, 32)
            && id.bytes().any(|byte| byte != b'0')
            && hex(parent, 16)
            && parent.bytes().any(|byte| byte != b'0')
            && hex(flags, 2)
            && (version != "00" || parts.next().is_none());
        let flags = u8::from_str_radix(flags, 16).ok()?;
        valid.then(|| Self { id: id.into(), flags })
    }

    /// The trace's id: 32 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A `traceparent` for a call made on behalf of this trace, with a span id of its own.
    #[must_use]
    pub fn child(&self) -> String {
        let span = Uuid::new_v4().simple().to_string();
        format!("00-{}-{}-{:02x}", self.id, &span[..16], self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    #[test]
    fn a_traceparent_keeps_its_trace_and_gets_a_new_span() {
        let trace = Trace::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let child = trace.child();
        assert!(child.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && child.ends_with("-01"));
        assert!(!child.contains("00f067aa0ba902b7"));
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        for header in [
            "",
            "00-xyz-1-1",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(header), None, "{header}");
        }
    }
}
