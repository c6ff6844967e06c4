//! How long a filtered search takes and how much it finds. Prints tables; ignored, since it takes minutes:
//! `cargo test --release -p catalog --all-features --test integration measured -- --ignored --nocapture`.

use std::{collections::HashSet, time::Instant};

use catalog::{
    Bundle,
    articles::Articles,
    index::{Index, Neighbour, exact},
    rows::Rows,
};

use crate::fixture::bundle_of;

const ARTICLES: usize = 105_542;
const SIZE: usize = 16;
const CLUSTERS: usize = 500;
const EXPANSION: usize = 256;
const COUNT: usize = 100;
const QUERIES: usize = 1000;

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

/// Microseconds a search, and the part of the exact neighbours that it finds.
fn measure(
    queries: &[Vec<f32>],
    truth: impl Fn(&[f32]) -> Vec<Neighbour>,
    search: impl Fn(&[f32]) -> Vec<Neighbour>,
) -> Measured {
    let rows = |found: &[Neighbour]| found.iter().map(|neighbour| neighbour.row).collect::<HashSet<_>>();
    let (mut times, mut found, mut wanted) = (Vec::new(), 0, 0);
    for query in queries {
        let begun = Instant::now();
        let neighbours = search(query);
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        let truth = rows(&truth(query));
        found += rows(&neighbours).intersection(&truth).count();
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
    let dir = bundle_of(&embeddings, vec![], EXPANSION);
    let bundle = Bundle::open(dir.path()).unwrap();
    let articles = Articles::open(&bundle, &[]).unwrap();
    let index = Index::open(&bundle, &articles, 1).unwrap();
    let queries: Vec<_> = (0..QUERIES)
        .map(|_| {
            random
                .choice(&embeddings)
                .unwrap()
                .iter()
                .map(|value| value + 0.05 * normal(&mut random))
                .collect::<Vec<f32>>()
        })
        .collect();
    println!(
        "| allowed | which | rows | search: p50, µs | p99, µs | recall@100 | graph: p50 | p99 | recall | scan: p50 | p99 |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for percent in [100.0, 90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0, 20.0, 10.0, 1.0, 0.1] {
        let part: f64 = percent / 100.0;
        let scattered: Vec<bool> = (0..ARTICLES).map(|_| random.f64() < part).collect();
        let whole = |row: usize| (clusters[row] as f64) < (CLUSTERS as f64 * part).ceil();
        for (which, allowed) in [
            ("scattered", Rows::matching(ARTICLES, |row| scattered[row])),
            ("whole clusters", Rows::matching(ARTICLES, whole)),
        ] {
            let truth = |query: &[f32]| exact(&articles, query, COUNT, &allowed);
            // The graph without a scan is a minute's work where few are allowed.
            let few = if percent < 5.0 { &queries[..50] } else { &queries[..] };
            let search = measure(&queries, truth, |query| index.search(&articles, query, COUNT, &allowed).unwrap());
            let graph = measure(few, truth, |query| index.walk(query, COUNT, &allowed).unwrap());
            let scan = measure(&queries, truth, truth);
            println!(
                "| {percent} % | {which} | {} | {:.0} | {:.0} | {:.3} | {:.0} | {:.0} | {:.3} | {:.0} | {:.0} |",
                allowed.count(),
                search.p50,
                search.p99,
                search.recall,
                graph.p50,
                graph.p99,
                graph.recall,
                scan.p50,
                scan.p99,
            );
        }
    }
}
