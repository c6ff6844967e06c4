//! How long a connection is borne with: time for a head, time without a request, and what changes when the server leaves.

use std::time::Duration;

use tokio::time::Instant;

use super::activity::Activity;

/// Time from a connection's opening that it has for its first request even as the server leaves: its caller connected a moment ago,
/// and the request is on its way.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Time limits of every connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From a head's first byte to its last; also the time for a connection to end that was told to.
    pub(super) head: Duration,
    /// Without a request.
    pub(super) idle: Duration,
}

/// What is to be done with a connection.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Nothing before this moment, unless something happens.
    Wait(Instant),
    /// It is told to end: HTTP/1 after the answer under way, HTTP/2 by GOAWAY.
    Tell,
    /// It ends now, as it is.
    End(&'static str),
}

/// The patience with one connection.
#[derive(Debug)]
pub(super) struct Patience {
    limits: Limits,
    opened: Instant,
    /// When something happened last.
    last: Instant,
    /// When the head that is read began.
    head: Option<Instant>,
    /// Whether the server is leaving.
    pub(super) closing: bool,
    told: bool,
}

impl Patience {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, opened: now, last: now, head: None, closing: false, told: false }
    }

    pub(super) fn next(&mut self, activity: &Activity, now: Instant) -> Next {
        if activity.take_active() {
            self.last = now;
        }
        if activity.requests() > 0 {
            (self.last, self.head) = (now, None);
            return if self.closing { self.tell(now) } else { Next::Wait(now + self.limits.idle) };
        }
        if self.told {
            return ends(self.last + self.limits.head, now, "it was told to end, and its caller holds it");
        }
        if activity.in_head() {
            let begun = *self.head.get_or_insert(now);
            return ends(begun + self.limits.head, now, "the head of a request took too long");
        }
        self.head = None;
        let until = match (self.closing, activity.is_silent()) {
            (true, true) => self.opened + FIRST_REQUEST,
            (true, false) => now,
            (false, _) => self.last + self.limits.idle,
        };
        if activity.is_silent() {
            return ends(until, now, "nothing was ever asked");
        }
        if until <= now { self.tell(now) } else { Next::Wait(until) }
    }

    fn tell(&mut self, now: Instant) -> Next {
        if self.told {
            return Next::Wait(now + self.limits.idle);
        }
        (self.told, self.last) = (true, now);
        Next::Tell
    }
}

fn ends(until: Instant, now: Instant, why: &'static str) -> Next {
    if until <= now { Next::End(why) } else { Next::Wait(until) }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::Instant;

    use super::{Activity, FIRST_REQUEST, Limits, Next, Patience};

    const LIMITS: Limits = Limits { head: Duration::from_secs(10), idle: Duration::from_secs(65) };
    const SECOND: Duration = Duration::from_secs(1);

    fn connection() -> (Patience, Arc<Activity>, Instant) {
        let now = Instant::now();
        (Patience::new(LIMITS, now), Arc::default(), now)
    }

    /// One that has been answered, and asks nothing more.
    fn answered() -> (Patience, Arc<Activity>, Instant) {
        let (patience, activity, now) = connection();
        activity.received(b"GET / HTTP/1.1\r\n\r\n");
        drop(activity.begin());
        (patience, activity, now)
    }

    #[test]
    fn a_connection_without_a_request_is_told_to_end_after_a_while() {
        let (mut patience, activity, now) = answered();
        assert_eq!(patience.next(&activity, now + 5 * SECOND), Next::Wait(now + 70 * SECOND));
        assert_eq!(patience.next(&activity, now + 69 * SECOND), Next::Wait(now + 70 * SECOND));
        assert_eq!(patience.next(&activity, now + 70 * SECOND), Next::Tell);
        // It ends by itself then, or is ended.
        assert_eq!(patience.next(&activity, now + 71 * SECOND), Next::Wait(now + 80 * SECOND));
        assert!(matches!(patience.next(&activity, now + 80 * SECOND), Next::End(_)));
    }

    #[test]
    fn a_request_under_way_has_all_the_time() {
        let (mut patience, activity, now) = connection();
        let underway = activity.begin();
        assert_eq!(patience.next(&activity, now + 500 * SECOND), Next::Wait(now + 565 * SECOND));
        drop(underway);
        assert_eq!(patience.next(&activity, now + 600 * SECOND), Next::Wait(now + 665 * SECOND));
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte() {
        let (mut patience, activity, now) = answered();
        activity.received(b"GET");
        assert_eq!(patience.next(&activity, now + 20 * SECOND), Next::Wait(now + 30 * SECOND));
        activity.received(b" /");
        assert_eq!(patience.next(&activity, now + 29 * SECOND), Next::Wait(now + 30 * SECOND));
        assert!(matches!(patience.next(&activity, now + 30 * SECOND), Next::End(_)));
        let (mut patience, activity, now) = answered();
        activity.received(b"GET");
        patience.next(&activity, now);
        let _underway = activity.begin();
        assert!(matches!(patience.next(&activity, now + 30 * SECOND), Next::Wait(_)));
    }

    #[test]
    fn as_the_server_leaves_each_is_told_when_nothing_of_it_is_lost() {
        let leaving = |(mut patience, activity, now): (Patience, Arc<Activity>, Instant)| {
            patience.closing = true;
            (patience, activity, now)
        };
        // One between requests, at once.
        let (mut patience, activity, now) = leaving(answered());
        assert_eq!(patience.next(&activity, now), Next::Tell);
        // One with a request, at once, and it ends when that is answered.
        let (mut patience, activity, now) = leaving(connection());
        let _underway = activity.begin();
        assert_eq!(patience.next(&activity, now), Next::Tell);
        assert!(matches!(patience.next(&activity, now + 600 * SECOND), Next::Wait(_)));
        // One within a head not before that is a request.
        let (mut patience, activity, now) = leaving(answered());
        activity.received(b"GET");
        assert_eq!(patience.next(&activity, now), Next::Wait(now + LIMITS.head));
        let _underway = activity.begin();
        assert_eq!(patience.next(&activity, now + SECOND), Next::Tell);
        // One that is new has a moment to ask; one that is silent for long has none.
        let (mut patience, activity, now) = leaving(connection());
        assert_eq!(patience.next(&activity, now), Next::Wait(now + FIRST_REQUEST));
        assert!(matches!(patience.next(&activity, now + FIRST_REQUEST), Next::End(_)));
    }
}
