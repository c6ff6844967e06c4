//! V1 bodies: how instances become requests for a model, and its answers predictions.
//!
//! V1 leaves the shape of an instance to the model, so a model may name a [`V1Codec`] of its own; [`TensorsCodec`] is that of any other.
//! Members beside `instances` that nobody knows are passed over. The one rule that KServe's agents rely on is
//! kept here for all of them: one prediction an instance, in order.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse},
    json::not_text,
    model::ModelMetadata,
};

mod rows;
mod tensors;

pub use rows::RowsCodec;
pub use tensors::TensorsCodec;

/// What explanations are called in every protocol: the key of a V1 body, and the output that a V2 request names.
pub const EXPLANATIONS: &str = "explanations";

/// Translates V1 instances for one model.
pub trait V1Codec: Send + Sync + 'static {
    /// The requests that these instances mean to `model`: one for all, or one for each.
    ///
    /// # Errors
    /// An instance that is not what the model takes; the text names it by its position.
    fn decode(&self, instances: &[&RawValue], model: &ModelMetadata) -> Result<Vec<InferRequest>>;

    /// Writes one prediction for each instance, in order, from the answers to the requests that [`V1Codec::decode`] made.
    ///
    /// # Errors
    /// The answers lack what a prediction needs.
    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()>;
}

/// What is wrong with an answer that a codec could not write: strings that are no text are the caller's to ask for in another way.
pub(crate) fn unwritten(error: Error, responses: &[InferResponse]) -> Error {
    let mut outputs = responses.iter().flat_map(|response| &response.outputs);
    match outputs.find_map(|output| Some((output.name(), not_text(output.data())?))) {
        Some((name, row)) if error.kind() == Kind::Internal => {
            Error::invalid(format!("output `{name}`: element {row} is no UTF-8; ask by V2 for it as binary data"))
        }
        _ => error,
    }
}

/// The array of predictions, written as it grows.
#[derive(Debug)]
pub struct Predictions {
    json: Vec<u8>,
    count: usize,
}

impl Default for Predictions {
    fn default() -> Self {
        Self { json: br#"{"predictions":["#.to_vec(), count: 0 }
    }
}

impl Predictions {
    /// With room for so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        let mut empty = Self::default();
        empty.json.reserve(bytes);
        empty
    }

    /// Appends one.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub fn push(&mut self, prediction: &impl Serialize) -> Result<()> {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.count += 1;
        serde_json::to_writer(&mut self.json, prediction).map_err(Error::internal)
    }

    /// The body, if there is a prediction for each of `instances`.
    pub(crate) fn finish(mut self, instances: usize) -> Result<Vec<u8>> {
        if self.count != instances {
            return Err(Error::internal(format!("{} predictions for {instances} instances", self.count)));
        }
        self.json.extend_from_slice(b"]}");
        Ok(self.json)
    }
}
