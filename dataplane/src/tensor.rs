//! Tensors: datatype, shape, data. The only place that checks that a shape fits its data.

use std::ops::Range;

use half::{bf16, f16};

use crate::{
    error::{Error, Result},
    parameters::Parameters,
};

mod bytes;
mod raw;

pub use bytes::BytesData;

/// Declares the numeric datatypes once: variant, protocol name, element type, bytes.
macro_rules! datatypes {
    ($($variant:ident $name:literal $element:ty;)*) => {
        /// A datatype of the Open Inference Protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Datatype {
            $(#[doc = $name] $variant,)*
            /// Byte strings of any length.
            Bytes,
        }

        impl Datatype {
            /// Every datatype.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)* Self::Bytes];

            /// The protocol's name for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* Self::Bytes => "BYTES" }
            }

            /// The datatype of this protocol name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* "BYTES" => Some(Self::Bytes), _ => None }
            }
        }

        /// Elements, flat and row-major.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Data {
            $(#[doc = $name] $variant(Vec<$element>),)*
            /// BYTES
            Bytes(BytesData),
        }

        impl Data {
            /// What the elements are.
            #[must_use]
            pub const fn datatype(&self) -> Datatype {
                match self { $(Self::$variant(_) => Datatype::$variant,)* Self::Bytes(_) => Datatype::Bytes }
            }

            /// How many elements there are.
            #[must_use]
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(data) => data.len(),)* Self::Bytes(data) => data.len() }
            }

            /// Bytes of one element; nothing for BYTES, whose elements have a length each.
            #[must_use]
            pub const fn width(datatype: Datatype) -> Option<usize> {
                match datatype { $(Datatype::$variant => Some(size_of::<$element>()),)* Datatype::Bytes => None }
            }

            /// `count` zeros, or empty strings.
            #[must_use]
            pub fn zeros(datatype: Datatype, count: usize) -> Self {
                match datatype {
                    $(Datatype::$variant => Self::$variant(vec![<$element>::default(); count]),)*
                    Datatype::Bytes => Self::Bytes(std::iter::repeat_n("", count).collect()),
                }
            }

            /// Appends the elements of `other`. False, and nothing appended, where those are of another datatype.
            #[must_use]
            pub fn append(&mut self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(data), Self::$variant(more)) => data.extend_from_slice(more),)*
                    (Self::Bytes(data), Self::Bytes(more)) => data.append(more),
                    _ => return false,
                }
                true
            }

            /// A copy of the elements at these positions, or nothing where they reach past the end.
            #[must_use]
            pub fn slice(&self, positions: Range<usize>) -> Option<Self> {
                Some(match self {
                    $(Self::$variant(data) => Self::$variant(data.get(positions)?.to_vec()),)*
                    Self::Bytes(data) => Self::Bytes(data.slice(positions)?),
                })
            }
        }

        $(impl From<Vec<$element>> for Data {
            fn from(data: Vec<$element>) -> Self { Self::$variant(data) }
        })*
    };
}

datatypes! {
    Bool "BOOL" bool;
    Uint8 "UINT8" u8;
    Uint16 "UINT16" u16;
    Uint32 "UINT32" u32;
    Uint64 "UINT64" u64;
    Int8 "INT8" i8;
    Int16 "INT16" i16;
    Int32 "INT32" i32;
    Int64 "INT64" i64;
    Fp16 "FP16" f16;
    Bf16 "BF16" bf16;
    Fp32 "FP32" f32;
    Fp64 "FP64" f64;
}

impl Datatype {
    /// Whether elements have a form in V2 JSON. Half-precision floats have none: the protocol sends them as raw bytes only.
    #[must_use]
    pub const fn is_json(self) -> bool {
        !matches!(self, Self::Fp16 | Self::Bf16)
    }
}

impl Data {
    /// True where there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<BytesData> for Data {
    fn from(data: BytesData) -> Self {
        Self::Bytes(data)
    }
}

/// A named tensor whose shape fits its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    name: String,
    shape: Vec<usize>,
    data: Data,
    parameters: Parameters,
}

impl Tensor {
    /// A tensor of this shape.
    ///
    /// # Errors
    /// The shape's product differs from the number of elements, or overflows.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, data: impl Into<Data>) -> Result<Self> {
        let (name, data) = (name.into(), data.into());
        match element_count(&shape) {
            Some(count) if count == data.len() => Ok(Self { name, shape, data, parameters: Parameters::default() }),
            count => Err(Error::invalid(format!(
                "input `{name}`: shape {shape:?} asks for {} elements, got {}",
                count.map_or_else(|| "too many".to_owned(), |count| count.to_string()),
                data.len()
            ))),
        }
    }

    /// A tensor of one dimension, `[N]`.
    pub fn vector(name: impl Into<String>, data: impl Into<Data>) -> Self {
        let data = data.into();
        Self { name: name.into(), shape: vec![data.len()], data, parameters: Parameters::default() }
    }

    /// A tensor of one column, `[N, 1]`.
    pub fn column(name: impl Into<String>, data: impl Into<Data>) -> Self {
        let data = data.into();
        Self { name: name.into(), shape: vec![data.len(), 1], data, parameters: Parameters::default() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements, row-major.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// What its elements are.
    #[must_use]
    pub fn datatype(&self) -> Datatype {
        self.data.datatype()
    }

    /// What its sender or its model says beside it.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The same tensor with these parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Parameters) -> Self {
        self.parameters = parameters;
        self
    }

    /// Takes the elements out.
    #[must_use]
    pub fn into_data(self) -> Data {
        self.data
    }

    /// Takes it apart: name, shape, elements, parameters.
    #[must_use]
    pub fn into_parts(self) -> (String, Vec<usize>, Data, Parameters) {
        (self.name, self.shape, self.data, self.parameters)
    }

    /// The elements, if they are FP32.
    #[must_use]
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Fp32(data) => Some(data),
            _ => None,
        }
    }

    /// The elements, if they are BYTES.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&BytesData> {
        match &self.data {
            Data::Bytes(data) => Some(data),
            _ => None,
        }
    }
}

/// Most dimensions of a tensor. Nested data is read one call a dimension, so a stranger must not choose how many there are.
pub const MAX_RANK: usize = 32;

/// What the other dimensions of a tensor without elements may come to. No byte of a message stands for them, and a model may well make
/// outputs as large as they say.
const MAX_EMPTY: usize = 1 << 24;

/// The product of a shape, or nothing where it overflows, or where a shape without elements says more than a tensor may be large.
#[must_use]
pub fn element_count(shape: &[usize]) -> Option<usize> {
    let mut others = shape.iter().filter(|&&dimension| dimension > 0);
    let product = others.try_fold(1_usize, |count, &dimension| count.checked_mul(dimension))?;
    if !shape.contains(&0) {
        return Some(product);
    }
    (product <= MAX_EMPTY).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::{BytesData, Data, Tensor, element_count};

    #[test]
    fn a_shape_that_does_not_fit_its_data_is_refused() {
        let error = Tensor::new("x", vec![2, 2], vec![1.0_f32, 2.0, 3.0]).unwrap_err();
        assert_eq!(error.message(), "input `x`: shape [2, 2] asks for 4 elements, got 3");
    }

    #[test]
    fn a_shape_whose_product_overflows_is_refused() {
        let error = Tensor::new("x", vec![usize::MAX, 2], vec![1.0_f32]).unwrap_err();
        assert!(error.message().contains("too many"), "{error}");
    }

    #[test]
    fn a_shape_without_elements_promises_no_more_than_a_message_could_hold() {
        assert_eq!(element_count(&[0, 3, 1024, 1024]), Some(0));
        for shape in [[9_000_000_000_000_000_000, 0], [0, usize::MAX], [1 << 25, 0]] {
            assert_eq!(element_count(&shape), None, "{shape:?}");
        }
    }

    #[test]
    fn byte_strings_come_back_as_they_went_in() {
        let data: BytesData = ["", "a", "été"].into_iter().collect();
        assert_eq!(data.iter().collect::<Vec<_>>(), [b"".as_slice(), b"a", "été".as_bytes()]);
        assert_eq!(data.get(3), None);
    }

    #[test]
    fn what_was_appended_is_sliced_off_again() {
        let bytes = |elements: &[&str]| Data::from(elements.iter().collect::<BytesData>());
        let mut data = bytes(&["", "a"]);
        assert!(data.append(&bytes(&["été", "", "z"])));
        assert_eq!(data, bytes(&["", "a", "été", "", "z"]));
        for (positions, expected) in
            [(0..2, &["", "a"][..]), (1..4, &["a", "été", ""]), (4..5, &["z"]), (2..2, &[]), (5..5, &[])]
        {
            assert_eq!(data.slice(positions), Some(bytes(expected)));
        }
        let mut data = Data::from(vec![1_i64, 2]);
        assert!(data.append(&vec![3_i64].into()));
        assert_eq!(data.slice(1..3), Some(vec![2_i64, 3].into()));
        assert!(!data.append(&vec![3_i32].into()));
        assert_eq!((data.len(), data.slice(2..4), bytes(&["a"]).slice(0..2)), (3, None, None));
    }
}
