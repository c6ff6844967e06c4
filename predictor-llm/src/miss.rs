//! Why a candidate has the default in place of a score: the classes that are counted, logged and told.

use std::sync::Arc;

use dataplane::Kind;

/// A class of failure. Each concerns one call, and so one candidate pointwise, or all that were asked about together listwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Miss {
    /// The answer does not say where the number is.
    NoMarker,
    /// What stands there is no number.
    NotANumber,
    /// The number is no probability.
    OutOfRange,
    /// The model, or a filter in front of it, would not answer.
    Refusal,
    /// The answer ended before the number did, by its limit of tokens.
    Truncated,
    /// The answer has no item of an outfit.
    NoItems,
    /// The answer has no probabilities of tokens. Listwise then gives way to pointwise; no candidate keeps this class.
    NoLogprobs,
    /// The request's time was over.
    Deadline,
    /// A budget was spent.
    Budget,
    /// The API failed so often that it is left alone for a moment.
    CircuitOpen,
    /// There was no connection.
    Unreachable,
    /// The call took longer than one may.
    Timeout,
    /// The API has no room.
    Overloaded,
    /// The API can't answer now.
    Unavailable,
    /// The API refused the call: the key, the model, or what was asked.
    Rejected,
    /// The API failed.
    Failed,
    /// The answer broke off.
    BrokenOff,
    /// The answer is none of the API's.
    Invalid,
}

impl Miss {
    /// Every class.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 18] = [
        Self::NoMarker,
        Self::NotANumber,
        Self::OutOfRange,
        Self::Refusal,
        Self::Truncated,
        Self::NoItems,
        Self::NoLogprobs,
        Self::Deadline,
        Self::Budget,
        Self::CircuitOpen,
        Self::Unreachable,
        Self::Timeout,
        Self::Overloaded,
        Self::Unavailable,
        Self::Rejected,
        Self::Failed,
        Self::BrokenOff,
        Self::Invalid,
    ];

    /// As metrics and logs name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoMarker => "no_marker",
            Self::NotANumber => "not_a_number",
            Self::OutOfRange => "out_of_range",
            Self::Refusal => "refusal",
            Self::Truncated => "truncated",
            Self::NoItems => "no_items",
            Self::NoLogprobs => "no_logprobs",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::CircuitOpen => "circuit_open",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::BrokenOff => "broken_off",
            Self::Invalid => "invalid",
        }
    }

    /// What a caller is told, where all candidates have the default through such failures; nothing where the LLM did answer.
    pub(crate) const fn outage(self) -> Option<&'static str> {
        match self {
            Self::NoMarker
            | Self::NotANumber
            | Self::OutOfRange
            | Self::Refusal
            | Self::Truncated
            | Self::NoItems
            | Self::NoLogprobs => None,
            Self::Deadline | Self::Timeout => Some("the LLM did not answer in time"),
            Self::Budget => Some("the budget for the LLM is spent"),
            Self::CircuitOpen => Some("the LLM keeps failing and is left alone for a moment"),
            Self::Unreachable => Some("the LLM can't be reached"),
            Self::Overloaded => Some("the LLM has no room"),
            Self::Unavailable => Some("the LLM is not ready"),
            Self::Rejected => Some("the LLM's API refused the call"),
            Self::Failed | Self::BrokenOff => Some("the LLM failed"),
            Self::Invalid => Some("the LLM's API gave an answer that can't be used"),
        }
    }

    /// What the circuit breaker is told; nothing where the API is not at fault.
    pub(crate) const fn fault(self) -> Option<Kind> {
        match self {
            Self::Unreachable | Self::Unavailable => Some(Kind::UpstreamUnavailable),
            Self::Timeout => Some(Kind::UpstreamTimeout),
            Self::Failed | Self::BrokenOff | Self::Invalid => Some(Kind::UpstreamInvalid),
            _ => None,
        }
    }
}

/// A failure with what the log may say of it.
#[derive(Clone, Debug)]
pub(crate) struct Missed {
    /// Its class.
    pub(crate) class: Miss,
    /// What the API said, where that is known; never what the model did.
    pub(crate) detail: Arc<str>,
}

impl From<Miss> for Missed {
    fn from(class: Miss) -> Self {
        Self { class, detail: "".into() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Miss;

    #[test]
    fn each_class_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Miss::ALL.iter().map(|miss| miss.name()).collect();
        assert_eq!(names.len(), Miss::ALL.len());
    }

    #[test]
    fn what_the_model_says_is_neither_an_outage_nor_a_fault() {
        for miss in [Miss::NoMarker, Miss::NotANumber, Miss::OutOfRange, Miss::Refusal, Miss::Truncated, Miss::NoItems]
        {
            assert!(miss.outage().is_none() && miss.fault().is_none(), "{miss:?}");
        }
        let faults = Miss::ALL.iter().filter(|miss| miss.fault().is_some());
        assert!(faults.clone().count() == 6 && faults.clone().all(|miss| miss.outage().is_some()));
    }
}
