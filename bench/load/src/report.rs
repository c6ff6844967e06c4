//! From what the connections saw to numbers.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;

use crate::{Answer, Failure, Plan};

/// One answer.
struct Request {
    /// Seconds from the end of the warm-up until it was due; closed loop, until it came.
    at: f32,
    micros: f32,
    good: bool,
}

/// What was seen, by one connection or all of them.
pub(crate) struct Seen {
    counts_from: Instant,
    ends: Instant,
    /// Good answers that came between these two, whenever they were due.
    came: usize,
    /// Closed loop: answers that come later don't count. Without seconds there is no such time.
    until: Option<Instant>,
    open: bool,
    refusals: bool,
    requests: Vec<Request>,
    /// Answers by status; 0 of HTTP stands for a connection that broke.
    statuses: BTreeMap<u16, usize>,
    /// How long after they were due tickets were taken, in µs.
    late: Vec<f32>,
    /// Answers that don't count.
    uncounted: usize,
    last: Instant,
    answer: Bytes,
}

/// What is printed. Latencies are of good answers.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Answers that count, good or not.
    pub(crate) requests: usize,
    /// Of them, those that are 200 or OK.
    pub(crate) good: usize,
    /// Good answers a second of the time that counts: by when they came, so that what an overload kept waiting is in it.
    pub(crate) goodput: Option<f64>,
    /// Answers that don't count: of the warm-up, or after the end.
    uncounted: usize,
    /// From the end of the warm-up to the end; open loop, to the last answer.
    seconds: f64,
    #[serde(flatten)]
    pub(crate) latency: Latency,
    statuses: BTreeMap<u16, usize>,
    /// Open loop: how long after they were due requests were sent, where 99 of 100 were sooner.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    windows: Vec<Window>,
}

#[derive(Serialize)]
pub(crate) struct Latency {
    mean_us: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    p90_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
}

#[derive(Serialize)]
struct Window {
    requests: usize,
    errors: usize,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

impl Seen {
    /// Nothing yet.
    pub(crate) fn new(plan: &Plan, begun: Instant) -> Self {
        let counts_from = begun + Duration::from_secs_f64(plan.warmup);
        let (open, timed) = (plan.rate.is_some(), plan.seconds > 0.0);
        Self {
            counts_from,
            ends: counts_from + Duration::from_secs_f64(plan.seconds),
            came: 0,
            until: (timed && !open).then(|| counts_from + Duration::from_secs_f64(plan.seconds)),
            open,
            refusals: plan.refusals,
            requests: Vec::new(),
            statuses: BTreeMap::new(),
            late: Vec::new(),
            uncounted: 0,
            last: counts_from,
            answer: Bytes::new(),
        }
    }

    /// A ticket that was due then is taken now.
    pub(crate) fn late(&mut self, due: Instant) {
        self.late.push(due.elapsed().as_secs_f32() * 1e6);
    }

    /// What a request that was due then was answered, if it was.
    pub(crate) fn take(&mut self, due: Instant, answer: Option<Answer>) -> Result<(), Failure> {
        let now = Instant::now();
        let (status, good, body) = answer.map_or((0, false, Bytes::new()), |a| (a.status, a.good, a.body));
        if !good && !self.refusals {
            return Err(format!("refused with {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        if self.answer.is_empty() && good {
            self.answer = body;
        }
        self.came += usize::from(good && (self.counts_from..self.ends).contains(&now));
        // Where the server sets the pace, what comes within the time is what it can do. Where the clock does, what is due then.
        let counts = if self.open { due } else { now };
        if counts < self.counts_from || self.until.is_some_and(|until| counts >= until) {
            self.uncounted += 1;
            return Ok(());
        }
        self.last = now;
        *self.statuses.entry(status).or_default() += 1;
        let (at, micros) = ((counts - self.counts_from).as_secs_f32(), (now - due).as_secs_f32() * 1e6);
        self.requests.push(Request { at, micros, good });
        Ok(())
    }

    /// Takes in what another one saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.requests.extend(other.requests);
        self.late.extend(other.late);
        self.uncounted += other.uncounted;
        self.came += other.came;
        self.last = self.last.max(other.last);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        if self.answer.is_empty() {
            self.answer = other.answer;
        }
    }

    /// The numbers; the first answer goes to its file.
    pub(crate) fn report(mut self, plan: &Plan) -> Result<Report, Failure> {
        if let Some(file) = &plan.answer {
            fs::write(file, &self.answer)?;
        }
        let windows = plan.windows.map(|seconds| self.windows(plan.seconds, seconds)).unwrap_or_default();
        let latency = Latency::of(self.requests.iter());
        self.late.sort_unstable_by(f32::total_cmp);
        Ok(Report {
            requests: self.requests.len(),
            good: self.requests.iter().filter(|request| request.good).count(),
            goodput: (plan.seconds > 0.0).then(|| self.came as f64 / plan.seconds),
            uncounted: self.uncounted,
            seconds: (self.until.unwrap_or(self.last) - self.counts_from).as_secs_f64(),
            latency,
            statuses: self.statuses,
            late_p99_us: plan.rate.and_then(|_| percentile(&self.late, 990)),
            windows,
        })
    }

    /// The same numbers of each window, by when requests were due.
    fn windows(&self, all: f64, seconds: f64) -> Vec<Window> {
        let bounds = (0_u16..).map(|number| f64::from(number) * seconds).take_while(|start| *start < all);
        let window = |start: f64| {
            let within = |request: &&Request| (start..start + seconds).contains(&f64::from(request.at));
            let requests: Vec<_> = self.requests.iter().filter(within).collect();
            let latency = Latency::of(requests.iter().copied());
            let errors = requests.iter().filter(|request| !request.good).count();
            Window { requests: requests.len(), errors, p50_us: latency.p50_us, p99_us: latency.p99_us }
        };
        bounds.map(window).collect()
    }
}

impl Latency {
    fn of<'a>(requests: impl Iterator<Item = &'a Request>) -> Self {
        let mut micros: Vec<f32> = requests.filter(|request| request.good).map(|request| request.micros).collect();
        micros.sort_unstable_by(f32::total_cmp);
        let sum: f64 = micros.iter().copied().map(f64::from).sum();
        Self {
            mean_us: (!micros.is_empty()).then(|| sum / micros.len() as f64),
            p50_us: percentile(&micros, 500),
            p90_us: percentile(&micros, 900),
            p99_us: percentile(&micros, 990),
            p999_us: percentile(&micros, 999),
            max_us: micros.last().copied().map(f64::from),
        }
    }
}

/// The value that so many of a thousand are below.
fn percentile(sorted: &[f32], permille: usize) -> Option<f64> {
    sorted.get(sorted.len() * permille / 1000).copied().map(f64::from)
}
