//! Nearest neighbours, filtered inside the search: by a scan, which is exact, or by a mapped HNSW index where that is quicker.

use std::cmp::Ordering;

use usearch::{Index as Usearch, IndexOptions, MetricKind, ScalarKind};

use crate::{
    articles::Articles,
    bundle::{Bundle, BundleError, IndexInfo},
    embeddings::Embeddings,
    quantised::Quantised,
    rows::Rows,
};

/// The file of the index that candidates are retrieved from.
pub const INDEX: &str = "retrieval/articles.usearch";

/// What a walk costs for each candidate of the index's `expansion_search`, as rows that are looked at one by one in that time; one that
/// is allowed one row in n has to go n times as far. On 105,542 embeddings of 16 numbers that the pipelines made, `expansion_search` 512,
/// the 100 best (p50 / p99 in µs):
///
/// | allowed | walk | scan | each row |
/// | ---: | ---: | ---: | ---: |
/// | 100 % | 225 / 323 | 71 / 77 | 414 / 440 |
/// | 50 % | 415 / 539 | 71 / 76 | 366 / 374 |
/// | 25 % | 784 / 1045 | 69 / 73 | 299 / 306 |
/// | 10 % | | 66 / 71 | 74 / 85 |
/// | 5 % | | 61 / 67 | 39 / 46 |
/// | 3 % | | 57 / 63 | 29 / 35 |
/// | 1 % | | 30 / 37 | 13 / 16 |
///
/// A scan of 949,878 takes 679 / 812. By the median a walk costs 60 to 110 rows, by the 99th percentile 75 to 155, and among random
/// clusters up to twice that. With 100 it is taken where more than 12 · 100 · `expansion_search` rows are allowed (614,400 at 512): a scan
/// has all of the best and a walk only most, so where they are about as quick it is a scan.
const WALK_IN_ROWS: usize = 100;

/// How many embeddings a scan passes while one row is looked at by itself.
const SCANNED_IN_A_ROW: usize = 12;

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
    /// Where some search would walk it.
    graph: Option<Usearch>,
    /// How far a walk looks.
    expansion: usize,
    quantised: Option<Quantised>,
}

/// A search failed inside the index.
#[derive(Debug, thiserror::Error)]
#[error("vector index: {0}")]
pub struct IndexError(String);

impl Index {
    /// Maps the index that candidates are retrieved from, for at most `threads` searches at a time, and makes of the embeddings what a
    /// scan needs. The graph is checked and let go where no search would walk it: it is larger than everything else that a search touches.
    ///
    /// # Errors
    /// The file is not the manifest's, or not an index over `articles`.
    pub fn open(bundle: &Bundle, articles: &Articles, threads: usize) -> Result<Self, BundleError> {
        let embeddings = articles.embeddings();
        let mut index = Self::over(bundle, INDEX, &bundle.manifest().retrieval.index, embeddings, threads)?;
        index.quantised = Quantised::of(embeddings);
        // No walk is shorter than one without a filter.
        let all = embeddings.len();
        if quickest(all, all, index.expansion, index.quantised.is_some()) != Way::Walk {
            index.graph = None;
        }
        Ok(index)
    }

    /// Maps the index in `file`, for at most `threads` searches at a time. It is walked unless few rows are allowed.
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
        Ok(Self { graph: Some(usearch), expansion: info.expansion_search, quantised: None })
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
        let rows = allowed.count();
        match quickest(rows, embeddings.len(), self.expansion, self.quantised.is_some()) {
            Way::Rows => Ok(exact(embeddings, query, count, allowed)),
            Way::Scan => Ok(self.scan(embeddings, query, count, allowed)),
            Way::Walk => {
                let neighbours = self.walk(query, count, allowed)?;
                let short = neighbours.len() < count.min(rows);
                Ok(if short { self.scan(embeddings, query, count, allowed) } else { neighbours })
            }
        }
    }

    /// The same by a scan of all embeddings, or where that can't be of those that are allowed: all of the best.
    #[must_use]
    pub fn scan(&self, embeddings: &Embeddings, query: &[f32], count: usize, allowed: &Rows) -> Vec<Neighbour> {
        match &self.quantised {
            Some(quantised) => quantised.search(embeddings, query, count, allowed),
            None => exact(embeddings, query, count, allowed),
        }
    }

    /// The same by walking the graph: most of the best, and fewer than `count` where it does not reach as many.
    ///
    /// # Errors
    /// The index fails, or its graph was let go.
    pub fn walk(&self, query: &[f32], count: usize, allowed: &Rows) -> Result<Vec<Neighbour>, IndexError> {
        let row = |key: u64| u32::try_from(key).unwrap_or(u32::MAX);
        let graph =
            self.graph.as_ref().ok_or_else(|| IndexError("its graph was let go, as none would walk it".to_owned()))?;
        let found = graph.filtered_search(query, count, |key| allowed.contains(row(key)));
        let found = found.map_err(|error| IndexError(error.to_string()))?;
        let neighbours = found.keys.iter().zip(&found.distances);
        Ok(neighbours.map(|(&key, distance)| Neighbour { row: row(key), score: 1.0 - distance }).collect())
    }
}

/// How a search finds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Along the graph.
    Walk,
    /// By a scan of all embeddings.
    Scan,
    /// By looking at each row that is allowed.
    Rows,
}

/// The quickest way to the best of `allowed` rows of `all`; one that is exact, where it is as quick.
fn quickest(allowed: usize, all: usize, expansion: usize, has_scan: bool) -> Way {
    // In rows that are looked at by themselves. Without any there is nothing to walk to.
    let walk = WALK_IN_ROWS.saturating_mul(expansion).saturating_mul(all).checked_div(allowed).unwrap_or(usize::MAX);
    let scan = if has_scan { all / SCANNED_IN_A_ROW } else { usize::MAX };
    if allowed <= walk.min(scan) {
        Way::Rows
    } else if scan <= walk {
        Way::Scan
    } else {
        Way::Walk
    }
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

pub(crate) fn best_first(a: &Neighbour, b: &Neighbour) -> Ordering {
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

#[cfg(test)]
mod tests {
    use super::{Way, quickest};

    #[test]
    fn a_search_goes_the_way_that_is_quickest_for_its_size() {
        for (allowed, all, expansion, wanted) in [
            // A catalogue of a hundred thousand: no filter, half of it, and what is quicker to look at than to scan for.
            (105_542, 105_542, 512, Way::Scan),
            (105_542, 105_542, 128, Way::Scan),
            (50_000, 105_542, 512, Way::Scan),
            (5_000, 105_542, 512, Way::Rows),
            (0, 105_542, 512, Way::Rows),
            // Of a million the graph, until a filter makes its way longer.
            (1_000_000, 1_000_000, 512, Way::Walk),
            (500_000, 1_000_000, 512, Way::Scan),
            (50_000, 1_000_000, 512, Way::Rows),
            // A narrow walk is quick.
            (105_542, 105_542, 64, Way::Walk),
        ] {
            assert_eq!(quickest(allowed, all, expansion, true), wanted, "{allowed} of {all}, {expansion}");
        }
    }

    #[test]
    fn without_a_scan_it_is_the_graph_unless_few_are_allowed() {
        for (allowed, wanted) in [(100_000, Way::Walk), (20_000, Way::Rows), (0, Way::Rows)] {
            assert_eq!(quickest(allowed, 105_542, 128, false), wanted, "{allowed}");
        }
    }
}
