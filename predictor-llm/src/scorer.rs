//! Candidates in, scores out, by the strategy that the settings ask for and the API allows.

use std::sync::atomic::{AtomicBool, Ordering};

use dataplane::{Result, metrics::Metrics};
use tokio::time::timeout_at;

use crate::{
    api::{Api, Endpoint},
    args::{Args, Strategy},
    asking::Asking,
    cache::{ScoreCache, Scores, key},
    listwise,
    llm::Llm,
    metrics::LlmMetrics,
    miss::{Miss, Missed},
    pointwise,
    rows::Row,
    template::{LABELS, Prompt, Template},
};

/// Most candidates that a request has scored: the first, which are the best retrieved. As many as there are labels.
pub(crate) const MOST: usize = LABELS.len();

/// A candidate's score, 0 to 1, or why it has none.
pub(crate) type Score = Result<f64, Missed>;

/// The scores of a request.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    /// Of each candidate, in order.
    pub(crate) scores: Vec<Score>,
    /// How they were made.
    pub(crate) strategy: Strategy,
    /// How far several orders of the candidates agree, where there were several.
    pub(crate) tau: Option<f64>,
}

impl Scored {
    /// The failures among them.
    pub(crate) fn missed(&self) -> impl Iterator<Item = &Missed> {
        self.scores.iter().filter_map(|score| score.as_ref().err())
    }

    /// Why the LLM as a whole could not be had, where that is so: there are candidates, none has a score, and the LLM answered none.
    pub(crate) fn outage(&self) -> Option<&'static str> {
        let first = self.missed().next()?.class.outage()?;
        let all = self.missed().count() == self.scores.len();
        (all && self.missed().all(|missed| missed.class.outage().is_some())).then_some(first)
    }
}

/// Scores candidates.
pub(crate) struct Scorer {
    pub(crate) llm: Llm,
    pub(crate) template: Template,
    pub(crate) permutations: usize,
    pub(crate) metrics: LlmMetrics,
    cache: ScoreCache,
    strategy: Strategy,
    /// Listwise has given way to pointwise, for good.
    gave_way: AtomicBool,
}

impl Scorer {
    /// A scorer as the settings say.
    ///
    /// # Errors
    /// One line on the setting that is wrong.
    pub(crate) fn new(args: &Args, metrics: &Metrics) -> Result<Self, String> {
        let key_file = args.llm_api_key_file.clone();
        let endpoint = Endpoint { url: &args.llm_url, key: args.llm_api_key.as_ref(), key_file };
        let api = Api::new(endpoint, args.calls.concurrency.into())?;
        let own = LlmMetrics::new(metrics).map_err(|error| error.to_string())?;
        let scoring = &args.scoring;
        own.strategy(scoring.strategy);
        Ok(Self {
            llm: Llm::new(api, args, metrics, own.clone())?,
            template: Template::new(scoring.template.as_deref(), scoring.strategy)?,
            permutations: scoring.permutations.into(),
            cache: ScoreCache::new(scoring.cache_entries, scoring.cache_ttl, own.clone()),
            strategy: scoring.strategy,
            gave_way: AtomicBool::new(false),
            metrics: own,
        })
    }

    /// The strategy that scores now.
    pub(crate) fn strategy(&self) -> Strategy {
        if self.gave_way.load(Ordering::Relaxed) { Strategy::Pointwise } else { self.strategy }
    }

    /// The scores of at most [`MOST`] candidates. Listwise compares what one customer is shown: a single candidate, or those of several
    /// customers, are scored pointwise.
    ///
    /// # Errors
    /// A prompt can't be written.
    pub(crate) async fn score(&self, rows: &[Row], asking: &Asking) -> Result<Scored> {
        if self.strategy() == Strategy::Listwise
            && let Some(customer) = self.only_customer(rows)?
        {
            match listwise::score(self, &customer, rows, asking).await? {
                Some(scored) => return Ok(scored),
                None => self.give_way(),
            }
        }
        pointwise::score(self, rows, asking).await
    }

    /// What is said of the customer whom all candidates are for, where there are several candidates and one customer.
    fn only_customer(&self, rows: &[Row]) -> Result<Option<String>> {
        let [first, others @ ..] = rows else { return Ok(None) };
        let customer = self.template.customer(first)?;
        for other in others {
            if self.template.customer(other)? != customer {
                return Ok(None);
            }
        }
        Ok((!others.is_empty()).then_some(customer))
    }

    fn give_way(&self) {
        if !self.gave_way.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the LLM's API gives no probabilities of tokens: candidates are scored pointwise from now on"
            );
            self.metrics.strategy(Strategy::Pointwise);
        }
    }

    /// The answer to a question, from before or as `ask` gets it, no longer than there is time.
    ///
    /// # Errors
    /// Asking failed, or the time is over.
    pub(crate) async fn remembered(
        &self,
        (strategy, prompt): (Strategy, &Prompt),
        asking: &Asking,
        ask: impl Future<Output = Result<Scores, Missed>>,
    ) -> Result<Scores, Missed> {
        let answer = async {
            if !asking.cached {
                return ask.await;
            }
            let (model, settings) = (self.llm.model().await?, self.llm.settings());
            let question = [model, &settings, self.template.digest(), strategy.name(), &prompt.system, &prompt.user];
            self.cache.get(key(&question), ask).await
        };
        timeout_at(asking.until, answer).await.unwrap_or_else(|_| Err(Miss::Deadline.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Scored, Strategy};
    use crate::miss::{Miss, Missed};

    fn outage(classes: &[Option<Miss>]) -> Option<&'static str> {
        let scores = classes.iter().map(|class| class.map_or(Ok(0.5), |class| Err(Missed::from(class)))).collect();
        Scored { scores, strategy: Strategy::Pointwise, tau: None }.outage()
    }

    #[test]
    fn an_outage_is_where_no_candidate_was_answered_at_all() {
        assert_eq!(outage(&[]), None);
        assert_eq!(outage(&[None, Some(Miss::Deadline)]), None);
        assert_eq!(outage(&[Some(Miss::Deadline), Some(Miss::NoMarker)]), None);
        assert_eq!(outage(&[Some(Miss::NoMarker), Some(Miss::Deadline)]), None);
        assert_eq!(outage(&[Some(Miss::Unreachable), Some(Miss::CircuitOpen)]), Some("the LLM can't be reached"));
    }
}
