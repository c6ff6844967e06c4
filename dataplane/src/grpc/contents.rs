//! `InferTensorContents`, straight to and from a tensor's elements: no list of small buffers in between, and floats are copied whole.

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut, Bytes},
    encoding::{
        self, DecodeContext, WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len,
        skip_field,
    },
};

use crate::tensor::{BytesData, Data, Datatype};

/// Elements of a tensor in the field of their datatype, `InferTensorContents` in the protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    data: Option<Data>,
    fault: Option<String>,
}

/// The number and name of the field that holds elements of this datatype; half-precision floats have none.
fn field(datatype: Datatype) -> Option<(u32, &'static str)> {
    Some(match datatype {
        Datatype::Bool => (1, "bool_contents"),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => (2, "int_contents"),
        Datatype::Int64 => (3, "int64_contents"),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => (4, "uint_contents"),
        Datatype::Uint64 => (5, "uint64_contents"),
        Datatype::Fp32 => (6, "fp32_contents"),
        Datatype::Fp64 => (7, "fp64_contents"),
        Datatype::Bytes => (8, "bytes_contents"),
        Datatype::Fp16 | Datatype::Bf16 => return None,
    })
}

impl From<Data> for Contents {
    /// Half-precision floats have no field: nothing is written of them.
    fn from(data: Data) -> Self {
        Self { data: Some(data), fault: None }
    }
}

impl Contents {
    /// True where no field holds an element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fault.is_none() && self.data.as_ref().is_none_or(Data::is_empty)
    }

    /// The elements as this datatype.
    ///
    /// # Errors
    /// They came in another field or in several, or one is out of the datatype's range; the text says what was expected.
    pub fn into_data(self, datatype: Datatype) -> Result<Data, String> {
        let name = datatype.name();
        let Some((_, expected)) = field(datatype) else {
            return Err(format!("{name} has no typed contents; send it in raw_input_contents"));
        };
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        Ok(match (datatype, self.data) {
            (_, None) => Data::zeros(datatype, 0),
            (_, Some(data)) if data.datatype() == datatype => data,
            (Datatype::Int8, Some(Data::Int32(data))) => Data::Int8(narrow(&data, name)?),
            (Datatype::Int16, Some(Data::Int32(data))) => Data::Int16(narrow(&data, name)?),
            (Datatype::Uint8, Some(Data::Uint32(data))) => Data::Uint8(narrow(&data, name)?),
            (Datatype::Uint16, Some(Data::Uint32(data))) => Data::Uint16(narrow(&data, name)?),
            (_, Some(data)) if data.is_empty() => Data::zeros(datatype, 0),
            (_, Some(data)) => {
                let got = field(data.datatype()).map_or("none", |(_, name)| name);
                return Err(format!("expected {expected} for {name}, got {got}"));
            }
        })
    }

    /// Where elements of this field go.
    fn place<'a, T>(
        &'a mut self,
        empty: Data,
        of: impl FnOnce(&'a mut Data) -> Option<&'a mut T>,
    ) -> Option<&'a mut T> {
        let fits = |data: &Data| data.datatype() == empty.datatype();
        match &self.data {
            Some(data) if !fits(data) && !data.is_empty() => {
                let [first, second] =
                    [data, &empty].map(|data| field(data.datatype()).map_or("none", |(_, name)| name));
                self.fault = Some(format!("expected one field, got {first} and {second}"));
                return None;
            }
            Some(data) if fits(data) => {}
            _ => self.data = Some(empty),
        }
        self.data.as_mut().and_then(of)
    }
}

fn narrow<F: Copy + ToString, T: TryFrom<F>>(data: &[F], name: &str) -> Result<Vec<T>, String> {
    let mut narrowed = Vec::with_capacity(data.len());
    for (row, &element) in data.iter().enumerate() {
        let element =
            T::try_from(element).map_err(|_| format!("element {row}: {} is no {name}", element.to_string()))?;
        narrowed.push(element);
    }
    Ok(narrowed)
}

/// Reads floats as they lie, all at once where they are packed.
fn merge_floats<const WIDTH: usize, T>(
    wire_type: WireType,
    values: &mut Vec<T>,
    buf: &mut impl Buf,
    ctx: DecodeContext,
    read: fn([u8; WIDTH]) -> T,
    merge: impl FnOnce(WireType, &mut Vec<T>, &[u8], DecodeContext) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    if wire_type != WireType::LengthDelimited {
        let element = buf.copy_to_bytes(WIDTH.min(buf.remaining()));
        return merge(wire_type, values, &element, ctx);
    }
    let mut packed = Bytes::new();
    encoding::bytes::merge(wire_type, &mut packed, buf, ctx.clone())?;
    let (elements, rest) = packed.as_chunks();
    values.extend(elements.iter().copied().map(read));
    // Half an element: the generated reader says what is wrong with it.
    if rest.is_empty() { Ok(()) } else { merge(WireType::ThirtyTwoBit, values, rest, ctx) }
}

/// Reads one byte string straight from where it lies: a buffer of its own for each would cost more than all the rest.
fn merge_string(
    wire_type: WireType,
    elements: &mut BytesData,
    buf: &mut impl Buf,
    ctx: DecodeContext,
) -> Result<(), DecodeError> {
    let mut rest = buf.chunk();
    let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
    if wire_type == WireType::LengthDelimited
        && let Some(element) = length.and_then(|length| rest.get(..length))
    {
        elements.push(element);
        let read = buf.chunk().len() - rest.len() + element.len();
        buf.advance(read);
        return Ok(());
    }
    // In pieces, cut short, or no byte string: the generated reader says what is wrong.
    let mut element = Bytes::new();
    encoding::bytes::merge(wire_type, &mut element, buf, ctx)?;
    elements.push(element);
    Ok(())
}

/// An element's value as a varint holds it: negative ones as the protocol has them, in 64 bits of two's complement.
trait Varint: Copy {
    fn varint(self) -> u64;
}

macro_rules! varints {
    ($($element:ty)*) => {
        $(impl Varint for $element {
            fn varint(self) -> u64 { i64::from(self).cast_unsigned() }
        })*
    };
}

varints!(bool u8 u16 u32 i8 i16 i32 i64);

impl Varint for u64 {
    fn varint(self) -> u64 {
        self
    }
}

fn varints_len<T: Varint>(elements: &[T]) -> usize {
    elements.iter().map(|element| encoded_len_varint(element.varint())).sum()
}

fn strings_len(number: u32, elements: &BytesData) -> usize {
    elements.iter().map(|element| key_len(number) + encoded_len_varint(element.len() as u64) + element.len()).sum()
}

/// Calls for what each variant of [`Data`] is on the wire.
macro_rules! by_wire {
    ($data:expr, $elements:ident, varints $varints:expr, floats $floats:expr, strings $strings:expr, none $none:expr) => {
        match $data {
            Data::Bool($elements) => $varints,
            Data::Uint8($elements) => $varints,
            Data::Uint16($elements) => $varints,
            Data::Uint32($elements) => $varints,
            Data::Uint64($elements) => $varints,
            Data::Int8($elements) => $varints,
            Data::Int16($elements) => $varints,
            Data::Int32($elements) => $varints,
            Data::Int64($elements) => $varints,
            Data::Fp32($elements) => $floats,
            Data::Fp64($elements) => $floats,
            Data::Bytes($elements) => $strings,
            Data::Fp16(_) | Data::Bf16(_) => $none,
        }
    };
}

impl Message for Contents {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        let Some(data) = self.data.as_ref().filter(|data| !data.is_empty()) else { return };
        let Some((number, _)) = field(data.datatype()) else { return };
        let packed = |length: usize, buf: &mut _| {
            encode_key(number, WireType::LengthDelimited, buf);
            encode_varint(length as u64, buf);
        };
        by_wire!(
            data, elements,
            varints {
                packed(varints_len(elements), buf);
                elements.iter().for_each(|element| encode_varint(element.varint(), buf));
            },
            floats {
                packed(data.raw_len(), buf);
                elements.iter().for_each(|element| buf.put_slice(&element.to_le_bytes()));
            },
            strings for element in elements.iter() {
                packed(element.len(), buf);
                buf.put_slice(element);
            },
            none {}
        );
    }

    fn merge_field(
        &mut self,
        number: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        macro_rules! merge {
            ($variant:ident, |$elements:ident| $merge:expr) => {
                match self.place(Data::zeros(Datatype::$variant, 0), |data| match data {
                    Data::$variant(elements) => Some(elements),
                    _ => None,
                }) {
                    Some($elements) => $merge,
                    None => skip_field(wire_type, number, buf, ctx),
                }
            };
        }
        match number {
            1 => merge!(Bool, |elements| encoding::bool::merge_repeated(wire_type, elements, buf, ctx)),
            2 => merge!(Int32, |elements| encoding::int32::merge_repeated(wire_type, elements, buf, ctx)),
            3 => merge!(Int64, |elements| encoding::int64::merge_repeated(wire_type, elements, buf, ctx)),
            4 => merge!(Uint32, |elements| encoding::uint32::merge_repeated(wire_type, elements, buf, ctx)),
            5 => merge!(Uint64, |elements| encoding::uint64::merge_repeated(wire_type, elements, buf, ctx)),
            6 => merge!(Fp32, |elements| merge_floats(
                wire_type,
                elements,
                buf,
                ctx,
                f32::from_le_bytes,
                |kind, elements, mut rest, ctx| { encoding::float::merge_repeated(kind, elements, &mut rest, ctx) }
            )),
            7 => merge!(Fp64, |elements| merge_floats(
                wire_type,
                elements,
                buf,
                ctx,
                f64::from_le_bytes,
                |kind, elements, mut rest, ctx| { encoding::double::merge_repeated(kind, elements, &mut rest, ctx) }
            )),
            8 => merge!(Bytes, |elements| merge_string(wire_type, elements, buf, ctx)),
            _ => skip_field(wire_type, number, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let Some(data) = self.data.as_ref().filter(|data| !data.is_empty()) else { return 0 };
        let Some((number, _)) = field(data.datatype()) else { return 0 };
        let packed = |length: usize| key_len(number) + encoded_len_varint(length as u64) + length;
        by_wire!(
            data, elements,
            varints packed(varints_len(elements)),
            floats packed(size_of_val(elements.as_slice())),
            strings strings_len(number, elements),
            none 0
        )
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
