//! An ONNX file as a model server: what scikit-learn, XGBoost, CatBoost or PyTorch exported.
//!
//! ```sh
//! export ORT_DYLIB_PATH=…/libonnxruntime.so   # the onnxruntime wheel has one
//! cargo run -p dataplane --example onnx --features onnx -- --model-name iris --model iris.onnx
//! curl localhost:8080/v2/models/iris
//! curl localhost:8080/v1/models/iris:predict -d '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
//! ```
//!
//! Inputs and outputs are those of the graph, as far as they are tensors. An output that is none is left out, with a warning:
//! classifiers of scikit-learn and CatBoost are exported with their probabilities as a list of maps, and serve their labels so.
//! `skl2onnx` exports tensors of both with `options={"zipmap": False}`.
//!
//! A file that is exchanged is served within `--model-watch`, without a pause; one that
//! can't be used is refused in the log and in the repository's index, and the old one serves on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use dataplane::{
    Error, Kind, Model, ModelMetadata, Result,
    handler::ServerInfo,
    model::DIGEST,
    onnx::{Graph, Runtime},
    repository::{self, Loader, Repository},
    serve::{self, Start},
    v1::TensorsCodec,
    worker::{Admission, Batching, Joined, Owned},
};
use sha2::{Digest, Sha256};

/// Serves an ONNX file
#[derive(Args)]
struct Files {
    /// The ONNX file
    #[arg(long)]
    model: PathBuf,

    /// ONNX Runtime's shared library
    #[arg(long, env = "ORT_DYLIB_PATH", default_value = "libonnxruntime.so")]
    onnxruntime: PathBuf,
}

/// Where the model lies, and how it is served.
struct OnnxFile {
    file: PathBuf,
    runtime: Runtime,
    name: String,
    threads: usize,
    admission: Admission,
    batching: Batching,
}

impl OnnxFile {
    /// The model as it lies there now: a session a thread, each of which answers once before it is served.
    fn model(&self) -> Result<Arc<dyn Model>, String> {
        let refused = |reason: &dyn std::fmt::Display| format!("--model {}: {reason}", self.file.display());
        let content = fs::read(&self.file).map_err(|error| refused(&error))?;
        let graphs = Graph::copies(&self.runtime, &content, self.threads).map_err(|reason| refused(&reason))?;
        let graph = graphs.first().ok_or("--workers: expected at least 1")?;
        let metadata = ModelMetadata {
            name: self.name.clone(),
            versions: vec!["1".to_owned()],
            platform: "onnx_onnxv1".to_owned(),
            inputs: graph.inputs().cloned().collect(),
            outputs: graph.outputs().to_vec(),
            properties: [(DIGEST.to_owned(), digest(&content))].into(),
        };
        let (v1, admission) = (Arc::new(TensorsCodec), self.admission.clone());
        let model = Owned::start(metadata, v1, Joined::copies(graphs), admission, self.batching);
        Ok(Arc::new(model.map_err(|error| refused(&error.reason()))?))
    }
}

impl Loader for OnnxFile {
    fn load(&self) -> Result<Arc<dyn Model>> {
        // Who asks for a load is told that it failed; why, with the file's name, is in the log.
        self.model().map_err(|reason| Error::new(Kind::LoadFailed, "the file can't be used").with_detail(reason))
    }

    fn fingerprint(&self) -> Option<String> {
        repository::fingerprint(Path::new(&self.file))
    }
}

fn digest(content: &[u8]) -> String {
    let bytes = Sha256::digest(content);
    format!("sha256:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn publish(files: &Files, start: &Start<'_>) -> Result<Repository, String> {
    let name = start.server.model_name.clone();
    let file = OnnxFile {
        file: files.model.clone(),
        runtime: Runtime::load(&files.onnxruntime)?,
        threads: start.server.threads(),
        admission: start.server.admission(start.metrics, &name),
        batching: start.batching,
        name: name.clone(),
    };
    let repository = Repository::default().with_loaded(&name, Arc::new(file));
    repository.map_err(|error| error.reason().to_owned())
}

fn main() -> ExitCode {
    serve::start(ServerInfo { name: "onnx", version: "1" }, publish)
}
