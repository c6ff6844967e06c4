//! What a connection is seen to do: written where its bytes and requests pass, read where its time limits are kept.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use bytes::Buf;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::linger::Linger;
use crate::readiness::Readiness;

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HTTP2: u8 = 24;
const HTTP1: u8 = u8::MAX;

/// What a connection has done. Its stream and its requests write it, so nothing is timed or allocated for a request.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests whose answer has not been handed over to its end, and parts of answers on their way.
    requests: AtomicUsize,
    /// Something happened since somebody looked.
    active: AtomicBool,
    /// The beginning of a head was read, and no request of it yet.
    head: AtomicBool,
    /// How much of the preface was read, up to [`HTTP2`], or [`HTTP1`]: then it was none.
    opening: AtomicU8,
    /// The last request was answered before its body was read to its end.
    unread: AtomicBool,
    /// Parts of answers on their way, by whether something of them was taken last in an even or an odd period.
    untaken: [AtomicUsize; 2],
    /// Periods so far.
    period: AtomicUsize,
    readiness: Readiness,
}

impl Activity {
    /// Nothing so far, of a connection to a server with this readiness.
    pub(super) fn new(readiness: Readiness) -> Self {
        Self { readiness, ..Self::default() }
    }

    /// Requests under way.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    /// Whether something happened since this was asked last.
    pub(super) fn take_active(&self) -> bool {
        // Asked at every turn of every connection: a look is cheaper than an exchange.
        self.active.load(Relaxed) && self.active.swap(false, Relaxed)
    }

    /// Whether the last request's body will not be read to its end. Of meaning on HTTP/1 only.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// Whether an HTTP/1 caller should ask its next question elsewhere: the server leaves, or what is left of a body stands before the
    /// next request.
    pub(super) fn is_last(&self) -> bool {
        self.is_unread() || self.readiness.is_draining()
    }

    /// Whether a part of a head was read, and the rest is waited for.
    pub(super) fn in_head(&self) -> bool {
        self.head.load(Relaxed)
    }

    /// Whether nothing was ever read.
    pub(super) fn is_silent(&self) -> bool {
        self.opening.load(Relaxed) == 0
    }

    /// A request begins; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Underway {
        self.requests.fetch_add(1, Relaxed);
        self.head.store(false, Relaxed);
        self.unread.store(false, Relaxed);
        self.active.store(true, Relaxed);
        Underway(self.clone())
    }

    /// A period begins. Whether there is a part of an answer of which nothing was taken all through the period before.
    pub(super) fn turn(&self) -> bool {
        // What moved in that period is counted in the other place.
        let period = self.period.load(Relaxed).wrapping_add(1);
        self.period.store(period, Relaxed);
        self.untaken[period % 2].load(Relaxed) > 0
    }

    /// Where what is taken now is counted.
    fn place(&self) -> usize {
        self.period.load(Relaxed) % 2
    }

    /// The request's body will not be read to its end.
    pub(super) fn left_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    pub(super) fn received(&self, bytes: &[u8]) {
        let opening = self.opening.load(Relaxed);
        // Pings and the like come and go on HTTP/2 for ever: there only requests are activity.
        if bytes.is_empty() || opening == HTTP2 {
            return;
        }
        self.active.store(true, Relaxed);
        let opening = if opening == HTTP1 { HTTP1 } else { opened(opening, bytes) };
        self.opening.store(opening, Relaxed);
        self.head.store(opening != HTTP2 && self.requests() == 0, Relaxed);
    }

    fn sent(&self) {
        if self.opening.load(Relaxed) != HTTP2 {
            self.active.store(true, Relaxed);
        }
    }
}

/// How a connection opened, after these bytes too.
fn opened(before: u8, bytes: &[u8]) -> u8 {
    let expected = PREFACE.get(usize::from(before)..).unwrap_or_default();
    let common = expected.len().min(bytes.len());
    if expected[..common] != bytes[..common] {
        return HTTP1;
    }
    before + u8::try_from(common).unwrap_or(HTTP2 - before)
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Underway(Arc<Activity>);

impl Underway {
    /// What its connection does.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.active.store(true, Relaxed);
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

/// A part of an answer, on its way until its last byte was written. On HTTP/2 that is as the caller's window allows, and a part
/// that waits for it may have left its [`Answer`] long ago.
pub(super) struct Part {
    bytes: Bytes,
    activity: Arc<Activity>,
    /// Where it is counted as untaken.
    place: usize,
}

impl Part {
    fn new(bytes: Bytes, activity: &Arc<Activity>) -> Self {
        let place = activity.place();
        activity.requests.fetch_add(1, Relaxed);
        activity.untaken[place].fetch_add(1, Relaxed);
        Self { bytes, activity: activity.clone(), place }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        let place = self.activity.place();
        if place != self.place {
            self.activity.untaken[self.place].fetch_sub(1, Relaxed);
            self.activity.untaken[place].fetch_add(1, Relaxed);
            self.place = place;
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.activity.untaken[self.place].fetch_sub(1, Relaxed);
        self.activity.active.store(true, Relaxed);
        self.activity.requests.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer: its request is under way until it is dropped, and its parts after that.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) underway: Underway,
}

impl HttpBody for Answer {
    type Data = Part;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|bytes| Part::new(bytes, &self.underway.0)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Any stream that HTTP can be spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that tells what passes.
pub(super) struct Watched {
    pub(super) stream: Box<dyn Stream>,
    pub(super) activity: Arc<Activity>,
    pub(super) linger: Linger,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.activity.received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.activity.sent();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
        self.activity.sent();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, activity, linger } = self.get_mut();
        if !linger.has_begun() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        if activity.is_unread() {
            ready!(linger.poll(stream.as_mut(), context));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Buf;

    use super::{Activity, HTTP1, HTTP2, PREFACE, Part, opened};

    #[test]
    fn a_connection_opens_with_the_preface_of_http_2_or_with_a_request() {
        assert_eq!(opened(0, PREFACE), HTTP2);
        assert_eq!(opened(0, b"PRI"), 3);
        assert_eq!(opened(3, &PREFACE[3..]), HTTP2);
        assert_eq!(opened(0, &[PREFACE.as_slice(), b"more"].concat()), HTTP2);
        for other in [b"GET / HTTP/1.1".as_slice(), b"PRO", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"] {
            assert_eq!(opened(0, other), HTTP1);
        }
        assert_eq!(opened(2, b"x"), HTTP1);
    }

    #[test]
    fn a_head_is_waited_for_from_its_first_byte_until_its_request() {
        let activity = Arc::new(Activity::default());
        assert!(activity.is_silent() && !activity.in_head() && !activity.take_active());
        activity.received(b"GET");
        assert!(!activity.is_silent() && activity.in_head() && activity.take_active());
        let underway = activity.begin();
        activity.received(b"of the body");
        assert!(!activity.in_head());
        assert_eq!(activity.requests(), 1);
        drop(underway);
        assert!(!activity.in_head() && activity.take_active() && !activity.take_active());
        assert_eq!(activity.requests(), 0);
    }

    #[test]
    fn on_http_2_only_requests_are_activity() {
        let activity = Arc::new(Activity::default());
        activity.received(&PREFACE[..5]);
        assert!(activity.in_head());
        activity.received(&PREFACE[5..]);
        assert!(!activity.in_head() && activity.take_active());
        activity.received(b"a ping");
        activity.sent();
        assert!(!activity.in_head() && !activity.take_active());
        drop(activity.begin());
        assert!(activity.take_active());
    }

    #[test]
    fn a_part_of_which_nothing_is_taken_for_a_period_is_noticed() {
        let activity = Arc::new(Activity::default());
        let mut part = Part::new("abc".into(), &activity);
        assert_eq!(activity.requests(), 1);
        assert!(!activity.turn(), "it had not the whole period");
        assert!(activity.turn());
        // One byte is enough for another period.
        part.advance(1);
        assert_eq!(part.chunk(), b"bc");
        assert!(!activity.turn());
        part.advance(1);
        assert!(!activity.turn());
        assert!(activity.turn());
        drop(part);
        assert!(!activity.turn() && !activity.turn());
        assert_eq!(activity.requests(), 0);
    }
}
