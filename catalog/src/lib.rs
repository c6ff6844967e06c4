//! What is known of articles and customers.
//!
//! [`bundle`] reads what training made: a directory that never changes, checked against its manifest. Over its mapped files stand
//! [`articles`] with their [`signals`], [`customers`] (their vectors) and the vector [`index`] over [`embeddings`], which searches the
//! [`rows`] that a [`filter`] leaves. [`store`] holds what does change: customers, what they bought and did.

pub mod bundle;

#[cfg(feature = "store")]
pub mod events;

#[cfg(feature = "retrieval")]
pub mod articles;
#[cfg(feature = "retrieval")]
pub mod customers;
#[cfg(feature = "retrieval")]
pub mod embeddings;
#[cfg(feature = "retrieval")]
pub mod filter;
#[cfg(feature = "retrieval")]
pub mod index;
#[cfg(feature = "retrieval")]
mod mapped;
#[cfg(feature = "retrieval")]
mod quantised;
#[cfg(feature = "retrieval")]
pub mod rows;
#[cfg(feature = "retrieval")]
pub mod signals;
#[cfg(feature = "store")]
pub mod store;

pub use bundle::{Bundle, BundleError};
