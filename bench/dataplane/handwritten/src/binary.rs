//! V2 with binary tensors: a JSON header, then the tensors' elements back to back.

use axum::{
    body::Bytes,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::v2::{Refusal, refusal};

/// Says where the JSON ends.
pub const HEADER: &str = "inference-header-content-length";

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    inputs: Vec<Tensor>,
}

#[derive(Deserialize, Serialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    parameters: Parameters,
}

#[derive(Deserialize, Serialize)]
struct Parameters {
    binary_data_size: usize,
}

#[derive(Serialize)]
struct Answer {
    model_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Tensor>,
}

pub fn infer(model_name: String, length: &HeaderValue, body: &Bytes) -> Result<Response, Refusal> {
    let length = length.to_str().map_err(refusal)?.parse::<usize>().map_err(refusal)?;
    if length > body.len() {
        return Err(refusal("the JSON ends behind the body"));
    }
    let request: Request = serde_json::from_slice(&body[..length]).map_err(refusal)?;
    let elements = slice(&request.inputs, body.slice(length..))?;
    let json = serde_json::to_vec(&Answer { model_name, id: request.id, outputs: request.inputs }).map_err(refusal)?;
    let header = (HEADER, HeaderValue::from(json.len()));
    let mut answer = json;
    elements.iter().for_each(|elements| answer.extend_from_slice(elements));
    Ok(([header, (CONTENT_TYPE.as_str(), HeaderValue::from_static("application/octet-stream"))], answer)
        .into_response())
}

/// Each tensor's elements, if they are as many as its shape says.
fn slice(tensors: &[Tensor], mut rest: Bytes) -> Result<Vec<Bytes>, Refusal> {
    let mut slices = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let size = tensor.parameters.binary_data_size;
        if size > rest.len() {
            return Err(refusal(format!("{}: the body is too short", tensor.name)));
        }
        let elements = rest.split_to(size);
        check(&tensor.name, &tensor.datatype, tensor.shape.iter().product(), &elements)?;
        slices.push(elements);
    }
    Ok(slices)
}

/// Whether these bytes are so many elements.
pub fn check(name: &str, datatype: &str, count: usize, elements: &[u8]) -> Result<(), Refusal> {
    let found = match datatype {
        "FP32" if elements.len().is_multiple_of(4) => Some(elements.len() / 4),
        "BYTES" => strings(elements),
        _ => None,
    };
    if found == Some(count) { Ok(()) } else { Err(refusal(format!("{name}: not {count} elements of {datatype}"))) }
}

/// How many strings these are, each behind its length.
fn strings(mut rest: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        rest = behind.get(u32::from_le_bytes(*length) as usize..)?;
        count += 1;
    }
    Some(count)
}
