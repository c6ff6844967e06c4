//! Connections to a predictor, kept for a while and no longer.
//!
//! Behind a Kubernetes service a connection goes to one pod for all its life. So connections are retired at an age, in turn and between
//! requests, and pods that came later get their share.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use tokio::time::Instant;

use super::{dial::Dialer, failure::Failure};

/// An idle connection of HTTP/1.1 is not used again after this time: uvicorn, on which most Python servers stand, closes its own after
/// five seconds, and whoever closes first has no race to lose.
const IDLE: Duration = Duration::from_secs(4);
/// Most requests that may be sent again because their connection had been closed, without an answer in between.
const MOST_RESENDS: u32 = 8;
/// Most idle connections that are kept.
const MOST_IDLE: usize = 64;

/// When a connection made now is to be retired: within the last fifth before its age, so that they don't all go at once.
pub(super) fn retirement(age: Duration) -> Instant {
    Instant::now() + age.mul_f64(0.8 + 0.2 * fastrand::f64())
}

/// Called when a request is sent again.
pub(super) type Renewed = Box<dyn Fn() + Send + Sync>;

/// Connections of HTTP/1.1: one request at a time each.
pub(super) struct Exclusive {
    dialer: Dialer,
    age: Duration,
    renewed: Renewed,
    /// How many requests may be sent again.
    resends: AtomicU32,
    /// Those unused for longest first.
    idle: Mutex<VecDeque<Connection>>,
}

/// One of them. Whoever has read its answer to the end may give it back.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    retires: Instant,
    used: Instant,
}

impl Connection {
    fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.retires && now < self.used + IDLE
    }
}

impl Exclusive {
    /// No connections yet; they are retired at `age`.
    pub(super) fn new(dialer: Dialer, age: Duration, renewed: Renewed) -> Self {
        Self { dialer, age, renewed, resends: AtomicU32::new(0), idle: Mutex::default() }
    }

    /// Sends a request: over an idle connection, or else over a new one. A connection that was used before may be closed at the very
    /// moment at which it is used again (uvicorn hangs up after an exception without saying so); where not a byte of the answer came,
    /// the request is sent once more, over a new connection, for this is no failure of the server that a retry would be for. Each answer
    /// earns one such request more, up to [`MOST_RESENDS`]: a server that dies takes no crowd along to the next.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        while let Some(mut connection) = self.take() {
            if connection.sender.ready().await.is_err() {
                continue;
            }
            match connection.sender.try_send_request(request.clone()).await {
                Ok(response) => return Ok((response, connection)),
                Err(error) if error.message().is_some() => {}
                Err(error) if error.error().is_parse() => return Err(Failure::broken_off(error.error())),
                Err(error) => {
                    let left = self.resends.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
                    left.map_err(|_| Failure::closed(error.error(), true))?;
                    (self.renewed)();
                    break;
                }
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.sender.send_request(request).await;
        Ok((response.map_err(|error| Failure::closed(&error, false))?, connection))
    }

    /// Keeps a connection for the next request, if it is good for one.
    pub(super) fn give_back(&self, mut connection: Connection) {
        let now = Instant::now();
        connection.used = now;
        let _ = self.resends.fetch_update(Relaxed, Relaxed, |left| (left < MOST_RESENDS).then_some(left + 1));
        let mut idle = self.idle();
        idle.retain(|connection| connection.is_usable(now));
        if connection.is_usable(now) && idle.len() < MOST_IDLE {
            idle.push_back(connection);
        }
    }

    /// The connection that was unused for longest: in turn, all are used.
    fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop_front()).find(|connection| connection.is_usable(now))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = self.dialer.dial().await.map_err(|error| Failure::connect(&error))?;
        let (sender, connection) = http1::handshake(stream).await.map_err(|error| Failure::connect(&error))?;
        // Whoever waits for an answer hears of its end.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, retires: retirement(self.age), used: Instant::now() })
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
