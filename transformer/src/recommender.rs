//! The model that this server publishes: every row of a request through the seven steps.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use catalog::store::Store;
use dataplane::{
    BytesData, Context, Error, InferRequest, InferResponse, Kind, Model, ModelMetadata, Result, Tensor, v1::V1Codec,
    worker::Pool,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    customer::{self, Policy},
    instance::{Bounds, Instance, Season},
    neighbours::{Job, Retrieval},
    order::order,
    query::QueryTower,
    rank::{ARTICLE_IDS, Ranker, Scores},
    start::AbortOnDrop,
    wire::{self, Info, Instances},
};

/// Rows of one request that are under way together: enough to keep every thread busy, too few to fill the queue against others.
const ROWS_AT_ONCE: usize = 16;

/// What answers where the ranker failed.
const RETRIEVAL: &str = "retrieval";
/// The part of a request's time that the ranker may take where an answer is due without it.
const RANKERS_SHARE: f64 = 0.9;

/// Recommends.
pub(crate) struct Recommender {
    pub(crate) metadata: ModelMetadata,
    pub(crate) bounds: Bounds,
    pub(crate) policy: Policy,
    pub(crate) max_instances: usize,
    pub(crate) retrieval: Arc<Retrieval>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) towers: Pool<QueryTower>,
    pub(crate) ranker: Arc<Ranker>,
    /// Answer with the order of retrieval where the ranker fails.
    pub(crate) degrade: bool,
    /// Looks after the ranker for as long as this recommender is served.
    pub(crate) _watch: AbortOnDrop,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Score and row, best first.
    pub(crate) ranking: Vec<(f32, u32)>,
    /// How many were asked for.
    pub(crate) k: usize,
    /// What is worth knowing beside it.
    pub(crate) info: Info,
}

impl Recommender {
    /// One instance, through the steps of the architecture page.
    async fn recommend(&self, instance: Instance, season: Season, context: &Context) -> Result<Answer> {
        let k = instance.k.and_then(|k| usize::try_from(k).ok()).unwrap_or(self.bounds.candidates);
        let customers = &self.retrieval.customers;
        let mut step = Step::begin(context);
        let customer = customer::look_up(self.store.as_ref(), customers, self.policy, &instance).await?;
        let cold_start = customer.row.is_none();
        step.ended("customer");
        let context = &self.ranking(context);
        let plan = self.or_degraded(self.ranker.plan(&self.retrieval.articles, context).await)?;
        let (retrieval, candidates) = (self.retrieval.clone(), self.bounds.candidates);
        let known = plan.clone().unwrap_or_default();
        let job = Job { retrieval, plan: known, instance, customer, season, candidates };
        let mut candidates = self.towers.run(move |tower| job.run(tower)).await??;
        step.ended("retrieve");
        let scores = match plan {
            _ if candidates.neighbours.is_empty() => Some(Scores::default()), // there is nothing to ask about
            Some(plan) => {
                let scores = self.ranker.score(&mut candidates, &plan, &self.retrieval.articles, context).await;
                self.or_degraded(scores)?
            }
            None => None,
        };
        context.predicted(step.ended("rank"));
        let degraded = scores.is_none().then(|| RETRIEVAL.to_owned());
        let unscored = || Scores { scores: vec![None; candidates.neighbours.len()], version: None };
        let scores = scores.unwrap_or_else(unscored);
        let scored = scores.scores.iter().flatten().count();
        let ranking = order(&candidates.neighbours, &scores.scores, k);
        let info = Info {
            ranker: self.ranker.name().to_owned(),
            model_version: scores.version,
            cold_start,
            degraded,
            scored: (scored < candidates.neighbours.len()).then_some(scored),
            short: (ranking.len() < k).then(|| format!("{} articles are eligible", candidates.eligible)),
        };
        Ok(Answer { ranking, k, info })
    }

    /// The context of what the ranker is asked. Where an answer is due without it, time is left to give that.
    fn ranking(&self, context: &Context) -> Context {
        if self.degrade { context.within(context.remaining().mul_f64(RANKERS_SHARE)) } else { context.clone() }
    }

    /// What the ranker gave; nothing where it failed and the answer does without. What it refused is the caller's mistake, and stays one.
    fn or_degraded<T>(&self, given: Result<T>) -> Result<Option<T>> {
        match given {
            Err(error) if self.degrade && is_failure(error.kind()) => {
                tracing::warn!(code = error.kind().row().code, %error, "answered in the order of retrieval");
                Ok(None)
            }
            given => given.map(Some),
        }
    }

    fn respond(&self, answers: &[Answer]) -> Result<InferResponse> {
        let width = answers.iter().map(|answer| answer.k).max().unwrap_or_default();
        let rows = answers.len();
        let (mut ids, mut scores) = (BytesData::default(), Vec::with_capacity(rows * width));
        let (mut counts, mut infos) = (Vec::with_capacity(rows), BytesData::default());
        for answer in answers {
            for &(score, row) in &answer.ranking {
                ids.push(self.retrieval.articles.id(row));
                scores.push(score);
            }
            ids.extend(std::iter::repeat_n("", width - answer.ranking.len()));
            scores.resize(ids.len(), 0.0);
            counts.push(i32::try_from(answer.ranking.len()).map_err(Error::internal)?);
            infos.push(serde_json::to_vec(&answer.info).map_err(Error::internal)?);
        }
        Ok(InferResponse::of(vec![
            Tensor::new(ARTICLE_IDS, vec![rows, width], ids)?,
            Tensor::new(wire::SCORES, vec![rows, width], scores)?,
            Tensor::vector(wire::COUNT, counts),
            Tensor::vector(wire::INFO, infos),
        ]))
    }
}

/// Whether it is the ranker's failure, and not what it says of the request.
fn is_failure(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UpstreamUnauthenticated
            | Kind::UpstreamForbidden
            | Kind::UpstreamNotFound
            | Kind::UpstreamOverloaded
            | Kind::UpstreamUnavailable
            | Kind::UpstreamTimeout
            | Kind::UpstreamInvalid
    )
}

#[async_trait]
impl Model for Recommender {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse> {
        let instances = wire::read_instances(&request, self.max_instances)?;
        // All of them before any is answered: a mistake in the last row should not cost the work of the others.
        let checked = instances.into_iter().enumerate().map(|(row, instance)| {
            let season = instance.check(&self.bounds).map_err(|error| wire::at_row(error, row))?;
            Ok((row, instance, season))
        });
        let checked = checked.collect::<Result<Vec<_>>>()?;
        let answers = checked.into_iter().map(|(row, instance, season)| async move {
            self.recommend(instance, season, context).await.map_err(|error| wire::at_row(error, row))
        });
        let answers: Vec<Answer> = stream::iter(answers).buffered(ROWS_AT_ONCE).try_collect().await?;
        self.respond(&answers)
    }

    fn v1(&self) -> &dyn V1Codec {
        &Instances
    }
}

/// Times the steps of one answer.
struct Step<'a> {
    context: &'a Context,
    begun: Instant,
}

impl<'a> Step<'a> {
    fn begin(context: &'a Context) -> Self {
        Self { context, begun: Instant::now() }
    }

    /// What it took.
    fn ended(&mut self, name: &'static str) -> Duration {
        let begun = mem::replace(&mut self.begun, Instant::now());
        let took = self.begun - begun;
        self.context.step(name, took);
        took
    }
}
