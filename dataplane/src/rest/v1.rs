//! V1: `GET /v1/models`, `GET /v1/models/{m}`, `POST /v1/models/{m}:predict`.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, http::HeaderMap, response::Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{json, value::RawValue};

use super::{Path, json, json_bytes, path, read_body};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::Handler,
    json::{List, Members, Raw, read_raw, read_slice, unreadable},
    observe::Inference,
    v1::Predictions,
};

/// How many of one request's instances are under way at a time: one caller must not fill the queue that all share.
const FAN_OUT: usize = 16;

pub(super) async fn list(State(handler): State<Arc<Handler>>) -> Response {
    json(&json!({"models": handler.repository.names()}))
}

pub(super) async fn ready(State(handler): State<Arc<Handler>>, target: Path<String>) -> Result<Response> {
    let name = path(target)?;
    handler.check_model_ready(&name, None)?;
    Ok(json(&json!({"name": name, "ready": true})))
}

/// `{model}:predict`. The router can't split a segment, so this does.
pub(super) async fn act(
    State(handler): State<Arc<Handler>>,
    Extension(context): Extension<Context>,
    Extension(inference): Extension<Inference>,
    target: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let target = path(target)?;
    let (name, verb) = target.rsplit_once(':').unwrap_or((&target, ""));
    match verb {
        "predict" => {
            inference.begins("v1", &handler, name);
            predict(&handler, &context, name, &headers, body).await
        }
        "explain" => {
            handler.repository.get(name, None)?;
            Err(Error::new(Kind::Unimplemented, format!("Model with name {name} does not explain.")))
        }
        "" => Err(Error::new(
            Kind::MethodNotAllowed,
            format!("POST is not allowed on /v1/models/{name}; try {name}:predict"),
        )),
        verb => Err(Error::new(Kind::UnknownRoute, format!("no such verb: {verb}; try {name}:predict"))),
    }
}

async fn predict(
    handler: &Handler,
    context: &Context,
    name: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    let model = handler.ready_model(name, None)?;
    let body = read_body(handler, headers, body, context).await?;
    let instances = read_instances(&body, handler.limits.instances)?;
    let requests = model.v1().decode(&instances, model.metadata())?;
    let answers = requests.into_iter().map(|request| handler.infer(model.as_ref(), request, context));
    let responses: Vec<_> = stream::iter(answers).buffered(FAN_OUT).try_collect().await?;
    let mut predictions = Predictions::default();
    model.v1().encode(&responses, &mut predictions)?;
    Ok(json_bytes(predictions.finish(instances.len())?))
}

/// The instances of a V1 body, under `instances` or, as KServe also takes it, `inputs`.
fn read_instances(body: &[u8], limit: usize) -> Result<Vec<&RawValue>> {
    let [inputs, instances] = read_slice(body, Members(["inputs", "instances"]))
        .map_err(|error| unreadable(&error, "an object with a list of `instances`"))?;
    let (field, list) = match (inputs, instances) {
        (Some(inputs), _) => ("inputs", inputs),
        (None, Some(instances)) => ("instances", instances),
        (None, None) => return Err(Error::invalid("field `instances`: missing (expected a list)")),
    };
    let (instances, count) = read_raw(list, List { item: Raw, most: limit })
        .map_err(|_| Error::invalid(format!("Expected \"{field}\" to be a list")))?;
    match count {
        0 => Err(Error::invalid(format!("field `{field}`: expected at least one instance"))),
        count if count > limit => {
            Err(Error::invalid(format!("field `{field}`: expected at most {limit} instances, got {count}")))
        }
        _ => Ok(instances),
    }
}
