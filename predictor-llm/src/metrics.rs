//! The predictor's own metrics, each name once. Those of every server are the data plane's.

use std::time::Duration;

use dataplane::metrics::Metrics;
use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Result, core::Collector,
};

use crate::{api::Usage, args::Strategy};

/// Seconds: a token from a small model takes 10 ms, a thought from a large one a minute.
const CALL_BUCKETS: [f64; 13] = [0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// From the opposite order over none in common to the same.
const TAU_BUCKETS: [f64; 8] = [-0.5, 0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0];

/// What a candidate is counted as that has a score.
const SCORED: &str = "scored";

/// Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct LlmMetrics {
    candidates: IntCounterVec,
    requests: IntCounterVec,
    durations: HistogramVec,
    tokens: IntCounterVec,
    cost: Counter,
    cache: IntCounterVec,
    tau: Histogram,
    exhausted: IntCounterVec,
    strategy: IntGaugeVec,
}

impl LlmMetrics {
    /// Registers them beside those of the server.
    ///
    /// # Errors
    /// Never with the names below; they differ from those of the data plane.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self> {
        let calls = "Calls to the LLM's API, by outcome: ok, a class of failure, or abandoned where the deadline or the caller ended it.";
        let tokens = "Tokens as the API counts them, by kind: prompt (computed), cached (of the prompt, in the API's cache), completion.";
        let tau = "Kendall's tau-b between the scores of several orders of the same candidates, a request's mean.";
        let exhausted =
            "Calls that were not made, by the budget that was spent: request, tokens_per_minute, cost_per_minute.";
        let candidates = "Candidates, by outcome: scored, or why they have the default 0.";
        let cost = Counter::new("llm_cost_total", "What the tokens cost, in the currency of the configured prices.")?;
        let strategy =
            Opts::new("llm_strategy_info", "1 for the strategy that scores now; listwise may give way to pointwise.");
        let duration = HistogramOpts::new("llm_request_duration_seconds", "A call to the LLM's API, by outcome.");
        let tau = HistogramOpts::new("llm_permutation_kendall_tau", tau).buckets(TAU_BUCKETS.to_vec());
        Ok(Self {
            candidates: counters(metrics, "llm_candidates_total", candidates, "outcome")?,
            requests: counters(metrics, "llm_requests_total", calls, "outcome")?,
            durations: shown(metrics, HistogramVec::new(duration.buckets(CALL_BUCKETS.to_vec()), &["outcome"])?)?,
            tokens: counters(metrics, "llm_tokens_total", tokens, "kind")?,
            cost: shown(metrics, cost)?,
            cache: counters(
                metrics,
                "llm_cache_total",
                "Questions, by result: hit, miss, or coalesced with one under way.",
                "result",
            )?,
            tau: shown(metrics, Histogram::with_opts(tau)?)?,
            exhausted: counters(metrics, "llm_budget_exhausted_total", exhausted, "budget")?,
            strategy: shown(metrics, IntGaugeVec::new(strategy, &["strategy"])?)?,
        })
    }

    /// A candidate has a score.
    pub(crate) fn scored(&self) {
        self.candidates.with_label_values(&[SCORED]).inc();
    }

    /// A candidate has the default, for this reason.
    pub(crate) fn missed(&self, class: &str) {
        self.candidates.with_label_values(&[class]).inc();
    }

    /// A call ended so.
    pub(crate) fn called(&self, outcome: &str, took: Duration) {
        self.requests.with_label_values(&[outcome]).inc();
        self.durations.with_label_values(&[outcome]).observe(took.as_secs_f64());
    }

    /// A call took these tokens, at this price.
    pub(crate) fn spent(&self, usage: Usage, cost: f64) {
        for (kind, count) in [("prompt", usage.prompt), ("cached", usage.cached), ("completion", usage.completion)] {
            self.tokens.with_label_values(&[kind]).inc_by(count);
        }
        self.cost.inc_by(cost);
    }

    /// A question was asked of the cache.
    pub(crate) fn cache(&self, result: &str) {
        self.cache.with_label_values(&[result]).inc();
    }

    /// Two orders agree so far.
    pub(crate) fn tau(&self, tau: f64) {
        self.tau.observe(tau);
    }

    /// A budget kept a call from being made.
    pub(crate) fn exhausted(&self, budget: &str) {
        self.exhausted.with_label_values(&[budget]).inc();
    }

    /// This strategy scores from now on.
    pub(crate) fn strategy(&self, now: Strategy) {
        for strategy in [Strategy::Pointwise, Strategy::Listwise] {
            self.strategy.with_label_values(&[strategy.name()]).set(i64::from(strategy == now));
        }
    }
}

/// What is counted of outfits. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct StylistMetrics {
    requests: IntCounterVec,
    items: IntCounterVec,
    fallbacks: IntCounterVec,
}

impl StylistMetrics {
    /// Registers them beside the others.
    ///
    /// # Errors
    /// As [`LlmMetrics::new`].
    pub(crate) fn new(metrics: &Metrics) -> Result<Self> {
        let requests = "Outfits that were asked for, by outcome: ok, why they have no items or ended early, or abandoned where the caller left.";
        let fallbacks =
            "What the reader of outfits made do with, by kind: for example no_summary, no_category, repeated.";
        Ok(Self {
            requests: counters(metrics, "llm_stylist_requests_total", requests, "outcome")?,
            items: counters(
                metrics,
                "llm_stylist_items_total",
                "Items of outfits, by the form that the LLM wrote: json or lines.",
                "form",
            )?,
            fallbacks: counters(metrics, "llm_stylist_fallbacks_total", fallbacks, "fallback")?,
        })
    }

    /// An outfit is asked for.
    pub(crate) fn begin(&self) -> StylistOutcome<'_> {
        StylistOutcome { metrics: self, name: "abandoned" }
    }

    /// So many items were told, and these things made do with.
    pub(crate) fn told<'a>(&self, form: &str, items: usize, fallbacks: impl Iterator<Item = &'a str>) {
        self.items.with_label_values(&[form]).inc_by(items as u64);
        fallbacks.for_each(|fallback| self.fallbacks.with_label_values(&[fallback]).inc());
    }
}

/// Counts an outfit when it ends, also where its caller ends it.
pub(crate) struct StylistOutcome<'a> {
    metrics: &'a StylistMetrics,
    name: &'static str,
}

impl StylistOutcome<'_> {
    /// It ended so.
    pub(crate) fn ended(mut self, outcome: &'static str) {
        self.name = outcome;
    }
}

impl Drop for StylistOutcome<'_> {
    fn drop(&mut self) {
        self.metrics.requests.with_label_values(&[self.name]).inc();
    }
}

fn shown<C: Collector + Clone + 'static>(metrics: &Metrics, own: C) -> Result<C> {
    metrics.register(own.clone())?;
    Ok(own)
}

fn counters(metrics: &Metrics, name: &str, help: &str, label: &str) -> Result<IntCounterVec> {
    shown(metrics, IntCounterVec::new(Opts::new(name, help), &[label])?)
}
