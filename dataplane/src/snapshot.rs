//! A value that many read and few replace, always as a whole: readers wait for nobody, and no change is lost.
//!
//! Where all interleavings are tried (`make test-loom`) a lock stands in for the atomic pointer, which tries its own; the steps between
//! which others can come are the same.

use std::sync::Arc;

#[cfg(not(hemline_loom))]
use arc_swap::ArcSwap as Cell;
#[cfg(hemline_loom)]
use modelled::Cell;

/// The value as it is now.
pub(crate) struct Snapshot<T>(Cell<T>);

impl<T: Default> Default for Snapshot<T> {
    fn default() -> Self {
        Self(Cell::new(Arc::default()))
    }
}

impl<T> Snapshot<T> {
    /// The value as it is now. It stays as it is while it is held, whatever is put in its place.
    pub(crate) fn load(&self) -> impl std::ops::Deref<Target = Arc<T>> {
        self.0.load()
    }

    /// Puts another in its place, made from the one that is there. `change` is asked again where somebody else was quicker.
    pub(crate) fn change(&self, change: impl Fn(&T) -> T) {
        self.0.rcu(|value| change(value));
    }
}

#[cfg(hemline_loom)]
mod modelled {
    use std::sync::Arc;

    use loom::sync::Mutex;

    /// What a [`super::Snapshot`] uses of `arc_swap`.
    pub(super) struct Cell<T>(Mutex<Arc<T>>);

    impl<T> Cell<T> {
        pub(super) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(super) fn load(&self) -> Box<Arc<T>> {
            Box::new(self.0.lock().unwrap().clone())
        }

        pub(super) fn rcu(&self, change: impl Fn(&T) -> T) {
            loop {
                let before = self.load();
                let after = Arc::new(change(&before));
                let mut now = self.0.lock().unwrap();
                if Arc::ptr_eq(&now, &before) {
                    *now = after;
                    return;
                }
            }
        }
    }
}
