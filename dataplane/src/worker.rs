//! Threads that own what computes, and how work gets to them.
//!
//! [`Pool`] runs closures on its threads; [`Owned`] makes a [`SyncModel`](crate::SyncModel) a [`Model`](crate::Model). The way of a
//! piece of work is the same in both:
//!
//! 1. It gets a place in the queue or is refused at once ([`Kind::Overloaded`](crate::Kind::Overloaded), with a Retry-After).
//! 2. It waits. A caller who leaves takes it out of the queue and so frees its place.
//! 3. A thread takes it; with [`Batching`], together with those behind it that fit. What nobody waits for any more is not begun.
//! 4. Its answer, its error or its panic goes to its caller, and the thread goes on.
//!
//! All of that and [`Permits`] are written over the types in `sync`, so that `make test-loom` runs the very same code in the orders that
//! its threads can take: all of them, but for the models that say otherwise (`orders_with_switches`).

mod admission;
mod alive;
pub mod batch;
#[cfg(all(test, hemline_loom))]
mod loom;
mod owned;
mod permits;
mod pool;
mod queue;
mod sync;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

pub use admission::Admission;
pub(crate) use alive::wait_until_ended;
pub use batch::{Batching, Joined};
pub use owned::Owned;
pub use permits::{OwnedPermit, Permit, Permits};
pub use pool::Pool;

use crate::error::{Error, Result};

/// What `work` gives; a panic is a fault of ours, and ends nothing but this piece of work.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| Error::internal(format!("a worker panicked: {}", panic_text(panic.as_ref()))))
}

/// What a panic said, where it said anything.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
