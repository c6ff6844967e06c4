//! Elements of tensors, read straight from the text.

use serde_json::value::RawValue;

use super::numbers::Element;
use crate::{
    error::{Error, Result},
    tensor::{BytesData, Data, Datatype, element_count},
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

    /// What is not gone over yet.
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
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
            _ => {
                let delimits = |byte: &u8| matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                bytes.iter().position(delimits).unwrap_or(bytes.len())
            }
        };
        self.at += end.min(bytes.len());
        rest.get(..end).unwrap_or(rest)
    }
}

/// Elements in the making.
trait Sink {
    fn len(&self) -> usize;

    /// Makes room for so many more, written in `bytes` of text.
    fn reserve(&mut self, count: usize, bytes: usize);

    /// Appends the element that begins here; the token, where it is none of this datatype.
    fn take<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<(), &'a str>;
}

impl<E: Element> Sink for Vec<E> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn reserve(&mut self, count: usize, _: usize) {
        Self::reserve(self, count);
    }

    #[inline]
    fn take<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<(), &'a str> {
        if let Some((element, length)) = E::read_plain(cursor.rest()) {
            cursor.at += length;
            self.push(element);
            return Ok(());
        }
        let token = cursor.scalar();
        E::read(token).map(|element| self.push(element)).ok_or(token)
    }
}

impl Sink for BytesData {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn reserve(&mut self, count: usize, bytes: usize) {
        Self::reserve(self, count, bytes);
    }

    #[inline]
    fn take<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<(), &'a str> {
        let token = cursor.scalar();
        match token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(plain) if !plain.as_bytes().contains(&b'\\') => self.push(plain),
            Some(_) => self.push(serde_json::from_str::<String>(token).map_err(|_| token)?),
            None => return Err(token),
        }
        Ok(())
    }
}

/// Calls something with the elements, whatever their type: the type is chosen once, not again for each of them.
macro_rules! with_elements {
    ($data:expr, $elements:ident => $work:expr) => {
        with_elements!($data, $elements => $work;
            Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64 Bytes)
    };
    ($data:expr, $elements:ident => $work:expr; $($variant:ident)*) => {
        match $data {
            $(Data::$variant($elements) => $work,)*
        }
    };
}

/// Appends the element that begins here; the token, where it is none of this datatype.
pub(crate) fn take<'a>(data: &mut Data, cursor: &mut Cursor<'a>) -> Result<(), &'a str> {
    with_elements!(data, elements => elements.take(cursor))
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
    with_elements!(elements, elements => append(shape, Cursor::new(data), elements))
        .map_err(|error| Error::invalid(format!("expected {datatype} of shape {shape:?}: {error}")))
}

fn append<S: Sink>(shape: &[usize], mut cursor: Cursor<'_>, elements: &mut S) -> Result<(), String> {
    let count = element_count(shape).ok_or("the shape is too large")?;
    if !cursor.enter() {
        return Err(format!("{} is no list", shown(cursor.scalar())));
    }
    let (before, length) = (elements.len(), cursor.text.len());
    // A shape may promise more than the text can hold: an element takes a byte, and one to part it from the next.
    elements.reserve(count.min(length / 2), length);
    let mut reader = Reader { shape, count, before, cursor, elements };
    reader.level(0)?;
    match reader.read() {
        read if read == count => Ok(()),
        read => Err(format!("{read} elements instead of {count}")),
    }
}

/// What reading one tensor's elements needs to know.
struct Reader<'r, 'a, S> {
    shape: &'r [usize],
    count: usize,
    before: usize,
    cursor: Cursor<'a>,
    elements: &'r mut S,
}

impl<S: Sink> Reader<'_, '_, S> {
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
                if self.read() == self.count {
                    return Err(format!("more than {} elements", self.count));
                }
                let read = self.read();
                self.elements.take(&mut self.cursor).map_err(|token| format!("element {read} is {}", shown(token)))?;
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
