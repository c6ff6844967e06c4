//! Logs on stderr: one JSON object a line, or readable text where a person looks on.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt};

/// Starts logging. `filter` is a level or a list of `target=level`, as `RUST_LOG` takes it.
///
/// # Errors
/// The filter can't be read.
pub fn init(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log-level `{filter}`: {error}"))?;
    let layer: Box<dyn tracing_subscriber::Layer<_> + Send + Sync> =
        if io::stderr().is_terminal() { Box::new(fmt::layer().with_writer(io::stderr)) } else { json_layer() };
    let registry = tracing_subscriber::registry().with(filter).with(layer);
    // A second start in one process (tests) keeps the first one's logs.
    let _ = registry.try_init();
    Ok(())
}

fn json_layer<S>() -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
    Box::new(layer.with_writer(io::stderr))
}
