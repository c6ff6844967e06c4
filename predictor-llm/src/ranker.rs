//! The model that this server publishes: the first candidates of a request, scored or explained by the LLM.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use async_trait::async_trait;
use dataplane::{
    BytesData, Context, Error, InferRequest, InferResponse, Kind, Model, ModelMetadata, Parameter, Parameters, Result,
    Tensor, readiness::Latch, v1::V1Codec,
};
use serde_json::{Value, json};

use crate::{
    args::{Args, OnLlmFailure},
    asking::Asking,
    explain::explain,
    miss::{Miss, Missed},
    rows::{self, Rows},
    scorer::{MOST, Scored, Scorer},
    wire::{self, ARTICLE_IDS, DEFAULTS, DEGRADED, EXPLANATIONS, Instances, SCORES},
};

/// When callers may try again where the LLM could not be had.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Ranks.
pub(crate) struct Ranker {
    metadata: ModelMetadata,
    v1: Instances,
    scorer: Arc<Scorer>,
    on_failure: OnLlmFailure,
    /// The LLM has shown once that it is good for something.
    tested: Latch,
}

impl Ranker {
    /// A ranker that answers from when `tested` is open.
    pub(crate) fn new(args: &Args, scorer: Arc<Scorer>, tested: Latch) -> Self {
        let metadata = wire::metadata(args, &scorer.template);
        Self { v1: Instances::new(&metadata), metadata, scorer, on_failure: args.on_llm_failure, tested }
    }

    fn read(&self, request: &InferRequest) -> Result<Rows> {
        rows::read(request, self.scorer.template.inputs(), MOST)
    }

    /// The scores, and what is worth knowing of them.
    async fn scores(&self, rows: &Rows, asking: &Asking) -> Result<(Tensor, Parameters)> {
        let scored = self.scorer.score(&rows.rows, asking).await?;
        self.tell(&scored, rows);
        if let (Some(_), OnLlmFailure::Error, Some(missed)) = (scored.outage(), self.on_failure, scored.missed().next())
        {
            return Err(unavailable(missed));
        }
        let mut parameters = Parameters::from([("strategy".to_owned(), scored.strategy.name().into())]);
        if let Ok(model) = self.scorer.llm.model().await {
            parameters.insert("llm_model".to_owned(), model.into());
        }
        if let Some(outage) = scored.outage() {
            parameters.insert(DEGRADED.to_owned(), outage.into());
        }
        let defaults = i64::try_from(scored.missed().count()).map_err(Error::internal)?;
        if defaults > 0 {
            parameters.insert(DEFAULTS.to_owned(), defaults.into());
        }
        if let Some(tau) = scored.tau {
            parameters.insert("kendall_tau".to_owned(), Parameter::Double(tau));
        }
        Ok((Tensor::vector(SCORES, values(&scored)), parameters))
    }

    /// Counts what became of the candidates, and logs each class of default once a request.
    fn tell(&self, scored: &Scored, rows: &Rows) {
        let mut classes: BTreeMap<Miss, (usize, usize, &Missed)> = BTreeMap::new();
        for (position, score) in scored.scores.iter().enumerate() {
            match score {
                Ok(_) => self.scorer.metrics.scored(),
                Err(missed) => {
                    self.scorer.metrics.missed(missed.class.name());
                    classes.entry(missed.class).or_insert((0, position, missed)).0 += 1;
                }
            }
        }
        for (class, (candidates, first, missed)) in classes {
            let id = rows.ids.as_ref().and_then(|ids| ids.get(first)).map(String::from_utf8_lossy);
            let (class, id, error) = (class.name(), id.as_deref().unwrap_or_default(), &*missed.detail);
            tracing::warn!(class, candidates, first = id, error, "scored 0 by default");
        }
    }

    /// An explanation for each candidate; an empty one where that one failed.
    ///
    /// # Errors
    /// All of them failed.
    async fn explanations(&self, rows: &Rows, asking: &Asking) -> Result<Vec<String>> {
        let explained = explain(&self.scorer, &rows.rows, asking).await?;
        for missed in explained.iter().filter_map(|explained| explained.as_ref().err()) {
            tracing::warn!(class = missed.class.name(), error = &*missed.detail, "not explained");
        }
        match explained.first() {
            Some(Err(missed)) if explained.iter().all(Result::is_err) => Err(unavailable(missed)),
            _ => Ok(explained.into_iter().map(Result::unwrap_or_default).collect()),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // scores are FP32 in every answer
fn values(scored: &Scored) -> Vec<f32> {
    scored.scores.iter().map(|score| score.as_ref().map_or(0.0, |score| *score as f32)).collect()
}

/// The error of a caller who is not to get defaults.
pub(crate) fn unavailable(missed: &Missed) -> Error {
    let text = missed.class.outage().unwrap_or("the LLM gave no answer that can be used");
    let detail = format!("{}: {}", missed.class.name(), missed.detail);
    match missed.class {
        Miss::Deadline | Miss::Timeout => Error::new(Kind::UpstreamTimeout, text),
        class if class.outage().is_none() => Error::new(Kind::UpstreamInvalid, text),
        _ => Error::new(Kind::UpstreamUnavailable, text).with_retry_after(RETRY_AFTER),
    }
    .with_detail(detail)
}

#[async_trait]
impl Model for Ranker {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    fn v1(&self) -> &dyn V1Codec {
        &self.v1
    }

    fn is_ready(&self) -> bool {
        self.tested.is_open()
    }

    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse> {
        let begun = Instant::now();
        let asked_for = |name: &str| request.outputs.iter().any(|output| output.name == name);
        let (rows, asking) = (self.read(&request)?, Asking::of(context));
        let mut response = InferResponse::default();
        if request.outputs.is_empty() || asked_for(SCORES) {
            let (scores, parameters) = self.scores(&rows, &asking).await?;
            response.outputs.push(scores);
            response.parameters = parameters;
        }
        if asked_for(EXPLANATIONS) {
            let explanations = self.explanations(&rows, &asking).await?;
            response.outputs.push(Tensor::vector(EXPLANATIONS, explanations.into_iter().collect::<BytesData>()));
        }
        if let Some(ids) = rows.ids {
            response.outputs.push(Tensor::vector(ARTICLE_IDS, ids));
        }
        context.step("llm", begun.elapsed());
        Ok(response)
    }

    async fn explain(&self, request: InferRequest, context: &Context) -> Result<Vec<Value>> {
        let (rows, asking) = (self.read(&request)?, Asking::of(context));
        let explanations = self.explanations(&rows, &asking).await?;
        let ids = rows.ids.iter().flat_map(BytesData::iter).map(String::from_utf8_lossy).collect::<Vec<_>>();
        Ok(vec![json!({ARTICLE_IDS: ids, EXPLANATIONS: explanations})])
    }
}
