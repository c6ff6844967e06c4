//! Every metric's name, once. Classic Prometheus text 0.0.4, which KServe's aggregator reads.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::{handler::ServerInfo, repository::Repository, telemetry::Outcomes};

mod family;
mod handles;
mod info;
mod registered;
mod striped;

pub(crate) use handles::{ANSWERED, InferenceMetrics, StepTimes};

use family::{Count, Durations, Family, Level};
use handles::Known;
use registered::Registered;

/// Seconds. A ranker answers in 200 µs and a deadline is seconds away: four buckets a decade between the two.
static LATENCY_BUCKETS: [f64; 18] = [
    0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0,
    30.0,
];

/// Rows.
const BATCH_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Seconds: the buckets of KServe's own four histograms.
static KSERVE_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The metrics of one server.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    known: Known,
    in_flight: Arc<Level>,
    steps: Arc<StepTimes>,
    upstreams: Upstreams,
    #[cfg_attr(not(feature = "otlp"), allow(dead_code))] // shown all the same
    spans: IntCounterVec,
    queued: IntGaugeVec,
    waited: Family<Durations>,
    batches: HistogramVec,
    connections: IntGaugeVec,
    cut: IntCounter,
    handshakes: IntCounter,
    dependencies: IntGaugeVec,
}

/// What an inference is counted in.
#[derive(Clone, Debug)]
struct Families {
    requests: Family<Count>,
    durations: Family<Durations>,
    preprocess: Family<Durations>,
    predict: Family<Durations>,
    postprocess: Family<Durations>,
    explain: Family<Durations>,
}

/// What calls to services behind this one are counted in.
#[derive(Clone, Debug)]
struct Upstreams {
    requests: IntCounterVec,
    durations: Family<Durations>,
    retries: IntCounterVec,
    circuits: IntGaugeVec,
}

impl Metrics {
    /// Registers them all.
    ///
    /// # Errors
    /// Never with the names below; they differ and are well formed.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let new = Registered(&registry);
        registry.register(Box::new(info::Process::new(&PROCESS)?))?;
        Ok(Self {
            families: Families::new(&new)?,
            known: Known::default(),
            in_flight: new
                .levels(("inference_requests_in_flight", "Inferences begun and not yet answered."), &[])?
                .with_label_values(&[]),
            steps: Arc::new(StepTimes::new(new.durations(
                ("inference_step_duration_seconds", "One step of an answer."),
                &LATENCY_BUCKETS,
                &["step"],
            )?)),
            queued: new
                .gauges(("inference_queue_length", "Requests that wait for a thread of the model."), &["model"])?,
            waited: new.durations(
                ("inference_queue_seconds", "How long a request waited until a thread took it."),
                &LATENCY_BUCKETS,
                &["model"],
            )?,
            batches: new.histograms(
                ("inference_batch_rows", "Rows that the model computed at once."),
                &BATCH_BUCKETS,
                &["model"],
            )?,
            connections: new.gauges(
                ("server_connections", "Connections that are open, by listener: rest, grpc, uds, admin."),
                &["listener"],
            )?,
            cut: new
                .counter("server_requests_cut_total", "Inferences that the end of a drain left without an answer.")?,
            handshakes: new.counter(
                "server_tls_handshake_failures_total",
                "Connections that never came to speak TLS: refused, broken off, or too slow.",
            )?,
            upstreams: Upstreams::new(&new)?,
            dependencies: new.gauges(
                ("dependency_up", "1 while a service that this one needs answers its probes."),
                &["dependency"],
            )?,
            spans: new.counters(
                (
                    "otlp_spans_total",
                    "Spans recorded, by outcome: exported, failed, or dropped where the queue was full.",
                ),
                &["outcome"],
            )?,
            registry: registry.clone(),
        })
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

    /// What counts the inferences that are under way.
    #[cfg(test)]
    pub(crate) fn level(&self) -> &Arc<Level> {
        &self.in_flight
    }

    /// Shows a model's own metrics beside these. A family without labels is there at once, one with labels when something is counted.
    ///
    /// # Errors
    /// A name is taken already.
    pub fn register(&self, own: impl Collector + 'static) -> prometheus::Result<()> {
        self.registry.register(Box::new(own))
    }

    /// How many inferences are under way.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// What inferences of this model over this protocol are counted in, resolved once.
    pub(crate) fn of(&self, protocol: &'static str, model: &str) -> Arc<InferenceMetrics> {
        self.known.get(&self.families, &self.in_flight, protocol, model)
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
    #[cfg_attr(not(feature = "otlp"), allow(dead_code))] // tests ask for them all the same
    pub(crate) fn spans(&self) -> Outcomes {
        let [exported, dropped, failed] =
            ["exported", "dropped", "failed"].map(|outcome| self.spans.with_label_values(&[outcome]));
        Outcomes { exported, dropped, failed }
    }

    /// A call to a service behind this one took this long and ended so: `ok`, an error's stable code, `abandoned`, or `circuit_open`.
    pub fn upstream(&self, upstream: &str, outcome: &str, took: Duration) {
        self.upstreams.requests.with_label_values(&[upstream, outcome]).inc();
        self.upstreams.durations.with_label_values(&[upstream, outcome]).observe(took);
    }

    /// What is measured of the queue before this model's threads. `model` is a name that is served here, never one that a caller chose.
    #[must_use]
    pub fn queue(&self, model: &str) -> QueueMetrics {
        QueueMetrics {
            length: self.queued.with_label_values(&[model]),
            waited: self.waited.with_label_values(&[model]),
            rows: self.batches.with_label_values(&[model]),
        }
    }

    /// A connection to this listener is opened; it is closed when the guard is dropped.
    #[must_use]
    pub fn connected(&self, listener: &str) -> Connected {
        let connections = self.connections.with_label_values(&[listener]);
        connections.inc();
        Connected(connections)
    }

    /// So many inferences were cut.
    pub fn cut(&self, requests: u64) {
        self.cut.inc_by(requests);
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self) {
        self.handshakes.inc();
    }

    /// A call to a service behind this one is tried again.
    pub fn retried(&self, upstream: &str, reason: &str) {
        self.upstreams.retries.with_label_values(&[upstream, reason]).inc();
    }

    /// How many circuits to a service behind this one are open: calls fail at once while one is.
    pub(crate) fn circuits(&self, upstream: &str) -> IntGauge {
        self.upstreams.circuits.with_label_values(&[upstream])
    }

    /// A service that this one needs answers its probes, or does not.
    pub fn dependency(&self, dependency: &str, up: bool) {
        self.dependencies.with_label_values(&[dependency]).set(i64::from(up));
    }

    /// Nobody asks it any more.
    pub(crate) fn forget_dependency(&self, dependency: &str) {
        // It is not there where nothing was told of it.
        let _ = self.dependencies.remove_label_values(&[dependency]);
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
    fn new(new: &Registered<'_>) -> prometheus::Result<Self> {
        let kserve = |name, help| new.durations((name, help), &KSERVE_BUCKETS, &["model_name"]);
        Ok(Self {
            requests: new.counts(
                (
                    "inference_requests_total",
                    "Inferences, by outcome: ok, an error's code, or abandoned where the caller left before the answer.",
                ),
                &["protocol", "model", "code"],
            )?,
            durations: new.durations(
                ("inference_request_duration_seconds", "From the request's head to its answer."),
                &LATENCY_BUCKETS,
                &["protocol", "model"],
            )?,
            preprocess: kserve(
                "request_preprocess_seconds",
                "From the request's head to where the predictor is asked.",
            )?,
            predict: kserve("request_predict_seconds", "What the predictor took.")?,
            postprocess: kserve("request_postprocess_seconds", "From the predictor's answer to the answer.")?,
            explain: kserve("request_explain_seconds", "What an explanation took.")?,
        })
    }
}

impl Upstreams {
    fn new(new: &Registered<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            requests: new.counters(
                ("upstream_requests_total", "Calls to services behind this one, by outcome."),
                &["upstream", "outcome"],
            )?,
            durations: new.durations(
                (
                    "upstream_request_duration_seconds",
                    "A call to a service behind this one with its retries, by outcome.",
                ),
                &LATENCY_BUCKETS,
                &["upstream", "outcome"],
            )?,
            retries: new.counters(
                ("upstream_retries_total", "Calls that were tried again, by why."),
                &["upstream", "reason"],
            )?,
            circuits: new.gauges(
                ("upstream_circuit_open", "Over 0 while calls fail at once because those before them failed."),
                &["upstream"],
            )?,
        })
    }
}

/// The process's own: name, type, help. The names are those of every Prometheus client.
const PROCESS: [info::Measure; 4] = [
    info::Measure { name: "process_cpu_seconds_total", help: "CPU time of all threads." },
    info::Measure { name: "process_resident_memory_bytes", help: "Memory that is in RAM." },
    info::Measure { name: "process_start_time_seconds", help: "When the process started, as Unix time." },
    info::Measure { name: "process_open_fds", help: "Open file descriptors." },
];

/// A connection that is open.
#[derive(Debug)]
pub struct Connected(IntGauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of one queue.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    length: IntGauge,
    waited: Arc<Durations>,
    rows: Histogram,
}

impl QueueMetrics {
    /// Something waits from now on, until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> Queued {
        self.length.inc();
        Queued { length: self.length.clone(), waited: self.waited.clone(), since: Instant::now() }
    }

    /// So many rows are computed at once.
    #[allow(clippy::cast_precision_loss)] // rows fit into memory, and so into 52 bits
    pub fn batch(&self, rows: usize) {
        self.rows.observe(rows as f64);
    }
}

/// Something that waits in a queue.
#[derive(Debug)]
pub struct Queued {
    length: IntGauge,
    waited: Arc<Durations>,
    since: Instant,
}

impl Queued {
    /// A thread takes it: the one end of a wait that counts into the time waited.
    pub fn taken(self) {
        self.waited.observe(self.since.elapsed());
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.length.dec();
    }
}
