//! Metrics with their labels already found: a request then costs atomics only.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    Families,
    family::{Count, Durations, Family, Level},
};
use crate::context::Phases;

/// What an inference is counted as that was answered.
pub(crate) const ANSWERED: &str = "ok";

/// Where inferences of one model over one protocol are counted.
#[derive(Debug)]
pub(crate) struct InferenceMetrics {
    protocol: &'static str,
    model: String,
    families: Families,
    in_flight: Arc<Level>,
    durations: Arc<Durations>,
    // Made when there is something to count: a series of zeros for every name would only be in the way.
    answered: OnceLock<Arc<Count>>,
    phases: OnceLock<[Arc<Durations>; 3]>,
}

impl InferenceMetrics {
    fn new(families: &Families, in_flight: &Arc<Level>, protocol: &'static str, model: &str) -> Self {
        Self {
            protocol,
            model: model.to_owned(),
            families: families.clone(),
            in_flight: in_flight.clone(),
            durations: families.durations.with_label_values(&[protocol, model]),
            answered: OnceLock::new(),
            phases: OnceLock::new(),
        }
    }

    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The model's name; empty where no such model is served.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// A request is under way from now on, until it [leaves](Self::leaves).
    pub(crate) fn enters(&self) {
        self.in_flight.inc();
    }

    /// A request is under way no more.
    pub(crate) fn leaves(&self) {
        self.in_flight.dec();
    }

    /// A request ended so: `ok`, an error's stable code, or `abandoned`.
    pub(crate) fn ended(&self, code: &str, took: Duration) {
        let counter = || self.families.requests.with_label_values(&[self.protocol, &self.model, code]);
        if code == ANSWERED {
            self.answered.get_or_init(counter).inc();
        } else {
            counter().inc();
        }
        self.durations.observe(took);
    }

    /// What KServe's servers tell of it, under their names.
    pub(crate) fn kserve(&self, phases: &Phases) {
        let model = &[self.model.as_str()];
        let families = &self.families;
        let handles = || {
            [&families.preprocess, &families.predict, &families.postprocess]
                .map(|family| family.with_label_values(model))
        };
        let [preprocess, predict, postprocess] = self.phases.get_or_init(handles);
        preprocess.observe(phases.preprocess);
        if phases.explained {
            families.explain.with_label_values(model).observe(phases.predict);
        } else {
            predict.observe(phases.predict);
        }
        if let Some(seconds) = phases.postprocess {
            postprocess.observe(seconds);
        }
    }
}

/// Those that were asked for already: as many as there are models and protocols, so a walk through all of them is short.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<ArcSwap<Vec<Arc<InferenceMetrics>>>>);

impl Known {
    pub(super) fn get(
        &self,
        families: &Families,
        in_flight: &Arc<Level>,
        protocol: &'static str,
        model: &str,
    ) -> Arc<InferenceMetrics> {
        let find = |all: &[Arc<InferenceMetrics>]| {
            all.iter().find(|known| known.protocol == protocol && known.model == model).cloned()
        };
        if let Some(known) = find(&self.0.load()) {
            return known;
        }
        let new = Arc::new(InferenceMetrics::new(families, in_flight, protocol, model));
        self.0.rcu(|all| match find(all) {
            Some(_) => all.clone(),
            None => Arc::new(all.iter().cloned().chain([new.clone()]).collect()),
        });
        // Two that were made at the same time count in the same series.
        new
    }
}

/// Where steps are counted, by name.
#[derive(Debug)]
pub(crate) struct StepTimes {
    family: Family<Durations>,
    known: ArcSwap<Vec<(&'static str, Arc<Durations>)>>,
}

impl StepTimes {
    pub(super) fn new(family: Family<Durations>) -> Self {
        Self { family, known: ArcSwap::default() }
    }

    pub(crate) fn observe(&self, step: &'static str, took: Duration) {
        if let Some((_, histogram)) = self.known.load().iter().find(|(name, _)| *name == step) {
            return histogram.observe(took);
        }
        let histogram = self.family.with_label_values(&[step]);
        histogram.observe(took);
        self.known.rcu(|all| {
            let others = all.iter().filter(|(name, _)| *name != step).cloned();
            others.chain([(step, histogram.clone())]).collect::<Vec<_>>()
        });
    }
}
