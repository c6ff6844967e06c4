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
    write(&inputs, |body| {
        let mut object = Object::begin(body);
        if let Some(id) = &request.id {
            object.text("id", id)?;
        }
        parameters.member(&mut object)?;
        tensors(object.member("inputs"), &inputs)?;
        if !request.outputs.is_empty() {
            let outputs = request.outputs.iter();
            let outputs: Vec<_> = outputs.map(|output| OutputJson { output, binary }).collect();
            serde_json::to_writer(object.member("outputs"), &outputs)?;
        }
        object.end();
        Ok(())
    })
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
    write(&outputs, |body| response_json(body, response, &outputs)).map_err(|error| {
        // Looked for only now: a look at every string beforehand would be paid for by all answers.
        let mut json = outputs.iter().filter(|output| !output.binary).map(|output| output.tensor);
        let culprit = json.find_map(|tensor| Some((tensor, not_text(tensor.data())?)));
        culprit.map_or(error, |(tensor, row)| not_json(tensor, &format!("element {row} is no UTF-8")))
    })
}

fn not_json(tensor: &Tensor, why: &str) -> Error {
    let name = tensor.name();
    Error::invalid(format!("output `{name}`: {why}; ask for it as binary data, with its parameter `{BINARY}`"))
}

fn response_json(body: &mut Vec<u8>, response: &InferResponse, outputs: &[Written<'_>]) -> serde_json::Result<()> {
    let mut object = Object::begin(body);
    object.text("model_name", &response.model_name)?;
    if let Some(version) = &response.model_version {
        object.text("model_version", version)?;
    }
    // An absent id stays absent.
    if let Some(id) = &response.id {
        object.text("id", id)?;
    }
    if !response.parameters.is_empty() {
        serde_json::to_writer(object.member("parameters"), &response.parameters)?;
    }
    tensors(object.member("outputs"), outputs)?;
    object.end();
    Ok(())
}

/// An object that is written member by member. Serde's writer would look at every byte of every name, for what it has to escape.
struct Object<'a> {
    body: &'a mut Vec<u8>,
    /// What stands before the next member.
    before: u8,
}

impl<'a> Object<'a> {
    /// An object with at least one member.
    fn begin(body: &'a mut Vec<u8>) -> Self {
        Self { body, before: b'{' }
    }

    /// Where a member's value is to be written.
    fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.body.extend_from_slice(&[self.before, b'"']);
        self.body.extend_from_slice(name.as_bytes());
        self.body.extend_from_slice(b"\":");
        self.before = b',';
        self.body
    }

    /// A member that is a text.
    fn text(&mut self, name: &'static str, text: &str) -> serde_json::Result<()> {
        let body = self.member(name);
        if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            return serde_json::to_writer(body, text);
        }
        body.push(b'"');
        body.extend_from_slice(text.as_bytes());
        body.push(b'"');
        Ok(())
    }

    fn end(self) {
        self.body.push(b'}');
    }
}

/// A list of tensors.
fn tensors(body: &mut Vec<u8>, tensors: &[Written<'_>]) -> serde_json::Result<()> {
    body.push(b'[');
    for (number, tensor) in tensors.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        tensor.json(body)?;
    }
    body.push(b']');
    Ok(())
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

    fn json(&self, body: &mut Vec<u8>) -> serde_json::Result<()> {
        let tensor = self.tensor;
        let mut object = Object::begin(body);
        object.text("name", tensor.name())?;
        serde_json::to_writer(object.member("shape"), tensor.shape())?;
        object.text("datatype", tensor.datatype().name())?;
        let size = self.binary.then(|| Parameter::Uint64(self.size() as u64));
        ParametersJson::new(tensor.parameters(), BINARY_SIZE, size).member(&mut object)?;
        if !self.binary {
            serde_json::to_writer(object.member("data"), &DataJson(tensor.data()))?;
        }
        object.end();
        Ok(())
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

    fn is_empty(&self) -> bool {
        self.own.is_none() && self.parameters.keys().all(|name| name == self.name)
    }

    /// Writes them as a member of `map`, unless there are none.
    fn entry<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if self.is_empty() { Ok(()) } else { map.serialize_entry("parameters", self) }
    }

    /// Writes them as a member of `object`, unless there are none.
    fn member(&self, object: &mut Object<'_>) -> serde_json::Result<()> {
        if self.is_empty() { Ok(()) } else { serde_json::to_writer(object.member("parameters"), self) }
    }
}

impl Serialize for ParametersJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let others = self.parameters.iter().filter(|(name, _)| *name != self.name);
        let own = self.own.as_ref().map(|value| (self.name, value));
        serializer.collect_map(others.map(|(name, value)| (name.as_str(), value)).chain(own))
    }
}
