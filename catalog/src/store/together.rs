//! Questions that come while others are under way are asked together: most of what a question costs, a round trip and a statement, it
//! costs once, for however many customers. Nobody waits for others to come: who finds nobody before them asks at once.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{Fresh, Guard, Store, StoreError};

/// Customers of one question at most, so that nobody's answer waits for all too many others'.
const MOST: usize = 64;

/// A store's questions of what is [fresh](Store::fresh), at most [`Store::at_once`] of them at a time.
pub struct Together(Arc<Line>);

struct Line {
    store: Arc<Guard>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    under_way: usize,
    questions: Vec<Question>,
}

/// What one caller waits to know.
struct Question {
    customer_ids: Vec<String>,
    until: Instant,
    answer: oneshot::Sender<Result<Fresh, StoreError>>,
}

impl Together {
    /// Asks this store.
    #[must_use]
    pub fn new(store: Arc<Guard>) -> Self {
        Self(Arc::new(Line { store, waiting: Mutex::default() }))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Guard {
        &self.0.store
    }

    /// As [`Store::fresh`]; the store is asked after this was called, never before.
    ///
    /// # Errors
    /// As [`Store::fresh`].
    pub async fn fresh(&self, customer_ids: &[&str], within: Duration) -> Result<Fresh, StoreError> {
        let until = Instant::now() + within;
        let asked = self.0.turn_or(|| {
            let (answer, asked) = oneshot::channel();
            let customer_ids = customer_ids.iter().map(|&id| id.to_owned()).collect();
            (Question { customer_ids, until, answer }, asked)
        });
        match asked {
            Ok(turn) => {
                let fresh = self.0.store.fresh(customer_ids, within).await;
                drop(turn);
                fresh
            }
            Err(asked) => match timeout_at(until, asked).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Err(StoreError::slow()),
            },
        }
    }
}

impl Line {
    /// A turn to ask, or a place among those who wait for one.
    fn turn_or<W>(self: &Arc<Self>, question: impl FnOnce() -> (Question, W)) -> Result<Turn, W> {
        let mut waiting = self.lock();
        if waiting.under_way < self.store.at_once() {
            waiting.under_way += 1;
            return Ok(Turn(self.clone()));
        }
        let (question, waits) = question();
        waiting.questions.push(question);
        Err(waits)
    }

    /// Asks for all of them in one question, and gives each their own part of the answer.
    async fn ask(&self, questions: Vec<Question>) {
        let ids: Vec<&str> = questions.iter().flat_map(|question| &question.customer_ids).map(String::as_str).collect();
        let until = questions.iter().map(|question| question.until).max().unwrap_or_else(Instant::now);
        let answer = self.store.fresh(&ids, until.saturating_duration_since(Instant::now())).await;
        let mut answer = answer.map(|fresh| (fresh.customers.into_iter(), fresh.out_of_stock));
        for Question { customer_ids, answer: waits, .. } in questions {
            let own = match &mut answer {
                Ok((customers, out_of_stock)) => {
                    let customers = customers.take(customer_ids.len()).collect();
                    Ok(Fresh { customers, out_of_stock: out_of_stock.clone() })
                }
                Err(error) => Err(error.clone()),
            };
            let _ = waits.send(own); // who left wants none
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question under way. When it ends, answered or given up, those who wait are asked for.
struct Turn(Arc<Line>);

impl Drop for Turn {
    fn drop(&mut self) {
        let questions = {
            let mut waiting = self.0.lock();
            waiting.questions.retain(|question| !question.answer.is_closed());
            if waiting.questions.is_empty() {
                waiting.under_way -= 1;
                return;
            }
            waiting.next()
        };
        let turn = Self(self.0.clone());
        tokio::spawn(async move {
            turn.0.ask(questions).await;
            drop(turn);
        });
    }
}

impl Waiting {
    /// Those who have waited longest, of [`MOST`] customers if there is more than one of them.
    fn next(&mut self) -> Vec<Question> {
        let mut customers = 0;
        let fits = |question: &&Question| {
            customers += question.customer_ids.len();
            customers <= MOST
        };
        let count = self.questions.iter().take_while(fits).count().max(1);
        let later = self.questions.split_off(count);
        mem::replace(&mut self.questions, later)
    }
}

#[cfg(test)]
mod tests;
