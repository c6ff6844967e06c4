//! Tensors in JSON: elements flat or nested on the way in, flat on the way out.
//!
//! serde finds the members and checks the syntax; elements are then read straight from the text, without a value in between.

use std::ops::Range;

use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeSeq},
};

use crate::tensor::Data;

mod depth;
mod elements;
mod numbers;
mod object;

pub(crate) use depth::check_depth;
pub(crate) use elements::{Cursor, append_data, read_data, shown, take};
pub(crate) use object::{
    List, Listed, MAX_TENSORS, Members, MembersAndLists, Raw, plain, read_raw, read_slice, unreadable,
};

/// Elements as a flat JSON array. A float that JSON has no number for is `null`.
pub(crate) struct DataJson<'a>(pub(crate) &'a Data);

impl Serialize for DataJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RangeJson(self.0, 0..self.0.len()).serialize(serializer)
    }
}

/// Some of the elements as a flat JSON array; none where the range goes past the end.
pub(crate) struct RangeJson<'a>(pub(crate) &'a Data, pub(crate) Range<usize>);

impl Serialize for RangeJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(data, range) = self;
        macro_rules! write {
            ($($variant:ident)*) => {
                match data {
                    $(Data::$variant(data) => data.get(range.clone()).unwrap_or_default().serialize(serializer),)*
                    Data::Fp16(data) => {
                        let data = data.get(range.clone()).unwrap_or_default();
                        serializer.collect_seq(data.iter().map(|element| element.to_f32()))
                    }
                    Data::Bf16(data) => {
                        let data = data.get(range.clone()).unwrap_or_default();
                        serializer.collect_seq(data.iter().map(|element| element.to_f32()))
                    }
                    Data::Bytes(data) => {
                        let mut sequence = serializer.serialize_seq(Some(range.len()))?;
                        for element in range.clone().filter_map(|index| data.get(index)) {
                            sequence.serialize_element(text(element)?)?;
                        }
                        sequence.end()
                    }
                }
            };
        }
        write!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64)
    }
}

/// An element of BYTES, which JSON can hold where it is UTF-8.
fn text<E: Error>(element: &[u8]) -> Result<&str, E> {
    std::str::from_utf8(element).map_err(|_| E::custom("BYTES that are no UTF-8 have no form in JSON"))
}

/// The first element of BYTES that is no UTF-8, so that JSON can't hold it.
pub(crate) fn not_text(data: &Data) -> Option<usize> {
    match data {
        Data::Bytes(data) => data.iter().position(|element| std::str::from_utf8(element).is_err()),
        _ => None,
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
                    Data::Fp16(data) => data.get(index).map(|element| element.to_f32()).serialize(serializer),
                    Data::Bf16(data) => data.get(index).map(|element| element.to_f32()).serialize(serializer),
                    Data::Bytes(data) => data.get(index).map(text).transpose()?.serialize(serializer),
                }
            };
        }
        write!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64)
    }
}

#[cfg(test)]
mod tests;
