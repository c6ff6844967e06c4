//! Step 4: what may be in an answer, as the rows among which the neighbour search looks.

mod conditions;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use catalog::{
    articles::Articles,
    filter::{Filter, Matching},
    rows::Rows,
    store::OutOfStock,
};
use dataplane::{Error, Result};
use moka::sync::Cache;

pub(crate) use conditions::{Columns, Conditions};

/// The most memory for filters that were evaluated, in bytes.
const EVALUATED_SIZE: u64 = 16 << 20;

/// All that decides which articles one answer may have.
pub(crate) struct Eligibility<'a> {
    pub(crate) articles: &'a Articles,
    /// The request's filter.
    pub(crate) filter: Option<Arc<Matching>>,
    /// Ids of what the customer bought. Those that the catalogue does not have leave nothing out, here and below.
    pub(crate) purchased: &'a [String],
    /// Ids of what they do not want to see again.
    pub(crate) dismissed: &'a [String],
    /// Ids of what the request excludes.
    pub(crate) exclude: &'a [String],
    pub(crate) out_of_stock: Arc<Rows>,
}

impl Eligibility<'_> {
    /// The rows that may be in the answer.
    pub(crate) fn rows(&self) -> Rows {
        let mut rows =
            self.filter.as_ref().map_or_else(|| Rows::all(self.articles.len()), |filter| filter.rows.clone());
        rows.subtract(&self.out_of_stock);
        for row in
            self.purchased.iter().chain(self.dismissed).chain(self.exclude).filter_map(|id| self.articles.row(id))
        {
            rows.remove(row);
        }
        rows
    }

    /// What must hold of an article to be in the answer, and whether it does: of each column of `filter`, which is the one that was
    /// evaluated, and of all that is left out.
    pub(crate) fn verdicts(&self, filter: Option<&Filter>, article_id: &str, row: u32) -> BTreeMap<String, bool> {
        let lacks = |ids: &[String]| !ids.iter().any(|id| id == article_id);
        let own = [
            ("not_purchased", lacks(self.purchased)),
            ("not_dismissed", lacks(self.dismissed)),
            ("not_excluded", lacks(self.exclude)),
            ("in_stock", !self.out_of_stock.contains(row)),
        ];
        let own = own.into_iter().map(|(what, holds)| (what.to_owned(), holds));
        let columns = filter.into_iter().flat_map(|filter| self.articles.verdicts(filter, row));
        own.chain(columns.map(|(column, holds)| (format!("filter.{column}"), holds))).collect()
    }

    /// Why a list is short; with a filter also what cuts most, which is what alone leaves the fewest.
    pub(crate) fn shortage(&self, eligible: usize) -> String {
        let text = format!("{eligible} articles are eligible");
        let narrowest = self.filter.as_ref().and_then(|filter| filter.narrowest.as_ref());
        let Some((column, left)) = narrowest else { return text };
        let all = self.articles.len();
        let left_by =
            |ids: &[String]| all - ids.iter().filter_map(|id| self.articles.row(id)).collect::<HashSet<_>>().len();
        let others = [
            ("purchases leave", left_by(self.purchased)),
            ("dismissals leave", left_by(self.dismissed)),
            ("exclude leaves", left_by(self.exclude)),
            ("stock leaves", all - self.out_of_stock.count()),
        ];
        match others.into_iter().min_by_key(|(_, left)| *left) {
            Some((what, fewer)) if fewer < *left => format!("{text}; {what} {fewer}"),
            _ => format!("{text}; filter.{column} leaves {left}"),
        }
    }
}

/// Filters that were evaluated over one bundle's articles, by their canonical form.
pub(crate) struct Evaluated(Cache<String, Arc<Matching>>);

impl Default for Evaluated {
    fn default() -> Self {
        let size = |filter: &String, matching: &Arc<Matching>| {
            u32::try_from(filter.len() + matching.rows.size()).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(EVALUATED_SIZE).weigher(size).build())
    }
}

impl Evaluated {
    /// The articles that this filter lets pass.
    ///
    /// # Errors
    /// It was made for other articles.
    pub(crate) fn of(&self, articles: &Articles, filter: &Filter) -> Result<Arc<Matching>> {
        let canonical = filter.canonical();
        if let Some(matching) = self.0.get(&canonical) {
            return Ok(matching);
        }
        let matching = Arc::new(articles.matching(filter).map_err(Error::internal)?);
        self.0.insert(canonical, matching.clone());
        Ok(matching)
    }
}

/// What is out of stock as rows of one bundle's articles, made anew only when it changes.
#[derive(Debug, Default)]
pub(crate) struct OutOfStockRows(Mutex<(u64, Arc<Rows>)>);

impl OutOfStockRows {
    /// The rows of these articles.
    pub(crate) fn of(&self, articles: &Articles, out_of_stock: &OutOfStock) -> Arc<Rows> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != out_of_stock.generation {
            let rows = out_of_stock.articles.iter().filter_map(|id| articles.row(id));
            *last = (out_of_stock.generation, Arc::new(Rows::of(rows, articles.len())));
        }
        last.1.clone()
    }
}
