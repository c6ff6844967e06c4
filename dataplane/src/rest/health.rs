//! `GET /`, `/v2/health/live`, `/v2/health/ready`, `/metrics`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::json;
use crate::{error::Result, handler::Handler};

pub(super) async fn alive() -> Response {
    json(&json!({"status": "alive"}))
}

pub(super) async fn live() -> Response {
    json(&json!({"live": true}))
}

pub(super) async fn ready(State(handler): State<Arc<Handler>>) -> Result<Response> {
    handler.check_ready()?;
    let dependencies = handler.readiness.dependencies().into_iter();
    let dependencies: Map<_, _> =
        dependencies.map(|(name, up)| (name, Value::from(if up { "ready" } else { "away" }))).collect();
    Ok(json(&match dependencies.is_empty() {
        true => json!({"ready": true}),
        false => json!({"ready": true, "dependencies": dependencies}),
    }))
}

pub(super) async fn metrics(State(handler): State<Arc<Handler>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handler.metrics.text()).into_response()
}
