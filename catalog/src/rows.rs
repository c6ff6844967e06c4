//! A set of article rows, a bit each.

/// Rows of the article table, and how many they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    bits: Vec<u64>,
    count: usize,
}

impl Rows {
    /// All rows of a table of `len`.
    #[must_use]
    pub fn all(len: usize) -> Self {
        let mut bits = vec![u64::MAX; len.div_ceil(64)];
        if let Some(last) = bits.last_mut().filter(|_| !len.is_multiple_of(64)) {
            *last = (1 << (len % 64)) - 1;
        }
        Self { bits, count: len }
    }

    /// These rows of a table of `len`; others are left out.
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = u32>, len: usize) -> Self {
        let mut bits = vec![0; len.div_ceil(64)];
        for row in rows.into_iter().map(|row| row as usize).filter(|row| *row < len) {
            bits[row / 64] |= 1 << (row % 64);
        }
        Self::counted(bits)
    }

    /// The rows of a table of `len` for which this holds.
    #[must_use]
    pub fn matching(len: usize, holds: impl Fn(usize) -> bool) -> Self {
        let word = |start: usize| {
            let rows = start..len.min(start + 64);
            rows.fold(0, |word, row| word | u64::from(holds(row)) << (row - start))
        };
        Self::counted((0..len).step_by(64).map(word).collect())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether this row is one of them.
    #[must_use]
    pub fn contains(&self, row: u32) -> bool {
        self.bits.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Takes a row out.
    pub fn remove(&mut self, row: u32) {
        if self.contains(row) {
            self.bits[row as usize / 64] ^= 1 << (row % 64);
            self.count -= 1;
        }
    }

    /// Takes out what the other one has.
    pub fn subtract(&mut self, other: &Self) {
        self.bits.iter_mut().zip(&other.bits).for_each(|(word, other)| *word &= !other);
        self.count = count(&self.bits);
    }

    /// Keeps only what the other one has too.
    pub fn intersect(&mut self, other: &Self) {
        let others = other.bits.iter().copied().chain(std::iter::repeat(0));
        self.bits.iter_mut().zip(others).for_each(|(word, other)| *word &= other);
        self.count = count(&self.bits);
    }

    /// Each row, ascending.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { words: self.bits.iter(), word: 0, next: 0 }
    }

    /// A bit a row, 64 of them a word.
    pub(crate) fn words(&self) -> &[u64] {
        &self.bits
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of_val(self.bits.as_slice())
    }

    fn counted(bits: Vec<u64>) -> Self {
        let count = count(&bits);
        Self { bits, count }
    }
}

/// The rows of a set, ascending.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    /// The words to come.
    words: std::slice::Iter<'a, u64>,
    /// What is left of the one that is looked at.
    word: u64,
    /// The first row of the next one.
    next: u32,
}

impl Iterator for Iter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.word == 0 {
            self.word = *self.words.next()?;
            self.next += 64;
        }
        let row = self.next - 64 + self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(row)
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = u32;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

fn count(bits: &[u64]) -> usize {
    bits.iter().map(|word| word.count_ones() as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::Rows;

    #[test]
    fn all_rows_are_the_tables_and_no_more() {
        for len in [0, 1, 63, 64, 65, 130] {
            let all = Rows::all(len);
            assert_eq!(all, Rows::of(0..1000, len));
            assert_eq!(all, Rows::matching(len, |_| true));
            assert_eq!((all.count(), all.iter().count()), (len, len));
            assert!(!all.contains(u32::try_from(len).unwrap()));
        }
    }

    #[test]
    fn rows_come_back_ascending_and_once() {
        let rows = Rows::of([129, 0, 64, 64, 63, 500], 130);
        assert_eq!(rows.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(rows, Rows::matching(130, |row| [0, 63, 64, 129].contains(&row)));
        assert_eq!(rows.count(), 4);
    }

    #[test]
    fn what_is_taken_out_twice_is_counted_once() {
        let mut rows = Rows::all(130);
        rows.subtract(&Rows::of([0, 64, 129], 130));
        for row in [64, 1, 1, 130, 4000] {
            rows.remove(row);
        }
        assert_eq!(rows.count(), 126);
        assert!([0, 1, 64, 129].iter().all(|row| !rows.contains(*row)) && rows.contains(2));
    }

    #[test]
    fn an_intersection_with_none_is_empty() {
        let mut rows = Rows::all(130);
        rows.intersect(&Rows::of(60..70, 130));
        assert_eq!(rows.iter().collect::<Vec<_>>(), (60..70).collect::<Vec<_>>());
        rows.intersect(&Rows::default());
        assert_eq!((rows.count(), rows.iter().next()), (0, None));
    }
}
