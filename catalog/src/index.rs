//! Nearest neighbours: a mapped HNSW index, filtered inside the search; exact where few articles are allowed.

use std::cmp::Ordering;

use usearch::{Index as Usearch, IndexOptions, MetricKind, ScalarKind};

use crate::{
    articles::Articles,
    bundle::{Bundle, BundleError, IndexInfo},
    embeddings::Embeddings,
    rows::Rows,
};

/// The file of the index that candidates are retrieved from.
pub const INDEX: &str = "retrieval/articles.usearch";

/// What a walk costs for each candidate of the index's `expansion_search`, as rows that a scan looks at in that time. A scan costs
/// its rows; a walk that is allowed one row in n has to go n times as far. On 105,542 clustered embeddings of 16 numbers (p50 / p99 in
/// µs; where whole clusters are not allowed a walk's p99 doubles once more):
///
/// | allowed | walk, expansion 128 | 256 | 512 | scan |
/// | ---: | ---: | ---: | ---: | ---: |
/// | 100 % | 94 / 259 | 181 / 376 | 470 / 935 | 430 / 480 |
/// | 70 % | 134 / 283 | 291 / 685 | 858 / 1615 | 370 / 390 |
/// | 50 % | 177 / 377 | 409 / 813 | 859 / 1229 | 320 / 330 |
/// | 25 % | 328 / 661 | 835 / 1512 | 1421 / 1921 | 254 / 260 |
/// | 10 % | 865 / 1400 | 2179 / 3484 | 4065 / 5577 | 80 / 85 |
/// | 1 % | 9613 / 15079 | 20145 / 27705 | 45594 / 49284 | 16 / 20 |
///
/// By the median the two are even at 90 to 200, by the 99th percentile at 330 and more. With 250 a scan takes over at 55 %, 78 % and
/// 100 % allowed: the slowest searches with a filter then take up to twice as long as without one (at 128, with 70 % allowed by whole
/// clusters), and mostly far less.
const WALK_IN_ROWS: usize = 250;

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
    /// Maps the index that candidates are retrieved from, for at most `threads` searches at a time.
    ///
    /// # Errors
    /// The file is not the manifest's, or not an index over `articles`.
    pub fn open(bundle: &Bundle, articles: &Articles, threads: usize) -> Result<Self, BundleError> {
        Self::over(bundle, INDEX, &bundle.manifest().retrieval.index, articles.embeddings(), threads)
    }

    /// Maps the index in `file`, for at most `threads` searches at a time.
    ///
    /// # Errors
    /// The file is not the manifest's, or not an index over `embeddings`.
    pub fn over(
        bundle: &Bundle,
        file: &str,
        info: &IndexInfo,
        embeddings: &Embeddings,
        threads: usize,
    ) -> Result<Self, BundleError> {
        if info.metric != "ip" {
            return Err(bundle.invalid(file, format!("metric `{}`, expected `ip`", info.metric)));
        }
        let path = bundle.verified_path(file)?;
        let path = path.to_str().ok_or_else(|| bundle.invalid(file, "its path is not UTF-8"))?;
        let failed = |error: cxx::Exception| bundle.invalid(file, error);
        let options = IndexOptions {
            dimensions: embeddings.size(),
            metric: MetricKind::IP,
            quantization: ScalarKind::F32,
            ..IndexOptions::default()
        };
        let usearch = Usearch::new(&options).map_err(failed)?;
        // Each search takes one of these places; usearch has no answer for a search without one.
        usearch.reserve_capacity_and_threads(0, threads).map_err(failed)?;
        usearch.view(path).map_err(failed)?;
        usearch.change_expansion_search(info.expansion_search);
        if usearch.metric_kind() != MetricKind::IP {
            return Err(bundle.invalid(file, "its metric is not the inner product"));
        }
        let (found, wanted) = ((usearch.size(), usearch.dimensions()), (embeddings.len(), embeddings.size()));
        if found != wanted {
            let text = format!("{} vectors of {}, expected {} of {}", found.0, found.1, wanted.0, wanted.1);
            return Err(bundle.invalid(file, text));
        }
        Ok(Self { usearch })
    }

    /// The `count` best of the rows that are allowed, best first; all of them where they are fewer.
    ///
    /// # Errors
    /// The index fails.
    pub fn search(
        &self,
        embeddings: &Embeddings,
        query: &[f32],
        count: usize,
        allowed: &Rows,
    ) -> Result<Vec<Neighbour>, IndexError> {
        if is_narrow(allowed.count(), embeddings.len(), self.usearch.expansion_search()) {
            return Ok(exact(embeddings, query, count, allowed));
        }
        let neighbours = self.walk(query, count, allowed)?;
        if neighbours.len() < count.min(allowed.count()) {
            return Ok(exact(embeddings, query, count, allowed));
        }
        Ok(neighbours)
    }

    /// The same by walking the graph: most of the best, and fewer than `count` where it does not reach as many.
    ///
    /// # Errors
    /// The index fails.
    pub fn walk(&self, query: &[f32], count: usize, allowed: &Rows) -> Result<Vec<Neighbour>, IndexError> {
        let row = |key: u64| u32::try_from(key).unwrap_or(u32::MAX);
        let found = self.usearch.filtered_search(query, count, |key| allowed.contains(row(key)));
        let found = found.map_err(|error| IndexError(error.to_string()))?;
        let neighbours = found.keys.iter().zip(&found.distances);
        Ok(neighbours.map(|(&key, distance)| Neighbour { row: row(key), score: 1.0 - distance }).collect())
    }
}

/// Whether to scan the allowed rows, which is exact, rather than to walk the graph.
fn is_narrow(allowed: usize, all: usize, expansion: usize) -> bool {
    let walk = WALK_IN_ROWS.saturating_mul(expansion);
    allowed.saturating_mul(allowed) <= all.saturating_mul(walk)
}

/// The same by looking at every row that is allowed.
#[must_use]
pub fn exact(embeddings: &Embeddings, query: &[f32], count: usize, allowed: &Rows) -> Vec<Neighbour> {
    if count == 0 {
        return Vec::new();
    }
    // The best so far and some more: whenever there are twice as many as wanted, the worse half goes, and sets what is worth keeping.
    let (room, mut least) = (2 * count.min(allowed.count()), f32::NEG_INFINITY);
    let mut best = Vec::with_capacity(room);
    for row in allowed {
        let score = dot(query, embeddings.row(row));
        if score < least {
            continue;
        }
        best.push(Neighbour { row, score });
        if best.len() == room {
            best.select_nth_unstable_by(count - 1, best_first);
            best.truncate(count);
            least = best[count - 1].score;
        }
    }
    best.sort_unstable_by(best_first);
    best.truncate(count);
    best
}

/// Inner product of a query and an article's embedding: what neighbours are found by.
#[must_use]
pub fn score(embeddings: &Embeddings, query: &[f32], row: u32) -> f32 {
    dot(query, embeddings.row(row))
}

fn best_first(a: &Neighbour, b: &Neighbour) -> Ordering {
    b.score.total_cmp(&a.score).then(a.row.cmp(&b.row))
}

/// The inner product, in lanes that are added up at the end, so that the compiler may use vector instructions.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut lanes = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>();
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]) + rest
}
