//! Every protocol on one router.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    middleware,
    response::{IntoResponse, Response},
};

use crate::{grpc, handler::Handler, observe, rest};

/// REST and gRPC over one handler, with ids, deadlines, counts and log lines for every request.
pub fn router(handler: Arc<Handler>) -> Router {
    rest::router(handler.clone())
        .merge(grpc::router(handler.clone()))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(handler, observe::observe))
}

/// What is served nowhere, said in the caller's protocol.
async fn unknown(request: Request) -> Response {
    if grpc::is_grpc(request.headers()) {
        return grpc::refusal(grpc::unknown_method(request.uri()));
    }
    rest::unknown_route(request).await.into_response()
}
