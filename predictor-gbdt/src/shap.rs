//! Exact SHAP values of one oblivious tree: what each feature adds to the tree's value of a row.
//!
//! The value of a set of known features is the mean over training of what the tree answers when the others are not known: at their splits
//! both ways are gone, each with its share of training's weight (the "path-dependent" expectation, CatBoost's `ShapValues`). A leaf takes part
//! in that mean as a product over features: 1 or 0 for a known one (the row goes the leaf's way or not), the share for another. The Shapley
//! value of such a product is an integral over 0..1 of a polynomial, for which Gauss' quadrature is exact: no sum over sets is needed.

use std::{
    collections::HashMap,
    f64::consts::PI,
    sync::{Arc, PoisonError, RwLock},
};

/// A leaf's number has a bit for each split.
const MOST_SPLITS: usize = 16;
/// Of how many leaves of a tree the contributions are kept: all of a tree of depth 10, at about 100 bytes each.
const MOST_KNOWN: usize = 1024;

/// One tree, ready to be asked.
pub(crate) struct Tree {
    /// Column and border of the split that is bit i of a leaf's number: set where the value is above the border. The last is the root.
    splits: Vec<(usize, f32)>,
    features: Vec<Feature>,
    leaves: Vec<Leaf>,
    /// Of training's weight, what goes each leaf's way at the splits of each feature: `[leaves, features]`.
    shares: Vec<f64>,
    base: f64,
    /// Points and weights of a quadrature that is exact for a product over the features but one.
    quadrature: Vec<(f64, f64)>,
    /// The contributions of leaves that rows have gone to: computed once, for they are the same for all rows of a leaf.
    known: RwLock<HashMap<u32, Arc<[f64]>>>,
}

/// A feature that the tree splits by.
struct Feature {
    column: usize,
    /// The bits of a leaf's number that are its splits.
    mask: u32,
}

/// A leaf that training reached.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    /// Its number.
    pub(crate) number: u32,
    /// What it adds to the margin.
    pub(crate) value: f64,
    /// Training's weight in it.
    pub(crate) weight: f64,
}

impl Tree {
    /// A tree of these splits and leaves.
    ///
    /// # Errors
    /// They are not those of a tree.
    pub(crate) fn new(splits: Vec<(usize, f32)>, leaves: Vec<Leaf>) -> Result<Self, String> {
        if splits.len() > MOST_SPLITS {
            return Err(format!("a tree of {} splits, expected at most {MOST_SPLITS}", splits.len()));
        }
        if !splits.iter().all(|(_, border)| border.is_finite()) {
            return Err("a border that is no number".to_owned());
        }
        let numbered = leaves.iter().all(|leaf| leaf.number < 1 << splits.len());
        if leaves.is_empty() || !numbered || !leaves.is_sorted_by(|one, next| one.number < next.number) {
            return Err(format!("a tree of {} splits: expected its leaves in order, each once", splits.len()));
        }
        if !leaves.iter().all(|leaf| leaf.value.is_finite() && leaf.weight.is_finite() && leaf.weight > 0.0) {
            return Err("a leaf's value or weight: expected numbers, weights above 0".to_owned());
        }
        let features = features(&splits);
        let total: f64 = leaves.iter().map(|leaf| leaf.weight).sum();
        let base = leaves.iter().map(|leaf| leaf.value * leaf.weight).sum::<f64>() / total;
        let (shares, quadrature) = (shares(splits.len(), &leaves, &features), gauss(features.len().div_ceil(2)));
        Ok(Self { splits, features, leaves, shares, base, quadrature, known: RwLock::default() })
    }

    /// The columns that the tree splits by, each once, in the order of [`Tree::contributions`].
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        self.features.iter().map(|feature| feature.column)
    }

    /// The tree's mean over training.
    pub(crate) fn base(&self) -> f64 {
        self.base
    }

    /// The leaf that a row goes to. NaN is above no border.
    pub(crate) fn leaf(&self, value: impl Fn(usize) -> f32) -> u32 {
        let bits = self.splits.iter().enumerate();
        bits.fold(0, |leaf, (bit, &(column, border))| leaf | u32::from(value(column) > border) << bit)
    }

    /// What each of [`Tree::columns`] adds for the rows of a leaf. With [`Tree::base`] they add up to the leaf's value.
    pub(crate) fn contributions(&self, reached: u32) -> Arc<[f64]> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&reached) {
            return known.clone();
        }
        let computed: Arc<[f64]> = self.compute(reached).into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_KNOWN {
            known.insert(reached, computed.clone());
        }
        computed
    }

    fn compute(&self, reached: u32) -> Vec<f64> {
        let mut contributions = vec![0.0; self.features.len()];
        if self.features.is_empty() {
            return contributions;
        }
        let (mut factors, mut sums) = ([0.0; MOST_SPLITS], [0.0; MOST_SPLITS]);
        for (leaf, shares) in self.leaves.iter().zip(self.shares.chunks_exact(self.features.len())) {
            let apart = leaf.number ^ reached;
            let goes = |feature: &Feature| f64::from(u8::from(apart & feature.mask == 0));
            sums.fill(0.0);
            for &(point, area) in &self.quadrature {
                let mut product = area;
                for ((factor, feature), share) in factors.iter_mut().zip(&self.features).zip(shares) {
                    *factor = goes(feature) * point + share * (1.0 - point);
                    product *= *factor;
                }
                for (sum, factor) in sums.iter_mut().zip(factors).take(shares.len()) {
                    *sum += product / factor; // above 0: so are the shares, and points are between 0 and 1
                }
            }
            for (((contribution, sum), feature), share) in
                contributions.iter_mut().zip(sums).zip(&self.features).zip(shares)
            {
                *contribution += leaf.value * (goes(feature) - share) * sum;
            }
        }
        contributions
    }
}

fn features(splits: &[(usize, f32)]) -> Vec<Feature> {
    let mut features: Vec<Feature> = Vec::new();
    for (bit, &(column, _)) in splits.iter().enumerate() {
        match features.iter_mut().find(|feature| feature.column == column) {
            Some(feature) => feature.mask |= 1 << bit,
            None => features.push(Feature { column, mask: 1 << bit }),
        }
    }
    features
}

/// `[leaves, features]`, see [`Tree::shares`].
fn shares(depth: usize, leaves: &[Leaf], features: &[Feature]) -> Vec<f64> {
    let mut shares = vec![1.0; leaves.len() * features.len()];
    let mut below = vec![0.0; 1 << depth];
    for leaf in leaves {
        below[leaf.number as usize] = leaf.weight;
    }
    for bit in 0..depth {
        let above: Vec<f64> = below.chunks_exact(2).map(|pair| pair.iter().sum()).collect();
        let split_by = features.iter().position(|feature| feature.mask & 1 << bit != 0);
        for (row, leaf) in leaves.iter().enumerate() {
            let node = leaf.number as usize >> bit;
            if let Some(position) = split_by {
                shares[row * features.len() + position] *= below[node] / above[node >> 1];
            }
        }
        below = above;
    }
    shares
}

/// Points and weights of the Gauss-Legendre quadrature over 0..1: exact for polynomials of degree up to 2 `count` − 1.
#[allow(clippy::cast_precision_loss)] // at most half of the splits
fn gauss(count: usize) -> Vec<(f64, f64)> {
    let point = |index: usize| {
        let mut x = (PI * (index as f64 + 0.75) / (count as f64 + 0.5)).cos();
        // Newton's method from here converges to the last digits in a few steps.
        for _ in 0..10 {
            let (value, slope) = legendre(count, x);
            x -= value / slope;
        }
        let (_, slope) = legendre(count, x);
        (0.5 + x / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..count).map(point).collect()
}

/// Legendre's polynomial of a degree above 0, and its slope.
#[allow(clippy::cast_precision_loss)] // at most half of the splits
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=degree {
        let k = k as f64;
        (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
    }
    (value, degree as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests;
