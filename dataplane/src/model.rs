//! What a server serves: [`Model`] for those that wait for others, [`SyncModel`] for those that compute.

use std::{any::Any, collections::BTreeMap};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse, RequestedOutput},
    tensor::{Data, Datatype, Tensor, element_count},
    v1::{TensorsCodec, V1Codec},
};

/// A model: it tells what it takes and gives, and answers requests that fit.
///
/// It is [`Any`] too: who gave a server a model of their own finds it again behind the repository's `dyn Model`, whichever is served now.
#[async_trait]
pub trait Model: Any + Send + Sync {
    /// Its name, versions, inputs and outputs. The handler core checks every request against them.
    fn metadata(&self) -> &ModelMetadata;

    /// Answers one request.
    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse>;

    /// How V1 bodies become requests for this model.
    fn v1(&self) -> &dyn V1Codec {
        &TensorsCodec
    }

    /// Why it answers a request as it does: one explanation for each instance that the request carries.
    async fn explain(&self, _request: InferRequest, _context: &Context) -> Result<Vec<serde_json::Value>> {
        let name = &self.metadata().name;
        Err(Error::new(Kind::Unimplemented, format!("Model with name {name} does not explain.")))
    }

    /// Whether it can answer now.
    fn is_ready(&self) -> bool {
        true
    }
}

/// A model that computes and never waits. [`crate::worker::Owned`] gives it threads and makes it a [`Model`].
pub trait SyncModel: Send + 'static {
    /// Does what its first request should not have to wait for, and shows that it can answer at all: called once, on its own thread,
    /// before any request. A model is ready when this has succeeded for each of its copies; where it fails, the model is not served: it
    /// ends a server's start, and a load that would have put it in the place of another leaves that one there.
    ///
    /// Nothing by default. For most models an answer to a blank request is enough:
    ///
    /// ```
    /// # use dataplane::{InferRequest, InferResponse, ModelMetadata, Result, SyncModel};
    /// # struct Mine;
    /// # impl SyncModel for Mine {
    /// # fn infer(&mut self, _: InferRequest) -> Result<InferResponse> { Ok(InferResponse::default()) }
    /// fn warm_up(&mut self, metadata: &ModelMetadata) -> Result<()> {
    ///     self.infer(metadata.blank()?).map(drop)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// It can't answer.
    fn warm_up(&mut self, _metadata: &ModelMetadata) -> Result<()> {
        Ok(())
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The request does not fit, or the computation failed.
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse>;

    /// Answers several requests at once, each for itself and in their order; one by one unless the model knows better. Only called
    /// where [`crate::worker::Batching`] is on.
    fn infer_batch(&mut self, requests: Vec<InferRequest>) -> Vec<Result<InferResponse>> {
        requests.into_iter().map(|request| crate::worker::caught(|| self.infer(request)).flatten()).collect()
    }
}

/// The property that tells models of one version apart: a digest of what was loaded, for example `sha256:…`. Every answer carries it.
pub const DIGEST: &str = "digest";

/// What a model says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// Its name in every path.
    pub name: String,
    /// The versions that answer now.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub versions: Vec<String>,
    /// `<project>_<format>`, for example `onnx_onnxv1`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub platform: String,
    /// What it takes.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub outputs: Vec<TensorMetadata>,
    /// Anything else worth knowing, as text by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// KServe's Python server writes `null` where it has nothing.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// One input or output: name, datatype, shape with -1 for a free dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub datatype: Datatype,
    /// -1 is a free dimension.
    pub shape: Vec<i64>,
    /// May be left out of a request. On the wire: `"parameters": {"optional": true}`.
    pub optional: bool,
    /// Stands for all inputs that may not be left out: a request that has it has none of those. It is optional itself. On the wire:
    /// `"parameters": {"optional": true, "alternative": true}`.
    pub alternative: bool,
}

/// [`TensorMetadata`] as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    #[serde(with = "datatype_name")]
    datatype: Datatype,
    shape: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Flags>,
}

/// What may be said of an input.
#[derive(Default, Serialize, Deserialize)]
struct Flags {
    #[serde(default)]
    optional: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    alternative: bool,
}

impl From<Written> for TensorMetadata {
    fn from(Written { name, datatype, shape, parameters }: Written) -> Self {
        let Flags { optional, alternative } = parameters.unwrap_or_default();
        Self { name, datatype, shape, optional: optional || alternative, alternative }
    }
}

impl From<TensorMetadata> for Written {
    fn from(TensorMetadata { name, datatype, shape, optional, alternative }: TensorMetadata) -> Self {
        Self { name, datatype, shape, parameters: optional.then_some(Flags { optional, alternative }) }
    }
}

mod datatype_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::tensor::Datatype;

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(super) fn serialize<S: Serializer>(datatype: &Datatype, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(datatype.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Datatype, D::Error> {
        let name = String::deserialize(deserializer)?;
        Datatype::from_name(&name).ok_or_else(|| D::Error::custom(format!("unknown datatype `{name}`")))
    }
}

impl TensorMetadata {
    /// A tensor that every request or answer has.
    #[must_use]
    pub fn new(name: impl Into<String>, datatype: Datatype, shape: &[i64]) -> Self {
        Self { name: name.into(), datatype, shape: shape.to_vec(), optional: false, alternative: false }
    }

    /// A tensor that may be left out.
    #[must_use]
    pub fn optional(name: impl Into<String>, datatype: Datatype, shape: &[i64]) -> Self {
        Self { optional: true, ..Self::new(name, datatype, shape) }
    }

    /// A tensor that stands for all those that may not be left out.
    #[must_use]
    pub fn alternative(name: impl Into<String>, datatype: Datatype, shape: &[i64]) -> Self {
        Self { alternative: true, ..Self::optional(name, datatype, shape) }
    }

    /// A tensor that fits: zeros or empty strings, with one element along each free dimension.
    ///
    /// # Errors
    /// It would have more elements than there can be.
    pub fn blank(&self) -> Result<Tensor> {
        let shape: Vec<usize> = self.shape.iter().map(|&dimension| usize::try_from(dimension).unwrap_or(1)).collect();
        let too_large = || Error::invalid(format!("input `{}`: shape {:?} is too large", self.name, self.shape));
        let count = element_count(&shape).ok_or_else(too_large)?;
        Tensor::new(&self.name, shape, Data::zeros(self.datatype, count))
    }

    fn check(&self, tensor: &Tensor) -> Result<()> {
        if tensor.datatype() != self.datatype {
            return Err(Error::invalid(format!(
                "input `{}`: expected {}, got {}",
                self.name,
                self.datatype.name(),
                tensor.datatype().name()
            )));
        }
        let fits = self.shape.len() == tensor.shape().len()
            && self
                .shape
                .iter()
                .zip(tensor.shape())
                .all(|(&wanted, &got)| usize::try_from(wanted).map_or(true, |wanted| wanted == got));
        if fits {
            return Ok(());
        }
        Err(Error::invalid(format!("input `{}`: expected shape {:?}, got {:?}", self.name, self.shape, tensor.shape())))
    }
}

impl ModelMetadata {
    /// Checks a request: every input known, of its datatype and shape, and none missing, or one in their stead
    /// ([`TensorMetadata::alternative`]). A model that lists no inputs takes any.
    ///
    /// # Errors
    /// The first input that does not fit.
    pub fn check(&self, request: &InferRequest) -> Result<()> {
        self.check_inputs(request)?;
        // Outputs that nobody listed are looked for in the answer.
        let listed = |name: &String| self.outputs.is_empty() || self.outputs.iter().any(|output| output.name == *name);
        for (position, RequestedOutput { name, .. }) in request.outputs.iter().enumerate() {
            if !listed(name) {
                return Err(Error::invalid(format!("output `{name}`: model `{}` has no such output", self.name)));
            }
            if request.outputs[..position].iter().any(|earlier| earlier.name == *name) {
                return Err(Error::invalid(format!("output `{name}`: asked for twice")));
            }
        }
        Ok(())
    }

    /// A request that fits: every input that may not be left out, blank ([`TensorMetadata::blank`]).
    ///
    /// # Errors
    /// An input would have more elements than there can be.
    pub fn blank(&self) -> Result<InferRequest> {
        let needed = self.inputs.iter().filter(|input| !input.optional);
        needed.map(TensorMetadata::blank).collect::<Result<_>>().map(InferRequest::of)
    }

    /// The version that answers where none is asked for: the last.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.versions.last().map(String::as_str)
    }

    /// What was loaded, where the model says so ([`DIGEST`]).
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.properties.get(DIGEST).map(String::as_str)
    }

    fn check_inputs(&self, request: &InferRequest) -> Result<()> {
        if self.inputs.is_empty() {
            return Ok(());
        }
        let mut given = vec![false; self.inputs.len()];
        for (position, tensor) in request.inputs.iter().enumerate() {
            let is_of = |input: &TensorMetadata| input.name == tensor.name();
            // Most callers keep to the model's order.
            let in_order = self.inputs.get(position).is_some_and(is_of).then_some(position);
            let index = in_order
                .or_else(|| self.inputs.iter().position(is_of))
                .ok_or_else(|| self.unknown_input(tensor.name()))?;
            if std::mem::replace(&mut given[index], true) {
                return Err(Error::invalid(format!("input `{}`: given twice", tensor.name())));
            }
            self.inputs[index].check(tensor)?;
        }
        self.check_complete(&given)
    }

    /// Checks that a request with the inputs that are `given` has all that are needed, or the one that stands for them alone.
    fn check_complete(&self, given: &[bool]) -> Result<()> {
        let mut inputs = self.inputs.iter().zip(given);
        if let Some((TensorMetadata { name, .. }, _)) =
            inputs.clone().find(|(input, given)| **given && input.alternative)
        {
            let needless = |input: &TensorMetadata| !input.optional || (input.alternative && input.name != *name);
            return inputs.find(|(input, given)| **given && needless(input)).map_or(Ok(()), |(needless, _)| {
                let reason = format!("input `{}`: expected none beside `{name}`, which stands for it", needless.name);
                Err(Error::invalid(reason))
            });
        }
        if let Some((TensorMetadata { name, datatype, shape, .. }, _)) =
            inputs.find(|(input, given)| !**given && !input.optional)
        {
            let datatype = datatype.name();
            return Err(Error::invalid(format!("input `{name}`: missing (expected {datatype} {shape:?})")));
        }
        Ok(())
    }

    fn unknown_input(&self, name: &str) -> Error {
        let known: Vec<_> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        Error::invalid(format!("input `{name}`: model `{}` takes {}", self.name, known.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::{ModelMetadata, TensorMetadata};
    use crate::{
        infer::InferRequest,
        tensor::{BytesData, Datatype, Tensor},
    };

    fn model() -> ModelMetadata {
        ModelMetadata {
            name: "m".to_owned(),
            inputs: vec![
                TensorMetadata::new("x", Datatype::Fp32, &[-1, 1]),
                TensorMetadata::optional("note", Datatype::Bytes, &[-1]),
                TensorMetadata::alternative("matrix", Datatype::Fp32, &[-1, 2]),
            ],
            ..ModelMetadata::default()
        }
    }

    fn refusal(inputs: Vec<Tensor>) -> String {
        model().check(&InferRequest::of(inputs)).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_request_that_fits_passes_without_its_optional_inputs() {
        assert!(model().check(&InferRequest::of(vec![Tensor::column("x", vec![1.0_f32, 2.0])])).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_was_expected() {
        assert_eq!(refusal(vec![]), "input `x`: missing (expected FP32 [-1, 1])");
        assert_eq!(refusal(vec![Tensor::column("x", vec![1_i64])]), "input `x`: expected FP32, got INT64");
        assert_eq!(refusal(vec![Tensor::vector("x", vec![1.0_f32])]), "input `x`: expected shape [-1, 1], got [1]");
        assert_eq!(refusal(vec![Tensor::vector("y", vec![1.0_f32])]), "input `y`: model `m` takes x, note, matrix");
        let x = Tensor::column("x", vec![1.0_f32]);
        assert_eq!(refusal(vec![x.clone(), x]), "input `x`: given twice");
    }

    #[test]
    fn an_alternative_stands_for_all_inputs_that_are_needed_and_for_no_others() {
        let matrix = Tensor::new("matrix", vec![1, 2], vec![1.0_f32, 2.0]).unwrap();
        let note = Tensor::vector("note", ["a"].iter().collect::<BytesData>());
        assert!(model().check(&InferRequest::of(vec![matrix.clone()])).is_ok());
        assert!(model().check(&InferRequest::of(vec![note, matrix.clone()])).is_ok());
        let x = Tensor::column("x", vec![1.0_f32]);
        let both = "input `x`: expected none beside `matrix`, which stands for it";
        assert_eq!(refusal(vec![x.clone(), matrix.clone()]), both);
        assert_eq!(refusal(vec![matrix.clone(), x]), both);
        let mut two = model();
        two.inputs.push(TensorMetadata::alternative("table", Datatype::Fp32, &[-1, 2]));
        let table = Tensor::new("table", vec![1, 2], vec![1.0_f32, 2.0]).unwrap();
        assert!(two.check(&InferRequest::of(vec![matrix, table])).unwrap_err().message().contains("beside `matrix`"));
        let wide = Tensor::new("matrix", vec![1, 3], vec![0.0_f32; 3]).unwrap();
        assert_eq!(refusal(vec![wide]), "input `matrix`: expected shape [-1, 2], got [1, 3]");
    }

    #[test]
    fn a_blank_request_fits_whatever_is_free() {
        let mut model = model();
        model.inputs.push(TensorMetadata::new("s", Datatype::Bytes, &[-1, 2, -1]));
        let blank = model.blank().unwrap();
        assert!(model.check(&blank).is_ok());
        let shapes: Vec<_> = blank.inputs.iter().map(|input| (input.name(), input.shape().to_vec())).collect();
        assert_eq!(shapes, [("x", vec![1, 1]), ("s", vec![1, 2, 1])]);
        model.inputs.push(TensorMetadata::new("vast", Datatype::Bool, &[i64::MAX; 2]));
        assert!(model.blank().unwrap_err().message().starts_with("input `vast`"));
    }

    #[test]
    fn metadata_survives_the_wire() {
        let json = serde_json::to_string(&model()).unwrap();
        assert!(json.contains(r#""parameters":{"optional":true}"#), "{json}");
        assert!(json.contains(r#""parameters":{"optional":true,"alternative":true}"#), "{json}");
        assert_eq!(json.matches("parameters").count(), 2, "{json}");
        assert_eq!(serde_json::from_str::<ModelMetadata>(&json).unwrap(), model());
    }
}
