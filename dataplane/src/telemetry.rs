//! Logs on stderr: one JSON object a line, or readable text where a person looks on.

use std::{backtrace::BacktraceStatus, env, io, panic};

use io::IsTerminal;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

mod lines;

use lines::JsonLines;

/// Starts logging. `filter` is a level or a list of `target=level`, as `RUST_LOG` takes it. Each JSON line names the inference service
/// where KServe says which one it is (`INFERENCE_SERVICE_NAME`), and each line of a request carries the fields of the request's span.
///
/// # Errors
/// The filter can't be read.
pub fn init(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log-level `{filter}`: {error}"))?;
    let layer: Box<dyn Layer<_> + Send + Sync> = if io::stderr().is_terminal() {
        Box::new(fmt::layer().with_writer(io::stderr))
    } else {
        Box::new(JsonLines::new(io::stderr, env::var("INFERENCE_SERVICE_NAME").ok()))
    };
    let registry = tracing_subscriber::registry().with(filter).with(layer);
    // A second start in one process (tests) keeps the first one's logs.
    if registry.try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// A panic is a line like any other, with the ids of the request that it befell; the default hook writes bare text.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(place, %backtrace, "panicked: {message}");
    } else {
        tracing::error!(place, "panicked: {message}");
    }
}
