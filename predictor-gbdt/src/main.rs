//! predictor-gbdt: scores rows of named features with an ONNX model.
//!
//! Settings → telemetry → model (checked, a session a thread, self-tested) → serve → drain.

mod args;
mod onnx;
mod ranker;

use std::{process::ExitCode, sync::Arc};

use dataplane::{
    Handler, config,
    metrics::Metrics,
    onnx::Runtime,
    readiness::Readiness,
    repository::Repository,
    serve, telemetry,
    worker::{Admission, Joined, Owned},
};

use crate::{args::Args, onnx::ModelFile, ranker::Ranker};

fn main() -> ExitCode {
    let args: Args = match config::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    match telemetry::init(&args.server.log_level).and_then(|()| handler(&args)) {
        Ok(handler) => run(&args, handler),
        Err(reason) => config::refuse(reason),
    }
}

/// The model behind its handler, or one line on why there is none.
fn handler(args: &Args) -> Result<Handler, String> {
    let file = ModelFile::read(&args.model_dir)?;
    let runtime = Runtime::load(&args.onnxruntime)?;
    let graphs = file.sessions(&runtime, args.server.threads())?;
    let graph = graphs.first().ok_or("--workers: expected at least 1")?;
    let metadata = file.metadata(&args.server.model_name, graph);
    let scores = file.score_output(graph).ok_or_else(|| file.refusal("no FP32 output that could be a score"))?;
    let v1 = Arc::new(ranker::v1_codec(&metadata, scores));
    let rankers = graphs.into_iter().map(Ranker::warmed).collect::<Result<Vec<_>, _>>();
    let rankers = rankers.map_err(|reason: String| file.refusal(reason))?;
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let admission =
        Admission { places: args.server.queue as usize, metrics: Some(metrics.queue(&args.server.model_name)) };
    let model = Owned::start(metadata, v1, Joined::copies(rankers), admission, args.server.batching());
    let model = model.map_err(|error| format!("--workers: {error}"))?;
    Ok(Handler {
        repository: Repository::default().with(Arc::new(model)),
        readiness: Readiness::default(),
        metrics,
        limits: args.server.limits(),
    })
}

#[tokio::main]
async fn run(args: &Args, handler: Handler) -> ExitCode {
    serve::run(handler, &args.server, std::future::ready(())).await
}
