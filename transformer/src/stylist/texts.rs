//! Semantic search: the articles whose texts are nearest to some words, among those that may be offered.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use catalog::{
    articles::Articles,
    bundle::{Bundle, CustomersInfo, StylistInfo, TEXTS, TEXTS_INDEX},
    embeddings::Embeddings,
    index::Index,
    rows::Rows,
    store::{Customer, OutOfStock},
};
use dataplane::{Error, Result, worker::Pool};

use super::{
    encoder::Encoder,
    instance::{Gender, Question},
    profile,
};
use crate::filter::{Eligibility, Evaluated, OutOfStockRows};

/// The column that says which section an article is sold in.
const SECTION: &str = "section_name";
/// What a customer's taste counts beside the words of an item, which count 1: enough to tell two customers apart whatever the LLM makes
/// of their profiles, too little to make trousers of a dress.
const TASTE: f32 = 0.5;

/// The mapped parts of a bundle that are searched by words.
pub(super) struct Texts {
    pub(super) articles: Articles,
    /// The age groups.
    pub(super) groups: CustomersInfo,
    embeddings: Embeddings,
    index: Index,
    out_of_stock: OutOfStockRows,
    filters: Evaluated,
    /// What may be offered to a gender; all of it to those that are not here.
    sections: BTreeMap<Gender, Rows>,
}

/// What may be in an answer.
pub(super) struct Eligible {
    /// What is left of it while articles are given to items.
    pub(super) rows: Arc<Rows>,
    /// What to say where that is too little.
    pub(super) shortage: String,
}

/// What was found, and what that took.
pub(super) struct Found {
    /// Cosine and row, nearest first.
    pub(super) articles: Vec<(f32, u32)>,
    pub(super) encoding: Duration,
    pub(super) searching: Duration,
}

impl Texts {
    /// Maps them, for at most `threads` searches at a time.
    ///
    /// # Errors
    /// A file is not the manifest's, or not over the bundle's articles; one line that names it.
    pub(super) fn open(bundle: &Bundle, info: &StylistInfo, threads: usize) -> Result<Self, String> {
        let failed = |error: catalog::BundleError| error.to_string();
        let attributes = [profile::COLUMNS.as_slice(), &[SECTION]].concat();
        let articles = Articles::open(bundle, &attributes).map_err(failed)?;
        let embeddings = Embeddings::open(bundle, TEXTS, articles.len(), info.embedding_size).map_err(failed)?;
        let index = Index::over(bundle, TEXTS_INDEX, &info.index, &embeddings, threads).map_err(failed)?;
        let own = Gender::OWN.into_iter().filter_map(|gender| Some((gender, info.genders.get(gender.name())?)));
        let sections = own.map(|(gender, names)| (gender, in_sections(&articles, names))).collect();
        let groups = bundle.manifest().customers.clone();
        let (out_of_stock, filters) = (OutOfStockRows::default(), Evaluated::default());
        Ok(Self { articles, groups, embeddings, index, out_of_stock, filters, sections })
    }

    /// What a question's answer may have.
    ///
    /// # Errors
    /// The filter was made for other articles.
    pub(super) fn eligible(
        &self,
        question: &Question,
        customer: &Customer,
        out_of_stock: &OutOfStock,
    ) -> Result<Eligible> {
        let filter = question.filter.as_ref();
        let eligibility = Eligibility {
            articles: &self.articles,
            filter: filter.map(|filter| self.filters.of(&self.articles, filter)).transpose()?,
            purchased: &customer.purchased,
            dismissed: &customer.dismissed,
            exclude: &question.exclude,
            out_of_stock: self.out_of_stock.of(&self.articles, out_of_stock),
        };
        let mut rows = eligibility.rows();
        if let Some(sections) = self.sections.get(&question.gender) {
            rows.intersect(sections);
        }
        let shortage = eligibility.shortage(rows.count());
        Ok(Eligible { rows: Arc::new(rows), shortage })
    }

    /// The mean of what is said of these articles, of length 1; nothing where none of them is known.
    pub(super) fn taste<'a>(&self, article_ids: impl Iterator<Item = &'a str>) -> Option<Arc<[f32]>> {
        let mut sum = vec![0.0; self.embeddings.size()];
        for row in article_ids.filter_map(|id| self.articles.row(id)) {
            add(&mut sum, self.embeddings.row(row), 1.0);
        }
        unit(&mut sum).then(|| sum.into())
    }

    /// The `count` articles whose texts are nearest to `words`, of `rows`; drawn towards the `taste`, where there is one.
    ///
    /// # Errors
    /// The encoders' queue is full, or something of ours fails.
    pub(super) async fn find(
        self: &Arc<Self>,
        encoders: &Pool<Encoder>,
        words: String,
        taste: Option<Arc<[f32]>>,
        count: usize,
        rows: Arc<Rows>,
    ) -> Result<Found> {
        let texts = self.clone();
        let job = move |encoder: &mut Encoder| {
            let begun = Instant::now();
            let mut query = encoder.encode(&words)?;
            if let Some(taste) = taste {
                add(&mut query, &taste, TASTE);
                unit(&mut query);
            }
            let encoded = Instant::now();
            let found = texts.index.search(&texts.embeddings, &query, count, &rows).map_err(Error::internal)?;
            let articles = found.iter().map(|neighbour| (neighbour.score, neighbour.row)).collect();
            Ok(Found { articles, encoding: encoded - begun, searching: encoded.elapsed() })
        };
        encoders.run(job).await?
    }
}

/// `sum` += `times` · `vector`.
fn add(sum: &mut [f32], vector: &[f32], times: f32) {
    sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += times * value);
}

/// The same direction with length 1; whether it has one.
fn unit(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    let has_one = length > f32::EPSILON;
    if has_one {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    has_one
}

/// The rows of the articles that are sold in these sections.
fn in_sections(articles: &Articles, names: &[String]) -> Rows {
    let Some(section) = articles.attribute(SECTION) else { return Rows::default() };
    let rows = (0..u32::try_from(articles.len()).unwrap_or(u32::MAX)).filter(|&row| {
        let own = section(row);
        names.iter().any(|name| name == own)
    });
    Rows::of(rows, articles.len())
}

#[cfg(test)]
mod tests {
    use super::{TASTE, add, unit};

    #[test]
    fn a_taste_draws_words_towards_it_and_leaves_them_nearer() {
        let (mut query, taste) = (vec![1.0, 0.0], [0.0, 1.0]);
        add(&mut query, &taste, TASTE);
        assert!(unit(&mut query));
        assert!((query[0].hypot(query[1]) - 1.0).abs() < 1e-6);
        assert!(query[1] > 0.0 && query[0] > query[1]);
        assert!(!unit(&mut [0.0, 0.0]));
    }
}
