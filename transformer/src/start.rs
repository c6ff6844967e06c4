//! From settings to a model that can answer: the bundle checked and mapped, the store opened, the rankers watched.

use std::{fs, sync::Arc};

use catalog::{
    articles::Articles,
    bundle::{Bundle, QUERY_TOWER},
    customers::Customers,
    index::Index,
    store::{self, Store},
};
use dataplane::{
    Error, Handler, Kind, Model,
    handler::ServerInfo,
    metrics::Metrics,
    onnx::Runtime,
    readiness::Readiness,
    repository::{self, Loader, Repository},
    worker::{Admission, Pool},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    args::Args,
    customer::Policy,
    features::CONTEXT,
    instance::Bounds,
    neighbours::Retrieval,
    query::QueryTower,
    rankers::{Dependencies, Rankers},
    recommender::Recommender,
    wire,
};

/// The recommender behind its handler, and what to run once the port is had: the watch over its rankers begins with it.
///
/// # Errors
/// One line on why it can't be: a setting, a bundle, a store.
pub(crate) async fn handler(args: &Args) -> Result<(Handler, impl Future<Output = ()> + Send + use<>), String> {
    let (metrics, readiness) = (Metrics::new().map_err(|error| error.to_string())?, Readiness::default());
    let (begin, begun) = watch::channel(false);
    let bundles = Bundles {
        args: args.clone(),
        runtime: Runtime::load(&args.onnxruntime)?,
        store: store::open(&args.store).await.map_err(|error| error.to_string())?,
        dependencies: Dependencies::new(args, &readiness, &metrics, begun),
        metrics: metrics.clone(),
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
    dependencies: Dependencies,
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
        let rankers = Rankers::new(args, &bundle, &self.metrics)?;
        Ok(Arc::new(Recommender {
            metadata: wire::metadata(&args.server.model_name, &bundle),
            bounds: Bounds {
                candidates: args.candidates,
                embedding_size: manifest.retrieval.embedding_size,
                rankers: rankers.names(),
            },
            policy: Policy { unknown: args.unknown_customer, default_age: manifest.customers.default_age },
            max_instances: args.server.max_instances as usize,
            _watches: rankers.watch(&retrieval, &self.dependencies),
            retrieval,
            store: self.store.clone(),
            towers,
            rankers,
            degrade: args.degrades(),
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

impl AbortOnDrop {
    /// Starts it.
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

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
