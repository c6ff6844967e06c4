//! The rankers as requests see them: made for one bundle, kept as long as they are known, and looked after meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use dataplane::{
    metrics::Metrics,
    readiness::{Dependency, Readiness},
};
use tokio::sync::watch;

use super::{
    directory::{Directory, Known},
    policy::{ChosenBy, Policy},
    setting::RankerSetting,
};
use crate::{neighbours::Retrieval, rank::Ranker, start::AbortOnDrop};

/// The rankers at one moment.
pub(crate) struct Table {
    rankers: Vec<Arc<Ranker>>,
    names: Arc<[String]>,
    policy: Policy,
}

impl Table {
    pub(super) fn new(rankers: Vec<Arc<Ranker>>, policy: Policy) -> Self {
        let names = rankers.iter().map(|ranker| ranker.name().to_owned()).collect();
        Self { rankers, names, policy }
    }

    /// The one of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Ranker>> {
        self.rankers.iter().find(|ranker| ranker.name() == name)
    }

    /// Their names, the predictor's first.
    pub(crate) fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    /// Which of them answers whom.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who is asked: the one that the request names, else the policy's choice for this customer, and then those that stand in for it.
    pub(crate) fn route<'a>(
        &'a self,
        asked_for: Option<&'a str>,
        customer_id: &str,
        purchases: Option<usize>,
    ) -> Vec<(&'a str, ChosenBy)> {
        let (name, chosen_by) = match asked_for {
            Some(name) => (name, ChosenBy::Request),
            None => self.policy.choose(customer_id, purchases),
        };
        let fallback = self.policy.fallback(name).map(|name| (name, ChosenBy::Fallback));
        [(name, chosen_by)].into_iter().chain(fallback).collect()
    }

    /// Who is asked beside the one that answered, of those that are there.
    pub(crate) fn shadows(&self, answered: &str) -> Vec<Arc<Ranker>> {
        self.policy.shadows(answered).filter_map(|name| self.find(name).cloned()).collect()
    }
}

/// Whether the rankers answer, told in the health body and in metrics. They outlive the bundles that rankers are made for.
pub(crate) struct Dependencies {
    readiness: Readiness,
    metrics: Metrics,
    each: Mutex<BTreeMap<String, Dependency>>,
    /// True from when the port is had: a start that fails says just why, and nothing of rankers.
    begun: watch::Receiver<bool>,
}

impl Dependencies {
    /// None yet.
    pub(crate) fn new(readiness: &Readiness, metrics: &Metrics, begun: watch::Receiver<bool>) -> Arc<Self> {
        let (readiness, metrics) = (readiness.clone(), metrics.clone());
        Arc::new(Self { readiness, metrics, each: Mutex::default(), begun })
    }

    /// Knows of each ranker of a directory, and forgets those that it no longer has.
    pub(crate) fn follow(&self, directory: &Directory) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.retain(|name, dependency| {
            let stays = directory.rankers.iter().any(|ranker| ranker.name == *name);
            if !stays {
                self.readiness.forget(dependency);
            }
            stays
        });
        for RankerSetting { name, .. } in &directory.rankers {
            each.entry(name.clone()).or_insert_with(|| self.readiness.dependency(name, &self.metrics));
        }
    }

    /// Whether one of the rankers answers that the policy serves from.
    pub(crate) fn can_serve(&self, known: &Known) -> bool {
        let each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = known.borrow();
        directory.policy.serving().into_iter().any(|name| each.get(name).is_some_and(Dependency::is_up))
    }

    /// Looks after a ranker, once the server has begun. Who looked after its dependency before has no more say.
    pub(super) fn watch(&self, ranker: &Arc<Ranker>, retrieval: &Arc<Retrieval>) -> Option<AbortOnDrop> {
        let each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let dependency = each.get(ranker.name())?.clone();
        let (ranker, retrieval, mut begun) = (ranker.clone(), retrieval.clone(), self.begun.clone());
        Some(AbortOnDrop::spawn(async move {
            // Where the start failed, nobody begins any more.
            if begun.wait_for(|begun| *begun).await.is_ok() {
                ranker.watch(&retrieval.articles, &dependency).await;
            }
        }))
    }
}
