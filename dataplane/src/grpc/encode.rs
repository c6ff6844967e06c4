//! From answers and metadata to the protocol's messages.

use std::collections::BTreeMap;

use prost::bytes::Bytes;

use super::{
    contents::Contents,
    proto::{
        InferParameter, ModelInferResponse, ModelMetadataResponse, infer_parameter::ParameterChoice,
        model_infer_response::InferOutputTensor, model_metadata_response,
    },
};
use crate::{
    error::{Error, Result},
    infer::InferResponse,
    model::{ModelMetadata, TensorMetadata},
    parameters::{Parameter, Parameters},
    tensor::Tensor,
};

/// An answer, raw where its request was or where an output has no other form.
pub(super) fn response(response: InferResponse, raw: bool) -> Result<ModelInferResponse> {
    let raw = raw || response.outputs.iter().any(|output| !output.datatype().is_json());
    let raw_output_contents = if raw { raw_contents(&response.outputs)? } else { Vec::new() };
    Ok(ModelInferResponse {
        model_name: response.model_name,
        model_version: response.model_version.unwrap_or_default(),
        id: response.id.unwrap_or_default(),
        parameters: parameters(response.parameters),
        outputs: response.outputs.into_iter().map(|output| output_tensor(output, raw)).collect(),
        raw_output_contents,
    })
}

/// The elements of all outputs, in one buffer that they share.
fn raw_contents(outputs: &[Tensor]) -> Result<Vec<Bytes>> {
    let mut buffer = Vec::with_capacity(outputs.iter().map(|output| output.data().raw_len()).sum());
    for output in outputs {
        let written = output.data().write_raw(&mut buffer);
        written.map_err(|text| Error::internal(format!("output `{}`: {text}", output.name())))?;
    }
    let mut buffer = Bytes::from(buffer);
    Ok(outputs.iter().map(|output| buffer.split_to(output.data().raw_len())).collect())
}

/// An output, without its elements where they go raw.
fn output_tensor(output: Tensor, raw: bool) -> InferOutputTensor {
    let datatype = output.datatype().name().to_owned();
    let (name, shape, data, given) = output.into_parts();
    let shape = shape.into_iter().map(|dimension| i64::try_from(dimension).unwrap_or(i64::MAX)).collect();
    let contents = (!raw).then(|| Contents::from(data));
    InferOutputTensor { name, datatype, shape, parameters: parameters(given), contents }
}

/// Parameters as the protocol has them.
pub(crate) fn parameters(given: Parameters) -> BTreeMap<String, InferParameter> {
    // Nearly always; a map of nothing is built slowly.
    if given.is_empty() {
        return BTreeMap::new();
    }
    let write = |(name, value)| {
        let choice = match value {
            Parameter::Bool(value) => ParameterChoice::BoolParam(value),
            Parameter::Int64(value) => ParameterChoice::Int64Param(value),
            Parameter::Uint64(value) => ParameterChoice::Uint64Param(value),
            Parameter::Double(value) => ParameterChoice::DoubleParam(value),
            Parameter::String(value) => ParameterChoice::StringParam(value),
        };
        (name, InferParameter { parameter_choice: Some(choice) })
    };
    given.into_iter().map(write).collect()
}

/// What a model says of itself.
pub(super) fn metadata(metadata: ModelMetadata) -> ModelMetadataResponse {
    let ModelMetadata { name, versions, platform, inputs, outputs, properties } = metadata;
    let tensors = |tensors: Vec<TensorMetadata>| tensors.into_iter().map(tensor_metadata).collect();
    ModelMetadataResponse { name, versions, platform, inputs: tensors(inputs), outputs: tensors(outputs), properties }
}

fn tensor_metadata(tensor: TensorMetadata) -> model_metadata_response::TensorMetadata {
    let TensorMetadata { name, datatype, shape, optional } = tensor;
    let optional = optional.then(|| ("optional".to_owned(), Parameter::Bool(true)));
    let parameters = parameters(optional.into_iter().collect());
    model_metadata_response::TensorMetadata { name, datatype: datatype.name().to_owned(), shape, parameters }
}
