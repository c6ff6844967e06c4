//! Nearest neighbours: a mapped HNSW index, filtered inside the search, exact where it comes up short.

use usearch::{Index as Usearch, IndexOptions, MetricKind, ScalarKind};

use crate::{
    articles::Articles,
    bundle::{Bundle, BundleError},
};

/// The index's file.
pub const INDEX: &str = "retrieval/articles.usearch";

/// An article near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its row in the article table.
    pub row: u32,
    /// Inner product with the query.
    pub score: f32,
}

/// The vector index over the articles' embeddings.
pub struct Index {
    usearch: Usearch,
}

/// A search failed inside the index.
#[derive(Debug, thiserror::Error)]
#[error("vector index: {0}")]
pub struct IndexError(String);

impl Index {
    /// Maps the index, for at most `threads` searches at a time.
    ///
    /// # Errors
    /// The file is not the manifest's, or not an index over `articles`.
    pub fn open(bundle: &Bundle, articles: &Articles, threads: usize) -> Result<Self, BundleError> {
        let info = &bundle.manifest().retrieval;
        if info.index.metric != "ip" {
            return Err(bundle.invalid(INDEX, format!("metric `{}`, expected `ip`", info.index.metric)));
        }
        let path = bundle.verified_path(INDEX)?;
        let path = path.to_str().ok_or_else(|| bundle.invalid(INDEX, "its path is not UTF-8"))?;
        let failed = |error: cxx::Exception| bundle.invalid(INDEX, error);
        let options = IndexOptions {
            dimensions: info.embedding_size,
            metric: MetricKind::IP,
            quantization: ScalarKind::F32,
            ..IndexOptions::default()
        };
        let usearch = Usearch::new(&options).map_err(failed)?;
        // Each search takes one of these places; usearch has no answer for a search without one.
        usearch.reserve_capacity_and_threads(0, threads).map_err(failed)?;
        usearch.view(path).map_err(failed)?;
        usearch.change_expansion_search(info.index.expansion_search);
        if usearch.metric_kind() != MetricKind::IP {
            return Err(bundle.invalid(INDEX, "its metric is not the inner product"));
        }
        if usearch.size() != articles.len() || usearch.dimensions() != info.embedding_size {
            let (size, dimensions) = (usearch.size(), usearch.dimensions());
            let wanted = articles.len();
            return Err(bundle.invalid(
                INDEX,
                format!("{size} vectors of {dimensions}, expected {wanted} of {}", info.embedding_size),
            ));
        }
        Ok(Self { usearch })
    }

    /// The `count` best articles that `allow` lets pass, best first. Fewer only if fewer pass.
    ///
    /// # Errors
    /// The index fails.
    pub fn search(
        &self,
        articles: &Articles,
        query: &[f32],
        count: usize,
        allow: impl Fn(u32) -> bool,
    ) -> Result<Vec<Neighbour>, IndexError> {
        let row = |key: u64| u32::try_from(key).unwrap_or(u32::MAX);
        let known = |row: u32| (row as usize) < articles.len();
        let found = self.usearch.filtered_search(query, count, |key| known(row(key)) && allow(row(key)));
        let found = found.map_err(|error| IndexError(error.to_string()))?;
        if found.keys.len() < count.min(articles.len()) {
            return Ok(exact(articles, query, count, allow));
        }
        let neighbours = found.keys.iter().zip(&found.distances);
        Ok(neighbours.map(|(&key, distance)| Neighbour { row: row(key), score: 1.0 - distance }).collect())
    }
}

/// The same by looking at every article: for what the graph's search does not reach.
#[must_use]
pub fn exact(articles: &Articles, query: &[f32], count: usize, allow: impl Fn(u32) -> bool) -> Vec<Neighbour> {
    let rows = (0_u32..).zip(articles.embeddings().chunks_exact(query.len()));
    let scored =
        rows.filter(|(row, _)| allow(*row)).map(|(row, embedding)| Neighbour { row, score: dot(query, embedding) });
    let mut neighbours: Vec<_> = scored.collect();
    let best_first = |a: &Neighbour, b: &Neighbour| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row));
    if count < neighbours.len() && count > 0 {
        neighbours.select_nth_unstable_by(count - 1, best_first);
    }
    neighbours.truncate(count);
    neighbours.sort_unstable_by(best_first);
    neighbours
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
