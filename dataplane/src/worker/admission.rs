//! The way in: a place in the queue or a refusal, the wait for an answer, and the way out for who leaves earlier. Or no way at all: short
//! work is done where it is asked for ([`Entrance::here`]).

use std::{
    fmt, io, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    alive::Alive,
    caught,
    queue::{Fit, Receiver, Refused, Sender, Ticket, queue},
    sync::{Mutex, MutexGuard, lock, mpsc, oneshot, thread, try_lock},
};
use crate::{
    error::{Error, Kind, Result},
    metrics::{QueueMetrics, Queued},
    telemetry::scope::Scope,
};

/// How much work may wait, and where that is measured. A number alone is so many places, unmeasured.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Pieces of work that may wait for a thread; one at least.
    pub places: usize,
    /// What is measured of them, if anything.
    pub metrics: Option<QueueMetrics>,
}

impl From<usize> for Admission {
    fn from(places: usize) -> Self {
        Self { places, metrics: None }
    }
}

/// Work that is expected to take no longer is done on its caller's thread. A hop to another thread and back costs some 20 µs, and on a machine
/// that is idle or virtual several times that; a runtime's thread should not be held for much longer than this.
const SHORT: Duration = Duration::from_millis(1);

/// Starts a thread for each state, which does `serve` until there is no more work to come.
pub(super) fn start<S: Send + 'static, T: Send + 'static>(
    name: &str,
    states: Vec<S>,
    admission: Admission,
    serve: impl Fn(&Mutex<S>, &Turns<T>) + Clone + Send + 'static,
) -> io::Result<Entrance<S, T>> {
    let places = admission.places.max(1);
    let (sender, receiver) = queue(places);
    let pace =
        Arc::new(Pace { threads: states.len().max(1), places, nanos: AtomicU64::new(0), row: AtomicU64::new(0) });
    let states: Vec<_> = states.into_iter().map(|state| SharedState::new(Mutex::new(state))).collect();
    for (number, state) in states.iter().cloned().enumerate() {
        let turns = Turns { queue: receiver.clone(), pace: pace.clone() };
        let (serve, alive) = (serve.clone(), Alive::new());
        thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
            serve(&state, &turns);
            // The last of all: what the thread had is gone.
            drop((serve, turns, state));
            drop(alive);
        })?;
    }
    Ok(Entrance { states, queue: sender, pace, metrics: admission.metrics })
}

/// As [`start`], once `warm_up` has succeeded on each of the threads.
///
/// # Errors
/// A thread can't be started, or its `warm_up` fails ([`Kind::LoadFailed`]); then the others end.
pub(super) fn start_warm<S: Send + 'static, T: Send + 'static>(
    name: &str,
    states: Vec<S>,
    admission: Admission,
    warm_up: impl Fn(&mut S) -> Result<()> + Clone + Send + 'static,
    serve: impl Fn(&Mutex<S>, &Turns<T>) + Clone + Send + 'static,
) -> Result<Entrance<S, T>> {
    let threads = states.len();
    let (warmed, outcomes) = mpsc::channel();
    let entrance = start(name, states, admission, move |state: &Mutex<S>, turns| {
        let outcome = caught(|| warm_up(&mut lock(state))).flatten().map_err(|error| failed_warm_up(&error));
        let is_warm = outcome.is_ok();
        // Where another thread has failed nobody listens any more, and there is no work to come.
        let _ = warmed.send(outcome);
        if is_warm {
            serve(state, turns);
        }
    });
    let entrance = entrance.map_err(|error| Error::internal(format!("a thread can't be started: {error}")))?;
    (0..threads).try_for_each(|_| outcomes.recv().map_err(Error::internal).flatten())?;
    Ok(entrance)
}

/// Who loads it reads as much of it as any caller would; the log has it all.
fn failed_warm_up(error: &Error) -> Error {
    let text = format!("its warm-up failed: {}", error.message());
    Error::new(Kind::LoadFailed, text).with_detail(format_args!("its warm-up failed: {error}"))
}

/// A thread's state, which a caller may use for as long as the thread does not.
type SharedState<S> = Arc<Mutex<S>>;

/// The callers' side.
pub(super) struct Entrance<S, T> {
    /// Before the queue, with whose end the threads end: they are to be the last that have them.
    states: Vec<SharedState<S>>,
    queue: Sender<Entry<T>>,
    pace: Arc<Pace>,
    metrics: Option<QueueMetrics>,
}

impl<S, T> fmt::Debug for Entrance<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrance").field("pace", &self.pace).finish_non_exhaustive()
    }
}

struct Entry<T> {
    work: T,
    queued: Option<Queued>,
}

impl<T> Entry<T> {
    fn taken(self) -> T {
        self.queued.into_iter().for_each(Queued::taken);
        self.work
    }
}

impl<S, T> Entrance<S, T> {
    /// A state for work on so many `rows` that is done at once, on the caller's thread. Nothing where such work is not short, somebody waits
    /// for a turn, or every state is in use.
    pub(super) fn here(&self, rows: usize) -> Option<Here<'_, S>> {
        if !self.pace.is_short(rows) || !self.queue.is_empty() {
            return None;
        }
        let state = self.states.iter().find_map(|state| try_lock(state))?;
        self.metrics.as_ref().map(QueueMetrics::enter).into_iter().for_each(Queued::taken);
        Some(Here { state, pace: &self.pace, rows })
    }

    /// Queues the work that answers here, and waits for the answer. Dropped before, the work gives up its place at once.
    ///
    /// # Errors
    /// There is no place ([`Kind::Overloaded`], at once), or what the work answers.
    pub(super) async fn ask<R>(&self, work: impl FnOnce(Reply<R>) -> T) -> Result<R> {
        let (sender, answer) = oneshot::channel();
        // What a model logs on its thread belongs to the request too.
        let work = work(Reply { sender, scope: Scope::current() });
        let queued = self.metrics.as_ref().map(QueueMetrics::enter);
        let ticket = self.queue.try_push(Entry { work, queued }).map_err(|refused| self.refusal(refused))?;
        let place = Place { queue: &self.queue, ticket };
        let answer = answer.await;
        // A thread has taken the work, so there is no place to give up.
        mem::forget(place);
        answer.unwrap_or_else(|_| Err(Error::internal("a worker thread ended without an answer")))
    }

    /// Work of one row has been short of late.
    #[cfg(all(test, hemline_loom))]
    pub(super) fn is_short(&self) {
        self.pace.record(Duration::from_micros(1), 1, 1);
    }

    fn refusal(&self, refused: Refused) -> Error {
        match refused {
            Refused::Full => {
                Error::new(Kind::Overloaded, "the queue is full").with_retry_after(self.pace.until_served())
            }
            Refused::Closed => Error::internal("every worker thread has ended"),
        }
    }
}

/// A state that a caller has for one piece of work.
pub(super) struct Here<'a, S> {
    state: MutexGuard<'a, S>,
    pace: &'a Pace,
    rows: usize,
}

impl<S> Here<'_, S> {
    /// Does it.
    ///
    /// # Errors
    /// `work` panicked.
    pub(super) fn run<R>(mut self, work: impl FnOnce(&mut S) -> R) -> Result<R> {
        let began = Instant::now();
        let result = caught(|| work(&mut self.state));
        self.pace.record(began.elapsed(), 1, self.rows);
        result
    }
}

/// A place in the queue, until it is dropped.
struct Place<'a, T> {
    queue: &'a Sender<T>,
    ticket: Ticket,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        drop(self.queue.withdraw(self.ticket));
    }
}

/// Where an answer goes.
pub(super) struct Reply<R> {
    sender: oneshot::Sender<Result<R>>,
    /// The caller's.
    pub(super) scope: Scope,
}

impl<R> Reply<R> {
    /// Whether anybody waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Answers. The caller may have left meanwhile; then nobody wants the answer.
    pub(super) fn send(self, answer: Result<R>) {
        let _ = self.sender.send(answer);
    }
}

/// The threads' side.
pub(super) struct Turns<T> {
    queue: Receiver<Entry<T>>,
    pace: Arc<Pace>,
}

impl<T> Turns<T> {
    /// The next piece of work; nothing when there is none to come.
    pub(super) fn next(&self) -> Option<T> {
        self.queue.pop().map(Entry::taken)
    }

    /// What follows, as far as it fits, waiting for it at most until then.
    pub(super) fn gather(&self, until: Instant, mut fit: impl FnMut(&T) -> Fit) -> Vec<T> {
        self.queue.gather(until, |entry| fit(&entry.work)).into_iter().map(Entry::taken).collect()
    }

    /// So many pieces of work, on so many rows in all, were done in this time on one thread.
    pub(super) fn done(&self, took: Duration, pieces: usize, rows: usize) {
        self.pace.record(took, pieces, rows);
    }
}

/// How long work takes, so that a refusal can say when to come again, and that what is short need not wait for a thread.
#[derive(Debug, Default)]
struct Pace {
    threads: usize,
    places: usize,
    /// For one piece of work; a moving average over the last dozen or so. 0 until there was any.
    nanos: AtomicU64,
    /// For one row of it.
    row: AtomicU64,
}

impl Pace {
    fn record(&self, took: Duration, pieces: usize, rows: usize) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        for (average, count) in [(&self.nanos, pieces), (&self.row, rows)] {
            let each = (took / (count as u64).max(1)).max(1);
            let before = average.load(Ordering::Relaxed);
            let now = if before == 0 { each } else { before - before / 8 + each / 8 };
            // Two threads at once may lose one of their two times; the next makes up for it.
            average.store(now, Ordering::Relaxed);
        }
    }

    /// Whether work on so many rows is short, as far as is known.
    fn is_short(&self, rows: usize) -> bool {
        let row = self.row.load(Ordering::Relaxed);
        row > 0 && Duration::from_nanos(row.saturating_mul(rows as u64)) <= SHORT
    }

    /// How long all that waits in a full queue takes: a second at least, as a Retry-After has no smaller one, and half a minute at most.
    fn until_served(&self) -> Duration {
        let all = self.nanos.load(Ordering::Relaxed).saturating_mul(self.places as u64);
        Duration::from_nanos(all / self.threads as u64).clamp(Duration::from_secs(1), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn work_is_short_by_its_rows_once_there_was_any() {
        let pace = Pace { threads: 1, places: 1, ..Pace::default() };
        assert!(!pace.is_short(1));
        pace.record(Duration::from_micros(100), 1, 100);
        assert!(pace.is_short(100) && pace.is_short(1_000) && !pace.is_short(1_001));
    }

    #[test]
    fn a_refusal_says_how_long_a_full_queue_takes_within_bounds() {
        let until_served = |threads, places, millis, pieces| {
            let pace = Pace { threads, places, ..Pace::default() };
            pace.record(Duration::from_millis(millis), pieces, pieces);
            pace.until_served().as_secs_f64()
        };
        assert_eq!(until_served(2, 100, 100, 1), 5.0);
        assert_eq!(until_served(2, 100, 400, 4), 5.0);
        assert_eq!(until_served(2, 100, 1, 1), 1.0);
        assert_eq!(until_served(1, 1_000_000, 60_000, 1), 30.0);
    }

    #[test]
    fn the_pace_follows_what_was_done_of_late() {
        let pace = Pace { threads: 1, places: 1, ..Pace::default() };
        assert_eq!(pace.until_served(), Duration::from_secs(1));
        pace.record(Duration::from_secs(2), 1, 1);
        for _ in 0..64 {
            pace.record(Duration::from_secs(10), 1, 1);
        }
        let seconds = pace.until_served().as_secs_f64();
        assert!((9.9..=10.0).contains(&seconds), "{seconds}");
    }
}
