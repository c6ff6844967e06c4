//! What a request brings: its id, and a body of JSON, small and in time.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::{self, Body},
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
};
use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::time;
use uuid::Uuid;

use crate::failure::Failure;

/// Largest body in bytes.
pub(crate) const MOST_BODY: usize = 256 * 1024;
/// Longest that a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);
const MOST_ID: usize = 128;

/// A request's id: the caller's, or one that is made here. It stands in the log, goes to the transformer, and comes back.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) const HEADER: &str = "x-request-id";

    /// The id in `headers`, or a new one where there is none that a log line and a header can hold.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let is_usable = |value: &&HeaderValue| {
            (1..=MOST_ID).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        let told = headers.get(Self::HEADER).filter(is_usable).cloned();
        Self(told.unwrap_or_else(|| {
            // Hexadecimal digits and hyphens are a header's value.
            HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static("-"))
        }))
    }

    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// A JSON object's members, each as it was written.
pub(crate) type Members = BTreeMap<String, Box<RawValue>>;

/// The body of a request that says it is JSON. A page of another origin can't send one without asking first.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl JsonBody {
    /// The members of the object that it is.
    pub(crate) fn members(&self) -> Result<Members, Failure> {
        serde_json::from_slice(&self.0).map_err(|error| Failure::malformed(format!("expected a JSON object: {error}")))
    }
}

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        if !is_json(request.headers()) {
            return Err(Failure::media_type());
        }
        time::timeout(BODY_TIME, read(request.into_body()))
            .await
            .unwrap_or_else(|_| Err(Failure::slow_body()))
            .map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    // The one failure but the bound is a caller who went away, and reads no answer.
    body::to_bytes(body, MOST_BODY).await.map_err(|_| Failure::too_large(MOST_BODY))
}
