//! A call to a service behind this one.

use std::time::Instant;

use super::{Context, Trace};
use crate::telemetry::{Kind, Span};

/// What a call ends with whose caller left before its answer.
const ABANDONED: &str = "abandoned";

/// A call under way, from [`Context::call`] to where it is dropped: one client span of the trace, where it is sampled.
#[derive(Debug)]
pub struct Call {
    context: Context,
    span: Option<Box<Span>>,
    failure: Option<&'static str>,
}

impl Call {
    pub(super) fn begin(context: &Context, operation: &str, upstream: &str) -> Self {
        let id = Trace::new_span();
        let span = context.tracer().map(|_| {
            let span = Span::new(context.trace(), id, Kind::Client, operation.to_owned(), Instant::now());
            Box::new(span.with("peer.service", upstream.to_owned()))
        });
        Self { context: Context { call: Some(id), ..context.clone() }, span, failure: Some(ABANDONED) }
    }

    /// The request's context for this call: its headers say which call it is.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What else a trace should show of it, by the names of OpenTelemetry's semantic conventions.
    pub fn attribute(&mut self, name: &'static str, value: impl Into<String>) {
        if let Some(span) = &mut self.span {
            span.set(name, value.into());
        }
    }

    /// It ended: well, or with an error's stable code. One that is dropped without this was abandoned.
    pub fn ended(mut self, outcome: Result<(), &'static str>) {
        self.failure = outcome.err();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let (Some(tracer), Some(span)) = (self.context.tracer(), self.span.take()) {
            let span = match self.failure {
                Some(code) => span.failed(code),
                None => *span,
            };
            tracer.record(span, Instant::now());
        }
    }
}
