//! The data plane as its callers see it. One binary, a file for each behaviour.
//!
//! Most tests ask the router itself; where a socket matters they take a free port. Files under `tests/golden` are the wire contract:
//! `UPDATE_GOLDEN=1` writes them anew.

// A test that can't go on should say where, at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod deadline;
mod drain;
mod errors;
mod golden;
mod ids;
mod logs;
mod metrics;
mod numbers;
#[cfg(feature = "onnx")]
mod onnx;
mod owned;
mod predictor;
mod predictor_failures;
mod serving;
mod toy;
#[cfg(feature = "otlp")]
mod traces;
mod v1;
mod v2;
