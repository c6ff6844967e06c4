//! What every transport decodes to and encodes from.

use crate::{
    error::{Error, Result},
    parameters::Parameters,
    tensor::{BytesData, Tensor},
};

/// A request to a model, whichever way it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// The caller's id for it, echoed in the answer.
    pub id: Option<String>,
    /// The version asked for; nothing where the caller leaves it to the server.
    pub model_version: Option<String>,
    /// Parameters of the request as a whole.
    pub parameters: Parameters,
    /// Input tensors.
    pub inputs: Vec<Tensor>,
    /// The outputs wanted, in this order; empty means all.
    pub outputs: Vec<RequestedOutput>,
}

/// An output that a request asks for by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// How it is wanted.
    pub parameters: Parameters,
}

impl RequestedOutput {
    /// The output of this name, however the model gives it.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl InferRequest {
    /// A request of just these tensors.
    #[must_use]
    pub fn of(inputs: Vec<Tensor>) -> Self {
        Self { inputs, ..Self::default() }
    }

    /// The input of this name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|tensor| tensor.name() == name)
    }

    /// The input of this name, which the model can't do without.
    ///
    /// # Errors
    /// There is none.
    pub fn required(&self, name: &str) -> Result<&Tensor> {
        self.input(name).ok_or_else(|| Error::invalid(format!("input `{name}`: missing")))
    }
}

/// A model's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferResponse {
    /// The model that answered.
    pub model_name: String,
    /// The version that answered.
    pub model_version: Option<String>,
    /// The request's id.
    pub id: Option<String>,
    /// Parameters of the answer as a whole.
    pub parameters: Parameters,
    /// Output tensors.
    pub outputs: Vec<Tensor>,
}

impl InferResponse {
    /// An answer of just these tensors; the handler core fills in who answered.
    #[must_use]
    pub fn of(outputs: Vec<Tensor>) -> Self {
        Self { outputs, ..Self::default() }
    }

    /// The output of this name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Tensor> {
        self.outputs.iter().find(|tensor| tensor.name() == name)
    }

    /// The output of this name as FP32.
    #[must_use]
    pub fn f32s(&self, name: &str) -> Option<&[f32]> {
        self.output(name)?.as_f32()
    }

    /// The output of this name as BYTES.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&BytesData> {
        self.output(name)?.as_bytes()
    }
}
