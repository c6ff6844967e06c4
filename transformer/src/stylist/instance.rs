//! What a caller asks the stylist for: one instance of a V1 request, one row of a V2 request, the body of a stream.

use std::sync::Arc;

use catalog::filter::Filter;
use dataplane::{Error, InferRequest, Result};
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

use crate::{
    filter::{Columns, Conditions},
    instance::{MAX_EXCLUDE, day, describe, parse_date, read, wrong},
    wire::{self, CUSTOMER_ID, TRANSACTION_DATE},
};

/// Inputs beside those that the main model has too.
pub(super) const REQUEST: &str = "request";
pub(super) const QUERY: &str = "query";
pub(super) const GENDER: &str = "gender";

/// Longest request or query, in characters.
const MOST_WORDS: usize = 2_000;
/// Articles for an item where the request does not say.
const ARTICLES: u64 = 25;

/// One question in words.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Instance {
    /// What an outfit is wanted for.
    #[validate(custom(function = "check_words"))]
    pub(super) request: Option<String>,
    /// What is searched for, in its stead.
    #[validate(custom(function = "check_words"))]
    pub(super) query: Option<String>,
    /// Whose sections are offered; all of them where it is not given.
    pub(super) gender: Option<Gender>,
    /// Who asks; any text.
    #[validate(length(min = 1, max = 256, message = "expected 1 to 256 characters"))]
    pub(super) customer_id: Option<String>,
    /// ISO date or date-time; now where it is not given.
    pub(super) transaction_date: Option<String>,
    /// Articles for each item.
    #[validate(range(min = 1, max = 100, message = "expected a whole number from 1 to 100"))]
    pub(super) k: Option<u64>,
    /// Ids of articles that must not be in the answer.
    #[serde(default)]
    #[validate(length(max = MAX_EXCLUDE, message = "expected at most 10000 ids"))]
    pub(super) exclude: Vec<String>,
    /// Conditions on article columns, which all articles of the answer meet.
    pub(super) filter: Option<Conditions>,
}

/// Whose clothes are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gender {
    /// Women's sections, and mixed ones.
    Women,
    /// Men's sections, and mixed ones.
    Men,
    /// All there is.
    #[default]
    Any,
}

impl Gender {
    /// Those that have sections of their own.
    pub(super) const OWN: [Self; 2] = [Self::Women, Self::Men];

    /// What it is called in requests, answers and the bundle.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Women => "women",
            Self::Men => "men",
            Self::Any => "any",
        }
    }

    fn from_name(name: &str) -> Result<Self> {
        let known = [Self::Women, Self::Men, Self::Any].into_iter().find(|gender| gender.name() == name);
        known.ok_or_else(|| {
            let got = crate::instance::shown(name);
            Error::invalid(format!("field `gender`: expected `women`, `men` or `any`, got `{got}`"))
        })
    }
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Words {
    /// An outfit for this.
    Request(String),
    /// Articles like this.
    Query(String),
}

/// An instance, checked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) words: Words,
    pub(super) gender: Gender,
    pub(super) customer_id: Option<String>,
    /// When it is asked, in days since 1970-01-01.
    pub(super) day: i32,
    /// Articles for each item.
    pub(super) k: usize,
    pub(super) exclude: Vec<String>,
    pub(super) filter: Option<Arc<Filter>>,
}

impl Instance {
    /// Reads an instance from JSON. Fields are checked by [`Instance::check`].
    ///
    /// # Errors
    /// As [`read`].
    pub(super) fn from_json(json: &[u8]) -> Result<Self> {
        read(json)
    }

    /// The instance of a row: what a tensor says stands over what `options` says; an empty text says nothing.
    ///
    /// # Errors
    /// A text is no UTF-8, a gender is none, or `options` is no instance.
    pub(super) fn of_row(request: &InferRequest, row: usize) -> Result<Self> {
        let text = |name: &str| Ok::<_, Error>(wire::text(request, name, row)?.filter(|text| !text.is_empty()));
        let told = wire::options(request, row).map_or_else(|| Ok(Self::default()), Self::from_json)?;
        Ok(Self {
            request: text(REQUEST)?.or(told.request),
            query: text(QUERY)?.or(told.query),
            gender: text(GENDER)?.map(|name| Gender::from_name(&name)).transpose()?.or(told.gender),
            customer_id: text(CUSTOMER_ID)?.or(told.customer_id),
            transaction_date: text(TRANSACTION_DATE)?.or(told.transaction_date),
            ..told
        })
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is wrong, with what was expected.
    pub(super) fn check(self, columns: &Columns) -> Result<Question> {
        self.validate().map_err(|errors| describe(&errors))?;
        self.transaction_date.as_deref().map(parse_date).transpose()?;
        let words = match (self.request, self.query) {
            (Some(request), None) => Words::Request(request),
            (None, Some(query)) => Words::Query(query),
            (Some(_), Some(_)) => return Err(Error::invalid("fields `request` and `query`: expected one of them")),
            (None, None) => return Err(Error::invalid("field `request`: missing (expected text, or a `query`)")),
        };
        Ok(Question {
            words,
            gender: self.gender.unwrap_or_default(),
            customer_id: self.customer_id,
            day: day(self.transaction_date.as_deref()),
            k: usize::try_from(self.k.unwrap_or(ARTICLES)).unwrap_or_default(),
            exclude: self.exclude,
            filter: self.filter.map(|conditions| conditions.check(columns)).transpose()?.map(Arc::new),
        })
    }
}

fn check_words(words: &str) -> Result<(), ValidationError> {
    let count = words.chars().count();
    if count > MOST_WORDS {
        return Err(wrong(format!("expected at most {MOST_WORDS} characters, got {count}")));
    }
    if words.trim().is_empty() { Err(wrong("expected words")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use dataplane::{BytesData, InferRequest, Tensor};

    use super::{Gender, Instance, Words};
    use crate::filter::Columns;

    fn refusal(json: &str) -> String {
        let checked = Instance::from_json(json.as_bytes()).and_then(|instance| instance.check(&Columns::default()));
        checked.unwrap_err().message().to_owned()
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        let long = format!(r#"{{"request":"{}"}}"#, "é".repeat(2_001));
        for (json, expected) in [
            ("{}", "field `request`: missing (expected text, or a `query`)"),
            (r#"{"request":"a","query":"b"}"#, "fields `request` and `query`: expected one of them"),
            (r#"{"request":" \n"}"#, "field `request`: expected words"),
            (long.as_str(), "field `request`: expected at most 2000 characters, got 2001"),
            (r#"{"query":"a","k":101}"#, "field `k`: expected a whole number from 1 to 100"),
            (r#"{"query":"a","customer_id":""}"#, "field `customer_id`: expected 1 to 256 characters"),
            (r#"{"query":7}"#, "field `query`: invalid type: integer `7`, expected a string"),
        ] {
            assert_eq!(refusal(json), expected, "{json}");
        }
        assert!(refusal(r#"{"query":"a","gender":"x"}"#).starts_with("field `gender`: unknown variant `x`"));
        assert!(refusal(r#"{"query":"a","transaction_date":"x"}"#).starts_with("field `transaction_date`"));
        assert!(refusal(r#"{"query":"a","ranker":"x"}"#).contains("unknown field `ranker`"));
    }

    #[test]
    fn words_are_counted_in_characters() {
        let json = format!(r#"{{"request":"{}"}}"#, "é".repeat(2_000));
        assert!(Instance::from_json(json.as_bytes()).unwrap().check(&Columns::default()).is_ok());
    }

    #[test]
    fn a_tensor_stands_over_the_options_and_an_empty_text_says_nothing() {
        let bytes = |name: &str, texts: [&str; 2]| Tensor::vector(name, texts.into_iter().collect::<BytesData>());
        let request = InferRequest::of(vec![
            bytes("query", ["red", ""]),
            bytes("gender", ["men", ""]),
            bytes("options", [r#"{"query":"blue","gender":"women","k":3}"#, r#"{"request":"a wedding"}"#]),
        ]);
        let first = Instance::of_row(&request, 0).unwrap().check(&Columns::default()).unwrap();
        assert_eq!((first.words, first.gender, first.k), (Words::Query("red".to_owned()), Gender::Men, 3));
        let second = Instance::of_row(&request, 1).unwrap().check(&Columns::default()).unwrap();
        assert_eq!((second.words, second.gender), (Words::Request("a wedding".to_owned()), Gender::Any));
        let wrong = InferRequest::of(vec![bytes("gender", ["boys", ""])]);
        let refusal = Instance::of_row(&wrong, 0).unwrap_err();
        assert_eq!(refusal.message(), "field `gender`: expected `women`, `men` or `any`, got `boys`");
    }
}
