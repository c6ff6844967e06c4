//! What is served: the bundle's ranker, or any ONNX file. Its metadata is read from the graph.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use catalog::bundle::{Bundle, BundleError, CONTRIBUTIONS, ENCODED_RANKER, MANIFEST, RANKER, RankingInfo, sha256};
use dataplane::{
    Datatype, ModelMetadata, TensorMetadata,
    model::DIGEST,
    onnx::{Graph, Runtime},
    v1::EXPLANATIONS,
};

use crate::{
    contributions::Contributions,
    encoding::{ENCODING, Encoding},
    ranker::{ARTICLE_ID, ARTICLE_IDS, Encoded, Ranker},
};

/// The one input of a graph of encoded features.
const ENCODED: &str = "encoded";

/// A model's files, read and checked.
pub(crate) struct ModelFile {
    graph: GraphFile,
    /// The same trees over features that the caller encoded, where the bundle has them and says how.
    encoded: Option<(GraphFile, Encoding)>,
    digest: String,
    version: String,
    /// What the bundle says of its ranker; nothing where the model is a file of its own.
    ranking: Option<RankingInfo>,
    /// What explains its scores, where the bundle has it.
    pub(crate) contributions: Option<Arc<Contributions>>,
}

struct GraphFile {
    /// The file, as a refusal names it.
    place: String,
    content: Vec<u8>,
}

impl GraphFile {
    fn refusal(&self, reason: impl fmt::Display) -> String {
        format!("{}: {reason}", self.place)
    }

    fn sessions(&self, runtime: &Runtime, threads: usize) -> Result<Vec<Graph>, String> {
        Graph::copies(runtime, &self.content, threads).map_err(|reason| self.refusal(reason))
    }
}

impl ModelFile {
    /// Reads a bundle's ranker, `model.onnx` in a folder, or the file itself.
    ///
    /// # Errors
    /// It is not there or not what the bundle's manifest says; one line that names the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        if path.join(MANIFEST).exists() {
            let bundle = Bundle::open(path).map_err(|error| error.to_string())?;
            return Self::of_bundle(&bundle, path).map_err(|error| error.to_string());
        }
        let file = if path.is_dir() { path.join("model.onnx") } else { PathBuf::from(path) };
        let place = format!("--model-dir: {}", file.display());
        let content = fs::read(&file).map_err(|error| format!("{place}: {error}"))?;
        Ok(Self {
            digest: sha256(&content),
            graph: GraphFile { place, content },
            encoded: None,
            version: "1".to_owned(),
            ranking: None,
            contributions: None,
        })
    }

    fn of_bundle(bundle: &Bundle, path: &Path) -> Result<Self, BundleError> {
        let read = |file| {
            let place = format!("bundle {}: {file}", path.display());
            Ok(GraphFile { place, content: bundle.read(file)? })
        };
        let graph = read(RANKER)?;
        let contributions = contributions(bundle)?;
        let encoding = contributions.as_ref().filter(|_| bundle.has(ENCODED_RANKER)).map(|told| told.encoding.clone());
        let encoded = encoding.map(|encoding| Ok((read(ENCODED_RANKER)?, encoding))).transpose()?;
        let manifest = bundle.manifest();
        let (version, ranking) = (manifest.version.clone(), Some(manifest.ranking.clone()));
        Ok(Self { digest: sha256(&graph.content), graph, encoded, version, ranking, contributions })
    }

    /// What is wrong with the file, in one line that names it.
    pub(crate) fn refusal(&self, reason: impl fmt::Display) -> String {
        self.graph.refusal(reason)
    }

    /// A ranker for each of `threads`, with sessions of its own.
    ///
    /// # Errors
    /// A file is no ONNX model, or not the one that the bundle describes.
    pub(crate) fn rankers(&self, runtime: &Runtime, threads: usize) -> Result<Vec<Ranker>, String> {
        let graphs = self.graph.sessions(runtime, threads)?;
        if let (Some(ranking), Some(graph)) = (&self.ranking, graphs.first()) {
            check(ranking, graph).map_err(|reason| self.refusal(reason))?;
        }
        let by_row = self.ranking.is_some();
        let Some((file, Encoding { input, .. })) = &self.encoded else {
            return Ok(graphs.into_iter().map(|graph| Ranker { graph, encoded: None, by_row }).collect());
        };
        let encoded = file.sessions(runtime, threads)?;
        if let (Some(encoded), Some(graph)) = (encoded.first(), graphs.first()) {
            check_encoded(encoded, input, graph).map_err(|reason| file.refusal(reason))?;
        }
        let encoded = encoded.into_iter().map(|graph| Some(Encoded { input: input.name.clone(), graph }));
        Ok(graphs.into_iter().zip(encoded).map(|(graph, encoded)| Ranker { graph, encoded, by_row }).collect())
    }

    /// The output that is the score: the bundle names it; elsewhere it is the first of FP32.
    pub(crate) fn score_output(&self, graph: &Graph) -> Option<String> {
        let named = self.ranking.as_ref().map(|ranking| ranking.output.clone());
        let first = || graph.outputs().iter().find(|output| output.datatype == Datatype::Fp32);
        named.or_else(|| first().map(|output| output.name.clone()))
    }

    /// What the model says of itself: the graph's inputs and outputs, the ids that it echoes, the features as the caller may encode them, and
    /// the explanations that may be asked for.
    pub(crate) fn metadata(&self, name: &str, graph: &Graph) -> ModelMetadata {
        let mut inputs: Vec<_> = graph.inputs().cloned().collect();
        let mut outputs = graph.outputs().to_vec();
        if !inputs.iter().any(|input| input.name == ARTICLE_ID) {
            inputs.push(TensorMetadata::optional(ARTICLE_ID, Datatype::Bytes, &[-1, 1]));
        }
        if !outputs.iter().any(|output| output.name == ARTICLE_IDS) {
            outputs.push(TensorMetadata::new(ARTICLE_IDS, Datatype::Bytes, &[-1]));
        }
        let mut properties = BTreeMap::from([(DIGEST.to_owned(), self.digest.clone())]);
        if let Some((_, encoding)) = &self.encoded {
            inputs.push(encoding.input.clone());
            properties.insert(ENCODING.to_owned(), encoding.text.clone());
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
            properties,
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

/// A graph of encoded features must take them alone, and answer as the one that takes them as they are.
fn check_encoded(encoded: &Graph, input: &TensorMetadata, graph: &Graph) -> Result<(), String> {
    let found: Vec<_> = encoded.inputs().map(told).collect();
    let wanted = [told(&TensorMetadata { name: ENCODED.to_owned(), ..input.clone() })];
    if found != wanted {
        return Err(format!("takes {found:?}, expected {wanted:?}"));
    }
    if encoded.outputs() != graph.outputs() {
        let outputs = |graph: &Graph| graph.outputs().iter().map(told).collect::<Vec<_>>();
        return Err(format!("gives {:?}, {RANKER} gives {:?}", outputs(encoded), outputs(graph)));
    }
    Ok(())
}

fn told(TensorMetadata { name, datatype, shape, .. }: &TensorMetadata) -> String {
    format!("{name} {} {shape:?}", datatype.name())
}
