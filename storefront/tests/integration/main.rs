//! The shop as browsers see it, before a transformer that is a script: the program that is shipped, on ports of its own.

// A test that can't go on should say where, at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod pages;
mod settings;
mod shop;
mod stopping;
mod streams;
mod transformer;
