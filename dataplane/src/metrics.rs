//! Every metric's name, once. Classic Prometheus text 0.0.4, which KServe's aggregator reads.

use std::{sync::Arc, time::Duration};

use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::{handler::ServerInfo, repository::Repository, telemetry::Outcomes};

mod handles;
mod info;

pub(crate) use handles::{ANSWERED, InferenceMetrics, StepTimes};

use handles::Known;

/// Seconds. A ranker answers in 200 µs and a deadline is seconds away: four buckets a decade between the two.
const LATENCY_BUCKETS: [f64; 18] = [
    0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0,
    30.0,
];

/// Seconds: the buckets of KServe's own four histograms.
const KSERVE_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The metrics of one server.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    known: Known,
    in_flight: IntGauge,
    steps: Arc<StepTimes>,
    upstream: IntCounterVec,
    spans: IntCounterVec,
}

/// What an inference is counted in.
#[derive(Clone, Debug)]
struct Families {
    requests: IntCounterVec,
    durations: HistogramVec,
    preprocess: HistogramVec,
    predict: HistogramVec,
    postprocess: HistogramVec,
    explain: HistogramVec,
}

impl Metrics {
    /// Registers them all.
    ///
    /// # Errors
    /// Never with the names below; they differ and are well formed.
    pub fn new() -> prometheus::Result<Self> {
        let latency = |name, help| HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        let registry = Registry::new();
        let metrics = Self {
            families: Families::new(&registry)?,
            known: Known::default(),
            in_flight: IntGauge::new("inference_requests_in_flight", "Inferences begun and not yet answered.")?,
            steps: Arc::new(StepTimes::new(HistogramVec::new(
                latency("inference_step_duration_seconds", "One step of an answer."),
                &["step"],
            )?)),
            upstream: IntCounterVec::new(
                Opts::new("upstream_requests_total", "Calls to services behind this one, by outcome."),
                &["upstream", "outcome"],
            )?,
            spans: IntCounterVec::new(
                Opts::new(
                    "otlp_spans_total",
                    "Spans recorded, by outcome: exported, failed, or dropped where the queue was full.",
                ),
                &["outcome"],
            )?,
            registry,
        };
        metrics.registry.register(Box::new(metrics.in_flight.clone()))?;
        metrics.registry.register(Box::new(metrics.steps.family()))?;
        metrics.registry.register(Box::new(metrics.upstream.clone()))?;
        metrics.registry.register(Box::new(metrics.spans.clone()))?;
        metrics.registry.register(Box::new(info::Process::new(&PROCESS)?))?;
        Ok(metrics)
    }

    /// Tells in `server_info` which server this is, and in `model_info` what `repository` has loaded whenever it is asked.
    ///
    /// # Errors
    /// They are told already.
    pub fn describe(&self, server: ServerInfo, repository: &Repository) -> prometheus::Result<()> {
        let labels = [("name", server.name), ("version", server.version)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let server =
            IntGauge::with_opts(Opts::new("server_info", "Which server this is; always 1.").const_labels(labels))?;
        server.set(1);
        self.registry.register(Box::new(server))?;
        let models = Opts::new("model_info", "What is loaded now; always 1.");
        self.registry.register(Box::new(info::Models::new(models, repository.clone())?))
    }

    /// A request begins; it ends when the guard is dropped, answered or not.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// How many inferences are under way.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// What inferences of this model over this protocol are counted in, resolved once.
    pub(crate) fn of(&self, protocol: &'static str, model: &str) -> Arc<InferenceMetrics> {
        self.known.get(&self.families, protocol, model)
    }

    /// A step of an answer took this long. [`crate::Context::step`] says so where there is a request.
    pub fn step(&self, step: &'static str, took: Duration) {
        self.steps.observe(step, took);
    }

    /// What steps are counted in.
    pub(crate) fn step_times(&self) -> Arc<StepTimes> {
        self.steps.clone()
    }

    /// What became of spans.
    pub(crate) fn spans(&self) -> Outcomes {
        let [exported, dropped, failed] =
            ["exported", "dropped", "failed"].map(|outcome| self.spans.with_label_values(&[outcome]));
        Outcomes { exported, dropped, failed }
    }

    /// A call to a service behind this one ended so: `ok`, or an error's stable code.
    pub fn upstream(&self, upstream: &str, outcome: &str) {
        self.upstream.with_label_values(&[upstream, outcome]).inc();
    }

    /// The text that a scraper reads.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

impl Families {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let kserve = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(KSERVE_BUCKETS.to_vec());
            HistogramVec::new(options, &["model_name"])
        };
        let families = Self {
            requests: IntCounterVec::new(
                Opts::new(
                    "inference_requests_total",
                    "Inferences, by outcome: ok, an error's code, or abandoned where the caller left before the answer.",
                ),
                &["protocol", "model", "code"],
            )?,
            durations: HistogramVec::new(
                HistogramOpts::new("inference_request_duration_seconds", "From the request's head to its answer.")
                    .buckets(LATENCY_BUCKETS.to_vec()),
                &["protocol", "model"],
            )?,
            preprocess: kserve(
                "request_preprocess_seconds",
                "From the request's head to where the predictor is asked.",
            )?,
            predict: kserve("request_predict_seconds", "What the predictor took.")?,
            postprocess: kserve("request_postprocess_seconds", "From the predictor's answer to the answer.")?,
            explain: kserve("request_explain_seconds", "What an explanation took.")?,
        };
        registry.register(Box::new(families.requests.clone()))?;
        registry.register(Box::new(families.durations.clone()))?;
        for family in [&families.preprocess, &families.predict, &families.postprocess, &families.explain] {
            registry.register(Box::new(family.clone()))?;
        }
        Ok(families)
    }
}

/// The process's own: name, type, help. The names are those of every Prometheus client.
const PROCESS: [info::Measure; 4] = [
    info::Measure { name: "process_cpu_seconds_total", help: "CPU time of all threads." },
    info::Measure { name: "process_resident_memory_bytes", help: "Memory that is in RAM." },
    info::Measure { name: "process_start_time_seconds", help: "When the process started, as Unix time." },
    info::Measure { name: "process_open_fds", help: "Open file descriptors." },
];

/// A request in flight.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
