//! Reading a request in one go, as long as nothing is wrong with it. What is wrong is for [`super::read`] to find and to say.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::{
    BINARY_OUTPUT, BINARY_SIZE,
    read::{Head, REQUEST},
    tensors::{TENSOR, TensorHead, Text},
};
use crate::{
    json::{List, MAX_TENSORS, read_slice},
    parameters::{MAX_PARAMETERS, Parameter, Parameters},
    tensor::{Datatype, MAX_RANK},
};

/// The JSON of a request; nothing where it has to be read with more care.
pub(super) fn read(json: &[u8]) -> Option<Head<'_>> {
    read_slice(json, Request).ok()
}

/// Something is missing or not as it should be. Nobody reads the text.
fn careful<E: Error>() -> E {
    E::custom("to be read with more care")
}

struct Request;

impl<'de> DeserializeSeed<'de> for Request {
    type Value = Head<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Request {
    type Value = Head<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut parameters, mut outputs, mut inputs) = (None, (Parameters::new(), None), None, Vec::new());
        REQUEST.read(&mut map, |position, map| {
            match position {
                0 => id = map.next_value()?,
                1 => parameters = map.next_value_seed(Without(BINARY_OUTPUT))?,
                2 => outputs = map.next_value()?,
                _ => {
                    let (tensors, count) = map.next_value_seed(List { item: Tensor, most: MAX_TENSORS })?;
                    inputs = if count > MAX_TENSORS { return Err(careful()) } else { tensors };
                }
            }
            Ok(())
        })?;
        let (parameters, binary) = parameters;
        if inputs.is_empty() { Err(careful()) } else { Ok(Head { id, parameters, binary, outputs, inputs }) }
    }
}

#[derive(Clone)]
struct Tensor;

impl<'de> DeserializeSeed<'de> for Tensor {
    type Value = TensorHead<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tensor {
    type Value = TensorHead<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut name, mut shape, mut datatype, mut data) = (None, None::<Vec<usize>>, None::<Text<'_>>, None);
        let mut parameters = (Parameters::new(), None);
        TENSOR.read(&mut map, |position, map| {
            match position {
                0 => name = map.next_value()?,
                1 => shape = map.next_value()?,
                2 => datatype = map.next_value()?,
                3 => data = map.next_value()?,
                _ => parameters = map.next_value_seed(Without(BINARY_SIZE))?,
            }
            Ok(())
        })?;
        let (parameters, size) = parameters;
        let shape = shape.filter(|shape| shape.len() <= MAX_RANK);
        let datatype = datatype.and_then(|datatype| Datatype::from_name(&datatype.0));
        let (Some(name), Some(shape), Some(datatype)) = (name, shape, datatype) else { return Err(careful()) };
        Ok(TensorHead { name, shape, datatype, data, parameters, size })
    }
}

/// Parameters without the transport's own of this name, and that one.
struct Without(&'static str);

impl<'de> DeserializeSeed<'de> for Without {
    type Value = (Parameters, Option<Parameter>);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Without {
    type Value = (Parameters, Option<Parameter>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings, numbers and bools")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut others, mut own) = (Parameters::new(), None);
        while let Some(Text(name)) = map.next_key()? {
            if others.len() + usize::from(own.is_some()) == MAX_PARAMETERS {
                return Err(careful());
            }
            if name == self.0 {
                own = Some(map.next_value()?);
            } else {
                others.insert(name.into_owned(), map.next_value()?);
            }
        }
        Ok((others, own))
    }
}
