//! V1: `GET /v1/models`, `GET /v1/models/{m}`, `POST /v1/models/{m}:predict`.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{Path, json, json_bytes, observe::Labels, path, read_body};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::Handler,
    json::plain,
    v1::Predictions,
};

pub(super) async fn list(State(handler): State<Arc<Handler>>) -> Response {
    json(&json!({"models": handler.repository.names().collect::<Vec<_>>()}))
}

pub(super) async fn ready(State(handler): State<Arc<Handler>>, target: Path<String>) -> Result<Response> {
    let name = path(target)?;
    handler.ready_model(&name, None)?;
    Ok(json(&json!({"name": name, "ready": true})))
}

/// `{model}:predict`. The router can't split a segment, so this does.
pub(super) async fn act(
    State(handler): State<Arc<Handler>>,
    Extension(context): Extension<Context>,
    target: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let target = path(target)?;
    let (name, verb) = target.rsplit_once(':').unwrap_or((&target, ""));
    match verb {
        "predict" => {
            let mut response =
                predict(&handler, &context, name, &headers, body).await.unwrap_or_else(Error::into_response);
            Labels::of("v1", &handler, name).attach(&mut response);
            Ok(response)
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
    let instances = read_instances(&body)?;
    if instances.len() > handler.limits.instances {
        let (limit, got) = (handler.limits.instances, instances.len());
        return Err(Error::invalid(format!("field `instances`: expected at most {limit}, got {got}")));
    }
    let requests = model.v1().decode(&instances)?;
    let answers = requests.into_iter().map(|request| handler.infer(model.as_ref(), request, context));
    let responses = try_join_all(answers).await?;
    let mut predictions = Predictions::default();
    model.v1().encode(&responses, &mut predictions)?;
    Ok(json_bytes(predictions.finish(instances.len())?))
}

/// The instances of a V1 body, under `instances` or, as KServe also takes it, `inputs`.
fn read_instances(body: &[u8]) -> Result<Vec<&RawValue>> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        instances: Option<&'a RawValue>,
        #[serde(borrow)]
        inputs: Option<&'a RawValue>,
    }
    let body: &RawValue =
        serde_json::from_slice(body).map_err(|error| Error::malformed(format!("the body is no JSON: {error}")))?;
    if !body.get().starts_with('{') {
        return Err(Error::malformed("the body: expected an object with a list of `instances`"));
    }
    let request: Request<'_> =
        serde_json::from_str(body.get()).map_err(|error| Error::malformed(format!("the body: {}", plain(&error))))?;
    let (field, list) = match (request.inputs, request.instances) {
        (Some(inputs), _) => ("inputs", inputs),
        (None, Some(instances)) => ("instances", instances),
        (None, None) => return Err(Error::invalid("field `instances`: missing (expected a list)")),
    };
    let instances: Vec<&RawValue> =
        serde_json::from_str(list.get()).map_err(|_| Error::invalid(format!("Expected \"{field}\" to be a list")))?;
    if instances.is_empty() {
        return Err(Error::invalid(format!("field `{field}`: expected at least one instance")));
    }
    Ok(instances)
}
