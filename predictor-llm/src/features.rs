//! What a call has beside the standard, and which of it the API takes: found out with the first calls, and then left out for good where it
//! is refused. So one server is asked for JSON of a schema and not to think, and another is not, without a setting.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::args::StructuredOutput;

/// The form in which an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text.
    Text,
    /// A probability: JSON where the API has that, text elsewhere.
    Probability,
    /// A label, with the probabilities of others.
    Label,
    /// An outfit, told as it is written: JSON where the API has that, text elsewhere.
    Outfit,
}

/// What one call has beside the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// `response_format` with the JSON schema of a probability.
    pub(crate) structured: bool,
    /// The same with that of an outfit, which has more to refuse.
    pub(crate) outfit: bool,
    /// `stream`: the answer comes in pieces.
    pub(crate) streamed: bool,
    /// `stream_options` that ask for the usage behind them.
    pub(crate) counted: bool,
    /// `chat_template_kwargs` that ask a thinking model not to think.
    pub(crate) unthinking: bool,
    /// `max_tokens`, as most servers call the limit; OpenAI's thinking models take `max_completion_tokens` only.
    pub(crate) max_tokens: bool,
}

/// What the API takes, as far as that is known.
#[derive(Debug)]
pub(crate) struct Features {
    structured: Feature,
    outfit: Feature,
    streamed: Feature,
    counted: Feature,
    unthinking: Feature,
    max_tokens: Feature,
}

/// Something that an API may take or refuse.
#[derive(Debug)]
struct Feature {
    name: &'static str,
    /// What a refusal says that means it.
    words: &'static [&'static str],
    state: AtomicU8,
}

/// What a refusal of a schema says.
const SCHEMA: [&str; 3] = ["response_format", "json_schema", "grammar"];
/// Sent, and left out if it is refused.
const UNTESTED: u8 = 0;
/// A call with it was answered, or it is sent whatever comes.
const TAKEN: u8 = 1;
/// Not sent.
const REFUSED: u8 = 2;

impl Feature {
    const fn new(name: &'static str, words: &'static [&'static str], state: u8) -> Self {
        Self { name, words, state: AtomicU8::new(state) }
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    fn is_sent(&self) -> bool {
        self.state() != REFUSED
    }

    /// A call with it at first, and with or without it at last, was answered.
    fn learn(&self, first: bool, last: bool) {
        let learnt = match (first, last) {
            (true, true) => TAKEN,
            (true, false) => REFUSED,
            (false, _) => return,
        };
        let was = self.state.compare_exchange(UNTESTED, learnt, Ordering::Relaxed, Ordering::Relaxed);
        if was.is_ok() && learnt == REFUSED {
            tracing::info!(feature = self.name, "the LLM's API does not take it, and is asked without it from now on");
        }
    }
}

impl Features {
    /// Nothing is known yet.
    pub(crate) const fn new(structured: StructuredOutput) -> Self {
        let structured = match structured {
            StructuredOutput::Auto => UNTESTED,
            StructuredOutput::On => TAKEN,
            StructuredOutput::Off => REFUSED,
        };
        Self {
            structured: Feature::new("response_format", &SCHEMA, structured),
            outfit: Feature::new("response_format of an outfit", &SCHEMA, structured),
            streamed: Feature::new("stream", &["stream"], UNTESTED),
            counted: Feature::new("stream_options", &["stream_options", "include_usage"], UNTESTED),
            unthinking: Feature::new("chat_template_kwargs", &["chat_template_kwargs", "enable_thinking"], UNTESTED),
            max_tokens: Feature::new("max_tokens", &["max_completion_tokens"], UNTESTED),
        }
    }

    /// Whether probabilities are asked for as JSON of a schema.
    pub(crate) fn is_structured(&self) -> bool {
        self.structured.is_sent()
    }

    /// What a call of this form has.
    pub(crate) fn wanted(&self, form: Form) -> Options {
        Options {
            structured: form == Form::Probability && self.structured.is_sent(),
            outfit: form == Form::Outfit && self.outfit.is_sent(),
            streamed: form == Form::Outfit && self.streamed.is_sent(),
            counted: form == Form::Outfit && self.streamed.is_sent() && self.counted.is_sent(),
            unthinking: self.unthinking.is_sent(),
            max_tokens: self.max_tokens.is_sent(),
        }
    }

    /// The same call without what the refusal names, or else without all that it may mean; nothing where it can mean none of it.
    pub(crate) fn fewer(&self, options: Options, refusal: &str) -> Option<Options> {
        let refusal = refusal.to_ascii_lowercase();
        let doubtful = |feature: &Feature, sent: bool| sent && feature.state() == UNTESTED;
        let named = |feature: &Feature, sent: bool| {
            doubtful(feature, sent) && feature.words.iter().any(|word| refusal.contains(word))
        };
        let Options { structured, outfit, streamed, counted, unthinking, max_tokens } = options;
        let uncounted = named(&self.counted, counted);
        // Its name is a part of the other's.
        let unstreamed = named(&self.streamed, streamed) && !uncounted;
        let without = Options {
            structured: structured && !named(&self.structured, structured),
            outfit: outfit && !named(&self.outfit, outfit),
            streamed: streamed && !unstreamed,
            counted: counted && !uncounted && !unstreamed,
            unthinking: unthinking && !named(&self.unthinking, unthinking),
            max_tokens: max_tokens && !named(&self.max_tokens, max_tokens),
        };
        if without != options {
            return Some(without);
        }
        let streamed = streamed && !doubtful(&self.streamed, streamed);
        let without = Options {
            structured: structured && !doubtful(&self.structured, structured),
            outfit: outfit && !doubtful(&self.outfit, outfit),
            streamed,
            counted: counted && streamed && !doubtful(&self.counted, counted),
            unthinking: unthinking && !doubtful(&self.unthinking, unthinking),
            max_tokens,
        };
        (without != options).then_some(without)
    }

    /// A call that had these options at first was answered with those.
    pub(crate) fn learn(&self, first: Options, last: Options) {
        self.structured.learn(first.structured, last.structured);
        self.outfit.learn(first.outfit, last.outfit);
        self.streamed.learn(first.streamed, last.streamed);
        self.counted.learn(first.counted, last.counted);
        self.unthinking.learn(first.unthinking, last.unthinking);
        self.max_tokens.learn(first.max_tokens, last.max_tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::{Features, Form, Options};
    use crate::args::StructuredOutput;

    const ALL: Options = Options {
        structured: true,
        outfit: false,
        streamed: false,
        counted: false,
        unthinking: true,
        max_tokens: true,
    };
    const OUTFIT: Options = Options { structured: false, outfit: true, streamed: true, counted: true, ..ALL };

    fn features() -> Features {
        Features::new(StructuredOutput::Auto)
    }

    #[test]
    fn what_a_refusal_names_is_left_out_and_else_all_that_it_may_mean() {
        let features = features();
        assert_eq!(features.wanted(Form::Probability), ALL);
        assert_eq!(features.wanted(Form::Label), Options { structured: false, ..ALL });
        let fewer = |refusal| features.fewer(ALL, refusal);
        assert_eq!(fewer("'response_format' is unsupported"), Some(Options { structured: false, ..ALL }));
        assert_eq!(fewer("Unrecognized: chat_template_kwargs"), Some(Options { unthinking: false, ..ALL }));
        assert_eq!(fewer("Use 'max_completion_tokens' instead"), Some(Options { max_tokens: false, ..ALL }));
        let none = Options { structured: false, unthinking: false, ..ALL };
        assert_eq!(fewer("bad request"), Some(none));
        assert_eq!(features.fewer(none, "bad request"), None);
    }

    #[test]
    fn of_an_answer_in_pieces_the_pieces_their_count_and_the_schema_are_refused_apart() {
        let features = features();
        assert_eq!(features.wanted(Form::Outfit), OUTFIT);
        let fewer = |refusal| features.fewer(OUTFIT, refusal);
        assert_eq!(fewer("unknown field stream_options"), Some(Options { counted: false, ..OUTFIT }));
        assert_eq!(fewer("stream is not supported"), Some(Options { streamed: false, counted: false, ..OUTFIT }));
        assert_eq!(fewer("json_schema: maxItems is not permitted"), Some(Options { outfit: false, ..OUTFIT }));
        let none = Options { outfit: false, streamed: false, counted: false, unthinking: false, ..OUTFIT };
        assert_eq!(fewer("bad request"), Some(none));
        features.learn(OUTFIT, Options { outfit: false, ..OUTFIT });
        assert!(features.is_structured(), "the schema of a probability may be taken all the same");
    }

    #[test]
    fn what_was_taken_once_is_not_doubted_for_another_mistake() {
        let features = features();
        features.learn(ALL, ALL);
        assert_eq!(features.fewer(ALL, "response_format: the context is too long"), None);
    }

    #[test]
    fn what_was_refused_is_never_sent_again() {
        let features = features();
        features.learn(ALL, Options { structured: false, ..ALL });
        assert!(!features.is_structured());
        features.learn(Options { structured: false, ..ALL }, Options { structured: false, ..ALL });
        assert_eq!(features.wanted(Form::Probability), Options { structured: false, ..ALL });
    }

    #[test]
    fn structured_output_is_as_the_setting_says() {
        let on = Features::new(StructuredOutput::On);
        assert_eq!(on.fewer(ALL, "response_format"), Some(Options { unthinking: false, ..ALL }));
        assert!(!Features::new(StructuredOutput::Off).is_structured());
    }
}
