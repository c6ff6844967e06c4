//! Failures as gRPC statuses.

use std::{fmt, sync::Arc};

use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use crate::error::Error;

/// The table's stable code.
const ERROR_CODE: &str = "x-error-code";
/// Seconds to wait, as in HTTP.
const RETRY_AFTER: &str = "retry-after";
/// Milliseconds to wait: gRPC libraries with a retry policy heed it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Takes the [`Error`] along inside the status, which never sends it: for those who count and log.
#[derive(Debug)]
struct Carried(Arc<Error>);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Carried {}

/// The status of a failure: the table's gRPC code and what the caller may read.
pub(super) fn status(error: impl Into<Arc<Error>>) -> Status {
    let error = error.into();
    let row = error.kind().row();
    let mut metadata = MetadataMap::new();
    metadata.insert(ERROR_CODE, MetadataValue::from_static(row.code));
    if let Some(after) = error.retry_after() {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        metadata.insert(RETRY_AFTER, millis.div_ceil(1000).into());
        metadata.insert(PUSHBACK, millis.into());
    }
    let mut status = Status::with_metadata(Code::from(i32::from(row.grpc)), error.message(), metadata);
    status.set_source(Arc::new(Carried(error)));
    status
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status(error)
    }
}

/// The failure that a status of ours tells of.
pub(super) fn carried(status: &Status) -> Option<Arc<Error>> {
    let source = std::error::Error::source(status)?;
    source.downcast_ref::<Carried>().map(|carried| carried.0.clone())
}
