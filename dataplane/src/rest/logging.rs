//! `GET` and `POST /v2/logging`: what is logged, and from now on. The body of both is `{"level": "info"}`, as `--log-level` takes it.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use serde_json::json;

use super::{body, json};
use crate::{error::Result, handler::Handler, json::unreadable, observe::Inference, telemetry};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logging {
    level: String,
}

pub(super) async fn shown(State(handler): State<Arc<Handler>>) -> Result<Response> {
    handler.check_control()?;
    Ok(json(&json!({"level": telemetry::filter()?})))
}

pub(super) async fn change(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    handler.check_control()?;
    let body = body::read_small(&handler, &headers, body, inference.context()).await?;
    let Logging { level } =
        serde_json::from_slice(&body).map_err(|error| unreadable(&error, "an object with a `level`"))?;
    telemetry::set_filter(&level)?;
    Ok(json(&json!({"level": telemetry::filter()?})))
}
