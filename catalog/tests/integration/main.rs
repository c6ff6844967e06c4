//! The catalogue from outside: bundles written here, byte by byte, and stores filled by the migrations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to say no

mod bundles;
mod filtered;
mod fixture;
mod measured;
mod neighbours;
mod stores;
