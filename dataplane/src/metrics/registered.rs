//! Metrics that are registered as they are made, so that none is forgotten.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result,
    core::Collector,
};

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

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.with(IntGauge::new(name, help)?)
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
