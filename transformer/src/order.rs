//! Step 7: the list. Score descending, ties by retrieval rank; what the ranker did not score follows in retrieval order with 0.

use catalog::index::Neighbour;

/// The `k` best rows with their scores.
pub(crate) fn order(neighbours: &[Neighbour], scores: &[Option<f32>], k: usize) -> Vec<(f32, u32)> {
    let mut ranked: Vec<(Option<f32>, u32)> =
        scores.iter().copied().zip(neighbours.iter().map(|neighbour| neighbour.row)).collect();
    // Stable, so equals stay in retrieval order; nothing is less than every score, even a negative one.
    ranked.sort_by(|(a, _), (b, _)| match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(a),
        _ => b.is_some().cmp(&a.is_some()),
    });
    ranked.truncate(k);
    ranked.into_iter().map(|(score, row)| (score.unwrap_or(0.0), row)).collect()
}

#[cfg(test)]
mod tests {
    use catalog::index::Neighbour;

    use super::order;

    #[test]
    fn best_first_ties_and_the_unscored_in_retrieval_order() {
        let neighbours: Vec<_> = (10..15).map(|row| Neighbour { row, score: 0.0 }).collect();
        let scores = [Some(0.5), None, Some(0.9), Some(0.5), None];
        assert_eq!(order(&neighbours, &scores, 5), [(0.9, 12), (0.5, 10), (0.5, 13), (0.0, 11), (0.0, 14)]);
        assert_eq!(order(&neighbours, &scores, 2), [(0.9, 12), (0.5, 10)]);
    }

    #[test]
    fn a_negative_score_still_stands_before_none() {
        let neighbours: Vec<_> = (0..2).map(|row| Neighbour { row, score: 0.0 }).collect();
        assert_eq!(order(&neighbours, &[None, Some(-1.0)], 2), [(-1.0, 1), (0.0, 0)]);
    }
}
