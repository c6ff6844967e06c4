//! The model that this server publishes: every row of a request through the seven steps.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use catalog::{filter::Filter, store::OutOfStock};
use dataplane::{
    BytesData, Context, Error, InferRequest, InferResponse, Model, ModelMetadata, Result, Tensor,
    v1::{EXPLANATIONS, V1Codec},
    worker::Pool,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    customer::{Customer, Policy},
    explain::{EXPLAINED, Explanation, Whole, explain},
    facts::Facts,
    features::Plan,
    filter::Columns,
    instance::{Bounds, Instance, Season},
    ladder::{Counts, Failed, Rung, or_degraded, or_most_sold, ranking},
    neighbours::{Candidates, Job, Retrieval},
    order::order,
    query::QueryTower,
    rank::{ARTICLE_IDS, Ranker, Scores},
    rankers::Rankers,
    start::AbortOnDrop,
    wire::{self, Info, Instances},
};

/// Rows of one request that are under way together: enough to keep every thread busy, too few to fill the queue against others.
const ROWS_AT_ONCE: usize = 16;

/// Recommends.
pub(crate) struct Recommender {
    pub(crate) metadata: ModelMetadata,
    pub(crate) bounds: Bounds,
    /// What filters can name.
    pub(crate) columns: Columns,
    pub(crate) policy: Policy,
    pub(crate) max_instances: usize,
    pub(crate) retrieval: Arc<Retrieval>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) towers: Pool<QueryTower>,
    pub(crate) rankers: Arc<Rankers>,
    pub(crate) counts: Counts,
    /// Answer with the order of retrieval where the ranker fails, and with what is most sold where retrieval does.
    pub(crate) degrade: bool,
    /// Follows what is known of rankers for as long as this recommender is served.
    pub(crate) _follow: AbortOnDrop,
}

/// One row of a request, checked.
pub(crate) struct Question {
    pub(crate) instance: Arc<Instance>,
    pub(crate) filter: Option<Arc<Filter>>,
    pub(crate) season: Season,
    /// Whether it is its request's only row.
    pub(crate) is_alone: bool,
    /// Whether the best articles are explained too. What has no ranker to explain it has no answer then.
    pub(crate) explain: bool,
}

/// One question with what is known of who asks it.
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) customer: Arc<Customer>,
    pub(crate) out_of_stock: Arc<OutOfStock>,
    /// The store was not heard.
    pub(crate) is_stale: bool,
}

/// One answer, and what it was made of.
pub(crate) struct Ranked {
    pub(crate) answer: Answer,
    pub(crate) candidates: Candidates,
    /// By candidate; nothing where no ranker ordered them.
    pub(crate) scores: Option<Vec<Option<f32>>>,
    pub(crate) rung: Rung,
    /// Who should have ordered them, first to last.
    pub(crate) failed: Vec<Failed>,
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
    /// Why its best articles are that, where it was asked.
    pub(crate) explanation: Option<Explanation>,
}

impl Recommender {
    /// One row through the steps of the architecture page. Where the answer `degrade`s, a ranker that fails is done without.
    pub(crate) async fn ranked(
        &self,
        asked: &Asked,
        name: &str,
        ranker: Option<&Ranker>,
        plan: Result<Arc<Plan>>,
        degrade: bool,
        context: &Context,
    ) -> Result<Ranked> {
        let question = &asked.question;
        let degrade = degrade && !question.explain;
        let (mut step, mut failed) = (Step::begin(context), Vec::new());
        let plan = or_degraded(degrade, name, plan, &mut failed)?;
        let asked_of = ranker.zip(plan.as_ref());
        if let Some((ranker, plan)) = asked_of.filter(|_| question.explain) {
            ranker.check_explains(plan)?;
        }
        let (mut candidates, missed) = self.retrieve(asked, plan.clone().unwrap_or_default(), context).await?;
        if missed.is_some() {
            failed.extend(missed);
            let answer = self.ordered(question, name, &candidates, None);
            return Ok(Ranked { answer, candidates, scores: None, rung: Rung::Popularity, failed });
        }
        step.ended("retrieve");
        let context = &ranking(context, degrade);
        let scores = match asked_of {
            _ if candidates.found.is_empty() => {
                failed.clear(); // there is nothing to ask about
                Some(Scores::default())
            }
            Some((ranker, _)) => {
                let scores = ranker.score(&mut candidates, &self.retrieval.articles, context).await;
                or_degraded(degrade, name, scores, &mut failed)?
            }
            None => None,
        };
        context.predicted(step.ended("rank"));
        let by_candidate = scores.as_ref().map(|scores| scores.scores.clone());
        let rung = if scores.is_some() { Rung::Ranker } else { Rung::Retrieval };
        let mut answer = self.ordered(question, name, &candidates, scores);
        if let Some((ranker, plan)) = asked_of.filter(|_| question.explain) {
            let scores = by_candidate.as_deref().unwrap_or_default();
            let (articles, all) = (&self.retrieval.articles, order(&candidates.found, scores, usize::MAX));
            let scored = scores.iter().flatten().count();
            let told = question.instance.candidates.then_some(scores);
            let whole = Whole { all: &all, scored, explained: question.explained(), k: answer.k, told };
            let explanation = explain(ranker, plan, articles, whole, &mut candidates, context);
            answer.explanation = Some(Box::pin(explanation).await?);
            step.ended("explain");
        }
        Ok(Ranked { answer, candidates, scores: by_candidate, rung, failed })
    }

    /// Steps 2 to 5; or what is most sold, with why.
    async fn retrieve(
        &self,
        asked: &Asked,
        plan: Arc<Plan>,
        context: &Context,
    ) -> Result<(Candidates, Option<Failed>)> {
        let Asked { question, customer, out_of_stock, .. } = asked;
        let job = Job {
            retrieval: self.retrieval.clone(),
            plan,
            instance: question.instance.clone(),
            filter: question.filter.clone(),
            customer: customer.clone(),
            out_of_stock: out_of_stock.clone(),
            season: question.season,
            candidates: self.bounds.candidates,
        };
        let signals = self.retrieval.articles.signals().filter(|_| self.degrade && !question.explain);
        let most_sold = signals.map(|signals| {
            let job = job.clone();
            move || job.most_sold(signals)
        });
        // Rows of one request are retrieved side by side, on the pool's threads; one alone needs no other thread.
        let run = move |tower: &mut QueryTower| job.run(tower);
        let retrieval =
            async { if question.is_alone { self.towers.run_here(run).await? } else { self.towers.run(run).await? } };
        or_most_sold(retrieval, most_sold, context).await
    }

    /// Step 7. Without scores it is the order of the candidates.
    fn ordered(&self, question: &Question, ranker: &str, candidates: &Candidates, scores: Option<Scores>) -> Answer {
        let k = question.k().unwrap_or(self.bounds.candidates);
        let count = candidates.found.len();
        let unscored = || Scores { scores: vec![None; count], ..Scores::default() };
        let own = |words: String| format!("{ranker}: {words}");
        let Scores { scores, version, degraded, defaults } =
            scores.map(|scores| Scores { degraded: scores.degraded.map(own), ..scores }).unwrap_or_else(unscored);
        let scored = scores.iter().flatten().count();
        let ranking = order(&candidates.found, &scores, k);
        let info = Info {
            ranker: ranker.to_owned(),
            list_id: None,
            model_version: version,
            cold_start: candidates.cold_start,
            degraded,
            defaults,
            scored: (scored < count).then_some(scored),
            short: candidates.short.clone().filter(|_| ranking.len() < k),
        };
        Answer { ranking, k, info, explanation: None }
    }

    /// All rows of a request, checked before any is answered: a mistake in the last should not cost the work of the others.
    async fn answers(&self, request: &InferRequest, explain: bool, context: &Context) -> Result<Vec<Answer>> {
        let table = self.rankers.now();
        let bounds = Bounds { rankers: table.names().clone(), ..self.bounds.clone() };
        let bounds = if explain { bounds.explaining() } else { bounds };
        let instances = wire::read_instances(request, self.max_instances)?;
        let is_alone = instances.len() == 1;
        let questions = instances.into_iter().enumerate().map(|(row, instance)| {
            let checked = instance.check(&bounds).and_then(|season| Ok((season, instance.filter(&self.columns)?)));
            let checked = checked.and_then(|checked| instance.check_traced(explain).map(|()| checked));
            let (season, filter) = checked.map_err(|error| wire::at_row(error, row))?;
            Ok(Question { instance: Arc::new(instance), filter: filter.map(Arc::new), season, is_alone, explain })
        });
        let asked = self.customers(questions.collect::<Result<Vec<_>>>()?, context).await?;
        let table = table.as_ref();
        if let [asked] = asked.as_slice() {
            // Without the stream below, which wakes its own task after each look at a row.
            let answer = self.recommend(asked, table, context).await;
            return Ok(vec![answer.map_err(|error| wire::at_row(error, 0))?]);
        }
        let answers = asked.into_iter().enumerate().map(|(row, asked)| async move {
            self.recommend(&asked, table, context).await.map_err(|error| wire::at_row(error, row))
        });
        stream::iter(answers).buffered(ROWS_AT_ONCE).try_collect().await
    }

    /// Step 1, for all rows together.
    async fn customers(&self, questions: Vec<Question>, context: &Context) -> Result<Vec<Asked>> {
        let mut step = Step::begin(context);
        let ids: Vec<_> = questions.iter().map(|question| question.instance.customer_id.as_str()).collect();
        let known = self.facts.of(&ids, context).await?;
        step.ended("customer");
        let (out_of_stock, is_stale) = (known.out_of_stock, known.is_stale);
        let asked = questions.into_iter().zip(known.customers).enumerate().map(|(row, (question, known))| {
            let customer = self.policy.apply(&self.retrieval.customers, &question.instance, known, is_stale);
            let customer = Arc::new(customer.map_err(|error| wire::at_row(error, row))?);
            Ok(Asked { question, customer, out_of_stock: out_of_stock.clone(), is_stale })
        });
        asked.collect()
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
        let mut outputs = vec![
            Tensor::new(ARTICLE_IDS, vec![rows, width], ids)?,
            Tensor::new(wire::SCORES, vec![rows, width], scores)?,
            Tensor::vector(wire::COUNT, counts),
            Tensor::vector(wire::INFO, infos),
        ];
        let explanations: Vec<_> = answers.iter().filter_map(|answer| answer.explanation.as_ref()).collect();
        if !explanations.is_empty() {
            let texts = explanations.into_iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
            outputs.push(Tensor::vector(EXPLANATIONS, texts.map_err(Error::internal)?.iter().collect::<BytesData>()));
        }
        Ok(InferResponse::of(outputs))
    }
}

impl Question {
    /// How many articles are asked for, if the request says.
    fn k(&self) -> Option<usize> {
        self.instance.k.and_then(|k| usize::try_from(k).ok())
    }

    /// How many of them are explained.
    fn explained(&self) -> usize {
        self.k().unwrap_or(EXPLAINED)
    }
}

#[async_trait]
impl Model for Recommender {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse> {
        let explain = request.outputs.iter().any(|output| output.name == EXPLANATIONS);
        self.respond(&self.answers(&request, explain, context).await?)
    }

    async fn explain(&self, request: InferRequest, context: &Context) -> Result<Vec<serde_json::Value>> {
        let answers = self.answers(&request, true, context).await?;
        let explanations = answers.into_iter().map(|answer| serde_json::to_value(answer.explanation));
        explanations.collect::<Result<_, _>>().map_err(Error::internal)
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
