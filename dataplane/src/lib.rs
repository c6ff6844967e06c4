//! A KServe data plane: publish any model over KServe's inference protocols.
//!
//! The life of a request: [`rest`] or [`grpc`] decodes V1 or V2 to an [`InferRequest`]; [`handler`] checks it against the model's
//! [`ModelMetadata`], holds it to its deadline and asks the [`Model`]; the answer goes back the way it came. A failure on any path is
//! an [`Error`], one row of the table in [`error`]. A model that computes gets threads of its own from [`worker`]; one that asks
//! others does it with [`client::Predictor`].

pub mod client;
pub mod config;
pub mod context;
pub mod error;
pub mod grpc;
pub mod handler;
pub mod infer;
mod json;
pub mod limits;
pub mod metrics;
pub mod model;
mod observe;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod parameters;
pub mod readiness;
pub mod repository;
pub mod rest;
mod router;
pub mod serve;
pub mod telemetry;
pub mod tensor;
pub mod v1;
mod v2;
pub mod worker;

pub use context::Context;
pub use error::{Error, Kind, Result};
pub use handler::Handler;
pub use infer::{InferRequest, InferResponse, RequestedOutput};
pub use model::{Model, ModelMetadata, SyncModel, TensorMetadata};
pub use parameters::{Parameter, Parameters};
pub use router::{Routes, router};
pub use tensor::{BytesData, Data, Datatype, Tensor};
