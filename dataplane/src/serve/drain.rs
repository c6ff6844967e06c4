//! The signals, and how a server leaves: not ready, then closed, then done, all listeners and protocols together.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};

use crate::{config::ServerArgs, metrics::Metrics, readiness::Readiness};

/// What the process is told from outside.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    reload: watch::Sender<()>,
}

impl Signals {
    /// Hears them from now on. SIGHUP goes to `reload`.
    ///
    /// # Errors
    /// They can't be heard.
    pub(super) fn hear(reload: watch::Sender<()>) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            reload,
        })
    }

    /// Waits to be told to stop, with this delay or without one: nobody routes traffic by endpoints to a terminal's Ctrl-C.
    pub(super) async fn stop(&mut self, delay: Duration) -> Duration {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return delay,
                _ = self.interrupt.recv() => return Duration::ZERO,
                _ = self.hangup.recv() => self.reload.send_replace(()),
            }
        }
    }
}

/// Drains: says "not ready" for the delay, closes the listeners, lets requests under way end. `closing` closes the listeners, and
/// knows when their last connection has ended. Told to stop again, or out of time, it returns with requests left, and counts them.
pub(super) async fn drain(
    args: &ServerArgs,
    delay: Duration,
    signals: &mut Signals,
    closing: watch::Sender<bool>,
    (readiness, metrics): (&Readiness, &Metrics),
) {
    readiness.drain();
    tracing::info!(delay_ms = delay.as_millis(), "draining");
    let drained = async {
        sleep(delay).await;
        let _ = closing.send(true);
        timeout(args.drain_timeout, closing.closed()).await
    };
    let reason = tokio::select! {
        drained = drained => match drained {
            Ok(()) => return,
            Err(_) => "the drain timeout passed",
        },
        _ = signals.stop(delay) => "interrupted again",
    };
    match u64::try_from(metrics.in_flight()).unwrap_or_default() {
        0 => tracing::info!(reason, "connections without a request are cut"),
        requests => {
            metrics.cut(requests);
            tracing::warn!(requests, reason, "requests under way are cut");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use clap::Parser;
    use tokio::sync::watch;

    use super::{Signals, drain};
    use crate::{config::ServerArgs, metrics::Metrics, readiness::Readiness};

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        server: ServerArgs,
    }

    #[tokio::test]
    async fn what_is_cut_is_counted() {
        let args = Settings::parse_from(["server", "--drain-timeout", "0"]).server;
        let (readiness, metrics) = (Readiness::default(), Metrics::new().unwrap());
        let requests = [metrics.begin(), metrics.begin()];
        let closing = watch::Sender::new(false);
        let open = closing.subscribe();
        let mut signals = Signals::hear(watch::Sender::default()).unwrap();
        drain(&args, Duration::ZERO, &mut signals, closing, (&readiness, &metrics)).await;
        assert!(readiness.is_draining() && *open.borrow());
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("\nserver_requests_cut_total 2\n"), "{text}");
        drop(requests);
    }

    #[tokio::test]
    async fn a_hangup_reloads_and_stops_nothing() {
        let reload = watch::Sender::default();
        let mut heard = reload.subscribe();
        let mut signals = Signals::hear(reload).unwrap();
        let own = std::process::id().to_string();
        assert!(Command::new("kill").args(["-HUP", &own]).status().unwrap().success());
        tokio::select! {
            _ = signals.stop(Duration::ZERO) => panic!("stopped"),
            changed = heard.changed() => changed.unwrap(),
        }
    }
}
