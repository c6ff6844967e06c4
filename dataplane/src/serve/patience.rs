//! How long a connection is borne with: time for a head, time without a request, time for an answer to be taken, and what changes when
//! the server leaves.

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
    /// Without a request; also a period in which something of every answer on its way has to be taken.
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
    /// When the next period begins.
    turn: Instant,
    /// Whether the server is leaving.
    pub(super) closing: bool,
    told: bool,
}

impl Patience {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, opened: now, last: now, head: None, turn: now + limits.idle, closing: false, told: false }
    }

    pub(super) fn next(&mut self, activity: &Activity, now: Instant) -> Next {
        if activity.take_active() {
            self.last = now;
        }
        if activity.requests() > 0 {
            (self.last, self.head) = (now, None);
            return self.next_of_requests(activity, now);
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

    /// With requests. Each has its deadline until it is answered. An answer may be long and its caller slow; but one that doesn't
    /// move at all would be kept for ever. Its connection is told to end first: others may share it, and their answers arrive.
    /// An answer that has nothing to give for now, as a watch, is no such one.
    fn next_of_requests(&mut self, activity: &Activity, now: Instant) -> Next {
        let mut stuck = false;
        if self.turn <= now {
            self.turn = now + self.limits.idle;
            stuck = activity.turn();
        }
        if stuck && self.told {
            return Next::End("an answer was not taken");
        }
        if (stuck || self.closing) && !self.told { self.tell(now) } else { Next::Wait(self.turn) }
    }

    fn tell(&mut self, now: Instant) -> Next {
        (self.told, self.last) = (true, now);
        Next::Tell
    }
}

fn ends(until: Instant, now: Instant, why: &'static str) -> Next {
    if until <= now { Next::End(why) } else { Next::Wait(until) }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        sync::Arc,
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use axum::body::{Body, Bytes, HttpBody};
    use bytes::Buf;
    use futures_util::stream;
    use tokio::time::Instant;

    use super::{
        super::activity::{Answer, Part},
        Activity, FIRST_REQUEST, Limits, Next, Patience,
    };

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

    /// What hyper has of an answer with this body.
    fn answering(activity: &Arc<Activity>, body: Body) -> (Pin<Box<Answer>>, Option<Part>) {
        let mut answer = Box::pin(Answer { body, underway: activity.begin() });
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(frame) = answer.as_mut().poll_frame(&mut context) else { return (answer, None) };
        let part = frame.unwrap().unwrap().into_data().ok();
        (answer, part)
    }

    #[test]
    fn a_connection_whose_caller_takes_nothing_is_told_to_end_and_then_ended() {
        let (mut patience, activity, now) = connection();
        let (answer, part) = answering(&activity, Body::from("answer"));
        // All of it is with the connection now.
        drop(answer);
        let idle = LIMITS.idle;
        assert_eq!(patience.next(&activity, now + idle), Next::Wait(now + 2 * idle), "it had not the whole period");
        assert_eq!(patience.next(&activity, now + 2 * idle), Next::Tell);
        assert_eq!(patience.next(&activity, now + 2 * idle), Next::Wait(now + 3 * idle));
        // At the next look at the place where it is counted.
        assert_eq!(patience.next(&activity, now + 3 * idle), Next::Wait(now + 4 * idle));
        assert!(matches!(patience.next(&activity, now + 4 * idle), Next::End(_)));
        drop(part);
        // Others are no help to it.
        let (mut patience, activity, now) = connection();
        let _silent = answering(&activity, Body::from_stream(stream::pending::<io::Result<Bytes>>()));
        let _stuck = answering(&activity, Body::from("answer"));
        patience.next(&activity, now + idle);
        drop(activity.begin());
        assert_eq!(patience.next(&activity, now + 2 * idle), Next::Tell);
    }

    #[test]
    fn an_answer_that_moves_or_has_nothing_to_give_has_all_the_time() {
        let (mut patience, activity, now) = connection();
        let _silent = answering(&activity, Body::from_stream(stream::pending::<io::Result<Bytes>>()));
        let (_slow, part) = answering(&activity, Body::from("a".repeat(100)));
        let mut part = part.unwrap();
        for period in 1..20 {
            part.advance(1);
            assert!(matches!(patience.next(&activity, now + period * LIMITS.idle), Next::Wait(_)), "{period}");
        }
    }
}
