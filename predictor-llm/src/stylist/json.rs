//! The JSON form, `{"items": [{"emoji", "category", "description"}, …], "summary": "…"}`, while it is written: an item is there as soon as its
//! brace closes.

use serde_json::{Map, Value};

use super::{
    item::{Fallback, Item, emoji_of},
    outfit::Outfit,
};

/// What else models call the members.
const CATEGORIES: [&str; 4] = ["category", "name", "type", "title"];
const DESCRIPTIONS: [&str; 2] = ["description", "text"];
const SUMMARIES: [&str; 2] = ["summary", "outfit_summary"];

/// Reads JSON as it comes.
#[derive(Debug, Default)]
pub(super) struct Json {
    text: String,
    /// How far it is read.
    at: usize,
    in_string: bool,
    escaped: bool,
    /// Where the brackets that are open opened.
    open: Vec<usize>,
}

impl Json {
    /// Reads on.
    pub(super) fn push(&mut self, text: &str, outfit: &mut Outfit) {
        self.text.push_str(text);
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            if outfit.is_enough() {
                return;
            }
            self.at += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.open.push(self.at - 1),
                b'}' | b']' => self.close(byte, outfit),
                _ => {}
            }
        }
    }

    fn close(&mut self, byte: u8, outfit: &mut Outfit) {
        let Some(from) = self.open.pop() else { return };
        let text = self.text.get(from..self.at).unwrap_or_default();
        let whole = self.open.is_empty();
        if byte == b'}' {
            match object(text) {
                Some(object) if whole => root(&object, outfit),
                Some(object) => item(&object, outfit),
                None if !whole => outfit.make_do(Fallback::Unreadable),
                None => {}
            }
        }
        if whole {
            outfit.end();
        }
    }
}

/// All of an answer: its items are told already, where they are objects.
fn root(object: &Map<String, Value>, outfit: &mut Outfit) {
    if let Some(Value::Array(items)) = object.get("items") {
        for part in items.iter().filter_map(Value::as_str) {
            outfit.add(|made_do| Item::of_part(part, made_do));
        }
    } else if !outfit.is_begun() {
        item(object, outfit);
    }
    if let Some(summary) = text(object, &SUMMARIES) {
        outfit.summarise(summary);
    }
}

fn item(object: &Map<String, Value>, outfit: &mut Outfit) {
    let (category, description) = (text(object, &CATEGORIES), text(object, &DESCRIPTIONS));
    if category.is_none() && description.is_none() {
        return;
    }
    let (category, emoji) = (category.unwrap_or_default(), text(object, &["emoji"]).unwrap_or_default());
    // Some write the emoji before the category.
    let (before, category) = emoji_of(category);
    let emoji = if emoji.trim().is_empty() { before } else { emoji };
    outfit.add(|made_do| Item::of(emoji, category, description.unwrap_or_default(), made_do));
}

fn text<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| object.get(*name)?.as_str())
}

/// An object; one with line breaks within its strings, which are not to be there, too.
fn object(text: &str) -> Option<Map<String, Value>> {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&text.chars().map(blank).collect::<String>()).ok())
}
