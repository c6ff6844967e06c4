//! How long a store takes to say what a request must know: `fresh URL FILE SECONDS`, where FILE has a customer's id a line.
//!
//! Asks for one random customer after another, on one connection's worth of concurrency, and prints a JSON object: questions, mean,
//! median and 99th percentile in microseconds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a measurement's way to say no

use std::{
    env, fs,
    time::{Duration, Instant},
};

use catalog::store;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let [url, file, seconds] = env::args().skip(1).collect::<Vec<_>>().try_into().expect("fresh URL FILE SECONDS");
    let ids = fs::read_to_string(file).unwrap();
    let ids: Vec<_> = ids.lines().collect();
    let store = store::open(&url.parse().unwrap(), None).await.unwrap();
    let within = Duration::from_secs(10);
    for id in ids.iter().take(1000) {
        store.fresh(&[id], within).await.unwrap();
    }
    let (begun, length) = (Instant::now(), Duration::from_secs_f64(seconds.parse().unwrap()));
    let (mut times, mut purchases) = (Vec::new(), 0);
    while begun.elapsed() < length {
        let id = fastrand::choice(&ids).unwrap();
        let asked = Instant::now();
        purchases += store.fresh(&[id], within).await.unwrap().customers[0].purchased.len();
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
    let count = times.len();
    println!(
        "{}",
        serde_json::json!({
            "questions": count,
            "purchases": purchases,
            "mean_us": micros(times.iter().sum::<Duration>() / u32::try_from(count).unwrap()),
            "p50_us": micros(times[count / 2]),
            "p99_us": micros(times[count * 99 / 100]),
        })
    );
}
