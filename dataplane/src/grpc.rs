//! V2 over gRPC: `inference.GRPCInferenceService`, health and reflection, as routes beside REST's.
//!
//! | service | |
//! | --- | --- |
//! | `inference.GRPCInferenceService` | [`proto`]: inference, metadata, readiness, repository |
//! | `grpc.health.v1.Health` | `Check` and `Watch`, of the server (`""` and the service's name) and of each model by its name |
//! | `grpc.reflection.{v1,v1alpha}.ServerReflection` | what is above |
//!
//! A failure is a row of the table in [`crate::error`]: its gRPC code, its message, and as metadata its stable code (`x-error-code`) and,
//! where the caller may try again, the time to wait (`retry-after` in seconds, `grpc-retry-pushback-ms` in milliseconds).
//!
//! Requests may be compressed with gzip or deflate; `--max-body-bytes` bounds what they decompress to. An answer of 1 KiB or more to a
//! compressed request is compressed too, where the caller accepts it.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tonic::{Status, codec::CompressionEncoding, server::NamedService};
use tonic_health::pb::{FILE_DESCRIPTOR_SET as HEALTH, health_server::HealthServer};
use tower_http::catch_panic::CatchPanicLayer;

use self::{proto::grpc_inference_service_server::GrpcInferenceServiceServer, status::status};
use crate::{
    context::Context,
    error::{Error, Kind},
    handler::{Handler, deadline_exceeded},
    observe::Inference,
    worker::panic_text,
};

mod codec;
mod contents;
pub(crate) mod decode;
pub(crate) mod encode;
mod health;
pub mod proto;
mod service;
mod status;

pub use contents::Contents;

/// The path of an inference.
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Every gRPC route over one handler. [`crate::router`] serves them with what all protocols share: ids, deadlines, counts.
pub fn router(handler: Arc<Handler>) -> Router {
    /// A service under its name, for messages up to the limit.
    macro_rules! serve {
        ($router:expr, $service:expr) => {{
            let service = $service
                .max_decoding_message_size(handler.limits.body)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Deflate)
                .send_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Deflate);
            $router.route_service(&path_of(&service), service)
        }};
    }
    let router = serve!(Router::new(), GrpcInferenceServiceServer::new(service::Service(handler.clone())));
    let mut router = serve!(router, HealthServer::new(health::Health(handler.clone())));
    match reflection().build_v1() {
        Ok(service) => router = serve!(router, service),
        Err(error) => tracing::error!(%error, "no reflection"),
    }
    match reflection().build_v1alpha() {
        Ok(service) => router = serve!(router, service),
        Err(error) => tracing::error!(%error, "no reflection"),
    }
    router.layer(CatchPanicLayer::custom(panicked)).layer(middleware::from_fn_with_state(handler, complete))
}

fn path_of<S: NamedService>(_: &S) -> String {
    format!("/{}/{{*method}}", S::NAME)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(HEALTH)
}

/// Whether this is a gRPC call. `application/grpc-web` is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/grpc", "application/grpc+proto"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// The answer to a call of what is not served.
pub(crate) fn unknown_method(uri: &Uri) -> Error {
    Error::new(Kind::UnknownRoute, format!("no such method: {}", uri.path()))
}

/// A failure as an answer without a message.
pub(crate) fn refusal(error: impl Into<Arc<Error>>) -> Response {
    status(error).into_http::<Body>()
}

#[allow(clippy::needless_pass_by_value)] // tower-http's signature
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    refusal(Error::internal(format!("a handler panicked: {}", panic_text(panic.as_ref()))))
}

/// Around every call: what the library below refuses by itself becomes a row of the table too, and what failed is told to those who
/// count and log.
async fn complete(State(handler): State<Arc<Handler>>, mut request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) {
        return Error::new(Kind::UnsupportedMediaType, "expected content type application/grpc").into_response();
    }
    // Most clients say that they accept compression, whether they need it or not. One that compresses needs it.
    if request.headers().get(ENCODING).is_none_or(|encoding| encoding == "identity") {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    let uri = request.uri().clone();
    let inference = request.extensions().get::<Inference>().cloned().unwrap_or_default();
    let infers = uri.path() == MODEL_INFER;
    let mut response = if infers { infer(&handler, request, next).await } else { next.run(request).await };
    if !response.headers().contains_key(STATUS) {
        return response;
    }
    if infers {
        // What can't be read has no model, and counts.
        inference.begins("grpc", &handler, "");
    }
    if let Some(error) = response.extensions().get::<Status>().and_then(status::carried) {
        inference.failed(error);
        return response;
    }
    let error = Arc::new(foreign(response.extensions().get::<Status>(), &uri, &handler));
    let accepted = response.headers_mut().remove(ACCEPT_ENCODING);
    response = refusal(error.clone());
    if let Some(accepted) = accepted {
        response.headers_mut().insert(ACCEPT_ENCODING, accepted);
    }
    inference.failed(error);
    response
}

/// Lets an inference in before its message is read. The core holds it to its deadline; this holds callers to theirs who don't get their
/// message sent.
async fn infer(handler: &Handler, request: Request, next: Next) -> Response {
    let _permit = match handler.admit() {
        Ok(permit) => permit,
        Err(error) => return refusal(error),
    };
    let Some(deadline) = request.extensions().get::<Context>().map(Context::deadline) else {
        return next.run(request).await;
    };
    match tokio::time::timeout_at(deadline.into(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => refusal(deadline_exceeded()),
    }
}

/// What the gRPC library refused before a method of ours was asked.
fn foreign(status: Option<&Status>, uri: &Uri, handler: &Handler) -> Error {
    use tonic::Code;
    let Some(status) = status else { return unknown_method(uri) };
    let message = status.message();
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            let limit = handler.limits.body;
            Error::new(Kind::PayloadTooLarge, format!("the message is larger than {limit} bytes")).with_detail(message)
        }
        // A compression that is not known here: the protocol asks for just this code.
        Code::Unimplemented => Error::new(Kind::Unimplemented, message),
        Code::Internal => Error::malformed(format!("the message can't be read: {message}")),
        _ => Error::malformed("the message ended early").with_detail(message),
    }
}
