use std::time::Duration;

use tokio::time::{Instant, advance};

use super::{Breaker, IN_A_ROW, LEAST, PATIENCE, PAUSE, Permit};
use crate::{error::Kind, metrics::Metrics};

const TIMEOUT: Duration = Duration::from_secs(8);

fn breaker() -> (Breaker, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Breaker::new("r", TIMEOUT, &metrics), metrics)
}

fn admit(breaker: &Breaker) -> Result<Permit<'_>, Duration> {
    breaker.admit(Instant::now() + 2 * TIMEOUT)
}

fn open(breaker: &Breaker, kind: Kind) {
    (0..IN_A_ROW).for_each(|_| admit(breaker).unwrap().failed(kind));
    assert!(admit(breaker).is_err());
}

fn shown(metrics: &Metrics) -> bool {
    String::from_utf8(metrics.text()).unwrap().contains("upstream_circuit_open{upstream=\"r\"} 1")
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_the_next_calls_learn_how_long() {
    let (breaker, metrics) = breaker();
    for _ in 1..IN_A_ROW {
        admit(&breaker).unwrap().failed(Kind::UpstreamTimeout);
    }
    admit(&breaker).unwrap().succeeded();
    assert!(!shown(&metrics), "a success between them begins the row anew");
    open(&breaker, Kind::UpstreamTimeout);
    assert!(shown(&metrics));
    advance(Duration::from_millis(400)).await;
    assert_eq!(admit(&breaker).unwrap_err(), Duration::from_millis(600));
}

#[tokio::test(start_paused = true)]
async fn half_of_the_calls_failing_opens_it_too_but_not_failures_of_long_ago() {
    let (breaker, _) = breaker();
    for _ in 0..LEAST / 2 - 1 {
        admit(&breaker).unwrap().failed(Kind::UpstreamInvalid);
        admit(&breaker).unwrap().succeeded();
    }
    advance(Duration::from_secs(11)).await;
    admit(&breaker).unwrap().succeeded();
    admit(&breaker).unwrap().failed(Kind::UpstreamInvalid);
    assert!(admit(&breaker).is_ok(), "those before are forgotten");
    for _ in 0..LEAST / 2 - 1 {
        admit(&breaker).unwrap().succeeded();
        admit(&breaker).unwrap().failed(Kind::UpstreamInvalid);
    }
    assert!(admit(&breaker).is_err());
}

#[tokio::test(start_paused = true)]
async fn after_the_pause_one_call_tries_and_decides() {
    let (breaker, metrics) = breaker();
    open(&breaker, Kind::UpstreamTimeout);
    advance(PAUSE).await;
    let probe = admit(&breaker).unwrap();
    assert!(admit(&breaker).is_err(), "only one");
    probe.failed(Kind::UpstreamTimeout);
    assert_eq!(admit(&breaker).unwrap_err(), PAUSE);
    advance(PAUSE).await;
    admit(&breaker).unwrap().succeeded();
    assert!(admit(&breaker).is_ok() && admit(&breaker).is_ok() && !shown(&metrics));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_or_whose_caller_leaves_does_not_keep_others_from_trying() {
    let (breaker, _) = breaker();
    open(&breaker, Kind::UpstreamTimeout);
    advance(PAUSE).await;
    drop(admit(&breaker).unwrap());
    let hangs = admit(&breaker).unwrap();
    advance(PAUSE).await;
    let another = admit(&breaker).unwrap();
    assert!(admit(&breaker).is_err());
    another.succeeded();
    assert!(admit(&breaker).is_ok());
    drop(hangs);
}

#[tokio::test(start_paused = true)]
async fn calls_that_their_deadline_ends_are_failures_and_those_whose_caller_leaves_are_not() {
    let (breaker, _) = breaker();
    (0..IN_A_ROW).for_each(|_| drop(admit(&breaker)));
    assert!(admit(&breaker).is_ok());
    let calls: Vec<_> = (0..IN_A_ROW).map(|_| admit(&breaker)).collect();
    advance(TIMEOUT).await;
    drop(calls);
    assert!(admit(&breaker).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_says_nothing_of_the_upstream() {
    const INSTANT: Duration = Duration::from_millis(1);
    for (timeout, wait, opens) in [
        (TIMEOUT, PATIENCE - INSTANT, false),
        (TIMEOUT, PATIENCE, true),
        (30 * INSTANT, 29 * INSTANT, false),
        (30 * INSTANT, 30 * INSTANT, true),
    ] {
        for told in [true, false] {
            let breaker = Breaker::new("r", timeout, &Metrics::new().unwrap());
            let calls: Vec<_> = (0..LEAST).map(|_| breaker.admit(Instant::now() + wait).unwrap()).collect();
            advance(wait).await;
            for call in calls {
                if told { call.failed(Kind::UpstreamTimeout) } else { drop(call) }
            }
            assert_eq!(admit(&breaker).is_err(), opens, "{wait:?} of {timeout:?}");
        }
    }
    let (breaker, _) = breaker();
    open(&breaker, Kind::UpstreamTimeout);
    advance(PAUSE).await;
    let hurried = breaker.admit(Instant::now() + INSTANT).unwrap();
    advance(INSTANT).await;
    hurried.failed(Kind::UpstreamTimeout);
    assert!(admit(&breaker).is_ok(), "another may try at once");
}

#[tokio::test(start_paused = true)]
async fn calls_from_before_it_opened_say_nothing_after_it_closed() {
    let (breaker, metrics) = breaker();
    let mut late: Vec<_> = (0..2 * IN_A_ROW).map(|_| admit(&breaker).unwrap()).collect();
    open(&breaker, Kind::UpstreamTimeout);
    advance(PAUSE).await;
    let probe = admit(&breaker).unwrap();
    late.pop().unwrap().succeeded();
    assert!(admit(&breaker).is_err(), "only the probe decides");
    probe.succeeded();
    late.into_iter().for_each(|call| call.failed(Kind::UpstreamTimeout));
    assert!(admit(&breaker).is_ok() && !shown(&metrics));
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_the_place_of_another_hides_nothing_of_it_and_leaves_nothing_behind() {
    let (old, metrics) = breaker();
    open(&old, Kind::UpstreamTimeout);
    let new = Breaker::new("r", TIMEOUT, &metrics);
    assert!(shown(&metrics), "the old one still answers");
    drop(old);
    assert!(!shown(&metrics));
    open(&new, Kind::UpstreamTimeout);
    advance(PAUSE).await;
    drop(admit(&new));
    assert!(shown(&metrics), "half open is not closed");
    drop(new);
    assert!(!shown(&metrics));
}

#[tokio::test(start_paused = true)]
async fn health_closes_it_after_a_time_away_and_lets_one_try_after_faults() {
    let (breaker, metrics) = breaker();
    open(&breaker, Kind::UpstreamUnavailable);
    breaker.healthy();
    assert!(admit(&breaker).is_ok() && !shown(&metrics));
    open(&breaker, Kind::UpstreamInvalid);
    breaker.healthy();
    let probe = admit(&breaker).unwrap();
    assert!(admit(&breaker).is_err() && shown(&metrics));
    probe.failed(Kind::UpstreamInvalid);
    assert!(admit(&breaker).is_err());
}

#[tokio::test(start_paused = true)]
async fn how_patient_a_caller_must_be_is_for_the_upstream_to_say() {
    let patience = Duration::from_secs(5);
    for (wait, opens) in [(patience / 2, false), (patience, true)] {
        let breaker = breaker().0.with_patience(patience);
        let calls: Vec<_> = (0..IN_A_ROW).map(|_| breaker.admit(Instant::now() + wait).unwrap()).collect();
        advance(wait).await;
        drop(calls);
        assert_eq!(admit(&breaker).is_err(), opens, "{wait:?}");
    }
}
