//! Logs on stderr: one JSON object a line, or readable text where a person looks on. Traces to a collector, where there is one.

use std::{backtrace::BacktraceStatus, env, io, panic, sync::Arc, sync::OnceLock, time::Duration};

use io::IsTerminal;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::{
    error::{Error, Kind as ErrorKind, Result},
    handler::ServerInfo,
    metrics::Metrics,
};

mod args;
mod lines;
#[cfg(feature = "otlp")]
mod otlp;
pub(crate) mod scope;
#[cfg_attr(not(feature = "otlp"), allow(dead_code))] // nobody takes spans then
mod tracer;

pub use args::{OtlpProtocol, TelemetryArgs};
use lines::JsonLines;
pub(crate) use tracer::{Kind, Outcomes, Span, Tracer};

/// Longest time for the last spans to reach the collector when the server stops.
const FLUSH: Duration = Duration::from_secs(3);

/// The filter of this process's logs, once they are started.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is told of requests. Clones share the way to the collector.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Whether an inference that was answered is a line in the log.
    pub access_log: bool,
    /// Whether answers carry `server-timing`.
    pub server_timing: bool,
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// Lines and timings, no traces.
impl Default for Telemetry {
    fn default() -> Self {
        Self { access_log: true, server_timing: true, tracer: None }
    }
}

impl Telemetry {
    /// As `args` say. Where they name a collector, a thread starts that sends it spans.
    ///
    /// # Errors
    /// The collector's address is none, or this build can't send spans.
    pub fn start(args: &TelemetryArgs, server: ServerInfo, metrics: &Metrics) -> Result<Self, String> {
        let endpoint = args.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
        let tracer = endpoint.map(|endpoint| tracer(endpoint, args, server, metrics)).transpose()?;
        Ok(Self { access_log: args.access_log, server_timing: args.server_timing, tracer })
    }

    /// Waits until the collector has what was recorded; three seconds at most.
    pub async fn flush(&self) {
        if let Some(tracer) = &self.tracer {
            tracer.flush(FLUSH).await;
        }
    }
}

#[cfg(feature = "otlp")]
fn tracer(endpoint: &str, args: &TelemetryArgs, server: ServerInfo, metrics: &Metrics) -> Result<Arc<Tracer>, String> {
    let (tracer, queue) = tracer::tracer(args.otlp_sample, metrics.spans());
    otlp::start(endpoint, args, server, queue)?;
    Ok(tracer)
}

#[cfg(not(feature = "otlp"))]
fn tracer(_: &str, _: &TelemetryArgs, _: ServerInfo, _: &Metrics) -> Result<Arc<Tracer>, String> {
    Err("--otlp-endpoint: this build sends no spans; it lacks the feature `otlp`".to_owned())
}

/// Starts logging. `filter` is a level or a list of `target=level`, as `RUST_LOG` takes it. Each JSON line names the inference service
/// where KServe says which one it is (`INFERENCE_SERVICE_NAME`), and each line of a request carries the request's ids, method, path and model.
///
/// # Errors
/// The filter can't be read.
pub fn init(filter: &str) -> Result<(), String> {
    let filter = read_filter(filter).map_err(|reason| format!("--log-level `{filter}`: {reason}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let terminal = io::stderr().is_terminal();
    let layer: Box<dyn Layer<_> + Send + Sync> = if terminal {
        Box::new(fmt::layer().with_writer(io::stderr))
    } else {
        let service = env::var("INFERENCE_SERVICE_NAME").ok().filter(|name| !name.is_empty());
        Box::new(JsonLines::new(io::stderr, service))
    };
    let registry = tracing_subscriber::registry().with(filter).with(layer);
    // A second start in one process (tests) keeps the first one's logs.
    if registry.try_init().is_ok() {
        let _ = FILTER.set(handle);
        if !terminal {
            scope::ask();
        }
        panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// What is logged now, as `--log-level` says it.
///
/// # Errors
/// This process's logs were not started here.
pub fn filter() -> Result<String> {
    let handle = FILTER.get().ok_or_else(no_filter)?;
    handle.with_current(ToString::to_string).map_err(Error::internal)
}

/// Logs something else from now on.
///
/// # Errors
/// The filter can't be read, or this process's logs were not started here.
pub fn set_filter(filter: &str) -> Result<()> {
    let filter = read_filter(filter).map_err(|reason| Error::invalid(format!("field `level`: {reason}")))?;
    let handle = FILTER.get().ok_or_else(no_filter)?;
    let text = filter.to_string();
    handle.reload(filter).map_err(Error::internal)?;
    // At the level of warnings: who looks for lines that are missing should find this one.
    tracing::warn!(filter = text, "the log's filter was changed");
    Ok(())
}

/// A filter as `RUST_LOG` has it, but for one thing: a word alone is a level here and never a target, or a misspelt level would leave
/// a log of nothing. Python's words are read too.
fn read_filter(text: &str) -> Result<EnvFilter, String> {
    let expected = "expected error, warn, info, debug, trace, off, or target=level,…";
    let directive = |part: &str| match part.to_ascii_lowercase().as_str() {
        "warning" => Ok("warn".to_owned()),
        "critical" | "fatal" => Ok("error".to_owned()),
        word if part.contains(['=', '[']) || (!word.is_empty() && word.parse::<LevelFilter>().is_ok()) => {
            Ok(part.to_owned())
        }
        _ => Err(expected.to_owned()),
    };
    let directives = text.split(',').map(str::trim).map(directive).collect::<Result<Vec<_>, _>>()?;
    EnvFilter::try_new(directives.join(",")).map_err(|error| format!("{expected} ({error})"))
}

fn no_filter() -> Error {
    Error::new(ErrorKind::Unimplemented, "this process's logs have no filter that could be changed")
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

#[cfg(test)]
mod tests {
    use super::read_filter;

    #[test]
    fn a_word_alone_is_a_level_in_rusts_words_or_pythons() {
        for (text, filter) in [
            ("info", "info"),
            ("WARNING", "warn"),
            ("Critical", "error"),
            ("off", "off"),
            ("warn, dataplane::observe=debug", "dataplane::observe=debug,warn"),
            ("info,dataplane[request]=trace", "info,dataplane[request]=trace"),
        ] {
            assert_eq!(read_filter(text).unwrap().to_string(), filter, "{text}");
        }
        for wrong in ["", "debgu", "dataplane", "info,", "info,hyper", "dataplane=debgu"] {
            assert!(read_filter(wrong).is_err(), "{wrong}");
        }
    }
}
