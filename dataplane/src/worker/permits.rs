//! A bound on how much is under way at once.

use super::sync::{Arc, AtomicUsize, Ordering};

/// A number of permits, of which each is somebody's until it is dropped. Nobody waits for one. Clones share the permits.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Count>);

#[derive(Debug)]
struct Count {
    taken: AtomicUsize,
    limit: usize,
}

/// One permit; dropped, it can be had again.
#[derive(Debug)]
pub struct Permit<'a>(&'a Count);

/// One permit that may outlive the [`Permits`] that it is of; dropped, it can be had again.
#[derive(Debug)]
pub struct OwnedPermit(Arc<Count>);

impl Permits {
    /// So many of them.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Count { taken: AtomicUsize::new(0), limit }))
    }

    /// Takes one; nothing where all are taken.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.0.take().then(|| Permit(&self.0))
    }

    /// As [`Permits::try_acquire`], to be kept anywhere.
    #[must_use]
    pub fn try_acquire_owned(&self) -> Option<OwnedPermit> {
        self.0.take().then(|| OwnedPermit(self.0.clone()))
    }

    /// How many are taken now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Acquire)
    }

    /// How many there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }
}

impl Count {
    fn take(&self) -> bool {
        let one_more = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::Permits;

    #[test]
    fn a_permit_is_had_again_once_it_is_dropped() {
        let permits = Permits::new(2);
        let first = permits.try_acquire().unwrap();
        let second = permits.clone().try_acquire_owned().unwrap();
        assert!(permits.try_acquire().is_none());
        assert_eq!((permits.taken(), permits.limit()), (2, 2));
        drop(first);
        assert!(permits.try_acquire().is_some());
        drop(second);
        assert_eq!(permits.taken(), 0);
    }
}
