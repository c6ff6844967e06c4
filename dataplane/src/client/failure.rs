//! How a call failed: what its caller is told, whether it may be tried again, and whether the predictor is at fault.

use std::{
    error::Error as StdError,
    fmt,
    time::{Duration, SystemTime},
};

use crate::error::{Error, Kind};

/// The longest Retry-After that is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// A call that failed. Its predictor's name is put in front where it becomes an [`Error`].
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Kind,
    what: &'static str,
    detail: String,
    retry: Option<Reason>,
    retry_after: Option<Duration>,
    fault: bool,
}

/// Why a call may be tried again: nothing of it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was no connection.
    Connect,
    /// A connection that had been used before was closed, and not a byte of the answer came.
    Closed,
    /// It said that it can't answer now.
    Unavailable,
    /// It said that it has no room, and when it will.
    Overloaded,
}

impl Reason {
    /// As metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
        }
    }
}

impl Failure {
    fn new(kind: Kind, what: &'static str, detail: impl fmt::Display) -> Self {
        // Of what was answered only faults count: a refusal shows that it works.
        let fault = matches!(kind, Kind::UpstreamUnavailable | Kind::UpstreamTimeout);
        Self { kind, what, detail: detail.to_string(), retry: None, retry_after: None, fault }
    }

    /// No connection could be had.
    pub(super) fn connect(error: &dyn StdError) -> Self {
        let failure = Self::new(Kind::UpstreamUnavailable, "can't be reached", causes(error));
        Self { retry: Some(Reason::Connect), ..failure }
    }

    /// The connection ended before the answer began. One that was `reused` may have been closed while it was idle.
    pub(super) fn closed(error: &dyn StdError, reused: bool) -> Self {
        let failure = Self::new(Kind::UpstreamUnavailable, "can't be reached", causes(error));
        Self { retry: reused.then_some(Reason::Closed), ..failure }
    }

    /// The deadline passed.
    pub(super) fn late() -> Self {
        Self::timeout("the deadline passed")
    }

    /// It did not answer in time, here or as it says itself.
    pub(super) fn timeout(detail: impl fmt::Display) -> Self {
        Self::new(Kind::UpstreamTimeout, "did not answer in time", detail)
    }

    /// It refused what it was sent.
    pub(super) fn rejected(detail: impl fmt::Display) -> Self {
        Self::new(Kind::UpstreamRejected, "refused the request", detail)
    }

    /// It does not know who asks.
    pub(super) fn unauthenticated(detail: impl fmt::Display) -> Self {
        Self::new(Kind::UpstreamUnauthenticated, "does not know the caller", detail)
    }

    /// It does not let whoever asks.
    pub(super) fn forbidden(detail: impl fmt::Display) -> Self {
        Self::new(Kind::UpstreamForbidden, "does not let the caller", detail)
    }

    /// It does not have the model.
    pub(super) fn not_found(detail: impl fmt::Display) -> Self {
        Self::new(Kind::UpstreamNotFound, "does not have the model", detail)
    }

    /// It has no room. Without a word on when it will, trying again only adds to the crowd.
    pub(super) fn overloaded(detail: impl fmt::Display, after: Option<Duration>) -> Self {
        let failure = Self::new(Kind::UpstreamOverloaded, "has no room", detail);
        Self { retry: after.map(|_| Reason::Overloaded), ..failure }.after(after)
    }

    /// It can't answer now.
    pub(super) fn unavailable(detail: impl fmt::Display, after: Option<Duration>) -> Self {
        let failure = Self::new(Kind::UpstreamUnavailable, "is not ready", detail);
        Self { retry: Some(Reason::Unavailable), ..failure }.after(after)
    }

    /// It failed, through a fault of its own (`fault`) or one between the two of us: a wrong method, a redirect.
    pub(super) fn failed(detail: impl fmt::Display, fault: bool) -> Self {
        Self { fault, ..Self::new(Kind::UpstreamInvalid, "failed", detail) }
    }

    /// It does not explain.
    pub(super) fn unimplemented(detail: impl fmt::Display) -> Self {
        Self::new(Kind::Unimplemented, "does not explain", detail)
    }

    /// Its answer ended too early, or is no HTTP.
    pub(super) fn broken_off(error: &dyn StdError) -> Self {
        Self { fault: true, ..Self::new(Kind::UpstreamInvalid, "broke off its answer", causes(error)) }
    }

    /// Its answer is none.
    pub(super) fn invalid(detail: impl fmt::Display) -> Self {
        Self::new(Kind::UpstreamInvalid, "gave an answer that can't be used", detail)
    }

    /// The request can't be written: a fault of ours.
    pub(super) fn ours(error: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, "can't be asked", error)
    }

    /// It asks never to be tried again.
    pub(super) fn for_good(mut self) -> Self {
        self.retry = None;
        self
    }

    fn after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after.map(|after| after.min(LONGEST_PAUSE));
        self
    }

    /// What happened.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Why it may be tried again, if it may.
    pub(super) fn retry(&self) -> Option<Reason> {
        self.retry
    }

    /// When, as the predictor says.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the predictor is at fault.
    pub(super) fn is_fault(&self) -> bool {
        self.fault
    }

    /// What the log is told.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The error of a caller who asked the predictor of this name.
    pub(super) fn into_error(self, name: &str) -> Error {
        let error = Error::new(self.kind, format!("predictor `{name}` {}", self.what)).with_detail(self.detail);
        match self.retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        }
    }
}

/// A `Retry-After`: seconds, or a date. One that has passed says nothing.
#[must_use]
pub fn retry_after(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()
}

/// An error with its causes, for the log.
pub(super) fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Failure, retry_after};

    #[test]
    fn a_retry_after_is_seconds_or_a_date_to_come() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        let after = retry_after(&date).unwrap();
        assert!(after <= Duration::from_secs(3600) && after > Duration::from_secs(1800), "{after:?}");
        for none in ["", "soon", "-1", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(retry_after(none), None, "{none}");
        }
    }

    #[test]
    fn a_retry_after_of_ages_is_cut_to_a_day() {
        let error = Failure::unavailable("", retry_after("18446744073709551615")).into_error("r");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(86_400)));
    }
}
