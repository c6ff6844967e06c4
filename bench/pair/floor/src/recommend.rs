//! From a customer and a day to a ranking.

use std::{
    collections::HashMap,
    f64::consts::TAU,
    path::Path,
    sync::{Mutex, PoisonError},
};

use catalog::{Bundle, articles::Articles, customers::Customers, index::Index, rows::Rows};
use dataplane::onnx::Runtime;

use crate::{
    ages,
    call::{Features, Models, Profile},
};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Everything that a ranking is made of.
pub(crate) struct Recommender {
    articles: Articles,
    customers: Customers,
    index: Index,
    all: Rows,
    ages: HashMap<String, f32>,
    default_age: f32,
    candidates: usize,
    features: Features,
    /// One for each thread, so that no lock is ever waited for.
    models: Vec<Mutex<Models>>,
}

impl Recommender {
    /// Maps the bundle, and reads what has to be read.
    pub(crate) fn open(
        bundle: &Path,
        ages: &Path,
        onnxruntime: &Path,
        candidates: usize,
        threads: usize,
    ) -> Result<Self, Failure> {
        let bundle = Bundle::open(bundle)?;
        let manifest = bundle.manifest();
        let articles = Articles::open(&bundle, &[])?;
        let models = Models::load(&Runtime::load(onnxruntime)?, &bundle, threads)?;
        Ok(Self {
            customers: Customers::open(&bundle)?,
            index: Index::open(&bundle, &articles, threads)?,
            all: Rows::all(articles.len()),
            features: Features::of(&bundle, &articles)?,
            articles,
            ages: ages::read(ages)?,
            default_age: manifest.customers.default_age,
            candidates,
            models: models.into_iter().map(Mutex::new).collect(),
        })
    }

    /// The ranking, best first, computed with what belongs to this thread.
    pub(crate) fn rank(&self, thread: usize, customer_id: &str, date: &str) -> Result<Vec<(f32, &str)>, Failure> {
        let month: u8 = date.get(5..7).ok_or("no date such as 2020-09-16")?.parse()?;
        let angle = TAU * f64::from(month) / 12.0;
        let age = self.ages.get(customer_id).copied().unwrap_or(self.default_age);
        let profile = Profile { age, month_sin: angle.sin() as f32, month_cos: angle.cos() as f32 };
        let models = self.models.get(thread % self.models.len()).ok_or("no thread")?;
        let mut models = models.lock().unwrap_or_else(PoisonError::into_inner);
        let vector = self.customers.vector(self.customers.row(customer_id).unwrap_or(0));
        let query = models.query(vector, profile)?;
        let found = self.index.search(self.articles.embeddings(), &query, self.candidates, &self.all)?;
        let scores = models.scores(&self.features, &self.articles, &found, profile)?;
        let ids = found.iter().map(|neighbour| self.articles.id(neighbour.row));
        let mut ranking: Vec<(f32, &str)> = scores.into_iter().zip(ids).collect();
        ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(ranking)
    }
}
