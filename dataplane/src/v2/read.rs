//! Reading requests and answers.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    BINARY, BINARY_OUTPUT, BINARY_SIZE, BinaryOutputs, quick,
    tensors::{
        Place, TENSOR, Tail, TensorHead, missing, no_tensor, optional, read_parameters, required, usable_parameters,
    },
};
use crate::{
    error::{Error, Result},
    infer::{InferRequest, InferResponse, RequestedOutput},
    json::{List, MAX_TENSORS, Members, Raw, plain, read_raw, read_slice, unreadable},
    model::ModelMetadata,
    parameters::{Parameter, Parameters},
    tensor::{Data, Datatype, Tensor},
};

/// What a request's object holds.
pub(super) const REQUEST: Members<'_, 4> = Members(["id", "parameters", "outputs", "inputs"]);

/// A request as its object has it, its elements not read yet.
pub(super) struct Head<'a> {
    pub(super) id: Option<String>,
    /// Without what they say of binary outputs.
    pub(super) parameters: Parameters,
    pub(super) binary: Option<Parameter>,
    pub(super) outputs: Option<&'a RawValue>,
    /// At least one.
    pub(super) inputs: Vec<TensorHead<'a>>,
}

/// Reads a request, and which outputs it wants as binary data. `json` is how many bytes of the body are JSON; nothing where all are.
///
/// # Errors
/// It is no JSON, a field is not what the protocol says, or the binary data does not fit; the text names the field.
pub(crate) fn read_request(json: Option<usize>, body: &Bytes) -> Result<(InferRequest, BinaryOutputs)> {
    let (json, mut tail) = Tail::split(json, body)?;
    let Head { id, parameters, binary, outputs, inputs } = quick::read(json).map_or_else(|| read_head(json), Ok)?;
    let inputs = inputs.into_iter().enumerate();
    let mut request = InferRequest {
        id,
        model_version: None,
        parameters,
        inputs: inputs
            .map(|(number, input)| input.fill(format_args!("inputs[{number}]"), &mut tail))
            .collect::<Result<_>>()?,
        outputs: read_outputs(outputs)?,
    };
    tail.end()?;
    let binary = take_binary(binary, &mut request.outputs)?;
    Ok((request, binary))
}

/// Reads the JSON of a request member by member, so that what is wrong can be named.
pub(super) fn read_head(json: &[u8]) -> Result<Head<'_>> {
    let [id, parameters, outputs, inputs] =
        read_slice(json, REQUEST).map_err(|error| unreadable(&error, "a V2 request: an object with `inputs`"))?;
    let inputs = inputs.ok_or_else(|| missing("inputs", "a list of tensors"))?;
    let (inputs, count) = read_raw(inputs, List { item: Raw, most: MAX_TENSORS })
        .map_err(|error| Error::invalid(format!("field `inputs`: expected a list of tensors ({})", plain(&error))))?;
    match count {
        0 => return Err(Error::invalid("field `inputs`: expected at least one tensor")),
        1..=MAX_TENSORS => {}
        _ => return Err(Error::invalid(format!("field `inputs`: expected at most {MAX_TENSORS}, got {count}"))),
    }
    let id = optional(id, "id", "a string")?;
    let mut parameters = read_parameters(parameters, &"parameters")?;
    let binary = parameters.remove(BINARY_OUTPUT);
    let inputs = inputs.into_iter().enumerate().map(|(number, input)| {
        let place = format_args!("inputs[{number}]");
        let members = read_raw(input, TENSOR).map_err(|error| no_tensor(place, &error))?;
        TensorHead::read(place, members, read_parameters)
    });
    Ok(Head { id, parameters, binary, outputs, inputs: inputs.collect::<Result<_>>()? })
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
                name: required(name, format_args!("outputs[{number}].name"), "a string")?,
                parameters: read_parameters(parameters, &format_args!("outputs[{number}].parameters"))?,
            })
        })
        .collect()
}

/// Which outputs are wanted as binary data: what the request says of `all`, and what it says of each, which is taken out of it.
fn take_binary(all: Option<Parameter>, outputs: &mut [RequestedOutput]) -> Result<BinaryOutputs> {
    let all = all.map(|all| flag(&all, format_args!("parameters.{BINARY_OUTPUT}"))).transpose()?.unwrap_or(false);
    let mut named = Vec::new();
    for (number, output) in outputs.iter_mut().enumerate() {
        if let Some(binary) = output.parameters.remove(BINARY) {
            let binary = flag(&binary, format_args!("outputs[{number}].parameters.{BINARY}"))?;
            named.push((output.name.clone(), binary));
        }
    }
    Ok(BinaryOutputs { all, named })
}

/// A parameter that is true or false; `field` is where it stands.
///
/// # Errors
/// It is neither.
pub(crate) fn flag(value: &Parameter, field: impl fmt::Display) -> Result<bool> {
    value.as_bool().ok_or_else(|| Error::invalid(format!("field `{field}`: expected true or false")))
}

/// Reads a body that is the one input of a model and nothing else: no JSON, no length before BYTES.
///
/// # Errors
/// The model takes more than one input, its shape can't be told from the number of bytes, or the bytes don't fit it.
pub(crate) fn read_raw_request(model: &ModelMetadata, body: &Bytes) -> Result<InferRequest> {
    let refused = |text: &str| Error::invalid(format!("a body of raw data: model `{}` {text}", model.name));
    let mut needed = model.inputs.iter().filter(|input| !input.optional);
    let (Some(input), None) = (needed.next(), needed.next()) else {
        return Err(refused("does not take just one input"));
    };
    let mut free = input.shape.iter().filter(|&&dimension| dimension < 0);
    let shape =
        |of_free: usize| input.shape.iter().map(move |&dimension| usize::try_from(dimension).unwrap_or(of_free));
    let (shape, data) = if input.datatype == Datatype::Bytes {
        if shape(1).any(|dimension| dimension != 1) {
            return Err(refused(&format!("takes `{}` of shape {:?}, and not one string", input.name, input.shape)));
        }
        (shape(1).collect(), Data::Bytes(std::iter::once(body).collect()))
    } else {
        let fixed = shape(1).try_fold(Data::width(input.datatype).unwrap_or(1), usize::checked_mul).unwrap_or(0);
        if free.next().is_some() && (free.next().is_some() || fixed == 0) {
            return Err(refused(&format!("takes `{}` of shape {:?}, free in too much", input.name, input.shape)));
        }
        let rows = body.len().checked_div(fixed).unwrap_or(0);
        let shape: Vec<_> = shape(rows).collect();
        let count = crate::tensor::element_count(&shape).unwrap_or(usize::MAX);
        let data = Data::from_raw(input.datatype, count, body.clone());
        (shape, data.map_err(|text| Error::invalid(format!("input `{}`: {text}", input.name)))?)
    };
    Ok(InferRequest::of(vec![Tensor::new(&input.name, shape, data)?]))
}

/// Reads a server's answer. `json` is what its header says of how many bytes are JSON; nothing where all are. Of its outputs only those
/// `wanted` are read, all where none is named: what nobody reads may be whatever it is.
///
/// # Errors
/// It is no such answer. The text is for the log: it describes another server's fault.
pub(crate) fn read_response(json: Option<usize>, body: &Bytes, wanted: &[String]) -> Result<InferResponse, String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        model_name: Option<Value>,
        model_version: Option<Value>,
        id: Option<Value>,
        parameters: Option<&'a RawValue>,
        #[serde(borrow)]
        outputs: Vec<&'a RawValue>,
    }
    let text = |error: Error| error.to_string();
    let (json, mut tail) = Tail::split(json, body).map_err(text)?;
    let body: Body<'_> = serde_json::from_slice(json).map_err(|error| format!("no V2 answer: {error}"))?;
    let outputs = body.outputs.iter().enumerate();
    let outputs =
        outputs.map(|(number, output)| read_output(format_args!("outputs[{number}]"), output, &mut tail, wanted));
    let outputs = outputs.filter_map(Result::transpose).collect::<Result<_>>().map_err(text)?;
    tail.end().map_err(text)?;
    Ok(InferResponse {
        model_name: body.model_name.and_then(word).unwrap_or_default(),
        model_version: body.model_version.and_then(word),
        id: body.id.and_then(word),
        parameters: usable_parameters(body.parameters, &"").map_err(text)?,
        outputs,
    })
}

/// Reads one output; nothing where it is not wanted. Its binary data are passed over then, and the rest is not looked at.
fn read_output(place: Place<'_>, output: &RawValue, tail: &mut Tail, wanted: &[String]) -> Result<Option<Tensor>> {
    let members = read_raw(output, TENSOR).map_err(|error| no_tensor(place, &error))?;
    let [name, _, _, data, parameters] = members;
    let name: String = required(name, format_args!("{place}.name"), "a string")?;
    if wanted.is_empty() || wanted.contains(&name) {
        return TensorHead::read(place, members, usable_parameters)?.fill(place, tail).map(Some);
    }
    let size = usable_parameters(parameters, &"")?.remove(BINARY_SIZE).filter(|_| data.is_none());
    if let Some(size) = size {
        let size = size.as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        tail.take(&name, size).map_err(|text| Error::invalid(format!("field `{place}`: {text}")))?;
    }
    Ok(None)
}

/// A name or version, which some servers write as a number.
fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
