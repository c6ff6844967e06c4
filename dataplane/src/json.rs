//! Tensors in JSON: elements flat or nested on the way in, flat on the way out.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Serialize, Serializer,
    de::{self, DeserializeSeed, SeqAccess, Visitor},
    ser::{Error as _, SerializeMap, SerializeSeq},
};
use serde_json::value::RawValue;

use crate::{
    error::{Error, Result},
    tensor::{BytesData, Data, Datatype, Tensor, element_count},
};

/// Reads the elements of a tensor of this shape: `data` is flat, or nested as the shape says.
///
/// # Errors
/// An element of another type, or a structure that the shape does not have; the text says what was expected.
pub(crate) fn read_data(datatype: Datatype, shape: &[usize], data: &RawValue) -> Result<Data> {
    macro_rules! read {
        ($($variant:ident)*) => {
            match datatype {
                $(Datatype::$variant => elements(shape, data, Vec::new()).map(Data::$variant),)*
                Datatype::Bytes => elements(shape, data, BytesData::default()).map(Data::Bytes),
            }
        };
    }
    let read = read!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64);
    read.map_err(|error| Error::invalid(format!("expected {} of shape {shape:?}: {}", datatype.name(), plain(&error))))
}

/// A parser's message without its line and column, which are those of an excerpt and would mislead.
pub(crate) fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn elements<S: Sink>(shape: &[usize], data: &RawValue, mut sink: S) -> Result<S, serde_json::Error> {
    let count = element_count(shape).ok_or_else(|| de::Error::custom("the shape is too large"))?;
    let mut deserializer = serde_json::Deserializer::from_str(data.get());
    Level { shape, depth: 0, count, sink: &mut sink }.deserialize(&mut deserializer)?;
    if sink.len() != count {
        return Err(de::Error::custom(format!("{} elements instead of {count}", sink.len())));
    }
    Ok(sink)
}

/// What elements are collected in.
trait Sink {
    type Element: for<'de> Deserialize<'de>;
    fn accept(&mut self, element: Self::Element);
    fn len(&self) -> usize;
}

impl<T: for<'de> Deserialize<'de>> Sink for Vec<T> {
    type Element = T;
    fn accept(&mut self, element: T) {
        self.push(element);
    }
    fn len(&self) -> usize {
        self.len()
    }
}

impl Sink for BytesData {
    type Element = String;
    fn accept(&mut self, element: String) {
        self.push(element);
    }
    fn len(&self) -> usize {
        self.len()
    }
}

/// One bracket level of nested data.
struct Level<'a, S> {
    shape: &'a [usize],
    depth: usize,
    count: usize,
    sink: &'a mut S,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Level<'_, S> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Level<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Self { shape, depth, count, sink } = self;
        let before = sink.len();
        let mut nested = 0;
        while let Some(inner) =
            sequence.next_element_seed(Item { shape, depth, count, sink: &mut *sink, marker: PhantomData })?
        {
            nested += usize::from(inner);
            if sink.len() > count {
                return Err(de::Error::custom(format!("more than {count} elements")));
            }
        }
        let items = if nested > 0 { nested } else { sink.len() - before };
        let flat = depth == 0 && nested == 0;
        match shape.get(depth) {
            Some(&wanted) if !flat && items != wanted => {
                Err(de::Error::custom(format!("{items} items at depth {depth} instead of {wanted}")))
            }
            _ => Ok(()),
        }
    }
}

/// An element, or one more level of brackets. Tells which it was.
struct Item<'a, S, T> {
    shape: &'a [usize],
    depth: usize,
    count: usize,
    sink: &'a mut S,
    marker: PhantomData<T>,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Item<'_, S, S::Element> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let custom = |error: serde_json::Error| de::Error::custom(plain(&error));
        if raw.get().starts_with('[') {
            let depth = self.depth + 1;
            if depth >= self.shape.len() {
                return Err(de::Error::custom(format!("nested deeper than its shape, at depth {depth}")));
            }
            let mut inner = serde_json::Deserializer::from_str(raw.get());
            let level = Level { shape: self.shape, depth, count: self.count, sink: self.sink };
            level.deserialize(&mut inner).map_err(custom)?;
            return Ok(true);
        }
        let position = self.sink.len();
        let element = serde_json::from_str(raw.get())
            .map_err(|error| de::Error::custom(format!("element {position}: {}", plain(&error))))?;
        self.sink.accept(element);
        Ok(false)
    }
}

/// A tensor as the V2 protocol writes it: name, shape, datatype, flat data.
pub(crate) struct TensorJson<'a>(pub(crate) &'a Tensor);

impl Serialize for TensorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("name", self.0.name())?;
        map.serialize_entry("shape", self.0.shape())?;
        map.serialize_entry("datatype", self.0.datatype().name())?;
        map.serialize_entry("data", &DataJson(self.0.data()))?;
        map.end()
    }
}

/// Elements as a flat JSON array. A float that JSON has no number for is `null`.
pub(crate) struct DataJson<'a>(pub(crate) &'a Data);

impl Serialize for DataJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        macro_rules! write {
            ($($variant:ident)*) => {
                match self.0 {
                    $(Data::$variant(data) => data.serialize(serializer),)*
                    Data::Bytes(data) => {
                        let mut sequence = serializer.serialize_seq(Some(data.len()))?;
                        for element in data.iter() {
                            let text = std::str::from_utf8(element)
                                .map_err(|_| S::Error::custom("BYTES that are not UTF-8 can't be written as JSON"))?;
                            sequence.serialize_element(text)?;
                        }
                        sequence.end()
                    }
                }
            };
        }
        write!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64)
    }
}

/// One element, `null` past the end.
pub(crate) struct ElementJson<'a>(pub(crate) &'a Data, pub(crate) usize);

impl Serialize for ElementJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(data, index) = *self;
        macro_rules! write {
            ($($variant:ident)*) => {
                match data {
                    $(Data::$variant(data) => data.get(index).serialize(serializer),)*
                    Data::Bytes(data) => data.get(index).map(String::from_utf8_lossy).serialize(serializer),
                }
            };
        }
        write!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{DataJson, read_data};
    use crate::tensor::{Data, Datatype};

    fn read(datatype: Datatype, shape: &[usize], json: &str) -> Result<Data, String> {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        read_data(datatype, shape, &raw).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn flat_and_nested_data_mean_the_same() {
        let flat = read(Datatype::Int32, &[2, 2], "[1,2,3,4]").unwrap();
        assert_eq!(flat, read(Datatype::Int32, &[2, 2], "[[1,2],[3,4]]").unwrap());
        assert_eq!(flat, Data::Int32(vec![1, 2, 3, 4]));
        assert_eq!(read(Datatype::Bytes, &[1, 1], r#"[["é"]]"#).unwrap(), Data::Bytes(["é"].into_iter().collect()));
        assert_eq!(read(Datatype::Fp32, &[0], "[]").unwrap(), Data::Fp32(vec![]));
    }

    #[test]
    fn what_does_not_fit_says_what_was_expected() {
        for (datatype, shape, json, expected) in [
            (
                Datatype::Fp32,
                vec![2],
                r#"[1,"a"]"#,
                "expected FP32 of shape [2]: element 1: invalid type: string \"a\", expected f32",
            ),
            (Datatype::Fp32, vec![2], "[1]", "expected FP32 of shape [2]: 1 elements instead of 2"),
            (Datatype::Fp32, vec![1], "[1,2,3]", "expected FP32 of shape [1]: more than 1 elements"),
            (
                Datatype::Fp32,
                vec![2, 2],
                "[[1],[2,3,4]]",
                "expected FP32 of shape [2, 2]: 1 items at depth 1 instead of 2",
            ),
            (Datatype::Fp32, vec![1], "[[1]]", "expected FP32 of shape [1]: nested deeper than its shape, at depth 1"),
            (Datatype::Fp32, vec![1], "7", "expected FP32 of shape [1]: invalid type: integer `7`, expected an array"),
            (
                Datatype::Uint8,
                vec![1],
                "[300]",
                "expected UINT8 of shape [1]: element 0: invalid value: integer `300`, expected u8",
            ),
        ] {
            assert_eq!(read(datatype, &shape, json).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_float_without_a_json_number_is_null() {
        let json = serde_json::to_string(&DataJson(&Data::Fp32(vec![0.1, f32::NAN]))).unwrap();
        assert_eq!(json, "[0.1,null]");
    }
}
