//! The scan itself, in the widest instructions that the processor has of those that this knows.

use super::{BLOCK, Best, Candidate, Pair, Weights};

/// How the sums of a block are computed.
trait Lanes: Copy {
    /// Σ weight · value for each row of a block, which has as many pairs as the query.
    fn sums(self, block: &[Pair], weights: &[[i16; 2]]) -> [i32; BLOCK];

    /// Which sums are at least as much, a bit each.
    fn reaching(self, sums: &[i32; BLOCK], least: i32) -> u64;
}

/// In whatever the compiler makes of it: quick where multiplications that widen are at hand, as on AArch64.
#[derive(Clone, Copy)]
struct Plain;

impl Lanes for Plain {
    #[inline(always)]
    fn sums(self, block: &[Pair], weights: &[[i16; 2]]) -> [i32; BLOCK] {
        let mut sums = [0; BLOCK];
        for (pair, &[first, second]) in block.iter().zip(weights) {
            for (sum, values) in sums.iter_mut().zip(pair.as_chunks::<2>().0) {
                *sum += i32::from(values[0]) * i32::from(first) + i32::from(values[1]) * i32::from(second);
            }
        }
        sums
    }

    #[inline(always)]
    fn reaching(self, sums: &[i32; BLOCK], least: i32) -> u64 {
        sums.iter().enumerate().fold(0, |word, (bit, &sum)| word | u64::from(sum >= least) << bit)
    }
}

/// The rows of `blocks` that are allowed, a bit each, and may be among the best.
pub(super) fn scan(blocks: &[Pair], weights: &Weights, allowed: &[u64], best: Best) -> Vec<Candidate> {
    let scan = Scan { blocks, weights, allowed, best };
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        return avx2.vectorize(x86::With(avx2, scan));
    }
    scan.run(Plain)
}

/// Whether this processor scans faster than it would walk a graph.
pub(super) fn are_quick() -> bool {
    #[cfg(target_arch = "x86_64")]
    return pulp::x86::V3::try_new().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    true
}

struct Scan<'a> {
    blocks: &'a [Pair],
    weights: &'a Weights,
    allowed: &'a [u64],
    best: Best,
}

impl Scan<'_> {
    // Inlined, as all that it calls for each block, into a function that may use the instructions of `lanes`.
    #[inline(always)]
    fn run(self, lanes: impl Lanes) -> Vec<Candidate> {
        let Self { blocks, weights, allowed, mut best } = self;
        let mut first = 0;
        for (block, &allowed) in blocks.chunks_exact(weights.pairs.len()).zip(allowed) {
            if allowed != 0 {
                let sums = lanes.sums(block, &weights.pairs);
                let mut rows = lanes.reaching(&sums, best.least) & allowed;
                while rows != 0 {
                    let bit = rows.trailing_zeros();
                    best.push(first + bit, sums[bit as usize]);
                    rows &= rows - 1;
                }
            }
            first += BLOCK as u32;
        }
        best.into_found()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m128i, __m256i};

    use pulp::{NullaryFnOnce, cast, x86::V3};

    use super::{BLOCK, Candidate, Lanes, Pair, Scan};

    /// A scan to be compiled for AVX2. A closure is not inlined into the function that may use it.
    pub(super) struct With<'a>(pub(super) V3, pub(super) Scan<'a>);

    impl NullaryFnOnce for With<'_> {
        type Output = Vec<Candidate>;

        #[inline(always)]
        fn call(self) -> Vec<Candidate> {
            self.1.run(self.0)
        }
    }

    impl Lanes for V3 {
        // By name, for the compiler does not find `vpmaddwd` for the loop above: it is three times as fast as what it does find.
        #[inline(always)]
        fn sums(self, block: &[Pair], weights: &[[i16; 2]]) -> [i32; BLOCK] {
            let mut sums = [self.avx._mm256_setzero_si256(); BLOCK / 8];
            for (pair, &weights) in block.iter().zip(weights) {
                let weights = self.avx._mm256_set1_epi32(cast(weights));
                let values: [__m128i; BLOCK / 8] = cast(*pair);
                for (sum, values) in sums.iter_mut().zip(values) {
                    let products = self.avx2._mm256_madd_epi16(self.avx2._mm256_cvtepi8_epi16(values), weights);
                    *sum = self.avx2._mm256_add_epi32(*sum, products);
                }
            }
            cast(sums)
        }

        #[inline(always)]
        fn reaching(self, sums: &[i32; BLOCK], least: i32) -> u64 {
            let (sums, least): ([__m256i; BLOCK / 8], _) = (cast(*sums), self.avx._mm256_set1_epi32(least));
            let mut bytes = [0; BLOCK / 8];
            // Not `map`, whose closure would be compiled without these instructions.
            for (byte, sums) in bytes.iter_mut().zip(sums) {
                let below = self.avx2._mm256_cmpgt_epi32(least, sums);
                *byte = !self.avx._mm256_movemask_ps(self.avx._mm256_castsi256_ps(below)) as u8;
            }
            u64::from_le_bytes(bytes)
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{BLOCK, Lanes, Plain};

    #[test]
    fn sums_are_the_same_whatever_computes_them() {
        let Some(avx2) = pulp::x86::V3::try_new() else { return };
        let mut random = fastrand::Rng::with_seed(7);
        for pairs in [1, 2, 8, 192] {
            let block: Vec<[i8; 2 * BLOCK]> = (0..pairs).map(|_| std::array::from_fn(|_| random.i8(-127..))).collect();
            let weights: Vec<[i16; 2]> =
                (0..pairs).map(|_| [random.i16(-5000..5000), random.i16(-5000..5000)]).collect();
            let sums = Plain.sums(&block, &weights);
            assert_eq!(avx2.sums(&block, &weights), sums);
            for least in [i32::MIN, sums[5], sums[5] + 1, 0, i32::MAX] {
                assert_eq!(avx2.reaching(&sums, least), Plain.reaching(&sums, least));
            }
        }
    }
}
