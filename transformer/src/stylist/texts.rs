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

    /// The `count` articles whose texts are nearest to `words`, of `rows`.
    ///
    /// # Errors
    /// The encoders' queue is full, or something of ours fails.
    pub(super) async fn find(
        self: &Arc<Self>,
        encoders: &Pool<Encoder>,
        words: String,
        count: usize,
        rows: Arc<Rows>,
    ) -> Result<Found> {
        let texts = self.clone();
        let job = move |encoder: &mut Encoder| {
            let begun = Instant::now();
            let query = encoder.encode(&words)?;
            let encoded = Instant::now();
            let found = texts.index.search(&texts.embeddings, &query, count, &rows).map_err(Error::internal)?;
            let articles = found.iter().map(|neighbour| (neighbour.score, neighbour.row)).collect();
            Ok(Found { articles, encoding: encoded - begun, searching: encoded.elapsed() })
        };
        encoders.run(job).await?
    }
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
