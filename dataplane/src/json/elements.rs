//! Elements of tensors, read straight from the text.

use half::{bf16, f16};
use serde_json::value::RawValue;

use crate::{
    error::{Error, Result},
    tensor::{Data, Datatype, element_count},
};

/// Walks the brackets and elements of an array. The text is a [`RawValue`]'s, so its syntax is right.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(raw: &'a RawValue) -> Self {
        Self { text: raw.get(), at: 0 }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n' | b',')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes into an array, if one begins here.
    pub(crate) fn enter(&mut self) -> bool {
        self.skip_space();
        let array = self.peek() == Some(b'[');
        self.at += usize::from(array);
        array
    }

    /// Goes to the array's next item; out of the array where there is none.
    pub(crate) fn next(&mut self) -> bool {
        self.skip_space();
        let ended = matches!(self.peek(), None | Some(b']'));
        self.at += usize::from(ended);
        !ended
    }

    /// The string, number or word that begins here. Of an object or array, only enough to show it.
    pub(crate) fn scalar(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let end = match bytes.first() {
            Some(b'"') => {
                let mut end = 1;
                while bytes.get(end).is_some_and(|&byte| byte != b'"') {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                end + 1
            }
            Some(b'{' | b'[') => bytes.len(),
            _ => bytes.iter().position(|byte| b",] \t\r\n".contains(byte)).unwrap_or(bytes.len()),
        };
        self.at += end.min(bytes.len());
        rest.get(..end).unwrap_or(rest)
    }
}

/// An element that is a JSON number or word. Integers are exact, floats the nearest; what JSON can say and the type can't is refused.
trait Element: Sized {
    fn read(token: &str) -> Option<Self>;
}

macro_rules! elements {
    ($($element:ty)*) => {
        $(impl Element for $element {
            fn read(token: &str) -> Option<Self> {
                token.parse().ok()
            }
        })*
    };
}

elements!(bool u8 u16 u32 u64 i8 i16 i32 i64);

impl Element for f32 {
    fn read(token: &str) -> Option<Self> {
        token.parse().ok().filter(|number: &Self| number.is_finite())
    }
}

impl Element for f64 {
    fn read(token: &str) -> Option<Self> {
        token.parse().ok().filter(|number: &Self| number.is_finite())
    }
}

impl Element for f16 {
    fn read(token: &str) -> Option<Self> {
        f64::read(token).map(Self::from_f64).filter(|number| number.is_finite())
    }
}

impl Element for bf16 {
    fn read(token: &str) -> Option<Self> {
        f64::read(token).map(Self::from_f64).filter(|number| number.is_finite())
    }
}

/// Appends an element, if it is one of this datatype.
pub(crate) fn push(data: &mut Data, token: &str) -> bool {
    macro_rules! push {
        ($($variant:ident)*) => {
            match data {
                $(Data::$variant(data) => Element::read(token).map(|element| data.push(element)).is_some(),)*
                Data::Bytes(data) => match token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                    Some(plain) if !plain.contains('\\') => { data.push(plain); true }
                    Some(_) => serde_json::from_str::<String>(token).map(|text| data.push(text)).is_ok(),
                    None => false,
                }
            }
        };
    }
    push!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64)
}

/// As much of a token as an error text needs.
pub(crate) fn shown(token: &str) -> String {
    const MOST: usize = 40;
    match token.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &token[..end]),
        None => token.to_owned(),
    }
}

/// Reads the elements of a tensor of this shape: `data` is flat, or nested as the shape says.
///
/// # Errors
/// An element of another type, or a structure that the shape does not have; the text says what was expected.
pub(crate) fn read_data(datatype: Datatype, shape: &[usize], data: &RawValue) -> Result<Data> {
    let mut elements = Data::zeros(datatype, 0);
    append_data(shape, data, &mut elements)?;
    Ok(elements)
}

/// Reads the elements of a tensor of this shape behind those of `elements`.
///
/// # Errors
/// As [`read_data`]; then some may have been appended.
pub(crate) fn append_data(shape: &[usize], data: &RawValue, elements: &mut Data) -> Result<()> {
    let datatype = elements.datatype().name();
    append(shape, &mut Cursor::new(data), elements)
        .map_err(|error| Error::invalid(format!("expected {datatype} of shape {shape:?}: {error}")))
}

fn append(shape: &[usize], cursor: &mut Cursor<'_>, elements: &mut Data) -> Result<(), String> {
    let count = element_count(shape).ok_or("the shape is too large")?;
    if !cursor.enter() {
        return Err(format!("{} is no list", shown(cursor.scalar())));
    }
    let before = elements.len();
    let mut reader = Reader { shape, count, before, cursor, elements };
    reader.level(0)?;
    match reader.read() {
        read if read == count => Ok(()),
        read => Err(format!("{read} elements instead of {count}")),
    }
}

/// What reading one tensor's elements needs to know.
struct Reader<'r, 'a> {
    shape: &'r [usize],
    count: usize,
    before: usize,
    cursor: &'r mut Cursor<'a>,
    elements: &'r mut Data,
}

impl Reader<'_, '_> {
    /// How many elements have been read.
    fn read(&self) -> usize {
        self.elements.len() - self.before
    }

    /// Reads one level of brackets. It calls itself for the next, as deep as the shape, whose rank is bounded.
    fn level(&mut self, depth: usize) -> Result<(), String> {
        let before = self.read();
        let mut nested = 0;
        while self.cursor.next() {
            if self.cursor.enter() {
                if depth + 1 >= self.shape.len() {
                    return Err(format!("nested deeper than its shape, at depth {}", depth + 1));
                }
                nested += 1;
                self.level(depth + 1)?;
            } else {
                let token = self.cursor.scalar();
                if self.read() == self.count {
                    return Err(format!("more than {} elements", self.count));
                }
                if !push(self.elements, token) {
                    return Err(format!("element {} is {}", self.read(), shown(token)));
                }
            }
        }
        let items = if nested > 0 { nested } else { self.read() - before };
        let flat = depth == 0 && nested == 0;
        match self.shape.get(depth) {
            Some(&wanted) if !flat && items != wanted => {
                Err(format!("{items} items at depth {depth} instead of {wanted}"))
            }
            _ => Ok(()),
        }
    }
}
