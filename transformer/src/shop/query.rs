//! A request's query string: its parameters by name, each once, and none that is not known.

use std::{collections::BTreeMap, ops::RangeInclusive};

use dataplane::{Error, Result};

use crate::instance::shown;

/// Most characters of an id, and of what is searched for.
pub(super) const LONGEST: usize = 256;

/// Parameters by name.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a query string, of which these parameters are `known`.
    ///
    /// # Errors
    /// One is unknown, stands twice, or is no text that a store could have.
    pub(super) fn read(raw: Option<&str>, known: &[&str]) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Error::invalid(format!("parameter `{}`: unknown (expected {known})", shown(&name))));
            }
            check_text(&name, &value)?;
            if parameters.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(Error::invalid(format!("parameter `{name}`: stands twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter as it is given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that is an id, or the beginning of one.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn id(&self, name: &str) -> Result<Option<&str>> {
        self.text(name).map(|text| check_id(name, text)).transpose()
    }

    /// A whole number; `default` where it is not given.
    ///
    /// # Errors
    /// It is none, or out of range.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<u32>, default: u32) -> Result<u32> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (first, last) = range.into_inner();
            wrong(name, &format!("a whole number from {first} to {last}"), text)
        })
    }
}

/// At most [`LONGEST`] characters.
pub(super) fn check_id<'a>(name: &str, text: &'a str) -> Result<&'a str> {
    match text.chars().count() {
        0..=LONGEST => Ok(text),
        length => {
            Err(Error::invalid(format!("parameter `{name}`: expected at most {LONGEST} characters, got {length}")))
        }
    }
}

/// UTF-8 without control characters.
pub(super) fn check_text(name: &str, text: &str) -> Result<()> {
    match text.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        true => Err(Error::invalid(format!("parameter `{name}`: expected UTF-8 without control characters"))),
        false => Ok(()),
    }
}

/// What was expected of a parameter, and what it is.
pub(super) fn wrong(name: &str, expected: &str, got: &str) -> Error {
    Error::invalid(format!("parameter `{name}`: expected {expected}, got `{}`", shown(got)))
}

#[cfg(test)]
mod tests {
    use super::Query;

    fn refusal(raw: &str) -> String {
        let query = Query::read(Some(raw), &["search", "limit"]);
        let number = query.and_then(|query| query.id("search").map(drop).and(query.number("limit", 1..=100, 20)));
        number.unwrap_err().message().to_owned()
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let query = Query::read(None, &["search", "limit"]).unwrap();
        assert_eq!((query.text("search"), query.number("limit", 1..=100, 20).unwrap()), (None, 20));
    }

    #[test]
    fn values_are_decoded() {
        let query = Query::read(Some("search=%C3%A4%25+%26&limit=7"), &["search", "limit"]).unwrap();
        assert_eq!((query.id("search").unwrap(), query.number("limit", 1..=100, 20).unwrap()), (Some("ä% &"), 7));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        let number = |got: &str| format!("parameter `limit`: expected a whole number from 1 to 100, got `{got}`");
        let text = "parameter `search`: expected UTF-8 without control characters";
        for (raw, expected) in [
            ("serch=a", "parameter `serch`: unknown (expected `search`, `limit`)"),
            ("limit=1&limit=1", "parameter `limit`: stands twice"),
            ("search=%00", text),
            ("search=a%0Ab", text),
            ("search=%FF", text),
            ("limit=", &number("")),
            ("limit=0", &number("0")),
            ("limit=101", &number("101")),
            ("limit=-1", &number("-1")),
            ("limit=1e2", &number("1e2")),
            ("limit=99999999999999999999", &number("99999999999999999999")),
            (&format!("search={}", "a".repeat(257)), "parameter `search`: expected at most 256 characters, got 257"),
        ] {
            assert_eq!(refusal(raw), expected, "{raw}");
        }
        assert!(refusal(&format!("{}=1", "x".repeat(10_000))).len() < 200);
    }

    #[test]
    fn where_no_parameter_is_known_that_is_said() {
        let refusal = Query::read(Some("a"), &[]).unwrap_err();
        assert_eq!(refusal.message(), "parameter `a`: unknown (expected none)");
    }
}
