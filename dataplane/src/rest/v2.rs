//! V2 (Open Inference Protocol): server and model metadata, readiness, infer.

use std::{cell::Cell, sync::Arc};

use axum::{Extension, body::Body, extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{json, value::RawValue};

use super::{Path, json, path, read_body};
use crate::{
    context::Context,
    error::{Error, Result},
    handler::{Handler, ServerInfo},
    infer::{InferRequest, InferResponse, RequestedOutput},
    json::{
        List, MAX_TENSORS, Members, MembersAndList, Stopped, TensorJson, plain, read_data, read_raw, read_slice, shown,
    },
    observe::Inference,
    parameters::Parameters,
    tensor::{Datatype, MAX_RANK, Tensor},
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
    Extension(context): Extension<Context>,
    Extension(inference): Extension<Inference>,
    target: Path<Target>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let target = path(target)?;
    inference.begins("v2", &handler, &target.model);
    answer(&handler, &context, &target, &headers, body).await
}

async fn answer(
    handler: &Handler,
    context: &Context,
    target: &Target,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    let model = handler.ready_model(&target.model, target.version.as_deref())?;
    let body = read_body(handler, headers, body, context).await?;
    let mut request = read_request(&body)?;
    request.model_version.clone_from(&target.version);
    let response = handler.infer(model.as_ref(), request, context).await?;
    Ok(json(&ResponseJson(&response)))
}

/// Reads a V2 body.
///
/// # Errors
/// It is no JSON, or a field is not what the protocol says; the text names the field.
pub(crate) fn read_request(body: &[u8]) -> Result<InferRequest> {
    let stopped = Cell::new(Stopped::OutsideList);
    let members = Members(["id", "parameters", "outputs", "inputs"]);
    let ([id, parameters, outputs, _], inputs) =
        read_slice(body, MembersAndList { members, items: TENSOR, stopped: &stopped })
            .map_err(|error| unreadable(&error, stopped.get()))?;
    let inputs = inputs.ok_or_else(|| missing("inputs", "a list of tensors"))?;
    if inputs.is_empty() {
        return Err(Error::invalid("field `inputs`: expected at least one tensor"));
    }
    let tensors = inputs.into_iter().enumerate();
    Ok(InferRequest {
        id: optional(id, "id", "a string")?,
        model_version: None,
        parameters: read_parameters(parameters, "parameters")?,
        inputs: tensors
            .map(|(number, tensor)| read_members(&format!("inputs[{number}]"), tensor))
            .collect::<Result<_>>()?,
        outputs: read_outputs(outputs)?,
    })
}

/// What is wrong with a body whose reading stopped there.
fn unreadable(error: &serde_json::Error, stopped: Stopped) -> Error {
    match stopped {
        Stopped::AtList if error.is_data() => {
            Error::invalid(format!("field `inputs`: expected a list of tensors ({})", plain(error)))
        }
        Stopped::AtItem(number) if error.is_data() => no_tensor(&format!("inputs[{number}]"), error),
        _ => super::unreadable(error, "a V2 request: an object with `inputs`"),
    }
}

fn no_tensor(place: &str, error: &serde_json::Error) -> Error {
    let expected = "a tensor: an object with name, shape, datatype and data";
    Error::invalid(format!("field `{place}`: expected {expected} ({})", plain(error)))
}

fn read_outputs(outputs: Option<&RawValue>) -> Result<Vec<RequestedOutput>> {
    let Some(outputs) = outputs else { return Ok(Vec::new()) };
    let item = Members(["name", "parameters"]);
    let (outputs, count) = read_raw(outputs, List { item, most: MAX_TENSORS }).map_err(|error| {
        Error::invalid(format!("field `outputs`: expected a list of objects with a `name` ({})", plain(&error)))
    })?;
    if count > MAX_TENSORS {
        return Err(Error::invalid(format!("field `outputs`: expected at most {MAX_TENSORS}, got {count}")));
    }
    let outputs = outputs.into_iter().enumerate();
    outputs
        .map(|(number, [name, parameters])| {
            Ok(RequestedOutput {
                name: required(name, &format!("outputs[{number}].name"), "a string")?,
                parameters: read_parameters(parameters, &format!("outputs[{number}].parameters"))?,
            })
        })
        .collect()
}

fn read_parameters(raw: Option<&RawValue>, field: &str) -> Result<Parameters> {
    Ok(optional(raw, field, "an object of strings, numbers and bools")?.unwrap_or_default())
}

/// What a tensor's object holds.
const TENSOR: Members<'_, 5> = Members(["name", "shape", "datatype", "data", "parameters"]);

/// Reads one tensor; `place` is where it stands in the body.
pub(crate) fn read_tensor(place: &str, tensor: &RawValue) -> Result<Tensor> {
    let members = read_raw(tensor, TENSOR).map_err(|error| no_tensor(place, &error))?;
    read_members(place, members)
}

fn read_members(place: &str, [name, shape, datatype, data, parameters]: [Option<&RawValue>; 5]) -> Result<Tensor> {
    let name: String = required(name, &format!("{place}.name"), "a string")?;
    let at = |field: &str| format!("{place} `{}`.{field}", shown(&name));
    let shape: Vec<usize> = required(shape, &at("shape"), "a list of whole numbers from 0")?;
    if shape.len() > MAX_RANK {
        let (field, got) = (at("shape"), shape.len());
        return Err(Error::invalid(format!("field `{field}`: expected at most {MAX_RANK} dimensions, got {got}")));
    }
    let datatype: String = required(datatype, &at("datatype"), "a string")?;
    let datatype = Datatype::from_name(&datatype).ok_or_else(|| {
        Error::invalid(format!("field `{}`: unknown datatype `{}`", at("datatype"), shown(&datatype)))
    })?;
    let parameters = read_parameters(parameters, &at("parameters"))?;
    if !datatype.is_json() {
        let (field, name) = (at("datatype"), datatype.name());
        return Err(Error::invalid(format!("field `{field}`: {name} has no form in JSON; send it as binary data")));
    }
    let data = data.ok_or_else(|| missing(&at("data"), "a list of elements"))?;
    let data = read_data(datatype, &shape, data).map_err(|error| error.at(format!("field `{}`", at("data"))))?;
    Ok(Tensor::new(name, shape, data)?.with_parameters(parameters))
}

fn optional<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: &str, expected: &str) -> Result<Option<T>> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get())
        .map(Some)
        .map_err(|error| Error::invalid(format!("field `{field}`: expected {expected} ({})", plain(&error))))
}

fn required<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: &str, expected: &str) -> Result<T> {
    optional(raw, field, expected)?.ok_or_else(|| missing(field, expected))
}

fn missing(field: &str, expected: &str) -> Error {
    Error::invalid(format!("field `{field}`: missing (expected {expected})"))
}

/// An answer as V2 writes it. An absent id stays absent.
struct ResponseJson<'a>(&'a InferResponse);

impl Serialize for ResponseJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let response = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model_name", &response.model_name)?;
        if let Some(version) = &response.model_version {
            map.serialize_entry("model_version", version)?;
        }
        if let Some(id) = &response.id {
            map.serialize_entry("id", id)?;
        }
        if !response.parameters.is_empty() {
            map.serialize_entry("parameters", &response.parameters)?;
        }
        let outputs: Vec<_> = response.outputs.iter().map(TensorJson).collect();
        map.serialize_entry("outputs", &outputs)?;
        map.end()
    }
}
