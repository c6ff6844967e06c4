//! Runs a model of a few threads in the orders that they can take: what `make test-loom` consists of.

use loom::model::Builder;

/// Tries every order.
pub(crate) fn every_order(model: impl Fn() + Sync + Send + 'static) {
    orders(None, model);
}

/// Tries every order in which no more than so many times a thread is stopped that could have gone on: for models of which every order
/// is too many to try.
pub(crate) fn orders_with_switches(most: usize, model: impl Fn() + Sync + Send + 'static) {
    orders(Some(most), model);
}

fn orders(preemption_bound: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemption_bound;
    builder.check(model);
}
