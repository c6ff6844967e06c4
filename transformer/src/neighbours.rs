//! Steps 2 to 5, on one thread of the pool: query → neighbours, filtered inside the search → features.

use std::sync::Arc;

use catalog::{
    articles::Articles,
    customers::Customers,
    index::{Index, Neighbour},
};
use dataplane::{Error, Result, Tensor};

use crate::{
    customer::Customer,
    features::{Plan, RequestFeatures},
    filter::Excluded,
    instance::{Instance, Season},
    query::QueryTower,
};

/// The mapped parts of a bundle that retrieval reads.
pub(crate) struct Retrieval {
    pub(crate) articles: Articles,
    pub(crate) customers: Customers,
    pub(crate) index: Index,
}

/// What retrieval hands to ranking.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    /// Best first.
    pub(crate) neighbours: Vec<Neighbour>,
    /// Row i is about neighbour i.
    pub(crate) features: Vec<Tensor>,
    /// What the features say of the request.
    pub(crate) request: RequestFeatures,
    /// Articles that the filter left.
    pub(crate) eligible: usize,
}

/// One retrieval: everything it needs, so that it can move to a thread.
pub(crate) struct Job {
    pub(crate) retrieval: Arc<Retrieval>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) instance: Instance,
    pub(crate) customer: Customer,
    pub(crate) season: Season,
    pub(crate) candidates: usize,
}

impl Job {
    /// Runs it. This computes for some hundred microseconds, so it belongs on a thread of its own.
    pub(crate) fn run(self, tower: &mut QueryTower) -> Result<Candidates> {
        let Retrieval { articles, customers, index } = self.retrieval.as_ref();
        let query = match self.instance.query_emb {
            Some(query) => query,
            None => tower.embed(customers.vector(self.customer.row.unwrap_or(0)), self.customer.age, self.season)?,
        };
        let excluded = Excluded::new(articles, self.customer.purchased.iter().chain(&self.instance.exclude));
        let neighbours = index.search(articles, &query, self.candidates, |row| excluded.allows(row));
        let neighbours = neighbours.map_err(Error::internal)?;
        let request = RequestFeatures { age: self.customer.age, season: self.season };
        let features = self.plan.tensors(articles, &neighbours, request)?;
        Ok(Candidates { neighbours, features, request, eligible: articles.len() - excluded.len() })
    }
}
