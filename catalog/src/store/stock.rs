//! What is out of stock: read whole once, then by its changes, which come with every question.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The articles that can't be had.
#[derive(Debug, Default)]
pub struct OutOfStock {
    /// Different for every other set that this process has had: what was made of one is good for as long as this is the same.
    pub generation: u64,
    /// Their ids.
    pub articles: HashSet<Box<str>>,
}

impl OutOfStock {
    fn of(articles: HashSet<Box<str>>) -> Arc<Self> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        if articles.is_empty() {
            return Arc::default(); // generation 0: all in stock
        }
        Arc::new(Self { generation: GENERATIONS.fetch_add(1, Ordering::Relaxed), articles })
    }
}

/// An article is out of stock now, or in stock again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) article_id: String,
    pub(super) out_of_stock: bool,
    /// Which of two changes of one article is the later.
    pub(super) version: i64,
}

/// How much of the stock was seen when a question was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Counts the times that all was forgotten.
    epoch: u64,
    /// What the store is asked for the changes since; 0 is all of them.
    pub(super) cursor: u64,
}

/// The stock as this process has seen it.
#[derive(Debug, Default)]
pub(super) struct Stock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    cursor: u64,
    versions: HashMap<Box<str>, i64>,
    out_of_stock: Arc<OutOfStock>,
}

impl Stock {
    /// Where the next question goes on.
    pub(super) fn seen(&self) -> Seen {
        let state = self.state();
        Seen { epoch: state.epoch, cursor: state.cursor }
    }

    /// What an answer brought, added to what was known. Nothing where all was forgotten since the question: what it builds on is no more,
    /// and the question has to be asked again.
    pub(super) fn add(&self, seen: Seen, cursor: u64, changes: Vec<Change>) -> Option<Arc<OutOfStock>> {
        let mut state = self.state();
        if seen.epoch != state.epoch {
            return None;
        }
        if state.cursor == 0 {
            // The first answer since all was forgotten has all of it.
            state.versions.clear();
            let articles = changes.iter().filter(|change| change.out_of_stock);
            let articles: HashSet<_> = articles.map(|change| Box::from(change.article_id.as_str())).collect();
            state.versions = changes.into_iter().map(|change| (change.article_id.into(), change.version)).collect();
            state.out_of_stock = OutOfStock::of(articles);
        } else {
            state.merge(changes);
        }
        state.cursor = state.cursor.max(cursor);
        Some(state.out_of_stock.clone())
    }

    /// Forgets how far it had read: the store may be another one now, after a failover or a restore.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.cursor = 0;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn merge(&mut self, changes: Vec<Change>) {
        let known = &self.versions;
        let is_news =
            |change: &Change| known.get(change.article_id.as_str()).is_none_or(|&version| version < change.version);
        let news: Vec<_> = changes.into_iter().filter(is_news).collect();
        if news.is_empty() {
            return;
        }
        let mut articles = self.out_of_stock.articles.clone();
        for Change { article_id, out_of_stock, version } in news {
            if out_of_stock {
                articles.insert(article_id.as_str().into());
            } else {
                articles.remove(article_id.as_str());
            }
            self.versions.insert(article_id.into(), version);
        }
        self.out_of_stock = OutOfStock::of(articles);
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, OutOfStock, Stock};

    fn change(article_id: &str, out_of_stock: bool, version: i64) -> Change {
        Change { article_id: article_id.to_owned(), out_of_stock, version }
    }

    fn articles(out_of_stock: &OutOfStock) -> Vec<&str> {
        let mut articles: Vec<_> = out_of_stock.articles.iter().map(AsRef::as_ref).collect();
        articles.sort_unstable();
        articles
    }

    #[test]
    fn of_two_changes_of_an_article_the_later_counts_whichever_came_first() {
        let stock = Stock::default();
        stock.add(stock.seen(), 5, vec![change("a", true, 1), change("b", true, 2)]).unwrap();
        let seen = stock.seen();
        let later = stock.add(seen, 7, vec![change("a", false, 4)]).unwrap();
        assert_eq!(articles(&later), ["b"]);
        let earlier = stock.add(seen, 6, vec![change("a", true, 3), change("c", true, 5)]).unwrap();
        assert_eq!(articles(&earlier), ["b", "c"]);
        assert_eq!(stock.seen().cursor, 7, "what one answer saw need not be asked for again");
    }

    #[test]
    fn the_same_set_has_the_same_generation_and_another_another() {
        let stock = Stock::default();
        let first = stock.add(stock.seen(), 1, vec![change("a", true, 1)]).unwrap().generation;
        assert_eq!(stock.add(stock.seen(), 2, vec![]).unwrap().generation, first);
        assert_ne!(stock.add(stock.seen(), 3, vec![change("b", true, 2)]).unwrap().generation, first);
    }

    #[test]
    fn an_answer_to_a_question_from_before_all_was_forgotten_is_of_no_use() {
        let stock = Stock::default();
        stock.add(stock.seen(), 5, vec![change("a", true, 9)]).unwrap();
        let before = stock.seen();
        stock.forget();
        assert!(stock.add(before, 6, vec![]).is_none());
        // Another server, which never knew of the change: its own versions are lower.
        let after = stock.add(stock.seen(), 3, vec![change("b", true, 2)]).unwrap();
        assert_eq!(articles(&after), ["b"]);
        assert_eq!(stock.seen().cursor, 3);
    }
}
