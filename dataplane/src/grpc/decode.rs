//! From `ModelInferRequest` to [`InferRequest`]: elements are moved, not copied.

use std::collections::BTreeMap;

use prost::bytes::Bytes;

use super::proto::{
    InferParameter, ModelInferRequest,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use crate::{
    error::{Error, Result},
    infer::{InferRequest, RequestedOutput},
    json::shown,
    parameters::{MAX_PARAMETERS, Parameter, Parameters, too_many},
    tensor::{Data, Datatype, MAX_RANK, Tensor, element_count},
};

/// The version that a caller names; an empty text names none.
pub(super) fn version(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The request, and whether its elements came raw.
pub(super) fn request(message: ModelInferRequest) -> Result<(InferRequest, bool)> {
    if message.inputs.is_empty() {
        return Err(Error::invalid("field `inputs`: expected at least one tensor"));
    }
    let raw = !message.raw_input_contents.is_empty();
    if raw {
        check_raw(&message)?;
    }
    let mut contents = message.raw_input_contents.into_iter();
    let inputs = message.inputs.into_iter().enumerate();
    let inputs = inputs.map(|(number, input)| tensor(number, input, contents.next())).collect::<Result<_>>()?;
    let outputs = message.outputs.into_iter().enumerate();
    let request = InferRequest {
        id: (!message.id.is_empty()).then_some(message.id),
        model_version: (!message.model_version.is_empty()).then_some(message.model_version),
        parameters: parameters(message.parameters, || "parameters".to_owned())?,
        inputs,
        outputs: outputs.map(|(number, output)| requested(number, output)).collect::<Result<_>>()?,
    };
    Ok((request, raw))
}

/// All inputs are raw or none is; the texts are KServe's.
fn check_raw(message: &ModelInferRequest) -> Result<()> {
    let (model, inputs, raw) = (&message.model_name, message.inputs.len(), message.raw_input_contents.len());
    if inputs != raw {
        return Err(Error::invalid(format!(
            "the number of inputs ({inputs}) does not match the expected number of raw input contents ({raw}) \
             for model '{model}'."
        )));
    }
    let typed = |input: &&InferInputTensor| input.contents.as_ref().is_some_and(|contents| !contents.is_empty());
    match message.inputs.iter().find(typed) {
        None => Ok(()),
        Some(InferInputTensor { name, .. }) => Err(Error::invalid(format!(
            "contents field must not be specified when using raw_input_contents for input '{name}' for model '{model}'"
        ))),
    }
}

fn tensor(number: usize, input: InferInputTensor, raw: Option<Bytes>) -> Result<Tensor> {
    let InferInputTensor { name, datatype, shape, parameters: given, contents } = input;
    let place = |field: &str| format!("inputs[{number}] `{}`.{field}", shown(&name));
    let at = |field: &str, text: String| Error::invalid(format!("field `{}`: {text}", place(field)));
    let dimensions = read_shape(shape).map_err(|text| at("shape", text))?;
    let datatype = Datatype::from_name(&datatype)
        .ok_or_else(|| at("datatype", format!("unknown datatype `{}`", shown(&datatype))))?;
    let data = match raw {
        Some(raw) => element_count(&dimensions)
            .ok_or_else(|| "the shape is too large".to_owned())
            .and_then(|count| Data::from_raw(datatype, count, raw))
            .map_err(|text| at("raw_input_contents", text))?,
        None => contents.unwrap_or_default().into_data(datatype).map_err(|text| at("contents", text))?,
    };
    let given = parameters(given, || place("parameters"))?;
    Ok(Tensor::new(name, dimensions, data)?.with_parameters(given))
}

/// A shape, which protocols write as signed numbers.
pub(crate) fn read_shape(shape: Vec<i64>) -> Result<Vec<usize>, String> {
    if shape.len() > MAX_RANK {
        return Err(format!("expected at most {MAX_RANK} dimensions, got {}", shape.len()));
    }
    let dimension = |dimension: i64| {
        usize::try_from(dimension).map_err(|_| format!("expected whole numbers from 0, got {dimension}"))
    };
    shape.into_iter().map(dimension).collect()
}

fn requested(number: usize, output: InferRequestedOutputTensor) -> Result<RequestedOutput> {
    let parameters = parameters(output.parameters, || format!("outputs[{number}].parameters"))?;
    Ok(RequestedOutput { name: output.name, parameters })
}

/// Parameters; `place` is where they stand.
pub(crate) fn parameters(given: BTreeMap<String, InferParameter>, place: impl Fn() -> String) -> Result<Parameters> {
    // Nearly always; a map of nothing is built slowly.
    if given.is_empty() {
        return Ok(Parameters::new());
    }
    if given.len() > MAX_PARAMETERS {
        return Err(Error::invalid(format!("field `{}`: {}", place(), too_many())));
    }
    let read = |(name, parameter): (String, InferParameter)| {
        let value = match parameter.parameter_choice {
            Some(ParameterChoice::BoolParam(value)) => Parameter::Bool(value),
            Some(ParameterChoice::Int64Param(value)) => Parameter::Int64(value),
            Some(ParameterChoice::Uint64Param(value)) => Parameter::Uint64(value),
            Some(ParameterChoice::DoubleParam(value)) => Parameter::Double(value),
            Some(ParameterChoice::StringParam(value)) => Parameter::String(value),
            None => {
                let (place, name) = (place(), shown(&name));
                return Err(Error::invalid(format!("field `{place}.{name}`: expected a value, got none")));
            }
        };
        Ok((name, value))
    };
    given.into_iter().map(read).collect()
}
