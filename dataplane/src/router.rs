//! Every protocol as one service.

use std::{any::Any, convert::Infallible, panic::AssertUnwindSafe, pin::Pin, sync::Arc, task};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tower::Service;

use crate::{context::Observers, error::Error, grpc, handler::Handler, observe, rest, worker::panic_text};

/// REST and gRPC over one handler, with ids, deadlines, counts and log lines for every request.
pub fn router(handler: Arc<Handler>) -> Routes {
    let grpc = Arc::new(grpc::Calls::new(handler.clone()));
    Routes { rest: rest::router(handler.clone()).fallback(unknown), grpc, handler }
}

/// Every protocol's routes, as a [`Service`] that answers any request; `Router::from` makes a router of it.
///
/// What all requests share is called here instead of being a `Router::layer`: each layer would box every request's future and body
/// once more, which costs a small request as much as answering it.
#[derive(Clone, Debug)]
pub struct Routes {
    handler: Arc<Handler>,
    rest: Router,
    grpc: Arc<grpc::Calls>,
}

/// The routes as one connection asks them. Its requests share what they need by a count that no other connection writes: counts that
/// all of them wrote would travel between cores with every request.
pub(crate) struct Own {
    routes: Routes,
    observers: Arc<Observers>,
}

/// An answer to come.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Routes {
    /// The routes for a connection.
    pub(crate) fn own(&self) -> Arc<Own> {
        let Handler { metrics, telemetry, .. } = self.handler.as_ref();
        let observers = Observers { steps: metrics.step_times(), tracer: telemetry.tracer.clone() };
        Arc::new(Own { routes: self.clone(), observers: Arc::new(observers) })
    }

    /// These and further ones, answered over HTTP as REST is: with ids, within a deadline, each in a line of the log, a panic as a failure.
    /// One that infers says so to its [`crate::Inference`].
    ///
    /// The inferences of V1 and V2 are told by their path before any router is asked: a further route under `/v1/models/` or
    /// `/v2/models/{m}/infer` is never reached by `POST`.
    ///
    /// # Panics
    /// A route is there already, or both have a fallback.
    #[must_use]
    pub fn merge(mut self, routes: Router) -> Self {
        self.rest = self.rest.merge(rest::refusing_methods(routes));
        self
    }
}

impl Own {
    /// Answers a request.
    pub(crate) fn answer(self: &Arc<Self>, request: Request) -> Answer {
        let own = self.clone();
        if grpc::serves(request.uri().path()) {
            return Box::pin(async move {
                let Routes { handler, grpc, .. } = &own.routes;
                let answer = |inference, request| grpc.answer(inference, request);
                Ok(observe::observe(handler, &own.observers, request, answer).await)
            });
        }
        Box::pin(async move {
            let Routes { handler, rest, .. } = &own.routes;
            let answer = |inference, request| rest::answer(handler, rest, inference, request);
            Ok(observe::observe(handler, &own.observers, request, answer).await)
        })
    }
}

impl<B> Service<http::Request<B>> for Routes
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.own().answer(request.map(Body::new))
    }
}

impl From<Routes> for Router {
    fn from(routes: Routes) -> Self {
        Self::new().fallback_service(routes)
    }
}

/// An answer even where the code that makes it panics: `panicked` says it in the caller's protocol.
///
/// Not an `async fn`, which would take twice the room of `answer`: once for its argument, once for what it waits for.
pub(crate) fn caught<R: IntoResponse>(
    answer: impl Future<Output = Result<R, Infallible>>,
    panicked: impl FnOnce(Error) -> Response,
) -> impl Future<Output = Response> {
    AssertUnwindSafe(answer).catch_unwind().map(|answer| match answer {
        Ok(Ok(response)) => response.into_response(),
        Err(panic) => panicked(a_panic(panic.as_ref())),
    })
}

fn a_panic(panic: &(dyn Any + Send)) -> Error {
    Error::internal(format!("a handler panicked: {}", panic_text(panic)))
}

/// What is served nowhere, said in the caller's protocol.
async fn unknown(request: Request) -> Response {
    if grpc::is_grpc(request.headers()) {
        let error = Arc::new(grpc::unknown_method(request.uri()));
        let mut response = grpc::refusal(error.clone());
        // For `crate::observe`, as REST's refusals have it.
        response.extensions_mut().insert(error);
        return response;
    }
    rest::unknown_route(&request).into_response()
}
