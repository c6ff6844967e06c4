//! A server that echoes, and one request to it: the same path that a stranger's bytes take, from the router to the answer.

use std::{convert::Infallible, sync::LazyLock};

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request, StatusCode},
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
    v1::{RowsCodec, TensorsCodec, V1Codec},
    worker::Permits,
};
use futures_util::stream;
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Gives back what it is given. `any` takes whatever comes, and the others what their metadata list. Their V1 instances are objects
/// (`typed`), a row of one input (`single`), a value of each input (`list`), and tables (`rows`).
struct Echo {
    metadata: ModelMetadata,
    v1: Box<dyn V1Codec>,
}

#[async_trait]
impl Model for Echo {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> Result<InferResponse> {
        Ok(InferResponse::of(request.inputs))
    }

    fn v1(&self) -> &dyn V1Codec {
        self.v1.as_ref()
    }
}

fn model(name: &str, inputs: Vec<TensorMetadata>, v1: impl V1Codec) -> std::sync::Arc<Echo> {
    let metadata = ModelMetadata {
        name: name.to_owned(),
        versions: vec!["1".to_owned()],
        outputs: inputs.clone(),
        inputs,
        ..ModelMetadata::default()
    };
    std::sync::Arc::new(Echo { metadata, v1: Box::new(v1) })
}

/// A table with a column of each kind of value, and the ids of its rows. The first column comes back as its scores.
fn rows() -> std::sync::Arc<Echo> {
    let kinds = [
        ("x", Datatype::Fp32),
        ("s", Datatype::Bytes),
        ("b", Datatype::Bool),
        ("i", Datatype::Int64),
        ("u", Datatype::Uint8),
        ("d", Datatype::Fp64),
        ("h", Datatype::Fp16),
    ];
    let columns = kinds.map(|(name, datatype)| TensorMetadata::new(name, datatype, &[-1, 1])).to_vec();
    let inputs = columns.iter().cloned().chain([TensorMetadata::new("id", Datatype::Bytes, &[-1, 1])]).collect();
    let v1 = RowsCodec {
        rows: "rows".to_owned(),
        ids: "ids".to_owned(),
        id_input: "id".to_owned(),
        id_output: "id".to_owned(),
        scores: "scores".to_owned(),
        score_output: "x".to_owned(),
        columns,
    };
    model("rows", inputs, v1)
}

fn router() -> Routes {
    let columns = vec![
        TensorMetadata::new("x", Datatype::Fp32, &[-1, 1]),
        TensorMetadata::new("s", Datatype::Bytes, &[-1]),
        TensorMetadata::optional("b", Datatype::Bool, &[-1, 2]),
    ];
    let repository = Repository::default()
        .with(model("any", Vec::new(), TensorsCodec))
        .with(model("list", columns[..2].to_vec(), TensorsCodec))
        .with(model("typed", columns, TensorsCodec))
        .with(model("single", vec![TensorMetadata::new("x", Datatype::Fp32, &[-1, 2])], TensorsCodec))
        .with(rows());
    dataplane::router(std::sync::Arc::new(Handler {
        server: ServerInfo { name: "fuzz", version: "0" },
        repository,
        readiness: Readiness::default(),
        metrics: Metrics::new().expect("names differ"),
        limits: Limits { body: 1 << 20, ..Limits::default() },
        telemetry: Telemetry::default(),
        permits: Permits::new(1),
        control: false,
        // So that what a stranger calls attributes is read and written too.
        events: CloudEvents { merge: true, ..CloudEvents::default() },
    }))
}

static SERVER: LazyLock<(Runtime, Routes)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    (runtime, router())
});

/// What stands between headers and a body.
const EMPTY_LINE: &[u8] = b"\n\n";

/// Sends an input to a model's path: headers, a line each, an empty line and the body, or the body alone.
///
/// # Panics
/// As [`ask`].
pub fn ask_with_headers(path: &str, input: &[u8]) {
    let split = input.windows(EMPTY_LINE.len()).position(|window| window == EMPTY_LINE);
    let (head, body) = match split {
        Some(at) => (&input[..at], &input[at + EMPTY_LINE.len()..]),
        None => (&[][..], input),
    };
    // A line that no HTTP library would take for a header is none here either.
    let headers = head.split(|&byte| byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?))
    });
    ask(path, headers, [body.to_vec()]);
}

/// Sends one request, its body in these pieces, and reads the answer whole.
///
/// # Panics
/// The server calls it its own fault: whatever a stranger sends is the stranger's.
pub fn ask<B>(path: &str, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>, body: B)
where
    B: IntoIterator<Item = Vec<u8>, IntoIter: Send + 'static>,
{
    let (runtime, router) = &*SERVER;
    let body = Body::from_stream(stream::iter(body.into_iter().map(Ok::<_, Infallible>)));
    let mut request = Request::post(path).body(body).expect("a request");
    request.headers_mut().extend(headers);
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
