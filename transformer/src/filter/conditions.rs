//! A filter as a request has it: a JSON object, a condition for each column.

use std::{collections::BTreeSet, fmt, marker::PhantomData, sync::Arc};

use catalog::{
    articles::Articles,
    filter::{Condition, Filter, Kind, Range, Texts},
};
use dataplane::{Error, Result};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::Value;

use crate::instance::shown;

/// The most columns of one filter.
const MAX_COLUMNS: usize = 32;
/// The most values of one list.
const MAX_VALUES: usize = 1000;

/// The columns that a filter can name, in the order of the article table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns(Arc<[(String, Kind)]>);

impl Columns {
    /// Those of these articles.
    pub(crate) fn of(articles: &Articles) -> Self {
        Self(articles.columns().map(|(name, kind)| (name.to_owned(), kind)).collect())
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind)
    }
}

/// A condition for each column, as they were given; nothing is checked yet but that they are objects.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Conditions(Object<Given>);

/// What a column is to be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Given {
    Operators(Object<Value>),
    /// What it is equal to; an object only where that names an operator twice.
    Plain(Value),
}

impl Conditions {
    /// The filter that is meant.
    ///
    /// # Errors
    /// The first thing that is wrong, by its path (`filter.price.gte`), with what was expected.
    pub(crate) fn check(&self, columns: &Columns) -> Result<Filter> {
        let Object(conditions) = &self.0;
        if conditions.len() > MAX_COLUMNS {
            let got = conditions.len();
            return Err(wrong("filter", format_args!("expected at most {MAX_COLUMNS} columns, got {got}")));
        }
        let conditions = conditions.iter().map(|(name, given)| {
            let path = format!("filter.{}", shown(name));
            let condition = match columns.kind(name) {
                Some(Kind::Text) => texts(&path, given).map(Condition::Texts),
                Some(Kind::Number) => range(&path, given).map(Condition::Range),
                None => {
                    let known: Vec<_> = columns.0.iter().map(|(known, _)| format!("`{known}`")).collect();
                    Err(wrong(&path, format_args!("no such column, expected one of {}", known.join(", "))))
                }
            };
            Ok((name.clone(), condition?))
        });
        conditions.collect()
    }
}

fn texts(path: &str, given: &Given) -> Result<Texts> {
    let one = |path: &str, value: &Value| Ok(BTreeSet::from([text(path, value, "a string")?]));
    let operators = match given {
        Given::Operators(operators) => operators,
        Given::Plain(value) => {
            let text = text(path, value, "a string, or an object of `in`, `not` and `not_in`, each once")?;
            return Ok(Texts { any_of: Some([text].into()), ..Texts::default() });
        }
    };
    let mut texts = Texts::default();
    for (operator, path, value) in operators.each(path, "`in`, `not` and `not_in`")? {
        match operator {
            "in" => texts.any_of = Some(list(&path, value)?),
            "not" => texts.none_of.extend(one(&path, value)?),
            "not_in" => texts.none_of.extend(list(&path, value)?),
            _ => return Err(wrong(&path, "no such operator, expected `in`, `not` or `not_in`")),
        }
    }
    Ok(texts)
}

fn list(path: &str, value: &Value) -> Result<BTreeSet<String>> {
    let Value::Array(values) = value else {
        return Err(wrong(path, format_args!("expected a list of strings, got {}", told(value))));
    };
    if values.is_empty() || values.len() > MAX_VALUES {
        return Err(wrong(path, format_args!("expected 1 to {MAX_VALUES} strings, got {}", values.len())));
    }
    values.iter().enumerate().map(|(place, value)| text(&format!("{path}[{place}]"), value, "a string")).collect()
}

fn text(path: &str, value: &Value, expected: &str) -> Result<String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| wrong(path, format_args!("expected {expected}, got {}", told(value))))
}

fn range(path: &str, given: &Given) -> Result<Range> {
    let operators = match given {
        Given::Operators(operators) => operators,
        Given::Plain(value) => {
            let expected = "a number, or an object of `gte`, `gt`, `lte` and `lt`, each once";
            let number = Some(number(path, value, expected)?);
            return Ok(Range { gte: number, lte: number, ..Range::default() });
        }
    };
    let mut range = Range::default();
    for (operator, path, value) in operators.each(path, "`gte`, `gt`, `lte` and `lt`")? {
        let bound = match operator {
            "gte" => &mut range.gte,
            "gt" => &mut range.gt,
            "lte" => &mut range.lte,
            "lt" => &mut range.lt,
            _ => return Err(wrong(&path, "no such operator, expected `gte`, `gt`, `lte` or `lt`")),
        };
        *bound = Some(number(&path, value, "a number")?);
    }
    Ok(range)
}

/// A number as the column has it: a bound of 0.05 is to be the 0.05 of an article.
fn number(path: &str, value: &Value, expected: &str) -> Result<f32> {
    #[allow(clippy::cast_possible_truncation)] // FP32 is what the column has
    let number = value.as_f64().map(|number| number as f32);
    let number = number.ok_or_else(|| wrong(path, format_args!("expected {expected}, got {}", told(value))))?;
    let is_there = number.is_finite().then_some(number);
    is_there.ok_or_else(|| wrong(path, format_args!("expected a number within FP32, got {}", told(value))))
}

fn wrong(path: &str, what: impl fmt::Display) -> Error {
    Error::invalid(format!("field `{path}`: {what}"))
}

/// A value as an answer may say it.
fn told(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        value => shown(&value.to_string()),
    }
}

/// The members of a JSON object in their order, in which no name stands twice.
#[derive(Clone, Debug, PartialEq)]
struct Object<T>(Vec<(String, T)>);

impl Object<Value> {
    /// Each operator with its path. There must be one.
    fn each<'a>(&'a self, path: &'a str, known: &str) -> Result<impl Iterator<Item = (&'a str, String, &'a Value)>> {
        if self.0.is_empty() {
            return Err(wrong(path, format_args!("expected at least one of {known}")));
        }
        Ok(self.0.iter().map(move |(name, value)| (name.as_str(), format!("{path}.{}", shown(name)), value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut names) = (Vec::new(), BTreeSet::new());
        while let Some((name, member)) = map.next_entry::<String, T>()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("`{}` is given twice", shown(&name))));
            }
            members.push((name, member));
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use catalog::filter::Kind;

    use super::{Columns, Conditions};
    use crate::instance::Instance;

    fn columns() -> Columns {
        let columns = [("article_id", Kind::Text), ("colour_group_name", Kind::Text), ("price", Kind::Number)];
        Columns(columns.map(|(name, kind)| (name.to_owned(), kind)).into())
    }

    fn canonical(filter: &str) -> String {
        let conditions: Conditions = serde_json::from_str(filter).unwrap();
        conditions.check(&columns()).unwrap().canonical()
    }

    fn refusal(filter: &str) -> String {
        let json = format!(r#"{{"customer_id":"c","transaction_date":"2020-09-16","filter":{filter}}}"#);
        let checked = Instance::from_json(json.as_bytes()).and_then(|instance| instance.filter(&columns()));
        checked.unwrap_err().message().to_owned()
    }

    #[test]
    fn each_form_of_a_condition_is_understood() {
        for (given, meant) in [
            ("{}", "{}"),
            (r#"{"colour_group_name":"Red"}"#, r#"{"colour_group_name":{"in":["Red"]}}"#),
            (r#"{"colour_group_name":{"in":["b","a","b"]}}"#, r#"{"colour_group_name":{"in":["a","b"]}}"#),
            (
                r#"{"colour_group_name":{"not":"c","not_in":["b","a"],"in":["d"]}}"#,
                r#"{"colour_group_name":{"in":["d"],"not_in":["a","b","c"]}}"#,
            ),
            (r#"{"price":{"lt":2,"gte":0.05}}"#, r#"{"price":{"gte":0.05,"lt":2.0}}"#),
            (r#"{"price":{"gt":-1,"lte":1e-50}}"#, r#"{"price":{"gt":-1.0,"lte":0.0}}"#),
            (r#"{"price":0.5,"article_id":"x"}"#, r#"{"article_id":{"in":["x"]},"price":{"gte":0.5,"lte":0.5}}"#),
        ] {
            assert_eq!(canonical(given), meant, "{given}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path_with_what_was_expected() {
        let texts = "a string, or an object of `in`, `not` and `not_in`, each once";
        let numbers = "a number, or an object of `gte`, `gt`, `lte` and `lt`, each once";
        for (given, expected) in [
            ("[]", "filter`: invalid type: sequence, expected an object".to_owned()),
            ("7", "filter`: invalid type: integer `7`, expected an object".to_owned()),
            (
                r#"{"size":"M"}"#,
                "filter.size`: no such column, expected one of `article_id`, `colour_group_name`, `price`".to_owned(),
            ),
            (r#"{"article_id":5}"#, format!("filter.article_id`: expected {texts}, got 5")),
            (r#"{"article_id":["a"]}"#, format!("filter.article_id`: expected {texts}, got a list")),
            (r#"{"article_id":null}"#, format!("filter.article_id`: expected {texts}, got null")),
            (r#"{"article_id":{"not":"a","not":"b"}}"#, format!("filter.article_id`: expected {texts}, got an object")),
            (
                r#"{"article_id":{}}"#,
                "filter.article_id`: expected at least one of `in`, `not` and `not_in`".to_owned(),
            ),
            (
                r#"{"article_id":{"gte":1}}"#,
                "filter.article_id.gte`: no such operator, expected `in`, `not` or `not_in`".to_owned(),
            ),
            (
                r#"{"article_id":{"in":"a"}}"#,
                r#"filter.article_id.in`: expected a list of strings, got "a""#.to_owned(),
            ),
            (r#"{"article_id":{"in":[]}}"#, "filter.article_id.in`: expected 1 to 1000 strings, got 0".to_owned()),
            (
                r#"{"article_id":{"in":["a","b","c",5]}}"#,
                "filter.article_id.in[3]`: expected a string, got 5".to_owned(),
            ),
            (
                r#"{"article_id":{"not_in":[{}]}}"#,
                "filter.article_id.not_in[0]`: expected a string, got an object".to_owned(),
            ),
            (r#"{"article_id":{"not":true}}"#, "filter.article_id.not`: expected a string, got true".to_owned()),
            (r#"{"price":"1"}"#, format!(r#"filter.price`: expected {numbers}, got "1""#)),
            (
                r#"{"price":{"in":[1]}}"#,
                "filter.price.in`: no such operator, expected `gte`, `gt`, `lte` or `lt`".to_owned(),
            ),
            (r#"{"price":{"gte":"1"}}"#, r#"filter.price.gte`: expected a number, got "1""#.to_owned()),
            (r#"{"price":{"lt":1e300}}"#, "filter.price.lt`: expected a number within FP32, got 1e+300".to_owned()),
            (r#"{"price":{}}"#, "filter.price`: expected at least one of `gte`, `gt`, `lte` and `lt`".to_owned()),
        ] {
            assert_eq!(refusal(given), format!("field `{expected}"), "{given}");
        }
        assert!(refusal(r#"{"price":1,"price":2}"#).contains("`price` is given twice"));
    }

    #[test]
    fn a_filter_has_an_end() {
        let columns: Vec<_> = (0..33).map(|number| format!(r#""column {number}":"a""#)).collect();
        let filter = format!("{{{}}}", columns.join(","));
        assert_eq!(refusal(&filter), "field `filter`: expected at most 32 columns, got 33");
        let values = vec![r#""a""#; 1001].join(",");
        let filter = format!(r#"{{"article_id":{{"not_in":[{values}]}}}}"#);
        assert_eq!(refusal(&filter), "field `filter.article_id.not_in`: expected 1 to 1000 strings, got 1001");
        assert!(refusal(&format!(r#"{{"{}":"a"}}"#, "x".repeat(1000))).len() < 200);
    }
}
