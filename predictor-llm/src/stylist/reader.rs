//! What a model writes, as an outfit, while it is written: JSON or lines, whichever it turns out to be, without the thought before it.

use std::ops::ControlFlow;

use super::{
    item::Fallback,
    json::Json,
    lines::Lines,
    outfit::{Outfit, Told},
};
use crate::api::Listener;

/// Longest answer that is read, in bytes, thoughts included.
const MOST: usize = 256 * 1024;
const THOUGHT: &str = "<think>";
const THOUGHT_OVER: &str = "</think>";

/// How an outfit is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Written {
    /// As JSON.
    Json,
    /// In lines.
    #[default]
    Lines,
}

impl Written {
    /// As answers and metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Lines => "lines",
        }
    }
}

/// What is being read.
#[derive(Debug, Default)]
enum Within {
    /// Where a line begins, and JSON may.
    #[default]
    Start,
    /// A line.
    Line,
    /// JSON.
    Json(Json),
}

/// Hears an answer.
pub(super) struct Reader {
    text: String,
    /// How far it is read.
    at: usize,
    /// Where the last thought ended.
    thought: usize,
    within: Within,
    lines: Lines,
    outfit: Outfit,
}

impl Reader {
    /// Tells `tell` of items and summary.
    pub(super) fn new(tell: impl FnMut(Told) + Send + 'static) -> Self {
        let (text, within, lines) = (String::new(), Within::default(), Lines::default());
        Self { text, at: 0, thought: 0, within, lines, outfit: Outfit::new(tell) }
    }

    /// There is no more to come, and all that was said is said.
    pub(super) fn finish(&mut self) {
        if self.is_thinking() {
            return;
        }
        match self.within {
            Within::Json(_) => {}
            Within::Start | Within::Line => {
                let rest = self.text.get(self.at..).unwrap_or_default();
                self.lines.push(rest, &mut self.outfit);
                self.lines.finish(&mut self.outfit);
            }
        }
    }

    /// How it is written, as far as that is known.
    pub(super) fn written(&self) -> Written {
        if matches!(self.within, Within::Json(_)) { Written::Json } else { Written::Lines }
    }

    /// What is known of the outfit.
    pub(super) fn outfit(&self) -> &Outfit {
        &self.outfit
    }

    /// Ends the outfit with what there is: how many items, and what was made do with.
    pub(super) fn close(self) -> (usize, Vec<Fallback>) {
        self.outfit.close()
    }

    fn read(&mut self) {
        while let Some(rest) = self.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            match &mut self.within {
                Within::Start => {
                    let Some(json) = opens_json(rest) else { return };
                    if json && !self.outfit.is_begun() {
                        self.within = Within::Json(Json::default());
                    } else {
                        self.within = Within::Line;
                    }
                }
                Within::Line => {
                    let end = rest.find('\n').map(|end| end + 1);
                    let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                    self.lines.push(piece, &mut self.outfit);
                    self.at += piece.len();
                    if end.is_some() {
                        self.within = Within::Start;
                    }
                }
                Within::Json(json) => {
                    json.push(rest, &mut self.outfit);
                    self.at = self.text.len();
                }
            }
        }
    }

    /// Whether the model still thinks, or may be about to. What it has thought is passed over, also where only the end is told.
    fn is_thinking(&mut self) -> bool {
        let unread = self.text.get(self.at..).unwrap_or_default();
        let begun = self.text.trim_start();
        self.at == 0 && !unread.contains(THOUGHT_OVER) && (begun.starts_with(THOUGHT) || THOUGHT.starts_with(begun))
    }

    /// A thought ends in what came from `new` on: what was taken for an answer before it was none.
    fn skip_thought(&mut self, new: usize) {
        let from = new.saturating_sub(THOUGHT_OVER.len()).max(self.thought);
        let from = self.text.floor_char_boundary(from);
        if let Some(end) = self.text.get(from..).and_then(|text| text.rfind(THOUGHT_OVER)) {
            self.thought = from + end + THOUGHT_OVER.len();
            self.at = self.thought;
            (self.within, self.lines) = (Within::default(), Lines::default());
        }
    }
}

impl Listener for Reader {
    fn begin(&mut self) {
        self.text.clear();
        (self.at, self.thought) = (0, 0);
        (self.within, self.lines) = (Within::default(), Lines::default());
    }

    fn hear(&mut self, text: &str) -> ControlFlow<()> {
        let new = self.text.len();
        self.text.push_str(text);
        self.skip_thought(new);
        if !self.is_thinking() {
            self.read();
        }
        if self.outfit.is_enough() || self.text.len() > MOST {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Whether JSON begins here; nothing where that is not known yet.
fn opens_json(text: &str) -> Option<bool> {
    let mut chars = text.chars().filter(|c| !c.is_whitespace());
    match chars.next()? {
        '{' => Some(true),
        '[' => Some(matches!(chars.next()?, '{' | '"')),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests;
