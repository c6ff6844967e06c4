//! Scores that were asked for before: kept for a while, and asked for once where several requests want the same at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use sha2::{Digest, Sha256};

use crate::{metrics::LlmMetrics, miss::Missed};

/// What an answer of the LLM comes to: one probability, or one for each label.
pub(crate) type Scores = Arc<[f64]>;

/// A question: everything that its answer depends on, as a digest.
pub(crate) type Key = [u8; 32];

/// The digest of a question. Each part stands behind its length, so that none can be taken for the end of another.
pub(crate) fn key(parts: &[&str]) -> Key {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// The scores that are kept.
pub(crate) struct ScoreCache {
    kept: Cache<Key, Scores>,
    metrics: LlmMetrics,
}

impl ScoreCache {
    /// Keeps so many for so long. With none kept, equal questions at the same time are still asked once.
    pub(crate) fn new(entries: u64, ttl: Duration, metrics: LlmMetrics) -> Self {
        Self { kept: Cache::builder().max_capacity(entries).time_to_live(ttl).build(), metrics }
    }

    /// The scores of a question, from before or as `ask` gets them. Failures are not kept.
    ///
    /// # Errors
    /// Asking failed, here or for whoever asked the same.
    pub(crate) async fn get(
        &self,
        key: Key,
        ask: impl Future<Output = Result<Scores, Missed>>,
    ) -> Result<Scores, Missed> {
        if let Some(scores) = self.kept.get(&key).await {
            self.metrics.cache("hit");
            return Ok(scores);
        }
        let asked = AtomicBool::new(false);
        // Where whoever asks leaves, another of those who wait asks in their place.
        let answer = self
            .kept
            .try_get_with(key, async {
                asked.store(true, Ordering::Relaxed);
                self.metrics.cache("miss");
                ask.await
            })
            .await;
        if !asked.load(Ordering::Relaxed) {
            self.metrics.cache("coalesced");
        }
        answer.map_err(|missed| (*missed).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use dataplane::metrics::Metrics;
    use futures_util::future::{join, pending};
    use tokio::time::timeout;

    use super::{ScoreCache, key};
    use crate::{
        metrics::LlmMetrics,
        miss::{Miss, Missed},
    };

    fn cache(entries: u64) -> (ScoreCache, Metrics) {
        let metrics = Metrics::new().unwrap();
        let own = LlmMetrics::new(&metrics).unwrap();
        (ScoreCache::new(entries, Duration::from_secs(60), own), metrics)
    }

    fn counted(metrics: &Metrics, result: &str, count: usize) -> bool {
        let line = format!("llm_cache_total{{result=\"{result}\"}} {count}\n");
        String::from_utf8(metrics.text()).unwrap().contains(&line)
    }

    #[test]
    fn no_part_of_a_question_can_be_taken_for_another() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a", ""]), key(&["a"]));
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
    }

    #[tokio::test]
    async fn what_was_asked_is_kept_and_what_failed_is_not() {
        let (cache, metrics) = cache(10);
        let failed = cache.get(key(&["q"]), async { Err(Miss::Failed.into()) }).await;
        assert_eq!(failed.unwrap_err().class, Miss::Failed);
        let ask = || cache.get(key(&["q"]), async { Ok([0.5].into()) });
        assert_eq!(*ask().await.unwrap(), [0.5]);
        let kept = cache.get(key(&["q"]), pending()).await.unwrap();
        assert_eq!(*kept, [0.5]);
        assert!(counted(&metrics, "miss", 2) && counted(&metrics, "hit", 1));
    }

    #[tokio::test]
    async fn equal_questions_at_the_same_time_are_asked_once_also_where_nothing_is_kept() {
        let (cache, metrics) = cache(0);
        let asked = AtomicUsize::new(0);
        let ask = || {
            cache.get(key(&["q"]), async {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok([0.5].into())
            })
        };
        let (one, other) = join(ask(), ask()).await;
        assert_eq!((one.unwrap(), asked.load(Ordering::Relaxed)), (other.unwrap(), 1));
        assert!(counted(&metrics, "coalesced", 1));
        ask().await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2, "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_asks_where_the_first_one_leaves() {
        let (cache, _) = cache(10);
        let leaves = timeout(Duration::from_secs(1), cache.get(key(&["q"]), pending::<Result<_, Missed>>()));
        let waits = cache.get(key(&["q"]), async { Ok([0.5].into()) });
        let (left, scores) = join(leaves, waits).await;
        assert!(left.is_err());
        assert_eq!(*scores.unwrap(), [0.5]);
    }
}
