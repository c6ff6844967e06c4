//! What a customer touched of late, as the query tower is told it: the vectors of articles, newest first, with what each counts and how
//! many days ago it was. Training does the same (`pipelines/hemline/history.py`).

use catalog::{articles::Articles, bundle::HistoryInfo, events::Kind, store::Touch};

/// What was touched: as many rows as the bundle's models know, those that are not there with weight 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct History {
    /// `[length, embedding_size]`.
    pub(crate) vectors: Vec<f32>,
    /// `[length]`.
    pub(crate) weights: Vec<f32>,
    /// `[length]`, whole days before the request's.
    pub(crate) days: Vec<f32>,
}

impl History {
    /// What the request tells (`own`, newest first: clicks of this moment), and after it what the store knows. Articles that the
    /// catalogue does not have are passed over. `day` is the request's, in days since 1970-01-01; what is later than it was at its moment.
    pub(crate) fn new(info: &HistoryInfo, articles: &Articles, own: &[String], touched: &[Touch], day: i32) -> Self {
        let own = own.iter().map(|id| (id.as_str(), Kind::Click, day));
        let touched = touched.iter().map(|touch| (touch.article_id.as_str(), touch.kind, touch.day));
        let size = articles.embeddings().len() / articles.len();
        let mut history = Self {
            vectors: Vec::with_capacity(info.length * size),
            weights: Vec::with_capacity(info.length),
            days: Vec::with_capacity(info.length),
        };
        let rows = own.chain(touched).filter_map(|(id, kind, at)| Some((articles.row(id)?, kind, at)));
        for (row, kind, at) in rows.take(info.length) {
            history.vectors.extend_from_slice(articles.embedding(row));
            history.weights.push(if kind == Kind::Purchase { info.weights.purchase } else { info.weights.click });
            #[allow(clippy::cast_precision_loss)] // days are few
            history.days.push(day.saturating_sub(at).max(0) as f32);
        }
        history.vectors.resize(info.length * size, 0.0);
        history.weights.resize(info.length, 0.0);
        history.days.resize(info.length, 0.0);
        history
    }
}
