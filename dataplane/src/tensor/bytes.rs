//! The elements of BYTES.

use std::ops::Range;

use bytes::Bytes;

/// Bytes before each element that say how long it is: `u32`, little-endian.
const PREFIX: usize = size_of::<u32>();

/// Byte strings back to back in one buffer, each behind its length, as protocols send them raw: a tensor of a thousand short strings is
/// one buffer, read and written whole. What was read stays in the message that it came in.
#[derive(Clone, Debug, Default)]
pub struct BytesData {
    /// All elements, as they were read; empty once some are appended.
    read: Bytes,
    /// All elements, where some were appended; empty before.
    grown: Vec<u8>,
    /// Where each element ends.
    ends: Vec<usize>,
}

impl BytesData {
    fn elements(&self) -> &[u8] {
        if self.grown.is_empty() { &self.read } else { &self.grown }
    }

    /// The elements, to append to.
    fn grown(&mut self) -> &mut Vec<u8> {
        if self.grown.is_empty() && !self.read.is_empty() {
            self.grown = std::mem::take(&mut self.read).into();
        }
        &mut self.grown
    }

    /// Makes room for so many more elements, of so many bytes in all.
    pub(crate) fn reserve(&mut self, elements: usize, bytes: usize) {
        self.ends.reserve(elements);
        self.grown().reserve(PREFIX * elements + bytes);
    }

    /// Appends one element.
    pub fn push(&mut self, element: impl AsRef<[u8]>) {
        let element = element.as_ref();
        // What is longer than its length can say is refused by `raw`; here it is an element as any other.
        let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
        let grown = self.grown();
        grown.extend_from_slice(&length.to_le_bytes());
        grown.extend_from_slice(element);
        let end = grown.len();
        self.ends.push(end);
    }

    /// Appends the elements of `other`.
    pub fn append(&mut self, other: &Self) {
        let grown = self.grown();
        let start = grown.len();
        grown.extend_from_slice(other.elements());
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }

    /// A copy of the elements at these positions, or nothing where they reach past the end.
    #[must_use]
    pub fn slice(&self, positions: Range<usize>) -> Option<Self> {
        let start = self.start(positions.start)?;
        let ends = self.ends.get(positions)?;
        let grown = self.elements().get(start..ends.last().copied().unwrap_or(start))?.to_vec();
        Some(Self { read: Bytes::new(), grown, ends: ends.iter().map(|end| end - start).collect() })
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True where there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Element `index`, or nothing past the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        self.elements().get(self.start(index)? + PREFIX..end)
    }

    /// The elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }

    /// Where element `index` begins, its length included.
    fn start(&self, index: usize) -> Option<usize> {
        index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())
    }

    /// Reads `count` elements that fill `raw` exactly, and keeps it.
    ///
    /// # Errors
    /// `raw` is shorter or longer than that.
    pub(super) fn from_raw(count: usize, raw: Bytes) -> Result<Self, String> {
        let ends = find_ends(count, &raw)?;
        Ok(Self { read: raw, grown: Vec::new(), ends })
    }

    /// The elements, each behind its length.
    ///
    /// # Errors
    /// One is longer than its length can say (4 GiB).
    pub(super) fn raw(&self) -> Result<&[u8], String> {
        let (raw, most) = (self.elements(), usize::try_from(u32::MAX).unwrap_or(usize::MAX));
        if raw.len() > most && self.iter().any(|element| element.len() > most) {
            return Err("an element is over 4 GiB".to_owned());
        }
        Ok(raw)
    }

    /// What [`BytesData::raw`] gives, without a copy.
    ///
    /// # Errors
    /// As there.
    pub(super) fn into_raw(self) -> Result<Bytes, String> {
        self.raw()?;
        Ok(if self.grown.is_empty() { self.read } else { self.grown.into() })
    }

    /// How many bytes [`BytesData::raw`] has.
    pub(super) fn raw_len(&self) -> usize {
        self.elements().len()
    }
}

/// Where each of `count` elements ends that fill `raw` exactly.
fn find_ends(count: usize, raw: &[u8]) -> Result<Vec<usize>, String> {
    // Each element takes at least its prefix: a shape alone must not make room for more than was sent.
    if count.checked_mul(PREFIX).is_none_or(|least| least > raw.len()) {
        return Err(format!(
            "expected {count} elements of BYTES, {PREFIX} bytes of length before each, got {} bytes",
            raw.len()
        ));
    }
    let (mut ends, mut behind) = (vec![0; count], 0_usize);
    for (row, end) in ends.iter_mut().enumerate() {
        let Some(length) = raw.get(behind..).and_then(<[u8]>::first_chunk) else {
            // One that reaches past the end is found out by the next.
            return Err(cut_short(row - usize::from(behind > raw.len()), count, raw));
        };
        behind = (behind + PREFIX).saturating_add(u32::from_le_bytes(*length) as usize);
        *end = behind;
    }
    match raw.len().checked_sub(behind) {
        Some(0) => Ok(ends),
        Some(left) => Err(format!("{left} bytes are left after {count} elements")),
        None => Err(cut_short(count - 1, count, raw)),
    }
}

fn cut_short(row: usize, count: usize, raw: &[u8]) -> String {
    format!("element {row} of {count} is cut short after {} bytes", raw.len())
}

impl PartialEq for BytesData {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends && self.elements() == other.elements()
    }
}

impl Eq for BytesData {}

impl<S: AsRef<[u8]>> Extend<S> for BytesData {
    fn extend<I: IntoIterator<Item = S>>(&mut self, elements: I) {
        for element in elements {
            self.push(element);
        }
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for BytesData {
    fn from_iter<I: IntoIterator<Item = S>>(elements: I) -> Self {
        let mut data = Self::default();
        data.extend(elements);
        data
    }
}
