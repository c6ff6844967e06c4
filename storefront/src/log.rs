//! Logs on stderr: one flat JSON object a line, or readable text where a person looks on.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, Layer, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging. `filter` is a level or a list of `target=level`, as `RUST_LOG` takes it.
///
/// # Errors
/// The filter can't be read; the text names the flag.
pub(crate) fn start(filter: &str) -> Result<(), String> {
    let expected = "expected error, warn, info, debug, trace, off, or target=level,…";
    let wrong = || format!("--log-level `{filter}`: {expected}");
    // A word alone is a level and never a target, or a misspelt level would leave a log of nothing.
    let is_known = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    if filter.is_empty() || !filter.split(',').all(|part| is_known(part.trim())) {
        return Err(wrong());
    }
    let filter = EnvFilter::try_new(filter).map_err(|_| wrong())?;
    let layer: Box<dyn Layer<_> + Send + Sync> = if io::stderr().is_terminal() {
        Box::new(fmt::layer().with_writer(io::stderr))
    } else {
        Box::new(fmt::layer().json().flatten_event(true).with_writer(io::stderr))
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|error| error.to_string())
}
