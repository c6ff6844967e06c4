//! Step 4: what must not be in an answer, as rows that the neighbour search passes over.

use std::sync::{Arc, Mutex, PoisonError};

use catalog::{articles::Articles, store::OutOfStock};

/// Rows that are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excluded {
    /// For this customer and request, sorted.
    own: Vec<u32>,
    /// For everybody.
    out_of_stock: Arc<Rows>,
}

impl Excluded {
    /// What the customer bought, what the request excludes, and what can't be had. Ids that the catalogue does not have leave nothing out.
    pub(crate) fn new<'a>(
        articles: &Articles,
        ids: impl IntoIterator<Item = &'a String>,
        out_of_stock: Arc<Rows>,
    ) -> Self {
        let mut own: Vec<u32> = ids.into_iter().filter_map(|id| articles.row(id)).collect();
        own.sort_unstable();
        own.dedup();
        Self { own, out_of_stock }
    }

    /// Whether a row may be in the answer.
    pub(crate) fn allows(&self, row: u32) -> bool {
        self.own.binary_search(&row).is_err() && !self.out_of_stock.contains(row)
    }

    /// How many rows are left out.
    pub(crate) fn len(&self) -> usize {
        self.out_of_stock.count + self.own.iter().filter(|row| !self.out_of_stock.contains(**row)).count()
    }
}

/// A set of rows, a bit each.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    bits: Vec<u64>,
    count: usize,
}

impl Rows {
    fn of(rows: impl Iterator<Item = u32>, limit: usize) -> Self {
        let mut bits = vec![0; limit.div_ceil(64)];
        for row in rows.map(|row| row as usize).filter(|row| *row < limit) {
            bits[row / 64] |= 1 << (row % 64);
        }
        let count = bits.iter().map(|word: &u64| word.count_ones() as usize).sum();
        Self { bits, count }
    }

    fn contains(&self, row: u32) -> bool {
        self.bits.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Excluded, Rows};

    #[test]
    fn what_is_left_out_for_two_reasons_is_left_out_once() {
        let out_of_stock = Arc::new(Rows::of([0, 64, 129, 500].into_iter(), 130));
        let excluded = Excluded { own: vec![1, 64], out_of_stock };
        let left: Vec<u32> = (0..130).filter(|row| !excluded.allows(*row)).collect();
        assert_eq!(left, [0, 1, 64, 129]);
        assert_eq!(excluded.len(), 4);
    }
}
