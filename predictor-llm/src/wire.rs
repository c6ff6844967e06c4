//! How the model stands on the wire: its metadata, and V1 instances and predictions. Ids and scores are as any ranker's here has them.

use dataplane::{
    Datatype, Error, InferRequest, InferResponse, ModelMetadata, Parameter, Result, TensorMetadata,
    model::DIGEST,
    v1::{Predictions, RowsCodec, V1Codec},
};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    args::Args,
    rows::{ARTICLE_ID, Input},
    template::Template,
};

/// The output that says which article a score is of, `[M]`.
pub(crate) const ARTICLE_IDS: &str = "article_ids";
/// The output with the scores, `[M]`.
pub(crate) const SCORES: &str = "scores";
/// The output with the explanations, `[M]`; only where it is asked for by name.
pub(crate) const EXPLANATIONS: &str = "explanations";

/// The answer's parameter that says why the LLM could not be had.
pub(crate) const DEGRADED: &str = "degraded";
/// The answer's parameter that says how many scores are defaults.
pub(crate) const DEFAULTS: &str = "defaults";

/// What the model says of itself: the inputs that its template uses, each `[N,1]`.
pub(crate) fn metadata(args: &Args, template: &Template) -> ModelMetadata {
    let ids = TensorMetadata::optional(ARTICLE_ID, Datatype::Bytes, &[-1, 1]);
    let digest = [template.digest(), args.scoring.strategy.name(), args.llm_model.as_deref().unwrap_or_default()];
    let digest = Sha256::digest(digest.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    ModelMetadata {
        name: args.server.model_name.clone(),
        versions: vec!["1".to_owned()],
        platform: "hemline_llm".to_owned(),
        inputs: template.inputs().iter().map(tensor).chain([ids]).collect(),
        outputs: vec![
            TensorMetadata::new(SCORES, Datatype::Fp32, &[-1]),
            TensorMetadata::new(ARTICLE_IDS, Datatype::Bytes, &[-1]),
            TensorMetadata::new(EXPLANATIONS, Datatype::Bytes, &[-1]),
        ],
        properties: [(DIGEST.to_owned(), format!("sha256:{digest}"))].into(),
    }
}

fn tensor(input: &Input) -> TensorMetadata {
    TensorMetadata { optional: input.optional, ..TensorMetadata::new(&*input.name, input.datatype, &[-1, 1]) }
}

/// V1: a table of rows with their ids, as predictor-gbdt takes it, in the order of the listed inputs.
pub(crate) struct Instances(RowsCodec);

impl Instances {
    /// Of a model with this metadata.
    pub(crate) fn new(metadata: &ModelMetadata) -> Self {
        Self(RowsCodec {
            rows: "ranking_features".to_owned(),
            ids: ARTICLE_IDS.to_owned(),
            id_input: ARTICLE_ID.to_owned(),
            id_output: ARTICLE_IDS.to_owned(),
            scores: SCORES.to_owned(),
            score_output: SCORES.to_owned(),
            columns: metadata.inputs.iter().filter(|input| input.name != ARTICLE_ID).cloned().collect(),
        })
    }
}

/// A prediction: as predictor-gbdt's, with what is worth knowing of the LLM.
#[derive(Serialize)]
struct Prediction<'a> {
    scores: &'a [f32],
    article_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    defaults: Option<u64>,
}

impl V1Codec for Instances {
    fn decode(&self, instances: &[&RawValue], model: &ModelMetadata) -> Result<Vec<InferRequest>> {
        self.0.decode(instances, model)
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        for response in responses {
            let missing = || Error::internal("an answer without its outputs");
            let scores = response.f32s(SCORES).ok_or_else(missing)?;
            let ids = response.bytes(ARTICLE_IDS).ok_or_else(missing)?;
            let article_ids =
                ids.iter().map(|id| str::from_utf8(id).map_err(Error::internal)).collect::<Result<_>>()?;
            let degraded = response.parameters.get(DEGRADED).and_then(Parameter::as_str);
            let defaults = response.parameters.get(DEFAULTS).and_then(Parameter::as_u64);
            predictions.push(&Prediction { scores, article_ids, degraded, defaults })?;
        }
        Ok(())
    }
}
