//! What a caller asks for: one instance of a V1 request, one row of a V2 request.

use std::{borrow::Cow, sync::Arc};

use catalog::filter::Filter;
use dataplane::{Error, Result};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
};
use serde::{Deserialize, de::DeserializeOwned};
use validator::{Validate, ValidateArgs, ValidationError, ValidationErrors};

use crate::filter::{Columns, Conditions};

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// The most ids in `exclude`.
pub(crate) const MAX_EXCLUDE: u64 = 10_000;

/// The most ids in `history`; models know fewer.
const MAX_HISTORY: u64 = 1_000;

/// The most articles of one answer that are explained, so the largest `k` where explanations are asked for.
const MAX_EXPLAINED: usize = 20;

/// One question: who asks, when, and what they want left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[validate(context = Bounds)]
pub(crate) struct Instance {
    /// Required; any text.
    #[serde(default)]
    #[validate(length(min = 1, max = 256, message = "expected 1 to 256 characters"))]
    pub(crate) customer_id: String,
    /// ISO date or date-time; says the month.
    pub(crate) transaction_date: Option<String>,
    /// The query, already embedded. Then the months come from the fields below, or from the date.
    #[validate(custom(function = "check_query_emb", use_context))]
    pub(crate) query_emb: Option<Vec<f32>>,
    /// sin(2π·month/12)
    #[validate(range(min = -1.0, max = 1.0, message = "expected a number from -1 to 1"))]
    pub(crate) month_sin: Option<f32>,
    /// cos(2π·month/12)
    #[validate(range(min = -1.0, max = 1.0, message = "expected a number from -1 to 1"))]
    pub(crate) month_cos: Option<f32>,
    /// How many articles to return; all candidates where it is not given.
    #[validate(custom(function = "check_k", use_context))]
    pub(crate) k: Option<u64>,
    /// Ids of articles that must not be in the answer.
    #[serde(default)]
    #[validate(length(max = MAX_EXCLUDE, message = "expected at most 10000 ids"))]
    pub(crate) exclude: Vec<String>,
    /// Ids of articles that the caller knows to have been touched of late, newest first: what a visitor without an id clicked on.
    #[serde(default)]
    #[validate(length(max = MAX_HISTORY, message = "expected at most 1000 ids"))]
    pub(crate) history: Vec<String>,
    /// Conditions on article columns, which all articles of the answer meet.
    pub(crate) filter: Option<Conditions>,
    /// In years, for a customer whose age the store does not know.
    #[validate(range(min = 0.0, max = 130.0, message = "expected years from 0 to 130"))]
    pub(crate) age: Option<f32>,
    /// The id of an article whose way is to be told beside explanations.
    #[validate(length(min = 1, max = 256, message = "expected 1 to 256 characters"))]
    pub(crate) article_id: Option<String>,
    /// Whether all candidates are to be told beside explanations.
    #[serde(default)]
    pub(crate) candidates: bool,
    /// The ranker to use.
    #[validate(custom(function = "check_ranker", use_context))]
    pub(crate) ranker: Option<String>,
}

/// What the server's settings and bundle allow.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// How many are retrieved, so the largest `k`.
    pub(crate) candidates: usize,
    /// Length of `query_emb`.
    pub(crate) embedding_size: usize,
    /// The rankers' names.
    pub(crate) rankers: Arc<[String]>,
}

impl Bounds {
    /// What they are where explanations are asked for.
    pub(crate) fn explaining(&self) -> Self {
        Self { candidates: self.candidates.min(MAX_EXPLAINED), ..self.clone() }
    }
}

/// The time of year as the models see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Season {
    /// sin(2π·month/12)
    pub(crate) month_sin: f32,
    /// cos(2π·month/12)
    pub(crate) month_cos: f32,
}

impl Instance {
    /// Reads an instance from JSON. Fields are checked by [`Instance::check`].
    ///
    /// # Errors
    /// It is no object, has an unknown field, or a field of another type; the text names it.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self> {
        read(json)
    }

    /// Checks every field, and says which season it is.
    ///
    /// # Errors
    /// The first field that is wrong, with what was expected.
    pub(crate) fn check(&self, bounds: &Bounds) -> Result<Season> {
        self.validate_with_args(bounds).map_err(|errors| describe(&errors))?;
        self.season()
    }

    /// The day that it is asked on, in days since 1970-01-01; today, in UTC, where it does not say.
    pub(crate) fn day(&self) -> i32 {
        day(self.transaction_date.as_deref())
    }

    /// Checks the filter, where there is one.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with what was expected.
    pub(crate) fn filter(&self, columns: &Columns) -> Result<Option<Filter>> {
        self.filter.as_ref().map(|conditions| conditions.check(columns)).transpose()
    }

    /// Checks that an article's way and the candidates are asked for where they are told.
    ///
    /// # Errors
    /// Nothing is explained.
    pub(crate) fn check_traced(&self, explain: bool) -> Result<()> {
        let asked = [("article_id", self.article_id.is_some()), ("candidates", self.candidates)];
        match asked.into_iter().find(|(_, asked)| *asked && !explain) {
            Some((field, _)) => {
                Err(Error::invalid(format!("field `{field}`: expected only where explanations are asked for")))
            }
            None => Ok(()),
        }
    }

    fn season(&self) -> Result<Season> {
        if self.query_emb.is_none() && (self.month_sin.is_some() || self.month_cos.is_some()) {
            return Err(Error::invalid("fields `month_sin` and `month_cos`: expected only beside `query_emb`"));
        }
        if self.month_sin.is_some() != self.month_cos.is_some() {
            return Err(Error::invalid("fields `month_sin` and `month_cos`: expected both or neither"));
        }
        let from_date =
            self.transaction_date.as_deref().map(parse_date).transpose()?.map(|date| Season::of(date.month()));
        match (self.month_sin, self.month_cos, from_date) {
            (Some(month_sin), Some(month_cos), _) => Ok(Season { month_sin, month_cos }),
            (_, _, Some(season)) => Ok(season),
            _ if self.query_emb.is_some() => {
                Err(Error::invalid("fields `month_sin` and `month_cos`: missing (expected numbers beside `query_emb`)"))
            }
            _ => Err(Error::invalid("field `transaction_date`: missing (expected an ISO date such as 2020-09-16)")),
        }
    }
}

impl Season {
    /// The season of a month, 1 to 12.
    pub(crate) fn of(month: i8) -> Self {
        let angle = 2.0 * std::f64::consts::PI * f64::from(month) / 12.0;
        #[allow(clippy::cast_possible_truncation)] // FP32 is what the models take
        Self { month_sin: angle.sin() as f32, month_cos: angle.cos() as f32 }
    }
}

/// Reads an object from JSON.
///
/// # Errors
/// It is none, has an unknown field, or a field of another type; the text names it.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Error::invalid("expected an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let object = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, text) = (error.path().to_string(), plain(error.inner()));
        if path == "." { Error::invalid(text) } else { Error::invalid(format!("field `{path}`: {text}")) }
    })?;
    deserializer.end().map_err(|error| Error::invalid(plain(&error)))?;
    Ok(object)
}

/// The day of a date that was checked, in days since 1970-01-01; today, in UTC, where there is none.
pub(crate) fn day(date: Option<&str>) -> i32 {
    let date = date.and_then(|text| parse_date(text).ok());
    let days = date.map(|date| date.duration_since(Date::constant(1970, 1, 1)).as_secs());
    let days = days.unwrap_or_else(|| Timestamp::now().as_second()).div_euclid(SECONDS_A_DAY);
    i32::try_from(days).unwrap_or_default()
}

/// A parser's message without its line and column, which count from the start of an excerpt.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned()
}

/// As much of what was given as belongs into an answer.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A date, or the date of a date-time as it is written: its month is the customer's own.
pub(crate) fn parse_date(text: &str) -> Result<Date> {
    let wrong = || {
        let got = shown(text);
        Error::invalid(format!(
            "field `transaction_date`: expected an ISO date or date-time such as 2020-09-16, got `{got}`"
        ))
    };
    // jiff refuses a `Z` on a civil time, lest it be read as local; here only the date counts.
    let civil = text.strip_suffix(['Z', 'z']).filter(|rest| rest.contains(['T', 't', ' '])).unwrap_or(text);
    let has_dashes = text.as_bytes().get(4) == Some(&b'-');
    civil.parse::<DateTime>().ok().filter(|_| has_dashes).map(DateTime::date).ok_or_else(wrong)
}

fn check_query_emb(values: &[f32], bounds: &Bounds) -> Result<(), ValidationError> {
    let size = bounds.embedding_size;
    if values.len() != size {
        return Err(wrong(format!("expected {size} numbers, got {}", values.len())));
    }
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(wrong("expected finite numbers")) }
}

fn check_k(k: u64, bounds: &Bounds) -> Result<(), ValidationError> {
    if (1..=bounds.candidates as u64).contains(&k) {
        return Ok(());
    }
    Err(wrong(format!("expected a whole number from 1 to {}, got {k}", bounds.candidates)))
}

fn check_ranker(ranker: &str, bounds: &Bounds) -> Result<(), ValidationError> {
    if bounds.rankers.iter().any(|known| known == ranker) {
        return Ok(());
    }
    let known: Vec<_> = bounds.rankers.iter().map(|known| format!("`{known}`")).collect();
    Err(wrong(format!("expected {}, got `{}`", known.join(" or "), shown(ranker))))
}

/// A value that is wrong so.
pub(crate) fn wrong(message: impl Into<Cow<'static, str>>) -> ValidationError {
    ValidationError::new("wrong").with_message(message.into())
}

/// The first thing that is wrong, by its field's name.
pub(crate) fn describe(errors: &ValidationErrors) -> Error {
    // By name, so that the same mistake always gets the same answer.
    let mut errors: Vec<_> = errors.field_errors().into_iter().collect();
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    let first = errors.first().and_then(|(field, errors)| Some((field, errors.first()?.message.as_deref()?)));
    first.map_or_else(
        || Error::invalid("wrong"),
        |(field, message)| Error::invalid(format!("field `{field}`: {message}")),
    )
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Instance, Season, parse_date};

    fn bounds() -> Bounds {
        Bounds { candidates: 100, embedding_size: 2, rankers: ["ranking", "llmranking"].map(str::to_owned).into() }
    }

    fn refusal(json: &str) -> String {
        let season = Instance::from_json(json.as_bytes()).and_then(|instance| instance.check(&bounds()));
        season.unwrap_err().message().to_owned()
    }

    #[test]
    fn dates_and_date_times_say_their_month() {
        for text in [
            "2020-09-16",
            "2020-09-16T23:59:59",
            "2020-09-16 10:00:00",
            "2020-09-16T10:00:00Z",
            "2020-09-16T10:00:00+02:00",
        ] {
            assert_eq!(parse_date(text).unwrap().month(), 9, "{text}");
        }
    }

    #[test]
    fn months_go_round() {
        let september = Season::of(9);
        assert!((september.month_sin + 1.0).abs() < 1e-6 && september.month_cos.abs() < 1e-6);
    }

    #[test]
    fn an_embedded_query_needs_no_date() {
        let json = br#"{"customer_id":"c","query_emb":[1,0.5],"month_sin":0.5,"month_cos":0.25}"#;
        let season = Instance::from_json(json).unwrap().check(&bounds()).unwrap();
        assert_eq!(season, Season { month_sin: 0.5, month_cos: 0.25 });
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        for (json, expected) in [
            ("7", "expected an object"),
            (
                r#"{"customer_id":"c","query_emb":[1,2],"month_sin":1,"transaction_date":"2020-09-16"}"#,
                "fields `month_sin` and `month_cos`: expected both or neither",
            ),
            (
                r#"{"customer_id":"c","transaction_date":"2020-09-16","month_sin":1,"month_cos":0}"#,
                "fields `month_sin` and `month_cos`: expected only beside `query_emb`",
            ),
            (r#"{"customer_id":"c"}{"k":1}"#, "trailing characters"),
            ("{}", "field `customer_id`: expected 1 to 256 characters"),
            (r#"{"customer_id":5}"#, "field `customer_id`: invalid type: integer `5`, expected a string"),
            (r#"{"customer_id":"c"}"#, "field `transaction_date`: missing (expected an ISO date such as 2020-09-16)"),
            (
                r#"{"customer_id":"c","transaction_date":"16.9.2020"}"#,
                "field `transaction_date`: expected an ISO date or date-time such as 2020-09-16, got `16.9.2020`",
            ),
            (
                r#"{"customer_id":"c","transaction_date":"2020-02-30"}"#,
                "field `transaction_date`: expected an ISO date or date-time such as 2020-09-16, got `2020-02-30`",
            ),
            (
                r#"{"customer_id":"c","transaction_date":"2020-09-16","k":0}"#,
                "field `k`: expected a whole number from 1 to 100, got 0",
            ),
            (r#"{"customer_id":"c","query_emb":[1]}"#, "field `query_emb`: expected 2 numbers, got 1"),
            (
                r#"{"customer_id":"c","query_emb":[1,2]}"#,
                "fields `month_sin` and `month_cos`: missing (expected numbers beside `query_emb`)",
            ),
            (
                r#"{"customer_id":"c","exclude":[1]}"#,
                "field `exclude[0]`: invalid type: integer `1`, expected a string",
            ),
        ] {
            assert_eq!(refusal(json), expected, "{json}");
        }
        assert!(refusal(r#"{"customer_id":"c","exlude":[]}"#).contains("unknown field `exlude`"));
        let ranker = |name: &str| format!(r#"{{"customer_id":"c","transaction_date":"2020-09-16","ranker":"{name}"}}"#);
        assert_eq!(refusal(&ranker("x")), "field `ranker`: expected `ranking` or `llmranking`, got `x`");
        assert!(refusal(&ranker(&"x".repeat(1000))).len() < 200);
        for known in ["ranking", "llmranking"] {
            assert!(Instance::from_json(ranker(known).as_bytes()).unwrap().check(&bounds()).is_ok(), "{known}");
        }
    }

    #[test]
    fn fewer_are_explained_than_are_ranked() {
        let json = |k: u64| format!(r#"{{"customer_id":"c","transaction_date":"2020-09-16","k":{k}}}"#);
        let checked = |k, bounds: &Bounds| Instance::from_json(json(k).as_bytes()).unwrap().check(bounds);
        let explaining = bounds().explaining();
        assert!(checked(20, &explaining).is_ok() && checked(21, &bounds()).is_ok());
        let refusal = checked(21, &explaining).unwrap_err();
        assert_eq!(refusal.message(), "field `k`: expected a whole number from 1 to 20, got 21");
    }
}
