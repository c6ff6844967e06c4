//! What of a request's [`Context`] travels on to the services behind this one. The one place that says so, for every protocol.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    context::Context,
    observe::{REQUEST_ID, REQUEST_TIMEOUT, TRACEPARENT},
};

/// The longest budget that a header says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The ids of the request, as headers; gRPC sends them as metadata.
pub(super) fn ids(context: &Context) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(&mut headers, REQUEST_ID, context.request_id());
    put(&mut headers, TRACEPARENT, &context.trace().child());
    headers
}

/// The same with what is left of the time, as REST says it; gRPC has `grpc-timeout` for that.
pub(super) fn rest(context: &Context) -> HeaderMap {
    let mut headers = ids(context);
    let left = context.remaining().clamp(Duration::from_millis(1), LONGEST);
    put(&mut headers, REQUEST_TIMEOUT, &format!("{}ms", left.as_millis()));
    headers
}

/// What can't be a header's value is left out.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
