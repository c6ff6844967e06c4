//! Connections of HTTP/2 to a predictor: each for many requests at a time, several of them, kept for a while and no longer.
//!
//! As in [`super::pool`], a connection goes to one pod for all its life; the one that HTTP/2 could do with would leave all other pods idle.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use hyper::{body::Body, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::{sync::Mutex, time::Instant};

use super::{dial::Dialer, failure::Failure, pool::retirement};

/// How many connections share the requests.
const SHARED: usize = 4;
/// Time between two questions whether the other side is still there, and for the answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Connections of HTTP/2. One that is retired ends when its last request has.
pub(super) struct Shared<B> {
    dialer: Dialer,
    age: Duration,
    slots: [Mutex<Option<Slot<B>>>; SHARED],
    next: AtomicUsize,
}

struct Slot<B> {
    sender: http2::SendRequest<B>,
    retires: Instant,
}

impl<B> Shared<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// No connections yet; they are retired at `age`.
    pub(super) fn new(dialer: Dialer, age: Duration) -> Self {
        Self { dialer, age, slots: Default::default(), next: AtomicUsize::new(0) }
    }

    /// The next connection in turn, and whether it was used before.
    pub(super) async fn connection(&self) -> Result<(http2::SendRequest<B>, bool), Failure> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % SHARED;
        // Held while connecting: those who come meanwhile want this connection too.
        let mut slot = self.slots[number].lock().await;
        if let Some(slot) = slot.as_ref().filter(|slot| !slot.sender.is_closed() && Instant::now() < slot.retires) {
            return Ok((slot.sender.clone(), true));
        }
        let stream = self.dialer.dial().await.map_err(|error| Failure::connect(&error))?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(stream)
            .await;
        let (sender, connection) = handshake.map_err(|error| Failure::connect(&error))?;
        tokio::spawn(async move { drop(connection.await) });
        *slot = Some(Slot { sender: sender.clone(), retires: retirement(self.age) });
        Ok((sender, false))
    }
}
