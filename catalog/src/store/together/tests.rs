use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{sync::Semaphore, task::JoinHandle, time::sleep};

use super::*;
use crate::{
    events::{Event, Kind},
    store::{Account, Count, Customer, Failure, OutOfStock, Profile, Since, Told},
};

const SECOND: Duration = Duration::from_secs(1);

/// Answers when it is let, and remembers what it was asked. A customer's age is the number that their id is.
struct Slow {
    gate: Semaphore,
    asked: Mutex<Vec<Vec<String>>>,
    at_once: usize,
    most: AtomicUsize,
    busy: AtomicUsize,
}

impl Slow {
    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Store for Slow {
    async fn fresh(&self, customer_ids: &[&str], _: Duration) -> Result<Fresh, StoreError> {
        self.asked.lock().unwrap().push(customer_ids.iter().map(|&id| id.to_owned()).collect());
        self.most.fetch_max(self.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.busy.fetch_sub(1, Ordering::SeqCst);
        if customer_ids.contains(&"fail") {
            return Err(StoreError::new(Failure::Busy, "as asked"));
        }
        let customers = customer_ids.iter().map(|id| Customer { age: id.parse().ok(), ..Customer::default() });
        Ok(Fresh { customers: customers.collect(), out_of_stock: Arc::<OutOfStock>::default() })
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    async fn record(&self, _: &[Event], _: Duration) -> Result<Vec<bool>, StoreError> {
        unreachable!()
    }

    async fn check(&self, _: Duration) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn expire(&self, _: Kind, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!()
    }

    async fn customers(&self, _: &str, _: u32, _: Duration) -> Result<Vec<Profile>, StoreError> {
        unreachable!()
    }

    async fn account(&self, _: &str, _: u32, _: Duration) -> Result<Account, StoreError> {
        unreachable!()
    }

    async fn counts(&self, _: &Since, _: Duration, _: Duration) -> Result<Vec<Count>, StoreError> {
        unreachable!()
    }

    async fn latest(&self, _: &Since, _: u32, _: Duration) -> Result<Vec<Told>, StoreError> {
        unreachable!()
    }

    async fn changes(&self, _: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync)) {}
}

fn slow(at_once: usize) -> (Arc<Slow>, Arc<Together>) {
    let (gate, asked) = (Semaphore::new(0), Mutex::default());
    let store = Arc::new(Slow { gate, asked, at_once, most: AtomicUsize::new(0), busy: AtomicUsize::new(0) });
    (store.clone(), Arc::new(Together::new(Arc::new(Guard::new(store)))))
}

/// Asks, and has got as far as it can when this returns.
async fn ask(together: &Arc<Together>, ids: &[&'static str]) -> JoinHandle<Result<Vec<f32>, Failure>> {
    let (together, ids) = (together.clone(), ids.to_vec());
    let asked = tokio::spawn(async move {
        let fresh = together.fresh(&ids, 10 * SECOND).await.map_err(|error| error.failure)?;
        Ok(fresh.customers.iter().map(|customer| customer.age.unwrap_or(-1.0)).collect())
    });
    sleep(Duration::from_millis(1)).await;
    asked
}

#[tokio::test(start_paused = true)]
async fn those_who_come_meanwhile_are_asked_for_together_and_each_gets_their_own() {
    let (store, together) = slow(1);
    let first = ask(&together, &["1"]).await;
    let others = [ask(&together, &["2", "3"]).await, ask(&together, &[]).await, ask(&together, &["2"]).await];
    store.gate.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap(), [1.0]);
    for (other, wanted) in others.into_iter().zip([vec![2.0, 3.0], vec![], vec![2.0]]) {
        assert_eq!(other.await.unwrap().unwrap(), wanted);
    }
    assert_eq!(store.asked(), [vec!["1"], vec!["2", "3", "2"]]);
}

#[tokio::test(start_paused = true)]
async fn as_many_are_asked_at_once_as_the_store_likes() {
    let (store, together) = slow(2);
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(ask(&together, &["7"]).await);
    }
    store.gate.add_permits(6);
    for each in all {
        assert_eq!(each.await.unwrap().unwrap(), [7.0]);
    }
    assert_eq!((store.most.load(Ordering::SeqCst), store.asked().len()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_is_not_asked_for_and_holds_nobody_up() {
    let (store, together) = slow(1);
    let (first, gone, last) =
        (ask(&together, &["1"]).await, ask(&together, &["2"]).await, ask(&together, &["3"]).await);
    gone.abort();
    first.abort();
    sleep(Duration::from_millis(1)).await;
    store.gate.add_permits(1);
    assert_eq!(last.await.unwrap().unwrap(), [3.0]);
    assert_eq!(store.asked(), [["1"], ["3"]]);
    store.gate.add_permits(1);
    assert_eq!(ask(&together, &["4"]).await.await.unwrap().unwrap(), [4.0]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_who_asked_and_the_next_are_asked_for() {
    let (store, together) = slow(1);
    let (first, second, third) =
        (ask(&together, &["1"]).await, ask(&together, &["fail"]).await, ask(&together, &["3"]).await);
    store.gate.add_permits(3);
    assert_eq!(first.await.unwrap().unwrap(), [1.0]);
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (Err(Failure::Busy), Err(Failure::Busy)));
    assert_eq!(ask(&together, &["4"]).await.await.unwrap().unwrap(), [4.0]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_they_said() {
    let (store, together) = slow(1);
    let first = ask(&together, &["1"]).await;
    assert_eq!(together.fresh(&["2"], SECOND).await.unwrap_err().failure, Failure::Slow);
    store.gate.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap(), [1.0]);
}

#[tokio::test(start_paused = true)]
async fn one_question_is_of_so_many_customers_at_most() {
    let (store, together) = slow(1);
    let mut all = vec![ask(&together, &["0"]).await];
    for _ in 0..2 * MOST {
        all.push(ask(&together, &["1"]).await);
    }
    store.gate.add_permits(4);
    for each in all {
        each.await.unwrap().unwrap();
    }
    assert_eq!(store.asked().iter().map(Vec::len).collect::<Vec<_>>(), [1, MOST, MOST]);
}
