//! The headers of the binary tensor data extension.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};

use super::{json_bytes, of_type};
use crate::{
    error::{Error, Result},
    v2::HEADER_LENGTH,
};

const LENGTH: HeaderName = HeaderName::from_static(HEADER_LENGTH);

/// How many bytes of a body are its JSON; nothing where all of it is. 0 is a body that is one tensor and no JSON.
pub(super) fn json_length(headers: &HeaderMap) -> Result<Option<usize>> {
    let mut values = headers.get_all(LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().map(str::trim).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    // Two of them that differ would mean two bodies.
    let length = length.filter(|_| values.all(|other| other == value));
    length
        .map(Some)
        .ok_or_else(|| Error::invalid(format!("header `{HEADER_LENGTH}`: expected one whole number of bytes from 0")))
}

/// An answer whose first `length` bytes are JSON; all of them where it is nothing.
pub(super) fn answer(body: Vec<u8>, length: Option<usize>) -> Response {
    let Some(length) = length else { return json_bytes(body) };
    let mut response = of_type(HeaderValue::from_static("application/octet-stream"), body);
    response.headers_mut().insert(LENGTH, HeaderValue::from(length));
    response
}
