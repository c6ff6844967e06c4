//! Threads that own what computes: a bounded queue in front, one state a thread, an immediate answer when there is no room.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use async_trait::async_trait;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse},
    model::{Model, ModelMetadata, SyncModel},
    v1::V1Codec,
};

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Threads with one `S` each, and one queue for all of them.
#[derive(Debug)]
pub struct Pool<S> {
    queue: Sender<Job<S>>,
}

impl<S: Send + 'static> Pool<S> {
    /// Starts a thread for each state; at most `queue` jobs wait.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn start(name: &str, states: Vec<S>, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = bounded::<Job<S>>(queue);
        for (number, mut state) in states.into_iter().enumerate() {
            let receiver: Receiver<Job<S>> = receiver.clone();
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                for job in receiver {
                    job(&mut state);
                }
            })?;
        }
        Ok(Self { queue: sender })
    }

    /// Runs `work` on one of the threads. Work whose caller has left by the time that its turn comes is not done.
    ///
    /// # Errors
    /// The queue is full ([`Kind::Overloaded`], at once), or `work` panicked ([`Kind::Internal`]).
    pub async fn run<R: Send + 'static>(&self, work: impl FnOnce(&mut S) -> R + Send + 'static) -> Result<R> {
        let (answer, answered) = oneshot::channel();
        // What a model logs on its thread belongs to the request too.
        let span = tracing::Span::current();
        let job: Job<S> = Box::new(move |state| {
            if answer.is_closed() {
                return;
            }
            let result = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| work(state))));
            // The caller may have left meanwhile; then nobody wants the answer.
            let _ = answer.send(result.map_err(|panic| panic_text(panic.as_ref())));
        });
        self.queue.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                Error::new(Kind::Overloaded, "the queue is full").with_retry_after(Duration::from_secs(1))
            }
            TrySendError::Disconnected(_) => Error::internal("every worker thread has ended"),
        })?;
        match answered.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(panic)) => Err(Error::internal(format!("a worker panicked: {panic}"))),
            Err(_) => Err(Error::internal("a worker thread ended without an answer")),
        }
    }
}

/// What a panic said, where it said anything.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// A [`SyncModel`] on threads of its own: a [`Model`].
pub struct Owned<M> {
    metadata: ModelMetadata,
    v1: Arc<dyn V1Codec>,
    pool: Pool<M>,
}

impl<M: SyncModel> Owned<M> {
    /// Gives each of `models`, which are copies of one model, a thread; at most `queue` requests wait.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn start(metadata: ModelMetadata, v1: Arc<dyn V1Codec>, models: Vec<M>, queue: usize) -> io::Result<Self> {
        let pool = Pool::start(&metadata.name, models, queue)?;
        Ok(Self { metadata, v1, pool })
    }
}

#[async_trait]
impl<M: SyncModel> Model for Owned<M> {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> Result<InferResponse> {
        self.pool.run(move |model| model.infer(request)).await?
    }

    fn v1(&self) -> &dyn V1Codec {
        self.v1.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::Pool;
    use crate::error::Kind;

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
        let pool = std::sync::Arc::new(Pool::start("test", vec![()], 1).unwrap());
        let (release, released) = mpsc::channel::<()>();
        let (begun, began) = mpsc::channel();
        let first = pool.clone();
        let busy = tokio::spawn(async move {
            first
                .run(move |()| {
                    begun.send(()).unwrap();
                    released.recv().unwrap();
                })
                .await
        });
        tokio::task::spawn_blocking(move || began.recv().unwrap()).await.unwrap();
        let second = pool.clone();
        let waiting = tokio::spawn(async move { second.run(|()| 2).await });
        // The queue's one place is taken when a third is refused; until then a third may be the one that waits.
        let refused = loop {
            match tokio::time::timeout(std::time::Duration::from_millis(10), pool.run(|()| 3)).await {
                Ok(Err(error)) => break error,
                Ok(Ok(_)) => unreachable!("the only thread is busy"),
                Err(_) => {}
            }
        };
        assert_eq!(refused.kind(), Kind::Overloaded);
        assert!(refused.retry_after().is_some());
        waiting.abort();
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_and_the_thread_lives_on() {
        let pool = Pool::start("test", vec![1_u32], 4).unwrap();
        let error = pool.run(|_| -> () { std::panic::resume_unwind(Box::new("secret")) }).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Internal, "internal error"));
        assert_eq!(pool.run(|state| *state).await.unwrap(), 1);
    }
}
