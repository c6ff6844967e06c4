//! V1: `GET /v1/models`, `GET /v1/models/{m}`, `POST /v1/models/{m}:predict`, `POST /v1/models/{m}:explain`.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    Path, body,
    cloudevents::{self, Event},
    json, json_bytes, path,
};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::{Handler, MODEL_DIGEST},
    infer::InferRequest,
    json::{Listed, Members, MembersAndLists, check_depth, read_slice, unreadable},
    limits::Limits,
    model::Model,
    observe::Inference,
    v1::{Predictions, unwritten},
};

/// How many of one request's instances are under way at a time: one caller must not fill the queue that all share.
const FAN_OUT: usize = 16;

/// Which model answered. V1 leaves the body to the model, so headers say it.
const VERSION: HeaderName = HeaderName::from_static("x-model-version");
const DIGEST: HeaderName = HeaderName::from_static("x-model-digest");

pub(super) async fn list(State(handler): State<Arc<Handler>>) -> Response {
    json(&json!({"models": handler.repository.names()}))
}

/// `{model}`. Where that is `{model}:{verb}` instead, it is a question asked by the wrong method, unless a model is called so.
pub(super) async fn ready(State(handler): State<Arc<Handler>>, target: Path<String>) -> Result<Response> {
    let name = path(target)?;
    if !handler.repository.has(&name) && Verb::split(&name).1.is_some() {
        return Ok(refuse_method(&Method::GET, &name));
    }
    handler.check_model_ready(&name, None)?;
    Ok(json(&json!({"name": name, "ready": true})))
}

/// What can be asked of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Predict,
    Explain,
}

impl Verb {
    /// `{model}:{verb}`. The router can't split a segment, so this does.
    fn split(target: &str) -> (&str, Option<Self>) {
        match target.rsplit_once(':') {
            Some((name, "predict")) => (name, Some(Self::Predict)),
            Some((name, "explain")) => (name, Some(Self::Explain)),
            _ => (target, None),
        }
    }
}

pub(super) async fn act(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    target: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    asked(&handler, &inference, &path(target)?, &headers, body).await
}

/// The answer to what is asked of `{model}:{verb}`.
pub(super) async fn asked(
    handler: &Handler,
    inference: &Inference,
    target: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    match Verb::split(target) {
        (name, Some(verb)) => {
            inference.begins("v1", handler, name);
            let _permit = handler.admit()?;
            answer(handler, inference.context(), (name, verb), headers, body).await
        }
        (_, None) => match target.rsplit_once(':') {
            Some((name, verb)) if !handler.repository.has(target) => {
                Err(Error::new(Kind::UnknownRoute, format!("no such verb: {verb}; try {name}:predict")))
            }
            _ => Ok(refuse_method(&Method::POST, target)),
        },
    }
}

/// Any other method than those of the routes.
pub(super) async fn not_allowed(target: Path<String>, request: Request) -> Result<Response> {
    Ok(refuse_method(request.method(), &path(target)?))
}

fn refuse_method(method: &Method, target: &str) -> Response {
    let (name, verb) = Verb::split(target);
    let text = match verb {
        None if *method == Method::POST => format!("{method} is not allowed on /v1/models/{name}; try {name}:predict"),
        _ => format!("{method} is not allowed on /v1/models/{target}"),
    };
    let mut response = Error::new(Kind::MethodNotAllowed, text).into_response();
    let allowed = if verb.is_some() { "POST" } else { "GET,HEAD" };
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

async fn answer(
    handler: &Handler,
    context: &Context,
    (name, verb): (&str, Verb),
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    let model = handler.ready_model(name, None)?;
    let mut event = Event::in_headers(&handler.events, headers)?;
    let body = body::read(handler, headers, body, context).await?;
    let limits = &handler.limits;
    let mut members = V1Body::read(&body, limits)?;
    let data;
    if event.is_none()
        && let Some((structured, inner)) = members.event(handler, headers, &body)?
    {
        (event, data) = (Some(structured), inner);
        members = V1Body::read(&data, limits)?;
    }
    let instances = members.instances(limits.instances)?;
    let (body, marks) = match verb {
        Verb::Predict => predict(handler, context, model.as_ref(), &instances).await?,
        Verb::Explain => Box::pin(explain(handler, context, model.as_ref(), &instances)).await?,
    };
    let mut response = match event {
        Some(event) => event.answer(&handler.events, name, body)?,
        None => json_bytes(body),
    };
    for (name, value) in marks {
        value.map(|value| response.headers_mut().insert(name, value));
    }
    Ok(response)
}

/// A body, and the headers that go with it.
type Answer = (Vec<u8>, Marks);
type Marks = [(HeaderName, Option<HeaderValue>); 2];

async fn predict(handler: &Handler, context: &Context, model: &dyn Model, instances: &[&RawValue]) -> Result<Answer> {
    let requests = model.v1().decode(instances, model.metadata())?;
    let responses = match <[InferRequest; 1]>::try_from(requests) {
        // Most often: there is nothing to go on beside it.
        Ok([request]) => vec![handler.infer(model, request, context).await?],
        Err(requests) => {
            let answers = requests.into_iter().map(|request| handler.infer(model, request, context));
            stream::iter(answers).buffered(FAN_OUT).try_collect().await?
        }
    };
    // Predictions are about as long as what they are made from, seldom longer.
    let mut predictions = Predictions::with_room(instances.iter().map(|instance| instance.get().len() + 1).sum());
    let written = model.v1().encode(&responses, &mut predictions);
    written.map_err(|error| unwritten(error, &responses))?;
    let first = responses.first();
    let version = first.and_then(|response| response.model_version.as_deref());
    let digest = first.and_then(|response| response.parameters.get(MODEL_DIGEST)?.as_str());
    Ok((predictions.finish(instances.len())?, marks(version, digest)))
}

async fn explain(handler: &Handler, context: &Context, model: &dyn Model, instances: &[&RawValue]) -> Result<Answer> {
    #[derive(Serialize)]
    struct Explanations {
        predictions: [(); 0],
        explanations: Vec<Value>,
    }
    let requests = model.v1().decode(instances, model.metadata())?;
    let answers = requests.into_iter().map(|request| handler.explain(model, request, context));
    let explanations: Vec<_> = stream::iter(answers).buffered(FAN_OUT).try_collect().await?;
    let explanations = explanations.concat();
    if explanations.len() != instances.len() {
        let (got, wanted) = (explanations.len(), instances.len());
        return Err(Error::internal(format!("{got} explanations for {wanted} instances")));
    }
    let body = serde_json::to_vec(&Explanations { predictions: [], explanations }).map_err(Error::internal)?;
    let metadata = model.metadata();
    Ok((body, marks(metadata.version(), metadata.digest())))
}

fn marks(version: Option<&str>, digest: Option<&str>) -> Marks {
    // What no header can hold is left out: the answer is right without it.
    let mark = |text: Option<&str>| text.and_then(|text| HeaderValue::from_str(text).ok());
    [(VERSION, mark(version)), (DIGEST, mark(digest))]
}

/// The members of a V1 body. Others are passed over.
struct V1Body<'a> {
    inputs: Option<Listed<'a>>,
    instances: Option<Listed<'a>>,
    event: cloudevents::Members<'a>,
}

impl<'a> V1Body<'a> {
    /// Keeps no more than that many instances, for more are refused.
    fn read(body: &'a [u8], &Limits { json_depth, instances: most, .. }: &Limits) -> Result<Self> {
        check_depth(body, json_depth)?;
        let names = ["inputs", "instances", "specversion", "id", "source", "type", "time", "data", "data_base64"];
        let (members, lists) = read_slice(body, MembersAndLists { members: Members(names), lists: 2, most })
            .map_err(|error| unreadable(&error, "an object with a list of `instances`"))?;
        let [_, _, specversion, id, source, kind, time, data, data_base64] = members;
        let [inputs, instances, ..] = lists;
        let event = cloudevents::Members { specversion, id, source, kind, time, data, data_base64 };
        Ok(Self { inputs, instances, event })
    }

    /// The event that it is, if it is one.
    fn event(&self, handler: &Handler, headers: &HeaderMap, body: &'a [u8]) -> Result<Option<(Event, Cow<'a, [u8]>)>> {
        if self.event.specversion.is_none() && (self.inputs.is_some() || self.instances.is_some()) {
            return Ok(None);
        }
        Event::in_body(&handler.events, headers, body, &self.event)
    }

    /// The instances, under `instances` or, as KServe also takes it, `inputs`.
    fn instances(self, limit: usize) -> Result<Vec<&'a RawValue>> {
        let (field, list) = match (self.inputs, self.instances) {
            (Some(inputs), _) => ("inputs", inputs),
            (None, Some(instances)) => ("instances", instances),
            (None, None) => return Err(Error::invalid("field `instances`: missing (expected a list)")),
        };
        let Listed::Items(instances, count) = list else {
            return Err(Error::invalid(format!("Expected \"{field}\" to be a list")));
        };
        match count {
            0 => Err(Error::invalid(format!("field `{field}`: expected at least one instance"))),
            count if count > limit => {
                Err(Error::invalid(format!("field `{field}`: expected at most {limit} instances, got {count}")))
            }
            _ => Ok(instances),
        }
    }
}
