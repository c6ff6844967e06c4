//! Events as they are told: plain JSON, one or many, and CloudEvents 1.0 in each of its modes.

use std::{borrow::Cow, fmt};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use catalog::events::{Event, Kind};
use dataplane::{Error, Kind as ErrorKind, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

/// So many characters an id may have.
const LONGEST: usize = 256;
/// Most events of a request.
const MOST: usize = 1_000;
/// The part of a type that says what was done comes last, after a domain.
const KINDS: &str = "shown, click, purchase or dismiss";
/// Clocks may differ by so much.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// An event as plain JSON. What is missing or wrong is said by [`Plain::check`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    time: Option<String>,
    customer_id: Option<String>,
    visitor_id: Option<String>,
    article_id: Option<String>,
    list_id: Option<String>,
}

/// A CloudEvent's attributes and data. Extensions are its sender's own affair.
#[derive(Deserialize)]
struct Cloud<'a> {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    time: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// A CloudEvent's data. They may say more than is read here.
#[derive(Deserialize)]
struct CloudData {
    customer_id: Option<String>,
    visitor_id: Option<String>,
    article_id: Option<String>,
    list_id: Option<String>,
}

/// The events of a request that came at `now`. If one is wrong, all are refused.
///
/// # Errors
/// A content type that is not read here; what is no JSON; the first event that is wrong, by its number where there are several, with the
/// field and what was expected.
pub(super) fn events(headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Vec<Event>> {
    match content_type(headers).as_ref() {
        // Before headers are looked at: what is structured may have its attributes there too.
        "application/cloudevents+json" => Ok(vec![structured(body)?.check(now)?]),
        "application/cloudevents-batch+json" => each(body, now, structured),
        _ if headers.contains_key("ce-specversion") => Ok(vec![in_headers(headers, body)?.check(now)?]),
        "" | "application/json" => {
            if body.trim_ascii_start().starts_with(b"[") {
                each(body, now, |item| parse(item))
            } else {
                Ok(vec![parse::<Plain>(body)?.check(now)?])
            }
        }
        other => Err(Error::new(
            ErrorKind::UnsupportedMediaType,
            format!(
                "content type `{}`: expected application/json, application/cloudevents+json or application/cloudevents-batch+json",
                shown(other)
            ),
        )),
    }
}

/// The first [`MOST`] items of a list, and how many it has: a list of millions takes no room before it is refused.
struct Items<'a>(Vec<&'a RawValue>, usize);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < MOST
                    && let Some(item) = list.next_element()?
                {
                    items.push(item);
                }
                let mut count = items.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items(items, count))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

fn each(body: &[u8], now: Timestamp, read: impl Fn(&[u8]) -> Result<Plain>) -> Result<Vec<Event>> {
    let Items(items, count) = serde_json::from_slice(body).map_err(|error| Error::malformed(plain(&error)))?;
    if count == 0 || count > MOST {
        return Err(Error::invalid(format!("expected 1 to {MOST} events, got {count}")));
    }
    let events = items.iter().enumerate().map(|(number, item)| {
        let event = read(item.get().as_bytes()).and_then(|event| event.check(now));
        event.map_err(|error| error.at(format_args!("event {number}")))
    });
    events.collect()
}

/// Binary mode: attributes are headers, the body is the data.
fn in_headers(headers: &HeaderMap, body: &[u8]) -> Result<Plain> {
    let attribute = |name: &str| headers.get(name).map(|value| decoded(name, value)).transpose();
    check_version(attribute("ce-specversion")?.as_deref())?;
    let essence = content_type(headers);
    if !essence.is_empty() && essence != "application/json" && !essence.ends_with("+json") {
        let text = format!("content type `{}`: expected application/json", shown(&essence));
        return Err(Error::new(ErrorKind::UnsupportedMediaType, text));
    }
    let (id, source, kind) = (attribute("ce-id")?, attribute("ce-source")?, attribute("ce-type")?);
    cloud(id, source, kind, attribute("ce-time")?, body)
}

/// Structured mode: one JSON object with attributes and data.
fn structured(json: &[u8]) -> Result<Plain> {
    let Cloud { specversion, id, source, kind, time, data, data_base64 } = parse(json)?;
    check_version(specversion.as_deref())?;
    let data = match (data, data_base64) {
        (Some(data), None) => Cow::Borrowed(data.get().as_bytes()),
        (None, Some(text)) => {
            let data = BASE64_STANDARD.decode(text);
            Cow::Owned(data.map_err(|error| Error::invalid(format!("field `data_base64`: is no base64: {error}")))?)
        }
        (Some(_), Some(_)) => return Err(Error::invalid("field `data`: expected it or `data_base64`, got both")),
        (None, None) => return Err(missing("data", "an object with customer_id or visitor_id, and article_id")),
    };
    cloud(id, source, kind, time, &data)
}

fn cloud(
    id: Option<String>,
    source: Option<String>,
    kind: Option<String>,
    time: Option<String>,
    data: &[u8],
) -> Result<Plain> {
    let source = source.filter(|source| !source.is_empty()).ok_or_else(|| missing("source", "who sends the event"))?;
    let CloudData { customer_id, visitor_id, article_id, list_id } =
        parse(data).map_err(|error| error.at("field `data`"))?;
    // A type is a name in reverse-DNS form, or the kind alone.
    let kind = kind.map(|kind| kind.rsplit('.').next().unwrap_or_default().to_owned());
    Ok(Plain { id, source: Some(source), kind, time, customer_id, visitor_id, article_id, list_id })
}

fn check_version(version: Option<&str>) -> Result<()> {
    match version {
        Some("1.0") => Ok(()),
        Some(other) => Err(Error::invalid(format!("field `specversion`: expected 1.0, got `{}`", shown(other)))),
        None => Err(missing("specversion", "1.0")),
    }
}

impl Plain {
    fn check(self, now: Timestamp) -> Result<Event> {
        let (customer_id, visitor) = match (self.customer_id, self.visitor_id) {
            (Some(id), None) => (text("customer_id", id)?, false),
            (None, Some(id)) => (text("visitor_id", id)?, true),
            (Some(_), Some(_)) => {
                return Err(Error::invalid("field `visitor_id`: expected it or `customer_id`, got both"));
            }
            (None, None) => return Err(missing("customer_id", "a customer's id here or a visitor's as visitor_id")),
        };
        let kind = self.kind.ok_or_else(|| missing("type", KINDS))?;
        let kind = Kind::named(&kind)
            .ok_or_else(|| Error::invalid(format!("field `type`: expected {KINDS}, got `{}`", shown(&kind))))?;
        let id =
            self.id.ok_or_else(|| missing("id", "the event's own id: told again with it, an event counts once"))?;
        let article_id = self.article_id.ok_or_else(|| missing("article_id", "an article's id"))?;
        Ok(Event {
            event_id: text("id", id)?,
            source: self
                .source
                .filter(|source| !source.is_empty())
                .map(|source| text("source", source))
                .transpose()?
                .unwrap_or_default(),
            customer_id,
            visitor,
            kind,
            article_id: text("article_id", article_id)?,
            list_id: self.list_id.map(|list| text("list_id", list)).transpose()?,
            occurred_at: time(self.time.as_deref(), now)?,
        })
    }
}

/// An id that every store can have.
fn text(field: &str, text: String) -> Result<String> {
    let length = text.chars().count();
    if !(1..=LONGEST).contains(&length) {
        return Err(Error::invalid(format!("field `{field}`: expected 1 to {LONGEST} characters, got {length}")));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(format!("field `{field}`: expected no control characters")));
    }
    Ok(text)
}

fn time(text: Option<&str>, now: Timestamp) -> Result<Timestamp> {
    let Some(text) = text else { return Ok(now) };
    let wrong = |expected: &str| Error::invalid(format!("field `time`: expected {expected}, got `{}`", shown(text)));
    let time: Timestamp = text.parse().map_err(|_| wrong("a time such as 2020-09-16T10:00:00Z"))?;
    // A time that is far ahead would stay the newest for ever.
    let latest = now.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
    if (Timestamp::UNIX_EPOCH..=latest).contains(&time) {
        Ok(time)
    } else {
        Err(wrong("a time from 1970 to a day from now"))
    }
}

fn missing(field: &str, expected: &str) -> Error {
    Error::invalid(format!("field `{field}`: missing (expected {expected})"))
}

/// JSON, with the field that is wrong.
fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Error::invalid("expected an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, text) = (error.path().to_string(), plain(error.inner()));
        if error.inner().classify() != Category::Data {
            return Error::malformed(text);
        }
        if path == "." { Error::invalid(text) } else { Error::invalid(format!("field `{path}`: {text}")) }
    })?;
    deserializer.end().map_err(|error| Error::malformed(plain(&error)))?;
    Ok(value)
}

/// A parser's message without its line and column.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned()
}

/// As much of what was given as belongs into an answer.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

fn content_type(headers: &HeaderMap) -> Cow<'_, str> {
    let text = headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("unreadable"));
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().into()
}

/// A header's value as CloudEvents' HTTP binding reads it: quotes around it are taken off, as older senders put them there, and then one
/// round of percent-encoding, which must be UTF-8.
fn decoded(name: &str, value: &HeaderValue) -> Result<String> {
    let value = unquoted(value.as_bytes());
    let (mut text, mut rest) = (Vec::new(), value.as_ref());
    while let [first, others @ ..] = rest {
        let byte = if *first == b'%' { escaped(others) } else { None };
        text.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[2..] } else { others };
    }
    String::from_utf8(text).map_err(|_| Error::invalid(format!("header `{name}`: expected percent-encoded UTF-8")))
}

/// The byte that two hexadecimal digits say.
fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |position: usize| char::from(*text.get(position)?).to_digit(16);
    u8::try_from(16 * digit(0)? + digit(1)?).ok()
}

/// What is inside a quoted string, where a backslash stands before what is meant as it is.
fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(quoted) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else { return value.into() };
    let mut bytes = quoted.iter();
    let next = || bytes.next().map(|&byte| if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    std::iter::from_fn(next).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests;
