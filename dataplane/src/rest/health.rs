//! `GET /`, `/v2/health/live`, `/v2/health/ready`, `/metrics`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::json;

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
    Ok(json(&json!({"ready": true})))
}

pub(super) async fn metrics(State(handler): State<Arc<Handler>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handler.metrics.text()).into_response()
}
