//! Connections to a predictor, kept for a while and no longer.
//!
//! Behind a Kubernetes service a connection goes to one pod for all its life. So connections are retired at an age, in turn and between
//! requests, and pods that came later get their share.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use tokio::{sync::oneshot, time::Instant};

use super::{dial::Dialer, failure::Failure, heard::Heard};

/// An idle connection of HTTP/1.1 is not used again after this time: uvicorn, on which most Python servers stand, closes its own after
/// five seconds, and whoever closes first has no race to lose.
const IDLE: Duration = Duration::from_secs(4);
/// Most requests that may be sent again because their connection had been closed, without an answer in between.
const MOST_RESENDS: u32 = 8;
/// Most idle connections that are kept.
const MOST_IDLE: usize = 64;

/// How much longer a connection of any age is used that no other could be made for.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// When a connection made now is to be retired: within the last fifth before its age, so that they don't all go at once.
pub(super) fn retirement(age: Duration) -> Instant {
    Instant::now() + age.mul_f64(0.8 + 0.2 * fastrand::f64())
}

/// Called when a request is sent again.
pub(super) type Renewed = Box<dyn Fn() + Send + Sync>;

/// Connections of HTTP/1.1: one request at a time each.
pub(super) struct Exclusive {
    dialer: Arc<Dialer>,
    age: Duration,
    renewed: Renewed,
    /// How many requests may be sent again.
    resends: AtomicU32,
    idle: Arc<Idle>,
}

/// Connections that nobody uses, those unused for longest first.
#[derive(Default)]
struct Idle(Mutex<VecDeque<Connection>>);

/// One of them. Whoever has read its answer to the end may give it back.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    heard: Heard,
    retires: Instant,
    used: Instant,
}

impl Connection {
    fn is_fresh(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.used + IDLE
    }

    fn is_usable(&self, now: Instant) -> bool {
        self.is_fresh(now) && now < self.retires
    }

    /// It came to an end over a request that was sent when so many bytes had come over it. Any byte more is of an answer to that request.
    fn lost(&self, error: &hyper::Error, before: u64, reused: bool) -> Failure {
        if self.heard.bytes() == before { Failure::closed(error, reused) } else { Failure::broken_off(error) }
    }
}

impl Exclusive {
    /// No connections yet; they are retired at `age`.
    pub(super) fn new(dialer: Dialer, age: Duration, renewed: Renewed) -> Self {
        Self { dialer: Arc::new(dialer), age, renewed, resends: AtomicU32::new(0), idle: Arc::default() }
    }

    /// Sends a request: over an idle connection, or else over a new one. A connection that was used before may be closed at the very
    /// moment at which it is used again (uvicorn hangs up after an exception without saying so); where not a byte of the answer came,
    /// the request is sent once more, over a new connection, for this is no failure of the server that a retry would be for. Each answer
    /// earns one such request more, up to [`MOST_RESENDS`]: a server that dies takes no crowd along to the next.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        while let Some(mut connection) = self.idle.take() {
            if connection.sender.ready().await.is_err() {
                continue;
            }
            let before = connection.heard.bytes();
            match connection.sender.try_send_request(request.clone()).await {
                Ok(response) => return Ok((response, connection)),
                Err(error) if error.message().is_some() => {}
                Err(error) => {
                    let failure = connection.lost(error.error(), before, true);
                    let resend = |left: u32| failure.retry().and(left.checked_sub(1));
                    if self.resends.fetch_update(Relaxed, Relaxed, resend).is_err() {
                        return Err(failure);
                    }
                    (self.renewed)();
                    break;
                }
            }
        }
        let (mut connection, reused) = self.connect().await?;
        let before = connection.heard.bytes();
        match connection.sender.send_request(request).await {
            Ok(response) => Ok((response, connection)),
            Err(error) => Err(connection.lost(&error, before, reused)),
        }
    }

    /// Keeps a connection for the next request, if it is good for one.
    pub(super) fn give_back(&self, connection: Connection) {
        let _ = self.resends.fetch_update(Relaxed, Relaxed, |left| (left < MOST_RESENDS).then_some(left + 1));
        self.idle.keep(connection);
    }

    /// A new connection; where none can be made, one that would have been replaced, and that it was used before.
    async fn connect(&self) -> Result<(Connection, bool), Failure> {
        let (sender, made) = oneshot::channel();
        let (dialer, idle, age) = (self.dialer.clone(), self.idle.clone(), self.age);
        // A caller may have less time than it takes. The next one has it then.
        tokio::spawn(async move {
            if let Err(Ok(connection)) = sender.send(connect(&dialer, age).await) {
                idle.keep(connection);
            }
        });
        let failure = match made.await {
            Ok(Ok(connection)) => {
                self.idle.retire();
                return Ok((connection, false));
            }
            Ok(Err(failure)) => failure,
            Err(error) => Failure::connect(&error),
        };
        while let Some(mut connection) = self.idle.take_any() {
            if connection.sender.ready().await.is_ok() {
                connection.retires = Instant::now() + GRACE;
                return Ok((connection, true));
            }
        }
        Err(failure)
    }
}

async fn connect(dialer: &Dialer, age: Duration) -> Result<Connection, Failure> {
    let (stream, heard) = dialer.dial().await.map_err(|error| Failure::connect(&error))?;
    let (sender, connection) = http1::handshake(stream).await.map_err(|error| Failure::connect(&error))?;
    // Whoever waits for an answer hears of its end.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { sender, heard, retires: retirement(age), used: Instant::now() })
}

impl Idle {
    /// Keeps one that is open, whatever its age: there may be no other to be had.
    fn keep(&self, mut connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let now = Instant::now();
        connection.used = now;
        let mut idle = self.lock();
        idle.retain(|connection| connection.is_fresh(now));
        if idle.len() < MOST_IDLE {
            idle.push_back(connection);
        }
    }

    /// The usable one that was unused for longest: in turn, all are used.
    fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.lock();
        let first = idle.iter().position(|connection| connection.is_usable(now))?;
        idle.remove(first)
    }

    /// An open one that would be replaced if it could be, the last used first.
    fn take_any(&self) -> Option<Connection> {
        let mut idle = self.lock();
        std::iter::from_fn(|| idle.pop_back()).find(|connection| !connection.sender.is_closed())
    }

    /// Drops those that are to be replaced: others can be had.
    fn retire(&self) {
        let now = Instant::now();
        self.lock().retain(|connection| connection.is_usable(now));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
