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
    pool::{GRACE, retirement},
};

/// How many connections share the requests.
const SHARED: usize = 4;
/// Time between two questions whether the other side is still there, and for the answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

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
    sender: http2::SendRequest<B>,
    retires: Instant,
}

/// A connection, and whether it was used before.
type Dialed<B> = Result<(http2::SendRequest<B>, bool), Failure>;
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
            if let Some(connection) = young.filter(|connection| !connection.sender.is_closed()) {
                return Ok((connection.sender.clone(), true));
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

impl<B> Slot<B> {
    /// A connection was made, or not. Then the one before is used a little longer if it is still open.
    fn dialed(&mut self, made: Result<http2::SendRequest<B>, Failure>, age: Duration) -> Dialed<B> {
        self.dial = None;
        let before = self.connection.take().filter(|connection| !connection.sender.is_closed());
        let (sender, retires, used) = match (made, before) {
            (Ok(sender), _) => (sender, retirement(age), false),
            (Err(_), Some(before)) => (before.sender, Instant::now() + GRACE, true),
            (Err(failure), None) => return Err(failure),
        };
        self.connection = Some(Connection { sender: sender.clone(), retires });
        Ok((sender, used))
    }
}

fn lock<B>(slot: &Mutex<Slot<B>>) -> MutexGuard<'_, Slot<B>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect<B>(dialer: &Dialer) -> Result<http2::SendRequest<B>, Failure>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = dialer.dial().await.map_err(|error| Failure::connect(&error))?;
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .handshake(stream)
        .await;
    let (sender, connection) = handshake.map_err(|error| Failure::connect(&error))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
