//! What a shop shows beside recommendations: `GET /v1/articles`, `/v1/customers`, `/v1/customers/{id}`, `/v1/interactions`, `/v1/rankers`.
//! A page needs no store, no bundle and no credentials of its own for it.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use catalog::store::{Store, StoreError};
use dataplane::{Context, Error, Handler, Kind, Model, Result};
use tokio::{sync::Semaphore, time::timeout};

use crate::{facts, facts::Facts, recommender::Recommender};

mod articles;
mod customers;
mod interactions;
mod query;
mod rankers;

/// Questions about customers and interactions that may be under way at once: they read more than a recommendation does, and must leave
/// it connections.
const AT_ONCE: usize = 2;
/// When to come back where as many are.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the routes need.
pub(crate) struct Shop {
    pub(crate) handler: Arc<Handler>,
    /// The recommender's name.
    pub(crate) model: String,
    pub(crate) facts: Arc<Facts>,
    pub(crate) store: Arc<dyn Store>,
    /// Longest that the store may take for one question.
    pub(crate) timeout: Duration,
    /// Whether customers' ids, ages and purchases are told.
    pub(crate) tells_customers: bool,
    pub(crate) places: Semaphore,
}

/// The routes.
pub(crate) fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/v1/articles", get(articles::some))
        .route("/v1/customers", get(customers::search))
        .route("/v1/customers/{customer_id}", get(customers::one))
        .route("/v1/interactions", get(interactions::summary))
        .route("/v1/rankers", get(rankers::all))
        .with_state(Arc::new(shop))
}

impl Shop {
    /// So many questions about customers at once as these routes ask.
    pub(crate) fn places() -> Semaphore {
        Semaphore::new(AT_ONCE)
    }

    /// What is served now, for as long as it is held.
    fn served(&self) -> Result<Served> {
        self.handler.ready_model(&self.model, None).map(Served)
    }

    /// Asks the store one of the longer questions, which is told how long it may take.
    async fn ask<T, A>(&self, context: &Context, question: impl FnOnce(Duration) -> A) -> Result<T>
    where
        A: Future<Output = Result<T, StoreError>>,
    {
        let end = Instant::now() + context.remaining().min(self.timeout);
        let remaining = || end.saturating_duration_since(Instant::now());
        let Ok(Ok(_place)) = timeout(remaining(), self.places.acquire()).await else {
            let text = "as many questions about customers and interactions as may be asked at once are under way";
            return Err(Error::new(Kind::Overloaded, text).with_retry_after(RETRY_AFTER));
        };
        question(remaining()).await.map_err(|error| facts::failed(&error))
    }

    /// Whether customers are told of.
    ///
    /// # Errors
    /// They are not.
    fn check_tells_customers(&self) -> Result<()> {
        let refused = || Error::new(Kind::Forbidden, "customers are not told of here; --customer-search turns it on");
        self.tells_customers.then_some(()).ok_or_else(refused)
    }
}

/// A model that is held while it is asked, whatever is served meanwhile.
struct Served(Arc<dyn Model>);

impl Served {
    fn recommender(&self) -> Result<&Recommender> {
        let model: &dyn Any = self.0.as_ref();
        model.downcast_ref().ok_or_else(|| Error::internal("what is served under the recommender's name is none"))
    }
}

#[cfg(test)]
mod tests;
