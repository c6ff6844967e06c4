//! From a command line to a server: settings, logs, models, serving. A wrong setting or model ends the start with one line, exit 64.

use std::{env, process::ExitCode, sync::Arc};

use clap::{Args, Parser};

use super::{block_on, run};
use crate::{
    config::{self, BatchArgs, ServerArgs},
    handler::{Handler, ServerInfo},
    metrics::Metrics,
    model::{ModelMetadata, SyncModel},
    readiness::Readiness,
    repository::Repository,
    telemetry,
    v1::TensorsCodec,
    worker::{Batching, Owned},
};

/// What [`start`] hands to whoever makes the models.
pub struct Start<'a> {
    /// The settings that every server has.
    pub server: &'a ServerArgs,
    /// How requests are computed together, as the settings ask for it.
    pub batching: Batching,
    /// What is measured; a model's queue and a predictor's calls belong into it.
    pub metrics: &'a Metrics,
    /// What the server waits for before it is ready, and the services that it asks.
    pub readiness: &'a Readiness,
}

impl Start<'_> {
    /// `models`, copies of one model, on a thread each, with the queue and the batching that the settings ask for. The model has the name
    /// in the settings where `metadata` has none, and the V1 form of any model. Returns when each copy is warm ([`SyncModel::warm_up`]):
    /// what this refuses ends the start.
    ///
    /// # Errors
    /// A thread can't be started, or a copy fails to warm up.
    pub fn on_threads<M: SyncModel>(&self, mut metadata: ModelMetadata, models: Vec<M>) -> Result<Owned<M>, String> {
        if metadata.name.is_empty() {
            metadata.name.clone_from(&self.server.model_name);
        }
        let admission = self.server.admission(self.metrics, &metadata.name);
        let name = metadata.name.clone();
        Owned::start(metadata, Arc::new(TensorsCodec), models, admission, self.batching)
            .map_err(|error| format!("model `{name}`: {}", error.reason()))
    }
}

/// The settings of a server: its own, and those that all have.
#[derive(Parser)]
struct Settings<A: Args> {
    #[command(flatten)]
    own: A,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    batch: BatchArgs,
}

/// A whole `main`: serves one model that computes, a copy on each of `--workers` threads, over every protocol, once each copy is warm.
///
/// Settings are [`ServerArgs`] and [`BatchArgs`]. The model has the name that they say, unless `metadata` has one.
pub fn model<M: SyncModel + Clone>(server: ServerInfo, metadata: ModelMetadata, model: M) -> ExitCode {
    start(server, |(): &(), start: &Start<'_>| {
        let copies = vec![model; start.server.threads()];
        Ok(Repository::default().with(Arc::new(start.on_threads(metadata, copies)?)))
    })
}

/// A whole `main`: reads settings from the command line and the environment (`A` beside [`ServerArgs`] and [`BatchArgs`]), starts logs and traces, serves
/// the models that `publish` makes until told to stop. The process's exit code.
///
/// What `publish` refuses ends the start as a wrong setting does: that one line, and [`config::EXIT_CONFIG`].
pub fn start<A: Args>(
    server: ServerInfo,
    publish: impl FnOnce(&A, &Start<'_>) -> Result<Repository, String>,
) -> ExitCode {
    let settings: Settings<A> = match config::parse(env::args_os()) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    block_on(async {
        match handler(server, &settings, publish) {
            Ok(handler) => run(handler, &settings.server, std::future::ready(())).await,
            Err(reason) => config::refuse(reason),
        }
    })
}

fn handler<A: Args>(
    server: ServerInfo,
    settings: &Settings<A>,
    publish: impl FnOnce(&A, &Start<'_>) -> Result<Repository, String>,
) -> Result<Handler, String> {
    telemetry::init(&settings.server.log_level)?;
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let readiness = Readiness::default();
    let batching = settings.batch.batching();
    let start = Start { server: &settings.server, batching, metrics: &metrics, readiness: &readiness };
    let repository = publish(&settings.own, &start)?;
    Ok(Handler { readiness, ..Handler::new(server, repository, metrics, &settings.server)? })
}
