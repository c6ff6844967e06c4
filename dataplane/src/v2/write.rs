//! Writing requests and answers.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{BINARY, BINARY_OUTPUT, BINARY_SIZE, BinaryOutputs};
use crate::{
    error::{Error, Result},
    infer::{InferRequest, InferResponse, RequestedOutput},
    json::{DataJson, not_text},
    parameters::{Parameter, Parameters},
    tensor::Tensor,
};

/// Writes a request, and how many bytes of it are JSON if others follow. `binary` sends every input as binary data and asks for every
/// output so; without it, only what JSON has no form for goes that way.
///
/// # Errors
/// Strings that JSON can't hold, where `binary` is not asked for.
pub(crate) fn write_request(request: &InferRequest, binary: bool) -> Result<(Vec<u8>, Option<usize>)> {
    let inputs: Vec<_> = request.inputs.iter().map(|tensor| Written::new(tensor, binary)).collect();
    let parameters = ParametersJson::new(&request.parameters, BINARY_OUTPUT, binary.then_some(Parameter::Bool(true)));
    write(&inputs, |body| serde_json::to_writer(body, &RequestJson { request, parameters, inputs: &inputs, binary }))
}

struct RequestJson<'a> {
    request: &'a InferRequest,
    parameters: ParametersJson<'a>,
    inputs: &'a [Written<'a>],
    binary: bool,
}

impl Serialize for RequestJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = &self.request.id {
            map.serialize_entry("id", id)?;
        }
        self.parameters.entry(&mut map)?;
        map.serialize_entry("inputs", self.inputs)?;
        if !self.request.outputs.is_empty() {
            let outputs = self.request.outputs.iter();
            let outputs: Vec<_> = outputs.map(|output| OutputJson { output, binary: self.binary }).collect();
            map.serialize_entry("outputs", &outputs)?;
        }
        map.end()
    }
}

/// An output that is asked for.
struct OutputJson<'a> {
    output: &'a RequestedOutput,
    binary: bool,
}

impl Serialize for OutputJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.output.name)?;
        // Said of each as well: some servers heed the request's parameter only where no output is named.
        let binary = self.binary.then_some(Parameter::Bool(true));
        ParametersJson::new(&self.output.parameters, BINARY, binary).entry(&mut map)?;
        map.end()
    }
}

/// Writes an answer, and how many bytes of it are JSON if others follow.
///
/// # Errors
/// An output that JSON can't hold and that is not wanted as binary data; the text names it.
pub(crate) fn write_response(response: &InferResponse, wanted: &BinaryOutputs) -> Result<(Vec<u8>, Option<usize>)> {
    let outputs: Vec<_> =
        response.outputs.iter().map(|tensor| Written { tensor, binary: wanted.wants(tensor.name()) }).collect();
    for Written { tensor, binary } in &outputs {
        if !binary && !tensor.datatype().is_json() {
            return Err(not_json(tensor, &format!("{} has no form in JSON", tensor.datatype().name())));
        }
    }
    write(&outputs, |body| serde_json::to_writer(body, &ResponseJson { response, outputs: &outputs })).map_err(
        |error| {
            // Looked for only now: a look at every string beforehand would be paid for by all answers.
            let mut json = outputs.iter().filter(|output| !output.binary).map(|output| output.tensor);
            let culprit = json.find_map(|tensor| Some((tensor, not_text(tensor.data())?)));
            culprit.map_or(error, |(tensor, row)| not_json(tensor, &format!("element {row} is no UTF-8")))
        },
    )
}

fn not_json(tensor: &Tensor, why: &str) -> Error {
    let name = tensor.name();
    Error::invalid(format!("output `{name}`: {why}; ask for it as binary data, with its parameter `{BINARY}`"))
}

struct ResponseJson<'a> {
    response: &'a InferResponse,
    outputs: &'a [Written<'a>],
}

impl Serialize for ResponseJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let response = self.response;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model_name", &response.model_name)?;
        if let Some(version) = &response.model_version {
            map.serialize_entry("model_version", version)?;
        }
        // An absent id stays absent.
        if let Some(id) = &response.id {
            map.serialize_entry("id", id)?;
        }
        if !response.parameters.is_empty() {
            map.serialize_entry("parameters", &response.parameters)?;
        }
        map.serialize_entry("outputs", self.outputs)?;
        map.end()
    }
}

/// The JSON, and the binary data of `tensors` behind it.
fn write(
    tensors: &[Written<'_>],
    json: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
) -> Result<(Vec<u8>, Option<usize>)> {
    // About what it will take: a number of JSON is some eight bytes long.
    let room = |tensor: &Written<'_>| 96 + if tensor.binary { tensor.size() } else { 8 * tensor.tensor.data().len() };
    let mut body = Vec::with_capacity(128 + tensors.iter().map(room).sum::<usize>());
    json(&mut body).map_err(Error::internal)?;
    let length = body.len();
    for Written { tensor, .. } in tensors.iter().filter(|tensor| tensor.binary) {
        let written = tensor.data().write_raw(&mut body);
        written.map_err(|text| Error::internal(format!("tensor `{}`: {text}", tensor.name())))?;
    }
    Ok((body, tensors.iter().any(|tensor| tensor.binary).then_some(length)))
}

/// A tensor with its elements, or with the size of its binary data.
struct Written<'a> {
    tensor: &'a Tensor,
    binary: bool,
}

impl<'a> Written<'a> {
    fn new(tensor: &'a Tensor, binary: bool) -> Self {
        Self { tensor, binary: binary || !tensor.datatype().is_json() }
    }

    fn size(&self) -> usize {
        self.tensor.data().raw_len()
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tensor = self.tensor;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", tensor.name())?;
        map.serialize_entry("shape", tensor.shape())?;
        map.serialize_entry("datatype", tensor.datatype().name())?;
        let size = self.binary.then(|| Parameter::Uint64(self.size() as u64));
        ParametersJson::new(tensor.parameters(), BINARY_SIZE, size).entry(&mut map)?;
        if !self.binary {
            map.serialize_entry("data", &DataJson(tensor.data()))?;
        }
        map.end()
    }
}

/// Parameters, with the transport's own in place of any of that name.
struct ParametersJson<'a> {
    parameters: &'a Parameters,
    name: &'static str,
    own: Option<Parameter>,
}

impl<'a> ParametersJson<'a> {
    fn new(parameters: &'a Parameters, name: &'static str, own: Option<Parameter>) -> Self {
        Self { parameters, name, own }
    }

    /// Writes them as a member of `map`, unless there are none.
    fn entry<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if self.own.is_none() && self.parameters.keys().all(|name| name == self.name) {
            return Ok(());
        }
        map.serialize_entry("parameters", self)
    }
}

impl Serialize for ParametersJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let others = self.parameters.iter().filter(|(name, _)| *name != self.name);
        let own = self.own.as_ref().map(|value| (self.name, value));
        serializer.collect_map(others.map(|(name, value)| (name.as_str(), value)).chain(own))
    }
}
