//! Steps 2 to 5, on one thread of the pool: query → neighbours, filtered inside the search → features.

use std::{borrow::Cow, sync::Arc};

use catalog::{
    articles::Articles,
    bundle::{CustomersInfo, HistoryInfo, Sources},
    customers::Customers,
    filter::Filter,
    index::Index,
    signals::Signals,
    store::OutOfStock,
};
use dataplane::{Error, Result, Tensor};

use crate::{
    candidates::{self, Candidate, Seeker},
    customer::Customer,
    features::{Plan, RequestFeatures, history},
    filter::{Eligibility, Evaluated, OutOfStockRows},
    history::History,
    instance::{Instance, Season},
    query::QueryTower,
    trace::Trace,
};

/// The mapped parts of a bundle that retrieval reads.
pub(crate) struct Retrieval {
    pub(crate) articles: Articles,
    pub(crate) customers: Customers,
    pub(crate) index: Index,
    pub(crate) out_of_stock: OutOfStockRows,
    /// What counts as touched of late.
    pub(crate) history: Option<HistoryInfo>,
    /// What finds candidates beside the towers.
    pub(crate) sources: Option<Sources>,
    /// The age groups.
    pub(crate) groups: CustomersInfo,
    pub(crate) filters: Evaluated,
}

/// What retrieval hands to ranking.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    /// Best first, by retrieval.
    pub(crate) found: Vec<Candidate>,
    /// Row i is about candidate i.
    pub(crate) features: Vec<Tensor>,
    /// What the features say of the request.
    pub(crate) request: RequestFeatures,
    /// Training did not know the customer.
    pub(crate) cold_start: bool,
    /// Why they are fewer than wanted, where they are.
    pub(crate) short: Option<String>,
    /// The way of the article that was asked about.
    pub(crate) trace: Option<Box<Trace>>,
}

/// One retrieval: everything it needs, so that it can move to a thread.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) retrieval: Arc<Retrieval>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) filter: Option<Arc<Filter>>,
    pub(crate) customer: Arc<Customer>,
    pub(crate) out_of_stock: Arc<OutOfStock>,
    pub(crate) season: Season,
    pub(crate) candidates: usize,
}

impl Job {
    /// Runs it. This computes for some hundred microseconds, so it belongs on a thread of its own.
    pub(crate) fn run(self, tower: &mut QueryTower) -> Result<Candidates> {
        let Retrieval { articles, customers, .. } = self.retrieval.as_ref();
        let (customer, touched) = (self.customer.as_ref(), self.history());
        let query = match &self.instance.query_emb {
            Some(query) => Cow::from(query),
            None => {
                let vector = customers.vector(customer.row.unwrap_or(0));
                let told = tower.history().map(|length| touched.tensors(articles, length));
                tower.embed(vector, customer.age, self.season, told)?.into()
            }
        };
        let eligibility = self.eligibility()?;
        let eligible = eligibility.rows();
        let age_group = self.retrieval.groups.age_group(customer.age);
        let seeker = Seeker { query: &query, history: &touched, age_group, eligible: &eligible };
        let found = candidates::find(&self.retrieval, seeker, self.candidates).map_err(Error::internal)?;
        let trace = self.instance.article_id.as_deref().map(|article_id| {
            let filter = self.filter.as_deref();
            Box::new(Trace::of(article_id, &self.retrieval, &eligibility, filter, seeker, &found))
        });
        let short = (found.len() < self.candidates).then(|| eligibility.shortage(eligible.count()));
        let history = if self.plan.reads_history() { history(articles, &customer.purchased) } else { String::new() };
        let (age, season) = (customer.age, self.season);
        let request = RequestFeatures { age, age_group, season, history, touched };
        let features = self.plan.request(articles, &found, &request)?;
        Ok(Candidates { found, features, request, cold_start: customer.row.is_none(), short, trace })
    }

    /// What is most sold to the customer's age group, in the stead of what is found for them. It has no features: no ranker is asked of it.
    /// A walk down a list, which needs no thread of the pool.
    pub(crate) fn most_sold(&self, signals: &Signals) -> Result<Candidates> {
        let (customer, eligibility) = (self.customer.as_ref(), self.eligibility()?);
        let (age, season, eligible) = (customer.age, self.season, eligibility.rows());
        let age_group = self.retrieval.groups.age_group(age);
        let found = candidates::most_sold(signals, age_group, &eligible, self.candidates);
        let short = (found.len() < self.candidates).then(|| eligibility.shortage(eligible.count()));
        let (history, touched) = (String::new(), History::default());
        let request = RequestFeatures { age, age_group, season, history, touched };
        let cold_start = customer.row.is_none();
        Ok(Candidates { found, features: Vec::new(), request, cold_start, short, trace: None })
    }

    fn eligibility(&self) -> Result<Eligibility<'_>> {
        let Retrieval { articles, out_of_stock, filters, .. } = self.retrieval.as_ref();
        Ok(Eligibility {
            articles,
            filter: self.filter.as_ref().map(|filter| filters.of(articles, filter)).transpose()?,
            purchased: &self.customer.purchased,
            dismissed: &self.customer.dismissed,
            exclude: &self.instance.exclude,
            out_of_stock: out_of_stock.of(articles, &self.out_of_stock),
        })
    }

    /// What the customer touched of late; nothing where the bundle's models know nothing of it.
    fn history(&self) -> History {
        let Retrieval { articles, history, .. } = self.retrieval.as_ref();
        let (own, touched) = (&self.instance.history, &self.customer.touched);
        let told = history.as_ref().map(|info| History::new(info, articles, own, touched, self.instance.day()));
        told.unwrap_or_default()
    }
}
