//! What threads and their callers share is built of these: the standard library's types and tokio's channel for one answer, or loom's
//! types and a stand-in for that channel where all interleavings are tried.

#[cfg(not(hemline_loom))]
pub(super) use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};
use std::{
    sync::{PoisonError, TryLockError},
    time::Instant,
};

#[cfg(hemline_loom)]
pub(super) use ::loom::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};
#[cfg(not(hemline_loom))]
pub(super) use tokio::sync::oneshot;

/// Locks. No panic leaves half changed what is locked here, so a poisoned lock is as good as another.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks what nobody has locked.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
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

/// What an answer needs of tokio's channel, whose own orders are tried where it is made: each step under a lock.
#[cfg(hemline_loom)]
pub(super) mod oneshot {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use super::{Arc, Mutex, lock};

    struct Line<T> {
        value: Option<T>,
        waker: Option<Waker>,
        has_sender: bool,
        has_receiver: bool,
    }

    pub(in crate::worker) struct Sender<T>(Arc<Mutex<Line<T>>>);
    pub(in crate::worker) struct Receiver<T>(Arc<Mutex<Line<T>>>);

    pub(in crate::worker) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let line = Line { value: None, waker: None, has_sender: true, has_receiver: true };
        let line = Arc::new(Mutex::new(line));
        (Sender(line.clone()), Receiver(line))
    }

    impl<T> Sender<T> {
        pub(in crate::worker) fn is_closed(&self) -> bool {
            !lock(&self.0).has_receiver
        }

        pub(in crate::worker) fn send(self, value: T) -> Result<(), T> {
            let mut line = lock(&self.0);
            if !line.has_receiver {
                return Err(value);
            }
            line.value = Some(value);
            Ok(())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            let mut line = lock(&self.0);
            line.has_sender = false;
            let waker = line.waker.take();
            drop(line);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, ()>;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            let mut line = lock(&self.0);
            match line.value.take() {
                Some(value) => Poll::Ready(Ok(value)),
                None if !line.has_sender => Poll::Ready(Err(())),
                None => {
                    line.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            let mut line = lock(&self.0);
            line.has_receiver = false;
            let unread = (line.value.take(), line.waker.take());
            drop(line);
            drop(unread);
        }
    }
}
