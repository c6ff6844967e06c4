//! What a request can fail with: one envelope, `{"error", "code"}`. The transformer's own refusals keep their status and body.

use axum::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;

/// A request that was not served, and why.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The shop says so.
    Own { status: StatusCode, code: &'static str, message: String },
    /// The transformer says so.
    Upstream { status: StatusCode, retry_after: Option<HeaderValue>, envelope: Bytes },
}

/// What stands in the body of a failure.
#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a str,
    code: &'a str,
}

impl Failure {
    fn own(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::Own { status, code, message: message.into() }
    }

    /// The caller's mistake; `message` names the field and what was expected.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::own(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    /// The body is no JSON object.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::own(StatusCode::BAD_REQUEST, "malformed_body", message)
    }

    /// The body is larger than `most` bytes.
    pub(crate) fn too_large(most: usize) -> Self {
        let message = format!("the body is larger than {most} bytes");
        Self::own(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
    }

    /// The body did not come in time.
    pub(crate) fn slow_body() -> Self {
        Self::own(StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", "the body did not come in time")
    }

    /// The body says that it is something else, or nothing.
    pub(crate) fn media_type() -> Self {
        let message = "content-type: expected application/json";
        Self::own(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// No such path.
    pub(crate) fn unknown_route() -> Self {
        Self::own(StatusCode::NOT_FOUND, "unknown_route", "no such path")
    }

    /// The path exists, for other methods.
    pub(crate) fn method() -> Self {
        Self::own(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path is not for that method")
    }

    /// No such thing at a path that there is.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::own(StatusCode::NOT_FOUND, "not_found", format!("{what}: not here"))
    }

    /// The transformer can't be reached, or broke off.
    pub(crate) fn away() -> Self {
        Self::own(StatusCode::SERVICE_UNAVAILABLE, "transformer_away", "the recommender can't be reached")
    }

    /// The transformer did not answer in time.
    pub(crate) fn late() -> Self {
        Self::own(StatusCode::GATEWAY_TIMEOUT, "transformer_late", "the recommender did not answer in time")
    }

    /// The transformer answered what it must not.
    pub(crate) fn unreadable() -> Self {
        Self::own(StatusCode::BAD_GATEWAY, "transformer_invalid", "the recommender's answer can't be read")
    }

    /// The transformer answered with `status`: its envelope, or where something between the two wrote the body, one of ours.
    pub(crate) fn upstream(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        #[derive(serde::Deserialize)]
        struct Told {
            #[allow(dead_code)] // it is there, which is all that is asked
            error: String,
        }
        if !status.is_client_error() && !status.is_server_error() {
            return Self::unreadable();
        }
        let retry_after = headers.get(RETRY_AFTER).cloned();
        let envelope = match serde_json::from_slice::<Told>(&body) {
            Ok(_) => body,
            Err(_) => envelope(&format!("the recommender answered {}", status.as_u16()), "transformer_failed").into(),
        };
        Self::Upstream { status, retry_after, envelope }
    }

    /// The envelope, as JSON.
    pub(crate) fn json(&self) -> Bytes {
        match self {
            Self::Own { code, message, .. } => envelope(message, code).into(),
            Self::Upstream { envelope, .. } => envelope.clone(),
        }
    }
}

fn envelope(error: &str, code: &str) -> Vec<u8> {
    // Two texts always have a form in JSON.
    serde_json::to_vec(&Envelope { error, code }).unwrap_or_default()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = self.json();
        let (status, retry_after) = match self {
            Self::Own { status, .. } => (status, None),
            Self::Upstream { status, retry_after, .. } => (status, retry_after),
        };
        let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(after) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, StatusCode};

    use super::Failure;

    #[test]
    fn a_refusal_that_is_no_envelope_is_told_in_ours_and_shows_nothing_of_it() {
        let page = Failure::upstream(StatusCode::BAD_GATEWAY, &HeaderMap::new(), "<h1>10.0.0.1</h1>".into());
        assert_eq!(page.json(), r#"{"error":"the recommender answered 502","code":"transformer_failed"}"#);
        let told = r#"{"error":"field `k`: expected 1 or more","code":"invalid_argument"}"#;
        assert_eq!(Failure::upstream(StatusCode::BAD_REQUEST, &HeaderMap::new(), told.into()).json(), told);
    }

    #[test]
    fn a_redirect_is_no_answer() {
        let failure = Failure::upstream(StatusCode::FOUND, &HeaderMap::new(), "".into());
        assert!(matches!(failure, Failure::Own { status: StatusCode::BAD_GATEWAY, .. }));
    }
}
