//! Exact neighbours by a scan: embeddings in eight bits say which rows may be among the best, and only those are scored in full.
//!
//! A row's value in dimension d is x = s·n + e: a whole number n from −127 to 127, the dimension's scale s, and an error e whose size is
//! known. A query's weight w = q·s in that dimension is t·m + f in the same way, with one t for all. So the inner product is
//!
//! q·x = Σ (t·m + f)·n + Σ q·e = t·Σ m·n + Σ f·n + Σ q·e
//!
//! The scan computes Σ m·n, in whole numbers. What it leaves out is at most Σ 127·|f| + Σ |q|·max|e|, and a score as [`dot`] computes it is
//! off the inner product by its own rounding. A row whose sum is more than twice all that below the `count`-th best sum scores less than
//! `count` rows, however these errors fall.

use crate::{
    embeddings::Embeddings,
    index::{Neighbour, best_first, dot, exact},
    rows::Rows,
};

mod lanes;
#[cfg(test)]
mod tests;

/// Rows that are scanned side by side: those of a word of [`Rows`].
const BLOCK: usize = 64;

/// Two dimensions of a block: both values of its first row, both of its second, and so on. So a multiplication that adds pairs
/// leaves one sum a row, and none has to be added up across a register.
type Pair = [i8; 2 * BLOCK];

/// The largest that are kept, in bytes: what is well beyond a core's own cache is no quicker to scan than a graph is to walk.
const LARGEST: usize = 16 << 20;

/// The largest whole number of a row's value.
const MOST: i8 = 127;

/// All embeddings, a byte a value.
pub(crate) struct Quantised {
    /// The pairs of the first block, those of the second, and so on.
    pairs: Vec<Pair>,
    dimensions: Vec<Dimension>,
}

/// What is known of the values in a dimension.
#[derive(Clone, Copy)]
struct Dimension {
    /// What 1 stands for.
    scale: f64,
    /// The largest size of a value.
    largest: f64,
    /// The largest difference between a value and what is kept of it.
    error: f64,
}

/// A query in whole numbers.
struct Weights {
    pairs: Vec<[i16; 2]>,
    /// A row whose sum is further below another's scores less.
    slack: i32,
}

/// A row that may be among the best.
#[derive(Clone, Copy)]
struct Candidate {
    sum: i32,
    row: u32,
}

impl Quantised {
    /// Those of `embeddings`; none where they are too large, where a value is not finite, and where the processor has no instructions
    /// to scan them quickly.
    pub(crate) fn of(embeddings: &Embeddings) -> Option<Self> {
        let (rows, size) = (u32::try_from(embeddings.len()).ok()?, embeddings.size());
        let pairs = size.div_ceil(2);
        let bytes = embeddings.len().div_ceil(BLOCK).checked_mul(pairs)?.checked_mul(size_of::<Pair>())?;
        if bytes == 0 || bytes > LARGEST || !lanes::are_quick() {
            return None;
        }
        let mut largest = vec![0.0_f32; size];
        for row in 0..rows {
            for (largest, value) in largest.iter_mut().zip(embeddings.row(row)) {
                if !value.is_finite() {
                    return None;
                }
                *largest = largest.max(value.abs());
            }
        }
        let dimension = |&largest: &f32| {
            let largest = f64::from(largest);
            Dimension { scale: largest / f64::from(MOST), largest, error: 0.0 }
        };
        let mut dimensions: Vec<_> = largest.iter().map(dimension).collect();
        let mut blocks = vec![[0; 2 * BLOCK]; bytes / size_of::<Pair>()];
        for row in 0..rows {
            let (block, at) = (row as usize / BLOCK, row as usize % BLOCK);
            for (d, (dimension, &value)) in dimensions.iter_mut().zip(embeddings.row(row)).enumerate() {
                blocks[block * pairs + d / 2][2 * at + d % 2] = dimension.quantise(f64::from(value));
            }
        }
        Some(Self { pairs: blocks, dimensions })
    }

    /// What [`exact`] answers, from the embeddings that these were made of.
    pub(crate) fn search(
        &self,
        embeddings: &Embeddings,
        query: &[f32],
        count: usize,
        allowed: &Rows,
    ) -> Vec<Neighbour> {
        let Some(weights) = self.weights(query).filter(|_| (1..allowed.count()).contains(&count)) else {
            return exact(embeddings, query, count, allowed);
        };
        let candidates = lanes::scan(&self.pairs, &weights, allowed.words(), Best::new(count, weights.slack));
        let scored = |&Candidate { row, .. }: &Candidate| Neighbour { row, score: dot(query, embeddings.row(row)) };
        let mut best: Vec<_> = candidates.iter().map(scored).collect();
        if best.len() > count {
            best.select_nth_unstable_by(count, best_first);
            best.truncate(count);
        }
        best.sort_unstable_by(best_first);
        best
    }

    /// A query's weights; none where sums would say nothing: of a query that is zero or not finite, and where scores may overflow.
    fn weights(&self, query: &[f32]) -> Option<Weights> {
        let values = || query.iter().map(|&value| f64::from(value)).zip(&self.dimensions);
        let most: f64 = values().map(|(value, dimension)| value.abs() * dimension.largest).sum();
        let heaviest = values().map(|(value, dimension)| (value * dimension.scale).abs()).fold(0.0, f64::max);
        // Twice, so that rounding does not reach what is too large either. Not a number is neither less nor more.
        let holds = query.len() == self.dimensions.len() && heaviest > 0.0 && 2.0 * most < f64::from(f32::MAX);
        if !holds {
            return None;
        }
        // Sums have 32 bits, weights 16.
        let limit = i32::MAX / (i32::from(MOST) * i32::try_from(2 * query.len().div_ceil(2)).ok()?);
        let unit = heaviest / f64::from(limit.min(i32::from(i16::MAX)));
        let mut pairs = vec![[0; 2]; query.len().div_ceil(2)];
        let mut error = dot_error(query.len(), most) / unit;
        for (d, (value, dimension)) in values().enumerate() {
            let weight = value * dimension.scale / unit;
            let whole = weight.round();
            pairs[d / 2][d % 2] = whole as i16;
            error += f64::from(MOST) * (weight - whole).abs() + value.abs() * dimension.error / unit;
        }
        // The error is itself computed, in f64: for the roundings of its terms a millionth more, and 1 for those of weights and values,
        // which are at most 2⁻⁵² of sums that have 31 bits.
        let slack = (2.0 * error * (1.0 + 1e-6)).ceil() + 1.0;
        Some(Weights { pairs, slack: slack as i32 })
    }
}

impl Dimension {
    /// The whole number nearest to a value, whose error counts from now on.
    fn quantise(&mut self, value: f64) -> i8 {
        if self.scale == 0.0 {
            return 0;
        }
        // Not `round`, which for processors of every age is a call.
        let near = value / self.scale;
        let whole = (near + 0.5_f64.copysign(near)) as i8;
        self.error = self.error.max((value - f64::from(whole) * self.scale).abs());
        whole
    }
}

/// How far [`dot`] is at most from the inner product of `size` values, the sizes of whose terms add up to `most`.
fn dot_error(size: usize, most: f64) -> f64 {
    // A term is rounded as it is made and with each sum that it is in, every time by 2⁻²⁴ of what it is then at most; twice that makes
    // up for what it is then being off already. A product too small for that is off by less than the least number that f32 has.
    let roundings = (size + 4) as f64;
    roundings * (f64::from(f32::EPSILON) * most + f64::from(f32::from_bits(1)))
}

/// The rows that may be among the best so far.
struct Best {
    count: usize,
    slack: i32,
    found: Vec<Candidate>,
    /// At how many the worse ones go.
    room: usize,
    /// What a sum must reach.
    least: i32,
}

impl Best {
    fn new(count: usize, slack: i32) -> Self {
        let room = 2 * count;
        Self { count, slack, found: Vec::with_capacity(room), room, least: i32::MIN }
    }

    #[inline(always)]
    fn push(&mut self, row: u32, sum: i32) {
        self.found.push(Candidate { sum, row });
        if self.found.len() == self.room {
            self.narrow();
        }
    }

    /// Leaves out what is too far below the `count`-th best.
    fn narrow(&mut self) {
        if self.found.len() > self.count {
            let (_, last, _) =
                self.found.select_nth_unstable_by_key(self.count - 1, |found| std::cmp::Reverse(found.sum));
            self.least = last.sum.saturating_sub(self.slack);
            self.found.retain(|found| found.sum >= self.least);
        }
        // Where many are about as good, they all stay.
        self.room = self.room.max(2 * self.found.len());
    }

    fn into_found(mut self) -> Vec<Candidate> {
        self.narrow();
        self.found
    }
}
