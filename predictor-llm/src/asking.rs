//! What holds for all calls of one request: how long it may take, what it may spend, and whose trace it is.

use std::time::Duration;

use dataplane::Context;
use tokio::time::Instant;

use crate::budget::Spend;

/// Time that is kept for writing the answer and sending it: an answer with defaults that comes too late is none.
const MOST_KEPT: Duration = Duration::from_millis(50);
/// The same as a share of what there is, for callers in a hurry.
const SHARE_KEPT: u32 = 10;

/// A request that asks the LLM, or the self-test.
pub(crate) struct Asking {
    /// The request's context, or one of the server's own.
    pub(crate) context: Context,
    /// When its answer is written with what there is.
    pub(crate) until: Instant,
    /// What it has spent.
    pub(crate) spend: Spend,
    /// Whether scores of earlier questions will do.
    pub(crate) cached: bool,
}

impl Asking {
    /// Of a request.
    pub(crate) fn of(context: &Context) -> Self {
        let kept = (context.remaining() / SHARE_KEPT).min(MOST_KEPT);
        let until = context.deadline().checked_sub(kept).unwrap_or(context.deadline());
        Self { context: context.clone(), until: until.into(), spend: Spend::default(), cached: true }
    }

    /// Of the server itself, which wants to know how the LLM answers now.
    pub(crate) fn background(budget: Duration) -> Self {
        Self { cached: false, ..Self::of(&Context::background(budget)) }
    }

    /// The time that is left.
    pub(crate) fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dataplane::Context;

    use super::{Asking, MOST_KEPT};

    #[test]
    fn some_of_the_time_is_kept_for_the_answer() {
        for (budget, kept) in [(10_000, MOST_KEPT), (100, Duration::from_millis(10))] {
            let context = Context::background(Duration::from_millis(budget));
            let kept_here = context.deadline() - Asking::of(&context).until.into_std();
            assert!(kept_here <= kept && kept_here > kept / 2, "{kept_here:?}");
        }
    }
}
