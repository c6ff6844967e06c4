//! Reading a request's body, within the limits of size and time.

use std::borrow::Cow;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::coding::Coding;
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::{Handler, deadline_exceeded},
};

/// Bytes of a body that is no inference's: nobody counts how many of those are under way.
const SMALL: usize = 64 * 1024;

/// The whole body of an inference, decompressed.
///
/// # Errors
/// Its type or coding is none that is read here, it is larger than the limit, or it did not come in time.
pub(super) async fn read(handler: &Handler, headers: &HeaderMap, body: Body, context: &Context) -> Result<Bytes> {
    read_up_to(handler.limits.body, headers, body, context).await
}

/// The whole body of any other request, decompressed.
///
/// # Errors
/// As [`read`].
pub(super) async fn read_small(handler: &Handler, headers: &HeaderMap, body: Body, context: &Context) -> Result<Bytes> {
    read_up_to(SMALL.min(handler.limits.body), headers, body, context).await
}

async fn read_up_to(limit: usize, headers: &HeaderMap, body: Body, context: &Context) -> Result<Bytes> {
    check_content_type(headers)?;
    let coding = Coding::of_request(headers)?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let read = async {
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return too_large(limit);
            }
            Error::malformed("the body ended early").with_detail(error)
        })?;
        match coding {
            None => Ok(body.to_bytes()),
            Some(coding) => coding.decompress(&body.to_bytes(), limit).await,
        }
    };
    tokio::time::timeout_at(context.deadline().into(), read).await.map_err(|_| deadline_exceeded())?
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
