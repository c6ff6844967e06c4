//! Vectors of one length, a row each: a column of an Arrow file, mapped.

use arrow_array::Float32Array;

use crate::{
    bundle::{Bundle, BundleError},
    mapped::Table,
};

/// The column of vectors, in every file that has them.
const EMBEDDING: &str = "embedding";

/// A matrix over a file's own pages.
pub struct Embeddings {
    values: Float32Array,
    size: usize,
}

impl Embeddings {
    /// Maps a file that has one vector of `size` for each of `rows`.
    ///
    /// # Errors
    /// The file is not the manifest's, or has other vectors.
    pub fn open(bundle: &Bundle, file: &str, rows: usize, size: usize) -> Result<Self, BundleError> {
        let table = Table::map(bundle, file)?;
        if table.rows() != rows {
            return Err(bundle.invalid(file, format!("{} rows, expected {rows}", table.rows())));
        }
        Self::of(&table, size)
    }

    /// Those of a table that is mapped.
    pub(crate) fn of(table: &Table<'_>, size: usize) -> Result<Self, BundleError> {
        Ok(Self { values: table.vectors(EMBEDDING, size)?, size })
    }

    /// Those of these values, `size` a row.
    #[cfg(test)]
    pub(crate) fn of_values(values: Vec<f32>, size: usize) -> Self {
        Self { values: values.into(), size }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.values().len().checked_div(self.size).unwrap_or_default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers each has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// That of a row.
    #[must_use]
    pub fn row(&self, row: u32) -> &[f32] {
        &self.values.values()[row as usize * self.size..][..self.size]
    }
}
