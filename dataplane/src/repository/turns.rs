//! Loads and unloads of one name, one after the other.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::error::Result;

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    /// How many loads have begun.
    begun: AtomicU64,
    /// How the last load ended, where nothing came after it. Held while somebody has their turn.
    last: Mutex<Option<Result<()>>>,
}

impl Turns {
    /// The moment at which somebody asks for a load.
    pub(super) fn now(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Loads when the turn comes. A load that began after it was `asked` for has seen whatever this one would: its end is this one's too,
    /// so that who asks again and again for what takes long has asked for two loads at most.
    pub(super) async fn load<F: Future<Output = Result<()>>>(
        &self,
        asked: u64,
        load: impl FnOnce() -> F,
    ) -> Result<()> {
        let mut last = self.last.lock().await;
        if self.begun.load(Ordering::Acquire) > asked
            && let Some(ended) = last.as_ref()
        {
            return ended.clone();
        }
        self.begun.fetch_add(1, Ordering::AcqRel);
        let ended = load().await;
        *last = Some(ended.clone());
        ended
    }

    /// Unloads when the turn comes. Whoever waits for a load behind it wants one that comes after.
    pub(super) async fn unload(&self, unload: impl FnOnce()) {
        let mut last = self.last.lock().await;
        unload();
        *last = None;
    }
}
