//! Bind, serve, hear the signals, drain.
//!
//! One [`Routes`] answers on every data `listener`: REST, gRPC, and a Unix socket; `admin` has a port of its own. A
//! `connection` may come over `tls`, speaks HTTP/1 or HTTP/2, and is borne with as `patience` says, by what `activity` saw.
//! Told to stop, the server leaves by `drain`.

use std::{
    io,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::sync::{Semaphore, watch};

use crate::{
    config::{ServerArgs, kserve, refuse},
    handler::Handler,
    metrics::Metrics,
    readiness::Readiness,
    repository::{self, Repository},
    router::{Routes, router},
    telemetry::Telemetry,
    worker,
};

mod activity;
mod admin;
mod connection;
mod drain;
mod linger;
mod listener;
mod patience;
mod self_wakes;
mod start;
mod tls;

use connection::{App, Endpoint};
use drain::Signals;
use listener::{Listener, Listeners};
pub use start::{Start, model, start};
use tls::Current;

/// How long what was served may take to be dropped.
const GOING: Duration = Duration::from_secs(1);

/// Runs a server to its end, on a runtime of its own, its start included: what loads models belongs into `server`, so that being told to
/// stop meanwhile ends the process. At the end models get a second to go: the process must not exit under one that is being dropped. What
/// is busy for longer, one that still computes or is being loaded, is not waited for: a drain has one deadline.
pub fn block_on(server: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(async {
                match drain::leave_while_starting() {
                    Ok(()) => server.await,
                    Err(error) => refuse(format_args!("signals can't be heard: {error}")),
                }
            });
            let began = Instant::now();
            runtime.shutdown_timeout(GOING);
            worker::wait_until_ended(GOING.saturating_sub(began.elapsed()));
            code
        }
        Err(error) => refuse(format_args!("no threads to serve with: {error}")),
    }
}

/// Binds and serves until told to stop; the process's exit code. `background` runs beside it, once the ports are had: a start that
/// fails says just why.
pub async fn run(
    handler: Handler,
    args: &ServerArgs,
    background: impl Future<Output = ()> + Send + 'static,
) -> ExitCode {
    Server::new(handler, args).run(background).await
}

/// A server that may have more to it than [`run`] gives: further routes, and others who hear of SIGHUP.
pub struct Server<'a> {
    args: &'a ServerArgs,
    readiness: Readiness,
    metrics: Metrics,
    data: Routes,
    admin: Router,
    repository: Repository,
    telemetry: Telemetry,
    reload: watch::Sender<()>,
}

impl<'a> Server<'a> {
    /// A handler's REST routes on the data listeners; its health, metrics and log level on the admin port.
    #[must_use]
    pub fn new(handler: Handler, args: &'a ServerArgs) -> Self {
        let (readiness, metrics) = (handler.readiness.clone(), handler.metrics.clone());
        let (repository, telemetry) = (handler.repository.clone(), handler.telemetry.clone());
        let data = router(Arc::new(handler));
        let admin = admin::router(&data);
        Self { args, readiness, metrics, data, admin, repository, telemetry, reload: watch::Sender::default() }
    }

    /// Further routes on every data listener: a protocol of one's own. Like all requests, those to it have ids and a deadline, and are
    /// compressed, logged and drained; one that infers is counted once it says so. What a request must be, and how long it may take, is
    /// the handler's to say:
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use axum::{Extension, Router, body::Body, extract::State, routing::post};
    /// # use dataplane::{Error, Handler, Inference, InferRequest, Result, Tensor, rest, serve::Server};
    /// /// A number in, a number out, of the model `half`.
    /// async fn half(
    ///     State(handler): State<Arc<Handler>>,
    ///     Extension(inference): Extension<Inference>,
    ///     body: Body,
    /// ) -> Result<String> {
    ///     inference.begins("number", &handler, "half");
    ///     let _permit = handler.admit()?;
    ///     let model = handler.ready_model("half", None)?;
    ///     let body = rest::read_body(&handler, body, inference.context()).await?;
    ///     let number = str::from_utf8(&body).ok().and_then(|text| text.trim().parse().ok());
    ///     let number: f32 = number.ok_or_else(|| Error::malformed("expected a number"))?;
    ///     let request = InferRequest::of(vec![Tensor::vector("x", vec![number])]);
    ///     let answer = handler.infer(model.as_ref(), request, inference.context()).await?;
    ///     Ok(answer.f32s("y").and_then(|y| y.first()).map(ToString::to_string).unwrap_or_default())
    /// }
    ///
    /// # async fn run(handler: Handler, args: &dataplane::config::ServerArgs) {
    /// let routes = Router::new().route("/half", post(half)).with_state(Arc::new(handler.clone()));
    /// Server::new(handler, args).with_routes(routes).run(std::future::ready(())).await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// A route is there already, or both have a fallback.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.data = self.data.merge(routes);
        self
    }

    /// Changes whenever the process is told to read its files anew (SIGHUP).
    #[must_use]
    pub fn reloads(&self) -> watch::Receiver<()> {
        self.reload.subscribe()
    }

    /// Binds and serves until told to stop; the process's exit code. What is still connected then ends with the process.
    pub async fn run(self, background: impl Future<Output = ()> + Send + 'static) -> ExitCode {
        let (tls, listeners) = match self.open().await {
            Ok(open) => open,
            Err(reason) => return refuse(reason),
        };
        kserve::warn();
        tokio::spawn(background);
        if self.repository.has_loaders() {
            tokio::spawn(repository::watch(self.repository.clone(), self.args.model_watch, self.reloads()));
        }
        match self.serve(tls, listeners).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "the server failed");
                ExitCode::FAILURE
            }
        }
    }

    async fn open(&self) -> Result<(Option<Current>, Listeners), String> {
        let tls = tls::Files::of(&self.args.tls).map(|files| files.watch(self.reloads())).transpose()?;
        Ok((tls, Listeners::bind(self.args).await?))
    }

    async fn serve(self, tls: Option<Current>, listeners: Listeners) -> io::Result<()> {
        // Heard from before anybody is told that this server listens.
        let mut signals = Signals::hear(self.reload.clone())?;
        drain::started().await;
        let address = |listener: &Option<Listener>| listener.as_ref().map(|listener| listener.address.clone());
        tracing::info!(
            rest = listeners.rest.address,
            grpc = address(&listeners.grpc),
            uds = address(&listeners.uds),
            admin = address(&listeners.admin),
            tls = tls.is_some(),
            model = self.args.model_name,
            "listening"
        );
        let closing = self.accept(tls, listeners);
        let delay = signals.stop(self.args.drain_delay).await;
        let again = drain::drain(self.args, delay, &mut signals, closing, (&self.readiness, &self.metrics)).await;
        if !again {
            drain::unless_told(self.telemetry.flush(), &mut signals).await;
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Accepts in the background, until the sender that it returns says that it closes.
    fn accept(&self, tls: Option<Current>, listeners: Listeners) -> watch::Sender<bool> {
        let closing = watch::Sender::new(false);
        let endpoint = |name, app: App, tls| Endpoint {
            name,
            app,
            tls,
            http: connection::http(),
            limits: (&self.args.connections).into(),
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            closing: closing.subscribe(),
        };
        // The admin port has its own: whoever looks after a server that is full must get in.
        let permits = || Arc::new(Semaphore::new(self.args.connections.max_connections as usize));
        let (data, admin) = (permits(), permits());
        let Listeners { rest, grpc, uds, admin: admin_port } = listeners;
        let all = [
            (Some(rest), endpoint("rest", App::Data(self.data.clone()), tls.clone()), data.clone()),
            (grpc, endpoint("grpc", App::Data(self.data.clone()), tls), data.clone()),
            (uds, endpoint("uds", App::Data(self.data.clone()), None), data),
            (admin_port, endpoint("admin", App::Admin(self.admin.clone()), None), admin),
        ];
        for (listener, endpoint, permits) in all {
            if let Some(listener) = listener {
                tokio::spawn(listener.serve(Arc::new(endpoint), permits));
            }
        }
        closing
    }
}
