//! Against the definition: the mean over all orders in which features become known.

use super::{Leaf, Tree, gauss};

/// A number from 0 to 1, the same in every run.
fn random(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    f64::from(u32::try_from(*seed >> 40).unwrap()) / f64::from(1 << 24)
}

/// Splits by column `columns[i]` at 0.5; a third of its leaves were never reached.
fn tree(columns: &[usize], seed: &mut u64) -> (Tree, Vec<Leaf>) {
    let numbers = 0..1_u32 << columns.len();
    let reached: Vec<u32> = numbers.filter(|&number| number == 0 || random(seed) < 0.67).collect();
    let leaf = |number| Leaf { number, value: random(seed) - 0.5, weight: 1.0 + (random(seed) * 99.0).floor() };
    let leaves: Vec<Leaf> = reached.into_iter().map(leaf).collect();
    let splits = columns.iter().map(|&column| (column, 0.5)).collect();
    (Tree::new(splits, leaves.clone()).unwrap(), leaves)
}

/// The tree's mean when only these columns of the row of leaf `reached` are known, from the node of this depth and number on.
fn mean(columns: &[usize], leaves: &[Leaf], reached: u32, known: u32, node: (usize, u32)) -> f64 {
    let weight = |(depth, number): (usize, u32)| -> f64 {
        let below = leaves.iter().filter(|leaf| leaf.number >> (columns.len() - depth) == number);
        below.map(|leaf| leaf.weight).sum()
    };
    let (depth, number) = node;
    if weight(node) == 0.0 {
        return 0.0;
    }
    if depth == columns.len() {
        return leaves.iter().find(|leaf| leaf.number == number).map_or(0.0, |leaf| leaf.value);
    }
    let bit = columns.len() - depth - 1;
    let child = |side: u32| (depth + 1, number << 1 | side);
    let below = |side| mean(columns, leaves, reached, known, child(side));
    if known & 1 << columns[bit] != 0 {
        return below(reached >> bit & 1);
    }
    (0..2).map(|side| weight(child(side)) / weight(node) * below(side)).sum()
}

/// By the definition, for `players` columns.
fn shapley(columns: &[usize], leaves: &[Leaf], reached: u32, players: u32) -> Vec<f64> {
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    let value = |known| mean(columns, leaves, reached, known, (0, 0));
    let of = |player: u32| {
        let without = (0..1_u32 << players).filter(|known| known & 1 << player == 0);
        let added = without.map(|known| {
            let size = known.count_ones();
            let orders = factorial(size) * factorial(players - size - 1) / factorial(players);
            orders * (value(known | 1 << player) - value(known))
        });
        added.sum()
    };
    (0..players).map(of).collect()
}

#[test]
fn contributions_are_shapley_values_whatever_a_feature_splits_and_wherever_a_row_goes() {
    let mut seed = 7;
    for columns in
        [&[0][..], &[0, 0], &[0, 1], &[1, 0, 1], &[2, 0, 1, 0, 2], &[0, 1, 2, 3, 4, 5], &[3, 1, 0, 2, 3, 1, 1]]
    {
        let (tree, leaves) = tree(columns, &mut seed);
        let players = 1 + u32::try_from(*columns.iter().max().unwrap()).unwrap();
        for reached in 0..1 << columns.len() {
            let expected = shapley(columns, &leaves, reached, players);
            let found = tree.contributions(reached);
            assert_eq!(tree.contributions(reached), found, "the same a second time");
            for (column, value) in tree.columns().zip(found.iter()) {
                assert!((value - expected[column]).abs() < 1e-12, "{columns:?}, leaf {reached}: {value}, {expected:?}");
            }
            let leaf = leaves.iter().find(|leaf| leaf.number == reached).map_or(0.0, |leaf| leaf.value);
            assert!((tree.base() + found.iter().sum::<f64>() - leaf).abs() < 1e-12);
        }
    }
}

#[test]
fn the_deepest_tree_is_as_exact() {
    let (tree, leaves) = tree(&(0..16).collect::<Vec<_>>(), &mut 3);
    for leaf in leaves.iter().step_by(leaves.len() / 3) {
        let sum: f64 = tree.contributions(leaf.number).iter().sum();
        assert!((tree.base() + sum - leaf.value).abs() < 1e-12);
    }
}

#[test]
fn a_tree_without_splits_has_a_base_alone() {
    let tree = Tree::new(vec![], vec![Leaf { number: 0, value: 2.5, weight: 3.0 }]).unwrap();
    assert_eq!((tree.base(), tree.contributions(tree.leaf(|_| 0.0)).len()), (2.5, 0));
}

#[test]
fn a_row_goes_up_above_a_border_and_nan_is_above_none() {
    let (tree, _) = tree(&[0, 1], &mut 1);
    assert_eq!(tree.leaf(|column| [0.5, 0.6][column]), 0b10);
    assert_eq!(tree.leaf(|column| [f32::INFINITY, f32::NAN][column]), 0b01);
}

#[test]
fn quadrature_is_exact_up_to_its_degree() {
    for count in 1..=8 {
        for degree in 0..2 * i32::try_from(count).unwrap() {
            let sum: f64 = gauss(count).iter().map(|(point, area)| area * point.powi(degree)).sum();
            assert!((sum - 1.0 / f64::from(degree + 1)).abs() < 1e-14, "{count} points, degree {degree}: {sum}");
        }
    }
}

#[test]
fn what_is_no_tree_is_refused() {
    let leaf = |number| Leaf { number, value: 1.0, weight: 1.0 };
    let refused = |splits: usize, leaves: Vec<Leaf>| Tree::new(vec![(0, 0.5); splits], leaves).err().unwrap();
    assert!(refused(17, vec![leaf(0)]).contains("17 splits"));
    for leaves in [vec![], vec![leaf(2)], vec![leaf(1), leaf(0)], vec![leaf(0), leaf(0)]] {
        assert!(refused(1, leaves).contains("in order"));
    }
    for (value, weight) in [(f64::NAN, 1.0), (1.0, 0.0), (1.0, f64::INFINITY)] {
        assert!(refused(0, vec![Leaf { number: 0, value, weight }]).contains("weight"));
    }
    assert!(Tree::new(vec![(0, f32::NAN)], vec![leaf(0)]).is_err());
}
