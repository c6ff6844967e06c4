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
//! Requests may be compressed with gzip or deflate; `--max-body-bytes` bounds what they decompress to, and 64 KiB where they infer nothing.
//! An answer of 1 KiB or more to a compressed request is compressed too, where the caller accepts it.
//!
//! Every call has its deadline, but for a load once it is read, and for streams: of those a number may be open, however long.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::{
    Status,
    codec::CompressionEncoding,
    server::{Grpc, NamedService},
};
use tonic_health::pb::{FILE_DESCRIPTOR_SET as HEALTH, health_server::HealthServer};
use tower::Service as _;

use self::{
    codec::InferCodec,
    proto::grpc_inference_service_server::GrpcInferenceServiceServer,
    service::{ModelInfer, Service},
    status::status,
};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::{Handler, in_time},
    limits::Limits,
    observe::Inference,
    router::caught,
    worker::{OwnedPermit, Permits},
};

mod codec;
mod contents;
pub(crate) mod decode;
pub(crate) mod encode;
mod health;
mod plain;
pub mod proto;
mod quick;
mod service;
mod status;

pub use contents::Contents;

/// What it is called where inferences are counted.
pub(crate) const PROTOCOL: &str = "grpc";
/// The path of an inference.
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// The path of a health watch, whose answer ends with the server.
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Answers that may be open without an end to come, over all connections: each holds a task and looks at the server now and then.
const STREAMS: usize = 1024;
/// What stands before a message: whether it is compressed, and how long it is.
const PREFIX: usize = 5;
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The services, each with the slash that its methods' names follow.
const SERVICES: [&str; 4] = [
    "/inference.GRPCInferenceService/",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Whether this is the path of a method of the services here.
pub(crate) fn serves(path: &str) -> bool {
    SERVICES.iter().any(|service| path.strip_prefix(service).is_some_and(|method| !method.is_empty()))
}

/// A service for messages up to the limit.
macro_rules! limited {
    ($service:expr, $limit:expr) => {
        $service
            .max_decoding_message_size($limit)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Deflate)
    };
}

/// Every gRPC service over one handler. [`crate::router`] serves them with what all protocols share: ids, deadlines, counts.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    handler: Arc<Handler>,
    /// What of the inference service infers nothing, asked without a router in between: it has nothing to tell apart.
    control: GrpcInferenceServiceServer<Service>,
    others: Router,
    streams: Permits,
}

impl Calls {
    pub(crate) fn new(handler: Arc<Handler>) -> Self {
        /// A service under its name.
        macro_rules! serve {
            ($router:expr, $service:expr) => {{
                let service = limited!($service, handler.limits.small_body());
                $router.route_service(&path_of(&service), service)
            }};
        }
        let service = GrpcInferenceServiceServer::new(Service(handler.clone()));
        let control = limited!(service, handler.limits.small_body());
        let mut others = serve!(Router::new(), HealthServer::new(health::Health(handler.clone())));
        match reflection().build_v1() {
            Ok(service) => others = serve!(others, service),
            Err(error) => tracing::error!(%error, "no reflection"),
        }
        match reflection().build_v1alpha() {
            Ok(service) => others = serve!(others, service),
            Err(error) => tracing::error!(%error, "no reflection"),
        }
        Self { handler, control, others, streams: Permits::new(STREAMS) }
    }

    /// Answers a call of a path that is served here. What the library below refuses by itself becomes a row of the table too, and what
    /// failed is told to those who count and log.
    pub(crate) async fn answer(&self, inference: Inference, mut request: Request) -> Response {
        if !is_grpc(request.headers()) {
            return Error::new(Kind::UnsupportedMediaType, "expected content type application/grpc").into_response();
        }
        // Most clients say that they accept compression, whether they need it or not. One that compresses needs it.
        if request.headers().get(ENCODING).is_none_or(|encoding| encoding == "identity") {
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        request.extensions_mut().insert(inference.clone());
        let infers = inference.uri().path() == MODEL_INFER;
        let response = if infers {
            self.infer(&inference, request).await
        } else {
            Box::pin(self.other(&inference, request)).await.unwrap_or_else(refusal)
        };
        if !response.headers().contains_key(STATUS) {
            return response;
        }
        if infers {
            // What can't be read has no model, and counts.
            inference.begins(PROTOCOL, &self.handler, "");
        }
        self.refused(&inference, response)
    }

    /// Lets an inference in before its message is read. The core holds it to its deadline; this holds callers to theirs who don't get
    /// their message sent.
    async fn infer(&self, inference: &Inference, request: Request) -> Response {
        let _permit = match self.handler.admit() {
            Ok(permit) => permit,
            Err(error) => return refusal(error),
        };
        let answer = self.unary(inference, request).map(|answer| Ok(answer.unwrap_or_else(refusal)));
        in_time(inference.context().deadline(), pin!(caught(answer, refusal))).await.unwrap_or_else(refusal)
    }

    /// One message for another. Compression is the library's: it gets one message and no more, for it would read all that follow.
    async fn unary(&self, inference: &Inference, request: Request) -> Result<Response> {
        let limit = self.handler.limits.body;
        let (head, body) = request.into_parts();
        let compressed = head.headers.get(ENCODING).is_some_and(|encoding| encoding != "identity");
        let mut message = plain::read(body, compressed, limit).await?;
        if compressed {
            let request = Request::from_parts(head, Body::from(message));
            let mut grpc = limited!(Grpc::new(InferCodec), limit);
            return Ok(Box::pin(grpc.unary(ModelInfer(self.handler.clone()), request)).await.map(Body::new));
        }
        let asked = codec::asked(message.split_off(PREFIX))?;
        plain::write(service::answer(&self.handler, asked, inference).await?)
    }

    /// Any other call. Nobody counts those that are under way, so they are small, and are read within their deadline. What they ask for
    /// is at hand then, but for a load, which takes its time as in REST.
    async fn other(&self, inference: &Inference, request: Request) -> Result<Response> {
        let path = request.uri().path();
        let reflects = is_reflection(path);
        let place = (reflects || path == WATCH).then(|| self.open_stream()).transpose()?;
        // Who reflects goes on asking.
        let request = if reflects { request } else { read(request, self.handler.limits, inference.context()).await? };
        let response = self.call(request).await;
        let Some(place) = place else { return Ok(response) };
        Ok(response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &place;
                frame
            }))
        }))
    }

    /// A place for an answer without an end to come, held until that is dropped.
    fn open_stream(&self) -> Result<OwnedPermit> {
        self.streams.try_acquire_owned().ok_or_else(|| {
            let text = "as many streams as this server serves at once are open";
            Error::new(Kind::Overloaded, text).with_retry_after(Duration::from_secs(1))
        })
    }

    async fn call(&self, request: Request) -> Response {
        if request.uri().path().starts_with(SERVICES[0]) {
            return caught(self.control.clone().call(request), refusal).await;
        }
        caught(self.others.clone().call(request), refusal).await
    }

    /// An answer that is a failure, as the table has it.
    fn refused(&self, inference: &Inference, mut response: Response) -> Response {
        if let Some(error) = response.extensions().get::<Status>().and_then(status::carried) {
            inference.failed(error);
            return response;
        }
        let status = response.extensions().get::<Status>();
        let error = Arc::new(foreign(status, inference.uri(), &self.handler));
        let accepted = response.headers_mut().remove(ACCEPT_ENCODING);
        response = refusal(error.clone());
        if let Some(accepted) = accepted {
            response.headers_mut().insert(ACCEPT_ENCODING, accepted);
        }
        inference.failed(error);
        response
    }
}

fn path_of<S: NamedService>(_: &S) -> String {
    format!("/{}/{{*method}}", S::NAME)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(HEALTH)
}

/// Whether a path is one of reflection, where a call is a conversation.
fn is_reflection(path: &str) -> bool {
    SERVICES[2..].iter().any(|service| path.starts_with(service))
}

/// A request with its body read.
///
/// # Errors
/// It is larger than the limit, did not come in time, or ended early.
async fn read(request: Request, limits: Limits, context: &Context) -> Result<Request> {
    let (head, body) = request.into_parts();
    let limit = limits.small_body();
    let body = in_time(context.deadline(), pin!(Limited::new(body, limit + PREFIX).collect())).await?;
    match body {
        Ok(body) => Ok(Request::from_parts(head, Body::new(body))),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(error) => Err(Error::malformed("the message ended early").with_detail(error)),
    }
}

fn too_large(limit: usize) -> Error {
    Error::new(Kind::PayloadTooLarge, format!("the message is larger than {limit} bytes"))
}

/// Whether this is a gRPC call. `application/grpc-web` is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return false };
    if content_type == "application/grpc" {
        return true;
    }
    let content_type = content_type.to_str().unwrap_or_default();
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

/// What the gRPC library refused before a method of ours was asked.
fn foreign(status: Option<&Status>, uri: &Uri, handler: &Handler) -> Error {
    use tonic::Code;
    let Some(status) = status else { return unknown_method(uri) };
    let message = status.message();
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            let limits = handler.limits;
            too_large(if uri.path() == MODEL_INFER { limits.body } else { limits.small_body() }).with_detail(message)
        }
        // A compression that is not known here: the protocol asks for just this code.
        Code::Unimplemented => Error::new(Kind::Unimplemented, message),
        Code::Internal => Error::malformed(format!("the message can't be read: {message}")),
        _ => Error::malformed("the message ended early").with_detail(message),
    }
}
