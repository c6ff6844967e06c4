//! V2 (Open Inference Protocol): server and model metadata, readiness, infer.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{json, value::RawValue};

use super::{Path, json, observe::Labels, path, read_body};
use crate::{
    context::Context,
    error::{Error, Result},
    handler::Handler,
    infer::{InferRequest, InferResponse, Parameters},
    json::{TensorJson, plain, read_data},
    tensor::{Datatype, Tensor},
};

/// `{model}` or `{model}/versions/{version}`.
#[derive(Deserialize)]
pub(super) struct Target {
    model: String,
    version: Option<String>,
}

pub(super) async fn server() -> Response {
    json(&json!({"name": "hemline", "version": env!("CARGO_PKG_VERSION"), "extensions": []}))
}

pub(super) async fn list(State(handler): State<Arc<Handler>>) -> Response {
    json(&json!({"models": handler.repository.names().collect::<Vec<_>>()}))
}

pub(super) async fn metadata(State(handler): State<Arc<Handler>>, target: Path<Target>) -> Result<Response> {
    let target = path(target)?;
    Ok(json(handler.repository.get(&target.model, target.version.as_deref())?.metadata()))
}

pub(super) async fn ready(State(handler): State<Arc<Handler>>, target: Path<Target>) -> Result<Response> {
    let target = path(target)?;
    handler.ready_model(&target.model, target.version.as_deref())?;
    Ok(json(&json!({"name": target.model, "ready": true})))
}

pub(super) async fn infer(
    State(handler): State<Arc<Handler>>,
    Extension(context): Extension<Context>,
    target: Path<Target>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let target = path(target)?;
    let mut response = answer(&handler, &context, &target, &headers, body).await.unwrap_or_else(Error::into_response);
    Labels::of("v2", &handler, &target.model).attach(&mut response);
    Ok(response)
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
    let request = read_request(&body)?;
    let response = handler.infer(model.as_ref(), request, context).await?;
    Ok(json(&ResponseJson(&response)))
}

/// Reads a V2 body.
///
/// # Errors
/// It is no JSON, or a field is not what the protocol says; the text names the field.
pub(crate) fn read_request(body: &[u8]) -> Result<InferRequest> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        parameters: Option<&'a RawValue>,
        #[serde(borrow)]
        inputs: Option<&'a RawValue>,
        #[serde(borrow)]
        outputs: Option<&'a RawValue>,
    }
    let request: Request<'_> = serde_json::from_slice(body)
        .map_err(|error| Error::malformed(format!("the body is no V2 request: {error}")))?;
    let inputs: Vec<&RawValue> = required(request.inputs, "inputs", "a list of tensors")?;
    if inputs.is_empty() {
        return Err(Error::invalid("field `inputs`: expected at least one tensor"));
    }
    let inputs = inputs.iter().enumerate();
    Ok(InferRequest {
        id: optional(request.id, "id", "a string")?,
        parameters: optional::<Parameters>(request.parameters, "parameters", "an object")?.unwrap_or_default(),
        inputs: inputs
            .map(|(number, input)| read_tensor(&format!("inputs[{number}]"), input))
            .collect::<Result<_>>()?,
        outputs: read_outputs(request.outputs)?,
    })
}

fn read_outputs(outputs: Option<&RawValue>) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Output {
        name: String,
    }
    let outputs: Vec<Output> = optional(outputs, "outputs", "a list of objects with a `name`")?.unwrap_or_default();
    Ok(outputs.into_iter().map(|output| output.name).collect())
}

/// Reads one tensor; `place` is where it stands in the body.
pub(crate) fn read_tensor(place: &str, tensor: &RawValue) -> Result<Tensor> {
    #[derive(Deserialize)]
    struct Input<'a> {
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(borrow)]
        shape: Option<&'a RawValue>,
        #[serde(borrow)]
        datatype: Option<&'a RawValue>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let input: Input<'_> = parse(tensor, place, "a tensor: an object with name, shape, datatype and data")?;
    let name: String = required(input.name, &format!("{place}.name"), "a string")?;
    let place = format!("{place} `{name}`");
    let shape: Vec<usize> = required(input.shape, &format!("{place}.shape"), "a list of whole numbers from 0")?;
    let datatype: String = required(input.datatype, &format!("{place}.datatype"), "a string")?;
    let datatype = Datatype::from_name(&datatype)
        .ok_or_else(|| Error::invalid(format!("field `{place}.datatype`: unknown datatype `{datatype}`")))?;
    let data: &RawValue = required(input.data, &format!("{place}.data"), "a list of elements")?;
    let data = read_data(datatype, &shape, data).map_err(|error| error.at(format!("field `{place}.data`")))?;
    Tensor::new(name, shape, data)
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue, field: &str, expected: &str) -> Result<T> {
    serde_json::from_str(raw.get())
        .map_err(|error| Error::invalid(format!("field `{field}`: expected {expected} ({})", plain(&error))))
}

fn optional<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: &str, expected: &str) -> Result<Option<T>> {
    match raw {
        Some(raw) if raw.get() != "null" => parse(raw, field, expected).map(Some),
        _ => Ok(None),
    }
}

fn required<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: &str, expected: &str) -> Result<T> {
    optional(raw, field, expected)?
        .ok_or_else(|| Error::invalid(format!("field `{field}`: missing (expected {expected})")))
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
