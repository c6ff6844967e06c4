//! OTLP: spans to an OpenTelemetry collector, over gRPC or HTTP, from a thread with a runtime of its own.

use std::{env, sync::mpsc, thread, time::Instant, time::SystemTime};

use axum::http::{HeaderValue, Uri};
use opentelemetry::{
    InstrumentationScope, Key, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};

use super::{
    TelemetryArgs,
    args::OtlpProtocol,
    tracer::{Export, Kind, Queue, Span, Value},
};
use crate::handler::ServerInfo;

/// Where OTLP over HTTP takes spans, under the endpoint.
const HTTP_PATH: &str = "/v1/traces";

/// Starts to send what waits in `queue`.
///
/// # Errors
/// The endpoint is none, or the thread can't be started.
pub(super) fn start(endpoint: &str, args: &TelemetryArgs, server: ServerInfo, queue: Queue) -> Result<(), String> {
    let wrong = |reason: &dyn std::fmt::Display| format!("--otlp-endpoint `{endpoint}`: {reason}");
    let endpoint = address(endpoint, args.otlp_protocol).map_err(|reason| wrong(&reason))?;
    let protocol = args.otlp_protocol;
    let (report, started) = mpsc::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(report.send(Err(error.to_string()))),
        };
        runtime.block_on(async {
            match Collector::new(endpoint, protocol, server) {
                Ok(collector) => {
                    drop(report.send(Ok(())));
                    queue.run(collector).await;
                }
                Err(reason) => drop(report.send(Err(reason))),
            }
        });
    };
    thread::Builder::new().name("otlp".to_owned()).spawn(work).map_err(|error| wrong(&error))?;
    started.recv().map_err(|error| error.to_string()).flatten().map_err(|reason| wrong(&reason))
}

/// The address that the exporter takes: `host:port` is one too, and over HTTP the path is the standard's.
fn address(endpoint: &str, protocol: OtlpProtocol) -> Result<String, &'static str> {
    let endpoint = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    let expected = "expected host:port or http://host:port";
    let uri: Uri = endpoint.parse().map_err(|_| expected)?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
        return Err(expected);
    }
    Ok(match protocol {
        OtlpProtocol::Grpc => endpoint,
        OtlpProtocol::Http => format!("{}{HTTP_PATH}", endpoint.trim_end_matches('/')),
    })
}

/// A collector, and who it hears the spans are from.
struct Collector {
    exporter: SpanExporter,
    scope: InstrumentationScope,
}

impl Collector {
    fn new(endpoint: String, protocol: OtlpProtocol, server: ServerInfo) -> Result<Self, String> {
        let builder = SpanExporter::builder();
        let exporter = match protocol {
            OtlpProtocol::Grpc => builder.with_tonic().with_endpoint(endpoint).build(),
            OtlpProtocol::Http => {
                // A client that knows TLS wants cryptography, also where nothing is encrypted. Whoever chose one before is right.
                drop(rustls::crypto::ring::default_provider().install_default());
                builder.with_http().with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).build()
            }
        };
        let mut exporter = exporter.map_err(|error| error.to_string())?;
        exporter.set_resource(&resource(server));
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION"));
        Ok(Self { exporter, scope: scope.build() })
    }

    fn data(&self, span: Span, clock: (Instant, SystemTime)) -> SpanData {
        let time = |moment: Instant| clock.1.checked_sub(clock.0.saturating_duration_since(moment)).unwrap_or(clock.1);
        let state = span.state.as_ref().map(state).unwrap_or_default();
        let (trace, id) = (TraceId::from(span.trace), SpanId::from(span.id));
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, state),
            parent_span_id: SpanId::from(span.parent),
            parent_span_is_remote: span.kind == Kind::Server && span.parent != 0,
            span_kind: match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Internal => SpanKind::Internal,
            },
            name: span.name,
            start_time: time(span.begun),
            end_time: time(span.ended),
            attributes: span.attributes.into_iter().map(attribute).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.failure.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

impl Export for Collector {
    async fn export(&self, spans: Vec<Span>) -> Result<(), String> {
        // Two clocks, read together: spans carry the one that never jumps.
        let clock = (Instant::now(), SystemTime::now());
        let spans = spans.into_iter().map(|span| self.data(span, clock)).collect();
        self.exporter.export(spans).await.map_err(|error| error.to_string())
    }
}

fn attribute((name, value): (&'static str, Value)) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, number),
    }
}

/// What can't be read as a list of keys and values is passed on by headers only.
fn state(header: &HeaderValue) -> TraceState {
    let pairs = header.to_str().unwrap_or_default().split(',').filter_map(|pair| pair.trim().split_once('='));
    TraceState::from_key_value(pairs).unwrap_or_default()
}

/// Who the spans are from: `OTEL_SERVICE_NAME`, else what `OTEL_RESOURCE_ATTRIBUTES` says, else the inference service, else the server.
fn resource(server: ServerInfo) -> Resource {
    let name = Key::from_static_str("service.name");
    let told = Resource::builder().build();
    let unknown = told.get(&name).is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", server.version));
    if !unknown {
        return builder.build();
    }
    let service = env::var("INFERENCE_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    builder.with_service_name(service.unwrap_or_else(|| server.name.to_owned())).build()
}

#[cfg(test)]
mod tests {
    use super::{OtlpProtocol, address};

    #[test]
    fn an_endpoint_is_a_host_with_or_without_a_scheme() {
        assert_eq!(address("collector:4317", OtlpProtocol::Grpc).unwrap(), "http://collector:4317");
        assert_eq!(address("http://c:4318/base/", OtlpProtocol::Http).unwrap(), "http://c:4318/base/v1/traces");
        for wrong in ["", "https://c:4317", "http://", "a b", "http://c?x=1"] {
            assert!(address(wrong, OtlpProtocol::Grpc).is_err(), "{wrong}");
        }
    }
}
