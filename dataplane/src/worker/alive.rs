//! How many of the process's worker threads have not ended. A model is dropped on the thread that owns it, and a library behind it may
//! clean up after itself when the process exits: whoever exits meanwhile can crash.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

static THREADS: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// A thread that has not ended, until this is dropped.
pub(super) struct Alive(());

impl Alive {
    pub(super) fn new() -> Self {
        *THREADS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        *THREADS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_all();
    }
}

/// Waits until no thread of a [`Pool`](super::Pool) or of an [`Owned`](super::Owned) is left, at most so long. Whether none is.
pub(crate) fn wait_until_ended(limit: Duration) -> bool {
    let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = ENDED.wait_timeout_while(threads, limit, |threads| *threads > 0);
    *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
}
