//! The admin port's own routes: health, metrics and the log level, as the data ports answer them.

use std::convert::Infallible;

use axum::{Router, extract::Request, response::Response};
use tower::{ServiceExt, service_fn};

use crate::{
    error::{Error, Kind},
    router::Routes,
};

/// What probes, scrapers and whoever looks after the server ask for.
const PATHS: [&str; 5] = ["/", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/logging"];

/// These paths of `data`, and nothing else of it.
pub(super) fn router(data: &Routes) -> Router {
    let data = data.clone();
    let answer = service_fn(move |request: Request| -> _ {
        let data = data.clone();
        async move { data.oneshot(request).await as Result<Response, Infallible> }
    });
    let router = PATHS.iter().fold(Router::new(), |router, path| router.route_service(path, answer.clone()));
    router.fallback(|request: Request| async move {
        Error::new(Kind::UnknownRoute, format!("no such path on the admin port: {}", request.uri().path()))
    })
}
