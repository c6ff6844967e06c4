//! `GET` and `POST /v2/logging`: what is logged, and from now on. The body of both is `{"level": "info"}`, as `--log-level` takes it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, body::Body, extract::State, http::HeaderMap, response::Response};
use serde_json::json;

use super::{body, json};
use crate::{
    error::{Error, Result},
    handler::Handler,
    json::unreadable,
    observe::Inference,
    telemetry,
};

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
    // Not a derived struct: those read a list as well.
    let asked: BTreeMap<String, String> =
        serde_json::from_slice(&body).map_err(|error| unreadable(&error, "an object with a `level`"))?;
    let level = asked.get("level").filter(|_| asked.len() == 1);
    telemetry::set_filter(level.ok_or_else(|| Error::invalid("field `level`: expected a level, and nothing else"))?)?;
    Ok(json(&json!({"level": telemetry::filter()?})))
}
