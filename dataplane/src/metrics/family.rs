//! Families of what is counted for every request: a [`Count`], a [`Level`], [`Durations`], by the values of their labels.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::striped::Striped;

/// What one series is.
pub(super) trait Value: Send + Sync + 'static {
    const TYPE: MetricType;

    /// One that has counted nothing. `bounds` are those of its buckets, in seconds.
    fn new(bounds: &'static [f64]) -> Self;

    /// What it has counted by now.
    fn told(&self) -> Metric;
}

/// Series of one name. Clones are the same family.
pub(super) struct Family<V>(Arc<Inner<V>>);

struct Inner<V> {
    desc: Desc,
    bounds: &'static [f64],
    series: RwLock<Vec<Series<V>>>,
}

/// A series with the values of its labels, in the order of their names.
struct Series<V> {
    labels: Vec<String>,
    value: Arc<V>,
}

impl<V> Clone for Family<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> fmt::Debug for Family<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.0.desc.fq_name).finish()
    }
}

impl<V: Value> Family<V> {
    /// A family without a series.
    ///
    /// # Errors
    /// A name is not well formed.
    pub(super) fn new((name, help): (&str, &str), bounds: &'static [f64], labels: &[&str]) -> prometheus::Result<Self> {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(Self(Arc::new(Inner { desc, bounds, series: RwLock::default() })))
    }

    /// The series of these values, in the order of the labels' names. To be kept by who counts often: it is searched for.
    pub(super) fn with_label_values(&self, values: &[&str]) -> Arc<V> {
        let find =
            |all: &[Series<V>]| all.iter().find(|series| series.labels == values).map(|series| series.value.clone());
        if let Some(known) = find(&self.0.series.read().unwrap_or_else(PoisonError::into_inner)) {
            return known;
        }
        let mut all = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
        find(&all).unwrap_or_else(|| {
            let value = Arc::new(V::new(self.0.bounds));
            let labels = values.iter().map(|&value| value.to_owned()).collect();
            all.push(Series { labels, value: value.clone() });
            value
        })
    }

    fn labels(&self, series: &Series<V>) -> Vec<LabelPair> {
        let pair = |(name, value): (&String, &String)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.clone());
            pair
        };
        let mut pairs: Vec<_> = self.0.desc.variable_labels.iter().zip(&series.labels).map(pair).collect();
        pairs.sort_by(|one, other| one.name().cmp(other.name()));
        pairs
    }
}

impl<V: Value> Collector for Family<V> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        let told = all.iter().map(|series| {
            let mut metric = series.value.told();
            metric.set_label(self.labels(series));
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(V::TYPE);
        family.set_metric(told.collect());
        vec![family]
    }
}

/// How often something happened.
#[derive(Debug, Default)]
pub(super) struct Count(Striped<AtomicU64>);

impl Count {
    pub(super) fn inc(&self) {
        self.0.mine().fetch_add(1, Relaxed);
    }
}

impl Value for Count {
    const TYPE: MetricType = MetricType::COUNTER;

    fn new(_: &'static [f64]) -> Self {
        Self::default()
    }

    #[allow(clippy::cast_precision_loss)] // as everywhere in Prometheus
    fn told(&self) -> Metric {
        let (mut metric, mut counter) = (Metric::default(), Counter::default());
        counter.set_value(self.0.iter().map(|stripe| stripe.load(Relaxed)).sum::<u64>() as f64);
        metric.set_counter(counter);
        metric
    }
}

/// How much of something is there. What begins on one thread may end on another: only their sum says something.
#[derive(Debug, Default)]
pub(crate) struct Level(Striped<AtomicI64>);

impl Level {
    pub(crate) fn inc(&self) {
        self.0.mine().fetch_add(1, Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.0.mine().fetch_sub(1, Relaxed);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.iter().map(|stripe| stripe.load(Relaxed)).sum()
    }
}

impl Value for Level {
    const TYPE: MetricType = MetricType::GAUGE;

    fn new(_: &'static [f64]) -> Self {
        Self::default()
    }

    #[allow(clippy::cast_precision_loss)] // as everywhere in Prometheus
    fn told(&self) -> Metric {
        let mut gauge = Gauge::default();
        gauge.set_value(self.get() as f64);
        Metric::from_gauge(gauge)
    }
}

/// The most buckets that have a bound.
const BUCKETS: usize = 18;

/// A histogram of how long something took.
#[derive(Debug)]
pub(super) struct Durations {
    /// In seconds, as they are told, and in nanoseconds, as they are compared.
    bounds: &'static [f64],
    nanos: Vec<u64>,
    stripes: Striped<Counts>,
}

/// How many fell into each bucket, those past the last bound behind them, and all of them together.
#[derive(Debug, Default)]
struct Counts {
    nanos: AtomicU64,
    past: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Durations {
    pub(super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let counts = self.stripes.mine();
        let bucket = self.nanos.iter().position(|&bound| nanos <= bound);
        bucket.and_then(|bucket| counts.buckets.get(bucket)).unwrap_or(&counts.past).fetch_add(1, Relaxed);
        counts.nanos.fetch_add(nanos, Relaxed);
    }
}

impl Value for Durations {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounds are seconds, and not many
    fn new(bounds: &'static [f64]) -> Self {
        let nanos = bounds.iter().map(|seconds| (seconds * 1e9).round() as u64).collect();
        Self { bounds, nanos, stripes: Striped::default() }
    }

    fn told(&self) -> Metric {
        let sum = |of: &dyn Fn(&Counts) -> &AtomicU64| self.stripes.iter().map(|counts| of(counts).load(Relaxed)).sum();
        let (mut buckets, mut count) = (Vec::with_capacity(self.bounds.len()), 0);
        for (place, &bound) in self.bounds.iter().enumerate().take(BUCKETS) {
            let here: u64 = sum(&|counts| &counts.buckets[place]);
            count += here;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let past: u64 = sum(&|counts| &counts.past);
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count + past);
        histogram.set_sample_sum(Duration::from_nanos(sum(&|counts| &counts.nanos)).as_secs_f64());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        metric
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use prometheus::{Registry, TextEncoder};

    use super::{Count, Durations, Family, Level, Value};

    const BOUNDS: [f64; 2] = [0.001, 0.01];

    fn text<V: Value>(family: &Family<V>) -> String {
        let registry = Registry::new();
        registry.register(Box::new(family.clone())).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn what_all_threads_counted_is_told_together() {
        let family = Family::<Count>::new(("asked_total", "Asked."), &[], &["z", "a"]).unwrap();
        let count = || (0..1000).for_each(|_| family.with_label_values(&["last", "first"]).inc());
        thread::scope(|scope| (0..20).for_each(|_| drop(scope.spawn(count))));
        let told = "# HELP asked_total Asked.\n# TYPE asked_total counter\nasked_total{a=\"first\",z=\"last\"} 20000\n";
        assert_eq!(text(&family), told);
    }

    #[test]
    fn what_begins_here_may_end_elsewhere() {
        let family = Family::<Level>::new(("open", "Open."), &[], &[]).unwrap();
        let level = family.with_label_values(&[]);
        level.inc();
        level.inc();
        thread::scope(|scope| drop(scope.spawn(|| level.dec())));
        assert_eq!(level.get(), 1);
        assert!(text(&family).ends_with("open 1\n"));
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let family = Family::<Durations>::new(("took_seconds", "Took."), &BOUNDS, &["of"]).unwrap();
        let series = family.with_label_values(&["me"]);
        for micros in [0, 1000, 1001, 10_000, 10_001, 20_000_000] {
            series.observe(Duration::from_micros(micros));
        }
        let told = text(&family);
        for line in [
            "took_seconds_bucket{of=\"me\",le=\"0.001\"} 2",
            "took_seconds_bucket{of=\"me\",le=\"0.01\"} 4",
            "took_seconds_bucket{of=\"me\",le=\"+Inf\"} 6",
            "took_seconds_sum{of=\"me\"} 20.022002",
            "took_seconds_count{of=\"me\"} 6",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }
}
