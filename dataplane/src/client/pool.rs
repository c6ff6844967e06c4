//! Connections to a predictor, kept for a while and no longer.
//!
//! Behind a Kubernetes service a connection goes to one pod for all its life. So connections are retired at an age, in turn and between
//! requests, and pods that came later get their share.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use tokio::time::Instant;

use super::{dial::Dialer, failure::Failure};

/// An idle connection of HTTP/1.1 is closed after this time: many servers close theirs after a minute or so, and whoever closes first
/// has no race to lose.
const IDLE: Duration = Duration::from_secs(30);
/// Most idle connections that are kept.
const MOST_IDLE: usize = 64;

/// When a connection made now is to be retired: within the last fifth before its age, so that they don't all go at once.
pub(super) fn retirement(age: Duration) -> Instant {
    Instant::now() + age.mul_f64(0.8 + 0.2 * fastrand::f64())
}

/// Connections of HTTP/1.1: one request at a time each.
pub(super) struct Exclusive {
    dialer: Dialer,
    age: Duration,
    /// Those unused for longest first.
    idle: Mutex<VecDeque<Connection>>,
}

/// One of them. Whoever has read its answer to the end may give it back.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    retires: Instant,
    used: Instant,
    reused: bool,
}

impl Connection {
    fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.retires && now < self.used + IDLE
    }
}

impl Exclusive {
    /// No connections yet; they are retired at `age`.
    pub(super) fn new(dialer: Dialer, age: Duration) -> Self {
        Self { dialer, age, idle: Mutex::default() }
    }

    /// Sends a request. An idle connection that turns out to be closed before the request went out costs nothing: another is taken.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        loop {
            let mut connection = match self.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            if let Err(error) = connection.sender.ready().await {
                if connection.reused {
                    continue;
                }
                return Err(Failure::closed(&error, false));
            }
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if connection.reused => request = unsent,
                    _ => return Err(Failure::closed(error.error(), connection.reused)),
                },
            }
        }
    }

    /// Keeps a connection for the next request, if it is good for one.
    pub(super) fn give_back(&self, mut connection: Connection) {
        let now = Instant::now();
        (connection.used, connection.reused) = (now, true);
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
        Ok(Connection { sender, retires: retirement(self.age), used: Instant::now(), reused: false })
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
