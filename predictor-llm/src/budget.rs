//! What may be spent: tokens a request, tokens and money a minute. A call is reckoned before it is sent and settled by what it took.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use crate::{api::Usage, args::SpendingArgs};

/// Seconds that are looked back on.
const MINUTE: u64 = 60;
/// Bytes of a prompt that are reckoned as a token. Text has more of them: what is reckoned is rather too much than too little.
const BYTES_PER_TOKEN: u64 = 3;
/// Prices are for so many tokens.
const PRICED: f64 = 1_000_000.0;

/// A budget that is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// The request's.
    Request,
    /// The minute's, in tokens.
    Tokens,
    /// The minute's, in money.
    Cost,
}

impl Exhausted {
    /// As metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Tokens => "tokens_per_minute",
            Self::Cost => "cost_per_minute",
        }
    }
}

/// What a request has spent, in tokens.
#[derive(Debug, Default)]
pub(crate) struct Spend(AtomicU64);

/// The budgets of all requests.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: SpendingArgs,
    begun: Instant,
    window: Mutex<[Second; MINUTE as usize]>,
}

/// What was spent within a second, the oldest overwritten.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    tokens: u64,
    cost: f64,
}

impl Budget {
    /// Nothing is spent yet.
    pub(crate) fn new(limits: SpendingArgs) -> Self {
        Self { limits, begun: Instant::now(), window: Mutex::new([Second::default(); MINUTE as usize]) }
    }

    /// What this cost.
    #[allow(clippy::cast_precision_loss)] // tokens of a call fit into 52 bits
    pub(crate) fn cost(&self, usage: Usage) -> f64 {
        let SpendingArgs { price_input, price_output, price_cached, .. } = self.limits;
        let priced = [
            (usage.prompt, price_input),
            (usage.cached, price_cached.unwrap_or(price_input)),
            (usage.completion, price_output),
        ];
        priced.iter().map(|&(tokens, price)| tokens as f64 * price).sum::<f64>() / PRICED
    }

    /// Sets aside what a call with a prompt of so many bytes and a completion of at most so many tokens may take. Dropped without being
    /// settled, it stays spent: what the API computed for nobody it computed all the same.
    ///
    /// # Errors
    /// A budget has less left.
    pub(crate) fn reserve<'a>(
        &'a self,
        prompt_bytes: usize,
        completion: u64,
        spend: &'a Spend,
    ) -> Result<Reserved<'a>, Exhausted> {
        let prompt = u64::try_from(prompt_bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN);
        let usage = Usage { prompt, cached: 0, completion };
        let (tokens, cost) = (usage.total(), self.cost(usage));
        let mut window = self.lock();
        let (now, spent) = (self.now(), self.spent(&*window));
        let over = |limit: Option<u64>, spent: u64| limit.is_some_and(|limit| spent.saturating_add(tokens) > limit);
        if over(self.limits.max_tokens_per_request, spend.0.load(Ordering::Relaxed)) {
            return Err(Exhausted::Request);
        }
        if over(self.limits.max_tokens_per_minute, spent.tokens) {
            return Err(Exhausted::Tokens);
        }
        if self.limits.max_cost_per_minute.is_some_and(|limit| spent.cost + cost > limit) {
            return Err(Exhausted::Cost);
        }
        spend.0.fetch_add(tokens, Ordering::Relaxed);
        let slot = &mut window[slot(now)];
        if slot.number != now {
            *slot = Second { number: now, ..Second::default() };
        }
        slot.tokens = slot.tokens.saturating_add(tokens);
        slot.cost += cost;
        Ok(Reserved { budget: self, spend, second: now, tokens, cost })
    }

    /// What was spent within the last minute.
    fn spent(&self, window: &[Second]) -> Second {
        let now = self.now();
        let recent = window.iter().filter(|second| second.number + MINUTE > now);
        recent.fold(Second::default(), |sum, second| Second {
            number: now,
            tokens: sum.tokens.saturating_add(second.tokens),
            cost: sum.cost + second.cost,
        })
    }

    /// In seconds, from one minute on: what was never written is long ago.
    fn now(&self) -> u64 {
        self.begun.elapsed().as_secs() + MINUTE
    }

    fn lock(&self) -> MutexGuard<'_, [Second; MINUTE as usize]> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(second: u64) -> usize {
    usize::try_from(second % MINUTE).unwrap_or_default()
}

/// What is set aside for a call.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    budget: &'a Budget,
    spend: &'a Spend,
    second: u64,
    tokens: u64,
    cost: f64,
}

impl Reserved<'_> {
    /// The call took this.
    pub(crate) fn settle(self, usage: Usage) {
        let (tokens, cost) = (usage.total(), self.budget.cost(usage));
        let change = |spent: u64| spent.saturating_sub(self.tokens).saturating_add(tokens);
        let _ = self.spend.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spent| Some(change(spent)));
        let mut window = self.budget.lock();
        let slot = &mut window[slot(self.second)];
        // A minute later it is another second's.
        if slot.number == self.second {
            slot.tokens = change(slot.tokens);
            slot.cost = (slot.cost - self.cost + cost).max(0.0);
        }
    }

    /// The call was not made.
    pub(crate) fn release(self) {
        self.settle(Usage::default());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Budget, Exhausted, Spend};
    use crate::{api::Usage, args::SpendingArgs};

    fn tokens(limits: SpendingArgs) -> Budget {
        Budget::new(limits)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_spend_so_much_and_the_next_one_again() {
        let budget = tokens(SpendingArgs { max_tokens_per_request: Some(100), ..SpendingArgs::default() });
        let spend = Spend::default();
        let first = budget.reserve(120, 20, &spend).unwrap(); // 60
        assert_eq!(budget.reserve(120, 20, &spend).err(), Some(Exhausted::Request));
        first.settle(Usage { prompt: 30, cached: 0, completion: 5 });
        assert!(budget.reserve(120, 20, &spend).is_ok()); // 35 + 60
        assert_eq!(budget.reserve(3, 5, &spend).err(), Some(Exhausted::Request), "what is dropped stays spent");
        budget.reserve(3, 4, &spend).unwrap().release();
        budget.reserve(3, 4, &spend).unwrap();
        budget.reserve(300, 0, &Spend::default()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_forgets_what_was_spent_before_it() {
        let budget = tokens(SpendingArgs { max_tokens_per_minute: Some(100), ..SpendingArgs::default() });
        let ask = |bytes| budget.reserve(bytes, 0, &Spend::default()).map(drop);
        ask(180).unwrap();
        advance(Duration::from_secs(30)).await;
        ask(120).unwrap();
        assert_eq!(ask(3), Err(Exhausted::Tokens));
        advance(Duration::from_secs(30)).await;
        assert_eq!(ask(183), Err(Exhausted::Tokens));
        ask(180).unwrap();
        advance(Duration::from_secs(120)).await;
        ask(300).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn money_is_reckoned_by_its_prices() {
        let limits = SpendingArgs {
            price_input: 1.0,
            price_output: 10.0,
            price_cached: Some(0.5),
            max_cost_per_minute: Some(0.001),
            ..SpendingArgs::default()
        };
        let budget = tokens(limits);
        let usage = Usage { prompt: 100, cached: 200, completion: 10 };
        assert!((budget.cost(usage) - 0.0003).abs() < 1e-12);
        let without = Budget::new(SpendingArgs { price_cached: None, ..limits });
        assert!((without.cost(usage) - 0.0004).abs() < 1e-12);
        let spend = Spend::default();
        let reserved = budget.reserve(300, 80, &spend).unwrap(); // 0.0009
        assert_eq!(budget.reserve(300, 10, &spend).err(), Some(Exhausted::Cost));
        reserved.settle(usage);
        budget.reserve(300, 10, &spend).unwrap();
    }
}
