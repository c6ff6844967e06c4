//! Elements as raw bytes: little-endian and row-major, as the binary tensor extension and gRPC's raw contents send them.
//!
//! BYTES are a length (`u32`, little-endian) and so many bytes, element after element.

use bytes::Bytes;
use half::{bf16, f16};

use super::{BytesData, Data, Datatype};

impl Data {
    /// Reads `count` elements that fill `raw` exactly. Nothing is allocated before the sizes agree. BYTES stay where they are: `raw`, and
    /// all that it is a part of, lives as long as they do.
    ///
    /// # Errors
    /// `raw` is shorter or longer than `count` elements, or holds what is no element; the text says what was expected.
    pub fn from_raw(datatype: Datatype, count: usize, raw: Bytes) -> Result<Self, String> {
        macro_rules! read {
            ($($variant:ident $element:ty;)*) => {
                match datatype {
                    $(Datatype::$variant => {
                        let (elements, _) = raw.as_chunks();
                        Self::$variant(elements.iter().map(|bytes| <$element>::from_le_bytes(*bytes)).collect())
                    })*
                    Datatype::Bool => Self::Bool(read_bools(&raw)?),
                    Datatype::Bytes => Self::Bytes(BytesData::from_raw(count, raw)?),
                }
            };
        }
        if let Some(width) = Self::width(datatype)
            && count.checked_mul(width) != Some(raw.len())
        {
            let (name, got) = (datatype.name(), raw.len());
            return Err(match count.checked_mul(width) {
                Some(expected) => format!("expected {expected} bytes for {count} elements of {name}, got {got}"),
                None => "the shape is too large".to_owned(),
            });
        }
        Ok(read! {
            Uint8 u8; Uint16 u16; Uint32 u32; Uint64 u64;
            Int8 i8; Int16 i16; Int32 i32; Int64 i64;
            Fp16 f16; Bf16 bf16; Fp32 f32; Fp64 f64;
        })
    }

    /// How many bytes [`Data::write_raw`] appends.
    #[must_use]
    pub fn raw_len(&self) -> usize {
        match self {
            Self::Bytes(data) => data.raw_len(),
            data => data.len() * Self::width(data.datatype()).unwrap_or_default(),
        }
    }

    /// Appends the elements' raw bytes.
    ///
    /// # Errors
    /// An element of BYTES is longer than its length can say (4 GiB).
    pub fn write_raw(&self, raw: &mut Vec<u8>) -> Result<(), String> {
        macro_rules! write {
            ($($variant:ident)*) => {
                match self {
                    $(Self::$variant(data) => append(raw, data, |element| element.to_le_bytes()),)*
                    Self::Bool(data) => raw.extend(data.iter().map(|&element| u8::from(element))),
                    Self::Bytes(data) => raw.extend_from_slice(data.raw()?),
                }
            };
        }
        write!(Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64);
        Ok(())
    }

    /// What [`Data::write_raw`] appends, without a copy of BYTES.
    ///
    /// # Errors
    /// As there.
    pub fn into_raw(self) -> Result<Bytes, String> {
        match self {
            Self::Bytes(data) => data.into_raw(),
            data => {
                let mut raw = Vec::with_capacity(data.raw_len());
                data.write_raw(&mut raw)?;
                Ok(raw.into())
            }
        }
    }
}

fn read_bools(raw: &[u8]) -> Result<Vec<bool>, String> {
    if let Some(row) = raw.iter().position(|&byte| byte > 1) {
        return Err(format!("element {row}: expected 0 or 1, got {}", raw[row]));
    }
    Ok(raw.iter().map(|&byte| byte == 1).collect())
}

/// Appends elements without filling their room with zeros first.
fn append<E: Copy, const WIDTH: usize>(raw: &mut Vec<u8>, elements: &[E], bytes: impl Fn(E) -> [u8; WIDTH]) {
    const BLOCK: usize = 64;
    raw.reserve(WIDTH * elements.len());
    for elements in elements.chunks(BLOCK) {
        let mut block = [[0; WIDTH]; BLOCK];
        block.iter_mut().zip(elements).for_each(|(place, &element)| *place = bytes(element));
        raw.extend_from_slice(block[..elements.len()].as_flattened());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use half::{bf16, f16};

    use crate::tensor::{BytesData, Data, Datatype};

    fn there_and_back(data: &Data) {
        let mut raw = vec![7];
        data.write_raw(&mut raw).unwrap();
        assert_eq!(raw.len(), 1 + data.raw_len());
        let raw = Bytes::from(raw).slice(1..);
        let mut kept = Data::from_raw(data.datatype(), data.len(), raw.clone()).unwrap();
        assert_eq!(kept, *data);
        assert_eq!((kept.clone().into_raw().unwrap(), data.clone().into_raw().unwrap()), (raw.clone(), raw));
        // What is kept where it lies can grow.
        assert!(kept.append(data));
        assert_eq!((kept.slice(0..data.len()), kept.len()), (Some(data.clone()), 2 * data.len()));
    }

    #[test]
    fn every_datatype_comes_back_as_it_went() {
        for &datatype in Datatype::ALL {
            there_and_back(&Data::zeros(datatype, 3));
            there_and_back(&Data::zeros(datatype, 0));
        }
        there_and_back(&Data::Bool(vec![true, false]));
        there_and_back(&Data::Int16(vec![i16::MIN, -2, i16::MAX]));
        there_and_back(&Data::Uint64(vec![u64::MAX]));
        there_and_back(&Data::Fp16(vec![f16::from_f32(1.5), f16::INFINITY]));
        there_and_back(&Data::Bf16(vec![bf16::from_f32(-2.0)]));
        there_and_back(&Data::Fp64(vec![f64::MIN_POSITIVE]));
        there_and_back(&Data::Bytes(["", "é", "abc"].into_iter().collect::<BytesData>()));
    }

    #[test]
    fn bytes_are_little_endian_with_a_length_before_each_string() {
        let mut raw = Vec::new();
        Data::Int32(vec![1, -1]).write_raw(&mut raw).unwrap();
        Data::Bytes(["hi"].into_iter().collect::<BytesData>()).write_raw(&mut raw).unwrap();
        assert_eq!(raw, [1, 0, 0, 0, 255, 255, 255, 255, 2, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn what_does_not_fill_the_shape_is_refused_before_anything_is_allocated() {
        let refusal = |datatype, count, raw| Data::from_raw(datatype, count, Bytes::from_static(raw)).unwrap_err();
        assert_eq!(refusal(Datatype::Fp32, 2, &[0; 7]), "expected 8 bytes for 2 elements of FP32, got 7");
        assert_eq!(refusal(Datatype::Fp32, usize::MAX, &[]), "the shape is too large");
        assert_eq!(refusal(Datatype::Bool, 2, &[1, 2]), "element 1: expected 0 or 1, got 2");
        assert!(refusal(Datatype::Bytes, usize::MAX, &[0; 4]).contains("got 4 bytes"));
        assert_eq!(refusal(Datatype::Bytes, 1, &[3, 0, 0, 0, b'a']), "element 0 of 1 is cut short after 5 bytes");
        for (raw, row) in
            [(&[9, 0, 0, 0, 1, 0, 0, 0], 0), (&[0, 0, 0, 0, 9, 0, 0, 0], 1), (&[3, 0, 0, 0, 1, 0, 0, 0], 1)]
        {
            assert_eq!(refusal(Datatype::Bytes, 2, raw), format!("element {row} of 2 is cut short after 8 bytes"));
        }
        assert_eq!(refusal(Datatype::Bytes, 1, &[0, 0, 0, 0, b'a']), "1 bytes are left after 1 elements");
    }
}
