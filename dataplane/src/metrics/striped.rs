//! Values that threads write side by side.
//!
//! A counter that all threads share is one cache line that travels between cores with every request, and with a dozen counters that
//! is most of what counting costs. So each thread has a stripe, and whoever reads adds them up.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// More threads than that share stripes, which costs time and nothing else.
const STRIPES: usize = 8;

/// A value for each stripe.
#[derive(Debug)]
pub(super) struct Striped<T>([Stripe<T>; STRIPES]);

/// Two cache lines: processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<T>(T);

impl<T: Default> Default for Striped<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Stripe(T::default())))
    }
}

impl<T> Striped<T> {
    /// The one that this thread writes.
    pub(super) fn mine(&self) -> &T {
        &self.0[stripe()].0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|stripe| &stripe.0)
    }
}

/// This thread's number: the next one when it first asks.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    MINE.get().unwrap_or_else(|| {
        let mine = NEXT.fetch_add(1, Relaxed) % STRIPES;
        MINE.set(Some(mine));
        mine
    })
}
