//! V2: named tensors, as JSON or with their elements behind it.

use axum::{
    Json,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::binary;

pub type Refusal = (StatusCode, String);

pub fn refusal(reason: impl ToString) -> Refusal {
    (StatusCode::BAD_REQUEST, reason.to_string())
}

#[derive(Deserialize)]
struct Request<'a> {
    id: Option<String>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    // Read as what the datatype says: an untagged enum would go over every element twice.
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize)]
struct Answer {
    model_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    data: Elements,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Elements {
    Fp32(Vec<f32>),
    Bytes(Vec<String>),
}

impl Elements {
    fn len(&self) -> usize {
        match self {
            Self::Fp32(data) => data.len(),
            Self::Bytes(data) => data.len(),
        }
    }
}

pub async fn infer(Path(model_name): Path<String>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    if let Some(length) = headers.get(binary::HEADER) {
        return binary::infer(model_name, length, &body);
    }
    let request: Request<'_> = serde_json::from_slice(&body).map_err(refusal)?;
    let outputs = request.inputs.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Answer { model_name, id: request.id, outputs }).into_response())
}

fn read(input: Input<'_>) -> Result<Output, Refusal> {
    let text = input.data.get();
    let data = match input.datatype.as_str() {
        "FP32" => Elements::Fp32(serde_json::from_str(text).map_err(refusal)?),
        "BYTES" => Elements::Bytes(serde_json::from_str(text).map_err(refusal)?),
        other => return Err(refusal(format!("no datatype {other} here"))),
    };
    if input.shape.iter().product::<usize>() != data.len() {
        return Err(refusal(format!("{}: {} elements do not fit the shape", input.name, data.len())));
    }
    Ok(Output { name: input.name, shape: input.shape, datatype: input.datatype, data })
}
