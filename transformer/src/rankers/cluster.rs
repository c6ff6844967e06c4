//! Rankers that come and go with their InferenceServices, and the policy in a ConfigMap: both are watched, so no switch needs a restart.
//!
//! An InferenceService is a ranker by its label [`LABEL`], whose value is the ranker's name. Its address is the one that KServe gives it;
//! annotations say what else is needed to ask it. While the API server is away, what was seen last stays.

use std::{collections::BTreeMap, fmt, sync::Arc};

use dataplane::readiness::Latch;
use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watch_object, watcher},
    },
};
use serde_json::Value;
use tokio::sync::watch::Sender;

use super::{
    directory::Directory,
    policy::{KEYS, Lines, Policy},
    setting::{RankerSetting, read_protocol},
    table::Dependencies,
};
use crate::args::{Args, PredictorProtocol};

/// The label that makes an InferenceService a ranker.
pub(crate) const LABEL: &str = "hemline.io/ranker";
/// The model to ask it for; its own name where it does not say.
const MODEL: &str = "hemline.io/model";
/// How it is spoken to; V2 where it does not say.
const PROTOCOL: &str = "hemline.io/protocol";

/// What a cluster says of rankers.
pub(crate) struct Cluster {
    client: Client,
    config_map: String,
    /// As the flags have it: what the cluster says stands over it.
    base: Directory,
    lines: Lines,
    default: String,
}

/// What has been seen by now. Both parts must have been before anything is told.
#[derive(Default)]
struct Seen {
    rankers: Option<BTreeMap<String, DynamicObject>>,
    /// The keys of the ConfigMap; nothing where there is none.
    keys: Option<BTreeMap<String, String>>,
    /// The last policy that could be read.
    policy: Option<Policy>,
}

/// Something was seen.
enum Sight {
    Rankers(BTreeMap<String, DynamicObject>),
    Keys(BTreeMap<String, String>),
}

impl Cluster {
    /// The cluster that this process runs in, or that `KUBECONFIG` names.
    ///
    /// # Errors
    /// There is none; one line that names the flag.
    pub(crate) async fn find(args: &Args, base: &Directory) -> Result<Self, String> {
        let client = Client::try_default();
        let client = client.await.map_err(|error| format!("--rankers-from-cluster: {}", chain(&error)))?;
        let config_map =
            args.ranking_config_map.clone().unwrap_or_else(|| format!("{}-ranking", args.server.model_name));
        let (lines, default) = (args.lines(), args.ranking_model_type.clone());
        Ok(Self { client, config_map, base: base.clone(), lines, default })
    }

    /// Tells what changes there, for as long as it is polled; `seen_all` is opened when all was seen once.
    pub(crate) async fn follow(
        self,
        known: &Sender<Arc<Directory>>,
        dependencies: &Dependencies,
        seen_all: Option<&Latch>,
    ) {
        let mut seen = Seen::default();
        let mut sights = stream::select(self.rankers().boxed(), self.keys().boxed());
        while let Some(sight) = sights.next().await {
            match sight {
                Sight::Rankers(rankers) => seen.rankers = Some(rankers),
                Sight::Keys(keys) => seen.keys = Some(keys),
            }
            let Some(directory) = self.directory(&mut seen) else { continue };
            if **known.borrow() != directory {
                let names: Vec<_> = directory.rankers.iter().map(|ranker| ranker.name.as_str()).collect();
                tracing::info!(rankers = names.join(","), policy = %directory.policy, "rankers changed");
                dependencies.follow(&directory);
                known.send_replace(Arc::new(directory));
            }
            if let Some(latch) = seen_all {
                latch.open();
            }
        }
    }

    /// What is to be told of what was seen; nothing until both parts were.
    fn directory(&self, seen: &mut Seen) -> Option<Directory> {
        let (Some(rankers), Some(keys)) = (&seen.rankers, &seen.keys) else { return None };
        let lines = lines(keys, &self.config_map).or(&self.lines);
        match Policy::read(&lines, &self.default) {
            Ok(policy) => seen.policy = Some(policy),
            Err((key, reason)) => {
                tracing::error!(config_map = self.config_map, key, reason, "the ranking policy stays as it was");
            }
        }
        let policy = seen.policy.clone().unwrap_or_else(|| self.base.policy.clone());
        Some(self.base.with(rankers.values().filter_map(ranker), policy))
    }

    /// All rankers, whenever one of them changes.
    fn rankers(&self) -> impl Stream<Item = Sight> + Send + use<> {
        let kind = GroupVersionKind::gvk("serving.kserve.io", "v1beta1", "InferenceService");
        let api = Api::<DynamicObject>::default_namespaced_with(self.client.clone(), &ApiResource::from_gvk(&kind));
        let events = watcher(api, watcher::Config::default().labels(LABEL)).default_backoff();
        let collected = events.scan((BTreeMap::new(), true), |(rankers, complete), event| {
            match event {
                Ok(Event::Init) => (*complete, *rankers) = (false, BTreeMap::new()),
                Ok(Event::InitDone) => *complete = true,
                Ok(Event::InitApply(service) | Event::Apply(service)) => {
                    rankers.insert(service.name_any(), service);
                }
                Ok(Event::Delete(service)) => {
                    rankers.remove(&service.name_any());
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "InferenceServices can't be watched");
                    return std::future::ready(Some(None));
                }
            }
            std::future::ready(Some(complete.then(|| Sight::Rankers(rankers.clone()))))
        });
        collected.filter_map(std::future::ready)
    }

    /// The ConfigMap's keys, whenever they change.
    fn keys(&self) -> impl Stream<Item = Sight> + Send + use<> {
        let (api, name) = (Api::<ConfigMap>::default_namespaced(self.client.clone()), self.config_map.clone());
        watch_object(api, &name).default_backoff().filter_map(move |seen| {
            std::future::ready(match seen {
                Ok(config_map) => Some(Sight::Keys(config_map.and_then(|map| map.data).unwrap_or_default())),
                Err(error) => {
                    tracing::warn!(config_map = name, error = chain(&error), "the ConfigMap can't be watched");
                    None
                }
            })
        })
    }
}

/// The lines that a ConfigMap has. Keys that mean nothing here are told of, for they were meant to.
fn lines(keys: &BTreeMap<String, String>, config_map: &str) -> Lines {
    let mut lines = Lines::default();
    for (key, text) in keys {
        match lines.get_mut(key) {
            Some(line) => *line = Some(text.clone()),
            None => {
                let known = KEYS.map(|(key, _)| key).join(", ");
                tracing::warn!(config_map, key, "a key that means nothing here: there are {known}");
            }
        }
    }
    lines
}

/// What an InferenceService is as a ranker; nothing before KServe gave it an address.
fn ranker(service: &DynamicObject) -> Option<RankerSetting> {
    let (name, annotations) = (service.name_any(), service.annotations());
    let host = service.data.pointer("/status/address/url").and_then(Value::as_str)?;
    let protocol = annotations.get(PROTOCOL).map(|protocol| read_protocol(protocol)).transpose();
    let protocol = protocol.unwrap_or_else(|reason| {
        tracing::warn!(inference_service = name, reason, "annotation {PROTOCOL} is passed over");
        None
    });
    Some(RankerSetting {
        name: service.labels().get(LABEL).filter(|label| !label.is_empty())?.clone(),
        host: host.trim_end_matches('/').to_owned(),
        model: Some(annotations.get(MODEL).unwrap_or(&name).clone()),
        protocol: protocol.or(Some(PredictorProtocol::V2)),
    })
}

/// An error with its causes: the first words alone say little.
fn chain(error: &dyn std::error::Error) -> String {
    struct Chain<'a>(&'a dyn std::error::Error);
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut last = self.0.to_string();
            f.write_str(&last)?;
            let mut next = self.0.source();
            while let Some(cause) = next {
                let text = cause.to_string();
                // Some say their cause's words as their own.
                if !last.contains(&text) {
                    write!(f, ": {text}")?;
                    last = text;
                }
                next = cause.source();
            }
            Ok(())
        }
    }
    Chain(error).to_string()
}

#[cfg(test)]
mod tests;
