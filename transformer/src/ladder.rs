//! Who answers one row: the ranker that it is for, those that stand in for it, the order of retrieval where none of them could, and what is
//! most sold where retrieval could not either.

mod rung;

use std::time::Duration;

use catalog::bundle;
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
pub(crate) use rung::{Failed, Rung, WITHOUT_STORE};

/// The part of a request's time that the ranker may take where an answer is due without it.
const RANKERS_SHARE: f64 = 0.9;
/// The part of what is left of a request's time that a ranker may take which others stand in for.
const FALLBACKS_LEAVE: f64 = 0.5;
/// The part of what is left that retrieval may take where an answer is due without it: the rest is for the ranker.
const RETRIEVALS_SHARE: f64 = 0.5;

/// How often a ranker that refuses is asked anew while it may be swapped, and how much longer is waited each time.
const SWAP_ROUNDS: u32 = 8;
const SWAP_PAUSE: Duration = Duration::from_millis(5);

/// Hexadecimal digits of a list's digest.
const LIST_DIGITS: usize = 16;

/// What is counted of answers.
#[derive(Clone)]
pub(crate) struct Counts {
    answers: IntCounterVec,
    degraded: IntCounterVec,
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
            "Rankings by who ordered them (a ranker; retrieval or popularity where none could) and why it was that one: request, history, active, fallback.",
        );
        let answers = IntCounterVec::new(answers, &["ranker", "chosen_by"])?;
        metrics.register(answers.clone())?;
        let degraded = Opts::new(
            "degraded_answers_total",
            "Rankings marked `degraded` by the rung that answered (ranker, fallback, retrieval, popularity) and why it was not a better one.",
        );
        let degraded = IntCounterVec::new(degraded, &["rung", "reason"])?;
        metrics.register(degraded.clone())?;
        Ok(Self { answers, degraded, shadows: Shadows::new(metrics)? })
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
        let (last, mut failed) = (route.len() - 1, Vec::new());
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
                    failed.push(Failed::of(name, &error));
                }
                Err(error) => return Err(error),
                Ok(mut ranked) => {
                    failed.append(&mut ranked.failed);
                    ranked.failed = failed;
                    return Ok(self.told(ranked, asked, table, (name, chosen_by), context));
                }
            }
        }
        Err(Error::internal("a request without a ranker"))
    }

    /// Counts an answer, has it compared, and says in it what it lacks.
    fn told(
        &self,
        ranked: Ranked,
        asked: &Asked,
        table: &Table,
        (name, chosen_by): (&str, ChosenBy),
        context: &Context,
    ) -> Answer {
        let Ranked { mut answer, candidates, scores, rung, failed } = ranked;
        let who = rung.name().unwrap_or(name);
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
        let said = answer.info.degraded.take();
        if let Some([rung, reason]) = rung.labels(&failed, said.as_deref(), asked.is_stale) {
            self.counts.degraded.with_label_values(&[rung, reason]).inc();
        }
        answer.info.degraded = rung.words(&failed, said, asked.is_stale);
        answer.info.list_id = Some(self.list_id(who, &asked.question.instance.customer_id, &answer));
        answer
    }

    fn list_id(&self, who: &str, customer_id: &str, answer: &Answer) -> String {
        let ids = answer.ranking.iter().map(|(_, row)| self.retrieval.articles.id(*row));
        list_id(who, self.metadata.versions.first().map_or("", String::as_str), customer_id, ids)
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
        let mut plan = ranker.plan(articles, &ranking()).await;
        for round in 0_u32.. {
            let before = plan.as_ref().ok().cloned();
            let ranked = Box::pin(self.ranked(asked, name, Some(ranker), plan, degrade, context)).await;
            let (Err(refused), Some(before)) = (&ranked, before) else { return ranked };
            let is_last = round == SWAP_ROUNDS || context.remaining() < SWAP_PAUSE * 2;
            if refused.kind() != Kind::UpstreamRejected || is_last || !ranker.may_be_swapped() {
                ranker.refused(is_last && refused.kind() == Kind::UpstreamRejected);
                return ranked;
            }
            // It may be swapped just now: all is done anew, for it may want to know more. While pods of both kinds are behind one
            // address, its metadata are one's and its answer another's. So every second time nothing is asked in between, lest the
            // two always fall to the same.
            let anew = match round % 2 {
                0 => ranker.replanned(&before, articles, &ranking()).await,
                _ => None,
            };
            if anew.is_none() {
                tokio::time::sleep(SWAP_PAUSE * round).await;
            }
            plan = anew.unwrap_or(Ok(before));
        }
        Err(Error::internal("a ranker without an answer"))
    }
}

/// The name of a list: who ordered it, by the bundle of this version, and a digest of whose and of what it is.
pub(crate) fn list_id<'a>(
    who: &str,
    version: &str,
    customer_id: &'a str,
    article_ids: impl Iterator<Item = &'a str>,
) -> String {
    let content = std::iter::once(customer_id).chain(article_ids).collect::<Vec<_>>().join("\n");
    let digest = bundle::sha256(content.as_bytes());
    let digest = digest.trim_start_matches("sha256:").get(..LIST_DIGITS).unwrap_or_default();
    format!("{who}@{version}/{digest}")
}

/// The context of what a ranker is asked. Where an answer is due without it, time is left to give that.
pub(crate) fn ranking(context: &Context, degrade: bool) -> Context {
    if degrade { context.within(context.remaining().mul_f64(RANKERS_SHARE)) } else { context.clone() }
}

/// What a ranker gave; nothing where it `failed` and the answer does without. What it refused is the caller's mistake, and stays one.
pub(crate) fn or_degraded<T>(
    degrade: bool,
    ranker: &str,
    given: Result<T>,
    failed: &mut Vec<Failed>,
) -> Result<Option<T>> {
    match given {
        Err(error) if degrade && is_failure(error.kind()) => {
            tracing::warn!(ranker, code = error.kind().row().code, %error, "answered in the order of retrieval");
            failed.push(Failed::of(ranker, &error));
            Ok(None)
        }
        given => given.map(Some),
    }
}

/// What retrieval finds in its part of the time. Where there is something `most_sold` to answer with, that is the answer to its failure, which
/// is told beside it; all its failures are ours, for what a caller can get wrong was checked before.
pub(crate) async fn or_most_sold<T>(
    retrieval: impl Future<Output = Result<T>>,
    most_sold: Option<impl FnOnce() -> Result<T>>,
    context: &Context,
) -> Result<(T, Option<Failed>)> {
    let Some(most_sold) = most_sold else { return Ok((retrieval.await?, None)) };
    let share = context.remaining().mul_f64(RETRIEVALS_SHARE);
    let late = |_| Err(Error::new(Kind::DeadlineExceeded, "retrieval did not end in its part of the request's time"));
    match tokio::time::timeout(share, retrieval).await.unwrap_or_else(late) {
        Ok(found) => Ok((found, None)),
        Err(error) => {
            tracing::warn!(code = error.kind().row().code, %error, "answered with what is most sold");
            Ok((most_sold()?, Some(Failed::of(Rung::RETRIEVAL, &error))))
        }
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

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{Arc, mpsc},
        time::Duration,
    };

    use dataplane::{Context, Error, Kind, Result, worker::Pool};

    use super::or_most_sold;

    /// What the last rung says here.
    const MOST_SOLD: &str = "most sold";

    /// A pool whose one thread is busy until the sender is gone.
    async fn busy() -> (Arc<Pool<()>>, mpsc::Sender<()>) {
        let pool = Arc::new(Pool::start("test", vec![()], 1).unwrap());
        let ((release, released), (begun, began)) = (mpsc::channel::<()>(), mpsc::channel());
        let first = pool.clone();
        let work = move |(): &mut ()| {
            begun.send(()).unwrap();
            let _ = released.recv();
        };
        tokio::spawn(async move { first.run(work).await });
        tokio::task::spawn_blocking(move || began.recv().unwrap()).await.unwrap();
        (pool, release)
    }

    async fn found(pool: &Pool<()>, degrades: bool, budget: Duration) -> Result<(&'static str, Option<String>)> {
        let retrieval = async { pool.run(|()| Ok("neighbours")).await? };
        let most_sold = degrades.then_some(|| Ok(MOST_SOLD));
        let (found, failed) = or_most_sold(retrieval, most_sold, &Context::background(budget)).await?;
        Ok((found, failed.map(|failed| failed.to_string())))
    }

    #[tokio::test]
    async fn where_the_pool_is_full_what_is_most_sold_answers_and_without_it_there_is_an_error() {
        let (pool, _release) = busy().await;
        let mut waiting = pin!(pool.run(|()| ()));
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending()));
        assert!(waits.await, "the only place is taken");
        let minute = Duration::from_secs(60);
        let answer = found(&pool, true, minute).await.unwrap();
        assert_eq!(answer, (MOST_SOLD, Some("retrieval: overloaded".to_owned())));
        assert_eq!(found(&pool, false, minute).await.unwrap_err().kind(), Kind::Overloaded);
    }

    #[tokio::test]
    async fn where_the_pool_is_late_what_is_most_sold_answers_with_time_to_spare() {
        let (pool, _release) = busy().await;
        let budget = Duration::from_secs(1);
        let context = Context::background(budget);
        let answer = found(&pool, true, budget).await.unwrap();
        assert_eq!(answer, (MOST_SOLD, Some("retrieval: deadline_exceeded".to_owned())));
        assert!(!context.remaining().is_zero(), "it is in time");
    }

    #[tokio::test]
    async fn neighbours_that_come_in_time_are_the_answer() {
        let pool = Pool::start("test", vec![()], 1).unwrap();
        for degrades in [true, false] {
            assert_eq!(found(&pool, degrades, Duration::from_secs(60)).await.unwrap(), ("neighbours", None));
        }
    }

    #[tokio::test]
    async fn a_query_tower_that_fails_is_done_without() {
        let failing = async { Err::<&str, _>(Error::internal("no such tensor")) };
        let context = Context::background(Duration::from_secs(60));
        let (found, failed) = or_most_sold(failing, Some(|| Ok(MOST_SOLD)), &context).await.unwrap();
        assert_eq!((found, failed.unwrap().to_string().as_str()), (MOST_SOLD, "retrieval: internal"));
    }
}
