//! The model repository extension: which models there are, and loading and unloading them.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, http::HeaderMap, response::Response};
use serde_json::{json, value::RawValue};

use super::{Path, body, json, path};
use crate::{
    context::Context,
    error::{Error, Result},
    handler::Handler,
    json::{Members, plain, read_slice, unreadable},
    observe::Inference,
    parameters::Parameters,
    repository::State as ModelState,
};

pub(super) async fn index(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let body = body::read_small(&handler, &headers, body, inference.context()).await?;
    let ready: Option<bool> = member(&body, "ready", "true or false")?;
    let mut items = handler.repository.index();
    items.retain(|item| ready != Some(true) || item.state == ModelState::Ready);
    Ok(json(&items))
}

pub(super) async fn load(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    model: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let name = path(model)?;
    handler.check_control()?;
    let parameters = parameters(&handler, inference.context(), &headers, body).await?;
    handler.load(&name, parameters.keys().map(String::as_str)).await?;
    Ok(json(&json!({"name": name, "load": true})))
}

pub(super) async fn unload(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    model: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let name = path(model)?;
    handler.check_control()?;
    // `unload_dependents` may be among them; no model here depends on another.
    parameters(&handler, inference.context(), &headers, body).await?;
    handler.repository.unload(&name).await?;
    Ok(json(&json!({"name": name, "unload": true})))
}

async fn parameters(handler: &Handler, context: &Context, headers: &HeaderMap, body: Body) -> Result<Parameters> {
    let body = body::read_small(handler, headers, body, context).await?;
    Ok(member(&body, "parameters", "an object of strings, numbers and bools")?.unwrap_or_default())
}

/// One member of a body that may be empty.
fn member<'a, T: serde::Deserialize<'a>>(body: &'a [u8], name: &str, expected: &str) -> Result<Option<T>> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let [value]: [Option<&RawValue>; 1] =
        read_slice(body, Members([name])).map_err(|error| unreadable(&error, "an object"))?;
    value
        .map(|value| serde_json::from_str(value.get()))
        .transpose()
        .map_err(|error| Error::invalid(format!("field `{name}`: expected {expected} ({})", plain(&error))))
}
