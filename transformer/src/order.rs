//! Step 7: the list. Score descending, ties by retrieval rank; what the ranker did not score follows in retrieval order with 0.

use crate::candidates::Candidate;

/// The `k` best rows with their scores.
pub(crate) fn order(candidates: &[Candidate], scores: &[Option<f32>], k: usize) -> Vec<(f32, u32)> {
    let mut ranked: Vec<(Option<f32>, u32)> =
        scores.iter().copied().zip(candidates.iter().map(|candidate| candidate.row)).collect();
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
    use super::order;
    use crate::candidates::Candidate;

    fn candidates(rows: std::ops::Range<u32>) -> Vec<Candidate> {
        let candidate = |(rank, row)| Candidate { row, score: 0.0, rank, alike: 0.0, found_by: [true, false, false] };
        (0..).zip(rows).map(candidate).collect()
    }

    #[test]
    fn best_first_ties_and_the_unscored_in_retrieval_order() {
        let candidates = candidates(10..15);
        let scores = [Some(0.5), None, Some(0.9), Some(0.5), None];
        assert_eq!(order(&candidates, &scores, 5), [(0.9, 12), (0.5, 10), (0.5, 13), (0.0, 11), (0.0, 14)]);
        assert_eq!(order(&candidates, &scores, 2), [(0.9, 12), (0.5, 10)]);
    }

    #[test]
    fn a_negative_score_still_stands_before_none() {
        let candidates = candidates(0..2);
        assert_eq!(order(&candidates, &[None, Some(-1.0)], 2), [(-1.0, 1), (0.0, 0)]);
    }
}
