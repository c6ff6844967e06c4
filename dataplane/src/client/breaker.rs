//! A service that keeps failing is left alone for a second, so that callers learn it at once and it gets air.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::IntGauge;
use tokio::time::Instant;

use crate::{error::Kind, metrics::Metrics};

/// Failures in a row that open the circuit.
const IN_A_ROW: u32 = 5;
/// Calls of the last [`WINDOW`] seconds of which half must have failed, for it to open with successes between them.
const LEAST: u32 = 20;
/// Seconds that are looked back on.
const WINDOW: u64 = 10;
/// How long it stays open before a call may try: a service that comes back is used within this time.
const PAUSE: Duration = Duration::from_secs(1);
/// A call that had at least this long, or all the time that the upstream may take, and was late all the same was late through the
/// upstream. With less, it may be its caller who was in a hurry, and others are not to suffer for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// A circuit breaker over the calls to one service. Closed: calls pass. Open: they fail at once. Half open: one passes and decides.
///
/// It opens when five calls in a row failed, or half of at least twenty within ten seconds, and lets a call try after a second.
///
/// ```
/// # use dataplane::{Kind, client::Breaker};
/// # use tokio::time::Instant;
/// # async fn ask() -> Result<(), Kind> { Ok(()) }
/// # async fn call(breaker: &Breaker, deadline: Instant) -> Result<(), Kind> {
/// let permit = breaker.admit(deadline).map_err(|_may_be_tried_in| Kind::UpstreamUnavailable)?;
/// let answer = ask().await;
/// match answer {
///     Ok(()) => permit.succeeded(),
///     Err(kind) => permit.failed(kind),
/// }
/// answer
/// # }
/// ```
#[derive(Debug)]
pub struct Breaker {
    upstream: String,
    timeout: Duration,
    patience: Duration,
    /// How many circuits to this upstream are open. While a model is replaced there are two, which know nothing of each other.
    shown: IntGauge,
    circuit: Mutex<Circuit>,
}

#[derive(Debug)]
struct Circuit {
    state: State,
    /// Raised when it opens and when it closes: a call counts for the circuit that let it pass and for no later one.
    epoch: u64,
    in_a_row: u32,
    /// By second, the oldest overwritten.
    window: [Second; WINDOW as usize],
    begun: Instant,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    /// Until then; for this kind of failure.
    Open(Instant, Kind),
    /// One call tries. One that takes longer than this must not keep others from trying.
    HalfOpen(Instant, Kind),
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    calls: u32,
    failed: u32,
}

impl Breaker {
    /// A closed circuit to the upstream of this name, which may take `timeout` for a call. `upstream_circuit_open` shows it.
    #[must_use]
    pub fn new(upstream: &str, timeout: Duration, metrics: &Metrics) -> Self {
        let circuit = Circuit {
            state: State::Closed,
            epoch: 0,
            in_a_row: 0,
            window: [Second::default(); WINDOW as usize],
            begun: Instant::now(),
        };
        let shown = metrics.circuits(upstream);
        Self { upstream: upstream.to_owned(), timeout, patience: PATIENCE, shown, circuit: Mutex::new(circuit) }
    }

    /// The same for an upstream that is not at fault where a call had less than `patience` and less than its timeout: one second unless
    /// this says otherwise.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Lets a call pass whose caller waits until `deadline`.
    ///
    /// # Errors
    /// The circuit is open; in what time a call may be tried again.
    pub fn admit(&self, deadline: Instant) -> Result<Permit<'_>, Duration> {
        let now = Instant::now();
        let mut circuit = self.lock();
        if let State::Open(until, kind) | State::HalfOpen(until, kind) = circuit.state {
            if now < until {
                return Err(until - now);
            }
            circuit.state = State::HalfOpen(now + PAUSE, kind);
        }
        let patient = deadline >= now + self.timeout.min(self.patience);
        let deadline = deadline.min(now + self.timeout);
        Ok(Permit { breaker: self, epoch: circuit.epoch, deadline, patient, settled: false })
    }

    /// A probe of its health went well. Where calls could not reach it, that is all there is to know; where it answered late or with
    /// faults, a call has to show that it does better now, and may do so at once.
    pub fn healthy(&self) {
        let mut circuit = self.lock();
        match circuit.state {
            State::Open(_, Kind::UpstreamUnavailable) | State::HalfOpen(_, Kind::UpstreamUnavailable) => {
                self.close(&mut circuit);
            }
            State::Open(_, kind) => circuit.state = State::Open(Instant::now(), kind),
            State::Closed | State::HalfOpen(..) => {}
        }
    }

    /// A call let through in this epoch ended so. One let through while the circuit is not closed is a probe.
    fn ended(&self, epoch: u64, result: End) {
        let mut circuit = self.lock();
        if circuit.epoch != epoch {
            return;
        }
        let now = Instant::now();
        match (circuit.state, result) {
            (State::Closed, End::Succeeded) => {
                circuit.in_a_row = 0;
                circuit.count(false);
            }
            (State::Closed, End::Failed(kind)) => {
                circuit.in_a_row += 1;
                if circuit.count(true) || circuit.in_a_row >= IN_A_ROW {
                    self.open(&mut circuit, kind);
                }
            }
            (State::Open(..) | State::HalfOpen(..), End::Succeeded) => self.close(&mut circuit),
            (State::HalfOpen(..), End::Failed(kind)) => circuit.state = State::Open(now + PAUSE, kind),
            // Another may try at once.
            (State::HalfOpen(_, kind), End::Unknown) => circuit.state = State::Open(now, kind),
            (State::Closed | State::Open(..), End::Unknown) | (State::Open(..), End::Failed(_)) => {}
        }
    }

    fn open(&self, circuit: &mut Circuit, kind: Kind) {
        circuit.state = State::Open(Instant::now() + PAUSE, kind);
        circuit.epoch += 1;
        self.shown.inc();
        let (upstream, code) = (self.upstream.as_str(), kind.row().code);
        tracing::warn!(upstream, code, "keeps failing: calls to it fail at once until it does better");
    }

    fn close(&self, circuit: &mut Circuit) {
        circuit.state = State::Closed;
        circuit.epoch += 1;
        circuit.in_a_row = 0;
        circuit.window = [Second::default(); WINDOW as usize];
        self.shown.dec();
        tracing::info!(upstream = self.upstream, "answers again");
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Breaker {
    /// One that nobody uses any more is not open for ever.
    fn drop(&mut self) {
        if !matches!(self.lock().state, State::Closed) {
            self.shown.dec();
        }
    }
}

impl Circuit {
    /// Counts a call; whether too many of the last ones failed.
    fn count(&mut self, failed: bool) -> bool {
        // From 1, for 0 is a second in which nothing was counted.
        let now = self.begun.elapsed().as_secs() + 1;
        let Some(second) = self.window.get_mut((now % WINDOW) as usize) else { return false };
        if second.number != now {
            *second = Second { number: now, ..Second::default() };
        }
        second.calls += 1;
        second.failed += u32::from(failed);
        let recent = self.window.iter().filter(|second| second.number + WINDOW > now);
        let (calls, failed) =
            recent.fold((0, 0), |(calls, failed), second| (calls + second.calls, failed + second.failed));
        calls >= LEAST && 2 * failed >= calls
    }
}

/// How a call ended, as far as it says something of the upstream.
#[derive(Clone, Copy, Debug)]
enum End {
    Succeeded,
    Failed(Kind),
    Unknown,
}

/// A call that was let through. One that is dropped because its deadline passed was late; one whose caller left says nothing.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    epoch: u64,
    deadline: Instant,
    /// Whether being late is the upstream's fault.
    patient: bool,
    settled: bool,
}

impl Permit<'_> {
    /// It was answered, be it with a refusal.
    pub fn succeeded(self) {
        self.ended(End::Succeeded);
    }

    /// The upstream is at fault.
    pub fn failed(self, kind: Kind) {
        self.ended(End::Failed(kind));
    }

    /// It says nothing of the upstream.
    pub fn untold(self) {
        self.ended(End::Unknown);
    }

    fn ended(mut self, end: End) {
        self.settled = true;
        self.tell(end);
    }

    fn tell(&self, end: End) {
        let hurried = !self.patient && matches!(end, End::Failed(Kind::UpstreamTimeout));
        self.breaker.ended(self.epoch, if hurried { End::Unknown } else { end });
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let late = Instant::now() >= self.deadline;
        self.tell(if late { End::Failed(Kind::UpstreamTimeout) } else { End::Unknown });
    }
}

#[cfg(test)]
mod tests;
