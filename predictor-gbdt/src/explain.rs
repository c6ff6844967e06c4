//! Explanations beside scores: an output that is in an answer only where the request names it, and V1's `:explain`.

use std::sync::Arc;

use async_trait::async_trait;
use dataplane::{
    BytesData, Context, Error, InferRequest, InferResponse, Model, ModelMetadata, RequestedOutput, Result, SyncModel,
    Tensor,
    v1::{EXPLANATIONS, V1Codec},
};
use serde_json::{Value, json};

use crate::{contributions::Contributions, ranker::ARTICLE_IDS};

/// How many rows of a request are explained at most: one that is the first in its leaves costs many times what its score costs,
/// on the same thread.
const MOST_ROWS: usize = 1_000;
/// How far a score may be from what its explanation adds up to: single precision does not come near this.
const TOLERANCE: f64 = 1e-4;

/// A ranker that explains the scores that it gives.
pub(crate) struct Explained<M> {
    pub(crate) ranker: M,
    pub(crate) contributions: Option<Arc<Contributions>>,
    /// The output that is the score.
    pub(crate) scores: String,
}

impl<M: SyncModel> Explained<M> {
    /// A request to be answered after the ranker has taken it, if it is for explanations.
    fn asked(&self, request: &InferRequest) -> Option<InferRequest> {
        let wanted = self.contributions.is_some() && request.outputs.iter().any(|output| output.name == EXPLANATIONS);
        wanted.then(|| request.clone())
    }

    /// The ranker's answer, with the explanations that were asked for.
    fn answer(&self, response: Result<InferResponse>, asked: Option<&InferRequest>) -> Result<InferResponse> {
        let mut response = response?;
        if let (Some(request), Some(contributions)) = (asked, &self.contributions) {
            let scores = response.f32s(&self.scores).ok_or_else(|| Error::internal("no scores to explain"))?;
            response.outputs.push(explanations(contributions, request, scores)?);
        }
        Ok(response)
    }
}

/// A text for each row. What would explain another score than the one that is served is no explanation.
fn explanations(contributions: &Contributions, request: &InferRequest, scores: &[f32]) -> Result<Tensor> {
    if scores.len() > MOST_ROWS {
        let rows = scores.len();
        return Err(Error::invalid(format!("output `{EXPLANATIONS}`: expected at most {MOST_ROWS} rows, got {rows}")));
    }
    let explained = contributions.explain(request)?;
    let differs = |margin: f64, score: f32| (logistic(margin) - f64::from(score)).abs() > TOLERANCE;
    if explained.len() != scores.len() || explained.iter().zip(scores).any(|(row, &score)| differs(row.margin, score)) {
        return Err(Error::internal("contributions do not add up to the scores: they are of another ranker"));
    }
    let texts = explained.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(Error::internal)?;
    Ok(Tensor::vector(EXPLANATIONS, texts.iter().collect::<BytesData>()))
}

fn logistic(margin: f64) -> f64 {
    1.0 / (1.0 + (-margin).exp())
}

impl<M: SyncModel> SyncModel for Explained<M> {
    fn warm_up(&mut self, metadata: &ModelMetadata) -> Result<()> {
        self.ranker.warm_up(metadata)
    }

    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        let asked = self.asked(&request);
        let response = self.ranker.infer(request);
        self.answer(response, asked.as_ref())
    }

    /// Scores are computed together; explanations are each request's own.
    fn infer_batch(&mut self, requests: Vec<InferRequest>) -> Vec<Result<InferResponse>> {
        let asked: Vec<_> = requests.iter().map(|request| self.asked(request)).collect();
        let responses = self.ranker.infer_batch(requests).into_iter();
        responses.zip(asked).map(|(response, asked)| self.answer(response, asked.as_ref())).collect()
    }
}

/// A model whose output [`EXPLANATIONS`] is also what V1's `:explain` answers, where it has one.
pub(crate) struct Explaining<M>(pub(crate) M);

#[async_trait]
impl<M: Model> Model for Explaining<M> {
    fn metadata(&self) -> &ModelMetadata {
        self.0.metadata()
    }

    fn v1(&self) -> &dyn V1Codec {
        self.0.v1()
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse> {
        self.0.infer(request, context).await
    }

    async fn explain(&self, mut request: InferRequest, context: &Context) -> Result<Vec<Value>> {
        if !self.metadata().outputs.iter().any(|output| output.name == EXPLANATIONS) {
            return self.0.explain(request, context).await; // which says that it does not
        }
        request.outputs = vec![RequestedOutput::named(EXPLANATIONS)];
        let response = self.0.infer(request, context).await?;
        let texts = |output| -> Vec<_> {
            response.bytes(output).into_iter().flat_map(BytesData::iter).map(String::from_utf8_lossy).collect()
        };
        Ok(vec![json!({ARTICLE_IDS: texts(ARTICLE_IDS), EXPLANATIONS: texts(EXPLANATIONS)})])
    }
}
