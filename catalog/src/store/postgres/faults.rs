//! Which connections are still good for anything.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// When a connection was last found broken. Those that are older are not used again: what broke one broke them all.
#[derive(Debug)]
pub(super) struct Faults {
    begun: Instant,
    /// Microseconds after `begun`.
    last: AtomicU64,
}

impl Faults {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0) }
    }

    /// One is found now.
    pub(super) fn now(&self) {
        self.last.fetch_max(self.elapsed(), Ordering::AcqRel);
    }

    /// Whether a connection of this age was opened after that.
    pub(super) fn is_after_the_last(&self, age: Duration) -> bool {
        let opened = self.elapsed().saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        opened >= self.last.load(Ordering::Acquire)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
