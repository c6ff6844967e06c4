//! Reading tensors: a JSON object each, with its elements in it or in the binary data behind.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{BINARY_SIZE, HEADER_LENGTH};
use crate::{
    error::{Error, Result},
    json::{Members, plain, read_data, shown},
    parameters::{Bounded, Parameter, Parameters},
    tensor::{Data, Datatype, MAX_RANK, Tensor, element_count},
};

/// What a tensor's object holds.
pub(super) const TENSOR: Members<'_, 5> = Members(["name", "shape", "datatype", "data", "parameters"]);

/// The binary data of a body, as far as no tensor has taken it yet.
pub(super) struct Tail {
    /// Nothing where the body is JSON alone.
    rest: Option<Bytes>,
    /// The tensor that took the last of it.
    last: Option<String>,
}

impl Tail {
    /// The JSON of a body, and what is behind it. `json` is how long the JSON is; nothing where all of it is.
    pub(super) fn split(json: Option<usize>, body: &Bytes) -> Result<(&[u8], Self)> {
        let Some(length) = json else { return Ok((body, Self { rest: None, last: None })) };
        let json = body.get(..length).ok_or_else(|| {
            let got = body.len();
            Error::invalid(format!("header `{HEADER_LENGTH}`: {length} bytes of JSON in a body of {got} bytes"))
        })?;
        Ok((json, Self { rest: Some(body.slice(length..)), last: None }))
    }

    /// The next `size` bytes, which are those of the tensor of this name.
    pub(super) fn take(&mut self, name: &str, size: usize) -> Result<Bytes, String> {
        let rest = self.rest.as_mut().ok_or_else(|| {
            format!("the header `{HEADER_LENGTH}`, which says where binary data begins, is missing from the request")
        })?;
        if size > rest.len() {
            return Err(format!("expected {size} bytes of binary data, {} are left", rest.len()));
        }
        name.clone_into(self.last.get_or_insert_default());
        Ok(rest.split_to(size))
    }

    /// That nothing is left over.
    pub(super) fn end(self) -> Result<()> {
        let (left, last) = (self.rest.map_or(0, |rest| rest.len()), self.last);
        if left == 0 {
            return Ok(());
        }
        let behind =
            last.map_or_else(|| "the JSON".to_owned(), |name| format!("the binary data of `{}`", shown(&name)));
        Err(Error::invalid(format!("the body: {left} bytes are left behind {behind}")))
    }
}

/// A place in the body, written only where something is wrong there.
pub(super) type Place<'a> = fmt::Arguments<'a>;

/// A tensor as its object has it, its elements not read yet.
pub(super) struct TensorHead<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) datatype: Datatype,
    pub(super) data: Option<&'a RawValue>,
    /// Without the size of its binary data.
    pub(super) parameters: Parameters,
    pub(super) size: Option<Parameter>,
}

impl<'a> TensorHead<'a> {
    /// Reads a tensor's members; `place` is where it stands in the body, and `read_parameters` how strictly its parameters are read.
    pub(super) fn read(
        place: Place<'_>,
        [name, shape, datatype, data, parameters]: [Option<&'a RawValue>; 5],
        read_parameters: fn(Option<&RawValue>, &dyn fmt::Display) -> Result<Parameters>,
    ) -> Result<Self> {
        let name: String = required(name, format_args!("{place}.name"), "a string")?;
        let at = |field| At { place, tensor: &name, field };
        let shape: Vec<usize> = required(shape, at("shape"), "a list of whole numbers from 0")?;
        if shape.len() > MAX_RANK {
            let (field, got) = (at("shape"), shape.len());
            return Err(Error::invalid(format!("field `{field}`: expected at most {MAX_RANK} dimensions, got {got}")));
        }
        let datatype: Text<'_> = required(datatype, at("datatype"), "a string")?;
        let datatype = Datatype::from_name(&datatype.0).ok_or_else(|| {
            Error::invalid(format!("field `{}`: unknown datatype `{}`", at("datatype"), shown(&datatype.0)))
        })?;
        let mut parameters = read_parameters(parameters, &at("parameters"))?;
        let size = parameters.remove(BINARY_SIZE);
        Ok(Self { name, shape, datatype, data, parameters, size })
    }

    /// The tensor with its elements, which are in its object or the next of `tail`.
    pub(super) fn fill(self, place: Place<'_>, tail: &mut Tail) -> Result<Tensor> {
        let Self { name, shape, datatype, data, parameters, size } = self;
        let at = |field| At { place, tensor: &name, field };
        let data = match (data, size) {
            (None, Some(size)) => read_binary(&name, datatype, &shape, &size, tail)
                .map_err(|text| Error::invalid(format!("field `{}`: {text}", at("parameters.binary_data_size"))))?,
            (Some(_), Some(_)) => {
                let field = at("data");
                return Err(Error::invalid(format!("field `{field}`: expected data or binary_data_size, got both")));
            }
            _ if !datatype.is_json() => {
                let (field, name) = (at("datatype"), datatype.name());
                let text = format!("field `{field}`: {name} has no form in JSON; send it as binary data");
                return Err(Error::invalid(text));
            }
            (Some(data), None) => {
                read_data(datatype, &shape, data).map_err(|error| error.at(format!("field `{}`", at("data"))))?
            }
            (None, None) if tail.rest.as_ref().is_some_and(|rest| !rest.is_empty()) => {
                return Err(missing(at("data"), "a list of elements, or parameters.binary_data_size"));
            }
            (None, None) => return Err(missing(at("data"), "a list of elements")),
        };
        Ok(Tensor::new(name, shape, data)?.with_parameters(parameters))
    }
}

/// A text that is looked at and let go, borrowed where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A field of a tensor, as errors name it.
struct At<'a> {
    place: Place<'a>,
    tensor: &'a str,
    field: &'a str,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`.{}", self.place, shown(self.tensor), self.field)
    }
}

fn read_binary(
    name: &str,
    datatype: Datatype,
    shape: &[usize],
    size: &Parameter,
    tail: &mut Tail,
) -> Result<Data, String> {
    let size = size.as_u64().and_then(|size| usize::try_from(size).ok()).ok_or("expected a whole number from 0")?;
    let raw = tail.take(name, size)?;
    let count = element_count(shape).ok_or_else(|| format!("shape {shape:?} is too large"))?;
    Data::from_raw(datatype, count, raw)
}

pub(super) fn no_tensor(place: Place<'_>, error: &serde_json::Error) -> Error {
    let expected = "a tensor: an object with name, shape, datatype and data";
    Error::invalid(format!("field `{place}`: expected {expected} ({})", plain(error)))
}

pub(super) fn read_parameters(raw: Option<&RawValue>, field: &dyn fmt::Display) -> Result<Parameters> {
    let parameters: Option<Bounded> = optional(raw, field, "an object of strings, numbers and bools")?;
    Ok(parameters.map_or_else(Parameters::new, |Bounded(parameters)| parameters))
}

/// Those of another server's parameters that are any: what else is there (MLServer puts headers) is passed over.
///
/// # Errors
/// None; it stands in the place of [`read_parameters`].
pub(super) fn usable_parameters(raw: Option<&RawValue>, _field: &dyn fmt::Display) -> Result<Parameters> {
    let Some(Ok(Value::Object(all))) = raw.map(|raw| serde_json::from_str(raw.get())) else {
        return Ok(Parameters::new());
    };
    let usable = all.into_iter().filter_map(|(name, value)| Some((name, serde_json::from_value(value).ok()?)));
    Ok(usable.collect())
}

pub(super) fn optional<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    field: impl fmt::Display,
    expected: &str,
) -> Result<Option<T>> {
    let Some(raw) = raw else { return Ok(None) };
    serde_json::from_str(raw.get())
        .map(Some)
        .map_err(|error| Error::invalid(format!("field `{field}`: expected {expected} ({})", plain(&error))))
}

pub(super) fn required<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    field: impl fmt::Display,
    expected: &str,
) -> Result<T> {
    optional(raw, &field, expected)?.ok_or_else(|| missing(field, expected))
}

pub(super) fn missing(field: impl fmt::Display, expected: &str) -> Error {
    Error::invalid(format!("field `{field}`: missing (expected {expected})"))
}
