//! V2 over gRPC, as clients on a socket see it.
//!
//! Messages of inferences are written and read by [`wire`], which knows the protocol's numbers from nobody but itself.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Request, uri::PathAndQuery},
};
use dataplane::{
    Context, Error, Handler, InferRequest, InferResponse, Kind, Model, ModelMetadata,
    limits::Limits,
    repository::Repository,
    v1::{RowsCodec, V1Codec},
};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::ServiceExt;

use crate::serving::{SECRET, rows, server, serving};

mod calls;
mod compression;
mod contents;
mod errors;
mod health;
mod reflection;
mod repository;
pub(crate) mod wire;

pub(crate) const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Answers with its inputs, or does what the parameter `do` says.
struct Echo {
    metadata: ModelMetadata,
    v1: RowsCodec,
    began: Arc<Notify>,
    dropped: Arc<Notify>,
}

impl Echo {
    fn new() -> Self {
        let properties = [("digest".to_owned(), "sha256:e".to_owned())].into();
        let metadata = ModelMetadata {
            name: "echo".to_owned(),
            versions: vec!["1".to_owned()],
            properties,
            ..ModelMetadata::default()
        };
        Self { metadata, v1: rows(), began: Arc::default(), dropped: Arc::default() }
    }
}

/// Tells when the future that holds it is dropped.
struct Guard(Arc<Notify>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait::async_trait]
impl Model for Echo {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    fn v1(&self) -> &dyn V1Codec {
        &self.v1
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> dataplane::Result<InferResponse> {
        if let Some(kind) = request.parameters.get("fail").and_then(dataplane::Parameter::as_u64) {
            let kind = Kind::ALL[usize::try_from(kind).unwrap()];
            let error = Error::new(kind, "it failed").with_detail(SECRET);
            return Err(error.with_retry_after(Duration::from_millis(1500)));
        }
        if request.parameters.contains_key("panic") {
            panic!("no route to {SECRET}");
        }
        if request.parameters.contains_key("hang") {
            let _guard = Guard(self.dropped.clone());
            self.began.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(InferResponse { parameters: request.parameters, ..InferResponse::of(request.inputs) })
    }
}

/// Serves the toys on a socket.
async fn toys() -> (Handler, Channel) {
    let handler = server().handler;
    (handler.clone(), listen(handler).await)
}

/// Serves an echo on a socket, for messages up to 64 KiB.
async fn echo() -> (Handler, Channel) {
    echoing(Echo::new()).await
}

async fn echoing(echo: Echo) -> (Handler, Channel) {
    let limits = Limits { body: 64 * 1024, json_depth: 16, instances: 3, time: Duration::from_secs(60) };
    let handler = serving(Repository::default().with(Arc::new(echo)), limits).handler;
    (handler.clone(), listen(handler).await)
}

pub(crate) async fn listen(handler: Handler) -> Channel {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, axum::Router::from(dataplane::router(Arc::new(handler)))).into_future());
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub(crate) async fn infer(
    channel: &Channel,
    request: impl tonic::IntoRequest<wire::InferRequest>,
) -> Result<wire::InferResponse, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(INFER);
    Ok(client.unary(request.into_request(), path, ProstCodec::default()).await?.into_inner())
}

/// A message as it goes over the wire, uncompressed.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), message].concat()
}

fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path).header("content-type", "application/grpc").header("te", "trailers")
}

/// Sends bytes as they are; the answer's headers, body and trailers.
async fn exchange(channel: &Channel, request: Request<Vec<u8>>) -> (HeaderMap, Vec<u8>, HeaderMap) {
    let request = request.map(|body| tonic::body::Body::new(Body::from(body)));
    let (head, body) = channel.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    (head.headers, body.to_bytes().to_vec(), trailers)
}

/// That a call ended so: gRPC code, stable code, message.
#[track_caller]
fn refused<A: std::fmt::Debug>(answer: Result<A, Status>, code: tonic::Code, stable: &str, message: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
    assert_eq!(status.metadata().get("x-error-code").unwrap(), stable);
    assert!(!format!("{:?}", status.metadata()).contains(SECRET));
}
