//! Customer vectors, mapped: the query tower's embedding table outside of its graph.

use arrow_array::{Array, FixedSizeBinaryArray, Float32Array};
use sha2::{Digest, Sha256};

use crate::{
    bundle::{Bundle, BundleError},
    mapped::Table,
};

/// The customer table's file.
pub const CUSTOMERS: &str = "retrieval/customers.arrow";

/// Bytes of a key.
const KEY: usize = 16;

/// A vector for every customer that training knew, and one for all others.
pub struct Customers {
    keys: FixedSizeBinaryArray,
    vectors: Float32Array,
    size: usize,
}

impl Customers {
    /// Maps the table.
    ///
    /// # Errors
    /// The file is not the manifest's, or lacks a column or the out-of-vocabulary row.
    pub fn open(bundle: &Bundle) -> Result<Self, BundleError> {
        let table = Table::map(bundle, CUSTOMERS)?;
        let manifest = bundle.manifest();
        let (rows, wanted) = (table.rows(), manifest.counts.customers + 1);
        if rows != wanted {
            return Err(
                bundle.invalid(CUSTOMERS, format!("{rows} rows, the manifest says {wanted} with the unknown one"))
            );
        }
        let keys = table.keys("key", KEY as i32)?;
        if keys.value(0).iter().any(|&byte| byte != 0) {
            return Err(table.invalid("key", "row 0 is not the out-of-vocabulary customer"));
        }
        let size = manifest.retrieval.embedding_size;
        Ok(Self { keys, vectors: table.vectors("vector", size)?, size })
    }

    /// The row of this customer, if training knew them.
    #[must_use]
    pub fn row(&self, customer_id: &str) -> Option<usize> {
        let digest = Sha256::digest(customer_id.as_bytes());
        self.find(&digest[..KEY])
    }

    /// A row's vector; row 0 is for customers that nobody knows.
    #[must_use]
    pub fn vector(&self, row: usize) -> &[f32] {
        &self.vectors.values()[row * self.size..(row + 1) * self.size]
    }

    /// Interpolation search: keys are parts of a SHA-256, so their values say where they stand, and a few pages are touched.
    fn find(&self, key: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (1, self.keys.len());
        let wanted = prefix(key);
        while low < high {
            let (first, last) = (prefix(self.keys.value(low)), prefix(self.keys.value(high - 1)));
            if wanted < first || wanted > last {
                return None;
            }
            let span = u128::from(last - first).max(1);
            let offset = u128::from(wanted - first) * (high - 1 - low) as u128 / span;
            let guess = low + usize::try_from(offset).unwrap_or_default();
            match self.keys.value(guess).cmp(key) {
                std::cmp::Ordering::Equal => return Some(guess),
                std::cmp::Ordering::Less => low = guess + 1,
                std::cmp::Ordering::Greater => high = guess,
            }
        }
        None
    }
}

fn prefix(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
