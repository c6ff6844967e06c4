//! A server of toy models, and how tests talk to it.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode, request::Builder},
};
use dataplane::{
    Context, Datatype, Error, Handler, InferRequest, InferResponse, Kind, Model, ModelMetadata, Result, Tensor,
    TensorMetadata,
    config::CloudEvents,
    handler::ServerInfo,
    limits::Limits,
    metrics::Metrics,
    readiness::Readiness,
    repository::Repository,
    telemetry::Telemetry,
    v1::{RowsCodec, V1Codec},
    worker::Permits,
};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// Text that only a log may show.
pub(crate) const SECRET: &str = "10.1.2.3:9000";

/// What a toy does when asked.
pub(crate) type Act = fn() -> Result<()>;

/// Adds up columns `a` and `b`; first does what it was told to.
pub(crate) struct Toy {
    metadata: ModelMetadata,
    v1: RowsCodec,
    ready: bool,
    hangs: bool,
    act: Act,
    /// Where the request's context goes, for tests that look at it.
    pub(crate) seen: Arc<Mutex<Vec<InferRequest>>>,
}

impl Toy {
    pub(crate) fn new(name: &str) -> Self {
        let outputs = [("sum", Datatype::Fp32), ("id", Datatype::Bytes)];
        let inputs = || columns().into_iter().chain([TensorMetadata::new("id", Datatype::Bytes, &[-1, 1])]);
        let note = TensorMetadata::optional("note", Datatype::Bytes, &[1]);
        let metadata = ModelMetadata {
            name: name.to_owned(),
            versions: vec!["3".to_owned()],
            platform: "hemline_toy".to_owned(),
            inputs: inputs().chain([note]).collect(),
            outputs: outputs.map(|(name, datatype)| TensorMetadata::new(name, datatype, &[-1])).to_vec(),
            ..ModelMetadata::default()
        };
        Self { metadata, v1: rows(), ready: true, hangs: false, act: || Ok(()), seen: Arc::default() }
    }

    fn acting(name: &str, act: Act) -> Arc<Self> {
        Arc::new(Self { act, ..Self::new(name) })
    }
}

pub(crate) fn columns() -> Vec<TensorMetadata> {
    ["a", "b"].map(|name| TensorMetadata::new(name, Datatype::Fp32, &[-1, 1])).to_vec()
}

/// `{"rows": [[a, b], …], "ids": [id, …]}` → `{"sums": […], "ids": […]}`.
pub(crate) fn rows() -> RowsCodec {
    RowsCodec {
        rows: "rows".to_owned(),
        ids: "ids".to_owned(),
        id_input: "id".to_owned(),
        id_output: "id".to_owned(),
        scores: "sums".to_owned(),
        score_output: "sum".to_owned(),
        columns: columns(),
    }
}

#[async_trait::async_trait]
impl Model for Toy {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    fn v1(&self) -> &dyn V1Codec {
        &self.v1
    }

    fn is_ready(&self) -> bool {
        self.ready
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> Result<InferResponse> {
        (self.act)()?;
        if self.hangs {
            pending::<()>().await;
        }
        let column = |name: &str| request.required(name).map(|tensor| tensor.as_f32().unwrap_or_default());
        let sums: Vec<f32> = column("a")?.iter().zip(column("b")?).map(|(a, b)| a + b).collect();
        let ids = request.required("id")?.data().clone();
        let mut response = InferResponse::of(vec![Tensor::vector("sum", sums), Tensor::vector("id", ids)]);
        response.parameters = request.parameters.clone();
        self.seen.lock().unwrap().push(request);
        Ok(response)
    }
}

/// A server without a socket.
pub(crate) struct Server {
    pub(crate) handler: Handler,
    router: Router,
}

/// Serves `sum`, and one toy for each way to fail.
pub(crate) fn server() -> Server {
    server_with(Limits { body: 64 * 1024, json_depth: 16, instances: 3, time: Duration::from_secs(60) })
}

pub(crate) fn server_with(limits: Limits) -> Server {
    let toys = [
        Arc::new(Toy::new("sum")),
        Arc::new(Toy { hangs: true, ..Toy::new("slow") }),
        Arc::new(Toy { ready: false, ..Toy::new("unready") }),
        Toy::acting("failing", || Err(Error::internal(format!("no route to {SECRET}")))),
        Toy::acting("panicking", || panic!("no route to {SECRET}")),
        Toy::acting("full", || {
            Err(Error::new(Kind::Overloaded, "no room").with_retry_after(Duration::from_millis(1500)))
        }),
        Toy::acting("broken", || {
            Err(Error::new(Kind::UpstreamInvalid, "predictor `r` failed").with_detail(format!("from {SECRET}")))
        }),
    ];
    let repository = toys.into_iter().fold(Repository::default(), |all, toy| all.with(toy));
    serving(repository, limits)
}

pub(crate) fn serving(repository: Repository, limits: Limits) -> Server {
    serving_handler(Handler {
        server: ServerInfo { name: "toys", version: "1" },
        repository,
        readiness: Readiness::default(),
        metrics: Metrics::new().unwrap(),
        limits,
        permits: Permits::new(64),
        control: true,
        events: CloudEvents::default(),
        telemetry: Telemetry::default(),
    })
}

pub(crate) fn serving_handler(handler: Handler) -> Server {
    handler.metrics.describe(handler.server, &handler.repository).unwrap();
    Server::over(handler)
}

impl Server {
    /// The same server with control calls on or off.
    pub(crate) fn controlled(self, control: bool) -> Self {
        Self::over(Handler { control, ..self.handler })
    }

    /// The same server with these settings of events.
    pub(crate) fn answering_events(self, events: CloudEvents) -> Self {
        Self::over(Handler { events, ..self.handler })
    }

    fn over(handler: Handler) -> Self {
        let router = axum::Router::from(dataplane::router(Arc::new(handler.clone())));
        Self { handler, router }
    }

    /// The same server with further routes over its handler.
    pub(crate) fn with_routes(self, routes: Router<Arc<Handler>>) -> Self {
        let handler = Arc::new(self.handler.clone());
        let all = dataplane::router(handler.clone()).merge(routes.with_state(handler));
        Self { router: all.into(), ..self }
    }

    /// Listens on a free port, for what only a socket shows.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, self.router.clone()).into_future());
        address
    }

    /// The same, after its handler was changed.
    pub(crate) fn again(self) -> Self {
        Self::over(self.handler)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::post(path).body(body.into()).unwrap()).await
    }

    pub(crate) async fn post_as(&self, content_type: &str, path: &str, body: &str) -> Answer {
        self.send(post(path).header("content-type", content_type).body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

pub(crate) fn post(path: &str) -> Builder {
    Request::post(path)
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body of an answer that must be a success.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status, code and message of an answer that must be a failure in the one envelope.
    pub(crate) fn failure(&self) -> (u16, String, String) {
        assert!(self.status.as_u16() >= 400, "{} {}", self.status, self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        let Value::Object(envelope) = serde_json::from_slice(&self.body).unwrap() else { panic!("{}", self.text()) };
        let keys: Vec<_> = envelope.keys().collect();
        assert_eq!(keys, ["code", "error"], "{}", self.text());
        let text = |key: &str| envelope[key].as_str().unwrap().to_owned();
        assert!(!text("error").is_empty());
        (self.status.as_u16(), text("code"), text("error"))
    }

    /// That it is a failure like this.
    pub(crate) fn refuses(&self, status: u16, code: &str, message: &str) {
        assert_eq!(self.failure(), (status, code.to_owned(), message.to_owned()));
    }
}
