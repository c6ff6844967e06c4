//! REST: V1, V2, health and metrics on one port.
//!
//! | path | |
//! | --- | --- |
//! | `GET /` , `/metrics` | alive; Prometheus text |
//! | `GET /v1/models`, `/v1/models/{m}`, `POST /v1/models/{m}:predict` | [`v1`] |
//! | `GET /v2`, `/v2/health/{live,ready}`, `/v2/models` | [`health`], [`v2`] |
//! | `GET`, `POST /v2/logging` | [`logging`] |
//! | `GET /v2/models/{m}[/versions/{v}]`, `…/ready`, `POST …/infer` | [`v2`] |

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::{Handler, deadline_exceeded},
    json::plain,
    observe,
    worker::panic_text,
};

mod health;
mod logging;
mod v1;
mod v2;

pub(crate) use v2::read_tensor;

/// Every route over one handler.
pub fn router(handler: Arc<Handler>) -> Router {
    let model =
        Router::new().route("/", get(v2::metadata)).route("/ready", get(v2::ready)).route("/infer", post(v2::infer));
    Router::new()
        .route("/", get(health::alive))
        .route("/metrics", get(health::metrics))
        .route("/v1/models", get(v1::list))
        .route("/v1/models/{target}", get(v1::ready).post(v1::act))
        .route("/v2", get(v2::server))
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .route("/v2/logging", get(logging::shown).post(logging::change))
        .route("/v2/models", get(v2::list))
        .nest("/v2/models/{model}", model.clone())
        .nest("/v2/models/{model}/versions/{version}", model)
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(handler.clone(), observe::observe))
        .with_state(handler)
}

async fn unknown_route(request: axum::extract::Request) -> Error {
    Error::new(Kind::UnknownRoute, format!("no such path: {}", request.uri().path()))
}

async fn method_not_allowed(request: axum::extract::Request) -> Error {
    Error::new(Kind::MethodNotAllowed, format!("{} is not allowed on {}", request.method(), request.uri().path()))
}

#[allow(clippy::needless_pass_by_value)] // tower-http's signature
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    Error::internal(format!("a handler panicked: {}", panic_text(panic.as_ref()))).into_response()
}

impl IntoResponse for Error {
    /// The envelope. What only the log may show goes with it as an extension, for [`crate::observe`].
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: &'a str,
            code: &'a str,
        }
        let row = self.kind().row();
        let mut response = json(&Envelope { error: self.message(), code: row.code });
        *response.status_mut() = row.http;
        if let Some(after) = self.retry_after() {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// A JSON answer.
fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => json_bytes(body),
        Err(error) => Error::internal(error).into_response(),
    }
}

fn json_bytes(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Says where the JSON of a body with binary tensors ends.
const BINARY_HEADER: &str = "inference-header-content-length";

/// The whole body of a JSON request, within the limits of size and time.
async fn read_body(handler: &Handler, headers: &HeaderMap, body: Body, context: &Context) -> Result<Bytes> {
    check_content_type(headers)?;
    if headers.contains_key(BINARY_HEADER) {
        let text = "binary tensors are not read here: send JSON, without Inference-Header-Content-Length";
        return Err(Error::new(Kind::UnsupportedMediaType, text));
    }
    let limit = handler.limits.body;
    let too_large = || Error::new(Kind::PayloadTooLarge, format!("the body is larger than {limit} bytes"));
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let read = http_body_util::BodyExt::collect(http_body_util::Limited::new(body, limit));
    match tokio::time::timeout_at(context.deadline().into(), read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Error::malformed("the body ended early").with_detail(error)),
        Err(_) => Err(deadline_exceeded()),
    }
}

/// What is wrong with a body that is not `expected`.
fn unreadable(error: &serde_json::Error, expected: &str) -> Error {
    if error.is_data() {
        return Error::malformed(format!("the body: expected {expected} ({})", plain(error)));
    }
    Error::malformed(format!("the body is no JSON: {error}"))
}

/// JSON in every dress that clients send it in: no content type (KServe's batcher), a charset, `+json`, curl's default form type.
fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or("unreadable").to_ascii_lowercase();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let known = ["", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"];
    if known.contains(&essence) || essence.ends_with("+json") {
        return Ok(());
    }
    Err(Error::new(Kind::UnsupportedMediaType, format!("content type `{essence}`: expected application/json")))
}

/// A path's pieces, decoded by axum; what is not UTF-8 names nothing that is served.
type Path<T> = std::result::Result<axum::extract::Path<T>, axum::extract::rejection::PathRejection>;

fn path<T>(path: Path<T>) -> Result<T> {
    path.map(|axum::extract::Path(pieces)| pieces)
        .map_err(|error| Error::new(Kind::UnknownRoute, "no such path").with_detail(error))
}
