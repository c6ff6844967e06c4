//! CloudEvents 1.0 around V1 inference: a request that is an event is answered by one, in the same mode.
//!
//! Binary mode: the attributes are headers (`ce-id`, …) and the body is the data. Structured mode: the body is a JSON object of the
//! attributes with the data in it, as `data` or `data_base64`.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{body::content_type, json_bytes};
use crate::{
    config::CloudEvents,
    error::{Error, Kind, Result},
    json::{shown, unreadable},
};

const SPECVERSION: &str = "1.0";
const CE_SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
const STRUCTURED: &str = "application/cloudevents+json";

/// Attributes that an answer never copies: its own stand in their place, or they tell of the request's data.
const OWN: [&str; 9] =
    ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "data", "data_base64"];

/// An event that was received: its mode, and what an answer copies of it.
pub(super) enum Event {
    Binary { others: Vec<(HeaderName, HeaderValue)> },
    Structured { others: BTreeMap<String, Box<RawValue>> },
}

/// The members of a body that make it an event.
pub(super) struct Members<'a> {
    pub(super) specversion: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) source: Option<&'a RawValue>,
    pub(super) kind: Option<&'a RawValue>,
    pub(super) time: Option<&'a RawValue>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) data_base64: Option<&'a RawValue>,
}

impl Event {
    /// The event that these headers are, if they are one.
    ///
    /// # Errors
    /// An attribute is missing or not what it must be.
    pub(super) fn in_headers(settings: &CloudEvents, headers: &HeaderMap) -> Result<Option<Self>> {
        let Some(version) = headers.get(CE_SPECVERSION) else { return Ok(None) };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        check_version(&text(version))?;
        for (name, header) in [("id", "ce-id"), ("source", "ce-source"), ("type", "ce-type")] {
            check_text(name, headers.get(header).map(text).as_deref())?;
        }
        if let Some(time) = headers.get("ce-time") {
            check_time(&text(time))?;
        }
        let other = |name: &str| settings.merge && name.strip_prefix("ce-").is_some_and(|name| !OWN.contains(&name));
        let others = headers.iter().filter(|(name, _)| other(name.as_str()));
        Ok(Some(Self::Binary { others: others.map(|(name, value)| (name.clone(), value.clone())).collect() }))
    }

    /// The event that this body is, and its data; nothing if it is none. It is one by its content type, or by having what every
    /// event has: KServe's servers know events by that alone.
    ///
    /// # Errors
    /// An attribute is missing or not what it must be.
    pub(super) fn in_body<'a>(
        settings: &CloudEvents,
        headers: &HeaderMap,
        body: &'a [u8],
        members: &Members<'a>,
    ) -> Result<Option<(Self, Cow<'a, [u8]>)>> {
        let whole = [members.specversion, members.id, members.source, members.kind, members.time]
            .iter()
            .chain([&members.data.or(members.data_base64)])
            .all(Option::is_some);
        if !whole && content_type(headers).as_deref() != Some(STRUCTURED) {
            return Ok(None);
        }
        check_version(&check_text("specversion", string("specversion", members.specversion)?.as_deref())?)?;
        for (name, member) in [("id", members.id), ("source", members.source), ("type", members.kind)] {
            check_text(name, string(name, member)?.as_deref())?;
        }
        if let Some(time) = string("time", members.time)? {
            check_time(&time)?;
        }
        let data = match (members.data, string("data_base64", members.data_base64)?) {
            (Some(data), None) => Cow::Borrowed(data.get().as_bytes()),
            (None, Some(text)) => Cow::Owned(
                BASE64_STANDARD
                    .decode(text)
                    .map_err(|error| malformed("data_base64", &format!("is no base64: {error}")))?,
            ),
            (Some(_), Some(_)) => return Err(malformed("data", "expected it or `data_base64`, got both")),
            (None, None) => return Err(malformed("data", "missing")),
        };
        let mut others = BTreeMap::new();
        if settings.merge {
            others = serde_json::from_slice(body).map_err(|error| unreadable(&error, "an event"))?;
            others.retain(|name: &String, _: &mut Box<RawValue>| !OWN.contains(&name.as_str()));
        }
        Ok(Some((Self::Structured { others }, data)))
    }

    /// The event that answers this one with `data`, which is JSON.
    ///
    /// # Errors
    /// A model's name that no header can hold.
    pub(super) fn answer(self, settings: &CloudEvents, model: &str, data: Vec<u8>) -> Result<Response> {
        let source = settings.source.clone().unwrap_or_else(|| format!("io.kserve.inference.{model}"));
        let (id, time) = (Uuid::new_v4().to_string(), Timestamp::now().to_string());
        match self {
            Self::Binary { others } => {
                let mut response = json_bytes(data);
                response.headers_mut().extend(others);
                for (name, value) in [
                    ("ce-specversion", SPECVERSION),
                    ("ce-id", &id),
                    ("ce-source", &source),
                    ("ce-type", &settings.kind),
                    ("ce-time", &time),
                ] {
                    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(Error::internal)?;
                    response.headers_mut().insert(name, value);
                }
                Ok(response)
            }
            Self::Structured { others } => {
                #[derive(Serialize)]
                struct Answer<'a> {
                    specversion: &'a str,
                    id: &'a str,
                    source: &'a str,
                    r#type: &'a str,
                    time: &'a str,
                    datacontenttype: &'a str,
                    #[serde(flatten)]
                    others: BTreeMap<String, Box<RawValue>>,
                    data: &'a RawValue,
                }
                let data = serde_json::from_slice(&data).map_err(Error::internal)?;
                let answer = Answer {
                    specversion: SPECVERSION,
                    id: &id,
                    source: &source,
                    r#type: &settings.kind,
                    time: &time,
                    datacontenttype: "application/json",
                    others,
                    data,
                };
                let body = serde_json::to_vec(&answer).map_err(Error::internal)?;
                Ok(([(header::CONTENT_TYPE, STRUCTURED)], body).into_response())
            }
        }
    }
}

fn malformed(attribute: &str, what: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("the CloudEvent's attribute `{attribute}`: {what}"))
}

fn string(name: &str, member: Option<&RawValue>) -> Result<Option<String>> {
    let Some(member) = member else { return Ok(None) };
    serde_json::from_str(member.get())
        .map_err(|_| malformed(name, &format!("expected a string, got {}", shown(member.get()))))
}

fn check_text(name: &str, value: Option<&str>) -> Result<String> {
    match value {
        Some("") => Err(malformed(name, "expected a text that is not empty")),
        Some(text) => Ok(text.to_owned()),
        None => Err(malformed(name, "missing")),
    }
}

fn check_version(version: &str) -> Result<()> {
    if version == SPECVERSION {
        return Ok(());
    }
    Err(malformed("specversion", &format!("expected {SPECVERSION}, got {}", shown(version))))
}

fn check_time(time: &str) -> Result<()> {
    let read: Result<Timestamp, _> = time.parse();
    read.map(drop)
        .map_err(|_| malformed("time", &format!("expected a time such as 2026-01-31T12:00:00Z, got {}", shown(time))))
}
