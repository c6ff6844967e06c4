//! Requests that are answered before their body was read: their answer has to arrive all the same.
//!
//! A socket that is closed with bytes unread resets its connection, and the reset may overtake the answer. So what still comes is read
//! and thrown away for a while, after the answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::{
    io::ReadBuf,
    time::{Sleep, sleep},
};

use super::activity::{Activity, Stream};

/// Time for an answer to come to a caller who is still sending. Whoever has read it closes, and that ends the wait.
const LONGEST: Duration = Duration::from_secs(2);

/// The body of a request. Dropped before its end over HTTP/1, its connection's activity tells of it; HTTP/2 needs no such care.
pub(super) struct Asked {
    pub(super) body: Incoming,
    pub(super) activity: Option<Arc<Activity>>,
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.activity = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(activity) = self.activity.take().filter(|_| !self.body.is_end_stream()) {
            activity.left_unread();
        }
    }
}

/// The wait, from its first poll on.
#[derive(Debug, Default)]
pub(super) struct Linger(Option<Pin<Box<Sleep>>>);

impl Linger {
    pub(super) fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Reads and throws away until the caller closes, or has had its time.
    pub(super) fn poll(&mut self, stream: &mut (impl Stream + ?Sized), context: &mut Context<'_>) -> Poll<()> {
        let end = self.0.get_or_insert_with(|| Box::pin(sleep(LONGEST)));
        let mut room = [0; 4096];
        loop {
            if end.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}
