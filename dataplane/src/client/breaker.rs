//! A predictor that keeps failing is left alone for a second, so that callers learn it at once and it gets air.

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
/// How long it stays open before a call may try: a predictor that comes back is used within this time.
const PAUSE: Duration = Duration::from_secs(1);
/// A call that had at least this long, or all the time that the upstream may take, and was late all the same was late through the
/// upstream. With less, it may be its caller who was in a hurry, and others are not to suffer for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Closed: calls pass. Open: they fail at once. Half open: one passes and decides.
#[derive(Debug)]
pub(super) struct Breaker {
    upstream: String,
    timeout: Duration,
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
    /// A closed circuit to the upstream of this name, which may take `timeout` for a call.
    pub(super) fn new(upstream: &str, timeout: Duration, metrics: &Metrics) -> Self {
        let circuit = Circuit {
            state: State::Closed,
            epoch: 0,
            in_a_row: 0,
            window: [Second::default(); WINDOW as usize],
            begun: Instant::now(),
        };
        let shown = metrics.circuits(upstream);
        Self { upstream: upstream.to_owned(), timeout, shown, circuit: Mutex::new(circuit) }
    }

    /// Lets a call pass whose caller waits until `deadline`, or says in what time it may be tried again.
    pub(super) fn admit(&self, deadline: Instant) -> Result<Permit<'_>, Duration> {
        let now = Instant::now();
        let mut circuit = self.lock();
        if let State::Open(until, kind) | State::HalfOpen(until, kind) = circuit.state {
            if now < until {
                return Err(until - now);
            }
            circuit.state = State::HalfOpen(now + PAUSE, kind);
        }
        let patient = deadline >= now + self.timeout.min(PATIENCE);
        let deadline = deadline.min(now + self.timeout);
        Ok(Permit { breaker: self, epoch: circuit.epoch, deadline, patient, settled: false })
    }

    /// A probe of its health went well. Where calls could not reach it, that is all there is to know; where it answered late or with
    /// faults, a call has to show that it does better now, and may do so at once.
    pub(super) fn healthy(&self) {
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
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    epoch: u64,
    deadline: Instant,
    /// Whether being late is the upstream's fault.
    patient: bool,
    settled: bool,
}

impl Permit<'_> {
    /// It was answered, be it with a refusal.
    pub(super) fn succeeded(self) {
        self.ended(End::Succeeded);
    }

    /// The upstream is at fault.
    pub(super) fn failed(self, kind: Kind) {
        self.ended(End::Failed(kind));
    }

    /// It says nothing of the upstream.
    pub(super) fn untold(self) {
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
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{Breaker, IN_A_ROW, LEAST, PATIENCE, PAUSE, Permit};
    use crate::{error::Kind, metrics::Metrics};

    const TIMEOUT: Duration = Duration::from_secs(8);

    fn breaker() -> (Breaker, Metrics) {
        let metrics = Metrics::new().unwrap();
        (Breaker::new("r", TIMEOUT, &metrics), metrics)
    }

    fn admit(breaker: &Breaker) -> Result<Permit<'_>, Duration> {
        breaker.admit(Instant::now() + 2 * TIMEOUT)
    }

    fn open(breaker: &Breaker, kind: Kind) {
        (0..IN_A_ROW).for_each(|_| admit(breaker).unwrap().failed(kind));
        assert!(admit(breaker).is_err());
    }

    fn shown(metrics: &Metrics) -> bool {
        String::from_utf8(metrics.text()).unwrap().contains("upstream_circuit_open{upstream=\"r\"} 1")
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_the_next_calls_learn_how_long() {
        let (breaker, metrics) = breaker();
        for _ in 1..IN_A_ROW {
            admit(&breaker).unwrap().failed(Kind::UpstreamTimeout);
        }
        admit(&breaker).unwrap().succeeded();
        assert!(!shown(&metrics), "a success between them begins the row anew");
        open(&breaker, Kind::UpstreamTimeout);
        assert!(shown(&metrics));
        advance(Duration::from_millis(400)).await;
        assert_eq!(admit(&breaker).unwrap_err(), Duration::from_millis(600));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_calls_failing_opens_it_too_but_not_failures_of_long_ago() {
        let (breaker, _) = breaker();
        for _ in 0..LEAST / 2 - 1 {
            admit(&breaker).unwrap().failed(Kind::UpstreamInvalid);
            admit(&breaker).unwrap().succeeded();
        }
        advance(Duration::from_secs(11)).await;
        admit(&breaker).unwrap().succeeded();
        admit(&breaker).unwrap().failed(Kind::UpstreamInvalid);
        assert!(admit(&breaker).is_ok(), "those before are forgotten");
        for _ in 0..LEAST / 2 - 1 {
            admit(&breaker).unwrap().succeeded();
            admit(&breaker).unwrap().failed(Kind::UpstreamInvalid);
        }
        assert!(admit(&breaker).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_pause_one_call_tries_and_decides() {
        let (breaker, metrics) = breaker();
        open(&breaker, Kind::UpstreamTimeout);
        advance(PAUSE).await;
        let probe = admit(&breaker).unwrap();
        assert!(admit(&breaker).is_err(), "only one");
        probe.failed(Kind::UpstreamTimeout);
        assert_eq!(admit(&breaker).unwrap_err(), PAUSE);
        advance(PAUSE).await;
        admit(&breaker).unwrap().succeeded();
        assert!(admit(&breaker).is_ok() && admit(&breaker).is_ok() && !shown(&metrics));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_or_whose_caller_leaves_does_not_keep_others_from_trying() {
        let (breaker, _) = breaker();
        open(&breaker, Kind::UpstreamTimeout);
        advance(PAUSE).await;
        drop(admit(&breaker).unwrap());
        let hangs = admit(&breaker).unwrap();
        advance(PAUSE).await;
        let another = admit(&breaker).unwrap();
        assert!(admit(&breaker).is_err());
        another.succeeded();
        assert!(admit(&breaker).is_ok());
        drop(hangs);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_their_deadline_ends_are_failures_and_those_whose_caller_leaves_are_not() {
        let (breaker, _) = breaker();
        (0..IN_A_ROW).for_each(|_| drop(admit(&breaker)));
        assert!(admit(&breaker).is_ok());
        let calls: Vec<_> = (0..IN_A_ROW).map(|_| admit(&breaker)).collect();
        advance(TIMEOUT).await;
        drop(calls);
        assert!(admit(&breaker).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_in_a_hurry_says_nothing_of_the_upstream() {
        const INSTANT: Duration = Duration::from_millis(1);
        for (timeout, wait, opens) in [
            (TIMEOUT, PATIENCE - INSTANT, false),
            (TIMEOUT, PATIENCE, true),
            (30 * INSTANT, 29 * INSTANT, false),
            (30 * INSTANT, 30 * INSTANT, true),
        ] {
            for told in [true, false] {
                let breaker = Breaker::new("r", timeout, &Metrics::new().unwrap());
                let calls: Vec<_> = (0..LEAST).map(|_| breaker.admit(Instant::now() + wait).unwrap()).collect();
                advance(wait).await;
                for call in calls {
                    if told { call.failed(Kind::UpstreamTimeout) } else { drop(call) }
                }
                assert_eq!(admit(&breaker).is_err(), opens, "{wait:?} of {timeout:?}");
            }
        }
        let (breaker, _) = breaker();
        open(&breaker, Kind::UpstreamTimeout);
        advance(PAUSE).await;
        let hurried = breaker.admit(Instant::now() + INSTANT).unwrap();
        advance(INSTANT).await;
        hurried.failed(Kind::UpstreamTimeout);
        assert!(admit(&breaker).is_ok(), "another may try at once");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_it_opened_say_nothing_after_it_closed() {
        let (breaker, metrics) = breaker();
        let mut late: Vec<_> = (0..2 * IN_A_ROW).map(|_| admit(&breaker).unwrap()).collect();
        open(&breaker, Kind::UpstreamTimeout);
        advance(PAUSE).await;
        let probe = admit(&breaker).unwrap();
        late.pop().unwrap().succeeded();
        assert!(admit(&breaker).is_err(), "only the probe decides");
        probe.succeeded();
        late.into_iter().for_each(|call| call.failed(Kind::UpstreamTimeout));
        assert!(admit(&breaker).is_ok() && !shown(&metrics));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_the_place_of_another_hides_nothing_of_it_and_leaves_nothing_behind() {
        let (old, metrics) = breaker();
        open(&old, Kind::UpstreamTimeout);
        let new = Breaker::new("r", TIMEOUT, &metrics);
        assert!(shown(&metrics), "the old one still answers");
        drop(old);
        assert!(!shown(&metrics));
        open(&new, Kind::UpstreamTimeout);
        advance(PAUSE).await;
        drop(admit(&new));
        assert!(shown(&metrics), "half open is not closed");
        drop(new);
        assert!(!shown(&metrics));
    }

    #[tokio::test(start_paused = true)]
    async fn health_closes_it_after_a_time_away_and_lets_one_try_after_faults() {
        let (breaker, metrics) = breaker();
        open(&breaker, Kind::UpstreamUnavailable);
        breaker.healthy();
        assert!(admit(&breaker).is_ok() && !shown(&metrics));
        open(&breaker, Kind::UpstreamInvalid);
        breaker.healthy();
        let probe = admit(&breaker).unwrap();
        assert!(admit(&breaker).is_err() && shown(&metrics));
        probe.failed(Kind::UpstreamInvalid);
        assert!(admit(&breaker).is_err());
    }
}
