//! `POST /v1/events`: what customers do, told by a shop. An event is durable before it is acknowledged, told again it counts once, and
//! every server's next answer knows it.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use catalog::{
    events::Event,
    store::{Failure, Recorded, Unrecorded, Writer},
};
use dataplane::{Context, Error, Handler, Inference, Kind, Result, rest};
use jiff::Timestamp;
use prometheus::{IntCounterVec, Opts};
use serde::Serialize;
use tokio::time::timeout_at;

use crate::facts;

mod read;

/// What is said of events whose fate is open.
const UNKNOWN: &str = "whether the events were written is not known; told again with the same ids they count once";
/// When to come back where too many events wait.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// What the route needs.
struct Events {
    handler: Arc<Handler>,
    writer: Writer,
    told: IntCounterVec,
}

/// The answer: all events of the request are in the store.
#[derive(Serialize)]
struct Acknowledged {
    /// How many were new.
    accepted: usize,
    /// How many had been told before.
    repeated: usize,
}

/// The route, over a store's writer.
///
/// # Errors
/// The data plane has a metric of the same name.
pub(crate) fn routes(handler: Arc<Handler>, writer: Writer) -> Result<Router, String> {
    let told = Opts::new(
        "events_total",
        "Events that were told, by outcome: accepted, repeated, invalid, refused where too many wait, failed where the store did.",
    );
    let told = IntCounterVec::new(told, &["outcome"]).map_err(|error| error.to_string())?;
    handler.metrics.register(told.clone()).map_err(|error| error.to_string())?;
    let events = Arc::new(Events { handler, writer, told });
    Ok(Router::new().route("/v1/events", post(tell)).with_state(events))
}

async fn tell(
    State(events): State<Arc<Events>>,
    Extension(inference): Extension<Inference>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Acknowledged>)> {
    let context = inference.context();
    let told = events.read(&headers, body, context).await?;
    let count = told.len();
    let recorded = timeout_at(context.deadline().into(), events.writer.record(told)).await;
    match recorded {
        Ok(Ok(Recorded { accepted, repeated })) => {
            events.count("accepted", accepted);
            events.count("repeated", repeated);
            Ok((StatusCode::ACCEPTED, Json(Acknowledged { accepted, repeated })))
        }
        Ok(Err(unrecorded)) => {
            events.count(if matches!(unrecorded, Unrecorded::Overloaded) { "refused" } else { "failed" }, count);
            Err(unacknowledged(&unrecorded))
        }
        Err(_) => {
            events.count("failed", count);
            Err(Error::new(Kind::DeadlineExceeded, UNKNOWN))
        }
    }
}

impl Events {
    /// What is told. A body waits in memory among those of inferences, of which only so many are let in; what waits for the store after
    /// that is bounded by its writer, and takes no place from them.
    async fn read(&self, headers: &HeaderMap, body: Body, context: &Context) -> Result<Vec<Event>> {
        let _permit = self.handler.admit()?;
        let body = rest::read_decompressed_body(&self.handler, headers, body, context).await?;
        read::events(headers, &body, Timestamp::now()).inspect_err(|_| self.count("invalid", 1))
    }

    fn count(&self, outcome: &str, count: usize) {
        if count > 0 {
            self.told.with_label_values(&[outcome]).inc_by(count as u64);
        }
    }
}

/// Why nothing is acknowledged, as the caller is told. What could come to be is a 429, 503 or 504; what the store would refuse again and
/// again is a 400, lest a shop tell it for ever.
fn unacknowledged(unrecorded: &Unrecorded) -> Error {
    match unrecorded {
        Unrecorded::Overloaded => {
            Error::new(Kind::Overloaded, "too many events are waiting to be written").with_retry_after(RETRY_AFTER)
        }
        Unrecorded::Store(error) if error.failure == Failure::Refused => {
            Error::new(Kind::InvalidArgument, "the store refuses these events").with_detail(error)
        }
        Unrecorded::Store(error) => {
            let failed = facts::failed(error);
            let open =
                Error::new(failed.kind(), format!("{}; {UNKNOWN}", failed.message())).with_detail(failed.reason());
            failed.retry_after().into_iter().fold(open, Error::with_retry_after)
        }
    }
}

#[cfg(test)]
mod tests;
