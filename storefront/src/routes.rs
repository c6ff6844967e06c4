//! The paths, and what holds for all of them: an id, a line in the log, and headers that keep the page safe.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tracing::Instrument;

use crate::{api, failure::Failure, images, request::RequestId, shop::Shop};

/// Paths that are the page's own: it knows what to show there.
const PAGES: [&str; 4] = ["/", "/stylist", "/interactions", "/under-the-hood"];

/// Everything that the shop answers.
pub(crate) fn router(shop: Arc<Shop>) -> Router {
    let policy = policy(shop.images.origin());
    api::routes()
        .route("/images/{name}", get(images::image))
        .route("/healthz", get(async || "ok"))
        .fallback(file)
        .method_not_allowed_fallback(async || Failure::method())
        .with_state(shop)
        .layer(middleware::from_fn_with_state(policy, around))
}

/// A file of the page, the page itself, or that there is nothing.
async fn file(State(shop): State<Arc<Shop>>, request: Request) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_data = ["/api", "/assets", "/images"]
        .iter()
        .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let found = match path {
        _ if !is_read => None,
        _ if PAGES.contains(&path) => shop.web.page(StatusCode::OK, headers),
        _ if is_data => shop.web.file(path, headers),
        // A page that there is not, told by the page.
        _ => shop.web.file(path, headers).or_else(|| shop.web.page(StatusCode::NOT_FOUND, headers)),
    };
    found.unwrap_or_else(|| Failure::unknown_route().into_response())
}

/// Nothing comes from elsewhere but pictures, from where they are configured to be.
fn policy(pictures: Option<&str>) -> HeaderValue {
    let pictures = pictures.map(|origin| format!(" {origin}")).unwrap_or_default();
    let policy = format!(
        "default-src 'self'; img-src 'self' data:{pictures}; style-src 'self'; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    // An origin is ASCII without spaces; were it not, no picture but the shop's would be shown.
    HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'self'"))
}

/// Gives a request its id, and its answer the headers that every answer has.
async fn around(State(policy): State<HeaderValue>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let method = request.method().clone();
    let is_api = request.uri().path().starts_with("/api/");
    // The route and not the path, in which a customer may be named.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!("request", request_id = id.text(), %method, route);
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    if is_api {
        let ms = began.elapsed().as_secs_f64() * 1e3;
        span.in_scope(|| tracing::info!(status = status.as_u16(), ms, "answered"));
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static(RequestId::HEADER), id.value());
    // What customers do, and what failed, is nobody's to keep.
    if is_api || status.is_client_error() || status.is_server_error() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
