//! Kendall's τ-b: how far two orders of the same things agree, from -1 (opposite) over 0 to 1 (the same).

/// τ-b of two lists of scores, whose ties count for neither side. Nothing where one of them is all ties, or they differ in length.
#[allow(clippy::cast_precision_loss)] // pairs of at most a few dozen
pub(crate) fn kendall(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.len() != other.len() {
        return None;
    }
    let (mut agreeing, mut untied_one, mut untied_other) = (0_i64, 0_u64, 0_u64);
    for second in 0..one.len() {
        for first in 0..second {
            let sign = |scores: &[f64]| scores[first].partial_cmp(&scores[second]).map_or(0, |order| order as i64);
            let (a, b) = (sign(one), sign(other));
            agreeing += a * b;
            untied_one += u64::from(a != 0);
            untied_other += u64::from(b != 0);
        }
    }
    let pairs = (untied_one as f64 * untied_other as f64).sqrt();
    (pairs > 0.0).then(|| agreeing as f64 / pairs)
}

/// The mean over all pairs of lists.
#[allow(clippy::cast_precision_loss)] // at most 28 pairs
pub(crate) fn mean(lists: &[&[f64]]) -> Option<f64> {
    let pairs = lists
        .iter()
        .enumerate()
        .flat_map(|(position, one)| lists[..position].iter().filter_map(|other| kendall(one, other)));
    let taus: Vec<f64> = pairs.collect();
    (!taus.is_empty()).then(|| taus.iter().sum::<f64>() / taus.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::{kendall, mean};

    #[test]
    fn it_is_one_for_the_same_order_and_minus_one_for_the_opposite() {
        assert_eq!(kendall(&[0.1, 0.2, 0.3], &[1.0, 2.0, 9.0]), Some(1.0));
        assert_eq!(kendall(&[0.1, 0.2, 0.3], &[3.0, 2.0, 1.0]), Some(-1.0));
        // One of three pairs the other way around.
        assert_eq!(kendall(&[1.0, 2.0, 3.0], &[2.0, 1.0, 3.0]), Some(1.0 / 3.0));
    }

    #[test]
    fn ties_count_for_neither_side() {
        // As scipy.stats.kendalltau says.
        let tau = kendall(&[12.0, 2.0, 1.0, 12.0, 2.0], &[1.0, 4.0, 7.0, 1.0, 0.0]).unwrap();
        assert!((tau + 0.471_404_520_791_031_7).abs() < 1e-12, "{tau}");
        assert_eq!(kendall(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(kendall(&[], &[]), None);
        assert_eq!(kendall(&[1.0], &[]), None);
    }

    #[test]
    fn of_several_orders_it_is_the_mean_of_all_pairs() {
        let (up, down) = ([1.0, 2.0], [2.0, 1.0]);
        assert_eq!(mean(&[&up, &up, &down]), Some(-1.0 / 3.0));
        assert_eq!(mean(&[&up]), None);
    }
}
