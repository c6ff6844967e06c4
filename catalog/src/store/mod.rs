//! What changes while servers run: customers, what they bought and did, and stock.
//!
//! One trait, two stores: [`Sqlite`] for one machine, [`Postgres`] for many. [`Writer`] gathers events of many requests into few commits.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::events::{Event, Kind};

mod customer;
mod error;
mod guard;
mod postgres;
mod shop;
mod sqlite;
mod stock;
mod together;
mod url;
mod writer;

pub use customer::{Customer, TOUCHES, Touch};
pub use error::{Failure, StoreError};
pub use guard::Guard;
pub use postgres::Postgres;
pub use shop::{Account, Count, Profile, Purchase, Since, Told};
pub use sqlite::Sqlite;
pub use stock::OutOfStock;
pub use together::Together;
pub use url::StoreUrl;
pub use writer::{Recorded, Unrecorded, Writer};

/// What a request must know as of now.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The customers asked for, in that order.
    pub customers: Vec<Customer>,
    /// The articles that can't be had.
    pub out_of_stock: Arc<OutOfStock>,
}

/// Customers, interactions and stock. Every answer is as of now: what another process wrote before the question is in it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What is known of these customers; of one who is not, only what they did. And what is out of stock, both as of one moment, in one
    /// round trip.
    ///
    /// # Errors
    /// The store fails, or has no answer within `within`.
    async fn fresh(&self, customer_ids: &[&str], within: Duration) -> Result<Fresh, StoreError>;

    /// How many such questions it answers faster side by side than one after the other.
    fn at_once(&self) -> usize;

    /// Writes events, all or none; when this returns, no crash can lose them. For each event, in order, whether it was new.
    ///
    /// # Errors
    /// The store fails; then whether they were written is unknown, and they may be told again.
    async fn record(&self, events: &[Event], within: Duration) -> Result<Vec<bool>, StoreError>;

    /// Looks whether it can be served from.
    ///
    /// # Errors
    /// It can't be asked, or has another schema.
    async fn check(&self, within: Duration) -> Result<(), StoreError>;

    /// Deletes at most `most` events of a kind that were recorded before a moment, unless another server is at it; how many.
    ///
    /// # Errors
    /// The store fails.
    async fn expire(&self, kind: Kind, before: Timestamp, most: u32) -> Result<u64, StoreError>;

    /// At most `most` customers whose ids begin with `prefix`, by id; some who bought of late, last first, where it is empty.
    ///
    /// # Errors
    /// The store fails, or has no answer within `within`.
    async fn customers(&self, prefix: &str, most: u32, within: Duration) -> Result<Vec<Profile>, StoreError>;

    /// One customer or visitor, with at most `most` purchases.
    ///
    /// # Errors
    /// As [`Store::customers`].
    async fn account(&self, customer_id: &str, most: u32, within: Duration) -> Result<Account, StoreError>;

    /// How often each kind of event was told, by ranker and time span of this length, which counts in whole seconds; in that order.
    ///
    /// # Errors
    /// As [`Store::customers`].
    async fn counts(&self, since: &Since, span: Duration, within: Duration) -> Result<Vec<Count>, StoreError>;

    /// The last events that were told, at most `most`, newest first.
    ///
    /// # Errors
    /// As [`Store::customers`].
    async fn latest(&self, since: &Since, most: u32, within: Duration) -> Result<Vec<Told>, StoreError>;

    /// Hears whose profile was changed, for as long as it is polled: says the id, or nothing where it may be anybody's. A store that can't
    /// tell says nothing ever.
    async fn changes(&self, changed: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync));
}

/// Opens the store that a URL names; reads go to `reads`, where there is such a replica.
///
/// # Errors
/// The store can't be served from.
pub async fn open(url: &StoreUrl, reads: Option<&StoreUrl>) -> Result<Arc<dyn Store>, StoreError> {
    match (url, reads) {
        (StoreUrl::Sqlite(path), None) => Ok(Arc::new(Sqlite::open(path).await?)),
        (StoreUrl::Postgres(primary), None) => Ok(Arc::new(Postgres::open(primary, None).await?)),
        (StoreUrl::Postgres(primary), Some(StoreUrl::Postgres(replica))) => {
            Ok(Arc::new(Postgres::open(primary, Some(replica)).await?))
        }
        _ => Err(StoreError::new(Failure::Setup, "a replica for reads is PostgreSQL's, beside a PostgreSQL")),
    }
}

/// An id as a store may be asked for it. None has one with a NUL: PostgreSQL's text can't, and SQLite's JSON would end there.
fn asked(customer_id: &str) -> &str {
    if customer_id.contains('\0') { "" } else { customer_id }
}

/// For each event whether it is among those that were added, by source and id. Of two with the same id the first is the new one.
fn news(events: &[Event], mut added: HashSet<(String, String)>) -> Vec<bool> {
    events.iter().map(|event| added.remove(&(event.source.clone(), event.event_id.clone()))).collect()
}
