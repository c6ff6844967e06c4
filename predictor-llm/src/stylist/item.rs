//! One article of an outfit, as it is told: whatever a model wrote, on one line each, and not too long.

use serde::Serialize;

use crate::rows::is_invisible;

/// Stands for an item whose emoji is missing.
const EMOJI: &str = "🔷";
/// Names an item whose category is missing.
const CATEGORY: &str = "Item";
/// Longest category, in characters.
const MOST_CATEGORY: usize = 60;
/// Longest description, and longest summary, in characters.
const MOST_TEXT: usize = 300;
/// So many words in a row are not said twice by who has more to say: small models go round in circles.
const CIRCLE: usize = 5;
/// Pictures that one emoji may be joined of: a family has four.
const MOST_JOINED: usize = 4;

/// An article to look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    /// One picture.
    pub(crate) emoji: String,
    /// What it is, in a word or two.
    pub(crate) category: String,
    /// What is looked for.
    pub(crate) description: String,
}

/// What was made do with, where an answer was not all that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fallback {
    /// The default emoji stands for one that was none.
    NoEmoji,
    /// The default category names an item that had none.
    NoCategory,
    /// The category describes an item that had no description.
    NoDescription,
    /// There is no summary.
    NoSummary,
    /// A text was cut.
    Shortened,
    /// An item was left out: it says nothing.
    Empty,
    /// An item was left out: another one says the same.
    Repeated,
    /// An item was left out: there are enough.
    TooMany,
    /// An item was left out: it is no JSON.
    Unreadable,
}

impl Fallback {
    /// As metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoEmoji => "no_emoji",
            Self::NoCategory => "no_category",
            Self::NoDescription => "no_description",
            Self::NoSummary => "no_summary",
            Self::Shortened => "shortened",
            Self::Empty => "empty",
            Self::Repeated => "repeated",
            Self::TooMany => "too_many",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Item {
    /// An item of these parts, each as the model wrote it, and what was made do with; none where they say nothing.
    pub(super) fn of(emoji: &str, category: &str, description: &str, made_do: &mut Vec<Fallback>) -> Option<Self> {
        let emoji = first_emoji(emoji).unwrap_or_else(|| {
            made_do.push(Fallback::NoEmoji);
            EMOJI.to_owned()
        });
        let mut category = line(category, MOST_CATEGORY, made_do);
        let mut description = line(description, MOST_TEXT, made_do);
        if description.is_empty() {
            made_do.push(Fallback::NoDescription);
            description.clone_from(&category);
        }
        if category.is_empty() {
            made_do.push(Fallback::NoCategory);
            CATEGORY.clone_into(&mut category);
        }
        (!description.is_empty()).then_some(Self { emoji, category, description })
    }

    /// An item of a part of the line form, `emoji category @ description`; one that is not of that form is its own description.
    pub(super) fn of_part(part: &str, made_do: &mut Vec<Fallback>) -> Option<Self> {
        let Some((left, description)) = at(part) else {
            made_do.push(Fallback::NoCategory);
            let description = line(part, MOST_TEXT, made_do);
            let item = Self { emoji: EMOJI.to_owned(), category: CATEGORY.to_owned(), description };
            return (!item.description.is_empty()).then_some(item);
        };
        let (emoji, category) = emoji_of(left);
        Self::of(emoji, category, description, made_do)
    }
}

/// A summary as it is told; nothing where there is none.
pub(super) fn summary(text: &str, made_do: &mut Vec<Fallback>) -> Option<String> {
    Some(line(text, MOST_TEXT, made_do)).filter(|text| !text.is_empty())
}

/// What stands before and behind the `@` of a part.
pub(super) fn at(part: &str) -> Option<(&str, &str)> {
    let part = part.trim();
    part.split_once(" @ ").or_else(|| part.split_once("@ ")).or_else(|| part.split_once(" @")).or_else(|| {
        // All that stands behind it is missing.
        part.strip_suffix('@').map(|left| (left, ""))
    })
}

/// The emoji that a text begins with, if it does, and what follows: its first word where there is no letter or digit in it.
pub(super) fn emoji_of(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || is_markup(c));
    let end = text.find(|c: char| c.is_whitespace() || c.is_alphanumeric()).unwrap_or(text.len());
    text.split_at(end)
}

/// The first picture of a text, with the marks that belong to it; none where it begins with something else.
fn first_emoji(text: &str) -> Option<String> {
    let mut chars = text.trim().chars().peekable();
    let first = chars.next().filter(|c| !c.is_ascii() && !c.is_alphanumeric() && !c.is_control())?;
    if is_invisible(first) || is_mark(first) {
        return None;
    }
    let mut emoji = String::from(first);
    let mut joined = 1;
    while let Some(next) = chars.next_if(|&c| is_mark(c)) {
        emoji.push(next);
        let after = chars.next_if(|c| next == JOINER && joined < MOST_JOINED && !c.is_ascii() && !is_mark(*c));
        joined += after.iter().count();
        emoji.extend(after);
    }
    // Two of them make a flag.
    if is_flag(first) {
        emoji.extend(chars.next_if(|&c| is_flag(c)));
    }
    Some(emoji.trim_end_matches(JOINER).to_owned())
}

const JOINER: char = '\u{200d}';

/// What changes the picture before it: how it is drawn, its skin, or that another one is joined to it.
fn is_mark(c: char) -> bool {
    matches!(c, JOINER | '\u{fe0e}' | '\u{fe0f}' | '\u{20e3}' | '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_flag(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// What texts are decorated with.
fn is_markup(c: char) -> bool {
    "*_#`\"'“”".contains(c)
}

/// A text on one line, without decoration and without what nobody sees; it ends after so many characters. One without a letter or a digit is
/// none.
fn line(text: &str, most: usize, made_do: &mut Vec<Fallback>) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let seen = words.map(|word| word.chars().filter(|&c| c == JOINER || !is_invisible(c)).collect::<String>());
    let line = seen.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let line = line.trim_matches(|c: char| is_markup(c) || c.is_whitespace() || c == '|');
    let mut line = line.strip_suffix(':').unwrap_or(line).trim_end().to_owned();
    if !line.contains(char::is_alphanumeric) {
        return String::new();
    }
    if let Some((end, _)) = line.char_indices().nth(most) {
        line.truncate(end);
        made_do.push(Fallback::Shortened);
    }
    if let Some(end) = circle(&line) {
        line.truncate(end);
        // What went before the circle is whole up to its last sentence, or else to a comma.
        let whole = line.rfind(['.', '!', '?']).map_or(line.len(), |end| end + 1);
        line.truncate(whole);
        line.truncate(line.trim_end_matches([',', ';', ' ']).len());
        made_do.push(Fallback::Shortened);
    }
    line
}

/// Where a text begins to say once more what it said before.
fn circle(line: &str) -> Option<usize> {
    let words: Vec<&str> = line.split(' ').collect();
    let runs: Vec<&[&str]> = words.windows(CIRCLE).collect();
    let again = (1..runs.len()).find(|&at| runs[..at].contains(&runs[at]))?;
    Some(words[..again].iter().map(|word| word.len() + 1).sum())
}

#[cfg(test)]
mod tests {
    use super::{Fallback, Item};

    fn of_part(part: &str) -> Option<(String, String, String)> {
        let Item { emoji, category, description } = Item::of_part(part, &mut Vec::new())?;
        Some((emoji, category, description))
    }

    fn is(part: &str, emoji: &str, category: &str, description: &str) {
        let expected = (emoji.to_owned(), category.to_owned(), description.to_owned());
        assert_eq!(of_part(part), Some(expected), "{part:?}");
    }

    #[test]
    fn a_part_is_an_emoji_a_category_and_a_description() {
        is("👖 Pants @ Slim-fit dark jeans", "👖", "Pants", "Slim-fit dark jeans");
        is("👚 Summer Top @ White, 100% cotton @ home", "👚", "Summer Top", "White, 100% cotton @ home");
        is("**👖 Pants** @ `Slim-fit`", "👖", "Pants", "Slim-fit");
        is("👖Pants @ Slim", "👖", "Pants", "Slim");
        is("👖 Pants @Slim", "👖", "Pants", "Slim");
        is("👖 Pants@ Slim", "👖", "Pants", "Slim");
    }

    #[test]
    fn a_part_of_another_form_is_an_item_of_its_own_description() {
        is("Slim-fit dark jeans", "🔷", "Item", "Slim-fit dark jeans");
        is("👖 jeans: me@shop", "🔷", "Item", "👖 jeans: me@shop");
        for nothing in ["", "  ", "@", " @ ", "---", "👖", "👖 @ ", "\u{202e}"] {
            assert_eq!(of_part(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_text_that_goes_round_in_circles_ends_where_it_begins_to() {
        let said = |text: &str| super::summary(text, &mut Vec::new()).unwrap();
        assert_eq!(said(&"I need a new swimsuit. ".repeat(9)), "I need a new swimsuit.");
        assert_eq!(said("We go. A red dress in a soft knit, a red dress in a soft knit, a"), "We go.");
        assert_eq!(said("a red dress in silk, a red dress in silk, a red dress in silk"), "a red dress in silk");
        let plain = "A red dress in silk, and a red dress in wool";
        assert_eq!(said(plain), plain);
    }

    #[test]
    fn what_is_no_emoji_is_not_shown_as_one() {
        is("Pants @ Slim", "🔷", "Pants", "Slim");
        is("Été @ Slim", "🔷", "Été", "Slim");
        is("- @ Slim", "🔷", "Item", "Slim");
        is("👖👖👖👖 Pants @ Slim", "👖", "Pants", "Slim");
        is("👩🏽‍🦱 Wig @ Brown", "👩🏽‍🦱", "Wig", "Brown");
        is("🇫🇷🇫🇷 Scarf @ Silk", "🇫🇷", "Scarf", "Silk");
        is("❄️ Coat @ Warm", "❄️", "Coat", "Warm");
        is("\u{2060} Coat @ Warm", "🔷", "Coat", "Warm");
        let endless = format!("{} Coat @ Warm", "👩‍".repeat(1000));
        assert!(of_part(&endless).unwrap().0.chars().count() <= 2 * super::MOST_JOINED);
    }

    #[test]
    fn an_item_without_a_description_is_described_by_its_category() {
        is("👖 Pants @ ", "👖", "Pants", "Pants");
        is("👖 Pants @ …", "👖", "Pants", "Pants");
        is("👖 @ Slim", "👖", "Item", "Slim");
    }

    #[test]
    fn a_long_text_ends_on_a_character_and_control_characters_end_nothing() {
        let mut made_do = Vec::new();
        let item = Item::of("👖", &"ü".repeat(999), &"é".repeat(999), &mut made_do).unwrap();
        assert_eq!((item.category.chars().count(), item.description.chars().count()), (60, 300));
        assert_eq!(made_do, [Fallback::Shortened; 2]);
        let item = Item::of("👖", "Pa\u{202e}nts\u{0}", "a\r\nb\tc \u{feff} d", &mut made_do).unwrap();
        assert_eq!((item.category.as_str(), item.description.as_str()), ("Pants", "a b c d"));
    }
}
