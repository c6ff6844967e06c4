//! Step 6: the predictor's scores. Its metadata says what it is sent; its answers are joined by article id.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use catalog::articles::Articles;
use dataplane::{
    Context, Data, Datatype, Error, InferRequest, InferResponse, Kind, ModelMetadata, Result, Tensor, TensorMetadata,
    client::{Predictor, Protocol},
    readiness::{Dependency, Probe},
};

use crate::{
    features::{ARTICLE_ID, Plan},
    neighbours::Candidates,
};

/// The output that says which article a score is of.
pub(crate) const ARTICLE_IDS: &str = "article_ids";

/// A predictor that ranks.
pub(crate) struct Ranker {
    predictor: Predictor,
    output: String,
    column: Option<usize>,
    /// Inputs of a predictor that lists none.
    default_inputs: ModelMetadata,
    /// What to send it, or why nothing of what is here will do; nothing before it has been asked.
    plan: RwLock<Option<Known>>,
}

/// A plan, or what speaks against any.
type Known = Result<Arc<Plan>, String>;

/// How a ranker's answer is read.
pub(crate) struct ScoreOutput {
    /// The output that is the score.
    pub(crate) name: String,
    /// Its column, where it has one for each class.
    pub(crate) column: Option<usize>,
}

/// A ranker's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scores {
    /// Of candidate i; nothing where the ranker did not score it.
    pub(crate) scores: Vec<Option<f32>>,
    /// The version that scored.
    pub(crate) version: Option<String>,
}

impl Ranker {
    /// A ranker that has not been asked anything yet.
    pub(crate) fn new(predictor: Predictor, output: ScoreOutput, default_inputs: ModelMetadata) -> Self {
        let ScoreOutput { name, column } = output;
        Self { predictor, output: name, column, default_inputs, plan: RwLock::default() }
    }

    /// Its name in requests and answers.
    pub(crate) fn name(&self) -> &str {
        self.predictor.name()
    }

    /// What to send it, by its metadata. Asked for once; [`Ranker::watch`] keeps it current.
    pub(crate) async fn plan(&self, articles: &Articles, context: &Context) -> Result<Arc<Plan>> {
        let known = self.plan.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(known) => self.usable(known),
            None => self.learn(self.predictor.metadata_for(context).await?, articles),
        }
    }

    /// What to send it, as its metadata say now.
    fn learn(&self, mut metadata: ModelMetadata, articles: &Articles) -> Result<Arc<Plan>> {
        if metadata.inputs.is_empty() {
            metadata.inputs.clone_from(&self.default_inputs.inputs);
        }
        if self.predictor.protocol() == Protocol::V1 {
            // The rows of a V1 instance come with their ids beside them, which are no column.
            metadata.inputs.push(TensorMetadata::new(ARTICLE_ID, Datatype::Bytes, &[-1, 1]));
        }
        let plan = Plan::new(&metadata, articles).map(Arc::new);
        // A plan that no longer holds is forgotten: what it would send, the ranker would refuse.
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Some(plan.clone());
        self.usable(plan)
    }

    fn usable(&self, known: Known) -> Result<Arc<Plan>> {
        known.map_err(|reason| Error::new(Kind::UpstreamInvalid, format!("predictor `{}` {reason}", self.name())))
    }

    /// Asks for the candidates' scores. A ranker that refuses them may have been swapped since it was planned for: it is asked once more
    /// where it now takes something else.
    pub(crate) async fn score(
        &self,
        candidates: &mut Candidates,
        plan: &Plan,
        articles: &Articles,
        context: &Context,
    ) -> Result<Scores> {
        let features = std::mem::take(&mut candidates.features);
        let refused = match self.ask(features, candidates, articles, context).await {
            Err(error) if error.kind() == Kind::UpstreamRejected => error,
            answer => return answer,
        };
        let Ok(metadata) = self.predictor.metadata_for(context).await else { return Err(refused) };
        let current = self.learn(metadata, articles)?;
        if *current == *plan {
            return Err(refused);
        }
        let features = current.tensors(articles, &candidates.neighbours, candidates.request)?;
        self.ask(features, candidates, articles, context).await
    }

    async fn ask(
        &self,
        features: Vec<Tensor>,
        candidates: &Candidates,
        articles: &Articles,
        context: &Context,
    ) -> Result<Scores> {
        // Some models answer with the request's id and fail where there is none.
        let id = Some(context.request_id().to_owned());
        let request = InferRequest { id, ..InferRequest::of(features) };
        let response = self.predictor.infer(&request, context).await?;
        let ids: Vec<&str> = candidates.neighbours.iter().map(|neighbour| articles.id(neighbour.row)).collect();
        let sent_ids = request.input(ARTICLE_ID).is_some();
        let answered = response.output(ARTICLE_IDS).filter(|_| sent_ids).map_or(ids.len(), |ids| ids.data().len());
        let scores = self.read(&response, answered).and_then(|scores| join(&ids, scores, &response, sent_ids));
        let scores = scores.map_err(|reason| self.predictor.invalid(reason))?;
        Ok(Scores { scores, version: response.model_version })
    }

    /// The score of each row of an answer, of which there should be so many.
    fn read(&self, response: &InferResponse, rows: usize) -> Result<Vec<f32>, String> {
        let output = response.output(&self.output).ok_or_else(|| format!("no output `{}`", self.output))?;
        let values =
            floats(output).ok_or_else(|| format!("output `{}` is {}", self.output, output.datatype().name()))?;
        let scores = match *output.shape() {
            [_] | [_, 1] => values,
            // One row of all the scores, unless it is one candidate's classes.
            [1, scores] if scores == rows && self.column.is_none() => values,
            [_, classes] => {
                let column = self.column.unwrap_or(classes.saturating_sub(1));
                if column >= classes {
                    return Err(format!("output `{}` has {classes} columns, none numbered {column}", self.output));
                }
                values.into_iter().skip(column).step_by(classes).collect()
            }
            _ => return Err(format!("output `{}` has shape {:?}", self.output, output.shape())),
        };
        if scores.iter().all(|score| score.is_finite()) {
            Ok(scores)
        } else {
            Err("a score that is no number".to_owned())
        }
    }

    /// Looks after the predictor, and at what it takes, until another ranker does.
    pub(crate) async fn watch(&self, articles: &Articles, dependency: &Dependency) {
        let probe = Probe { what: "ranker", ..Probe::default() };
        dependency.watch(probe, |context| self.look(articles, context)).await;
    }

    async fn look(&self, articles: &Articles, context: Context) -> Result<()> {
        self.predictor.ready(&context).await?;
        self.learn(self.predictor.metadata(&context).await?, articles).map(drop)
    }
}

fn floats(output: &Tensor) -> Option<Vec<f32>> {
    match output.data() {
        Data::Fp32(values) => Some(values.clone()),
        Data::Fp16(values) => Some(values.iter().map(|value| value.to_f32()).collect()),
        Data::Bf16(values) => Some(values.iter().map(|value| value.to_f32()).collect()),
        #[allow(clippy::cast_possible_truncation)] // scores are FP32 in every answer
        Data::Fp64(values) => Some(values.iter().map(|&value| value as f32).collect()),
        _ => None,
    }
}

/// Scores by candidate. A ranker that names its rows may leave some out and order them as it likes; one that does not must answer
/// every row in order.
fn join(ids: &[&str], scores: Vec<f32>, response: &InferResponse, sent_ids: bool) -> Result<Vec<Option<f32>>, String> {
    let Some(output) = response.output(ARTICLE_IDS).filter(|_| sent_ids) else {
        if scores.len() != ids.len() {
            return Err(format!("{} scores for {} candidates, and no ids", scores.len(), ids.len()));
        }
        return Ok(scores.into_iter().map(Some).collect());
    };
    let answered = positions(ids, output)?;
    if answered.len() != scores.len() {
        return Err(format!("{} scores for {} ids", scores.len(), answered.len()));
    }
    let mut joined = vec![None; ids.len()];
    for (position, score) in answered.into_iter().zip(scores) {
        let position = position.ok_or("a score for an article that was not asked about")?;
        if joined[position].replace(score).is_some() {
            return Err("two scores for one article".to_owned());
        }
    }
    Ok(joined)
}

/// The candidate that each answered id is of. Servers that keep numbers for ids drop the zeros in front.
fn positions(ids: &[&str], output: &Tensor) -> Result<Vec<Option<usize>>, String> {
    let numbered = ids.iter().enumerate();
    if let Data::Int64(answered) = output.data() {
        let by_number = numbered.filter_map(|(position, id)| Some((id.parse().ok()?, position)));
        let by_number: HashMap<i64, usize> = by_number.collect();
        return Ok(answered.iter().map(|id| by_number.get(id).copied()).collect());
    }
    let name = output.datatype().name();
    let answered = output.as_bytes().ok_or_else(|| format!("output `{ARTICLE_IDS}` is {name}"))?;
    let by_text: HashMap<&[u8], usize> = numbered.map(|(position, id)| (id.as_bytes(), position)).collect();
    Ok(answered.iter().map(|id| by_text.get(id).copied()).collect())
}

#[cfg(test)]
mod tests {
    use dataplane::{BytesData, InferResponse, Tensor};

    use super::{ARTICLE_IDS, join};

    fn named(ids: &[&str]) -> InferResponse {
        InferResponse::of(vec![Tensor::vector(ARTICLE_IDS, ids.iter().collect::<BytesData>())])
    }

    #[test]
    fn scores_find_their_article_in_whatever_order_they_come() {
        let joined = join(&["a", "b", "c"], vec![0.3, 0.1], &named(&["c", "a"]), true);
        assert_eq!(joined.unwrap(), [Some(0.1), None, Some(0.3)]);
    }

    #[test]
    fn an_answer_that_can_not_be_joined_is_refused() {
        for (scores, ids) in [(vec![0.1], vec!["x"]), (vec![0.1, 0.2], vec!["a", "a"]), (vec![0.1], vec!["a", "b"])] {
            assert!(join(&["a", "b"], scores, &named(&ids), true).is_err(), "{ids:?}");
        }
        assert!(join(&["a", "b"], vec![0.1], &InferResponse::default(), true).is_err());
        let numbers = InferResponse::of(vec![Tensor::vector(ARTICLE_IDS, vec![1, 2])]);
        assert!(join(&["a", "b"], vec![0.1, 0.2], &numbers, true).is_err());
    }

    #[test]
    fn ids_that_became_numbers_find_their_article() {
        let numbers = InferResponse::of(vec![Tensor::vector(ARTICLE_IDS, vec![20_i64, 108_775_015])]);
        let joined = join(&["0108775015", "20"], vec![0.1, 0.2], &numbers, true);
        assert_eq!(joined.unwrap(), [Some(0.2), Some(0.1)]);
        assert!(join(&["a", "20"], vec![0.1, 0.2], &numbers, true).is_err());
    }

    #[test]
    fn a_ranker_without_ids_answers_every_row_in_order() {
        assert_eq!(join(&["a", "b"], vec![0.1, 0.2], &InferResponse::default(), true).unwrap(), [Some(0.1), Some(0.2)]);
    }
}
