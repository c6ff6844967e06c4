//! A model that computes, on threads of its own.

use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{
    admission::{Admission, Entrance, Reply, Turns, start_warm},
    batch::{Batching, compatible, rows},
    caught,
    queue::Fit,
    sync::{Mutex, lock},
};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse},
    metrics::QueueMetrics,
    model::{Model, ModelMetadata, SyncModel},
    v1::V1Codec,
};

/// A [`SyncModel`] on threads of its own: a [`Model`].
pub struct Owned<M> {
    metadata: ModelMetadata,
    v1: Arc<dyn V1Codec>,
    entrance: Entrance<M, Ask>,
    /// Whether requests may be computed together; then all wait for a thread, which gathers them.
    gathers: bool,
    metrics: Option<QueueMetrics>,
}

/// A request that waits.
struct Ask {
    request: InferRequest,
    /// Its rows, if it can be in a batch.
    rows: Option<usize>,
    context: Context,
    reply: Reply<InferResponse>,
}

impl<M: SyncModel> Owned<M> {
    /// Gives each of `models`, which are copies of one model, a thread; at most as many requests wait as `admission` has places. The
    /// threads end once this is dropped and all that waits is answered. Returns when each of them is warm ([`SyncModel::warm_up`]), so
    /// call it where a thread may block.
    ///
    /// # Errors
    /// A thread can't be started, or a model fails to warm up ([`Kind::LoadFailed`]).
    pub fn start(
        metadata: ModelMetadata,
        v1: Arc<dyn V1Codec>,
        models: Vec<M>,
        admission: impl Into<Admission>,
        batching: Batching,
    ) -> Result<Self> {
        let (admission, batching) = (admission.into(), batching.of_model(&metadata));
        let metrics = admission.metrics.clone();
        let known = metadata.clone();
        let warm_up = move |model: &mut M| model.warm_up(&known);
        let measured = metrics.clone();
        let serve = move |model: &Mutex<M>, turns: &Turns<Ask>| {
            while let Some(first) = turns.next() {
                let asks = gather(first, turns, batching);
                answer(&mut *lock(model), asks, turns, measured.as_ref());
            }
        };
        let entrance = start_warm(&metadata.name, models, admission, warm_up, serve)?;
        Ok(Self { metadata, v1, entrance, gathers: batching.max_rows > 1, metrics })
    }
}

#[async_trait]
impl<M: SyncModel> Model for Owned<M> {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse> {
        let count = first_dimension(&request);
        let may_be_here = !self.gathers && context.deadline() > Instant::now();
        if may_be_here && let Some(here) = self.entrance.here(count) {
            self.metrics.iter().for_each(|metrics| metrics.batch(count));
            return here.run(|model| model.infer(request)).flatten();
        }
        let (rows, context) = (rows(&request), context.clone());
        self.entrance.ask(|reply| Ask { request, rows, context, reply }).await
    }

    fn v1(&self) -> &dyn V1Codec {
        self.v1.as_ref()
    }
}

/// A request with those behind it that may be in a batch with it.
fn gather(first: Ask, turns: &Turns<Ask>, batching: Batching) -> Vec<Ask> {
    let Some(mut room) = first.rows.and_then(|rows| batching.max_rows.checked_sub(rows)).filter(|room| *room > 0)
    else {
        return vec![first];
    };
    let until = longest(batching.max_delay, first.context.deadline(), Instant::now());
    let more = turns.gather(until, |next| match next.rows {
        Some(rows) if rows <= room && compatible(&first.request, &next.request) => {
            room -= rows;
            let earlier = longest(batching.max_delay, next.context.deadline(), Instant::now());
            match room {
                0 => Fit::Last,
                _ if earlier < until => Fit::MoreUntil(earlier),
                _ => Fit::More,
            }
        }
        _ => Fit::Not,
    });
    iter::once(first).chain(more).collect()
}

/// How long a request with this deadline waits for others: half of the time that it has at most, so that the rest is left for the work.
fn longest(delay: Duration, deadline: Instant, now: Instant) -> Instant {
    // What is added to now must not reach past the end of time, which would be a panic.
    now + delay.min(Batching::LONGEST_DELAY).min(deadline.saturating_duration_since(now) / 2)
}

/// Computes what somebody still waits for, and tells each their own.
fn answer<M: SyncModel>(model: &mut M, asks: Vec<Ask>, turns: &Turns<Ask>, metrics: Option<&QueueMetrics>) {
    let asks: Vec<Ask> = asks.into_iter().filter_map(begin).collect();
    if asks.is_empty() {
        return;
    }
    let rows = asks.iter().map(|ask| first_dimension(&ask.request)).sum();
    if let Some(metrics) = metrics {
        metrics.batch(rows);
    }
    let began = Instant::now();
    let (replies, answers) = match asks.len() {
        1 => alone(model, asks),
        _ => together(model, asks),
    };
    turns.done(began.elapsed(), replies.len(), rows);
    for (reply, answer) in replies.into_iter().zip(answers) {
        reply.send(answer);
    }
}

type Answered = (Vec<Reply<InferResponse>>, Vec<Result<InferResponse>>);

fn alone<M: SyncModel>(model: &mut M, asks: Vec<Ask>) -> Answered {
    let answered = asks.into_iter().map(|Ask { request, reply, .. }| {
        let answer = reply.scope.run(|| caught(|| model.infer(request)).flatten());
        (reply, answer)
    });
    answered.unzip()
}

fn together<M: SyncModel>(model: &mut M, asks: Vec<Ask>) -> Answered {
    // What the model logs belongs to all of them.
    let ids = asks.iter().map(|ask| ask.context.request_id()).collect::<Vec<_>>().join(",");
    let span = tracing::info_span!("batch", request_ids = ids);
    let (replies, requests): (Vec<_>, Vec<_>) = asks.into_iter().map(|ask| (ask.reply, ask.request)).unzip();
    let count = requests.len();
    let failure = match span.in_scope(|| caught(|| model.infer_batch(requests))) {
        Ok(answers) if answers.len() == count => return (replies, answers),
        Ok(answers) => format!("the model gave {} answers to {count} requests", answers.len()),
        Err(error) => error.detail().unwrap_or_default().to_owned(),
    };
    (replies, (0..count).map(|_| Err(Error::internal(&failure))).collect())
}

/// The request, if it is still worth the work. Where nobody waits nobody is told; a deadline that passed unheard is.
fn begin(ask: Ask) -> Option<Ask> {
    if !ask.reply.is_wanted() {
        return None;
    }
    if ask.context.deadline() <= Instant::now() {
        let text = "the request's deadline passed before its turn came";
        ask.reply.send(Err(Error::new(Kind::DeadlineExceeded, text)));
        return None;
    }
    Some(ask)
}

/// Rows as they are measured: also of requests that can't be in a batch.
fn first_dimension(request: &InferRequest) -> usize {
    request.inputs.first().and_then(|input| input.shape().first().copied()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::longest;

    #[test]
    fn nobody_waits_for_others_beyond_half_of_their_time() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        for (left, waits) in
            [(10 * second, second), (second * 105 / 100, second * 105 / 200), (Duration::ZERO, Duration::ZERO)]
        {
            assert_eq!(longest(second, now + left, now), now + waits, "{left:?}");
        }
        assert_eq!(longest(second, now.checked_sub(second).unwrap(), now), now);
        assert!(longest(Duration::MAX, now + second, now) < now + second);
    }
}
