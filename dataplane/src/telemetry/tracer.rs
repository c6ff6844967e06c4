//! Spans on their way to a collector: recorded without waiting, sent by a thread of their own.

use std::{
    borrow::Cow,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::HeaderValue;
use prometheus::IntCounter;
use tokio::sync::{
    mpsc::{Receiver, Sender, channel},
    oneshot,
};

use crate::context::Trace;

/// Spans that may wait to be sent; beyond it they are dropped and counted. A span is about half a kilobyte.
const MOST_WAITING: usize = 2048;
/// Spans in one message to the collector.
const MOST_AT_ONCE: usize = 512;
/// How long a span waits for others to be sent with it.
const GATHER: Duration = Duration::from_secs(1);

/// Which side of which conversation a span is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer to a caller.
    Server,
    /// A call to a service behind this one.
    Client,
    /// A step in between.
    #[default]
    Internal,
}

/// Something that took time, as a collector gets it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: u128,
    pub(crate) id: u64,
    /// 0 where it is the first of its trace.
    pub(crate) parent: u64,
    pub(crate) state: Option<HeaderValue>,
    pub(crate) kind: Kind,
    pub(crate) name: Cow<'static, str>,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    /// The stable code of the failure that it ended with.
    pub(crate) failure: Option<&'static str>,
}

/// An attribute's value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Cow<'static, str>),
    Number(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Span {
    /// A span of this trace. One that answers the caller is the caller's child, others are children of that one.
    pub(crate) fn new(trace: &Trace, id: u64, kind: Kind, name: impl Into<Cow<'static, str>>, begun: Instant) -> Self {
        Self {
            trace: trace.number(),
            id,
            parent: if kind == Kind::Server { trace.parent().unwrap_or_default() } else { trace.span() },
            state: trace.state().cloned(),
            kind,
            name: name.into(),
            begun,
            ended: begun,
            attributes: Vec::new(),
            failure: None,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }

    pub(crate) fn failed(mut self, code: &'static str) -> Self {
        self.failure = Some(code);
        self.with("error.type", code)
    }
}

/// What became of spans.
#[derive(Clone, Debug)]
pub(crate) struct Outcomes {
    pub(crate) exported: IntCounter,
    /// The queue was full.
    pub(crate) dropped: IntCounter,
    /// The collector could not be reached, or refused them.
    pub(crate) failed: IntCounter,
}

enum Message {
    Span(Box<Span>),
    /// Everything that was recorded before this is to be sent; then this is answered.
    Flush(oneshot::Sender<()>),
}

/// Takes spans. It never waits for the collector.
pub(crate) struct Tracer {
    share: u64,
    queue: Sender<Message>,
    outcomes: Outcomes,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("share", &self.share).finish_non_exhaustive()
    }
}

impl Tracer {
    /// How many of 2⁶⁴ traces that start here are recorded.
    pub(crate) fn share(&self) -> u64 {
        self.share
    }

    /// A span ended then.
    pub(crate) fn record(&self, mut span: Span, ended: Instant) {
        span.ended = ended;
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.outcomes.dropped.inc();
        }
    }

    /// Waits until what was recorded is sent, at most this long.
    pub(crate) async fn flush(&self, within: Duration) {
        let flush = async {
            let (done, flushed) = oneshot::channel();
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        if tokio::time::timeout(within, flush).await.is_err() {
            tracing::warn!("the collector was too slow to take the last spans");
        }
    }
}

/// Sends spans to somewhere.
pub(crate) trait Export {
    /// # Errors
    /// They could not be sent; the text says why.
    async fn export(&self, spans: Vec<Span>) -> Result<(), String>;
}

/// A tracer, and what has to run for it.
pub(crate) fn tracer(share: f64, outcomes: Outcomes) -> (Arc<Tracer>, Queue) {
    let (queue, waiting) = channel(MOST_WAITING);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    // `as` saturates, as meant
    let share = (share * u64::MAX as f64) as u64;
    let tracer = Tracer { share, queue, outcomes: outcomes.clone() };
    (Arc::new(tracer), Queue { waiting, outcomes, failing: false })
}

/// What waits to be sent.
pub(crate) struct Queue {
    waiting: Receiver<Message>,
    outcomes: Outcomes,
    failing: bool,
}

impl Queue {
    /// Sends what comes, until the tracer and all its clones are gone.
    pub(crate) async fn run(mut self, to: impl Export) {
        while let Some(first) = self.waiting.recv().await {
            let (spans, flushed) = self.gather(first).await;
            if !spans.is_empty() {
                self.send(&to, spans).await;
            }
            // Who asked may have stopped waiting.
            flushed.map(|flushed| flushed.send(()));
        }
    }

    async fn gather(&mut self, first: Message) -> (Vec<Span>, Option<oneshot::Sender<()>>) {
        let mut spans = Vec::new();
        let until = tokio::time::Instant::now() + GATHER;
        let mut next = Some(first);
        loop {
            match next {
                Some(Message::Span(span)) => spans.push(*span),
                Some(Message::Flush(done)) => return (spans, Some(done)),
                None => return (spans, None),
            }
            if spans.len() == MOST_AT_ONCE {
                return (spans, None);
            }
            next = tokio::time::timeout_at(until, self.waiting.recv()).await.ok().flatten();
        }
    }

    async fn send(&mut self, to: &impl Export, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let sent = to.export(spans).await;
        let outcome = if sent.is_ok() { &self.outcomes.exported } else { &self.outcomes.failed };
        outcome.inc_by(count);
        // Once when it begins to fail and once when it is well again, not with every batch.
        let failed = mem::replace(&mut self.failing, sent.is_err());
        match sent {
            Err(reason) if !failed => tracing::warn!(reason, "spans could not be sent"),
            Ok(()) if failed => tracing::info!("spans are sent again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Mutex,
        time::{Duration, Instant},
    };

    use super::{Export, Kind, MOST_WAITING, Span, tracer};
    use crate::{context::Trace, metrics::Metrics};

    struct Kept(Mutex<Vec<usize>>);

    impl Export for &Kept {
        async fn export(&self, spans: Vec<Span>) -> Result<(), String> {
            self.0.lock().unwrap().push(spans.len());
            Ok(())
        }
    }

    #[tokio::test]
    async fn spans_beyond_the_queue_are_dropped_and_counted_and_the_others_sent() {
        let outcomes = Metrics::new().unwrap().spans();
        let (tracer, queue) = tracer(1.0, outcomes.clone());
        let begun = Instant::now();
        for _ in 0..MOST_WAITING + 3 {
            tracer.record(Span::new(&Trace::generate(), 1, Kind::Server, "x", begun), begun);
        }
        assert_eq!(outcomes.dropped.get(), 3);
        let kept = Kept(Mutex::default());
        let flush = async {
            tracer.flush(Duration::from_secs(60)).await;
            drop(tracer);
        };
        tokio::join!(queue.run(&kept), flush);
        assert_eq!(kept.0.lock().unwrap().iter().sum::<usize>(), MOST_WAITING);
        assert_eq!((outcomes.exported.get(), outcomes.failed.get()), (MOST_WAITING as u64, 0));
    }
}
