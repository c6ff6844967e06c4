//! What is known of rankers now: where each one is, and which of them answers whom. Published whole, by flags once and by a cluster
//! whenever something changes there.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    policy::{KEYS, Policy},
    setting::RankerSetting,
};
use crate::{args::Args, start::STORE};

/// The rankers and their policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Directory {
    /// The predictor's first; no two of one name.
    pub(crate) rankers: Vec<RankerSetting>,
    pub(crate) policy: Policy,
}

/// Hears of changes.
pub(crate) type Known = watch::Receiver<Arc<Directory>>;

impl Directory {
    /// As the flags have it.
    ///
    /// # Errors
    /// A line is wrong; the text names its flag.
    pub(crate) fn from_flags(args: &Args) -> Result<Self, String> {
        let rankers = [args.default_ranker()].into_iter().chain(args.ranker.iter().cloned()).collect();
        let policy = Policy::read(&args.lines(), &args.ranking_model_type);
        let policy = policy.map_err(|(key, reason)| format!("{}: {reason}", flag(key)))?;
        Ok(Self { rankers, policy })
    }

    /// Refuses a policy that names a ranker which is not there. Where rankers come and go, it may come.
    ///
    /// # Errors
    /// The text names the flag.
    pub(crate) fn check_complete(&self) -> Result<(), String> {
        let is_known = |name: &str| self.rankers.iter().any(|ranker| ranker.name == name);
        match self.policy.names().find(|(_, name)| !is_known(name)) {
            None => Ok(()),
            Some((key, name)) => {
                let known: Vec<_> = self.rankers.iter().map(|ranker| format!("`{}`", ranker.name)).collect();
                Err(format!("{}: no ranker is called `{name}`; there are {}", flag(key), known.join(", ")))
            }
        }
    }

    /// These with others beside them, and another policy. Of two with one name the one that was here stays.
    pub(crate) fn with(&self, others: impl Iterator<Item = RankerSetting>, policy: Policy) -> Self {
        let mut rankers = self.rankers.clone();
        for other in others {
            match rankers.iter().any(|ranker| ranker.name == other.name) || other.name == STORE {
                true => tracing::warn!(ranker = other.name, "a second ranker of a name is passed over"),
                false => rankers.push(other),
            }
        }
        Self { rankers, policy }
    }
}

/// The flag that says what a key of a ConfigMap says.
fn flag(key: &str) -> &'static str {
    KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, flag)| flag)
}
