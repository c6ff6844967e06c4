//! Why an article suits its customer, in a sentence or two. Asked for by name only, never on the way of a ranking.

use dataplane::Result;
use futures_util::future::join_all;
use tokio::time::timeout_at;

use crate::{
    api::Chat,
    asking::Asking,
    features::Form,
    llm::Ask,
    miss::{Miss, Missed},
    parse::without_reasoning,
    rows::Row,
    scorer::Scorer,
    template::Prompt,
};

/// Tokens of an explanation.
const ANSWER: u32 = 120;
/// Longest explanation, in characters.
const MOST: usize = 400;

/// An explanation for each of `rows`, or why there is none.
///
/// # Errors
/// A prompt can't be written.
pub(crate) async fn explain(scorer: &Scorer, rows: &[Row], asking: &Asking) -> Result<Vec<Result<String, Missed>>> {
    let prompts = rows.iter().map(|row| scorer.template.explain(row)).collect::<Result<Vec<_>>>()?;
    Ok(join_all(prompts.iter().map(|prompt| one(scorer, prompt, asking))).await)
}

async fn one(scorer: &Scorer, prompt: &Prompt, asking: &Asking) -> Result<String, Missed> {
    let ask = Ask::new(prompt, Form::Text, ANSWER);
    let chat = timeout_at(asking.until, scorer.llm.complete(ask, asking)).await;
    Ok(sentences(&chat.unwrap_or_else(|_| Err(Miss::Deadline.into()))?)?)
}

/// What was answered, on one line and not too long; where it was cut, up to the last sentence that is whole.
fn sentences(chat: &Chat) -> Result<String, Miss> {
    if chat.is_refusal() {
        return Err(Miss::Refusal);
    }
    let said = without_reasoning(chat.text()).unwrap_or_default();
    let words = said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut text = words.collect::<Vec<_>>().join(" ");
    let mut cut = chat.is_cut();
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        cut = true;
    }
    if cut && let Some(end) = text.rfind(['.', '!', '?']) {
        text.truncate(end + 1);
    }
    match text.is_empty() {
        false => Ok(text),
        true if cut => Err(Miss::Truncated),
        true => Err(Miss::NoMarker),
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, sentences};
    use crate::{api::Chat, miss::Miss};

    #[test]
    fn an_explanation_is_one_line_of_whole_sentences() {
        let said = |text, reason| sentences(&Chat::saying(text, reason));
        assert_eq!(said("<think>Hm.</think>It is\n\nblack.  ", "stop").unwrap(), "It is black.");
        assert_eq!(said("It is black. It goes wi", "length").unwrap(), "It is black.");
        assert_eq!(said("It goes wi", "length").unwrap(), "It goes wi");
        let long = said(&"It is black. ".repeat(100), "stop").unwrap();
        assert!(long.len() <= MOST && long.ends_with("black."), "{long}");
    }

    #[test]
    fn nothing_said_is_no_explanation() {
        for (text, reason, expected) in [
            ("", "stop", Miss::NoMarker),
            (" ", "length", Miss::Truncated),
            ("<think>Hm.", "length", Miss::Truncated),
            ("No.", "content_filter", Miss::Refusal),
        ] {
            assert_eq!(sentences(&Chat::saying(text, reason)), Err(expected), "{text}");
        }
    }
}
