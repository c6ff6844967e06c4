//! When a call is tried again: only where nothing of it was done, within its deadline, and so seldom that an outage is not multiplied.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::failure::{Failure, Reason};

/// What each call adds: retries are at most one in ten calls.
const DEPOSIT: f64 = 0.1;
/// What can be saved up, and is there at the start.
const SAVINGS: f64 = 10.0;
/// Longest pause before the first retry; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// Longest pause before any.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Says whether a call to a service is tried again, and when. One for all calls to that service.
#[derive(Debug)]
pub struct Retries {
    most: u32,
    tokens: Mutex<f64>,
}

impl Retries {
    /// At most `most` for one call.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, tokens: Mutex::new(SAVINGS) }
    }

    /// A call begins.
    pub fn deposit(&self) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = (*tokens + DEPOSIT).min(SAVINGS);
    }

    /// The pause before a call that failed so is tried again, if it is, after as many retries `done`.
    pub(super) fn pause(&self, failure: &Failure, done: u32, remaining: Duration) -> Option<Duration> {
        self.pause_after(failure.retry()?, failure.retry_after(), done, remaining)
    }

    /// The pause before a call that failed for this reason is tried again, after as many retries `done`: the service's own `retry_after`
    /// where it said one. Nothing where it is not tried again: there were enough retries, or no time `remaining` is left for the pause.
    pub fn pause_after(
        &self,
        reason: Reason,
        retry_after: Option<Duration>,
        done: u32,
        remaining: Duration,
    ) -> Option<Duration> {
        if done >= self.most {
            return None;
        }
        let most = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(done).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
        // Anywhere up to the longest: callers who failed together should not come back together.
        let jitter = most.mul_f64(fastrand::f64());
        let pause = match (retry_after, reason) {
            (Some(after), _) => after.saturating_add(jitter),
            (None, Reason::Closed) => Duration::ZERO,
            (None, _) => jitter,
        };
        (pause < remaining && self.withdraw()).then_some(pause)
    }

    fn withdraw(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *tokens >= 1.0;
        if enough {
            *tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::{FIRST_PAUSE, Retries};
    use crate::client::failure::Failure;

    const PLENTY: Duration = Duration::from_secs(60);

    fn refused() -> Failure {
        Failure::connect(&io::Error::other("refused"))
    }

    #[test]
    fn only_what_was_not_done_is_tried_again_and_only_so_often() {
        let retries = Retries::new(1);
        assert!(retries.pause(&refused(), 0, PLENTY).unwrap() <= FIRST_PAUSE);
        assert!(retries.pause(&refused(), 1, PLENTY).is_none());
        assert!(Retries::new(0).pause(&refused(), 0, PLENTY).is_none());
        let closed = |reused| Failure::closed(&io::Error::other("closed"), reused);
        assert_eq!(retries.pause(&closed(true), 0, PLENTY), Some(Duration::ZERO));
        for failure in [
            closed(false),
            Failure::late(),
            Failure::rejected(""),
            Failure::failed("", true),
            Failure::overloaded("", None),
            Failure::unavailable("", None).for_good(),
        ] {
            assert!(retries.pause(&failure, 0, PLENTY).is_none(), "{failure:?}");
        }
    }

    #[test]
    fn a_retry_after_is_waited_for_where_the_deadline_allows() {
        let retries = Retries::new(1);
        let after = Some(Duration::from_secs(2));
        for failure in [Failure::overloaded("", after), Failure::unavailable("", after)] {
            let pause = retries.pause(&failure, 0, PLENTY).unwrap();
            assert!(pause >= Duration::from_secs(2) && pause <= Duration::from_secs(2) + FIRST_PAUSE, "{pause:?}");
            assert!(retries.pause(&failure, 0, Duration::from_secs(2)).is_none());
        }
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let retries = Retries::new(1);
        let tried = (0..1000).filter(|_| {
            retries.deposit();
            retries.pause(&refused(), 0, PLENTY).is_some()
        });
        let tried = tried.count();
        assert!((100..=111).contains(&tried), "{tried} retries of 1000 calls");
    }

    #[test]
    fn pauses_grow_and_end() {
        let retries = Retries::new(u32::MAX);
        for done in [0, 3, 40] {
            let pause = retries.pause(&refused(), done, PLENTY).unwrap();
            assert!(pause <= Duration::from_secs(1), "{pause:?}");
        }
    }
}
