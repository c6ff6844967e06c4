//! A chat completion as the API answers it, whole or in pieces. What servers leave out, or write as null, is as good as absent.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::Failure;
use crate::{miss::Miss, parse::opens_with_reasoning};

/// A completion.
#[derive(Clone, Debug)]
pub(crate) struct Chat {
    choice: Choice,
    usage: Option<Usage>,
}

/// What was spent, as the API counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Tokens of the prompt that the API had to compute.
    pub(crate) prompt: u64,
    /// Tokens of the prompt that it had in its cache.
    pub(crate) cached: u64,
    /// Tokens of the completion, thoughts included.
    pub(crate) completion: u64,
}

impl Usage {
    /// All tokens.
    pub(crate) fn total(self) -> u64 {
        self.prompt.saturating_add(self.cached).saturating_add(self.completion)
    }
}

/// A token of the completion, and those that might have stood in its place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TokenLogprob {
    /// Its text.
    pub(crate) token: String,
    /// The natural logarithm of its probability.
    #[serde(default = "never", deserialize_with = "or_never")]
    pub(crate) logprob: f64,
    /// The likeliest tokens there, most often with this one among them.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) top_logprobs: Vec<TokenLogprob>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "or_default")]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<UsageBody>,
    /// What failed after the answer had begun.
    #[serde(default)]
    error: Option<IgnoredAny>,
}

impl Body {
    fn usage(&self) -> Option<Usage> {
        self.usage.as_ref().map(|usage| {
            let cached = usage.prompt_tokens_details.cached_tokens.min(usage.prompt_tokens);
            Usage { prompt: usage.prompt_tokens - cached, cached, completion: usage.completion_tokens }
        })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Choice {
    /// A piece of an answer has `delta`, what is new in it.
    #[serde(default, alias = "delta", deserialize_with = "or_default")]
    message: Message,
    #[serde(default, deserialize_with = "or_default")]
    finish_reason: String,
    #[serde(default, deserialize_with = "or_default")]
    logprobs: Logprobs,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "or_default")]
    content: String,
    #[serde(default, deserialize_with = "or_default")]
    refusal: String,
    /// Where servers put a thought that they cut off the content themselves.
    #[serde(default, alias = "reasoning", deserialize_with = "or_default")]
    reasoning_content: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Logprobs {
    #[serde(default, deserialize_with = "or_default")]
    content: Vec<TokenLogprob>,
}

#[derive(Deserialize)]
struct UsageBody {
    #[serde(default, deserialize_with = "or_default")]
    prompt_tokens: u64,
    #[serde(default, deserialize_with = "or_default")]
    completion_tokens: u64,
    #[serde(default, deserialize_with = "or_default")]
    prompt_tokens_details: PromptDetails,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    #[serde(default, deserialize_with = "or_default")]
    cached_tokens: u64,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// JSON has no infinity: servers write null for the logarithm of 0.
fn or_never<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(never))
}

const fn never() -> f64 {
    f64::NEG_INFINITY
}

impl Chat {
    /// Reads an answer's body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Failure> {
        let body: Body = serde_json::from_slice(body).map_err(Failure::invalid)?;
        let usage = body.usage();
        let choice = body.choices.into_iter().next().ok_or_else(|| Failure::invalid("no choices"))?;
        Ok(Self { choice, usage })
    }

    /// An answer that comes in pieces, before the first of them.
    pub(super) fn unsaid() -> Self {
        Self { choice: Choice::default(), usage: None }
    }

    /// Adds a piece; where in the text what is new begins.
    pub(super) fn add(&mut self, piece: &[u8]) -> Result<usize, Failure> {
        let piece: Body = serde_json::from_slice(piece).map_err(Failure::invalid)?;
        if piece.error.is_some() {
            return Err(Failure::new(Miss::Failed, "the API told of an error within its answer"));
        }
        let said = self.choice.message.content.len();
        // The usage comes last, some servers tell it with each piece.
        self.usage = piece.usage().or(self.usage);
        if let Some(new) = piece.choices.into_iter().next() {
            let Message { content, refusal, reasoning_content } = new.message;
            let message = &mut self.choice.message;
            message.content.push_str(&content);
            message.refusal.push_str(&refusal);
            message.reasoning_content.push_str(&reasoning_content);
            if !new.finish_reason.is_empty() {
                self.choice.finish_reason = new.finish_reason;
            }
        }
        Ok(said)
    }

    /// What the model says.
    pub(crate) fn text(&self) -> &str {
        &self.choice.message.content
    }

    /// What it spent, where the API says so.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The tokens with their probabilities, where the API gives them.
    pub(crate) fn logprobs(&self) -> &[TokenLogprob] {
        &self.choice.logprobs.content
    }

    /// The model, or a filter in front of it, would not answer.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.choice.message.refusal.is_empty() || self.choice.finish_reason == "content_filter"
    }

    /// It came to an end, and says why.
    pub(super) fn is_whole(&self) -> bool {
        !self.choice.finish_reason.is_empty()
    }

    /// It ended at its limit of tokens.
    pub(crate) fn is_cut(&self) -> bool {
        self.choice.finish_reason == "length"
    }

    /// The model thought, and its limit of tokens ended that before it said anything.
    pub(crate) fn is_cut_in_thought(&self) -> bool {
        let Message { content, reasoning_content, .. } = &self.choice.message;
        let unsaid = content.trim().is_empty() && !reasoning_content.is_empty();
        let begun = self.logprobs().first().is_some_and(|first| opens_with_reasoning(&first.token));
        self.is_cut() && (unsaid || ((begun || opens_with_reasoning(content)) && !content.contains("</think>")))
    }
}

#[cfg(test)]
impl Chat {
    /// An answer of this text that ended so.
    pub(crate) fn saying(text: &str, finish_reason: &str) -> Self {
        let message = Message { content: text.to_owned(), ..Message::default() };
        let choice = Choice { message, finish_reason: finish_reason.to_owned(), ..Choice::default() };
        Self { choice, usage: None }
    }

    /// The same with probabilities.
    pub(crate) fn with_logprobs(mut self, content: Vec<TokenLogprob>) -> Self {
        self.choice.logprobs = Logprobs { content };
        self
    }

    /// The model says in so many words that it won't.
    pub(crate) fn refuse(&mut self, text: &str) {
        text.clone_into(&mut self.choice.message.refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::{Chat, Usage};
    use crate::miss::Miss;

    #[test]
    fn what_servers_leave_out_or_write_as_null_is_absent() {
        for body in [
            r#"{"choices": [{}]}"#,
            r#"{"choices": [{"message": {"content": null, "refusal": null}, "finish_reason": null, "logprobs": null}], "usage": null}"#,
        ] {
            let chat = Chat::read(body.as_bytes()).unwrap();
            assert_eq!((chat.text(), chat.usage(), chat.logprobs().len()), ("", None, 0));
            assert!(!chat.is_refusal() && !chat.is_cut());
        }
    }

    #[test]
    fn a_probability_that_is_null_is_none() {
        let body = r#"{"choices": [{"logprobs": {"content": [{"token": "A", "top_logprobs": [{"token": "A", "logprob": null}]}]}}]}"#;
        let chat = Chat::read(body.as_bytes()).unwrap();
        assert!(chat.logprobs()[0].top_logprobs[0].logprob.exp() == 0.0);
    }

    #[test]
    fn tokens_that_were_cached_are_counted_apart() {
        let body = r#"{"choices": [{}], "usage": {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}}"#;
        let usage = Chat::read(body.as_bytes()).unwrap().usage().unwrap();
        assert_eq!((usage, usage.total()), (Usage { prompt: 2, cached: 8, completion: 3 }, 13));
    }

    #[test]
    fn pieces_come_to_the_answer_that_they_are_of() {
        let mut chat = Chat::unsaid();
        for (piece, text, new) in [
            (r#"{"choices": [{"delta": {"role": "assistant", "content": null}}]}"#, "", ""),
            (r#"{"choices": [{"delta": {"content": "A b"}, "finish_reason": null}], "usage": null}"#, "A b", "A b"),
            (r#"{"choices": [{"delta": {"content": "é", "reasoning_content": "Hm"}}]}"#, "A bé", "é"),
            (r#"{"choices": [{"delta": {}, "finish_reason": "length"}]}"#, "A bé", ""),
            (r#"{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}"#, "A bé", ""),
        ] {
            let from = chat.add(piece.as_bytes()).unwrap();
            assert_eq!((chat.text(), &chat.text()[from..]), (text, new), "{piece}");
        }
        assert_eq!((chat.is_cut(), chat.usage().unwrap().total()), (true, 8));
        assert_eq!(chat.add(br#"{"error": {"message": "out of memory"}}"#).unwrap_err().class, Miss::Failed);
        assert_eq!(chat.add(b"nonsense").unwrap_err().class, Miss::Invalid);
    }

    #[test]
    fn what_is_no_completion_is_invalid() {
        for body in ["", "<html>", "[]", r#"{"choices": []}"#, r#"{"error": "x"}"#, r#"{"choices": [{"message": 1}]}"#]
        {
            assert_eq!(Chat::read(body.as_bytes()).unwrap_err().class, Miss::Invalid, "{body}");
        }
    }

    #[test]
    fn a_thought_that_was_cut_is_told_from_an_answer() {
        let thought = r#"{"choices": [{"message": {"reasoning_content": "Hm"}, "finish_reason": "length"}]}"#;
        assert!(Chat::read(thought.as_bytes()).unwrap().is_cut_in_thought());
        assert!(Chat::saying("<think>", "length").is_cut_in_thought());
        assert!(!Chat::saying("<think>a</think>A", "length").is_cut_in_thought());
        assert!(!Chat::saying("A", "length").is_cut_in_thought());
    }
}
