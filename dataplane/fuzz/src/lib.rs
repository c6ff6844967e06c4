//! A server that echoes, and one request to it: the same path that a stranger's bytes take, from the router to the answer.

use std::sync::LazyLock;

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{Request, StatusCode, request::Builder},
};
use dataplane::{
    Context, Datatype, Handler, InferRequest, InferResponse, Model, ModelMetadata, Result, Routes, TensorMetadata,
    config::CloudEvents,
    handler::ServerInfo,
    limits::Limits,
    metrics::Metrics,
    readiness::Readiness,
    repository::Repository,
    telemetry::Telemetry,
    worker::Permits,
};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Gives back what it is given. `any` takes whatever comes; `typed` checks it against its metadata first.
struct Echo(ModelMetadata);

#[async_trait]
impl Model for Echo {
    fn metadata(&self) -> &ModelMetadata {
        &self.0
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> Result<InferResponse> {
        Ok(InferResponse::of(request.inputs))
    }
}

fn model(name: &str, inputs: Vec<TensorMetadata>) -> std::sync::Arc<Echo> {
    std::sync::Arc::new(Echo(ModelMetadata {
        name: name.to_owned(),
        versions: vec!["1".to_owned()],
        outputs: inputs.clone(),
        inputs,
        ..ModelMetadata::default()
    }))
}

fn router() -> Routes {
    let columns = vec![
        TensorMetadata::new("x", Datatype::Fp32, &[-1, 1]),
        TensorMetadata::new("s", Datatype::Bytes, &[-1]),
        TensorMetadata::optional("b", Datatype::Bool, &[-1, 2]),
    ];
    let repository = Repository::default().with(model("any", Vec::new())).with(model("typed", columns));
    dataplane::router(std::sync::Arc::new(Handler {
        server: ServerInfo { name: "fuzz", version: "0" },
        repository,
        readiness: Readiness::default(),
        metrics: Metrics::new().expect("names differ"),
        limits: Limits { body: 1 << 20, ..Limits::default() },
        telemetry: Telemetry::default(),
        permits: Permits::new(1),
        control: false,
        events: CloudEvents::default(),
    }))
}

static SERVER: LazyLock<(Runtime, Routes)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    (runtime, router())
});

/// Sends one request and reads the answer whole.
///
/// # Panics
/// The server calls it its own fault: whatever a stranger sends is the stranger's.
pub fn ask(path: &str, headers: &[(&str, &str)], body: Vec<u8>) {
    let (runtime, router) = &*SERVER;
    let request = headers.iter().fold(Request::post(path), |request: Builder, (name, value)| request.header(*name, *value));
    let request = request.body(Body::from(body)).expect("a request");
    runtime.block_on(async {
        let answer = router.clone().oneshot(request).await.expect("infallible");
        let status = answer.status();
        let grpc = answer.headers().get("grpc-status").cloned();
        let collected = answer.into_body().collect().await.expect("an answer that can be read");
        let grpc = grpc.or_else(|| collected.trailers()?.get("grpc-status").cloned());
        let text = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
        assert!(grpc.is_none_or(|code| code != "13"), "INTERNAL");
    });
}
