//! From settings to a model that can answer: the bundle checked and mapped, the store opened, the predictor watched.

use std::{fs, sync::Arc};

use catalog::{
    articles::Articles,
    bundle::{Bundle, Feature, QUERY_TOWER},
    customers::Customers,
    index::Index,
    store::{self, Store},
};
use dataplane::{
    Datatype, Error, Handler, Kind, Model, ModelMetadata, TensorMetadata,
    client::{Predictor, Settings},
    handler::ServerInfo,
    metrics::Metrics,
    onnx::Runtime,
    readiness::{Dependency, Readiness},
    repository::{self, Loader, Repository},
    v1::RowsCodec,
    worker::{Admission, Pool},
};
use tokio::{sync::watch, task::JoinHandle};

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

/// The recommender behind its handler, and what to run once the port is had: the watch over its predictor begins with it.
///
/// # Errors
/// One line on why it can't be: a setting, a bundle, a store.
pub(crate) async fn handler(args: &Args) -> Result<(Handler, impl Future<Output = ()> + Send + use<>), String> {
    let (metrics, readiness) = (Metrics::new().map_err(|error| error.to_string())?, Readiness::default());
    let (begin, begun) = watch::channel(false);
    let ranking = readiness.dependency(&args.ranking_model_type, &metrics);
    let bundles = Bundles {
        args: args.clone(),
        runtime: Runtime::load(&args.onnxruntime)?,
        store: store::open(&args.store).await.map_err(|error| error.to_string())?,
        metrics: metrics.clone(),
        ranking: match args.degrades() {
            true => ranking,
            false => ranking.with_latch(readiness.latch("predictor")),
        },
        begun,
    };
    let repository = Repository::default().with_loaded(&args.server.model_name, Arc::new(bundles));
    let repository = repository.map_err(|error| error.reason().to_owned())?;
    let server = ServerInfo { name: "hemline", version: env!("CARGO_PKG_VERSION") };
    let handler = Handler { readiness, ..Handler::new(server, repository, metrics, &args.server)? };
    let background = async move {
        begin.send_replace(true);
    };
    Ok((handler, background))
}

/// Makes a recommender of the bundle that lies in its place, at start and whenever a new one lies there.
struct Bundles {
    args: Args,
    runtime: Runtime,
    store: Arc<dyn Store>,
    metrics: Metrics,
    /// Whether the predictor answers. The server is not ready without, unless it degrades.
    ranking: Dependency,
    /// True from when the port is had: a start that fails says just why, and nothing of a predictor.
    begun: watch::Receiver<bool>,
}

impl Bundles {
    fn model(&self) -> Result<Arc<dyn Model>, String> {
        let args = &self.args;
        // Through links first: a link that is switched meanwhile must not mix the files of two bundles.
        let place = fs::canonicalize(&args.model_dir).unwrap_or_else(|_| args.model_dir.clone());
        let bundle = Bundle::open(&place).map_err(|error| error.to_string())?;
        let manifest = bundle.manifest();
        let threads = args.server.threads();
        let retrieval = Arc::new(map(&bundle, threads)?);
        let admission = Admission {
            places: args.server.queue as usize,
            metrics: Some(self.metrics.queue(&args.server.model_name)),
        };
        let towers = Pool::start("retrieve", towers(&self.runtime, &bundle, threads)?, admission);
        let towers = towers.map_err(|error| format!("--workers: {error}"))?;
        let ranker = Arc::new(ranker(args, &bundle, self.metrics.clone())?);
        Ok(Arc::new(Recommender {
            metadata: wire::metadata(&args.server.model_name, &bundle),
            bounds: Bounds {
                candidates: args.candidates,
                embedding_size: manifest.retrieval.embedding_size,
                ranker: args.ranking_model_type.clone(),
            },
            policy: Policy { unknown: args.unknown_customer, default_age: manifest.customers.default_age },
            max_instances: args.server.max_instances as usize,
            _watch: self.watch(ranker.clone(), retrieval.clone()),
            retrieval,
            store: self.store.clone(),
            towers,
            ranker,
            degrade: args.degrades(),
        }))
    }

    /// Looks after the predictor as long as the recommender lives, or until the next one does.
    fn watch(&self, ranker: Arc<Ranker>, retrieval: Arc<Retrieval>) -> AbortOnDrop {
        let (mut begun, ranking) = (self.begun.clone(), self.ranking.clone());
        AbortOnDrop(tokio::spawn(async move {
            // Where the start failed, nobody begins any more.
            if begun.wait_for(|begun| *begun).await.is_ok() {
                ranker.watch(&retrieval.articles, &ranking).await;
            }
        }))
    }
}

impl Loader for Bundles {
    fn load(&self) -> dataplane::Result<Arc<dyn Model>> {
        self.model().map_err(|reason| {
            Error::new(Kind::LoadFailed, "what lies in its place can't be used; the log says why").with_detail(reason)
        })
    }

    fn fingerprint(&self) -> Option<String> {
        repository::fingerprint(&self.args.model_dir)
    }
}

/// A task that ends with whoever wanted it.
pub(crate) struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn map(bundle: &Bundle, threads: usize) -> Result<Retrieval, String> {
    let features = bundle.manifest().ranking.features.iter().map(|feature| feature.name.as_str());
    let attributes: Vec<&str> = features.filter(|name| !CONTEXT.contains(name)).collect();
    let articles = Articles::open(bundle, &attributes).map_err(|error| error.to_string())?;
    let customers = Customers::open(bundle).map_err(|error| error.to_string())?;
    let index = Index::open(bundle, &articles, threads).map_err(|error| error.to_string())?;
    Ok(Retrieval { articles, customers, index })
}

fn towers(runtime: &Runtime, bundle: &Bundle, threads: usize) -> Result<Vec<QueryTower>, String> {
    let model = bundle.read(QUERY_TOWER).map_err(|error| error.to_string())?;
    (0..threads).map(|_| QueryTower::load(runtime, bundle, &model)).collect()
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
    let (name, host) = (&args.ranking_model_type, &args.predictor_host);
    let settings = Settings { outputs: vec![output.clone(), ARTICLE_IDS.to_owned()], ..args.predictor()? };
    let predictor = Predictor::new(name, host, model, &settings, rows, metrics)
        .map_err(|reason| format!("--predictor-host: {reason}"))?;
    let output = ScoreOutput { name: output, column: args.score_column };
    let default_inputs = ModelMetadata { inputs: columns, ..ModelMetadata::default() };
    Ok(Ranker::new(predictor, output, default_inputs))
}

fn column(bundle: &Bundle, feature: &Feature) -> Result<TensorMetadata, String> {
    let datatype = Datatype::from_name(&feature.datatype).ok_or_else(|| {
        let reason = format!("ranking feature `{}`: unknown datatype `{}`", feature.name, feature.datatype);
        bundle.invalid(catalog::bundle::MANIFEST, reason).to_string()
    })?;
    Ok(TensorMetadata::new(&feature.name, datatype, &[-1, 1]))
}
