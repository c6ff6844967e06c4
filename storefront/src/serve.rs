//! Bind, serve, hear the signals, drain.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tower::ServiceExt;

use crate::args::{Args, refuse};

/// Most connections open at once; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 1024;
/// Longest time for a request's head, and for a connection without a request.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long to wait where the machine has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Runs a server to its end, on a runtime of its own.
pub(crate) fn block_on(server: impl Future<Output = Result<(), String>>) -> ExitCode {
    let ended = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(server),
        Err(error) => Err(format!("no threads to serve with: {error}")),
    };
    ended.map_or_else(|reason| refuse(&reason), |()| ExitCode::SUCCESS)
}

/// Binds and serves until told to stop.
///
/// # Errors
/// The address can't be listened on, or signals can't be heard.
pub(crate) async fn run(router: Router, args: &Args) -> Result<(), String> {
    let address = SocketAddr::new(args.host, args.http_port);
    let failed = |error| format!("--host, --http-port: {address} can't be listened on: {error}");
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let mut signals = Signals::hear()?;
    let rest = listener.local_addr().map_err(failed)?.to_string();
    tracing::info!(rest, "listening");

    let connections = GracefulShutdown::new();
    let stop = signals.stop(args.drain_delay);
    tokio::select! {
        never = accept(listener, &router, &connections) => never,
        () = stop => {}
    }
    let open = connections.count();
    tracing::info!(open, "closing");
    tokio::select! {
        () = connections.shutdown() => {}
        () = time::sleep(args.drain_timeout) => tracing::warn!("requests are still under way"),
        () = signals.again() => {}
    }
    tracing::info!("stopped");
    Ok(())
}

async fn accept(listener: TcpListener, router: &Router, connections: &GracefulShutdown) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // Nobody closes it.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, router.clone(), connections, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                time::sleep(NO_ROOM).await;
            }
        }
    }
}

/// Serves a connection in the background, to its end.
fn serve(stream: TcpStream, router: Router, connections: &GracefulShutdown, permit: OwnedSemaphorePermit) {
    // Events are small, and must not wait for each other. What can't be set is slower, and no more.
    let _ = stream.set_nodelay(true);
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_TIME);
    let service = service_fn(move |request: Request<Incoming>| router.clone().oneshot(request));
    let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
        drop(permit);
    });
}

/// SIGTERM, which a cluster sends, and SIGINT, which a person does.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn hear() -> Result<Self, String> {
        let hear = |kind| signal(kind).map_err(|error| format!("signals can't be heard: {error}"));
        Ok(Self { terminate: hear(SignalKind::terminate())?, interrupt: hear(SignalKind::interrupt())? })
    }

    /// Ends when the listener is to be closed: `delay` after SIGTERM, at once after SIGINT.
    async fn stop(&mut self, delay: Duration) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            () = async {
                self.terminate.recv().await;
                time::sleep(delay).await;
            } => {}
        }
    }

    /// Ends when told again.
    async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
