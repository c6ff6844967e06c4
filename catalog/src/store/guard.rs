//! A store that may be away: its failures are counted, and while it is away nobody waits for it and one task looks for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{sync::Notify, time::sleep};

use super::{Account, Count, Failure, Fresh, Profile, Since, Store, StoreError, Told};
use crate::events::{Event, Kind};

/// Questions that must fail in a row before the store counts as away.
const MISSES: u32 = 3;
/// Time between two looks while nothing is wrong.
const LOOK: Duration = Duration::from_secs(2);
/// The longest that a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// Time between two looks at a store that is away: the first, and the longest. Each is cut at random, so that servers that lost the same
/// store do not come back together.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A store, asked only while it answers.
pub struct Guard {
    store: Arc<dyn Store>,
    misses: AtomicU32,
    is_away: AtomicBool,
    /// Wakes who looks for it.
    lost: Notify,
}

impl Guard {
    /// A store that counts as there until it fails.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, misses: AtomicU32::new(0), is_away: AtomicBool::new(false), lost: Notify::new() }
    }

    /// Looks after the store for as long as it is polled: says whether it can be served from, whenever that was looked at.
    pub async fn watch(&self, tell: impl Fn(Result<(), &StoreError>)) {
        let mut backoff = BACKOFF.0;
        loop {
            let looked = self.store.fresh(&[], LOOK_WITHIN).await;
            tell(looked.as_ref().map(|_| ()));
            match &looked {
                Ok(_) => self.is_back(),
                Err(error) => self.failed(error),
            }
            if looked.is_ok() {
                backoff = BACKOFF.0;
                tokio::select! {
                    () = sleep(LOOK) => {}
                    () = self.lost.notified() => {}
                }
            } else {
                sleep(backoff.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }

    /// Whether it counts as away.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    fn is_back(&self) {
        self.misses.store(0, Ordering::Release);
        if self.is_away.swap(false, Ordering::AcqRel) {
            tracing::info!("the store is back");
        }
    }

    fn failed(&self, error: &StoreError) {
        let is_miss = matches!(error.failure, Failure::Away | Failure::Slow | Failure::Busy);
        if is_miss
            && self.misses.fetch_add(1, Ordering::AcqRel) + 1 >= MISSES
            && !self.is_away.swap(true, Ordering::AcqRel)
        {
            tracing::warn!(%error, "the store is away; it is asked again when it is found");
            self.lost.notify_one();
        }
    }

    fn ready(&self) -> Result<(), StoreError> {
        if self.is_away() {
            Err(StoreError::new(Failure::Away, "it was away when it was last looked for"))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Store for Guard {
    async fn fresh(&self, customer_ids: &[&str], within: Duration) -> Result<Fresh, StoreError> {
        self.ready()?;
        let fresh = self.store.fresh(customer_ids, within).await;
        match &fresh {
            Ok(_) if self.misses.load(Ordering::Relaxed) > 0 => self.misses.store(0, Ordering::Release),
            Ok(_) => {}
            Err(error) => self.failed(error),
        }
        fresh
    }

    fn at_once(&self) -> usize {
        self.store.at_once()
    }

    /// A store that can't be written to may still be read, most of all where a replica is: only what recommendations ask tells whether it is
    /// away. Nor does a shop's long question: one that is late takes nobody else's answer.
    async fn record(&self, events: &[Event], within: Duration) -> Result<Vec<bool>, StoreError> {
        self.ready()?;
        self.store.record(events, within).await
    }

    async fn check(&self, within: Duration) -> Result<(), StoreError> {
        self.store.check(within).await
    }

    async fn expire(&self, kind: Kind, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.ready()?;
        self.store.expire(kind, before, most).await
    }

    async fn customers(&self, prefix: &str, most: u32, within: Duration) -> Result<Vec<Profile>, StoreError> {
        self.ready()?;
        self.store.customers(prefix, most, within).await
    }

    async fn account(&self, customer_id: &str, most: u32, within: Duration) -> Result<Account, StoreError> {
        self.ready()?;
        self.store.account(customer_id, most, within).await
    }

    async fn counts(&self, since: &Since, span: Duration, within: Duration) -> Result<Vec<Count>, StoreError> {
        self.ready()?;
        self.store.counts(since, span, within).await
    }

    async fn latest(&self, since: &Since, most: u32, within: Duration) -> Result<Vec<Told>, StoreError> {
        self.ready()?;
        self.store.latest(since, most, within).await
    }

    async fn changes(&self, changed: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync)) {
        self.store.changes(changed).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicU32, Ordering},
        },
        time::Duration,
    };

    use async_trait::async_trait;
    use jiff::Timestamp;

    use super::{Guard, MISSES};
    use crate::{
        events::{Event, Kind},
        store::{Account, Count, Failure, Fresh, OutOfStock, Profile, Since, Store, StoreError, Told},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// Answers or does not, as it is told, and counts how often it is asked.
    #[derive(Default)]
    struct Scripted {
        is_up: AtomicBool,
        asked: AtomicU32,
    }

    impl Scripted {
        fn result(&self) -> Result<(), StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.is_up.load(Ordering::SeqCst) { Ok(()) } else { Err(StoreError::new(Failure::Away, "no")) }
        }
    }

    #[async_trait]
    impl Store for Scripted {
        async fn fresh(&self, _: &[&str], _: Duration) -> Result<Fresh, StoreError> {
            self.result().map(|()| Fresh { customers: Vec::new(), out_of_stock: Arc::<OutOfStock>::default() })
        }

        fn at_once(&self) -> usize {
            1
        }

        async fn record(&self, _: &[Event], _: Duration) -> Result<Vec<bool>, StoreError> {
            self.result().map(|()| Vec::new())
        }

        async fn check(&self, _: Duration) -> Result<(), StoreError> {
            self.result()
        }

        async fn expire(&self, _: Kind, _: Timestamp, _: u32) -> Result<u64, StoreError> {
            self.result().map(|()| 0)
        }

        async fn customers(&self, _: &str, _: u32, _: Duration) -> Result<Vec<Profile>, StoreError> {
            self.result().map(|()| Vec::new())
        }

        async fn account(&self, _: &str, _: u32, _: Duration) -> Result<Account, StoreError> {
            self.result().map(|()| Account::default())
        }

        async fn counts(&self, _: &Since, _: Duration, _: Duration) -> Result<Vec<Count>, StoreError> {
            self.result().map(|()| Vec::new())
        }

        async fn latest(&self, _: &Since, _: u32, _: Duration) -> Result<Vec<Told>, StoreError> {
            self.result().map(|()| Vec::new())
        }

        async fn changes(&self, _: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync)) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_not_asked_by_requests_and_found_again_by_one_task() {
        let store = Arc::new(Scripted::default());
        let guard = Arc::new(Guard::new(store.clone()));
        for _ in 0..MISSES {
            assert!(guard.fresh(&[], SECOND).await.is_err());
        }
        assert!(guard.is_away());
        for _ in 0..1000 {
            assert_eq!(guard.fresh(&[], SECOND).await.unwrap_err().failure, Failure::Away);
            assert_eq!(guard.record(&[], SECOND).await.unwrap_err().failure, Failure::Away);
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), MISSES);
        let watching = guard.clone();
        let watch = tokio::spawn(async move { watching.watch(|_| ()).await });
        tokio::time::sleep(Duration::from_secs(60)).await;
        let looks = store.asked.load(Ordering::SeqCst) - MISSES;
        assert!((30..=120).contains(&looks), "{looks} looks in a minute");
        store.is_up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!guard.is_away() && guard.fresh(&[], SECOND).await.is_ok());
        watch.abort();
    }

    #[tokio::test]
    async fn failures_with_answers_between_them_are_no_absence() {
        let store = Arc::new(Scripted::default());
        let guard = Guard::new(store.clone());
        for _ in 0..10 {
            store.is_up.store(false, Ordering::SeqCst);
            for _ in 1..MISSES {
                assert!(guard.fresh(&[], SECOND).await.is_err());
            }
            store.is_up.store(true, Ordering::SeqCst);
            assert!(guard.fresh(&[], SECOND).await.is_ok());
        }
        assert!(!guard.is_away());
    }
}
