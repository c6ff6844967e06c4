//! Connections of HTTP/2 to a predictor: each for many requests at a time, several of them, kept for a while and no longer.
//!
//! As in [`super::pool`], a connection goes to one pod for all its life; the one that HTTP/2 could do with would leave all other pods idle.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future};
use hyper::{body::Body, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::{
    dial::Dialer,
    failure::Failure,
    heard::Heard,
    pool::{GRACE, retirement},
};

/// How many connections share the requests.
const SHARED: usize = 4;
/// Time between two questions whether the other side is still there, and for the answer. Only asked while a request waits: gRPC's C core,
/// on which Python's servers and Triton stand, hangs up on who asks oftener than every two hours without one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A connection over which nothing came for this long while a request waited is not used for others: a machine that vanished says
/// nothing, and each of them would wait for all its time.
const SILENCE: Duration = Duration::from_millis(500);

/// Connections of HTTP/2. One that is retired ends when its last request has.
pub(super) struct Shared<B> {
    dialer: Arc<Dialer>,
    age: Duration,
    slots: [Arc<Mutex<Slot<B>>>; SHARED],
    next: AtomicUsize,
}

struct Slot<B> {
    connection: Option<Connection<B>>,
    dial: Option<Dial<B>>,
}

impl<B> Default for Slot<B> {
    fn default() -> Self {
        Self { connection: None, dial: None }
    }
}

struct Connection<B> {
    line: Line<B>,
    retires: Instant,
}

/// A connection, for one request more. Clones are the same connection.
pub(super) struct Line<B> {
    pub(super) sender: http2::SendRequest<B>,
    heard: Heard,
}

impl<B> Clone for Line<B> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), heard: self.heard.clone() }
    }
}

/// A connection, and whether it was used before.
type Dialed<B> = Result<(Line<B>, bool), Failure>;
/// A connection that is being made, for all who wait for it. It is made to the end also where they all have left.
type Dial<B> = future::Shared<Pin<Box<dyn Future<Output = Dialed<B>> + Send>>>;

impl<B> Shared<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// No connections yet; they are retired at `age`.
    pub(super) fn new(dialer: Dialer, age: Duration) -> Self {
        Self { dialer: Arc::new(dialer), age, slots: Default::default(), next: AtomicUsize::new(0) }
    }

    /// The next connection in turn, and whether it was used before.
    pub(super) async fn connection(&self) -> Dialed<B> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % SHARED;
        let dial = {
            let mut slot = lock(&self.slots[number]);
            let young = slot.connection.as_ref().filter(|connection| Instant::now() < connection.retires);
            if let Some(connection) = young.filter(|connection| !connection.line.sender.is_closed()) {
                return Ok((connection.line.clone(), true));
            }
            // One that is over and still here was cut off with the runtime that it ran on.
            slot.dial.take_if(|dial| dial.peek().is_some());
            slot.dial.get_or_insert_with(|| self.dial(self.slots[number].clone())).clone()
        };
        dial.await
    }

    /// Begins to make the connection of a slot.
    fn dial(&self, slot: Arc<Mutex<Slot<B>>>) -> Dial<B> {
        let (dialer, age) = (self.dialer.clone(), self.age);
        let task = tokio::spawn(async move {
            let made = connect(&dialer).await;
            lock(&slot).dialed(made, age)
        });
        task.map(|ended| ended.unwrap_or_else(|error| Err(Failure::connect(&error)))).boxed().shared()
    }
}

impl<B> Shared<B> {
    /// A request is sent over this connection; it is over when the guard is dropped, answered or not.
    pub(super) fn waiting<'a>(&'a self, line: &'a Line<B>) -> Waiting<'a, B> {
        Waiting { connections: self, line, before: line.heard.bytes(), since: Instant::now() }
    }

    /// Takes a connection out of use. Requests under way on it are left to it.
    fn give_up(&self, line: &Line<B>) {
        for slot in &self.slots {
            lock(slot).connection.take_if(|connection| connection.line.heard.is(&line.heard));
        }
    }
}

/// A request that waits. Where it ends with nothing having come over its connection for as long as [`SILENCE`], be it for this request
/// or another, the connection is given up.
pub(super) struct Waiting<'a, B> {
    connections: &'a Shared<B>,
    line: &'a Line<B>,
    before: u64,
    since: Instant,
}

impl<B> Drop for Waiting<'_, B> {
    fn drop(&mut self) {
        if self.line.heard.bytes() == self.before && self.since.elapsed() >= SILENCE {
            self.connections.give_up(self.line);
        }
    }
}

impl<B> Slot<B> {
    /// A connection was made, or not. Then the one before is used a little longer if it is still open.
    fn dialed(&mut self, made: Result<Line<B>, Failure>, age: Duration) -> Dialed<B> {
        self.dial = None;
        let before = self.connection.take().filter(|connection| !connection.line.sender.is_closed());
        let (line, retires, used) = match (made, before) {
            (Ok(line), _) => (line, retirement(age), false),
            (Err(_), Some(before)) => (before.line, Instant::now() + GRACE, true),
            (Err(failure), None) => return Err(failure),
        };
        self.connection = Some(Connection { line: line.clone(), retires });
        Ok((line, used))
    }
}

fn lock<B>(slot: &Mutex<Slot<B>>) -> MutexGuard<'_, Slot<B>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect<B>(dialer: &Dialer) -> Result<Line<B>, Failure>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (stream, heard) = dialer.dial().await.map_err(|error| Failure::connect(&error))?;
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .handshake(stream)
        .await;
    let (sender, connection) = handshake.map_err(|error| Failure::connect(&error))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(Line { sender, heard })
}
