//! What a customer touched of late: articles, newest first, with what each counts and how many days ago it was. Training does the same
//! (`pipelines/hemline/history.py`).

use catalog::{articles::Articles, bundle::HistoryInfo, events::Kind, store::Touch};

/// What was touched, as far as the catalogue has it and the bundle's models know it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    /// Newest first.
    pub(crate) rows: Vec<u32>,
    /// What each counts.
    pub(crate) weights: Vec<f32>,
    /// Whole days before the request's.
    pub(crate) days: Vec<f32>,
}

/// The same as the query tower is told it: of as many rows as it knows, those that are not there with weight 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistoryTensors {
    /// `[length, embedding_size]`.
    pub(crate) vectors: Vec<f32>,
    /// `[length]`.
    pub(crate) weights: Vec<f32>,
    /// `[length]`.
    pub(crate) days: Vec<f32>,
}

impl History {
    /// What the request tells (`own`, newest first: clicks of this moment), and after it what the store knows: of today's clicks those that
    /// the request does not tell too. Articles that the catalogue does not have are passed over. `day` is the request's, in days since 1970-01-01; what is later than it was at its moment.
    pub(crate) fn new(info: &HistoryInfo, articles: &Articles, own: &[String], touched: &[Touch], day: i32) -> Self {
        let is_told = |touch: &Touch| touch.kind == Kind::Click && touch.day >= day && own.contains(&touch.article_id);
        let touched = touched.iter().filter(|touch| !is_told(touch));
        let touched = touched.map(|touch| (touch.article_id.as_str(), touch.kind, touch.day));
        let own = own.iter().map(|id| (id.as_str(), Kind::Click, day));
        let rows = own.chain(touched).filter_map(|(id, kind, at)| Some((articles.row(id)?, kind, at)));
        let mut history = Self::default();
        for (row, kind, at) in rows.take(info.length) {
            history.rows.push(row);
            history.weights.push(if kind == Kind::Purchase { info.weights.purchase } else { info.weights.click });
            #[allow(clippy::cast_precision_loss)] // days are few
            history.days.push(day.saturating_sub(at).max(0) as f32);
        }
        history
    }

    /// What all of it counts.
    pub(crate) fn weight(&self) -> f32 {
        self.weights.iter().sum()
    }

    /// Each row with what it counts.
    pub(crate) fn weighted(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.rows.iter().copied().zip(self.weights.iter().copied())
    }

    /// As the query tower is told it.
    pub(crate) fn tensors(&self, articles: &Articles, length: usize) -> HistoryTensors {
        let size = articles.embeddings().size();
        let mut vectors: Vec<f32> = self.rows.iter().flat_map(|&row| articles.embedding(row)).copied().collect();
        vectors.resize(length * size, 0.0);
        let padded = |values: &[f32]| [values, &vec![0.0; length.saturating_sub(values.len())]].concat();
        HistoryTensors { vectors, weights: padded(&self.weights), days: padded(&self.days) }
    }
}
