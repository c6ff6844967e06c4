//! What the queue and the permits are built of: the standard library's types, or loom's where all interleavings are tried.

#[cfg(not(hemline_loom))]
pub(super) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
use std::{sync::PoisonError, time::Instant};

#[cfg(hemline_loom)]
pub(super) use ::loom::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

/// Locks. No panic leaves half changed what is locked here, so a poisoned lock is as good as another.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until somebody notifies.
pub(super) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits until somebody notifies, at most until then. Says whether the time is over.
#[cfg(not(hemline_loom))]
pub(super) fn wait_until<'a, T>(
    _mutex: &'a Mutex<T>,
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    until: Instant,
) -> (MutexGuard<'a, T>, bool) {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return (guard, true);
    }
    let (guard, timeout) = condvar.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner);
    (guard, timeout.timed_out())
}

/// Loom has no clock. A time of more than an hour is never over here, and any other as soon as the others did whatever they do
/// meanwhile: loom tries all of that.
#[cfg(hemline_loom)]
pub(super) fn wait_until<'a, T>(
    mutex: &'a Mutex<T>,
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    until: Instant,
) -> (MutexGuard<'a, T>, bool) {
    if until.saturating_duration_since(Instant::now()).as_secs() > 3600 {
        return (wait(condvar, guard), false);
    }
    drop(guard);
    (lock(mutex), true)
}
