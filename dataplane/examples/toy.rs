//! How to publish a model: a server that adds up two columns.
//!
//! ```sh
//! cargo run -p dataplane --example toy -- --model-name toy --http-port 8080
//! curl localhost:8080/v2/models/toy/infer -d '{"inputs": [
//!     {"name": "a", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]},
//!     {"name": "b", "datatype": "FP32", "shape": [2, 1], "data": [10, 20]},
//!     {"name": "id", "datatype": "BYTES", "shape": [2, 1], "data": ["x", "y"]}]}'
//! ```

use std::{process::ExitCode, sync::Arc, thread, time::Duration};

use clap::Args;
use dataplane::{
    Data, Datatype, Error, InferRequest, InferResponse, ModelMetadata, Result, SyncModel, Tensor, TensorMetadata,
    config,
    handler::ServerInfo,
    repository::Repository,
    serve::{self, Start},
    v1::RowsCodec,
    worker::{Joined, Owned},
};

/// Adds up columns `a` and `b`
#[derive(Args)]
struct Pause {
    /// How long a request takes, so that there is something to wait for
    #[arg(long, default_value = "0ms", value_parser = config::duration)]
    pause: Duration,

    /// How long the model takes to load
    #[arg(long, default_value = "0ms", value_parser = config::duration)]
    load: Duration,
}

struct Sum {
    pause: Duration,
}

impl SyncModel for Sum {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        tracing::info!("adding up");
        thread::sleep(self.pause);
        // The handler core has checked names, datatypes and shapes against the metadata below; that rows are as many is ours to check.
        let column = |name: &str| request.required(name)?.as_f32().ok_or_else(|| Error::internal("checked before"));
        let (a, b, ids) = (column("a")?, column("b")?, request.required("id")?.data().clone());
        if a.len() != b.len() || a.len() != ids.len() {
            return Err(Error::invalid(format!("inputs: {} `a`, {} `b`, {} `id`", a.len(), b.len(), ids.len())));
        }
        let sums = a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        Ok(InferResponse::of(vec![Tensor::vector("sum", Data::from(sums)), Tensor::vector("id", ids)]))
    }
}

fn publish(own: &Pause, start: &Start<'_>) -> Result<Repository, String> {
    if !own.load.is_zero() {
        tracing::info!("loading");
        thread::sleep(own.load);
    }
    let columns = ["a", "b"].map(|name| TensorMetadata::new(name, Datatype::Fp32, &[-1, 1])).to_vec();
    let id = TensorMetadata::new("id", Datatype::Bytes, &[-1, 1]);
    let outputs = [("sum", Datatype::Fp32), ("id", Datatype::Bytes)];
    let metadata = ModelMetadata {
        name: start.server.model_name.clone(),
        versions: vec!["1".to_owned()],
        platform: "hemline_toy".to_owned(),
        inputs: columns.iter().cloned().chain([id]).collect(),
        outputs: outputs.map(|(name, datatype)| TensorMetadata::new(name, datatype, &[-1])).to_vec(),
        ..ModelMetadata::default()
    };
    // A V1 instance: {"rows": [[1, 10], [2, 20]], "ids": ["x", "y"]}
    let v1 = RowsCodec {
        rows: "rows".to_owned(),
        ids: "ids".to_owned(),
        id_input: "id".to_owned(),
        id_output: "id".to_owned(),
        scores: "sums".to_owned(),
        score_output: "sum".to_owned(),
        columns,
    };
    let copies = (0..start.server.threads()).map(|_| Sum { pause: own.pause }).collect();
    let admission = start.server.admission(start.metrics, &metadata.name);
    // A sum takes nothing from another row, so requests that wait together may be added up together.
    let model = Owned::start(metadata, Arc::new(v1), Joined::copies(copies), admission, start.batching);
    Ok(Repository::default().with(Arc::new(model.map_err(|error| error.reason().to_owned())?)))
}

fn main() -> ExitCode {
    serve::start(ServerInfo { name: "toy", version: "1" }, publish)
}
