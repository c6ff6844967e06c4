//! From settings to a server that can answer, once the LLM has shown that it is there and good for something.

use std::{sync::Arc, time::Duration};

use dataplane::{
    Error, Handler, Kind,
    handler::ServerInfo,
    metrics::Metrics,
    readiness::{Dependency, Probe, Readiness},
    repository::Repository,
};
use futures_util::future::join;

use crate::{args::Args, llm, ranker::Ranker, scorer::Scorer, selftest};

/// Seldom: some APIs are paid for and far away. While it is away, more often.
const PROBE: Probe =
    Probe { what: "LLM", interval: Duration::from_secs(5), interval_away: Duration::from_secs(1), misses: 2 };

/// The ranker behind its handler, and what to run once the port is had: the self-test, and the watch over the LLM.
///
/// # Errors
/// One line on the setting that is wrong.
pub(crate) fn handler(args: &Args) -> Result<(Handler, impl Future<Output = ()> + Send + use<>), String> {
    let (metrics, readiness) = (Metrics::new().map_err(|error| error.to_string())?, Readiness::default());
    let scorer = Arc::new(Scorer::new(args, &metrics)?);
    let (dependency, tested) = (readiness.dependency(llm::NAME, &metrics), readiness.latch(llm::NAME));
    let ranker = Ranker::new(args, scorer.clone(), tested.clone());
    let repository = Repository::default().with(Arc::new(ranker));
    let server = ServerInfo { name: "hemline", version: env!("CARGO_PKG_VERSION") };
    let handler = Handler { readiness, ..Handler::new(server, repository, metrics, &args.server)? };
    let policy = args.self_test;
    let background = async move {
        join(watch(scorer.clone(), dependency), selftest::until_passed(scorer, policy, tested)).await;
    };
    Ok((handler, background))
}

/// Tells whether the LLM's API answers. It never takes readiness back: an answer with defaults is better than none.
async fn watch(scorer: Arc<Scorer>, dependency: Dependency) {
    let look = async |within: Duration| {
        scorer.llm.look(within).await.map_err(|failure| {
            let text = failure.class.outage().unwrap_or("the LLM does not answer");
            Error::new(Kind::UpstreamUnavailable, text).with_detail(failure.detail)
        })
    };
    dependency.watch(PROBE, |context| look(context.remaining())).await;
}
