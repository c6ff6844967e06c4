//! An inference's messages a second time, by the numbers of the protocol's text.

use std::collections::BTreeMap;

use axum::body::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InferRequest {
    #[prost(string, tag = "1")]
    pub(crate) model_name: String,
    #[prost(string, tag = "2")]
    pub(crate) model_version: String,
    #[prost(string, tag = "3")]
    pub(crate) id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) parameters: BTreeMap<String, Parameter>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) inputs: Vec<Tensor>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) outputs: Vec<Output>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub(crate) raw: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InferResponse {
    #[prost(string, tag = "1")]
    pub(crate) model_name: String,
    #[prost(string, tag = "2")]
    pub(crate) model_version: String,
    #[prost(string, tag = "3")]
    pub(crate) id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) parameters: BTreeMap<String, Parameter>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) outputs: Vec<Tensor>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(crate) raw: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) shape: Vec<i64>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) parameters: BTreeMap<String, Parameter>,
    #[prost(message, optional, tag = "5")]
    pub(crate) contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Output {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(crate) parameters: BTreeMap<String, Parameter>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Contents {
    #[prost(bool, repeated, tag = "1")]
    pub(crate) bools: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    pub(crate) ints: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) int64s: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    pub(crate) uints: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    pub(crate) uint64s: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    pub(crate) floats: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    pub(crate) doubles: Vec<f64>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub(crate) bytes: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Parameter {
    #[prost(oneof = "Choice", tags = "1, 2, 3, 4, 5")]
    pub(crate) choice: Option<Choice>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Choice {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(int64, tag = "2")]
    Int64(i64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

impl From<Choice> for Parameter {
    fn from(choice: Choice) -> Self {
        Self { choice: Some(choice) }
    }
}

pub(crate) fn tensor(name: &str, datatype: &str, shape: &[i64]) -> Tensor {
    Tensor { name: name.to_owned(), datatype: datatype.to_owned(), shape: shape.to_vec(), ..Tensor::default() }
}

/// A request to the echo with one parameter.
pub(crate) fn told(name: &str, choice: Choice) -> InferRequest {
    let parameters = [(name.to_owned(), choice.into())].into();
    InferRequest { parameters, ..typed(vec![floats(&[1.0])]) }
}

/// FP32 `x`.
pub(crate) fn floats(elements: &[f32]) -> Tensor {
    let contents = Contents { floats: elements.to_vec(), ..Contents::default() };
    Tensor { contents: Some(contents), ..tensor("x", "FP32", &[i64::try_from(elements.len()).unwrap()]) }
}

/// A request to the echo.
pub(crate) fn typed(inputs: Vec<Tensor>) -> InferRequest {
    InferRequest { model_name: "echo".to_owned(), inputs, ..InferRequest::default() }
}

/// A request to the echo, raw.
pub(crate) fn raw(inputs: Vec<Tensor>, raw: Vec<Vec<u8>>) -> InferRequest {
    InferRequest { raw: raw.into_iter().map(Bytes::from).collect(), ..typed(inputs) }
}
