//! Traces: what a collector gets, over both protocols, and how they join a caller's spans to an upstream's.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::State, routing::post};
use dataplane::{
    Context, InferRequest, InferResponse, Model, ModelMetadata,
    client::{Predictor, Protocol},
    limits::Limits,
    repository::Repository,
    telemetry::{OtlpProtocol, Telemetry, TelemetryArgs},
    v1::{RowsCodec, V1Codec},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    predictor::{Mock, predictor},
    serving::{columns, rows, serving},
    toy::{Process, client},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const GOOD: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;

/// Keeps what it is sent.
#[derive(Clone)]
struct Collector(UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn over_http(State(collector): State<Collector>, body: Bytes) -> Vec<u8> {
    collector.0.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
    ExportTraceServiceResponse::default().encode_to_vec()
}

/// What the collector has when `toy` has ended: its resource's attributes, and its spans by name.
struct Collected {
    resource: HashMap<String, String>,
    spans: Vec<Span>,
}

impl Collected {
    fn span(&self, name: &str) -> &Span {
        let found: Vec<_> = self.spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {:?}", self.spans);
        found[0]
    }
}

fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A collector on a free port.
struct Listening {
    address: String,
    received: UnboundedReceiver<ExportTraceServiceRequest>,
}

impl Listening {
    async fn start(protocol: OtlpProtocol) -> Self {
        let (sender, received) = unbounded_channel();
        let collector = Collector(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        match protocol {
            OtlpProtocol::Grpc => {
                let server = Server::builder().add_service(TraceServiceServer::new(collector));
                tokio::spawn(async { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
            }
            OtlpProtocol::Http => {
                let router = Router::new().route("/v1/traces", post(over_http)).with_state(collector);
                tokio::spawn(axum::serve(listener, router).into_future());
            }
        }
        Self { address, received }
    }

    /// What it was sent by now.
    fn collected(mut self) -> Collected {
        let mut collected = Collected { resource: HashMap::new(), spans: Vec::new() };
        while let Ok(request) = self.received.try_recv() {
            for spans in request.resource_spans {
                collected.resource = texts(&spans.resource.unwrap().attributes);
                collected.spans.extend(spans.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        collected
    }
}

/// A path, a body, and headers.
type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Runs the toy with a collector, asks it with these headers, and stops it.
async fn collected(protocol: OtlpProtocol, arguments: &[&str], requests: &[Asked<'_>]) -> Collected {
    let collector = Listening::start(protocol).await;
    let name = if protocol == OtlpProtocol::Grpc { "grpc" } else { "http" };
    let toy = Process::start(&[&["--otlp-endpoint", &collector.address, "--otlp-protocol", name], arguments].concat());
    for (path, body, headers) in requests {
        let request = client().post(format!("{}{path}", toy.url)).body((*body).to_owned());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap();
    }
    toy.signal("INT");
    assert_eq!(toy.end().0, Some(0));
    collector.collected()
}

/// A model that asks another.
struct Asking {
    metadata: ModelMetadata,
    v1: RowsCodec,
    predictor: Predictor,
}

#[async_trait::async_trait]
impl Model for Asking {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    fn v1(&self) -> &dyn V1Codec {
        &self.v1
    }

    async fn infer(&self, request: InferRequest, context: &Context) -> dataplane::Result<InferResponse> {
        context.step("look_up", Duration::from_millis(1));
        self.predictor.infer(&request, context).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_on_over_both_protocols() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::Http] {
        let parent = format!("00-{TRACE}-{PARENT}-01");
        let headers = [("traceparent", parent.as_str()), ("tracestate", "a=1,b=2"), ("x-request-id", "seven")];
        let request = ("/v1/models/toy:predict", GOOD, headers.as_slice());
        let collected = collected(protocol, &["--otlp-sample", "0"], &[request]).await;
        assert_eq!(collected.resource["service.name"], "shop");
        let span = collected.span("POST /v1/models/{target}");
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
        assert_eq!((span.kind(), span.trace_state.as_str()), (SpanKind::Server, "a=1,b=2"));
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        let attributes = texts(&span.attributes);
        for (name, value) in [
            ("http.request.method", "POST"),
            ("http.route", "/v1/models/{target}"),
            ("http.response.status_code", "200"),
            ("url.path", "/v1/models/toy:predict"),
            ("inference.protocol", "v1"),
            ("inference.model", "toy"),
            ("inference.code", "ok"),
            ("inference.request_id", "seven"),
        ] {
            assert_eq!(attributes[name], value, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_parent_and_the_steps_are_spans_of_the_same_trace() {
    let (mock, refusing) =
        (Mock::answering(200, &[], r#"{"outputs": []}"#).await, Mock::answering(503, &[], "not now").await);
    let collector = Listening::start(OtlpProtocol::Http).await;
    let asking = |name: &str, mock: &Mock| {
        let metadata = ModelMetadata { name: name.to_owned(), inputs: columns(), ..ModelMetadata::default() };
        Arc::new(Asking { metadata, v1: rows(), predictor: predictor(&mock.address, Protocol::V2) })
    };
    let repository = Repository::default().with(asking("well", &mock)).with(asking("badly", &refusing));
    let mut server =
        serving(repository, Limits { body: 1024, json_depth: 16, instances: 1, time: Duration::from_secs(60) });
    let args = TelemetryArgs {
        access_log: true,
        server_timing: true,
        otlp_endpoint: Some(collector.address.clone()),
        otlp_protocol: OtlpProtocol::Http,
        otlp_sample: 0.0,
    };
    server.handler.telemetry = Telemetry::start(&args, server.handler.server, &server.handler.metrics).unwrap();
    let server = server.again();
    let body = r#"{"inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 1], "data": [1]},
        {"name": "b", "datatype": "FP32", "shape": [1, 1], "data": [2]}]}"#;
    for name in ["well", "badly"] {
        let request = axum::http::Request::post(format!("/v2/models/{name}/infer"));
        let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
        server.send(request.body(body.into()).unwrap()).await;
    }
    server.handler.telemetry.flush().await;
    let collected = collector.collected();
    let of = |model: &str| {
        let server = |span: &&Span| texts(&span.attributes).get("inference.model").is_some_and(|name| name == model);
        let server = collected.spans.iter().find(server).unwrap();
        let children = collected.spans.iter().filter(|span| span.parent_span_id == server.span_id);
        (server, children.map(|span| (span.name.as_str(), span)).collect::<HashMap<_, _>>())
    };
    let (well, children) = of("well");
    assert_eq!(children.len(), 2, "{:?}", collected.spans);
    let (step, call) = (children["look_up"], children["infer"]);
    assert_eq!((&step.trace_id, &call.trace_id), (&well.trace_id, &well.trace_id));
    assert_eq!((step.kind(), call.kind()), (SpanKind::Internal, SpanKind::Client));
    assert_eq!(step.end_time_unix_nano - step.start_time_unix_nano, 1_000_000);
    assert_eq!(texts(&call.attributes)["peer.service"], "ranking");
    let sent = mock.only().headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(sent, format!("00-{TRACE}-{}-01", hex(&call.span_id)));
    let (badly, children) = of("badly");
    for failed in [badly, children["infer"]] {
        assert_eq!(texts(&failed.attributes)["error.type"], "upstream_unavailable");
        assert_eq!(failed.status.clone().unwrap().code(), StatusCode::Error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_is_small_however_long_the_path_is() {
    let path = format!("/v1/models/{}:predict", "a".repeat(60_000));
    let collected = collected(OtlpProtocol::Http, &["--otlp-sample", "1"], &[(&path, GOOD, &[])]).await;
    let span = collected.span("POST /v1/models/{target}");
    assert_eq!(texts(&span.attributes)["url.path"], path[..512]);
    assert!(span.encoded_len() < 4096, "{span:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_inferences_that_are_sampled_are_traced() {
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let requests: [Asked<'_>; 4] = [
        ("/v1/models/toy:predict", GOOD, &[("traceparent", &unsampled)]),
        ("/v1/models/toy:predict", GOOD, &[("b3", "0")]),
        ("/nowhere", "", &[("b3", "1")]),
        ("/v1/models/toy:predict", "{", &[]),
    ];
    let collected = collected(OtlpProtocol::Http, &["--otlp-sample", "1"], &requests).await;
    let span = collected.span("POST /v1/models/{target}");
    assert_eq!(collected.spans.len(), 1);
    assert!(span.parent_span_id.is_empty());
    assert_eq!(texts(&span.attributes)["inference.code"], "malformed_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let toy = Process::start(&["--otlp-endpoint", &free, "--otlp-protocol", "http", "--otlp-sample", "1"]);
    let answer = client().post(format!("{}/v1/models/toy:predict", toy.url)).body(GOOD).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let failed = || async {
        let text = client().get(format!("{}/metrics", toy.url)).send().await.unwrap().text().await.unwrap();
        text.contains("otlp_spans_total{outcome=\"failed\"} 1\n")
    };
    while !failed().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    toy.signal("INT");
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    assert!(lines.iter().any(|line| line["message"] == "spans could not be sent"), "{lines:?}");
}
