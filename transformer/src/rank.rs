//! Step 6: the predictor's scores. Its metadata says what it is sent; its answers are joined by article id.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use catalog::articles::Articles;
use dataplane::{
    Context, Data, Datatype, Error, InferRequest, InferResponse, Kind, ModelMetadata, Parameter, Parameters,
    RequestedOutput, Result, Tensor, TensorMetadata,
    client::{Predictor, Protocol},
    readiness::{Dependency, Probe},
    v1::EXPLANATIONS,
};

use crate::{
    features::{ARTICLE_ID, Numbers, Plan},
    neighbours::Candidates,
};

/// The output that says which article a score is of.
pub(crate) const ARTICLE_IDS: &str = "article_ids";

/// What a ranker says of an answer in the parameters (V1: in the prediction) of these names.
const DEGRADED: &str = "degraded";
const DEFAULTS: &str = "defaults";
/// How much of a ranker's words goes on to the caller, in characters.
const MOST_WORDS: usize = 200;

/// For so long a refusal is a ranker's word.
const ITS_WORD: Duration = Duration::from_secs(1);

/// A predictor that ranks.
pub(crate) struct Ranker {
    predictor: Predictor,
    output: String,
    column: Option<usize>,
    /// Inputs of a predictor that lists none.
    default_inputs: ModelMetadata,
    /// The numbers that the bundle defines.
    numbers: Arc<Numbers>,
    /// What to send it, or why nothing of what is here will do; nothing before it has been asked.
    plan: RwLock<Option<Known>>,
    /// When it last refused a request whatever was done about it.
    refused: Mutex<Option<Instant>>,
    /// How many candidates it scored when it left some out; 0 where it scored all, or was not asked yet.
    most: AtomicUsize,
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
    /// Why all of them are a default, as the ranker says it.
    pub(crate) degraded: Option<String>,
    /// How many of them are a default, where any is.
    pub(crate) defaults: Option<u64>,
}

impl Ranker {
    /// A ranker that has not been asked anything yet.
    pub(crate) fn new(
        predictor: Predictor,
        output: ScoreOutput,
        default_inputs: ModelMetadata,
        numbers: Arc<Numbers>,
    ) -> Self {
        let ScoreOutput { name, column } = output;
        Self {
            predictor,
            output: name,
            column,
            default_inputs,
            numbers,
            plan: RwLock::default(),
            refused: Mutex::default(),
            most: AtomicUsize::new(0),
        }
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
            as_over_v1(&mut metadata);
        }
        let plan = Plan::new(&metadata, articles, &self.numbers).map(Arc::new);
        // A plan that no longer holds is forgotten: what it would send, the ranker would refuse.
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Some(plan.clone());
        self.usable(plan)
    }

    fn usable(&self, known: Known) -> Result<Arc<Plan>> {
        known.map_err(|reason| Error::new(Kind::UpstreamInvalid, format!("predictor `{}` {reason}", self.name())))
    }

    /// What to send it by what it takes now, where that is no more what it was `before`. One that refuses a request may have been swapped
    /// since it was planned for.
    pub(crate) async fn replanned(
        &self,
        before: &Plan,
        articles: &Articles,
        context: &Context,
    ) -> Option<Result<Arc<Plan>>> {
        let metadata = self.predictor.metadata_for(context).await.ok()?;
        let current = self.learn(metadata, articles);
        Some(current).filter(|current| current.as_deref().map_or(true, |current| current != before))
    }

    /// Whether a refusal may be the end of one that is swapped. Not where it just refused all that was tried: then it is its word.
    pub(crate) fn may_be_swapped(&self) -> bool {
        let last = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| last.elapsed() > ITS_WORD)
    }

    /// Whether all that was tried was `refused`.
    pub(crate) fn refused(&self, refused: bool) {
        if refused {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Asks for the candidates' scores, and takes their features for it.
    pub(crate) async fn score(
        &self,
        candidates: &mut Candidates,
        articles: &Articles,
        context: &Context,
    ) -> Result<Scores> {
        let request = request(std::mem::take(&mut candidates.features), context);
        let response = self.predictor.infer(&request, context).await?;
        let ids: Vec<&str> = candidates.found.iter().map(|candidate| articles.id(candidate.row)).collect();
        let sent_ids = request.input(ARTICLE_ID).is_some();
        let answered = response.output(ARTICLE_IDS).filter(|_| sent_ids).map_or(ids.len(), |ids| ids.data().len());
        let scores = self.read(&response, answered).and_then(|scores| join(&ids, scores, &response, sent_ids));
        let scores = scores.map_err(|reason| self.predictor.invalid(reason))?;
        self.scored(&scores);
        let (degraded, defaults) = told(&response.parameters);
        Ok(Scores { scores, degraded, defaults, version: response.model_version })
    }

    /// How many candidates it scores at most, as far as its answers tell.
    pub(crate) fn most(&self) -> Option<usize> {
        Some(self.most.load(Ordering::Relaxed)).filter(|&most| most > 0)
    }

    /// Learns from an answer how many it scores. One that was asked about no more than that says nothing of it.
    fn scored(&self, scores: &[Option<f32>]) {
        let scored = scores.iter().flatten().count();
        if scored < scores.len() {
            self.most.store(scored, Ordering::Relaxed);
        } else if scored > self.most.load(Ordering::Relaxed) {
            self.most.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the ranker of this plan explains.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_explains(&self, plan: &Plan) -> Result<()> {
        let refused = || Error::new(Kind::Unimplemented, format!("predictor `{}` does not explain", self.name()));
        plan.explains.then_some(()).ok_or_else(refused)
    }

    /// Asks why it scores the rows of these features as it does: a text for each of their `ids`, nothing where it has none.
    pub(crate) async fn explain(
        &self,
        features: Vec<Tensor>,
        ids: &[&str],
        context: &Context,
    ) -> Result<Vec<Option<String>>> {
        let mut request = request(features, context);
        let sent_ids = request.input(ARTICLE_ID).is_some();
        let wanted = sent_ids.then_some(ARTICLE_IDS).into_iter().chain([EXPLANATIONS]);
        request.outputs = wanted.map(RequestedOutput::named).collect();
        let response = self.predictor.explain(&request, context).await?;
        let texts = texts(&response).and_then(|texts| join(ids, texts, &response, sent_ids));
        texts.map_err(|reason| self.predictor.invalid(reason))
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

/// What V1 knows of a model: its rows have a value for each feature.
fn as_over_v1(metadata: &mut ModelMetadata) {
    metadata.inputs.retain(|input| !input.alternative);
    if !metadata.inputs.iter().any(|input| input.name == ARTICLE_ID) {
        // The rows of a V1 instance come with their ids beside them, which are no column.
        metadata.inputs.push(TensorMetadata::new(ARTICLE_ID, Datatype::Bytes, &[-1, 1]));
        // Nor does V1 say what a model gives: who asks for explanations is told.
        metadata.outputs.push(TensorMetadata::new(EXPLANATIONS, Datatype::Bytes, &[-1]));
    }
}

/// Some models answer with the request's id and fail where there is none.
fn request(features: Vec<Tensor>, context: &Context) -> InferRequest {
    InferRequest { id: Some(context.request_id().to_owned()), ..InferRequest::of(features) }
}

/// Why all scores of an answer are a default, if they are, and how many of them are one, if any is.
fn told(parameters: &Parameters) -> (Option<String>, Option<u64>) {
    let words = parameters.get(DEGRADED).and_then(Parameter::as_str);
    let defaults = parameters.get(DEFAULTS).and_then(Parameter::as_u64);
    (words.map(|words| words.chars().take(MOST_WORDS).collect()), defaults.filter(|&count| count > 0))
}

fn texts(response: &InferResponse) -> Result<Vec<String>, String> {
    let output = response.bytes(EXPLANATIONS).ok_or_else(|| format!("no output `{EXPLANATIONS}` of BYTES"))?;
    let texts: Result<_, _> = output.iter().map(|text| std::str::from_utf8(text).map(ToOwned::to_owned)).collect();
    texts.map_err(|_| format!("output `{EXPLANATIONS}` is no UTF-8"))
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

/// What a ranker said of its rows, by candidate. One that names its rows may leave some out and order them as it likes; one that does
/// not must answer every row in order.
fn join<T>(ids: &[&str], values: Vec<T>, response: &InferResponse, sent_ids: bool) -> Result<Vec<Option<T>>, String> {
    let Some(output) = response.output(ARTICLE_IDS).filter(|_| sent_ids) else {
        if values.len() != ids.len() {
            return Err(format!("{} rows for {} candidates, and no ids", values.len(), ids.len()));
        }
        return Ok(values.into_iter().map(Some).collect());
    };
    let answered = positions(ids, output)?;
    if answered.len() != values.len() {
        return Err(format!("{} rows for {} ids", values.len(), answered.len()));
    }
    let mut joined: Vec<Option<T>> = ids.iter().map(|_| None).collect();
    for (position, value) in answered.into_iter().zip(values) {
        let position = position.ok_or("a row for an article that was not asked about")?;
        if joined[position].replace(value).is_some() {
            return Err("two rows for one article".to_owned());
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
    use dataplane::{BytesData, InferResponse, Parameters, Tensor};

    use super::{ARTICLE_IDS, MOST_WORDS, join, told};

    fn named(ids: &[&str]) -> InferResponse {
        InferResponse::of(vec![Tensor::vector(ARTICLE_IDS, ids.iter().collect::<BytesData>())])
    }

    #[test]
    fn scores_find_their_article_in_whatever_order_they_come() {
        let joined = join(&["a", "b", "c"], vec![0.3, 0.1], &named(&["c", "a"]), true);
        assert_eq!(joined.unwrap(), [Some(0.1), None, Some(0.3)]);
    }

    #[test]
    fn what_a_ranker_says_of_its_defaults_goes_on_within_bounds() {
        let said = |degraded: &str, defaults: i64| {
            told(&Parameters::from([
                ("degraded".to_owned(), degraded.into()),
                ("defaults".to_owned(), defaults.into()),
            ]))
        };
        assert_eq!(said("away", 20), (Some("away".to_owned()), Some(20)));
        assert_eq!((said("", 0).1, said("", -1).1), (None, None));
        assert_eq!(said(&"é".repeat(1000), 1).0.unwrap().chars().count(), MOST_WORDS);
        let of_other_types =
            Parameters::from([("degraded".to_owned(), true.into()), ("defaults".to_owned(), "2".into())]);
        assert_eq!((told(&of_other_types), told(&Parameters::new())), ((None, None), (None, None)));
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
