//! Rankers that are asked beside the one that answers: their scores are compared with its own, counted, and thrown away.

use std::{collections::HashSet, sync::Arc};

use dataplane::{Context, Error, Kind, Result, metrics::Metrics};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use tokio::sync::Semaphore;

use crate::{
    customer::Customer,
    features::history,
    neighbours::{Candidates, Retrieval},
    rank::Ranker,
};

/// Comparisons that may be under way at once. Further ones are left out: a shadow that is slow must cost nobody an answer.
const AT_ONCE: usize = 64;
/// How many of the best are compared as a set.
const TOP: usize = 10;

/// Compares, and counts.
#[derive(Clone)]
pub(crate) struct Shadows {
    places: Arc<Semaphore>,
    requests: IntCounterVec,
    difference: HistogramVec,
    overlap: HistogramVec,
}

/// What was answered, and what another ranker needs to answer the same.
#[derive(Clone)]
pub(crate) struct Served {
    /// Who answered.
    pub(crate) ranker: String,
    /// Its scores, by candidate.
    pub(crate) scores: Vec<Option<f32>>,
    pub(crate) candidates: Candidates,
    pub(crate) customer: Arc<Customer>,
}

impl Shadows {
    /// None is asked yet.
    ///
    /// # Errors
    /// The data plane has metrics of these names.
    pub(crate) fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        let requests = Opts::new(
            "shadow_requests_total",
            "Rankers asked beside the one that answered, by outcome: ok, an error's code, dropped.",
        );
        let difference = HistogramOpts::new(
            "shadow_score_difference",
            "Mean distance between a shadow's scores and those that were served, over the candidates that both scored.",
        );
        let overlap = HistogramOpts::new(
            "shadow_top10_overlap",
            "Part of the ten best that a shadow has in common with what was served.",
        );
        let shadows = Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            requests: IntCounterVec::new(requests, &["shadow", "outcome"])?,
            difference: HistogramVec::new(
                difference.buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0]),
                &["shadow", "ranker"],
            )?,
            overlap: HistogramVec::new(
                overlap.buckets((0..=10).map(|tenths| f64::from(tenths) / 10.0).collect()),
                &["shadow", "ranker"],
            )?,
        };
        metrics.register(shadows.requests.clone())?;
        metrics.register(shadows.difference.clone())?;
        metrics.register(shadows.overlap.clone())?;
        Ok(shadows)
    }

    /// Asks these rankers too, after the answer; nobody waits for them.
    pub(crate) fn compare(
        &self,
        rankers: Vec<Arc<Ranker>>,
        served: &Served,
        retrieval: &Arc<Retrieval>,
        context: &Context,
    ) {
        for ranker in rankers {
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                self.count(&ranker, "dropped");
                continue;
            };
            let (shadows, served, retrieval, context) =
                (self.clone(), served.clone(), retrieval.clone(), context.clone());
            tokio::spawn(async move {
                let _place = place;
                match ask(&ranker, served.clone(), &retrieval, &context).await {
                    Ok(scores) => shadows.observe(&ranker, &served, &scores),
                    Err(error) => {
                        let code = error.kind().row().code;
                        tracing::warn!(shadow = ranker.name(), code, %error, "a shadow failed");
                        shadows.count(&ranker, code);
                    }
                }
            });
        }
    }

    fn observe(&self, ranker: &Ranker, served: &Served, scores: &[Option<f32>]) {
        self.count(ranker, "ok");
        let labels = [ranker.name(), served.ranker.as_str()];
        if let Some(difference) = difference(&served.scores, scores) {
            self.difference.with_label_values(&labels).observe(difference);
        }
        if let Some(overlap) = overlap(&served.scores, scores) {
            self.overlap.with_label_values(&labels).observe(overlap);
        }
    }

    fn count(&self, ranker: &Ranker, outcome: &str) {
        self.requests.with_label_values(&[ranker.name(), outcome]).inc();
    }
}

/// The same question to another ranker: it may want other features of the same candidates.
async fn ask(ranker: &Ranker, served: Served, retrieval: &Retrieval, context: &Context) -> Result<Vec<Option<f32>>> {
    let Served { mut candidates, customer, .. } = served;
    let articles = &retrieval.articles;
    let plan = ranker.plan(articles, context).await?;
    if plan.reads_history() {
        candidates.request.history = history(articles, &customer.purchased);
    }
    candidates.features = plan.request(articles, &candidates.found, &candidates.request)?;
    let scores = ranker.score(&mut candidates, articles, context).await?;
    match scores.degraded {
        // Its scores are a default: what they differ by says nothing of the model.
        Some(words) => Err(Error::new(Kind::UpstreamUnavailable, format!("predictor `{}`: {words}", ranker.name()))),
        None => Ok(scores.scores),
    }
}

/// The mean of |a − b| over the rows that have both; nothing where none has.
fn difference(served: &[Option<f32>], shadow: &[Option<f32>]) -> Option<f64> {
    let both = served
        .iter()
        .zip(shadow)
        .filter_map(|(served, shadow)| Some((f64::from(*served.as_ref()?), f64::from(*shadow.as_ref()?))));
    let (sum, count) = both.fold((0.0, 0_u32), |(sum, count), (a, b)| (sum + (a - b).abs(), count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The part of the best that both have in common; nothing where one scored nothing.
fn overlap(served: &[Option<f32>], shadow: &[Option<f32>]) -> Option<f64> {
    let (served, shadow) = (top(served), top(shadow));
    let most = served.len().min(shadow.len());
    #[allow(clippy::cast_precision_loss)] // at most ten
    (most > 0).then(|| served.intersection(&shadow).count() as f64 / most as f64)
}

fn top(scores: &[Option<f32>]) -> HashSet<usize> {
    let mut scored: Vec<_> = scores.iter().enumerate().filter_map(|(row, score)| Some((row, (*score)?))).collect();
    scored.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    scored.into_iter().take(TOP).map(|(row, _)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::{difference, overlap};

    #[test]
    fn scores_are_compared_where_both_rankers_have_one() {
        let served = [Some(0.5), Some(0.25), None, Some(1.0)];
        assert_eq!(difference(&served, &[Some(0.25), Some(0.5), Some(1.0), None]), Some(0.25));
        assert_eq!(difference(&served, &[None, None, Some(1.0), None]), None);
    }

    #[test]
    fn the_best_are_compared_as_a_set_of_as_many_as_both_scored() {
        let row = |score: usize| Some(f32::from(u16::try_from(score).unwrap()));
        let rising: Vec<_> = (0..20).map(row).collect();
        let falling: Vec<_> = (0..20).rev().map(row).collect();
        assert_eq!(overlap(&rising, &rising), Some(1.0));
        assert_eq!(overlap(&rising, &falling), Some(0.0));
        assert_eq!(overlap(&rising[..12], &falling[8..]), Some(0.8));
        assert_eq!(overlap(&[Some(0.1), Some(0.2), None], &[None, Some(0.1), None]), Some(1.0));
        assert_eq!(overlap(&[None], &[Some(0.1)]), None);
    }
}
