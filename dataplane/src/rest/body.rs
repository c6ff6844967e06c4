//! Reading a request's body, within the limits of size and time.

use std::{borrow::Cow, pin::pin};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
};
use bytes::BytesMut;
use http_body_util::BodyExt;

use super::coding::Coding;
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::{Handler, in_time},
};

/// The whole body of an inference, decompressed.
///
/// # Errors
/// Its type or coding is none that is read here, it is larger than the limit, or it did not come in time.
pub(super) async fn read(handler: &Handler, headers: &HeaderMap, body: Body, context: &Context) -> Result<Bytes> {
    check_content_type(headers)?;
    read_up_to(handler.limits.body, headers, body, context).await
}

/// The whole body of an inference as it came, for a protocol of one's own.
///
/// # Errors
/// It is larger than the limit, or did not come in time.
pub async fn read_body(handler: &Handler, body: Body, context: &Context) -> Result<Bytes> {
    in_time(context.deadline(), pin!(whole(body, handler.limits.body))).await?
}

/// The whole body of an inference, decompressed as its headers say, for a protocol of one's own.
///
/// # Errors
/// Its coding is none that is read here, it is larger than the limit, or it did not come in time.
pub async fn read_decompressed_body(
    handler: &Handler,
    headers: &HeaderMap,
    body: Body,
    context: &Context,
) -> Result<Bytes> {
    read_up_to(handler.limits.body, headers, body, context).await
}

/// The whole body of any other request, decompressed.
///
/// # Errors
/// As [`read`].
pub(super) async fn read_small(handler: &Handler, headers: &HeaderMap, body: Body, context: &Context) -> Result<Bytes> {
    check_content_type(headers)?;
    read_up_to(handler.limits.small_body(), headers, body, context).await
}

async fn read_up_to(limit: usize, headers: &HeaderMap, body: Body, context: &Context) -> Result<Bytes> {
    let coding = Coding::of_request(headers)?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let read = async {
        let body = whole(body, limit).await?;
        match coding {
            None => Ok(body),
            // In a box, for it is large and seldom needed.
            Some(coding) => Box::pin(coding.decompress(&body, limit)).await,
        }
    };
    in_time(context.deadline(), pin!(read)).await?
}

/// A body's pieces, joined where they are several. Most have one, and nothing is copied.
async fn whole(mut body: Body, limit: usize) -> Result<Bytes> {
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::malformed("the body ended early").with_detail(error))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + joined.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut first));
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

pub(super) fn too_large(limit: usize) -> Error {
    Error::new(Kind::PayloadTooLarge, format!("the body is larger than {limit} bytes"))
}

/// The content type without its parameters, in lower case; nothing where there is none.
pub(super) fn content_type(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    let essence = text.split(';').next().unwrap_or_default().trim();
    let upper = essence.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if upper { essence.to_ascii_lowercase().into() } else { essence.into() })
}

/// JSON in every dress that clients send it in: no content type (KServe's batcher), a charset, `+json`, curl's default form type.
fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let usual = |value: &HeaderValue| value == "application/json" || value == "application/octet-stream";
    if headers.get(header::CONTENT_TYPE).is_some_and(usual) {
        return Ok(());
    }
    let Some(essence) = content_type(headers) else { return Ok(()) };
    if essence == "application/cloudevents-batch+json" {
        let text = "content type `application/cloudevents-batch+json`: events are taken one a request, not in batches";
        return Err(Error::new(Kind::UnsupportedMediaType, text));
    }
    let known = ["", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"];
    if known.contains(&essence.as_ref()) || essence.ends_with("+json") {
        return Ok(());
    }
    Err(Error::new(Kind::UnsupportedMediaType, format!("content type `{essence}`: expected application/json")))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use futures_util::stream;

    use super::whole;
    use crate::error::{Kind, Result};

    async fn joined(pieces: &[&'static str], limit: usize) -> Result<Bytes> {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))).collect();
        whole(Body::from_stream(stream::iter(pieces)), limit).await
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_in_their_order() {
        assert_eq!(joined(&[], 9).await.unwrap(), "");
        assert_eq!(joined(&["one"], 9).await.unwrap(), "one");
        assert_eq!(joined(&["", "one", "", "two", "3rd"], 9).await.unwrap(), "onetwo3rd");
    }

    #[tokio::test]
    async fn all_its_pieces_together_are_held_to_the_limit() {
        for pieces in [["onetwo3rd4", "", ""], ["one", "two", "3rd4"]] {
            assert_eq!(joined(&pieces, 9).await.unwrap_err().kind(), Kind::PayloadTooLarge, "{pieces:?}");
        }
    }
}
