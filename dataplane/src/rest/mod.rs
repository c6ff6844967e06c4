//! REST: V1, V2, health and metrics on one port.
//!
//! | path | |
//! | --- | --- |
//! | `GET /`, `/metrics`, `/openapi.json` | alive; Prometheus text; what is served here, as OpenAPI |
//! | `GET /v1/models`, `/v1/models/{m}`, `POST /v1/models/{m}:predict`, `…:explain` | `v1` |
//! | `GET /v2`, `/v2/health/{live,ready}`, `/v2/models` | `health`, `v2` |
//! | `GET`, `POST /v2/logging` | `logging` |
//! | `GET /v2/models/{m}[/versions/{v}]`, `…/ready`, `POST …/infer` | `v2` |
//! | `POST /v2/repository/index`, `/v2/repository/models/{m}/{load,unload}` | `repository` |
//!
//! Bodies may be compressed both ways (`coding`). A slash at a path's end makes it another path, and those are 404.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use direct::Target;
use futures_util::FutureExt;
use serde::Serialize;
use tower::Service;

use crate::{
    error::{Error, Kind, Result},
    handler::{Handler, ServerInfo},
    observe::Inference,
    router::caught,
};

mod binary;
mod body;
mod cloudevents;
mod coding;
mod direct;
mod health;
mod logging;
mod openapi;
mod repository;
mod v1;
mod v2;

pub use body::{read_body, read_decompressed_body};

/// Every path, and what it answers to.
fn routes(server: ServerInfo) -> Vec<(&'static str, MethodRouter<Arc<Handler>>)> {
    vec![
        ("/", get(health::alive)),
        ("/metrics", get(health::metrics)),
        ("/openapi.json", openapi::route(server)),
        ("/v1/models", get(v1::list)),
        ("/v1/models/{target}", get(v1::ready).post(v1::act).fallback(v1::not_allowed)),
        ("/v2", get(v2::server)),
        ("/v2/health/live", get(health::live)),
        ("/v2/health/ready", get(health::ready)),
        ("/v2/logging", get(logging::shown).post(logging::change)),
        ("/v2/models", get(v2::list)),
        ("/v2/models/{model}", get(v2::metadata)),
        ("/v2/models/{model}/ready", get(v2::ready)),
        ("/v2/models/{model}/infer", post(v2::infer)),
        ("/v2/models/{model}/versions/{version}", get(v2::metadata)),
        ("/v2/models/{model}/versions/{version}/ready", get(v2::ready)),
        ("/v2/models/{model}/versions/{version}/infer", post(v2::infer)),
        ("/v2/repository/index", post(repository::index)),
        ("/v2/repository/models/{model}/load", post(repository::load)),
        ("/v2/repository/models/{model}/unload", post(repository::unload)),
    ]
}

/// Every REST route over one handler. [`crate::router`] serves them with what all protocols share: ids, deadlines, counts.
pub(crate) fn router(handler: Arc<Handler>) -> Router {
    let routes = routes(handler.server).into_iter();
    routes
        .fold(Router::new(), |router, (path, route)| router.route(path, route))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(handler)
}

/// Others' routes, whose paths refuse other methods as ours do.
pub(crate) fn refusing_methods(routes: Router) -> Router {
    routes.method_not_allowed_fallback(method_not_allowed)
}

static PATHS: LazyLock<Vec<&str>> =
    LazyLock::new(|| routes(ServerInfo { name: "", version: "" }).into_iter().map(|(path, _)| path).collect());

/// The path that a route is published under, with its parameters' names in it.
pub(crate) fn template(path: &str) -> Option<&'static str> {
    PATHS.iter().copied().find(|template| {
        let (mut pieces, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (pieces.next(), wanted.next()) {
                (None, None) => return true,
                (Some(piece), Some(name)) if name.starts_with('{') && !piece.is_empty() => {}
                (Some(piece), Some(name)) if piece == name => {}
                _ => return false,
            }
        }
    })
}

/// An answer over REST, compressed where the caller likes that. `router` is asked where the path alone does not tell which inference
/// it is.
pub(crate) async fn answer(handler: &Handler, router: &Router, inference: Inference, mut request: Request) -> Response {
    let accepted = coding::Coding::accepted(request.headers());
    let response = if let Some(target) = Target::of(inference.method(), inference.uri().path()) {
        let (head, body) = request.into_parts();
        let answer = target.answer(handler, &inference, &head.headers, body);
        caught(answer.map(Ok), IntoResponse::into_response).await
    } else {
        request.extensions_mut().insert(inference);
        Box::pin(caught(router.clone().call(request), IntoResponse::into_response)).await
    };
    coding::compress(accepted, response).await
}

pub(crate) fn unknown_route(request: &Request) -> Error {
    Error::new(Kind::UnknownRoute, format!("no such path: {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Error {
    Error::new(Kind::MethodNotAllowed, format!("{} is not allowed on {}", request.method(), request.uri().path()))
}

impl IntoResponse for Error {
    /// The envelope. What only the log may show goes with it as an extension, for `crate::observe`.
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
    of_type(HeaderValue::from_static("application/json"), body)
}

/// An answer of this type. By hand: axum's own first gives it another one.
fn of_type(content_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// A path's pieces, decoded by axum; what is not UTF-8 names nothing that is served.
type Path<T> = std::result::Result<axum::extract::Path<T>, axum::extract::rejection::PathRejection>;

fn path<T>(path: Path<T>) -> Result<T> {
    path.map(|axum::extract::Path(pieces)| pieces)
        .map_err(|error| Error::new(Kind::UnknownRoute, "no such path").with_detail(error))
}
