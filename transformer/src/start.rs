//! From settings to a model that can answer: the bundle checked and mapped, the store opened, the predictor watched.

use std::sync::Arc;

use catalog::{
    articles::Articles,
    bundle::{Bundle, Feature, QUERY_TOWER},
    customers::Customers,
    index::Index,
    store,
};
use dataplane::{
    Datatype, Handler, ModelMetadata, TensorMetadata, client::Predictor, handler::ServerInfo, metrics::Metrics,
    onnx::Runtime, readiness::Readiness, repository::Repository, v1::RowsCodec, worker::Pool,
};

use crate::{
    args::Args,
    customer::Policy,
    features::{ARTICLE_ID, CONTEXT},
    instance::Bounds,
    neighbours::Retrieval,
    query::QueryTower,
    rank::{ARTICLE_IDS, Ranker, ScoreOutput},
    recommender::Recommender,
    wire,
};

/// The recommender behind its handler, and the watch over its predictor, to run beside it.
///
/// # Errors
/// One line on why it can't be: a setting, a bundle, a store.
pub(crate) async fn handler(args: &Args) -> Result<(Handler, impl Future<Output = ()> + Send + use<>), String> {
    let bundle = Bundle::open(&args.model_dir).map_err(|error| error.to_string())?;
    let manifest = bundle.manifest();
    let threads = args.server.threads();
    let retrieval = Arc::new(map(&bundle, threads)?);
    let towers = Pool::start("retrieve", towers(args, &bundle, threads)?, args.server.queue as usize);
    let towers = towers.map_err(|error| format!("--workers: {error}"))?;
    let store = store::open(&args.store).await.map_err(|error| error.to_string())?;
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let ranker = Arc::new(ranker(args, &bundle, metrics.clone())?);
    let readiness = Readiness::default();
    let watch = ranker.clone().watch(retrieval.clone(), readiness.latch("predictor"));
    let recommender = Recommender {
        metadata: wire::metadata(&args.server.model_name, &manifest.version, manifest.retrieval.embedding_size),
        bounds: Bounds {
            candidates: args.candidates,
            embedding_size: manifest.retrieval.embedding_size,
            ranker: args.ranking_model_type.clone(),
        },
        policy: Policy { unknown: args.unknown_customer, default_age: manifest.customers.default_age },
        max_instances: args.server.max_instances as usize,
        retrieval,
        store,
        towers,
        ranker,
    };
    let repository = Repository::default().with(Arc::new(recommender));
    let server = ServerInfo { name: "hemline", version: env!("CARGO_PKG_VERSION") };
    let handler = Handler { readiness, ..Handler::with_metrics(server, repository, metrics, &args.server)? };
    Ok((handler, watch))
}

fn map(bundle: &Bundle, threads: usize) -> Result<Retrieval, String> {
    let features = bundle.manifest().ranking.features.iter().map(|feature| feature.name.as_str());
    let attributes: Vec<&str> = features.filter(|name| !CONTEXT.contains(name)).collect();
    let articles = Articles::open(bundle, &attributes).map_err(|error| error.to_string())?;
    let customers = Customers::open(bundle).map_err(|error| error.to_string())?;
    let index = Index::open(bundle, &articles, threads).map_err(|error| error.to_string())?;
    Ok(Retrieval { articles, customers, index })
}

fn towers(args: &Args, bundle: &Bundle, threads: usize) -> Result<Vec<QueryTower>, String> {
    let runtime = Runtime::load(&args.onnxruntime)?;
    let model = bundle.read(QUERY_TOWER).map_err(|error| error.to_string())?;
    (0..threads).map(|_| QueryTower::load(&runtime, bundle, &model)).collect()
}

fn ranker(args: &Args, bundle: &Bundle, metrics: Metrics) -> Result<Ranker, String> {
    let ranking = &bundle.manifest().ranking;
    let columns = ranking.features.iter().map(|feature| column(bundle, feature)).collect::<Result<Vec<_>, _>>()?;
    let output = args.score_output.as_ref().unwrap_or(&ranking.output).clone();
    let rows = RowsCodec {
        rows: "ranking_features".to_owned(),
        ids: ARTICLE_IDS.to_owned(),
        id_input: ARTICLE_ID.to_owned(),
        id_output: ARTICLE_IDS.to_owned(),
        scores: "scores".to_owned(),
        score_output: output.clone(),
        columns: columns.clone(),
    };
    let model = args.predictor_model.as_ref().unwrap_or(&args.server.model_name);
    let (name, host, protocol) = (&args.ranking_model_type, &args.predictor_host, args.predictor_protocol.into());
    let predictor = Predictor::new(name, host, model, protocol, rows, metrics)
        .map_err(|reason| format!("--predictor-host: {reason}"))?;
    let output = ScoreOutput { name: output, column: args.score_column };
    let default_inputs = ModelMetadata { inputs: columns, ..ModelMetadata::default() };
    Ok(Ranker::new(predictor, output, args.predictor_request_timeout_seconds, default_inputs))
}

fn column(bundle: &Bundle, feature: &Feature) -> Result<TensorMetadata, String> {
    let datatype = Datatype::from_name(&feature.datatype).ok_or_else(|| {
        let reason = format!("ranking feature `{}`: unknown datatype `{}`", feature.name, feature.datatype);
        bundle.invalid(catalog::bundle::MANIFEST, reason).to_string()
    })?;
    Ok(TensorMetadata::new(&feature.name, datatype, &[-1, 1]))
}
