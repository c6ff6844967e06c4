//! How the stylist stands on the wire: metadata, V1 instances and predictions, tensors.

use dataplane::{
    BytesData, Datatype, Error, InferRequest, InferResponse, ModelMetadata, Parameter, Result, Tensor, TensorMetadata,
    model::DIGEST,
    v1::{Predictions, V1Codec},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::wish::{Told, Wish};
use crate::{args::Args, template::Template, wire::DEGRADED};

/// The input with the request, `[B]`.
const REQUEST: &str = "request";
/// The optional input with the gender whose clothes are wanted, `[B]`.
const GENDER: &str = "gender";
/// The optional input with what is known of the customer, a JSON object each, `[B]`.
const PROFILE: &str = "profile";
/// The output with the items, a JSON list each, `[B]`.
pub(super) const ITEMS: &str = "items";
/// The output with the summaries, `[B]`.
pub(super) const SUMMARY: &str = "summary";
/// The answer's parameter with the model that was asked.
pub(super) const LLM: &str = "llm";
/// Most requests of one call: each is a long answer of the LLM.
const MOST: usize = 20;

/// What the model says of itself.
pub(super) fn metadata(args: &Args, template: &Template) -> ModelMetadata {
    let digest = ["stylist", template.digest(), args.llm_model.as_deref().unwrap_or_default()];
    let digest = Sha256::digest(digest.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = |name| TensorMetadata::new(name, Datatype::Bytes, &[-1]);
    let optional = |name| TensorMetadata::optional(name, Datatype::Bytes, &[-1]);
    ModelMetadata {
        name: args.stylist.stylist_model.clone(),
        versions: vec!["1".to_owned()],
        platform: "hemline_llm".to_owned(),
        inputs: vec![text(REQUEST), optional(GENDER), optional(PROFILE)],
        outputs: vec![text(ITEMS), text(SUMMARY)],
        properties: [(DIGEST.to_owned(), format!("sha256:{digest}"))].into(),
    }
}

/// The wishes of a request, one a row.
///
/// # Errors
/// A row is none, or there are too many; the text names input and row.
pub(super) fn wishes(request: &InferRequest) -> Result<Vec<Wish>> {
    let requests = texts(request, REQUEST)?.unwrap_or_default();
    if requests.len() > MOST {
        let text = format!("input `{REQUEST}`: expected at most {MOST} rows, got {}", requests.len());
        return Err(Error::invalid(text));
    }
    let [genders, profiles] = [GENDER, PROFILE].map(|name| of_each(request, name, requests.len()));
    let (genders, profiles) = (genders?, profiles?);
    let rows = requests.iter().zip(genders).zip(profiles).enumerate();
    let wishes = rows.map(|(row, ((request, gender), profile))| {
        let place = |part: &str| format!("input `{part}`: element {row}");
        let no_json = |_| Error::invalid(format!("{}: expected a JSON object", place(PROFILE)));
        let profile = (!profile.trim().is_empty()).then(|| serde_json::from_str(profile).map_err(no_json));
        Wish::of(Told { request, gender, profile: profile.transpose()? }, place)
    });
    wishes.collect()
}

/// An optional input's texts, as many as there are rows; empty ones where it is left out.
fn of_each<'a>(request: &'a InferRequest, name: &str, rows: usize) -> Result<Vec<&'a str>> {
    match texts(request, name)? {
        None => Ok(vec![""; rows]),
        Some(texts) if texts.len() == rows => Ok(texts),
        Some(texts) => {
            let text = format!("input `{name}`: {} rows, where input `{REQUEST}` has {rows}", texts.len());
            Err(Error::invalid(text))
        }
    }
}

fn texts<'a>(request: &'a InferRequest, name: &str) -> Result<Option<Vec<&'a str>>> {
    let Some(texts) = request.input(name).and_then(Tensor::as_bytes) else { return Ok(None) };
    let text = |(row, text): (usize, &'a [u8])| {
        str::from_utf8(text).map_err(|_| Error::invalid(format!("input `{name}`: element {row}: expected UTF-8 text")))
    };
    texts.iter().enumerate().map(text).collect::<Result<_>>().map(Some)
}

/// V1: an object with `request`, and optional `gender` and `profile`. Each instance is a request of its own.
pub(super) struct Instances;

#[derive(Deserialize)]
struct Instance {
    request: Option<serde_json::Value>,
    gender: Option<serde_json::Value>,
    profile: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Prediction<'a> {
    items: &'a RawValue,
    summary: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<&'a str>,
}

impl V1Codec for Instances {
    fn decode(&self, instances: &[&RawValue], _: &ModelMetadata) -> Result<Vec<InferRequest>> {
        let requests = instances.iter().enumerate().map(|(position, instance)| {
            let place = |part: &str| format!("instances[{position}]: field `{part}`");
            let wrong = |part: &str, expected: &str| Error::invalid(format!("{}: expected {expected}", place(part)));
            let instance: Instance = serde_json::from_str(instance.get()).map_err(|error| {
                Error::invalid(format!("instances[{position}]: expected an object with a `{REQUEST}`"))
                    .with_detail(error)
            })?;
            let request = instance.request.as_ref().and_then(serde_json::Value::as_str);
            let request = request.ok_or_else(|| wrong(REQUEST, "text"))?;
            let gender = match &instance.gender {
                None => "",
                Some(gender) => gender.as_str().ok_or_else(|| wrong(GENDER, "text"))?,
            };
            let profile = instance.profile.as_ref().map_or("", |profile| profile.get());
            // Here, where the place is known as the caller names it.
            let value = serde_json::from_str(profile).ok();
            Wish::of(Told { request, gender, profile: value }, place)?;
            let tensor = |name, text: &str| Tensor::vector(name, [text].into_iter().collect::<BytesData>());
            Ok(InferRequest::of(vec![tensor(REQUEST, request), tensor(GENDER, gender), tensor(PROFILE, profile)]))
        });
        requests.collect()
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        for response in responses {
            let text = |name: &str| {
                let text = response.bytes(name).and_then(|texts| texts.get(0));
                str::from_utf8(text.ok_or_else(|| Error::internal("an answer without its outputs"))?)
                    .map_err(Error::internal)
            };
            let items = serde_json::from_str(text(ITEMS)?).map_err(Error::internal)?;
            let parameter = |name: &str| response.parameters.get(name).and_then(Parameter::as_str);
            let (llm, degraded) = (parameter(LLM), parameter(DEGRADED));
            predictions.push(&Prediction { items, summary: text(SUMMARY)?, llm, degraded })?;
        }
        Ok(())
    }
}
