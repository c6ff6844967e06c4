//! Bind, serve, hear the signal, drain.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use axum::serve::ListenerExt;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    config::{ServerArgs, refuse},
    handler::Handler,
    rest,
};

/// Binds the REST port.
///
/// # Errors
/// The address can't be had; the text names it.
pub async fn bind(args: &ServerArgs) -> Result<TcpListener, String> {
    let address = SocketAddr::new(args.host, args.http_port);
    TcpListener::bind(address).await.map_err(|error| format!("--http-port: {address} can't be bound: {error}"))
}

/// Binds and serves until told to stop; the process's exit code. `background` runs beside it, once the port is had: a start that
/// fails says just why.
pub async fn run(
    handler: Handler,
    args: &ServerArgs,
    background: impl Future<Output = ()> + Send + 'static,
) -> ExitCode {
    let listener = match bind(args).await {
        Ok(listener) => listener,
        Err(reason) => return refuse(reason),
    };
    tokio::spawn(background);
    match serve(listener, handler, args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the server failed");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains: says "not ready" for the delay, closes the listener, lets requests under way end.
///
/// # Errors
/// The listener fails, or signals can't be heard.
pub async fn serve(listener: TcpListener, handler: Handler, args: &ServerArgs) -> io::Result<()> {
    let (readiness, metrics, telemetry) =
        (handler.readiness.clone(), handler.metrics.clone(), handler.telemetry.clone());
    let address = listener.local_addr()?;
    // Heard from before anybody is told that this server listens.
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    tracing::info!(rest = %address, model = args.model_name, "listening");
    let (close, mut closed) = watch::channel(false);
    // Small answers go out at once instead of waiting to be joined with more.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, rest::router(Arc::new(handler)));
    let mut server = tokio::spawn(
        server.with_graceful_shutdown(async move { drop(closed.wait_for(|closed| *closed).await) }).into_future(),
    );
    let delay = tokio::select! {
        ended = &mut server => return ended?,
        delay = signals.stop(args.drain_delay) => delay,
    };
    readiness.drain();
    tracing::info!(delay_ms = delay.as_millis(), "draining");
    let drain = async {
        tokio::time::sleep(delay).await;
        let _ = close.send(true);
        tokio::time::timeout(args.drain_timeout, &mut server).await
    };
    let cut = tokio::select! {
        drained = drain => drained.is_err().then_some("the drain timeout passed"),
        _ = signals.interrupt.recv() => Some("interrupted again"),
    };
    if let Some(reason) = cut {
        match metrics.in_flight() {
            0 => tracing::info!(reason, "connections without a request are cut"),
            requests => tracing::warn!(requests, reason, "requests under way are cut"),
        }
        server.abort();
    }
    telemetry.flush().await;
    tracing::info!("stopped");
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Waits to be told to stop. A person's Ctrl-C needs no delay: nobody routes traffic by endpoints to a terminal.
    async fn stop(&mut self, delay: Duration) -> Duration {
        tokio::select! {
            _ = self.terminate.recv() => delay,
            _ = self.interrupt.recv() => Duration::ZERO,
        }
    }
}
