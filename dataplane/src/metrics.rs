//! Every metric's name, once. Classic Prometheus text 0.0.4, which KServe's aggregator reads.

use std::time::{Duration, Instant};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Seconds. A ranker answers in 200 µs and a deadline is seconds away: four buckets a decade between the two.
const LATENCY_BUCKETS: [f64; 18] = [
    0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0,
    30.0,
];

/// Rows.
const BATCH_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The metrics of one server.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    steps: HistogramVec,
    upstream: IntCounterVec,
    queued: IntGaugeVec,
    waited: HistogramVec,
    batches: HistogramVec,
    connections: IntGaugeVec,
    cut: IntCounter,
    handshakes: IntCounter,
    retries: IntCounterVec,
    circuits: IntGaugeVec,
    dependencies: IntGaugeVec,
}

impl Metrics {
    /// Registers them all.
    ///
    /// # Errors
    /// Never with the names below; they differ and are well formed.
    pub fn new() -> prometheus::Result<Self> {
        let latency = |name, help| HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        let metrics = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(
                Opts::new(
                    "inference_requests_total",
                    "Inferences, by outcome: ok, an error's code, or abandoned where the caller left before the answer.",
                ),
                &["protocol", "model", "code"],
            )?,
            durations: HistogramVec::new(
                latency("inference_request_duration_seconds", "From the request's head to its answer."),
                &["protocol", "model"],
            )?,
            in_flight: IntGauge::new("inference_requests_in_flight", "Inferences begun and not yet answered.")?,
            steps: HistogramVec::new(latency("inference_step_duration_seconds", "One step of an answer."), &["step"])?,
            upstream: IntCounterVec::new(
                Opts::new("upstream_requests_total", "Calls to services behind this one, by outcome."),
                &["upstream", "outcome"],
            )?,
            queued: IntGaugeVec::new(
                Opts::new("inference_queue_length", "Requests that wait for a thread of the model."),
                &["model"],
            )?,
            waited: HistogramVec::new(
                latency("inference_queue_seconds", "How long a request waited until a thread took it."),
                &["model"],
            )?,
            batches: HistogramVec::new(
                HistogramOpts::new("inference_batch_rows", "Rows that the model computed at once.")
                    .buckets(BATCH_BUCKETS.to_vec()),
                &["model"],
            )?,
            connections: IntGaugeVec::new(
                Opts::new("server_connections", "Connections that are open, by listener: rest, grpc, uds, admin."),
                &["listener"],
            )?,
            cut: IntCounter::new(
                "server_requests_cut_total",
                "Inferences that the end of a drain left without an answer.",
            )?,
            handshakes: IntCounter::new(
                "server_tls_handshake_failures_total",
                "Connections that never came to speak TLS: refused, broken off, or too slow.",
            )?,
            retries: IntCounterVec::new(
                Opts::new("upstream_retries_total", "Calls that were tried again, by why."),
                &["upstream", "reason"],
            )?,
            circuits: IntGaugeVec::new(
                Opts::new("upstream_circuit_open", "1 while calls fail at once because those before them failed."),
                &["upstream"],
            )?,
            dependencies: IntGaugeVec::new(
                Opts::new("dependency_up", "1 while a service that this one needs answers its probes."),
                &["dependency"],
            )?,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.durations.clone()))?;
        metrics.registry.register(Box::new(metrics.in_flight.clone()))?;
        metrics.registry.register(Box::new(metrics.steps.clone()))?;
        metrics.registry.register(Box::new(metrics.upstream.clone()))?;
        metrics.registry.register(Box::new(metrics.queued.clone()))?;
        metrics.registry.register(Box::new(metrics.waited.clone()))?;
        metrics.registry.register(Box::new(metrics.batches.clone()))?;
        metrics.registry.register(Box::new(metrics.connections.clone()))?;
        metrics.registry.register(Box::new(metrics.cut.clone()))?;
        metrics.registry.register(Box::new(metrics.handshakes.clone()))?;
        metrics.registry.register(Box::new(metrics.retries.clone()))?;
        metrics.registry.register(Box::new(metrics.circuits.clone()))?;
        metrics.registry.register(Box::new(metrics.dependencies.clone()))?;
        Ok(metrics)
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

    /// A request ended so: `ok`, an error's stable code, or `abandoned`.
    pub fn answered(&self, protocol: &str, model: &str, code: &str, took: Duration) {
        self.requests.with_label_values(&[protocol, model, code]).inc();
        self.durations.with_label_values(&[protocol, model]).observe(took.as_secs_f64());
    }

    /// A step of an answer took this long.
    pub fn step(&self, step: &str, took: Duration) {
        self.steps.with_label_values(&[step]).observe(took.as_secs_f64());
    }

    /// A call to a service behind this one ended so: `ok`, an error's stable code, `abandoned`, or `circuit_open`.
    pub fn upstream(&self, upstream: &str, outcome: &str) {
        self.upstream.with_label_values(&[upstream, outcome]).inc();
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
    pub fn connected(&self, listener: &str) -> InFlight {
        let connections = self.connections.with_label_values(&[listener]);
        connections.inc();
        InFlight(connections)
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
        self.retries.with_label_values(&[upstream, reason]).inc();
    }

    /// Calls to a service behind this one fail at once from now on, or go through again.
    pub fn circuit(&self, upstream: &str, open: bool) {
        self.circuits.with_label_values(&[upstream]).set(i64::from(open));
    }

    /// A service that this one needs answers its probes, or does not.
    pub fn dependency(&self, dependency: &str, up: bool) {
        self.dependencies.with_label_values(&[dependency]).set(i64::from(up));
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

/// A request in flight, or a connection that is open.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of one queue.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    length: IntGauge,
    waited: Histogram,
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
    waited: Histogram,
    since: Instant,
}

impl Queued {
    /// A thread takes it: the one end of a wait that counts into the time waited.
    pub fn taken(self) {
        self.waited.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.length.dec();
    }
}
