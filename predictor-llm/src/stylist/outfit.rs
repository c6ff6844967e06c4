//! An outfit while it is written: each item is told once, as soon as it is complete; then the summary.

use serde::Serialize;

use super::item::{Fallback, Item, summary};

/// Most items of an outfit. Models that find no end are not read beyond it.
const MOST: usize = 5;
/// Items that are looked at, those that are left out among them.
const MOST_SEEN: usize = 12;
/// What is said where a model gave no summary.
pub(super) const NO_SUMMARY: &str = "No summary available.";

/// What is told of an outfit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Told {
    /// An item, with its place.
    Item {
        /// From 0.
        index: usize,
        /// What it is.
        #[serde(flatten)]
        item: Item,
    },
    /// A sentence on all of them.
    Summary {
        /// The sentence.
        summary: String,
    },
}

/// Whom it is told. Nobody hears the rest where the caller left.
type Tell = Box<dyn FnMut(Told) + Send>;

/// An outfit, as far as it is known.
pub(super) struct Outfit {
    items: Vec<Item>,
    summary: Option<String>,
    seen: usize,
    ended: bool,
    made_do: Vec<Fallback>,
    tell: Tell,
}

impl Outfit {
    /// Nothing is known yet.
    pub(super) fn new(tell: impl FnMut(Told) + Send + 'static) -> Self {
        let tell = Box::new(tell);
        Self { items: Vec::new(), summary: None, seen: 0, ended: false, made_do: Vec::new(), tell }
    }

    /// An item as `read` makes it.
    pub(super) fn add(&mut self, read: impl FnOnce(&mut Vec<Fallback>) -> Option<Item>) {
        self.seen += 1;
        if self.items.len() >= MOST {
            self.ended = true;
            return self.make_do(Fallback::TooMany);
        }
        let mut made_do = Vec::new();
        let Some(item) = read(&mut made_do) else { return self.make_do(Fallback::Empty) };
        let folded = item.description.to_lowercase();
        if self.items.iter().any(|other| other.description.to_lowercase() == folded) {
            return self.make_do(Fallback::Repeated);
        }
        self.made_do.append(&mut made_do);
        (self.tell)(Told::Item { index: self.items.len(), item: item.clone() });
        self.items.push(item);
    }

    /// The summary, after which nothing is read.
    pub(super) fn summarise(&mut self, text: &str) {
        if let Some(text) = self.summary.is_none().then(|| summary(text, &mut self.made_do)).flatten() {
            (self.tell)(Told::Summary { summary: text.clone() });
            self.summary = Some(text);
            self.ended = true;
        }
    }

    /// Something had to do in place of something else.
    pub(super) fn make_do(&mut self, fallback: Fallback) {
        self.made_do.push(fallback);
    }

    /// All was said.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Nothing more is to be read.
    pub(super) fn is_enough(&self) -> bool {
        self.ended || self.seen >= MOST_SEEN
    }

    /// There is an item.
    pub(super) fn is_begun(&self) -> bool {
        !self.items.is_empty()
    }

    /// There is a summary that the model wrote.
    pub(super) fn is_summarised(&self) -> bool {
        self.summary.is_some()
    }

    /// Tells what stands for the summary where there is none. How many items there are, and what was made do with.
    pub(super) fn close(mut self) -> (usize, Vec<Fallback>) {
        if self.summary.is_none() {
            self.made_do.push(Fallback::NoSummary);
            (self.tell)(Told::Summary { summary: NO_SUMMARY.to_owned() });
        }
        (self.items.len(), self.made_do)
    }
}
