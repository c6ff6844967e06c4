//! The vector index: near enough to exact, filtered, full.

use std::collections::HashSet;

use catalog::{
    Bundle,
    articles::Articles,
    index::{INDEX, Index, Neighbour, exact},
    rows::Rows,
};

use crate::fixture::{ARTICLES, bundle, embedding};

pub(crate) fn open(threads: usize) -> (tempfile::TempDir, Articles, Index) {
    let dir = bundle(&[]);
    let bundle = Bundle::open(dir.path()).unwrap();
    let articles = Articles::open(&bundle, &[]).unwrap();
    let index = Index::open(&bundle, &articles, threads).unwrap();
    (dir, articles, index)
}

/// The index with the graph that no search of so few articles would walk.
pub(crate) fn graph(bundle: &Bundle, articles: &Articles, threads: usize) -> Index {
    Index::over(bundle, INDEX, &bundle.manifest().retrieval.index, articles.embeddings(), threads).unwrap()
}

fn graph_in(dir: &tempfile::TempDir, articles: &Articles, threads: usize) -> Index {
    graph(&Bundle::open(dir.path()).unwrap(), articles, threads)
}

pub(crate) fn rows(neighbours: &[Neighbour]) -> HashSet<u32> {
    neighbours.iter().map(|neighbour| neighbour.row).collect()
}

/// The rows that are left where these are not allowed.
fn all_but(left_out: &HashSet<u32>) -> Rows {
    Rows::matching(ARTICLES, |row| !left_out.contains(&(row as u32)))
}

#[test]
fn neighbours_are_the_exact_ones_best_first_with_their_inner_product() {
    let (dir, articles, _) = open(1);
    let (mut found, all, index) = (0, Rows::all(ARTICLES), graph_in(&dir, &articles, 1));
    for number in 0..50 {
        let query = embedding(10_000 + number);
        let neighbours = index.walk(&query, 20, &all).unwrap();
        assert!(neighbours.is_sorted_by(|a, b| a.score >= b.score));
        for neighbour in &neighbours {
            let product: f32 = query.iter().zip(embedding(neighbour.row as usize)).map(|(a, b)| a * b).sum();
            assert!((product - neighbour.score).abs() < 1e-5);
        }
        found += rows(&neighbours).intersection(&rows(&exact(articles.embeddings(), &query, 20, &all))).count();
    }
    assert!(found >= 980, "{found} of 1000 exact neighbours");
}

#[test]
fn a_scan_finds_the_best_of_what_is_allowed_and_nothing_else() {
    let (_dir, articles, _index) = open(1);
    let query = embedding(4321);
    let product = |row: u32| query.iter().zip(embedding(row as usize)).map(|(a, b)| a * b).sum::<f32>();
    let mut sorted: Vec<u32> = (0..ARTICLES as u32).collect();
    sorted.sort_by(|a, b| product(*b).total_cmp(&product(*a)));
    let all: Vec<_> =
        exact(articles.embeddings(), &query, 7, &Rows::all(ARTICLES)).iter().map(|found| found.row).collect();
    assert_eq!(all, sorted[..7]);
    let rest = all_but(&sorted[..400].iter().copied().collect());
    for (count, wanted) in [(0, 0), (1, 1), (60, 60), (100, 100), (1000, 100)] {
        let found: Vec<_> = exact(articles.embeddings(), &query, count, &rest).iter().map(|found| found.row).collect();
        assert_eq!(found, sorted[400..400 + wanted]);
    }
}

#[test]
fn a_search_that_need_not_walk_finds_the_exact_neighbours() {
    let (_dir, articles, index) = open(1);
    for allowed in [Rows::all(ARTICLES), Rows::matching(ARTICLES, |row| row % 3 != 1)] {
        for number in 0..50 {
            let query = embedding(20_000 + number);
            let wanted = exact(articles.embeddings(), &query, 20, &allowed);
            assert_eq!(index.search(articles.embeddings(), &query, 20, &allowed).unwrap(), wanted);
            assert_eq!(index.scan(articles.embeddings(), &query, 20, &allowed), wanted);
        }
    }
}

#[test]
fn what_is_not_allowed_is_never_found_and_the_list_is_full_all_the_same() {
    let (dir, articles, index) = open(1);
    let query = embedding(77_777);
    let best = rows(&exact(articles.embeddings(), &query, 100, &Rows::all(ARTICLES)));
    for neighbours in [
        index.search(articles.embeddings(), &query, 100, &all_but(&best)).unwrap(),
        graph_in(&dir, &articles, 1).walk(&query, 100, &all_but(&best)).unwrap(),
    ] {
        assert_eq!(neighbours.len(), 100);
        assert!(rows(&neighbours).is_disjoint(&best));
    }
}

#[test]
fn a_narrow_filter_still_finds_every_article_that_passes() {
    let (_dir, articles, index) = open(1);
    let allowed = Rows::matching(ARTICLES, |row| row % 100 == 7);
    let neighbours = index.search(articles.embeddings(), &embedding(1), 100, &allowed).unwrap();
    assert_eq!(rows(&neighbours), allowed.iter().collect());
    assert!(index.search(articles.embeddings(), &embedding(1), 10, &Rows::default()).unwrap().is_empty());
}

#[test]
fn as_many_threads_as_were_asked_for_may_search_at_once() {
    let (dir, articles, index) = open(8);
    let (graph, embeddings) = (graph_in(&dir, &articles, 8), articles.embeddings());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (index, graph) = (&index, &graph);
            scope.spawn(move || {
                let all = Rows::all(ARTICLES);
                for round in 0..200 {
                    let query = embedding(number * 1000 + round);
                    assert_eq!(graph.walk(&query, 10, &all).unwrap().len(), 10);
                    assert_eq!(index.search(embeddings, &query, 10, &all).unwrap().len(), 10);
                }
            });
        }
    });
}

#[test]
fn a_graph_that_no_search_would_walk_is_let_go() {
    let (_dir, articles, index) = open(1);
    let (query, all) = (embedding(1), Rows::all(ARTICLES));
    assert!(index.walk(&query, 10, &all).is_err());
    assert_eq!(index.search(articles.embeddings(), &query, 10, &all).unwrap().len(), 10);
}
