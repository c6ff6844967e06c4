//! The vector index: near enough to exact, filtered, full.

use std::collections::HashSet;

use catalog::{
    Bundle,
    articles::Articles,
    index::{Index, Neighbour, exact},
};

use crate::fixture::{ARTICLES, bundle, embedding};

fn open(threads: usize) -> (tempfile::TempDir, Articles, Index) {
    let dir = bundle(&[]);
    let bundle = Bundle::open(dir.path()).unwrap();
    let articles = Articles::open(&bundle, &[]).unwrap();
    let index = Index::open(&bundle, &articles, threads).unwrap();
    (dir, articles, index)
}

fn rows(neighbours: &[Neighbour]) -> HashSet<u32> {
    neighbours.iter().map(|neighbour| neighbour.row).collect()
}

#[test]
fn neighbours_are_the_exact_ones_best_first_with_their_inner_product() {
    let (_dir, articles, index) = open(1);
    let mut found = 0;
    for number in 0..50 {
        let query = embedding(10_000 + number);
        let neighbours = index.search(&articles, &query, 20, |_| true).unwrap();
        assert!(neighbours.is_sorted_by(|a, b| a.score >= b.score));
        for neighbour in &neighbours {
            let product: f32 = query.iter().zip(embedding(neighbour.row as usize)).map(|(a, b)| a * b).sum();
            assert!((product - neighbour.score).abs() < 1e-5);
        }
        found += rows(&neighbours).intersection(&rows(&exact(&articles, &query, 20, |_| true))).count();
    }
    assert!(found >= 980, "{found} of 1000 exact neighbours");
}

#[test]
fn what_is_not_allowed_is_never_found_and_the_list_is_full_all_the_same() {
    let (_dir, articles, index) = open(1);
    let query = embedding(77_777);
    let best = rows(&exact(&articles, &query, 100, |_| true));
    let neighbours = index.search(&articles, &query, 100, |row| !best.contains(&row)).unwrap();
    assert_eq!(neighbours.len(), 100);
    assert!(rows(&neighbours).is_disjoint(&best));
}

#[test]
fn a_narrow_filter_still_finds_every_article_that_passes() {
    let (_dir, articles, index) = open(1);
    let allowed = |row: u32| row % 100 == 7;
    let neighbours = index.search(&articles, &embedding(1), 100, allowed).unwrap();
    assert_eq!(rows(&neighbours), (0..ARTICLES as u32).filter(|&row| allowed(row)).collect());
    assert!(index.search(&articles, &embedding(1), 10, |_| false).unwrap().is_empty());
}

#[test]
fn as_many_threads_as_were_asked_for_may_search_at_once() {
    let (_dir, articles, index) = open(8);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (articles, index) = (&articles, &index);
            scope.spawn(move || {
                for round in 0..200 {
                    let query = embedding(number * 1000 + round);
                    assert_eq!(index.search(articles, &query, 10, |_| true).unwrap().len(), 10);
                }
            });
        }
    });
}
