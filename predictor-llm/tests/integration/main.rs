//! The predictor as its callers see it: a process of its own, in front of a scripted OpenAI-compatible server. A file for each behaviour.

// A test that can't go on should say where, at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod economy;
mod explain;
mod faults;
mod listwise;
mod many;
mod pointwise;
mod predictor;
mod protocols;
mod ready;
mod safety;
mod scripted;
mod settings;
mod stylist;
