//! How a call failed: its class, whether it may be tried again, and what the log is told.

use std::{error::Error, fmt, time::Duration};

use dataplane::client::Reason;
use reqwest::StatusCode;

use crate::miss::{Miss, Missed};

/// The longest Retry-After that is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// A call that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) class: Miss,
    /// Why it may be tried again, if it may.
    pub(crate) retry: Option<Reason>,
    /// When, as the API says.
    pub(crate) retry_after: Option<Duration>,
    /// The status that was answered.
    pub(crate) status: Option<StatusCode>,
    /// What the log is told.
    pub(crate) detail: String,
}

impl Failure {
    /// A failure of this class.
    pub(crate) fn new(class: Miss, detail: impl fmt::Display) -> Self {
        Self { class, retry: None, retry_after: None, status: None, detail: detail.to_string() }
    }

    /// What was answered is none of the API's answers.
    pub(super) fn invalid(detail: impl fmt::Display) -> Self {
        Self::new(Miss::Invalid, detail)
    }

    /// An answer that had begun came to no end.
    pub(super) fn broken_off(detail: impl fmt::Display) -> Self {
        Self::new(Miss::BrokenOff, detail)
    }

    /// The call could not be sent, or no answer began.
    pub(super) fn sending(error: reqwest::Error) -> Self {
        let (away, error) = (error.is_connect(), error.without_url());
        match away {
            true => Self { retry: Some(Reason::Connect), ..Self::new(Miss::Unreachable, causes(&error)) },
            false => Self::new(Miss::BrokenOff, causes(&error)),
        }
    }

    /// The answer broke off.
    pub(super) fn reading(error: reqwest::Error) -> Self {
        Self::new(Miss::BrokenOff, causes(&error.without_url()))
    }

    /// The API answered with this status, which is not 200.
    pub(super) fn status(status: StatusCode, after: Option<Duration>, detail: String) -> Self {
        let after = after.map(|after| after.min(LONGEST_PAUSE));
        let (class, retry) = match status {
            // Without a word on when there is room, trying again only adds to the crowd.
            StatusCode::TOO_MANY_REQUESTS => (Miss::Overloaded, after.map(|_| Reason::Overloaded)),
            StatusCode::SERVICE_UNAVAILABLE => (Miss::Unavailable, Some(Reason::Unavailable)),
            status if status.is_server_error() => (Miss::Failed, None),
            status if status.is_client_error() => (Miss::Rejected, None),
            _ => (Miss::Invalid, None),
        };
        Self { retry, retry_after: after, status: Some(status), ..Self::new(class, detail) }
    }

    /// Whether the API surely computed nothing of the call.
    pub(crate) fn is_undone(&self) -> bool {
        matches!(
            self.class,
            Miss::CircuitOpen | Miss::Unreachable | Miss::Overloaded | Miss::Unavailable | Miss::Rejected
        )
    }

    /// Whether it may be the form of the call that the API does not take.
    pub(crate) fn is_of_form(&self) -> bool {
        matches!(self.status, Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY))
    }
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self { class: failure.class, detail: failure.detail.into() }
    }
}

/// An error with its causes.
fn causes(error: &dyn Error) -> String {
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
    use std::time::Duration;

    use dataplane::client::Reason;
    use reqwest::StatusCode;

    use super::Failure;
    use crate::miss::Miss;

    #[test]
    fn a_status_has_a_class_and_says_whether_to_try_again() {
        let after = Some(Duration::from_secs(2));
        for (status, after, class, retry) in [
            (429, None, Miss::Overloaded, None),
            (429, after, Miss::Overloaded, Some(Reason::Overloaded)),
            (503, None, Miss::Unavailable, Some(Reason::Unavailable)),
            (500, after, Miss::Failed, None),
            (502, None, Miss::Failed, None),
            (401, None, Miss::Rejected, None),
            (400, None, Miss::Rejected, None),
            (302, None, Miss::Invalid, None),
            (204, None, Miss::Invalid, None),
        ] {
            let failure = Failure::status(StatusCode::from_u16(status).unwrap(), after, String::new());
            assert_eq!((failure.class, failure.retry, failure.retry_after), (class, retry, after), "{status}");
        }
        let ages = Failure::status(StatusCode::TOO_MANY_REQUESTS, Some(Duration::MAX), String::new());
        assert_eq!(ages.retry_after, Some(Duration::from_secs(86_400)));
    }
}
