//! From settings to a server that can answer, once the LLM has shown that it is there and good for something.

use std::{sync::Arc, time::Duration};

use axum::Router;
use dataplane::{
    Error, Handler, Kind,
    handler::ServerInfo,
    metrics::Metrics,
    readiness::{Dependency, Latch, Probe, Readiness},
    repository::Repository,
};
use futures_util::future::join;

use crate::{
    args::{Args, Switch},
    llm,
    metrics::StylistMetrics,
    ranker::Ranker,
    scorer::Scorer,
    selftest,
    stylist::{Stylist, route},
};

/// Seldom: some APIs are paid for and far away. While it is away, more often.
const PROBE: Probe =
    Probe { what: "LLM", interval: Duration::from_secs(5), interval_away: Duration::from_secs(1), misses: 2 };

/// What is served, and what runs beside it.
pub(crate) struct Started<F> {
    pub(crate) handler: Handler,
    /// Those that are neither V1 nor V2.
    pub(crate) routes: Router,
    pub(crate) background: F,
}

/// The models behind their handler, and what to run once the port is had: the self-test, and the watch over the LLM.
///
/// # Errors
/// One line on the setting that is wrong.
pub(crate) fn start(args: &Args) -> Result<Started<impl Future<Output = ()> + Send + use<>>, String> {
    let (metrics, readiness) = (Metrics::new().map_err(|error| error.to_string())?, Readiness::default());
    let scorer = Arc::new(Scorer::new(args, &metrics)?);
    let (dependency, tested) = (readiness.dependency(llm::NAME, &metrics), readiness.latch(llm::NAME));
    let ranker = Ranker::new(args, scorer.clone(), tested.clone());
    let mut repository = Repository::default().with(Arc::new(ranker));
    let stylist = stylist(args, &scorer, &metrics, &tested)?;
    if let Some(stylist) = &stylist {
        repository = repository.with(stylist.clone());
    }
    let server = ServerInfo { name: "hemline", version: env!("CARGO_PKG_VERSION") };
    let handler = Handler { readiness, ..Handler::new(server, repository, metrics, &args.server)? };
    let routed = |stylist| route::routes(Arc::new(handler.clone()), stylist);
    let routes = stylist.map(routed).unwrap_or_default();
    let policy = args.self_test;
    let background = async move {
        join(watch(scorer.clone(), dependency), selftest::until_passed(scorer, policy, tested)).await;
    };
    Ok(Started { handler, routes, background })
}

/// The second model, where it is wanted.
fn stylist(
    args: &Args,
    scorer: &Arc<Scorer>,
    metrics: &Metrics,
    tested: &Latch,
) -> Result<Option<Arc<Stylist>>, String> {
    if args.stylist.stylist == Switch::Off {
        return Ok(None);
    }
    if args.stylist.stylist_model == args.server.model_name {
        return Err("--stylist-model: expected another name than --model-name".to_owned());
    }
    let own = StylistMetrics::new(metrics).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(Stylist::new(args, scorer.clone(), own, tested.clone()))))
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
