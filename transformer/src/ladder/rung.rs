//! The rungs of the ladder, and how an answer from below the first one is told and counted.

use std::fmt;

use dataplane::Error;

/// What an answer without the store lacks.
pub(crate) const WITHOUT_STORE: &str = "store: purchases unknown";

/// Who ordered a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// A ranker.
    Ranker,
    /// Nobody: it is as it was retrieved, for the rankers failed.
    Retrieval,
    /// Nobody knows the customer's taste: it is what their age group buys most, for retrieval failed.
    Popularity,
}

impl Rung {
    /// What retrieval is called in answers.
    pub(crate) const RETRIEVAL: &str = "retrieval";

    /// What it is called in answers and metrics, unless it is a ranker, which has a name.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Ranker => None,
            Self::Retrieval => Some(Self::RETRIEVAL),
            Self::Popularity => Some("popularity"),
        }
    }

    /// What an answer says of its being no better: who failed, and then who answered instead where that is no ranker; or what its ranker
    /// `said` of itself.
    pub(crate) fn words(self, failed: &[Failed], said: Option<String>, is_stale: bool) -> Option<String> {
        let store = is_stale.then(|| WITHOUT_STORE.to_owned());
        let all =
            store.into_iter().chain(failed.iter().map(Failed::to_string)).chain(self.name().map(ToOwned::to_owned));
        let all: Vec<_> = all.chain(said).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Rung and reason of an answer that is marked: the last failure before it, which led to that rung; else what is wrong on the ranker's own.
    pub(crate) fn labels(self, failed: &[Failed], said: Option<&str>, is_stale: bool) -> Option<[&'static str; 2]> {
        let reason = match (failed.last(), said) {
            (Some(failed), _) => failed.code,
            (None, Some(_)) => "defaults",
            (None, None) if is_stale => "store",
            (None, None) => return None,
        };
        let rankers = if failed.is_empty() { "ranker" } else { "fallback" };
        Some([self.name().unwrap_or(rankers), reason])
    }
}

/// Who did not answer, and the code of why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    who: String,
    code: &'static str,
}

impl Failed {
    pub(crate) fn of(who: &str, error: &Error) -> Self {
        Self { who: who.to_owned(), code: error.kind().row().code }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.code)
    }
}

#[cfg(test)]
mod tests {
    use dataplane::{Error, Kind};

    use super::{Failed, Rung};

    #[test]
    fn an_answer_says_who_failed_and_who_answered_and_is_counted_by_that() {
        let failed = |who: &str, kind: Kind| Failed::of(who, &Error::new(kind, "no"));
        let llm = || failed("llm", Kind::UpstreamTimeout);
        let ranking = || failed("ranking", Kind::UpstreamUnavailable);
        let pool = || failed("retrieval", Kind::Overloaded);
        for (rung, failed, said, is_stale, told, counted) in [
            (Rung::Ranker, vec![], None, false, None, None),
            (Rung::Ranker, vec![], None, true, Some("store: purchases unknown"), Some(["ranker", "store"])),
            (Rung::Ranker, vec![], Some("llm: away"), false, Some("llm: away"), Some(["ranker", "defaults"])),
            (
                Rung::Ranker,
                vec![llm()],
                None,
                true,
                Some("store: purchases unknown; llm: upstream_timeout"),
                Some(["fallback", "upstream_timeout"]),
            ),
            (
                Rung::Retrieval,
                vec![llm(), ranking()],
                None,
                false,
                Some("llm: upstream_timeout; ranking: upstream_unavailable; retrieval"),
                Some(["retrieval", "upstream_unavailable"]),
            ),
            (
                Rung::Popularity,
                vec![pool()],
                None,
                false,
                Some("retrieval: overloaded; popularity"),
                Some(["popularity", "overloaded"]),
            ),
        ] {
            assert_eq!(rung.labels(&failed, said, is_stale), counted, "{told:?}");
            assert_eq!(rung.words(&failed, said.map(ToOwned::to_owned), is_stale).as_deref(), told);
        }
    }
}
