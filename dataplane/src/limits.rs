//! What a request may ask of a server before anything is computed.

use std::time::Duration;

/// Bytes of a body that is no inference's: nobody counts how many of those are under way.
const SMALL: usize = 64 * 1024;

/// Bounds on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Lists and objects inside each other, of a body of JSON. Beyond 128 the parser gives up by itself.
    pub json_depth: usize,
    /// Instances of a V1 request, each of which may become a request to the model. Rows of a tensor are one request, and `body` bounds them.
    pub instances: usize,
    /// Time from the request's head to its answer.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 8 * 1024 * 1024, json_depth: 128, instances: 256, time: Duration::from_secs(10) }
    }
}

impl Limits {
    /// Bytes of the body of a request that is no inference.
    pub(crate) fn small_body(&self) -> usize {
        SMALL.min(self.body)
    }
}
