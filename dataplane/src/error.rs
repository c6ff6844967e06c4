//! The one table of failures: what happened → HTTP status → gRPC code → stable code.
//!
//! An [`Error`] carries two texts. `message` is written for the caller: what is wrong, where, and what was expected. `detail` is for
//! the log and never leaves the process: a source error, an inner address, a path. Transports turn an [`Error`] into the one envelope
//! `{"error": message, "code": code}`; nobody else chooses a status.

use std::{fmt, time::Duration};

use axum::http::StatusCode;

/// `Result` of everything that can fail towards a caller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened. Each kind is one row of the table in [`Kind::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The body is no JSON, or not of the shape that the protocol asks for.
    MalformedBody,
    /// The request is well formed and still wrong: a missing field, a value out of range, a tensor of the wrong shape.
    InvalidArgument,
    /// No model of this name is served here.
    UnknownModel,
    /// The model is served, but not in this version.
    UnknownVersion,
    /// Something that the request names does not exist.
    NotFound,
    /// No such path.
    UnknownRoute,
    /// The path exists, for other methods.
    MethodNotAllowed,
    /// The body is larger than the limit.
    PayloadTooLarge,
    /// A content type that no transport here reads.
    UnsupportedMediaType,
    /// The queue is full; nothing was done.
    Overloaded,
    /// The protocol knows the operation; this model does not offer it.
    Unimplemented,
    /// A control call, where control calls are off.
    ControlDisabled,
    /// What is asked for is told to nobody, unless whoever runs the server says so.
    Forbidden,
    /// A model could not be loaded; what was loaded before serves on.
    LoadFailed,
    /// Not ready yet, or draining.
    NotReady,
    /// The deadline passed.
    DeadlineExceeded,
    /// A service behind this one refused what the caller sent; its class is kept.
    UpstreamRejected,
    /// A service behind this one does not know who asks.
    UpstreamUnauthenticated,
    /// A service behind this one does not let the caller.
    UpstreamForbidden,
    /// A service behind this one does not have what it was asked for: most often, its model.
    UpstreamNotFound,
    /// A service behind this one has no room; its Retry-After is kept.
    UpstreamOverloaded,
    /// A service behind this one can't be reached or says that it is not ready.
    UpstreamUnavailable,
    /// A service behind this one did not answer in time.
    UpstreamTimeout,
    /// A service behind this one answered what it must not.
    UpstreamInvalid,
    /// A fault of ours.
    Internal,
}

/// One row of the error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// HTTP status.
    pub http: StatusCode,
    /// gRPC status code, as its number.
    pub grpc: u8,
    /// The stable machine-readable code in the envelope.
    pub code: &'static str,
}

impl Kind {
    /// Every kind, for tests and documentation.
    pub const ALL: [Self; 25] = [
        Self::MalformedBody,
        Self::InvalidArgument,
        Self::UnknownModel,
        Self::UnknownVersion,
        Self::NotFound,
        Self::UnknownRoute,
        Self::MethodNotAllowed,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::Overloaded,
        Self::Unimplemented,
        Self::ControlDisabled,
        Self::Forbidden,
        Self::LoadFailed,
        Self::NotReady,
        Self::DeadlineExceeded,
        Self::UpstreamRejected,
        Self::UpstreamUnauthenticated,
        Self::UpstreamForbidden,
        Self::UpstreamNotFound,
        Self::UpstreamOverloaded,
        Self::UpstreamUnavailable,
        Self::UpstreamTimeout,
        Self::UpstreamInvalid,
        Self::Internal,
    ];

    /// The table.
    #[must_use]
    pub const fn row(self) -> Row {
        use grpc::{
            DEADLINE_EXCEEDED, FAILED_PRECONDITION, INTERNAL, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED,
            RESOURCE_EXHAUSTED, UNAUTHENTICATED, UNAVAILABLE, UNIMPLEMENTED,
        };
        let (http, grpc, code) = match self {
            Self::MalformedBody => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT, "malformed_body"),
            Self::InvalidArgument => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT, "invalid_argument"),
            Self::UnknownModel => (StatusCode::NOT_FOUND, NOT_FOUND, "unknown_model"),
            Self::UnknownVersion => (StatusCode::NOT_FOUND, NOT_FOUND, "unknown_version"),
            Self::NotFound => (StatusCode::NOT_FOUND, NOT_FOUND, "not_found"),
            Self::UnknownRoute => (StatusCode::NOT_FOUND, UNIMPLEMENTED, "unknown_route"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, UNIMPLEMENTED, "method_not_allowed"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, RESOURCE_EXHAUSTED, "payload_too_large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT, "unsupported_media_type")
            }
            Self::Overloaded => (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED, "overloaded"),
            Self::Unimplemented => (StatusCode::NOT_IMPLEMENTED, UNIMPLEMENTED, "unimplemented"),
            Self::ControlDisabled => (StatusCode::FORBIDDEN, PERMISSION_DENIED, "control_disabled"),
            Self::Forbidden => (StatusCode::FORBIDDEN, PERMISSION_DENIED, "forbidden"),
            Self::LoadFailed => (StatusCode::CONFLICT, FAILED_PRECONDITION, "load_failed"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "not_ready"),
            Self::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, DEADLINE_EXCEEDED, "deadline_exceeded"),
            Self::UpstreamRejected => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT, "upstream_rejected"),
            Self::UpstreamUnauthenticated => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED, "upstream_unauthenticated"),
            Self::UpstreamForbidden => (StatusCode::FORBIDDEN, PERMISSION_DENIED, "upstream_forbidden"),
            Self::UpstreamNotFound => (StatusCode::NOT_FOUND, NOT_FOUND, "upstream_not_found"),
            Self::UpstreamOverloaded => (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED, "upstream_overloaded"),
            Self::UpstreamUnavailable => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "upstream_unavailable"),
            Self::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, DEADLINE_EXCEEDED, "upstream_timeout"),
            Self::UpstreamInvalid => (StatusCode::BAD_GATEWAY, INTERNAL, "upstream_invalid"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, "internal"),
        };
        Row { http, grpc, code }
    }
}

/// gRPC status codes by their numbers, so that the table stands before the gRPC transport does.
mod grpc {
    pub(super) const INVALID_ARGUMENT: u8 = 3;
    pub(super) const DEADLINE_EXCEEDED: u8 = 4;
    pub(super) const NOT_FOUND: u8 = 5;
    pub(super) const PERMISSION_DENIED: u8 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(super) const FAILED_PRECONDITION: u8 = 9;
    pub(super) const UNIMPLEMENTED: u8 = 12;
    pub(super) const INTERNAL: u8 = 13;
    pub(super) const UNAVAILABLE: u8 = 14;
    pub(super) const UNAUTHENTICATED: u8 = 16;
}

/// A failure, with what the caller may read and what only the log may.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    message: String,
    detail: Option<String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// A failure of this kind; `message` is what the caller reads.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: bounded(message.into()), detail: None, retry_after: None }))
    }

    /// The request is wrong; say what, where, and what was expected.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, message)
    }

    /// The body can't be read as what the protocol asks for.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Kind::MalformedBody, message)
    }

    /// All that is known of it, for whoever runs the server: the detail, or the message where there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.detail().unwrap_or(self.message())
    }

    /// A fault of ours: the caller learns nothing but that, the log gets `detail`.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, "internal error").with_detail(detail)
    }

    /// The server has no model of this name.
    #[must_use]
    pub fn unknown_model(name: &str) -> Self {
        Self::new(Kind::UnknownModel, format!("Model with name {name} does not exist."))
    }

    /// The model is known and can't answer yet.
    #[must_use]
    pub fn not_ready(name: &str) -> Self {
        Self::new(Kind::NotReady, format!("Model with name {name} is not ready."))
            .with_retry_after(Duration::from_secs(1))
    }

    /// Adds what only the log may show.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.0.detail = Some(bounded(detail.to_string()));
        self
    }

    /// Adds a Retry-After.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Puts `place` before the message: `place: message`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = bounded(format!("{place}: {}", self.0.message));
        self
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The text for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The text for the log.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// When the caller may try again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

/// As it is logged: both texts on one line, whatever a caller put into a name.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &self.0.message)?;
        if let Some(detail) = &self.0.detail {
            f.write_str(" (")?;
            write_line(f, detail)?;
            f.write_str(")")?;
        }
        Ok(())
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for part in text.split_inclusive(char::is_control) {
        match part.chars().next_back().filter(|last| last.is_control()) {
            Some(last) => write!(f, "{}{}", &part[..part.len() - last.len_utf8()], last.escape_debug())?,
            None => f.write_str(part)?,
        }
    }
    Ok(())
}

/// Texts quote what callers and predictors sent; a name of megabytes must not come back in each answer and log line.
fn bounded(mut text: String) -> String {
    const MOST: usize = 2048;
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Error, Kind};

    #[test]
    fn each_kind_has_a_stable_code_of_its_own() {
        let codes: HashSet<_> = Kind::ALL.iter().map(|kind| kind.row().code).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn what_a_caller_put_into_a_name_stays_on_one_short_line() {
        let error = Error::unknown_model("a\nb").with_detail("c\r");
        assert_eq!(error.to_string(), "Model with name a\\nb does not exist. (c\\r)");
        assert!(Error::invalid("é".repeat(100_000)).message().len() < 2100);
    }

    #[test]
    fn every_kind_is_a_client_or_server_error() {
        for kind in Kind::ALL {
            let status = kind.row().http;
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?} is {status}");
        }
    }
}
