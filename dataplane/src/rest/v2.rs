//! V2 (Open Inference Protocol): server and model metadata, readiness, infer.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use serde_json::json;

use super::{Path, binary, body, json, path};
use crate::{
    error::Result,
    handler::{Handler, ServerInfo},
    json::check_depth,
    observe::Inference,
    v2::{BinaryOutputs, read_raw_request, read_request, write_response},
};

/// `{model}` or `{model}/versions/{version}`.
#[derive(Deserialize)]
pub(super) struct Target {
    model: String,
    version: Option<String>,
}

pub(super) async fn server(State(handler): State<Arc<Handler>>) -> Response {
    let ServerInfo { name, version } = handler.server;
    json(&json!({"name": name, "version": version, "extensions": ServerInfo::EXTENSIONS}))
}

pub(super) async fn list(State(handler): State<Arc<Handler>>) -> Response {
    json(&json!({"models": handler.repository.names()}))
}

pub(super) async fn metadata(State(handler): State<Arc<Handler>>, target: Path<Target>) -> Result<Response> {
    let target = path(target)?;
    Ok(json(&handler.repository.metadata(&target.model, target.version.as_deref())?))
}

pub(super) async fn ready(State(handler): State<Arc<Handler>>, target: Path<Target>) -> Result<Response> {
    let target = path(target)?;
    handler.check_model_ready(&target.model, target.version.as_deref())?;
    Ok(json(&json!({"name": target.model, "ready": true})))
}

pub(super) async fn infer(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    target: Path<Target>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let Target { model, version } = path(target)?;
    inferred(&handler, &inference, (&model, version.as_deref()), &headers, body).await
}

/// The answer of this model, in this version if one is asked for.
pub(super) async fn inferred(
    handler: &Handler,
    inference: &Inference,
    (model, version): (&str, Option<&str>),
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    inference.begins("v2", handler, model);
    let _permit = handler.admit()?;
    let (context, model) = (inference.context(), handler.ready_model(model, version)?);
    let length = binary::json_length(headers)?;
    let body = body::read(handler, headers, body, context).await?;
    let (mut request, wanted) = match length {
        Some(0) => (read_raw_request(model.metadata(), &body)?, BinaryOutputs::all()),
        length => {
            // Where there is less than the header says, that is what is told.
            let json = body.get(..length.unwrap_or(body.len())).unwrap_or_default();
            check_depth(json, handler.limits.json_depth)?;
            read_request(length, &body)?
        }
    };
    drop(body);
    request.model_version = version.map(ToOwned::to_owned);
    let response = handler.infer(model.as_ref(), request, context).await?;
    let (body, length) = write_response(&response, &wanted)?;
    Ok(binary::answer(body, length))
}
