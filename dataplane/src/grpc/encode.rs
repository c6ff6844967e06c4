//! From answers and metadata to the protocol's messages.

use std::collections::BTreeMap;

use super::{
    contents::Contents,
    proto::{
        InferParameter, ModelInferResponse, ModelMetadataResponse, infer_parameter::ParameterChoice,
        model_infer_response::InferOutputTensor, model_metadata_response,
    },
    quick::{Answer, Head},
};
use crate::{
    error::{Error, Result},
    infer::InferResponse,
    model::{ModelMetadata, TensorMetadata},
    parameters::{Parameter, Parameters},
};

/// An answer, raw where its request was or where an output has no other form.
pub(super) fn response(response: InferResponse, raw: bool) -> Result<Answer> {
    let raw = raw || response.outputs.iter().any(|output| !output.datatype().is_json());
    let message = ModelInferResponse {
        model_name: response.model_name,
        model_version: response.model_version.unwrap_or_default(),
        id: response.id.unwrap_or_default(),
        parameters: parameters(response.parameters),
        ..ModelInferResponse::default()
    };
    let mut answer = Answer { message, ..Answer::default() };
    let heads = raw && response.outputs.iter().all(|output| output.parameters().is_empty());
    if heads {
        answer.heads.reserve_exact(response.outputs.len());
        answer.contents.reserve_exact(response.outputs.len());
    }
    for output in response.outputs {
        let datatype = output.datatype();
        let (name, shape, data, given) = output.into_parts();
        let contents = if raw {
            let bytes = data.into_raw().map_err(|text| Error::internal(format!("output `{name}`: {text}")))?;
            answer.contents.push(bytes);
            None
        } else {
            Some(Contents::from(data))
        };
        if heads {
            answer.heads.push(Head { name, datatype, shape });
            continue;
        }
        let shape = shape.into_iter().map(|dimension| i64::try_from(dimension).unwrap_or(i64::MAX)).collect();
        let (datatype, parameters) = (datatype.name().to_owned(), parameters(given));
        answer.message.outputs.push(InferOutputTensor { name, datatype, shape, parameters, contents });
    }
    Ok(answer)
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
    let TensorMetadata { name, datatype, shape, optional, alternative } = tensor;
    let flags = [("optional", optional), ("alternative", alternative)].into_iter().filter(|(_, is_so)| *is_so);
    let parameters = parameters(flags.map(|(name, is_so)| (name.to_owned(), Parameter::Bool(is_so))).collect());
    model_metadata_response::TensorMetadata { name, datatype: datatype.name().to_owned(), shape, parameters }
}

#[cfg(test)]
mod tests {
    use super::metadata;
    use crate::{
        grpc::proto::infer_parameter::ParameterChoice,
        model::{ModelMetadata, TensorMetadata},
        tensor::Datatype,
    };

    #[test]
    fn metadata_say_what_may_be_left_out_and_what_stands_for_others() {
        let inputs = vec![
            TensorMetadata::new("x", Datatype::Fp32, &[-1]),
            TensorMetadata::optional("note", Datatype::Bytes, &[-1]),
            TensorMetadata::alternative("matrix", Datatype::Fp32, &[-1, 2]),
        ];
        let message = metadata(ModelMetadata { inputs, ..ModelMetadata::default() });
        let said = message.inputs.into_iter().map(|input| {
            let parameters = input.parameters.into_iter().map(|(name, value)| (name, value.parameter_choice));
            parameters.collect::<Vec<_>>()
        });
        let yes = |name: &str| (name.to_owned(), Some(ParameterChoice::BoolParam(true)));
        let wanted = [vec![], vec![yes("optional")], vec![yes("alternative"), yes("optional")]];
        assert_eq!(said.collect::<Vec<_>>(), wanted);
    }
}
