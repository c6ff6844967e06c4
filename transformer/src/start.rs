//! From settings to a model that can answer: the bundle checked and mapped, the store opened, the rankers watched.

use std::{fs, sync::Arc};

use axum::Router;
use catalog::{
    articles::Articles,
    bundle::{Bundle, QUERY_TOWER},
    customers::Customers,
    index::Index,
    store::{self, Failure, Guard, StoreError, Writer},
};
use dataplane::{
    Datatype, Error, Handler, Kind, Model,
    handler::ServerInfo,
    metrics::Metrics,
    onnx::Runtime,
    readiness::{Dependency, Readiness},
    repository::{self, Loader, Repository},
    worker::{Admission, Pool},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    args::Args,
    customer::Policy,
    events,
    facts::Facts,
    filter::{Columns, Evaluated, OutOfStockRows},
    instance::Bounds,
    ladder::Counts,
    neighbours::Retrieval,
    query::QueryTower,
    rankers::{
        Dependencies, Rankers,
        cluster::Cluster,
        directory::{Directory, Known},
    },
    recommender::Recommender,
    retention,
    shop::{self, Shop},
    stylist::{self, Stylists},
    wire,
};

/// What the store is called in health and metrics.
pub(crate) const STORE: &str = "store";
/// Events that may wait to be written.
const WAITING_EVENTS: usize = 10_000;

/// A server that is ready to be run.
pub(crate) struct Started<F> {
    /// The recommender behind it.
    pub(crate) handler: Handler,
    /// What it answers beside KServe's protocols.
    pub(crate) routes: Router,
    /// What to run once the port is had: the watch over store and rankers begins with it.
    pub(crate) background: F,
}

/// Everything but the listeners.
///
/// # Errors
/// One line on why it can't be: a setting, a bundle, a store.
pub(crate) async fn start(args: &Args) -> Result<Started<impl Future<Output = ()> + Send + use<>>, String> {
    let (metrics, readiness) = (Metrics::new().map_err(|error| error.to_string())?, Readiness::default());
    let (begin, begun) = watch::channel(false);
    let runtime = Arc::new(Runtime::load(&args.onnxruntime)?);
    let (url, reads) = args.stores()?;
    let store = store::open(&url, reads.as_ref()).await.map_err(|error| format!("--store: {error}"))?;
    let store = Arc::new(Guard::new(store));
    let facts = Arc::new(Facts::new(store.clone(), args.store_timeout, args.serves_without_store()));
    let dependencies = Dependencies::new(&readiness, &metrics, begun);
    let Ranking { known, follow } = ranking(args, &readiness, &dependencies).await?;
    let stylists = Stylists::new(args, runtime.clone(), facts.clone(), &metrics)?;
    let (has_stylist, seen) = watch::channel(false);
    let bundles = Bundles {
        args: args.clone(),
        runtime,
        has_stylist,
        facts: facts.clone(),
        dependencies,
        known,
        counts: Counts::new(&metrics).map_err(|error| error.to_string())?,
        metrics: metrics.clone(),
    };
    let repository = Repository::default().with_loaded(&args.server.model_name, Arc::new(bundles));
    let repository = repository.map_err(|error| error.reason().to_owned())?;
    if args.has_stylist() {
        stylists.publish(&repository)?;
    }
    let follow_stylist = stylists.follow(repository.clone(), seen);
    let server = ServerInfo { name: "hemline", version: env!("CARGO_PKG_VERSION") };
    let is_up = readiness.dependency(STORE, &metrics);
    let is_up = if args.serves_without_store() { is_up } else { is_up.with_latch(readiness.latch(STORE)) };
    let handler = Handler { readiness, ..Handler::new(server, repository, metrics, &args.server)? };
    let shared = Arc::new(handler.clone());
    let writer = Writer::start(store.clone(), WAITING_EVENTS, args.store_timeout);
    let shop = shop::routes(Shop {
        handler: shared.clone(),
        model: args.server.model_name.clone(),
        facts: facts.clone(),
        store: store.clone(),
        timeout: args.store_timeout,
        tells_customers: args.customer_search,
        places: Shop::places(),
    });
    let routes = events::routes(shared.clone(), writer)?.merge(stylist::routes(shared)).merge(shop);
    let retention = args.retention.clone();
    let background = async move {
        begin.send_replace(true);
        let (kept, stylist) = (retention::keep(&retention, store.as_ref()), follow_stylist);
        tokio::join!(look_after(&store, &is_up), facts.watch(), kept, follow, stylist);
    };
    Ok(Started { handler, routes, background })
}

/// What is known of rankers, and who tells of changes.
struct Ranking<F> {
    known: Known,
    follow: F,
}

/// The rankers of the flags, and of the cluster where that is asked. Without one that can be served from the server is not ready, unless
/// it degrades.
async fn ranking(
    args: &Args,
    readiness: &Readiness,
    dependencies: &Arc<Dependencies>,
) -> Result<Ranking<impl Future<Output = ()> + Send + use<>>, String> {
    let directory = Directory::from_flags(args)?;
    dependencies.follow(&directory);
    let cluster = match args.rankers_from_cluster {
        true => Some(Cluster::find(args, &directory).await?),
        false => None,
    };
    let (tell, known) = watch::channel(Arc::new(directory));
    if !args.degrades() {
        let (known, dependencies) = (known.clone(), dependencies.clone());
        readiness.condition("predictor", move || dependencies.can_serve(&known));
    }
    // What flags say may not be what the cluster does: nobody is to be answered by it meanwhile.
    let seen = cluster.as_ref().filter(|_| !args.degrades()).map(|_| readiness.latch("rankers"));
    let dependencies = dependencies.clone();
    let follow = async move {
        match cluster {
            Some(cluster) => cluster.follow(&tell, &dependencies, seen.as_ref()).await,
            None => std::future::pending().await, // what flags say is known for as long as there is a server
        }
        drop(tell);
    };
    Ok(Ranking { known, follow })
}

/// Tells whether the store can be served from. One question that is lost is no reason to send everybody elsewhere.
async fn look_after(store: &Guard, is_up: &Dependency) {
    let tell = |looked: Result<(), &StoreError>| match looked {
        Ok(()) => is_up.set(true),
        Err(error) if error.failure == Failure::Setup || store.is_away() => is_up.set(false),
        Err(_) => {}
    };
    store.watch(tell).await;
}

/// Makes a recommender of the bundle that lies in its place, at start and whenever a new one lies there.
struct Bundles {
    args: Args,
    runtime: Arc<Runtime>,
    /// Told of each bundle whether it has a stylist, where that is to be published.
    has_stylist: watch::Sender<bool>,
    facts: Arc<Facts>,
    metrics: Metrics,
    dependencies: Arc<Dependencies>,
    known: Known,
    counts: Counts,
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
        let rankers = Rankers::new(args, &bundle, &self.metrics, &retrieval, &self.dependencies, &self.known)?;
        let (rankers, follow) = rankers;
        self.has_stylist.send_replace(args.has_stylist() && manifest.stylist.is_some());
        Ok(Arc::new(Recommender {
            metadata: wire::metadata(&args.server.model_name, &bundle),
            bounds: Bounds {
                candidates: args.candidates,
                embedding_size: manifest.retrieval.embedding_size,
                rankers: rankers.now().names().clone(),
            },
            policy: Policy { unknown: args.unknown_customer, default_age: manifest.customers.default_age },
            columns: Columns::of(&retrieval.articles),
            max_instances: args.server.max_instances as usize,
            _follow: follow,
            retrieval,
            facts: self.facts.clone(),
            towers,
            rankers,
            counts: self.counts.clone(),
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
    let manifest = bundle.manifest();
    let texts = manifest.ranking.features.iter().filter(|feature| feature.datatype == Datatype::Bytes.name());
    let attributes: Vec<&str> = texts.map(|feature| feature.name.as_str()).collect();
    let articles = Articles::open(bundle, &attributes).map_err(|error| error.to_string())?;
    let customers = Customers::open(bundle).map_err(|error| error.to_string())?;
    let index = Index::open(bundle, &articles, threads).map_err(|error| error.to_string())?;
    let (out_of_stock, filters) = (OutOfStockRows::default(), Evaluated::default());
    let (history, sources) = (manifest.retrieval.history.clone(), manifest.retrieval.sources);
    let groups = manifest.customers.clone();
    Ok(Retrieval { articles, customers, index, out_of_stock, filters, history, sources, groups })
}

fn towers(runtime: &Runtime, bundle: &Bundle, threads: usize) -> Result<Vec<QueryTower>, String> {
    let model = bundle.read(QUERY_TOWER).map_err(|error| error.to_string())?;
    (0..threads).map(|_| QueryTower::load(runtime, bundle, &model)).collect()
}
