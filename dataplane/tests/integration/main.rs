//! The data plane as its callers see it. One binary, a file for each behaviour.
//!
//! Most tests ask the router itself; where a socket matters they take a free port. Files under `tests/golden` are the wire contract:
//! `UPDATE_GOLDEN=1` writes them anew. Examples are started as processes: `cargo test -p dataplane` builds them,
//! `--test integration` alone does not.

// A test that can't go on should say where, at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod batching;
mod binary;
mod cloudevents;
mod coding;
mod connections;
mod contract;
mod deadline;
mod docs;
mod drain;
mod echo;
mod errors;
mod examples;
mod golden;
mod grpc;
mod ids;
mod instances;
mod load;
mod logs;
mod metrics;
mod numbers;
#[cfg(feature = "onnx")]
mod onnx;
mod openapi;
mod owned;
mod parity;
mod predictor;
mod predictor_binary;
mod predictor_connections;
mod predictor_dials;
mod predictor_explain;
mod predictor_failures;
mod predictor_foreign;
mod predictor_grpc;
mod predictor_outage;
mod predictor_socket;
mod predictor_streams;
mod predictor_tls;
mod protocol;
mod repository;
mod serving;
mod settings;
mod tls;
mod toy;
#[cfg(feature = "otlp")]
mod traces;
mod v1;
mod v2;
mod versions;
mod wire;
