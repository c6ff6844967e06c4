//! A ranker that takes a fixed time: it takes ids and gives each the same score.
//!
//! `delay --delay 5 --workers 2 --http-port 8085`: 400 requests a second, and not one more.

use std::{process::ExitCode, sync::Arc, thread, time::Duration};

use clap::Args;
use dataplane::{
    Datatype, Error, InferRequest, InferResponse, ModelMetadata, Result, SyncModel, Tensor, TensorMetadata,
    handler::ServerInfo,
    repository::Repository,
    serve::{self, Start},
};

const ARTICLE_ID: &str = "article_id";

/// Scores after a while
#[derive(Args)]
struct Settings {
    /// Milliseconds that a request keeps its thread
    #[arg(long)]
    delay: u64,
}

#[derive(Clone)]
struct Delay(Duration);

impl SyncModel for Delay {
    fn infer(&mut self, mut request: InferRequest) -> Result<InferResponse> {
        let ids = request.inputs.pop().ok_or_else(|| Error::invalid("input `article_id`: missing"))?;
        thread::sleep(self.0);
        let scores = vec![0.5_f32; ids.shape().first().copied().unwrap_or_default()];
        Ok(InferResponse::of(vec![Tensor::vector("scores", scores), Tensor::vector("article_ids", ids.into_data())]))
    }
}

fn publish(settings: &Settings, start: &Start<'_>) -> std::result::Result<Repository, String> {
    let metadata = ModelMetadata {
        versions: vec!["1".to_owned()],
        inputs: vec![TensorMetadata::new(ARTICLE_ID, Datatype::Bytes, &[-1, 1])],
        outputs: vec![
            TensorMetadata::new("scores", Datatype::Fp32, &[-1]),
            TensorMetadata::new("article_ids", Datatype::Bytes, &[-1]),
        ],
        ..ModelMetadata::default()
    };
    let copies = vec![Delay(Duration::from_millis(settings.delay)); start.server.threads()];
    Ok(Repository::default().with(Arc::new(start.on_threads(metadata, copies)?)))
}

fn main() -> ExitCode {
    serve::start(ServerInfo { name: "delay", version: env!("CARGO_PKG_VERSION") }, publish)
}
