//! What a model wrote, as a probability. Strict: whatever is not plainly one is a failure with a class.

use serde_json::Value;

use crate::{api::Chat, miss::Miss};

/// What stands before the number, in whatever case.
const MARKER: &str = "probability:";
/// The member of the JSON form.
const MEMBER: &str = "probability";

/// The probability that an answer states: JSON with the member `probability`, or a text with the marker, of which the last counts.
///
/// # Errors
/// The class of what it is instead.
pub(crate) fn probability(chat: &Chat) -> Result<f64, Miss> {
    if chat.is_refusal() {
        return Err(Miss::Refusal);
    }
    let read = without_reasoning(chat.text()).ok_or(Miss::NoMarker).and_then(read);
    match read {
        // Half of a number may look like a whole one.
        _ if chat.is_cut() && !is_whole(chat.text()) => Err(Miss::Truncated),
        read => read,
    }
}

/// Whether a text that was cut at its limit had said all by then: JSON that is closed, or a line behind the number's.
fn is_whole(text: &str) -> bool {
    let Some(text) = without_reasoning(text) else { return false };
    let json = unfenced(text);
    if json.starts_with('{') {
        return object(json).is_some();
    }
    behind_marker(text).is_some_and(|rest| rest.trim_start().contains(char::is_whitespace))
}

fn read(text: &str) -> Result<f64, Miss> {
    let json = unfenced(text);
    let number = if json.starts_with('{') { in_json(json) } else { in_text(text) }?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err(Miss::OutOfRange) }
}

/// What a thinking model says after it has thought; nothing where it never came to an end. Some templates open the thought themselves,
/// so that only its end is in the answer.
pub(crate) fn without_reasoning(text: &str) -> Option<&str> {
    match text.rfind("</think>") {
        Some(end) => text.get(end + "</think>".len()..),
        None if opens_with_reasoning(text) => None,
        None => Some(text),
    }
}

/// Whether a text begins with a thought.
pub(crate) fn opens_with_reasoning(text: &str) -> bool {
    text.trim_start().starts_with("<think>")
}

/// JSON without the fence that chat models like to put around it.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    inner.map_or(text, |inner| inner.trim_start_matches("json").trim())
}

fn object(json: &str) -> Option<serde_json::Map<String, Value>> {
    serde_json::from_str(json).ok()
}

fn in_json(json: &str) -> Result<f64, Miss> {
    let object = object(json).ok_or(Miss::NoMarker)?;
    match object.get(MEMBER) {
        None => Err(Miss::NoMarker),
        Some(Value::Number(number)) => number.as_f64().ok_or(Miss::NotANumber),
        Some(Value::String(text)) => number(text),
        Some(_) => Err(Miss::NotANumber),
    }
}

fn in_text(text: &str) -> Result<f64, Miss> {
    number(behind_marker(text).ok_or(Miss::NoMarker)?)
}

/// What stands behind the last marker.
fn behind_marker(text: &str) -> Option<&str> {
    // ASCII only: lower case of other letters may have another length, and positions would not be the same.
    let at = text.to_ascii_lowercase().rfind(MARKER)?;
    text.get(at + MARKER.len()..)
}

/// The number that a text begins with, behind blanks and marks of emphasis. What follows must not go on with it: `12%` is not 12.
fn number(text: &str) -> Result<f64, Miss> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || "*_`\"".contains(c));
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let mut rest = rest.chars();
    let goes_on = match (rest.next(), rest.next()) {
        (Some(next), _) if next.is_alphanumeric() || "%/‰".contains(next) => true,
        (Some(','), Some(next)) => next.is_ascii_digit(),
        _ => false,
    };
    if goes_on {
        return Err(Miss::NotANumber);
    }
    digits.trim_end_matches('.').parse().map_err(|_| Miss::NotANumber)
}

#[cfg(test)]
mod tests {
    use super::{probability, without_reasoning};
    use crate::{api::Chat, miss::Miss};

    fn said(text: &str) -> Result<f64, Miss> {
        probability(&Chat::saying(text, "stop"))
    }

    #[test]
    fn the_number_behind_the_last_marker_is_the_probability() {
        for (text, expected) in [
            ("Probability: 0.1234", 0.1234),
            ("probability:1", 1.0),
            ("Sure! The answer is\n**Probability:** 0.5.", 0.5),
            ("Probability: 0.9? No. Probability: `0.2`", 0.2),
            ("Probability: 1e-3, I think", 0.001),
            (r#"{"probability": 0.25}"#, 0.25),
            ("```json\n{\"probability\": \"0.75\"}\n```", 0.75),
            ("<think>Probability: 0.9?</think>\nProbability: 0.4", 0.4),
            ("I see.</think>Probability: 0.6", 0.6),
        ] {
            assert_eq!(said(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn whatever_is_not_plainly_a_probability_has_a_class() {
        for (text, expected) in [
            ("", Miss::NoMarker),
            ("0.5", Miss::NoMarker),
            (r#"{"score": 0.5}"#, Miss::NoMarker),
            (r#"{"probability": "#, Miss::NoMarker),
            ("<think>Probability: 0.9", Miss::NoMarker),
            ("Probability: high", Miss::NotANumber),
            ("Probability: ", Miss::NotANumber),
            ("Probability: 12%", Miss::NotANumber),
            ("Probability: 0,5", Miss::NotANumber),
            ("Probability: 1/3", Miss::NotANumber),
            ("Probability: 0.5e", Miss::NotANumber),
            ("Probability: inf", Miss::NotANumber),
            ("Probability: NaN", Miss::NotANumber),
            (r#"{"probability": null}"#, Miss::NotANumber),
            (r#"{"probability": [0.5]}"#, Miss::NotANumber),
            ("Probability: 1.5", Miss::OutOfRange),
            ("Probability: -0.1", Miss::OutOfRange),
            ("Probability: 1e999", Miss::OutOfRange),
            (r#"{"probability": 50}"#, Miss::OutOfRange),
        ] {
            assert_eq!(said(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn refusals_and_answers_that_were_cut_are_no_scores() {
        let mut refused = Chat::saying("Probability: 0.5", "stop");
        refused.refuse("I can't help with that.");
        assert_eq!(probability(&refused), Err(Miss::Refusal));
        assert_eq!(probability(&Chat::saying("Probability: 0.5", "content_filter")), Err(Miss::Refusal));
        let cut = |text| probability(&Chat::saying(text, "length"));
        for text in ["Probability: 0.1", "The customer likes", r#"{"probability": 0.1"#, "<think>Hm", "Probability:"] {
            assert_eq!(cut(text), Err(Miss::Truncated), "{text}");
        }
        assert_eq!(cut("Probability: 0.1234\n\nThe customer"), Ok(0.1234));
        assert_eq!(cut(r#"{"probability": 0.5}"#), Ok(0.5));
    }

    #[test]
    fn a_thought_is_cut_away_and_one_without_an_end_is_all() {
        assert_eq!(without_reasoning("a"), Some("a"));
        assert_eq!(without_reasoning("<think>a</think>b</think>c"), Some("c"));
        assert_eq!(without_reasoning(" \n<think>a"), None);
    }
}
