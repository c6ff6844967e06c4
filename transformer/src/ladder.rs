//! Who answers one row: the ranker that it is for, those that stand in for it, and the order of retrieval where none of them could.

use dataplane::{Context, Error, Kind, Result, metrics::Metrics};
use prometheus::{IntCounterVec, Opts};

use crate::{
    rank::Ranker,
    rankers::{
        Table,
        policy::ChosenBy,
        shadow::{Served, Shadows},
    },
    recommender::{Answer, Asked, Ranked, Recommender},
};

/// What answers where the ranker failed.
pub(crate) const RETRIEVAL: &str = "retrieval";
/// What an answer without the store lacks.
const WITHOUT_STORE: &str = "store: purchases unknown";
/// The part of a request's time that the ranker may take where an answer is due without it.
const RANKERS_SHARE: f64 = 0.9;
/// The part of what is left of a request's time that a ranker may take which others stand in for.
const FALLBACKS_LEAVE: f64 = 0.5;

/// What is counted of answers.
#[derive(Clone)]
pub(crate) struct Counts {
    answers: IntCounterVec,
    shadows: Shadows,
}

impl Counts {
    /// Nothing yet.
    ///
    /// # Errors
    /// The data plane has metrics of these names.
    pub(crate) fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        let answers = Opts::new(
            "ranker_answers_total",
            "Rankings by who ordered them (a ranker, or retrieval where none could) and why it was that one: request, history, active, fallback.",
        );
        let answers = IntCounterVec::new(answers, &["ranker", "chosen_by"])?;
        metrics.register(answers.clone())?;
        Ok(Self { answers, shadows: Shadows::new(metrics)? })
    }
}

impl Recommender {
    /// One row, by the ranker that it is for, or by those that stand in for it.
    pub(crate) async fn recommend(&self, asked: &Asked, table: &Table, context: &Context) -> Result<Answer> {
        let question = &asked.question;
        let purchases = (!asked.is_stale).then_some(asked.customer.purchased.len());
        let mut route = table.route(question.instance.ranker.as_deref(), &question.instance.customer_id, purchases);
        if question.explain {
            route.truncate(1); // another one's reasons are no answer
        }
        let (chosen, last) = (route[0].0, route.len() - 1);
        for (place, &(name, chosen_by)) in route.iter().enumerate() {
            let is_last = place == last;
            let within = match is_last {
                true => context.clone(),
                false => context.within(context.remaining().mul_f64(FALLBACKS_LEAVE)),
            };
            let ranker = table.find(name).map(AsRef::as_ref);
            match self.ranked_by(asked, name, ranker, self.degrade && is_last, &within).await {
                Err(error) if !is_last && is_failure(error.kind()) => {
                    tracing::warn!(ranker = name, code = error.kind().row().code, %error, "the next ranker is asked");
                }
                Err(error) => return Err(error),
                Ok(ranked) => {
                    let failed = (place > 0).then_some(chosen);
                    return Ok(self.told(ranked, asked, table, (name, chosen_by), failed, context));
                }
            }
        }
        Err(Error::internal("a request without a ranker"))
    }

    /// Counts an answer, has it compared, and says in it what it lacks. `failed` is the ranker that should have answered.
    fn told(
        &self,
        ranked: Ranked,
        asked: &Asked,
        table: &Table,
        (name, chosen_by): (&str, ChosenBy),
        failed: Option<&str>,
        context: &Context,
    ) -> Answer {
        let Ranked { mut answer, candidates, scores } = ranked;
        let who = if scores.is_some() { name } else { RETRIEVAL };
        self.counts.answers.with_label_values(&[who, chosen_by.name()]).inc();
        context.note("ranker", who);
        if let Some(scores) = scores {
            let shadows = table.shadows(name);
            if !shadows.is_empty() && answer.info.degraded.is_none() && !asked.question.explain {
                let (ranker, customer) = (name.to_owned(), asked.customer.clone());
                let served = Served { ranker, scores, candidates, customer };
                self.counts.shadows.compare(shadows, &served, &self.retrieval, context);
            }
        }
        let lacks = [asked.is_stale.then(|| WITHOUT_STORE.to_owned()), failed.map(|name| format!("{name}: failed"))];
        let lacks: Vec<_> = lacks.into_iter().flatten().chain(answer.info.degraded.take()).collect();
        answer.info.degraded = (!lacks.is_empty()).then(|| lacks.join("; "));
        answer
    }

    /// One row by this ranker and what it takes.
    async fn ranked_by(
        &self,
        asked: &Asked,
        name: &str,
        ranker: Option<&Ranker>,
        degrade: bool,
        context: &Context,
    ) -> Result<Ranked> {
        let Some(ranker) = ranker else {
            let reason = format!("predictor `{name}` is not known here");
            let plan = Err(Error::new(Kind::UpstreamUnavailable, reason));
            return self.ranked(asked, name, None, plan, degrade, context).await;
        };
        let (articles, ranking) = (&self.retrieval.articles, || ranking(context, degrade));
        let plan = ranker.plan(articles, &ranking()).await;
        let before = plan.as_ref().ok().cloned();
        match (self.ranked(asked, name, Some(ranker), plan, degrade, context).await, before) {
            (Err(refused), Some(before)) if refused.kind() == Kind::UpstreamRejected => {
                match ranker.replanned(&before, articles, &ranking()).await {
                    // It was swapped meanwhile. All is done anew, for it may want to know more.
                    Some(plan) => Box::pin(self.ranked(asked, name, Some(ranker), plan, degrade, context)).await,
                    None => Err(refused),
                }
            }
            (ranked, _) => ranked,
        }
    }
}

/// The context of what a ranker is asked. Where an answer is due without it, time is left to give that.
pub(crate) fn ranking(context: &Context, degrade: bool) -> Context {
    if degrade { context.within(context.remaining().mul_f64(RANKERS_SHARE)) } else { context.clone() }
}

/// What the ranker gave; nothing where it failed and the answer does without. What it refused is the caller's mistake, and stays one.
pub(crate) fn or_degraded<T>(degrade: bool, given: Result<T>) -> Result<Option<T>> {
    match given {
        Err(error) if degrade && is_failure(error.kind()) => {
            tracing::warn!(code = error.kind().row().code, %error, "answered in the order of retrieval");
            Ok(None)
        }
        given => given.map(Some),
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
