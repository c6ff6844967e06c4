//! The pair's answers from one bare route in one process: the query tower, the neighbours and the ranker one after the other on the
//! thread that has the request. No store, no checks, no limits, no log, no metrics: what no server with the same models gets below.
//!
//! `floor --model-dir BUNDLE --ages customers.csv --onnxruntime libonnxruntime.so --http-port 8080`

use std::{
    cell::Cell,
    net::Ipv4Addr,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
    serve::ListenerExt,
};
use clap::Parser;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, runtime};

mod ages;
mod call;
mod recommend;

use recommend::{Failure, Recommender};

/// Recommends, and nothing else
#[derive(Parser)]
struct Args {
    /// The bundle
    #[arg(long)]
    model_dir: PathBuf,

    /// customers.csv
    #[arg(long)]
    ages: PathBuf,

    /// ONNX Runtime's shared library
    #[arg(long)]
    onnxruntime: PathBuf,

    /// How many articles a ranking has
    #[arg(long, default_value_t = 100)]
    candidates: usize,

    /// Where to listen
    #[arg(long)]
    http_port: u16,
}

#[derive(Deserialize)]
struct Request {
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    customer_id: String,
    transaction_date: String,
}

#[derive(Serialize)]
struct Answer {
    predictions: Vec<Prediction>,
}

#[derive(Serialize)]
struct Prediction {
    ranking: Vec<(f32, &'static str)>,
}

thread_local! {
    /// Which of the threads this is.
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

async fn predict(
    State(recommender): State<&'static Recommender>,
    Json(request): Json<Request>,
) -> Result<Json<Answer>, (StatusCode, String)> {
    let thread = THREAD.get();
    let rank = |instance: &Instance| recommender.rank(thread, &instance.customer_id, &instance.transaction_date);
    let rankings = request.instances.iter().map(rank).collect::<Result<Vec<_>, _>>();
    let rankings = rankings.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(Json(Answer { predictions: rankings.into_iter().map(|ranking| Prediction { ranking }).collect() }))
}

async fn serve(recommender: &'static Recommender, port: u16) -> Result<(), Failure> {
    let router = Router::new()
        .route("/v2/health/ready", get(async || "ready"))
        .route("/v1/models/hemline:predict", post(predict))
        .with_state(recommender);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), router).await?;
    Ok(())
}

/// The pair's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let threads = std::thread::available_parallelism()?.get();
    let recommender = Recommender::open(&args.model_dir, &args.ages, &args.onnxruntime, args.candidates, threads)?;
    // Until the process ends: rankings borrow their ids from it.
    let recommender: &'static Recommender = Box::leak(Box::new(recommender));
    let started = AtomicUsize::new(0);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .on_thread_start(move || THREAD.set(started.fetch_add(1, Ordering::Relaxed)))
        .enable_all()
        .build()?;
    // On a thread of the runtime: connections that are accepted elsewhere would have to move.
    runtime.block_on(runtime.spawn(serve(recommender, args.http_port)))?
}
