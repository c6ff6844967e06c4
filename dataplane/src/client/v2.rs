//! V2 JSON, as a client writes and reads it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    error::{Error, Result},
    infer::{InferRequest, InferResponse},
    json::TensorJson,
    parameters::Parameters,
    rest::read_tensor,
};

pub(super) fn write_request(request: &InferRequest) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Output<'a> {
        name: &'a str,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Parameters::is_empty")]
        parameters: &'a Parameters,
        inputs: Vec<TensorJson<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Output<'a>>,
    }
    let body = Body {
        id: request.id.as_deref(),
        parameters: &request.parameters,
        inputs: request.inputs.iter().map(TensorJson).collect(),
        outputs: request.outputs.iter().map(|output| Output { name: &output.name }).collect(),
    };
    serde_json::to_vec(&body).map_err(Error::internal)
}

/// Reads an answer; the text of a failure describes another server's fault and is for the log.
pub(super) fn read_response(body: &[u8]) -> Result<InferResponse, String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(default)]
        model_name: String,
        model_version: Option<String>,
        id: Option<String>,
        parameters: Option<Parameters>,
        #[serde(borrow)]
        outputs: Vec<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| format!("no V2 answer: {error}"))?;
    let outputs = body.outputs.iter().enumerate();
    let outputs = outputs.map(|(number, output)| read_tensor(&format!("outputs[{number}]"), output));
    Ok(InferResponse {
        model_name: body.model_name,
        model_version: body.model_version,
        id: body.id,
        parameters: body.parameters.unwrap_or_default(),
        outputs: outputs.collect::<Result<_>>().map_err(|error| error.to_string())?,
    })
}
