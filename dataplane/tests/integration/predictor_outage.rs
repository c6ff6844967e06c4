//! A predictor that is away for a while: what is tried again, what is not, and when it is left alone.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use dataplane::{
    Context, Error, InferRequest, Kind,
    client::{Predictor, Protocol, Settings},
    metrics::Metrics,
};
use futures_util::future::join_all;
use tokio::net::TcpListener;

use crate::{
    predictor::{Mock, context, predictor, predictor_set, predictor_with, request},
    predictor_connections::breaking,
    predictor_failures::{down, silent},
};

const ANSWER: &str = r#"{"outputs": []}"#;

fn told(metrics: &Metrics, line: &str) -> bool {
    String::from_utf8(metrics.text()).unwrap().contains(line)
}

/// One that refuses once with this status, and answers from then on.
async fn once(status: u16, retry_after: Option<&'static str>) -> Mock {
    let status = StatusCode::from_u16(status).unwrap();
    Mock::serving(move |_, number| match (number, retry_after) {
        (0, Some(after)) => (status, [("retry-after", after)]).into_response(),
        (0, None) => status.into_response(),
        _ => ANSWER.into_response(),
    })
    .await
}

#[tokio::test]
async fn what_was_not_done_is_tried_again() {
    for (status, after, reason) in
        [(503, None, "unavailable"), (503, Some("0"), "unavailable"), (429, Some("0"), "overloaded")]
    {
        let (mock, metrics) = (once(status, after).await, Metrics::new().unwrap());
        predictor_with(&mock.address, Protocol::V2, metrics.clone()).infer(&request(), &context()).await.unwrap();
        let line = format!("upstream_retries_total{{reason=\"{reason}\",upstream=\"ranking\"}} 1");
        assert!(told(&metrics, &line), "{status} {after:?}");
    }
}

#[tokio::test]
async fn what_may_have_been_done_or_would_only_add_to_the_crowd_is_not() {
    for (status, after) in [(429, None), (500, None), (502, None), (504, None), (400, None), (503, Some("100"))] {
        let mock = once(status, after).await;
        assert!(predictor(&mock.address, Protocol::V2).infer(&request(), &context()).await.is_err());
        assert_eq!(mock.got().len(), 1, "{status} {after:?}");
    }
}

#[tokio::test]
async fn no_connection_is_tried_again_as_often_as_is_asked_for() {
    for retries in [0, 2] {
        let ((_held, address), metrics) = (down(), Metrics::new().unwrap());
        let settings = Settings { retries, ..Settings::default() };
        predictor_set(&address, &settings, metrics.clone()).infer(&request(), &context()).await.unwrap_err();
        let line = format!("upstream_retries_total{{reason=\"connect\",upstream=\"ranking\"}} {retries}");
        assert_eq!(told(&metrics, &line), retries > 0);
    }
}

#[tokio::test]
async fn one_that_keeps_failing_is_left_alone() {
    let (mock, metrics) = (Mock::answering(500, &[], "").await, Metrics::new().unwrap());
    let predictor = predictor_with(&mock.address, Protocol::V2, metrics.clone());
    for _ in 0..5 {
        assert_eq!(predictor.infer(&request(), &context()).await.unwrap_err().kind(), Kind::UpstreamInvalid);
    }
    let error = predictor.infer(&request(), &context()).await.unwrap_err();
    assert_eq!((error.kind(), mock.got().len()), (Kind::UpstreamUnavailable, 5));
    assert!(error.retry_after().is_some_and(|after| after <= Duration::from_secs(1)), "{error}");
    assert!(told(&metrics, "upstream_circuit_open{upstream=\"ranking\"} 1"));
    assert!(told(&metrics, "upstream_requests_total{outcome=\"circuit_open\",upstream=\"ranking\"} 1"));
}

#[tokio::test]
async fn one_that_is_silent_for_all_its_time_too() {
    for (timeout, budget) in [(10, 60_000), (60_000, 2_000)] {
        let settings = Settings { timeout: Duration::from_millis(timeout), ..Settings::default() };
        let predictor = predictor_set(&silent().await, &settings, Metrics::new().unwrap());
        let (request, hurried) = (request(), Context::background(Duration::from_millis(budget)));
        let calls = (0..5).map(async |number| {
            let call = predictor.infer(&request, &hurried);
            // The server's own deadline is the same as its caller's, and may cut the call before the client does.
            let server = (hurried.deadline() + Duration::from_millis(1)).into();
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(server), if number % 2 == 0 => {}
                answer = call => assert_eq!(answer.unwrap_err().kind(), Kind::UpstreamTimeout),
            }
        });
        join_all(calls).await;
        assert_eq!(predictor.infer(&request, &context()).await.unwrap_err().kind(), Kind::UpstreamUnavailable);
    }
}

#[tokio::test]
async fn one_that_breaks_off_its_answers_too() {
    let (address, _) = breaking(false, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
    let predictor = predictor(&address, Protocol::V2);
    for _ in 0..5 {
        assert_eq!(predictor.infer(&request(), &context()).await.unwrap_err().kind(), Kind::UpstreamInvalid);
    }
    assert_eq!(predictor.infer(&request(), &context()).await.unwrap_err().kind(), Kind::UpstreamUnavailable);
}

#[tokio::test]
async fn what_is_never_sent_says_nothing_of_it() {
    let mock = Mock::serving(|got, _| match got.line.starts_with("GET") {
        true => StatusCode::OK,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    })
    .await;
    let metrics = Metrics::new().unwrap();
    let predictor = predictor_with(&mock.address, Protocol::V1, metrics.clone());
    for _ in 0..5 {
        failed(&predictor).await;
    }
    // It says that it is ready, so that the next call may try.
    predictor.ready(&context()).await.unwrap();
    let unwritten = InferRequest::of(Vec::new());
    assert_eq!(predictor.infer(&unwritten, &context()).await.unwrap_err().kind(), Kind::Internal);
    assert!(told(&metrics, "upstream_circuit_open{upstream=\"ranking\"} 1"));
    assert_eq!(failed(&predictor).await.kind(), Kind::UpstreamInvalid, "another may try");
}

#[tokio::test]
async fn what_a_request_asks_of_its_metadata_is_a_call_like_any_other() {
    let metrics = Metrics::new().unwrap();
    let settings = Settings { timeout: Duration::from_millis(10), ..Settings::default() };
    let predictor = predictor_set(&silent().await, &settings, metrics.clone());
    for _ in 0..5 {
        assert_eq!(predictor.metadata_for(&context()).await.unwrap_err().kind(), Kind::UpstreamTimeout);
    }
    for kind in
        [predictor.metadata_for(&context()).await.unwrap_err(), failed(&predictor).await].map(|error| error.kind())
    {
        assert_eq!(kind, Kind::UpstreamUnavailable);
    }
    assert!(told(&metrics, "upstream_requests_total{outcome=\"upstream_timeout\",upstream=\"ranking\"} 5"));
    // Who looks after it asks all the same.
    let looked = predictor.metadata(&Context::background(Duration::from_millis(10))).await;
    assert_eq!(looked.unwrap_err().kind(), Kind::UpstreamTimeout);
}

async fn failed(predictor: &Predictor) -> Error {
    predictor.infer(&request(), &context()).await.unwrap_err()
}

#[tokio::test]
async fn one_that_has_metadata_has_not_shown_that_it_computes() {
    let mock = Mock::serving(|got, _| match got.line.starts_with("GET") {
        true => r#"{"name":"adder"}"#.into_response(),
        false => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    })
    .await;
    let metrics = Metrics::new().unwrap();
    let predictor = predictor_with(&mock.address, Protocol::V2, metrics.clone());
    for _ in 0..5 {
        failed(&predictor).await;
    }
    predictor.ready(&context()).await.unwrap();
    predictor.metadata_for(&context()).await.unwrap();
    assert!(told(&metrics, "upstream_circuit_open{upstream=\"ranking\"} 1"));
    assert_eq!(failed(&predictor).await.kind(), Kind::UpstreamInvalid, "it may try");
}

#[tokio::test]
async fn a_caller_in_a_hurry_does_not_open_the_circuit_for_the_others() {
    // Silent to those in a hurry, or as our own servers answer them: late, before the client's own clock says so.
    for told in [false, true] {
        let late = Arc::new(AtomicBool::new(true));
        let mock = late_mock(late.clone(), told).await;
        let predictor = predictor(&mock, Protocol::V2);
        for _ in 0..30 {
            let hurried = Context::background(Duration::from_millis(if told { 900 } else { 5 }));
            assert_eq!(predictor.infer(&request(), &hurried).await.unwrap_err().kind(), Kind::UpstreamTimeout);
        }
        late.store(false, Ordering::SeqCst);
        predictor.infer(&request(), &context()).await.unwrap();
    }
}

/// Answers, once it is no longer `late`; until then says that it is late, or nothing.
async fn late_mock(late: Arc<AtomicBool>, says_so: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().fallback(async move || match late.load(Ordering::SeqCst) {
        true if says_so => StatusCode::GATEWAY_TIMEOUT.into_response(),
        true => pending().await,
        false => ANSWER.into_response(),
    });
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

#[tokio::test]
async fn a_call_without_time_is_late_and_not_one_that_tries() {
    let mock = Mock::answering(500, &[], "").await;
    let (expired, metrics) = (Context::background(Duration::ZERO), Metrics::new().unwrap());
    let predictor = predictor_with(&mock.address, Protocol::V2, metrics.clone());
    for _ in 0..5 {
        predictor.infer(&request(), &context()).await.unwrap_err();
    }
    assert_eq!(predictor.infer(&request(), &expired).await.unwrap_err().kind(), Kind::UpstreamTimeout);
    assert!(told(&metrics, "upstream_requests_total{outcome=\"upstream_timeout\",upstream=\"ranking\"} 1"));
}

#[tokio::test]
async fn refusals_leave_it_in_use() {
    for status in [400, 404, 429] {
        let mock = Mock::answering(status, &[], "").await;
        let predictor = predictor(&mock.address, Protocol::V2);
        for _ in 0..30 {
            predictor.infer(&request(), &context()).await.unwrap_err();
        }
        assert_eq!(mock.got().len(), 30, "{status}");
    }
}

#[tokio::test]
async fn one_that_came_back_is_used_as_soon_as_it_says_so() {
    let away = Arc::new(AtomicBool::new(true));
    let mock = Mock::serving({
        let away = away.clone();
        move |_, _| -> Response {
            match away.load(Ordering::SeqCst) {
                true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                false => ANSWER.into_response(),
            }
        }
    })
    .await;
    let predictor = predictor(&mock.address, Protocol::V2);
    for _ in 0..6 {
        predictor.infer(&request(), &context()).await.unwrap_err();
    }
    let asked = mock.got().len();
    away.store(false, Ordering::SeqCst);
    predictor.ready(&context()).await.unwrap();
    predictor.infer(&request(), &context()).await.unwrap();
    assert_eq!(mock.got().len(), asked + 2);
}
