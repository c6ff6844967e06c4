//! How requests and answers stand on the wire: V2 tensors, V1 instances and predictions. Both say the same.

use catalog::bundle::Bundle;
use dataplane::{
    Datatype, Error, InferRequest, InferResponse, Kind, ModelMetadata, Result, Tensor, TensorMetadata,
    model::DIGEST,
    v1::{EXPLANATIONS, Predictions, V1Codec},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{instance::Instance, rank::ARTICLE_IDS};

pub(crate) const CUSTOMER_ID: &str = "customer_id";
pub(crate) const TRANSACTION_DATE: &str = "transaction_date";
const QUERY_EMB: &str = "query_emb";
const MONTH_SIN: &str = "month_sin";
const MONTH_COS: &str = "month_cos";
pub(crate) const OPTIONS: &str = "options";
/// Output: score by position, `[B, K]`.
pub(crate) const SCORES: &str = "scores";
/// Output: where a row's list ends, `[B]`.
pub(crate) const COUNT: &str = "count";
/// Output: a JSON object with what is worth knowing, `[B]`.
pub(crate) const INFO: &str = "info";

/// What is worth knowing beside a ranking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Info {
    /// The ranker that ordered it.
    pub(crate) ranker: String,
    /// The list's name, which events about its articles say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) list_id: Option<String>,
    /// The ranker's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model_version: Option<String>,
    /// Training did not know this customer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) cold_start: bool,
    /// How many candidates the ranker scored, where it did not score all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scored: Option<usize>,
    /// Who failed, each with why, and then what answered instead, unless that is a ranker; or the ranker, and what it says of having no
    /// scores of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<String>,
    /// How many scores are the ranker's default, and none that it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) defaults: Option<u64>,
    /// Why the list is shorter than it was asked to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) short: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(value: &bool) -> bool {
    !value
}

/// What this server's model takes and gives. Every input is optional by itself: which are needed depends on the others.
pub(crate) fn metadata(name: &str, bundle: &Bundle) -> ModelMetadata {
    let manifest = bundle.manifest();
    let size = i64::try_from(manifest.retrieval.embedding_size).unwrap_or(i64::MAX);
    let input = TensorMetadata::optional;
    ModelMetadata {
        name: name.to_owned(),
        versions: vec![manifest.version.clone()],
        platform: "hemline_transformer".to_owned(),
        inputs: vec![
            input(CUSTOMER_ID, Datatype::Bytes, &[-1]),
            input(TRANSACTION_DATE, Datatype::Bytes, &[-1]),
            input(QUERY_EMB, Datatype::Fp32, &[-1, size]),
            input(MONTH_SIN, Datatype::Fp32, &[-1]),
            input(MONTH_COS, Datatype::Fp32, &[-1]),
            input(OPTIONS, Datatype::Bytes, &[-1]),
        ],
        outputs: vec![
            TensorMetadata::new(ARTICLE_IDS, Datatype::Bytes, &[-1, -1]),
            TensorMetadata::new(SCORES, Datatype::Fp32, &[-1, -1]),
            TensorMetadata::new(COUNT, Datatype::Int32, &[-1]),
            TensorMetadata::new(INFO, Datatype::Bytes, &[-1]),
            // Only in answers to requests that name it.
            TensorMetadata::new(EXPLANATIONS, Datatype::Bytes, &[-1]),
        ],
        properties: [(DIGEST.to_owned(), bundle.digest().to_owned())].into(),
    }
}

/// The instances of a request: row i of every tensor is about instance i; what a tensor says stands over what `options` says.
///
/// # Errors
/// No rows, too many, tensors that disagree on how many, or an `options` that is no instance.
pub(crate) fn read_instances(request: &InferRequest, limit: usize) -> Result<Vec<Instance>> {
    let rows = rows(request, limit)?;
    (0..rows).map(|row| read_instance(request, row).map_err(|error| at_row(error, row))).collect()
}

/// How many rows a request has, of at most `limit`.
///
/// # Errors
/// None, too many, or tensors that disagree on how many.
pub(crate) fn rows(request: &InferRequest, limit: usize) -> Result<usize> {
    let mut rows: Option<(&str, usize)> = None;
    for tensor in &request.inputs {
        let (name, count) = (tensor.name(), tensor.shape().first().copied().unwrap_or_default());
        match rows {
            Some((first, wanted)) if wanted != count => {
                return Err(Error::invalid(format!(
                    "input `{name}`: {count} rows, where input `{first}` has {wanted}"
                )));
            }
            Some(_) => {}
            None => rows = Some((name, count)),
        }
    }
    let rows = rows.map_or(0, |(_, count)| count);
    if rows == 0 || rows > limit {
        return Err(Error::invalid(format!("expected 1 to {limit} rows, got {rows}")));
    }
    Ok(rows)
}

fn read_instance(request: &InferRequest, row: usize) -> Result<Instance> {
    let text = |name: &str| text(request, name, row);
    let number = |name: &str| request.input(name).and_then(Tensor::as_f32).and_then(|data| data.get(row).copied());
    let mut instance = options(request, row).map_or_else(|| Ok(Instance::default()), Instance::from_json)?;
    if let Some(customer_id) = text(CUSTOMER_ID)? {
        instance.customer_id = customer_id;
    }
    instance.transaction_date = text(TRANSACTION_DATE)?.or(instance.transaction_date);
    instance.month_sin = number(MONTH_SIN).or(instance.month_sin);
    instance.month_cos = number(MONTH_COS).or(instance.month_cos);
    if let Some(tensor) = request.input(QUERY_EMB) {
        let size = tensor.shape().get(1).copied().unwrap_or_default();
        instance.query_emb = tensor.as_f32().map(|data| data[row * size..(row + 1) * size].to_vec());
    }
    Ok(instance)
}

/// A row's element of an input of bytes.
fn bytes<'a>(request: &'a InferRequest, name: &str, row: usize) -> Option<&'a [u8]> {
    request.input(name).and_then(Tensor::as_bytes).and_then(|data| data.get(row))
}

/// A row's text in an input, where that is given.
///
/// # Errors
/// It is no UTF-8.
pub(crate) fn text(request: &InferRequest, name: &str, row: usize) -> Result<Option<String>> {
    match bytes(request, name, row).map(std::str::from_utf8) {
        Some(Ok(text)) => Ok(Some(text.to_owned())),
        Some(Err(_)) => Err(Error::invalid(format!("field `{name}`: expected UTF-8 text"))),
        None => Ok(None),
    }
}

/// The JSON in a row's `options`, where there is any.
pub(crate) fn options(request: &InferRequest, row: usize) -> Option<&[u8]> {
    bytes(request, OPTIONS, row).filter(|json| !json.trim_ascii().is_empty())
}

/// Says which row a caller's mistake is in. Other failures are not about a row.
pub(crate) fn at_row(error: Error, row: usize) -> Error {
    match error.kind() {
        Kind::InvalidArgument | Kind::NotFound => error.at(format_args!("row {row}")),
        _ => error,
    }
}

/// V1: an instance is what a row of `options` is, and all instances are one request.
pub(crate) struct Instances;

impl V1Codec for Instances {
    fn decode(&self, instances: &[&RawValue], _model: &ModelMetadata) -> Result<Vec<InferRequest>> {
        let options = instances.iter().map(|instance| instance.get()).collect::<dataplane::BytesData>();
        Ok(vec![InferRequest::of(vec![Tensor::vector(OPTIONS, options)])])
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        for response in responses {
            encode(response, predictions)?;
        }
        Ok(())
    }
}

fn encode(response: &InferResponse, predictions: &mut Predictions) -> Result<()> {
    #[derive(Serialize)]
    struct Prediction<'a> {
        ranking: Vec<(f32, &'a str)>,
        #[serde(flatten)]
        info: Info,
    }
    let missing = || Error::internal("an answer without its outputs");
    let (ids, scores) = (response.bytes(ARTICLE_IDS).ok_or_else(missing)?, response.f32s(SCORES).ok_or_else(missing)?);
    let infos = response.bytes(INFO).ok_or_else(missing)?;
    let Some(dataplane::Data::Int32(counts)) = response.output(COUNT).map(Tensor::data) else { return Err(missing()) };
    let width = response.output(SCORES).and_then(|output| output.shape().get(1).copied()).unwrap_or_default();
    for (row, (info, &count)) in infos.iter().zip(counts).enumerate() {
        let positions = row * width..row * width + usize::try_from(count).map_err(Error::internal)?;
        let pair = |position: usize| Some((*scores.get(position)?, std::str::from_utf8(ids.get(position)?).ok()?));
        let ranking = positions.map(pair).collect::<Option<_>>().ok_or_else(missing)?;
        predictions.push(&Prediction { ranking, info: serde_json::from_slice(info).map_err(Error::internal)? })?;
    }
    Ok(())
}
