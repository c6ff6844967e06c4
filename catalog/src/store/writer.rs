//! Events of many requests, written together: a sync costs the same for one and for a thousand.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Failure, Store, StoreError};
use crate::events::Event;

/// Most events of one commit.
const GROUP: usize = 1_000;

/// What became of a request's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How many were new.
    pub accepted: usize,
    /// How many had been told before.
    pub repeated: usize,
}

/// Why they were not written, or not known to be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unrecorded {
    /// Too many are waiting.
    #[error("too many events are waiting to be written")]
    Overloaded,
    /// The store failed.
    #[error("{0}")]
    Store(Arc<StoreError>),
}

/// Writes events to a store, the waiting ones in one commit. Clones write to the same.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::UnboundedSender<Told>,
    /// One for each event that may wait.
    places: Arc<Semaphore>,
}

/// A request's events and who waits for them.
#[derive(Debug)]
struct Told {
    events: Vec<Event>,
    done: oneshot::Sender<Result<Recorded, Unrecorded>>,
    _places: OwnedSemaphorePermit,
}

impl Writer {
    /// Starts it. At most `places` events wait; a commit may take as long as `within`.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, places: usize, within: Duration) -> Self {
        let (queue, told) = mpsc::unbounded_channel();
        tokio::spawn(write(store, told, within));
        Self { queue, places: Arc::new(Semaphore::new(places)) }
    }

    /// Writes these events, all or none; when this returns, no crash can lose them.
    ///
    /// # Errors
    /// Too many are waiting, or the store failed: then they may be told again.
    pub async fn record(&self, events: Vec<Event>) -> Result<Recorded, Unrecorded> {
        let wanted = u32::try_from(events.len()).map_err(|_| Unrecorded::Overloaded)?;
        let places = self.places.clone().try_acquire_many_owned(wanted).map_err(|_| Unrecorded::Overloaded)?;
        let (done, recorded) = oneshot::channel();
        let gone = || Unrecorded::Store(Arc::new(StoreError::new(Failure::Away, "the writer has ended")));
        self.queue.send(Told { events, done, _places: places }).map_err(|_| gone())?;
        recorded.await.map_err(|_| gone())?
    }
}

async fn write(store: Arc<dyn Store>, mut queue: mpsc::UnboundedReceiver<Told>, within: Duration) {
    while let Some(first) = queue.recv().await {
        let mut count = first.events.len();
        let mut group = vec![first];
        while count < GROUP
            && let Ok(next) = queue.try_recv()
        {
            count += next.events.len();
            group.push(next);
        }
        group.retain(|told| !told.done.is_closed()); // nobody waits: nobody was told that they are written
        write_group(store.as_ref(), group, within).await;
    }
}

async fn write_group(store: &dyn Store, mut group: Vec<Told>, within: Duration) {
    if group.is_empty() {
        return;
    }
    let events: Vec<_> = group.iter_mut().flat_map(|told| told.events.iter().cloned()).collect();
    match store.record(&events, within).await {
        // What one request told may be what the store refuses, and is not to be the others' loss.
        Err(error) if error.failure == Failure::Refused && group.len() > 1 => {
            for told in group {
                let recorded = store.record(&told.events, within).await;
                answer(told, recorded.map_err(|error| Unrecorded::Store(Arc::new(error))));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for told in group {
                answer(told, Err(Unrecorded::Store(error.clone())));
            }
        }
        Ok(news) => {
            let mut news = news.into_iter();
            for told in group {
                let news = news.by_ref().take(told.events.len()).collect();
                answer(told, Ok(news));
            }
        }
    }
}

fn answer(told: Told, recorded: Result<Vec<bool>, Unrecorded>) {
    let counted = recorded.map(|news| {
        let accepted = news.iter().filter(|is_new| **is_new).count();
        Recorded { accepted, repeated: news.len() - accepted }
    });
    let _ = told.done.send(counted); // who waited may have left: what is written stays
}
