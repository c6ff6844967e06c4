//! What of a request's [`Context`] travels on to the services behind this one. The one place that says so, for every protocol.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

use crate::{context::Context, observe::REQUEST_TIMEOUT};

/// The longest budget that a header says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The ids of the request and what its caller may do, as headers; gRPC sends them as metadata.
pub(super) fn ids(context: &Context) -> HeaderMap {
    context.outgoing_headers().collect()
}

/// The same with what is left of the time, as REST says it; gRPC has `grpc-timeout` for that.
pub(super) fn rest(context: &Context) -> HeaderMap {
    let mut headers = ids(context);
    let left = context.remaining().clamp(Duration::from_millis(1), LONGEST);
    if let Ok(left) = HeaderValue::from_str(&format!("{}ms", left.as_millis())) {
        headers.insert(REQUEST_TIMEOUT, left);
    }
    headers
}
