//! Step 4: what must not be in an answer, as rows that the neighbour search passes over.

use catalog::articles::Articles;

/// Rows that are left out, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excluded(Vec<u32>);

impl Excluded {
    /// What the customer bought and what the request excludes. Ids that the catalogue does not have leave nothing out.
    pub(crate) fn new<'a>(articles: &Articles, ids: impl IntoIterator<Item = &'a String>) -> Self {
        let mut rows: Vec<u32> = ids.into_iter().filter_map(|id| articles.row(id)).collect();
        rows.sort_unstable();
        rows.dedup();
        Self(rows)
    }

    /// Whether a row may be in the answer.
    pub(crate) fn allows(&self, row: u32) -> bool {
        self.0.binary_search(&row).is_err()
    }

    /// How many rows are left out.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
