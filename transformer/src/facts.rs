//! What a request must know as of now, asked of the store once: who its customers are, what they bought, and what is out of stock.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use catalog::store::{self, Failure, Fresh, Guard, OutOfStock, Store, StoreError, Together};
use dataplane::{Context, Error, Kind, Result};
use moka::sync::Cache;

/// How long a profile may be used that the store did not confirm, where nobody says that it changed.
const PROFILE_AGE: Duration = Duration::from_secs(600);
/// Most profiles that are kept for when the store is away.
const PROFILES: u64 = 200_000;
/// The part of a request's time that the store may take where an answer is due without it.
const STORES_SHARE: f64 = 0.5;
/// When to come back to a store that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Asks the store. It outlives the bundles that are served over it.
pub(crate) struct Facts {
    store: Together,
    timeout: Duration,
    /// What is known without the store, where an answer is due without it.
    last: Option<Last>,
}

/// What the store said last.
struct Last {
    profiles: Cache<Box<str>, Profile>,
    out_of_stock: Mutex<Arc<OutOfStock>>,
}

/// Of a customer that the store has.
#[derive(Clone, Copy, Debug)]
struct Profile {
    age: Option<f32>,
}

/// The facts of one request.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// By row of the request.
    pub(crate) customers: Vec<store::Customer>,
    pub(crate) out_of_stock: Arc<OutOfStock>,
    /// The store was not heard: purchases are missing, and the rest is what it said last.
    pub(crate) is_stale: bool,
}

impl Facts {
    /// Asks this store, each time for at most `timeout`. Where it fails, `degrade` answers with what it said last.
    pub(crate) fn new(store: Arc<Guard>, timeout: Duration, degrade: bool) -> Self {
        let profiles = || Cache::builder().max_capacity(PROFILES).time_to_live(PROFILE_AGE).build();
        let last = degrade.then(|| Last { profiles: profiles(), out_of_stock: Mutex::default() });
        Self { store: Together::new(store), timeout, last }
    }

    /// What is known of these customers now, in one round trip for all.
    ///
    /// # Errors
    /// The store fails, and no answer is due without it.
    pub(crate) async fn of(&self, customer_ids: &[&str], context: &Context) -> Result<Known> {
        let remaining = context.remaining();
        let share = if self.last.is_some() { remaining.mul_f64(STORES_SHARE) } else { remaining };
        match (self.store.fresh(customer_ids, share.min(self.timeout)).await, &self.last) {
            (Ok(Fresh { customers, out_of_stock }), last) => {
                if let Some(last) = last {
                    last.keep(customer_ids, &customers, &out_of_stock);
                }
                Ok(Known { customers, out_of_stock, is_stale: false })
            }
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "answered without the store");
                Ok(last.known(customer_ids))
            }
            (Err(error), None) => Err(failed(&error)),
        }
    }

    /// Forgets profiles that are said to have changed, for as long as it is polled.
    pub(crate) async fn watch(&self) {
        let Some(Last { profiles, .. }) = &self.last else { return };
        let changed = |customer_id: Option<&str>| match customer_id {
            Some(customer_id) => profiles.invalidate(customer_id),
            None => profiles.invalidate_all(),
        };
        self.store.store().changes(&changed).await;
    }
}

impl Last {
    fn keep(&self, customer_ids: &[&str], customers: &[store::Customer], out_of_stock: &Arc<OutOfStock>) {
        for (&customer_id, customer) in customer_ids.iter().zip(customers).filter(|(_, customer)| customer.known) {
            self.profiles.insert(customer_id.into(), Profile { age: customer.age });
        }
        let mut last = self.out_of_stock.lock().unwrap_or_else(PoisonError::into_inner);
        if last.generation != out_of_stock.generation {
            *last = out_of_stock.clone();
        }
    }

    fn known(&self, customer_ids: &[&str]) -> Known {
        let customers = customer_ids.iter().map(|&customer_id| {
            let profile = self.profiles.get(customer_id);
            let age = profile.and_then(|profile| profile.age);
            store::Customer { known: profile.is_some(), age, ..store::Customer::default() }
        });
        let out_of_stock = self.out_of_stock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Known { customers: customers.collect(), out_of_stock, is_stale: true }
    }
}

/// A store's failure as its callers are told. What it says itself may name hosts and files, and is for the log.
pub(crate) fn failed(error: &StoreError) -> Error {
    let kind = if error.failure == Failure::Slow { Kind::UpstreamTimeout } else { Kind::UpstreamUnavailable };
    let told = Error::new(kind, "the customer store has no answer").with_detail(error);
    if kind == Kind::UpstreamUnavailable { told.with_retry_after(RETRY_AFTER) } else { told }
}
