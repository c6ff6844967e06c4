//! Metrics that are registered as they are made, so that none is forgotten.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, Result, core::Collector,
};

use super::family::{Count, Durations, Family, Level};

/// Makes metrics of one registry. A family's name stands beside its help.
pub(super) struct Registered<'r>(pub(super) &'r Registry);

impl Registered<'_> {
    fn with<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.with(IntCounter::new(name, help)?)
    }

    pub(super) fn counts(&self, told: (&str, &str), labels: &[&str]) -> Result<Family<Count>> {
        self.with(Family::new(told, &[], labels)?)
    }

    pub(super) fn levels(&self, told: (&str, &str), labels: &[&str]) -> Result<Family<Level>> {
        self.with(Family::new(told, &[], labels)?)
    }

    pub(super) fn durations(
        &self,
        told: (&str, &str),
        bounds: &'static [f64],
        labels: &[&str],
    ) -> Result<Family<Durations>> {
        self.with(Family::new(told, bounds, labels)?)
    }

    pub(super) fn counters(&self, (name, help): (&str, &str), labels: &[&str]) -> Result<IntCounterVec> {
        self.with(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauges(&self, (name, help): (&str, &str), labels: &[&str]) -> Result<IntGaugeVec> {
        self.with(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histograms(
        &self,
        (name, help): (&str, &str),
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec> {
        self.with(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }
}
