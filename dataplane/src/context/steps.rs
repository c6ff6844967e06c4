//! The time line of one answer: when its steps began and ended.

use std::{
    cell::RefCell,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::HeaderValue;

/// More steps than this are not kept; no answer here has half as many.
const MOST: usize = 12;
/// A note that is as long as this grows no more.
const LONGEST_NOTE: usize = 256;

/// From the first time that something began to the last time that it ended: rows of one request go through a step side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

impl Stretch {
    fn join(&mut self, other: Self) {
        self.begun = self.begun.min(other.begun);
        self.ended = self.ended.max(other.ended);
    }

    fn joined(known: &mut Option<Self>, other: Self) {
        known.get_or_insert(other).join(other);
    }

    fn took(self) -> Duration {
        self.ended.saturating_duration_since(self.begun)
    }
}

/// What clones of a context share. A lock that is held for nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Steps(Mutex<Known>);

#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    steps: Vec<(&'static str, Stretch)>,
    model: Option<Stretch>,
    explained: bool,
    predictor: Option<Stretch>,
    notes: Vec<(&'static str, String)>,
}

/// The parts of an answer that KServe times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phases {
    pub(crate) preprocess: Duration,
    pub(crate) predict: Duration,
    /// Nothing where the answer was a failure.
    pub(crate) postprocess: Option<Duration>,
    /// The middle part was an explanation.
    pub(crate) explained: bool,
}

impl Steps {
    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn step(&self, name: &'static str, stretch: Stretch) {
        self.change(|Known { steps, .. }| {
            if let Some((_, known)) = steps.iter_mut().find(|(known, _)| *known == name) {
                known.join(stretch);
            } else if steps.len() < MOST {
                steps.push((name, stretch));
            }
        });
    }

    pub(super) fn model(&self, stretch: Stretch, explained: bool) {
        self.change(|known| {
            Stretch::joined(&mut known.model, stretch);
            known.explained = explained;
        });
    }

    pub(super) fn predictor(&self, stretch: Stretch) {
        self.change(|known| Stretch::joined(&mut known.predictor, stretch));
    }

    /// Of one name each value once: rows of a request may differ.
    pub(super) fn note(&self, name: &'static str, value: &str) {
        self.change(|Known { notes, .. }| {
            let Some((_, values)) = notes.iter_mut().find(|(known, _)| *known == name) else {
                if notes.len() < MOST {
                    notes.push((name, value.to_owned()));
                }
                return;
            };
            if values.len() < LONGEST_NOTE && !values.split(',').any(|known| known == value) {
                values.push(',');
                values.push_str(value);
            }
        });
    }

    pub(super) fn notes(&self, tell: &mut dyn FnMut(&'static str, &str)) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.notes.iter().for_each(|(name, values)| tell(name, values));
    }

    /// What is known by now, of a request that took so long as a whole.
    pub(crate) fn timeline(&self, whole: Stretch) -> Timeline {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Timeline { known, whole }
    }
}

thread_local! {
    /// The header in the making; its memory stays with its thread.
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A request's time line when it ends.
pub(crate) struct Timeline {
    known: Known,
    whole: Stretch,
}

impl Timeline {
    /// Nothing where the model was not asked.
    pub(crate) fn phases(&self, answered: bool) -> Option<Phases> {
        let predict = self.known.predictor.or(self.known.model)?;
        let postprocess = Stretch { begun: predict.ended, ended: self.whole.ended };
        Some(Phases {
            preprocess: Stretch { begun: self.whole.begun, ended: predict.begun }.took(),
            predict: predict.took(),
            postprocess: answered.then(|| postprocess.took()),
            explained: self.known.explained,
        })
    }

    /// The `server-timing` header: decode, infer and the steps in it, encode, total; in ms.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        TEXT.with_borrow_mut(|text| {
            text.clear();
            self.write(text);
            HeaderValue::from_bytes(text).ok()
        })
    }

    fn write(&self, text: &mut Vec<u8>) {
        if let Some(model) = self.known.model {
            write(text, b"decode", Stretch { begun: self.whole.begun, ended: model.begun });
            write(text, b", infer", model);
        }
        for &(name, step) in &self.known.steps {
            if !text.is_empty() {
                text.extend_from_slice(b", ");
            }
            write(text, name.as_bytes(), step);
        }
        if let Some(model) = self.known.model {
            write(text, b", encode", Stretch { begun: model.ended, ended: self.whole.ended });
        }
        let total: &[u8] = if text.is_empty() { b"total" } else { b", total" };
        write(text, total, self.whole);
    }
}

fn write(text: &mut Vec<u8>, name: &[u8], stretch: Stretch) {
    text.extend_from_slice(name);
    text.extend_from_slice(b";dur=");
    push_millis(text, stretch.took());
}

/// Milliseconds with three decimals. By hand: `write!` takes five times as long, and this is done for every answer.
fn push_millis(text: &mut Vec<u8>, took: Duration) {
    let digit = |number: u32| b'0' + (number % 10) as u8;
    let micros = took.subsec_micros();
    let tens = took.as_secs().saturating_mul(100) + u64::from(micros / 10_000);
    if tens > 0 {
        text.extend_from_slice(tens.to_string().as_bytes());
    }
    text.extend_from_slice(&[digit(micros / 1000), b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MOST, Phases, Steps, Stretch, Timeline, push_millis};

    #[test]
    fn times_are_milliseconds_with_three_decimals() {
        let micros = [
            (0, "0.000"),
            (7, "0.007"),
            (1234, "1.234"),
            (10_203, "10.203"),
            (999_999, "999.999"),
            (1_002_003, "1002.003"),
            (60_000_000, "60000.000"),
            (u64::MAX, "18446744073709551.615"),
        ];
        for (micros, shown) in micros {
            let mut text = Vec::new();
            push_millis(&mut text, Duration::from_micros(micros));
            assert_eq!(String::from_utf8(text).unwrap(), shown);
        }
    }

    /// Milliseconds from a beginning.
    fn stretch(zero: Instant, begun: u64, ended: u64) -> Stretch {
        let at = |ms| zero + Duration::from_millis(ms);
        Stretch { begun: at(begun), ended: at(ended) }
    }

    fn ended(steps: &Steps, whole: Stretch) -> Timeline {
        steps.timeline(whole)
    }

    #[test]
    fn rows_that_go_side_by_side_are_one_step() {
        let (steps, zero) = (Steps::default(), Instant::now());
        steps.step("rank", stretch(zero, 3, 7));
        steps.step("retrieve", stretch(zero, 2, 3));
        steps.step("rank", stretch(zero, 4, 9));
        steps.model(stretch(zero, 2, 10), false);
        let header = ended(&steps, stretch(zero, 0, 12)).header().unwrap();
        let expected =
            "decode;dur=2.000, infer;dur=8.000, rank;dur=6.000, retrieve;dur=1.000, encode;dur=2.000, total;dur=12.000";
        assert_eq!(header, expected);
    }

    #[test]
    fn a_request_that_never_reached_the_model_has_a_total_and_no_phases() {
        let (steps, zero) = (Steps::default(), Instant::now());
        let timeline = ended(&steps, stretch(zero, 0, 1));
        assert_eq!(timeline.header().unwrap(), "total;dur=1.000");
        assert_eq!(timeline.phases(false), None);
    }

    #[test]
    fn predict_is_the_model_or_the_call_that_it_says_is_the_predictors() {
        let (steps, zero) = (Steps::default(), Instant::now());
        steps.model(stretch(zero, 1000, 4000), false);
        let phases = |answered| ended(&steps, stretch(zero, 0, 8000)).phases(answered).unwrap();
        let seconds = Duration::from_secs;
        let alone =
            Phases { preprocess: seconds(1), predict: seconds(3), postprocess: Some(seconds(4)), explained: false };
        assert_eq!(phases(true), alone);
        assert_eq!(phases(false), Phases { postprocess: None, ..alone });
        steps.predictor(stretch(zero, 2000, 3000));
        let apart =
            Phases { preprocess: seconds(2), predict: seconds(1), postprocess: Some(seconds(5)), explained: false };
        assert_eq!(phases(true), apart);
    }

    #[test]
    fn a_note_has_each_of_its_values_once() {
        let steps = Steps::default();
        for ranker in ["gbdt", "llm", "gbdt"] {
            steps.note("ranker", ranker);
        }
        let mut told = Vec::new();
        steps.notes(&mut |name, values| told.push((name, values.to_owned())));
        assert_eq!(told, [("ranker", "gbdt,llm".to_owned())]);
        (0..10_000).for_each(|number| steps.note("ranker", &number.to_string()));
        steps.notes(&mut |_, values| assert!(values.len() < 300));
    }

    #[test]
    fn more_steps_than_there_is_room_for_are_left_out() {
        let (steps, zero) = (Steps::default(), Instant::now());
        let names: Vec<&'static str> = (0..2 * MOST).map(|number| &*format!("s{number}").leak()).collect();
        names.iter().for_each(|name| steps.step(name, stretch(zero, 0, 1)));
        let header = ended(&steps, stretch(zero, 0, 1)).header().unwrap();
        assert_eq!(header.to_str().unwrap().split(", ").count(), MOST + 1);
    }
}
