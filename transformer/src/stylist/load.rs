//! From a bundle that has a stylist to the model, at start and whenever a new bundle lies in its place.

use std::{fs, sync::Arc};

use catalog::bundle::{Bundle, StylistInfo};
use dataplane::{
    Error, Kind, Model,
    metrics::Metrics,
    onnx::Runtime,
    repository::{self, Loader, Repository},
    worker::{Admission, Pool},
};
use tokio::sync::watch;

use super::{Counts, Stylist, encoder::Encoder, texts::Texts, upstream::Upstream, wire};
use crate::{args::Args, facts::Facts, filter::Columns};

/// What the model is called.
pub(crate) const MODEL: &str = "stylist";
/// Threads that encode and search: one sentence takes some milliseconds, and each thread has an encoder of its own in memory.
const THREADS: usize = 2;

/// Makes stylists of bundles that have one.
pub(crate) struct Stylists {
    args: Args,
    runtime: Arc<Runtime>,
    facts: Arc<Facts>,
    metrics: Metrics,
    upstream: Option<Arc<Upstream>>,
    counts: Counts,
}

impl Stylists {
    /// With what all of them share.
    ///
    /// # Errors
    /// The LLM's address is none; one line that names the flag.
    pub(crate) fn new(
        args: &Args,
        runtime: Arc<Runtime>,
        facts: Arc<Facts>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, String> {
        let upstream = |host| Upstream::new(host, &args.stylist_model, args.stylist_timeout, metrics).map(Arc::new);
        Ok(Arc::new(Self {
            args: args.clone(),
            runtime,
            facts,
            upstream: args.stylist_host.as_deref().map(upstream).transpose()?,
            counts: Counts::new(metrics).map_err(|error| error.to_string())?,
            metrics: metrics.clone(),
        }))
    }

    /// Serves the stylist of the bundle that lies there, if it has one.
    ///
    /// # Errors
    /// It has one that can't be used; one line that names the file.
    pub(crate) fn publish(self: &Arc<Self>, repository: &Repository) -> Result<(), String> {
        if repository.has(MODEL) || self.bundle()?.manifest().stylist.is_none() {
            return Ok(());
        }
        repository.clone().with_loaded(MODEL, self.clone()).map(drop).map_err(|error| error.reason().to_owned())
    }

    /// Publishes it as soon as a bundle has one, which is told by `seen`, for as long as it is polled.
    pub(crate) async fn follow(self: Arc<Self>, repository: Repository, mut seen: watch::Receiver<bool>) {
        while seen.wait_for(|has_one| *has_one).await.is_ok() {
            let (own, published) = (self.clone(), repository.clone());
            match tokio::task::spawn_blocking(move || own.publish(&published)).await {
                Ok(Ok(())) => return, // from now on it is loaded as all models are
                Ok(Err(reason)) => tracing::error!(model = MODEL, reason, "could not be loaded"),
                Err(error) => tracing::error!(model = MODEL, %error, "could not be loaded"),
            }
            if seen.changed().await.is_err() {
                return;
            }
        }
    }

    /// Through links first: a link that is switched meanwhile must not mix the files of two bundles.
    fn bundle(&self) -> Result<Bundle, String> {
        let place = fs::canonicalize(&self.args.model_dir).unwrap_or_else(|_| self.args.model_dir.clone());
        Bundle::open(&place).map_err(|error| error.to_string())
    }

    fn model(&self, bundle: &Bundle, info: &StylistInfo) -> Result<Arc<dyn Model>, String> {
        let threads = self.args.server.threads().min(THREADS);
        let texts = Texts::open(bundle, info, threads)?;
        let encoders = Encoder::load(&self.runtime, bundle, info, threads)?;
        let admission = Admission { places: self.args.server.queue as usize, metrics: Some(self.metrics.queue(MODEL)) };
        let encoders = Pool::start(MODEL, encoders, admission).map_err(|error| format!("--workers: {error}"))?;
        Ok(Arc::new(Stylist {
            metadata: wire::metadata(MODEL, bundle),
            columns: Columns::of(&texts.articles),
            max_instances: self.args.server.max_instances as usize,
            texts: Arc::new(texts),
            encoders,
            facts: self.facts.clone(),
            upstream: self.upstream.clone(),
            counts: self.counts.clone(),
        }))
    }
}

impl Loader for Stylists {
    fn load(&self) -> dataplane::Result<Arc<dyn Model>> {
        let failed = |text: &str, reason: String| Error::new(Kind::LoadFailed, text).with_detail(reason);
        let unusable = |reason| failed("what lies in its place can't be used; the log says why", reason);
        let bundle = self.bundle().map_err(unusable)?;
        let Some(info) = &bundle.manifest().stylist else {
            return Err(failed("the bundle in its place has no stylist", "manifest.json has no `stylist`".to_owned()));
        };
        self.model(&bundle, info).map_err(unusable)
    }

    fn fingerprint(&self) -> Option<String> {
        repository::fingerprint(&self.args.model_dir)
    }
}
