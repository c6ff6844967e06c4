//! What frames the one message of an inference, in and out, without the library's streams and their buffers in between. A message that
//! came in one piece is not copied.

use std::{
    pin::Pin,
    task::{Context as Task, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use bytes::{BufMut, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Frame;

use super::{PREFIX, STATUS, quick::Answer, too_large};
use crate::error::{Error, Result};

/// A body's one message behind what stands before it, and that it may be `compressed` or may not. What is wrong with it is said as soon as
/// it can be known: nothing is read for the sake of a refusal.
///
/// # Errors
/// It is larger than the limit, is none, is more than one, or is compressed where it may not.
pub(super) async fn read(mut body: Body, compressed: bool, limit: usize) -> Result<Bytes> {
    let (mut whole, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ended_early().with_detail(error))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_empty() && joined.is_empty() {
            whole = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&data);
        }
        let have = if joined.is_empty() { &whole[..] } else { &joined[..] };
        check(have, compressed, limit)?;
    }
    let message = if joined.is_empty() { whole } else { joined.freeze() };
    match announced(&message) {
        Some((_, length)) if message.len() == PREFIX + length => Ok(message),
        _ => Err(ended_early()),
    }
}

/// Whether what came so far may be (the beginning of) the one message.
fn check(have: &[u8], compressed: bool, limit: usize) -> Result<()> {
    match announced(have) {
        None => Ok(()),
        Some((1, _)) if !compressed => {
            Err(Error::malformed("the message can't be read: it is compressed, and no grpc-encoding says how"))
        }
        Some((2.., _)) => Err(Error::malformed("the message can't be read: it does not begin as gRPC's do")),
        Some((_, length)) if length > limit => Err(too_large(limit)),
        Some((_, length)) if have.len() > PREFIX + length => Err(Error::malformed("expected one message, got more")),
        Some(_) => Ok(()),
    }
}

/// Whether a message is compressed, and its length, as what stands before it says.
fn announced(bytes: &[u8]) -> Option<(u8, usize)> {
    let [compressed, length @ ..] = *bytes.first_chunk::<PREFIX>()?;
    Some((compressed, usize::try_from(u32::from_be_bytes(length)).ok()?))
}

fn ended_early() -> Error {
    Error::malformed("the message ended early")
}

/// An answer, whole.
///
/// # Errors
/// It is larger than gRPC can say.
pub(super) fn write(answer: Answer) -> Result<Response> {
    let length = answer.encoded_len();
    let mut message = BytesMut::with_capacity(PREFIX + length);
    message.put_u8(0);
    message.put_u32(u32::try_from(length).map_err(Error::internal)?);
    answer.encode(&mut message);
    let mut response = Response::new(Body::new(Message { bytes: Some(message.freeze()), ended: false }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// A message, and behind it that all went well.
struct Message {
    bytes: Option<Bytes>,
    ended: bool,
}

impl HttpBody for Message {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
