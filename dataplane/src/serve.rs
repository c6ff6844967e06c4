//! Bind, serve, hear the signal, drain.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::ListenerExt;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{config::ServerArgs, handler::Handler, rest};

/// Binds the REST port.
///
/// # Errors
/// The address can't be had; the text names it.
pub async fn bind(args: &ServerArgs) -> Result<TcpListener, String> {
    let address = SocketAddr::new(args.host, args.http_port);
    TcpListener::bind(address).await.map_err(|error| format!("--http-port: {address} can't be bound: {error}"))
}

/// Serves until SIGTERM or SIGINT, then drains: says "not ready" for the delay, closes the listener, lets requests under way end.
///
/// # Errors
/// The listener fails, or signals can't be heard.
pub async fn serve(listener: TcpListener, handler: Handler, args: &ServerArgs) -> io::Result<()> {
    let readiness = handler.readiness.clone();
    let address = listener.local_addr()?;
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
        delay = stop_signal(args.drain_delay) => delay?,
    };
    readiness.drain();
    tracing::info!(delay_ms = delay.as_millis(), "draining");
    tokio::time::sleep(delay).await;
    let _ = close.send(true);
    if tokio::time::timeout(args.drain_timeout, &mut server).await.is_err() {
        tracing::warn!(timeout_s = args.drain_timeout.as_secs(), "drain timed out; requests under way are cut");
        server.abort();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits for a signal to stop. A person's Ctrl-C needs no delay: nobody routes traffic by endpoints to a terminal.
async fn stop_signal(delay: Duration) -> io::Result<Duration> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(delay),
        _ = interrupt.recv() => Ok(Duration::ZERO),
    }
}
