//! What is served: the bundle's ranker, or any ONNX file. Its metadata is read from the graph.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use catalog::bundle::{Bundle, BundleError, CONTRIBUTIONS, MANIFEST, RANKER, RankingInfo, sha256};
use dataplane::{
    Datatype, ModelMetadata, TensorMetadata,
    model::DIGEST,
    onnx::{Graph, Runtime},
    v1::EXPLANATIONS,
};

use crate::{
    contributions::Contributions,
    ranker::{ARTICLE_ID, ARTICLE_IDS},
};

/// A model's file, read and checked.
pub(crate) struct ModelFile {
    /// The file, as a refusal names it.
    place: String,
    content: Vec<u8>,
    digest: String,
    version: String,
    /// What the bundle says of its ranker; nothing where the model is a file of its own.
    ranking: Option<RankingInfo>,
    /// What explains its scores, where the bundle has it.
    pub(crate) contributions: Option<Arc<Contributions>>,
}

impl ModelFile {
    /// Reads a bundle's ranker, `model.onnx` in a folder, or the file itself.
    ///
    /// # Errors
    /// It is not there or not what the bundle's manifest says; one line that names the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        if path.join(MANIFEST).exists() {
            let bundle = Bundle::open(path).map_err(|error| error.to_string())?;
            let content = bundle.read(RANKER).map_err(|error| error.to_string())?;
            let contributions = contributions(&bundle).map_err(|error| error.to_string())?;
            let manifest = bundle.manifest();
            let (version, ranking) = (manifest.version.clone(), Some(manifest.ranking.clone()));
            let place = format!("bundle {}: {RANKER}", path.display());
            return Ok(Self { place, digest: sha256(&content), content, version, ranking, contributions });
        }
        let file = if path.is_dir() { path.join("model.onnx") } else { PathBuf::from(path) };
        let place = format!("--model-dir: {}", file.display());
        let content = fs::read(&file).map_err(|error| format!("{place}: {error}"))?;
        let digest = sha256(&content);
        Ok(Self { place, digest, content, version: "1".to_owned(), ranking: None, contributions: None })
    }

    /// What is wrong with the file, in one line that names it.
    pub(crate) fn refusal(&self, reason: impl fmt::Display) -> String {
        format!("{}: {reason}", self.place)
    }

    /// A session for each of `threads`.
    ///
    /// # Errors
    /// The file is no ONNX model, or not the one that the bundle describes.
    pub(crate) fn sessions(&self, runtime: &Runtime, threads: usize) -> Result<Vec<Graph>, String> {
        let graphs = Graph::copies(runtime, &self.content, threads).map_err(|reason| self.refusal(reason))?;
        if let (Some(ranking), Some(graph)) = (&self.ranking, graphs.first()) {
            check(ranking, graph).map_err(|reason| self.refusal(reason))?;
        }
        Ok(graphs)
    }

    /// The output that is the score: the bundle names it; elsewhere it is the first of FP32.
    pub(crate) fn score_output(&self, graph: &Graph) -> Option<String> {
        let named = self.ranking.as_ref().map(|ranking| ranking.output.clone());
        let first = || graph.outputs().iter().find(|output| output.datatype == Datatype::Fp32);
        named.or_else(|| first().map(|output| output.name.clone()))
    }

    /// What the model says of itself: the graph's inputs and outputs, the ids that it echoes, and the explanations that may
    /// be asked for.
    pub(crate) fn metadata(&self, name: &str, graph: &Graph) -> ModelMetadata {
        let mut inputs: Vec<_> = graph.inputs().cloned().collect();
        let mut outputs = graph.outputs().to_vec();
        if !inputs.iter().any(|input| input.name == ARTICLE_ID) {
            inputs.push(TensorMetadata::optional(ARTICLE_ID, Datatype::Bytes, &[-1, 1]));
        }
        if !outputs.iter().any(|output| output.name == ARTICLE_IDS) {
            outputs.push(TensorMetadata::new(ARTICLE_IDS, Datatype::Bytes, &[-1]));
        }
        if self.contributions.is_some() {
            outputs.push(TensorMetadata::new(EXPLANATIONS, Datatype::Bytes, &[-1]));
        }
        ModelMetadata {
            name: name.to_owned(),
            versions: vec![self.version.clone()],
            platform: "onnx_onnxv1".to_owned(),
            inputs,
            outputs,
            properties: [(DIGEST.to_owned(), self.digest.clone())].into(),
        }
    }
}

/// What explains the scores of a bundle's ranker; bundles of before there was such a file serve without.
fn contributions(bundle: &Bundle) -> Result<Option<Arc<Contributions>>, BundleError> {
    if !bundle.has(CONTRIBUTIONS) {
        return Ok(None);
    }
    let contributions = Contributions::read(&bundle.read(CONTRIBUTIONS)?, &bundle.manifest().ranking.features);
    contributions.map(|read| Some(Arc::new(read))).map_err(|reason| bundle.invalid(CONTRIBUTIONS, reason))
}

/// A bundle's graph must take what its manifest says that rankers are given.
fn check(ranking: &RankingInfo, graph: &Graph) -> Result<(), String> {
    let wanted: Vec<_> =
        ranking.features.iter().map(|feature| (feature.name.as_str(), feature.datatype.as_str())).collect();
    let found: Vec<_> = graph.inputs().map(|input| (input.name.as_str(), input.datatype.name())).collect();
    if wanted != found {
        return Err(format!("takes {found:?}, the manifest says {wanted:?}"));
    }
    if graph.outputs().iter().any(|output| output.name == ranking.output && output.datatype == Datatype::Fp32) {
        return Ok(());
    }
    Err(format!("has no FP32 output `{}`", ranking.output))
}
