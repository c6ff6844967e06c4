//! How long a filtered search takes and how much it finds. Prints tables; ignored, since it takes minutes:
//! `cargo test --release -p catalog --all-features --test integration measured -- --ignored --nocapture`.

use std::{collections::HashSet, fmt, time::Instant};

use catalog::{
    Bundle,
    articles::Articles,
    index::{Index, Neighbour, exact},
    rows::Rows,
};

use serde_json::json;

use crate::{
    fixture::{bundle_of, edit_manifest},
    neighbours::graph,
};

const ARTICLES: usize = 105_542;
const SIZE: usize = 16;
const CLUSTERS: usize = 500;
const EXPANSIONS: [usize; 3] = [128, 256, 512];
const COUNT: usize = 100;
const QUERIES: usize = 200;
/// How often each search is made; the quickest counts, for the machine may have other work meanwhile.
const TIMES: usize = 3;

/// Normally distributed.
fn normal(random: &mut fastrand::Rng) -> f32 {
    (0..12).map(|_| random.f32()).sum::<f32>() - 6.0
}

/// Points about random centres, and each one's cluster.
fn clustered(random: &mut fastrand::Rng) -> (Vec<Vec<f32>>, Vec<usize>) {
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| (0..SIZE).map(|_| normal(random)).collect()).collect();
    let points = (0..ARTICLES).map(|_| {
        let cluster = random.usize(..CLUSTERS);
        let point: Vec<f32> = centres[cluster].iter().map(|centre| centre + 0.5 * normal(random)).collect();
        // Equally long, as the pipelines' embeddings are, so that the inner product orders as distance does.
        let length = point.iter().map(|value| value * value).sum::<f32>().sqrt();
        (point.iter().map(|value| value / length).collect(), cluster)
    });
    points.unzip()
}

struct Measured {
    p50: f64,
    p99: f64,
    recall: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} / {:.0}", self.p50, self.p99)
    }
}

/// Microseconds a search, and the part of the exact neighbours that it finds.
fn measure(
    queries: &[Vec<f32>],
    truth: impl Fn(&[f32]) -> Vec<Neighbour>,
    search: impl Fn(&[f32]) -> Vec<Neighbour>,
) -> Measured {
    let rows = |found: &[Neighbour]| found.iter().map(|neighbour| neighbour.row).collect::<HashSet<_>>();
    let mut times = vec![f64::INFINITY; queries.len()];
    // Round after round, so that no search finds in the caches what the same one has left there.
    for _ in 0..TIMES {
        for (query, time) in queries.iter().zip(&mut times) {
            let begun = Instant::now();
            search(query);
            *time = time.min(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let truth = rows(&truth(query));
        found += rows(&search(query)).intersection(&truth).count();
        wanted += truth.len();
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[(times.len() as f64 * part) as usize];
    Measured { p50: at(0.5), p99: at(0.99), recall: found as f64 / wanted as f64 }
}

#[test]
#[ignore = "measures for minutes"]
fn measured_by_selectivity() {
    let mut random = fastrand::Rng::with_seed(42);
    let (embeddings, clusters) = clustered(&mut random);
    let dir = bundle_of(&embeddings, vec![], EXPANSIONS[0]);
    let near =
        |point: &[f32], random: &mut fastrand::Rng| point.iter().map(|value| value + 0.05 * normal(random)).collect();
    let queries: Vec<Vec<f32>> =
        (0..QUERIES).map(|_| near(&embeddings[random.usize(..ARTICLES)], &mut random)).collect();
    println!("Microseconds: p50 / p99. Recall@100.");
    println!("| expansion | allowed | which | search | recall | walk | recall | scan | recall | rows |");
    println!("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for expansion in EXPANSIONS {
        edit_manifest(dir.path(), "/retrieval/index/expansion_search", json!(expansion));
        let bundle = Bundle::open(dir.path()).unwrap();
        let articles = Articles::open(&bundle, &[]).unwrap();
        let index = Index::open(&bundle, &articles, 1).unwrap();
        let graph = graph(&bundle, &articles, 1);
        for percent in [100.0, 90.0, 70.0, 50.0, 25.0, 10.0, 1.0, 0.1] {
            let part: f64 = percent / 100.0;
            let scattered: Vec<bool> = (0..ARTICLES).map(|_| random.f64() < part).collect();
            let whole = |row: usize| (clusters[row] as f64) < (CLUSTERS as f64 * part).ceil();
            for (which, allowed) in [
                ("scattered", Rows::matching(ARTICLES, |row| scattered[row])),
                ("whole clusters", Rows::matching(ARTICLES, whole)),
            ] {
                let truth = |query: &[f32]| exact(articles.embeddings(), query, COUNT, &allowed);
                // The graph's walk takes long where few are allowed.
                let few = if percent < 5.0 { &queries[..20] } else { &queries[..] };
                let search = measure(&queries, truth, |query| {
                    index.search(articles.embeddings(), query, COUNT, &allowed).unwrap()
                });
                let walk = measure(few, truth, |query| graph.walk(query, COUNT, &allowed).unwrap());
                let scan = measure(&queries, truth, |query| index.scan(articles.embeddings(), query, COUNT, &allowed));
                let rows = measure(&queries, truth, truth);
                let cells = [&search, &walk, &scan].map(|way| format!("{way} | {:.3}", way.recall)).join(" | ");
                println!("| {expansion} | {percent} % | {which} | {cells} | {rows} |");
            }
        }
    }
}
