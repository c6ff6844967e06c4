//! Live is not ready. Ready is when every latch is open and the server does not drain. Dependencies are told beside it and hold back
//! nothing: a server that can answer without one should not be taken away with it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::metrics::Metrics;

/// What holds a server back from being ready. Clones share their latches.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    latches: RwLock<Vec<Latch>>,
    dependencies: RwLock<Vec<Dependency>>,
    draining: AtomicBool,
}

/// One condition of readiness. Clones are the same latch.
#[derive(Clone, Debug)]
pub struct Latch {
    name: &'static str,
    open: Arc<AtomicBool>,
}

impl Latch {
    /// The condition holds.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// The condition holds no more.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Whether the condition holds.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

/// A service that this one asks, and whether it answers. Clones are the same dependency.
#[derive(Clone, Debug)]
pub struct Dependency {
    name: Arc<str>,
    up: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Dependency {
    /// It answers, or does not.
    pub fn set(&self, up: bool) {
        self.up.store(up, Ordering::Release);
        self.metrics.dependency(&self.name, up);
    }
}

impl Readiness {
    /// A service that this server asks, away until somebody says otherwise. Its name stands in the health body and in metrics.
    #[must_use]
    pub fn dependency(&self, name: &str, metrics: &Metrics) -> Dependency {
        let dependency = Dependency { name: name.into(), up: Arc::default(), metrics: metrics.clone() };
        dependency.set(false);
        self.0.dependencies.write().unwrap_or_else(PoisonError::into_inner).push(dependency.clone());
        dependency
    }

    /// The services that this server asks, by name, and whether they answer.
    #[must_use]
    pub fn dependencies(&self) -> BTreeMap<String, bool> {
        let dependencies = self.0.dependencies.read().unwrap_or_else(PoisonError::into_inner);
        let told = dependencies.iter();
        told.map(|dependency| (dependency.name.to_string(), dependency.up.load(Ordering::Acquire))).collect()
    }

    /// A new condition, closed until somebody opens it.
    #[must_use]
    pub fn latch(&self, name: &'static str) -> Latch {
        let latch = Latch { name, open: Arc::new(AtomicBool::new(false)) };
        self.0.latches.write().unwrap_or_else(PoisonError::into_inner).push(latch.clone());
        latch
    }

    /// From now on never ready again: the server is leaving.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the server is leaving.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// What the server waits for; empty when it is ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        if self.is_draining() {
            return vec!["draining"];
        }
        let latches = self.0.latches.read().unwrap_or_else(PoisonError::into_inner);
        latches.iter().filter(|latch| !latch.is_open()).map(|latch| latch.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;
    use crate::metrics::Metrics;

    #[test]
    fn dependencies_are_told_and_hold_back_nothing() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new().unwrap());
        let ranking = readiness.dependency("ranking", &metrics);
        assert!(readiness.waiting_for().is_empty());
        assert!(!readiness.dependencies()["ranking"]);
        ranking.set(true);
        assert!(readiness.dependencies()["ranking"]);
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("dependency_up{dependency=\"ranking\"} 1"), "{text}");
    }

    #[test]
    fn ready_is_every_latch_open_and_not_draining() {
        let readiness = Readiness::default();
        let (model, predictor) = (readiness.latch("model"), readiness.latch("predictor"));
        model.open();
        assert_eq!(readiness.waiting_for(), ["predictor"]);
        predictor.open();
        assert!(readiness.waiting_for().is_empty());
        predictor.close();
        assert_eq!(readiness.waiting_for(), ["predictor"]);
        predictor.open();
        readiness.drain();
        assert_eq!(readiness.waiting_for(), ["draining"]);
    }
}
