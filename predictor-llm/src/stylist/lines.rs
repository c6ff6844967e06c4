//! The line form, `👖 Pants @ Slim-fit dark jeans | 👕 Top @ … | summary`, and what small models write in its place: an item a line, numbers
//! before them, fences around them, sentences before and behind them.

use super::{
    item::{Item, at},
    outfit::Outfit,
};

/// Longest part that is kept, in bytes; of what is beyond it nothing would be told.
const MOST_PART: usize = 4096;
/// Lines that are kept until it is known whether they are an answer or a word before one.
const MOST_HELD: usize = 8;
/// What some models write before the summary.
const SUMMARY: [&str; 4] = ["summary:", "outfit summary:", "**summary:**", "**summary**:"];

/// Reads lines as they come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    part: String,
    /// A `|` was the last character, and no blank before it: a separator if one follows.
    bar: bool,
    /// Parts of this line that a separator has ended.
    parts: usize,
    /// One of them without `@`, the last so far: an item if another one follows, or the summary of a table.
    last: Option<String>,
    /// There was an item of the form, so that a line without `@` is no item.
    formed: bool,
    /// Lines without a form, before any item.
    held: Vec<String>,
}

impl Lines {
    /// Reads on.
    pub(super) fn push(&mut self, text: &str, outfit: &mut Outfit) {
        for c in text.chars() {
            if outfit.is_enough() {
                return;
            }
            if std::mem::take(&mut self.bar) {
                if c.is_whitespace() {
                    self.end_part(outfit);
                } else {
                    self.part.push('|');
                }
            }
            match c {
                '\n' | '\r' => self.end_line(outfit),
                '|' if self.part.is_empty() || self.part.ends_with(char::is_whitespace) => self.end_part(outfit),
                '|' => self.bar = true,
                c if self.part.len() < MOST_PART => self.part.push(c),
                _ => {}
            }
        }
    }

    /// There is no more to come.
    pub(super) fn finish(&mut self, outfit: &mut Outfit) {
        self.bar = false;
        self.end_line(outfit);
        if !outfit.is_begun()
            && let Some(last) = self.held.pop()
        {
            let alone = self.held.is_empty();
            self.held.drain(..).for_each(|line| outfit.add(|made_do| Item::of_part(&line, made_do)));
            // A single part is an item; of several the last is the summary.
            if alone {
                outfit.add(|made_do| Item::of_part(&last, made_do));
            } else {
                outfit.summarise(&last);
            }
        }
    }

    /// A separator came: the part before it is an item.
    fn end_part(&mut self, outfit: &mut Outfit) {
        let part = std::mem::take(&mut self.part);
        let part = unlisted(part.trim()).1;
        if !part.contains(char::is_alphanumeric) {
            return;
        }
        self.parts += 1;
        self.end_last(outfit);
        match at(part) {
            Some(_) => self.item(part, outfit),
            None => self.last = Some(part.to_owned()),
        }
    }

    /// The last part was not the last.
    fn end_last(&mut self, outfit: &mut Outfit) {
        if let Some(last) = self.last.take() {
            self.item(&last, outfit);
        }
    }

    /// The line ended, and with it a part.
    fn end_line(&mut self, outfit: &mut Outfit) {
        let (part, parts) = (std::mem::take(&mut self.part), std::mem::take(&mut self.parts));
        let (listed, part) = unlisted(part.trim());
        if !part.contains(char::is_alphanumeric) || part.starts_with("```") {
            return match self.last.take() {
                Some(last) if parts > 1 => outfit.summarise(&last),
                Some(last) => self.item(&last, outfit),
                None => {}
            };
        }
        self.end_last(outfit);
        if let Some(summary) = SUMMARY.iter().find_map(|label| without(label, part)) {
            return outfit.summarise(summary);
        }
        match at(part) {
            Some(_) => self.item(part, outfit),
            None if parts > 0 || (self.formed && !listed) => outfit.summarise(part),
            None if listed && !part.ends_with(':') => self.item(part, outfit),
            None if part.ends_with(':') => {}
            None if self.held.len() < MOST_HELD => self.held.push(part.to_owned()),
            None => {}
        }
    }

    fn item(&mut self, part: &str, outfit: &mut Outfit) {
        self.formed = true;
        outfit.add(|made_do| Item::of_part(part, made_do));
    }
}

/// A line without the number or the bullet before it, and whether there was one.
fn unlisted(line: &str) -> (bool, &str) {
    let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or_default();
    let numbered = (1..=2).contains(&digits).then(|| line.get(digits..)?.strip_prefix(['.', ')'])).flatten();
    match numbered.or_else(|| line.strip_prefix(['-', '*', '•', '–'])) {
        Some(rest) if rest.starts_with(char::is_whitespace) => (true, rest.trim_start()),
        _ => (false, line),
    }
}

/// What stands behind `label`, in whatever case.
fn without<'a>(label: &str, line: &'a str) -> Option<&'a str> {
    let (start, rest) = line.split_at_checked(label.len())?;
    start.eq_ignore_ascii_case(label).then_some(rest)
}
