//! The elements of BYTES.

use std::ops::Range;

/// Bytes before each element that say how long it is: `u32`, little-endian.
const PREFIX: usize = size_of::<u32>();

/// Byte strings back to back in one buffer, each behind its length, as protocols send them raw: a tensor of a thousand short strings is
/// two allocations, and is read and written whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BytesData {
    raw: Vec<u8>,
    /// Where each element ends in `raw`.
    ends: Vec<usize>,
}

impl BytesData {
    /// Makes room for so many more elements, of so many bytes in all.
    pub(crate) fn reserve(&mut self, elements: usize, bytes: usize) {
        self.ends.reserve(elements);
        self.raw.reserve(PREFIX * elements + bytes);
    }

    /// Appends one element.
    pub fn push(&mut self, element: impl AsRef<[u8]>) {
        let element = element.as_ref();
        // What is longer than its length can say is refused by `raw`; here it is an element as any other.
        let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
        self.raw.extend_from_slice(&length.to_le_bytes());
        self.raw.extend_from_slice(element);
        self.ends.push(self.raw.len());
    }

    /// Appends the elements of `other`.
    pub fn append(&mut self, other: &Self) {
        let start = self.raw.len();
        self.raw.extend_from_slice(&other.raw);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }

    /// A copy of the elements at these positions, or nothing where they reach past the end.
    #[must_use]
    pub fn slice(&self, positions: Range<usize>) -> Option<Self> {
        let start = self.start(positions.start)?;
        let ends = self.ends.get(positions)?;
        let raw = self.raw.get(start..ends.last().copied().unwrap_or(start))?.to_vec();
        Some(Self { raw, ends: ends.iter().map(|end| end - start).collect() })
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
        self.raw.get(self.start(index)? + PREFIX..end)
    }

    /// The elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }

    /// Where element `index` begins, its length included.
    fn start(&self, index: usize) -> Option<usize> {
        index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())
    }

    /// Reads `count` elements that fill `raw` exactly.
    ///
    /// # Errors
    /// `raw` is shorter or longer than that.
    pub(super) fn from_raw(count: usize, raw: &[u8]) -> Result<Self, String> {
        // Each element takes at least its prefix: a shape alone must not make room for more than was sent.
        if count.checked_mul(PREFIX).is_none_or(|least| least > raw.len()) {
            return Err(format!(
                "expected {count} elements of BYTES, {PREFIX} bytes of length before each, got {} bytes",
                raw.len()
            ));
        }
        let (mut ends, mut at) = (vec![0; count], 0_usize);
        for (row, end) in ends.iter_mut().enumerate() {
            let length = raw.get(at..).and_then(<[u8]>::first_chunk).map(|length| u32::from_le_bytes(*length) as usize);
            at = length
                .and_then(|length| (at + PREFIX).checked_add(length))
                .filter(|end| *end <= raw.len())
                .ok_or_else(|| format!("element {row} of {count} is cut short after {} bytes", raw.len()))?;
            *end = at;
        }
        if at < raw.len() {
            return Err(format!("{} bytes are left after {count} elements", raw.len() - at));
        }
        Ok(Self { raw: raw.to_vec(), ends })
    }

    /// The elements, each behind its length.
    ///
    /// # Errors
    /// One is longer than its length can say (4 GiB).
    pub(super) fn raw(&self) -> Result<&[u8], String> {
        let most = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        if self.raw.len() > most && self.iter().any(|element| element.len() > most) {
            return Err("an element is over 4 GiB".to_owned());
        }
        Ok(&self.raw)
    }

    /// How many bytes [`BytesData::raw`] has.
    pub(super) fn raw_len(&self) -> usize {
        self.raw.len()
    }
}

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
