use super::Quantised;
use crate::{
    embeddings::Embeddings,
    index::{Neighbour, exact},
    rows::Rows,
};

/// More than a few blocks, the last of which is not full.
const ROWS: usize = 1000;

fn random_values(random: &mut fastrand::Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.f32() * 2.0 - 1.0).collect()
}

/// Points about a few centres.
fn clustered(random: &mut fastrand::Rng, rows: usize, size: usize) -> Vec<f32> {
    let centres: Vec<_> = (0..7).map(|_| random_values(random, size)).collect();
    let point = |random: &mut fastrand::Rng| {
        let centre = &centres[random.usize(..centres.len())];
        centre.iter().map(|value| value + 1e-3 * random.f32()).collect::<Vec<_>>()
    };
    (0..rows).flat_map(|_| point(random)).collect()
}

/// Each row is one of only a few.
fn repeated(random: &mut fastrand::Rng, rows: usize, size: usize) -> Vec<f32> {
    let different = random_values(random, 5 * size);
    (0..rows).flat_map(|_| different.chunks(size).nth(random.usize(..5)).unwrap().to_vec()).collect()
}

/// Values of all magnitudes, zero among them.
fn extreme(random: &mut fastrand::Rng, count: usize, exponents: std::ops::Range<i32>) -> Vec<f32> {
    let mut value =
        || if random.u8(..8) == 0 { 0.0 } else { (random.f32() - 0.5) * 2_f32.powi(random.i32(exponents.clone())) };
    (0..count).map(|_| value()).collect()
}

/// Sets of rows from all to none.
fn filters(random: &mut fastrand::Rng, rows: usize) -> Vec<Rows> {
    let mut filters = vec![Rows::all(rows), Rows::default(), Rows::of([], rows), Rows::of([0, rows as u32 - 1], rows)];
    filters.push(Rows::of(0..rows as u32 / 2, rows));
    filters.extend([0.99, 0.5, 0.1, 0.01].map(|part| {
        let kept: Vec<bool> = (0..rows).map(|_| random.f64() < part).collect();
        Rows::matching(rows, |row| kept[row])
    }));
    filters
}

/// Bits, for no number is equal to itself where it is none, and 0 is to −0.
fn bits(neighbours: &[Neighbour]) -> Vec<(u32, u32)> {
    neighbours.iter().map(|neighbour| (neighbour.row, neighbour.score.to_bits())).collect()
}

#[track_caller]
fn is_exact(random: &mut fastrand::Rng, values: Vec<f32>, size: usize, queries: &[Vec<f32>]) {
    let rows = values.len() / size;
    let embeddings = Embeddings::of_values(values, size);
    let quantised = Quantised::of(&embeddings).unwrap();
    for (allowed, query) in filters(random, rows).iter().flat_map(|rows| queries.iter().map(move |query| (rows, query)))
    {
        for count in [0, 1, 2, 10, 100, allowed.count().saturating_sub(1), allowed.count(), usize::MAX] {
            let found = quantised.search(&embeddings, query, count, allowed);
            let wanted = exact(&embeddings, query, count, allowed);
            let of = allowed.count();
            assert_eq!(bits(&found), bits(&wanted), "{count} of {of} of {rows} × {size} for {query:?}");
        }
    }
}

/// Queries of each kind that is not out of the ordinary, and one of the rows.
fn queries(random: &mut fastrand::Rng, values: &[f32], size: usize) -> Vec<Vec<f32>> {
    let mut one = vec![0.0; size];
    one[random.usize(..size)] = -1.0;
    vec![random_values(random, size), values[..size].to_vec(), extreme(random, size, -40..40), one]
}

#[test]
fn a_scan_answers_what_an_exact_search_does_at_every_size() {
    let mut random = fastrand::Rng::with_seed(1);
    for size in (1..=40).chain([384]) {
        let rows = if size == 16 { ROWS } else { 100 };
        for values in [
            random_values(&mut random, rows * size),
            clustered(&mut random, rows, size),
            repeated(&mut random, rows, size),
            extreme(&mut random, rows * size, -20..20),
        ] {
            let queries = queries(&mut random, &values, size);
            is_exact(&mut random, values, size, &queries);
        }
    }
}

#[test]
fn rows_that_score_the_same_come_in_their_order() {
    let mut random = fastrand::Rng::with_seed(2);
    for size in [1, 3, 16] {
        let values = repeated(&mut random, ROWS, size);
        let queries = queries(&mut random, &values, size);
        is_exact(&mut random, values, size, &queries);
        is_exact(&mut random, vec![0.25; ROWS * size], size, &queries);
        // Neighbours in a float's last place: what is kept of them is the same.
        let near = (0..ROWS * size).map(|_| f32::from_bits(1_f32.to_bits() + random.u32(..3))).collect();
        is_exact(&mut random, near, size, &queries);
    }
}

#[test]
fn rows_from_the_worst_to_the_best_are_all_looked_at() {
    let mut random = fastrand::Rng::with_seed(3);
    for sign in [1.0, -1.0] {
        let values: Vec<f32> = (0..ROWS).flat_map(|row| [sign * row as f32, 1.0]).collect();
        is_exact(&mut random, values, 2, &[vec![1.0, 0.0], vec![1.0, 1e6], vec![1e-6, 1.0]]);
    }
}

#[test]
fn weights_that_are_rounded_away_are_as_exact() {
    let mut random = fastrand::Rng::with_seed(8);
    // Values are kept as they are, so that only what becomes of the query is off.
    let values = (0..ROWS * 16).map(|at| if at % 16 == 0 { 127.0 } else { f32::from(random.i8(-127..)) }).collect();
    let light = [1e-5, 3e-5, 1e-4].map(|size| [vec![1.0], (0..15).map(|_| size * random.f32()).collect()].concat());
    is_exact(&mut random, values, 16, &light);
}

#[test]
fn magnitudes_from_the_least_to_the_largest_are_as_exact() {
    let mut random = fastrand::Rng::with_seed(4);
    for exponents in [-149..-140, -130..-120, -149..0, 0..127, 120..128, -149..128] {
        let values = extreme(&mut random, 200 * 16, exponents.clone());
        let queries: Vec<_> = [-149..-140, -10..10, 100..128, exponents].map(|e| extreme(&mut random, 16, e)).into();
        is_exact(&mut random, values, 16, &queries);
    }
}

#[test]
fn a_dimension_without_values_and_rows_without_any_are_as_exact() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut values = random_values(&mut random, ROWS * 16);
    values.iter_mut().skip(3).step_by(16).for_each(|value| *value = 0.0);
    values[16 * 100..16 * 300].fill(0.0);
    let mut queries = queries(&mut random, &values, 16);
    // Only what no row has, and nothing at all: every score is 0.
    let mut unknown = vec![0.0; 16];
    unknown[3] = 1.0;
    queries.extend([unknown, vec![0.0; 16], vec![-0.0; 16]]);
    is_exact(&mut random, values, 16, &queries);
    is_exact(&mut random, vec![0.0; ROWS * 16], 16, &queries);
}

#[test]
fn a_query_that_is_not_finite_is_answered_as_an_exact_search_answers_it() {
    let mut random = fastrand::Rng::with_seed(6);
    let values = random_values(&mut random, ROWS * 16);
    let odd = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE];
    let queries: Vec<_> = odd.map(|odd| [vec![odd], random_values(&mut random, 15)].concat()).into();
    is_exact(&mut random, values, 16, &queries);
}

#[test]
fn embeddings_that_are_not_finite_or_too_large_are_not_kept() {
    for odd in [f32::NAN, f32::INFINITY] {
        assert!(Quantised::of(&Embeddings::of_values(vec![0.0, 1.0, odd, 2.0], 2)).is_none());
    }
    assert!(Quantised::of(&Embeddings::of_values(vec![], 16)).is_none());
    assert!(Quantised::of(&Embeddings::of_values(vec![0.5; (16 << 20) + 16], 16)).is_none());
}
