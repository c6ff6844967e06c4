//! A KServe data plane: publish any model over KServe's inference protocols.
//!
//! A model that computes is a [`SyncModel`]; one that waits for others is a [`Model`]. This is a whole server, which speaks V1, V2 (JSON
//! and binary tensors) and gRPC, has health, metrics and an OpenAPI document, refuses what does not fit its metadata, and computes on
//! a thread a core behind a bounded queue:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use dataplane::{
//!     Datatype, Error, InferRequest, InferResponse, ModelMetadata, Result, SyncModel, Tensor, TensorMetadata,
//!     handler::ServerInfo, serve,
//! };
//!
//! #[derive(Clone)]
//! struct Mean;
//!
//! impl SyncModel for Mean {
//!     fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
//!         // Names, datatypes and shapes are checked against the metadata below before this is called.
//!         let x = request.required("x")?.as_f32().ok_or_else(|| Error::internal("checked before"))?;
//!         let means: Vec<f32> = x.chunks(3).map(|row| row.iter().sum::<f32>() / 3.0).collect();
//!         Ok(InferResponse::of(vec![Tensor::vector("mean", means)]))
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     let metadata = ModelMetadata {
//!         inputs: vec![TensorMetadata::new("x", Datatype::Fp32, &[-1, 3])], // -1 is a free dimension
//!         outputs: vec![TensorMetadata::new("mean", Datatype::Fp32, &[-1])],
//!         ..ModelMetadata::default()
//!     };
//!     serve::model(ServerInfo { name: "means", version: "1" }, metadata, Mean)
//! }
//! ```
//!
//! `curl localhost:8080/v1/models/hemline:predict -d '{"instances": [[1, 2, 3]]}'` then says `{"predictions":[2.0]}`. The folder
//! `examples` has more: an ONNX file, a transformer in front of a predictor, a model with a V1 form of its own.
//! What a model has to do before it is ready it does in [`SyncModel::warm_up`]. A protocol of one's own goes beside the others with
//! [`serve::Server::with_routes`].
//!
//! The same without a socket, as a test would ask it:
//!
//! ```
//! # use dataplane::{InferRequest, InferResponse, Result, SyncModel, Tensor};
//! struct Negate;
//!
//! impl SyncModel for Negate {
//!     fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
//!         let x = request.required("x")?.as_f32().unwrap_or_default();
//!         Ok(InferResponse::of(vec![Tensor::vector("y", x.iter().map(|x| -x).collect::<Vec<_>>())]))
//!     }
//! }
//!
//! let answer = Negate.infer(InferRequest::of(vec![Tensor::vector("x", vec![1.0_f32, -2.0])]))?;
//! assert_eq!(answer.f32s("y"), Some([-1.0, 2.0].as_slice()));
//! assert_eq!(Negate.infer(InferRequest::default()).unwrap_err().message(), "input `x`: missing");
//! # Ok::<(), dataplane::Error>(())
//! ```
//!
//! # The life of a request
//!
//! [`serve`] accepts it, [`rest`] or [`grpc`] decodes V1 or V2 to an [`InferRequest`]; [`handler`] checks it against the model's
//! [`ModelMetadata`], holds it to its deadline and asks the [`Model`] that the [`repository`] has now; the answer goes back the way it
//! came. A failure on any path is an [`Error`], one row of the table in [`error`]. A model that computes gets threads of its own from
//! [`worker`]; one that asks others does it with [`client::Predictor`] and the request's [`Context`].
//!
//! # Features
//!
//! Both are off by default.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `onnx` | the module `onnx`: ONNX graphs as models. ONNX Runtime is a shared library, loaded at start; no build needs it |
//! | `otlp` | traces to an OpenTelemetry collector; without it `--otlp-endpoint` ends the start, and says why |

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
#[cfg(all(test, hemline_loom))]
mod orders;
pub mod parameters;
pub mod readiness;
pub mod repository;
pub mod rest;
mod router;
pub mod serve;
mod snapshot;
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
pub use observe::Inference;
pub use parameters::{Parameter, Parameters};
pub use router::{Routes, router};
pub use tensor::{BytesData, Data, Datatype, Tensor};
