//! A model that gives back what it is given: for tests of what goes over the wire.

use std::sync::Arc;

use dataplane::{
    Context, Datatype, Error, InferRequest, InferResponse, Model, ModelMetadata, Result, TensorMetadata,
    limits::Limits,
    repository::{Loader, Repository},
};
use serde_json::{Value, json};

use crate::serving::{Server, serving};

/// Its outputs are its inputs, and its answer's parameters those of the request. It has no V1 form of its own.
pub(crate) struct Echo(ModelMetadata);

impl Echo {
    pub(crate) fn new(name: &str, inputs: &[(&str, Datatype, &[i64])]) -> Arc<Self> {
        let tensor = |&(name, datatype, shape): &(&str, Datatype, &[i64])| TensorMetadata::new(name, datatype, shape);
        let tensors: Vec<_> = inputs.iter().map(tensor).collect();
        Arc::new(Self(ModelMetadata {
            name: name.to_owned(),
            versions: vec!["3".to_owned()],
            platform: "hemline_echo".to_owned(),
            inputs: tensors.clone(),
            outputs: tensors,
            properties: [("digest".to_owned(), "sha256:0123".to_owned())].into(),
        }))
    }

    /// With one more input, which may be left out, and is no output.
    pub(crate) fn with_optional(self: Arc<Self>, name: &str, datatype: Datatype, shape: &[i64]) -> Arc<Self> {
        let mut metadata = self.0.clone();
        metadata.inputs.push(TensorMetadata::optional(name, datatype, shape));
        Arc::new(Self(metadata))
    }
}

#[async_trait::async_trait]
impl Model for Echo {
    fn metadata(&self) -> &ModelMetadata {
        &self.0
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> Result<InferResponse> {
        Ok(InferResponse { parameters: request.parameters, ..InferResponse::of(request.inputs) })
    }

    async fn explain(&self, request: InferRequest, _context: &Context) -> Result<Vec<Value>> {
        let rows = request.inputs[0].shape()[0];
        // What asks for three explanations gets one too few.
        Ok((0..rows.min(2)).map(|row| json!({"row": row, "of": rows})).collect())
    }
}

/// Serves these models, and takes bodies of up to 64 KiB.
pub(crate) fn echoing(models: impl IntoIterator<Item = Arc<Echo>>) -> Server {
    let repository = models.into_iter().fold(Repository::default(), |all, model| all.with(model));
    serving(repository, Limits { body: 64 * 1024, ..Limits::default() })
}

/// Loads an [`Echo`], unless it is told to fail.
pub(crate) struct Shelf {
    pub(crate) name: &'static str,
    pub(crate) broken: bool,
}

impl Loader for Shelf {
    fn load(&self) -> Result<Arc<dyn Model>> {
        if self.broken {
            return Err(Error::invalid("its checksum is wrong"));
        }
        Ok(Echo::new(self.name, &[("x", Datatype::Fp32, &[-1])]))
    }
}
