//! From what lies in the model's place to a model that answers.

use std::{fs, path::PathBuf, sync::Arc};

use dataplane::{
    Error, Kind, Model, Result,
    metrics::Metrics,
    onnx::Runtime,
    repository::{self, Loader},
    worker::{Admission, Batching, Joined, Owned},
};

use crate::{
    args::Args,
    explain::{Explained, Explaining},
    onnx::ModelFile,
    ranker,
};

/// Where the model lies, and how it is served.
pub(crate) struct ModelFiles {
    place: PathBuf,
    name: String,
    threads: usize,
    admission: Admission,
    batching: Batching,
    runtime: Runtime,
}

impl ModelFiles {
    /// Loads ONNX Runtime; the model itself comes with [`ModelFiles::model`].
    ///
    /// # Errors
    /// The runtime can't be loaded.
    pub(crate) fn new(args: &Args, metrics: &Metrics) -> Result<Self, String> {
        Ok(Self {
            place: args.model_dir.clone(),
            name: args.server.model_name.clone(),
            threads: args.server.threads(),
            admission: args.server.admission(metrics, &args.server.model_name),
            batching: args.batch.batching(),
            runtime: Runtime::load(&args.onnxruntime)?,
        })
    }

    /// The model as it lies there now: a session a thread, each of which has answered once.
    ///
    /// # Errors
    /// One line on what is wrong with it.
    pub(crate) fn model(&self) -> Result<Arc<dyn Model>, String> {
        // Through links first: a link that is switched meanwhile must not mix the files of two bundles.
        let place = fs::canonicalize(&self.place).unwrap_or_else(|_| self.place.clone());
        let file = ModelFile::read(&place)?;
        let rankers = file.rankers(&self.runtime, self.threads)?;
        let graph = &rankers.first().ok_or("--workers: expected at least 1")?.graph;
        let metadata = file.metadata(&self.name, graph);
        let scores = file.score_output(graph).ok_or_else(|| file.refusal("no FP32 output that could be a score"))?;
        let v1 = Arc::new(ranker::v1_codec(&metadata, scores.clone()));
        let explained = |ranker| {
            let (contributions, scores) = (file.contributions.clone(), scores.clone());
            Explained { ranker, contributions, scores }
        };
        let rankers = Joined::copies(rankers).into_iter().map(explained).collect();
        let model = Owned::start(metadata, v1, rankers, self.admission.clone(), self.batching);
        Ok(Arc::new(Explaining(model.map_err(|error| file.refusal(error.reason()))?)))
    }
}

impl Loader for ModelFiles {
    fn load(&self) -> Result<Arc<dyn Model>> {
        self.model().map_err(|reason| {
            Error::new(Kind::LoadFailed, "what lies in its place can't be used; the log says why").with_detail(reason)
        })
    }

    fn fingerprint(&self) -> Option<String> {
        repository::fingerprint(&self.place)
    }
}
