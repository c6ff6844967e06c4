//! The signals, and how a server leaves: not ready, then closed, then done, all listeners and protocols together.

use std::{
    io,
    process::exit,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinHandle,
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

/// Who hears the signals until a server does.
static STARTING: Mutex<Option<Starting>> = Mutex::new(None);

struct Starting {
    /// Dropped when a server hears them.
    served: oneshot::Sender<()>,
    over: JoinHandle<()>,
}

/// Until a server hears the signals itself, being told to stop ends the process with success: nothing is under way yet, and a model may
/// take longer to load than anybody waits. Without this a container's first process would not hear of it at all, and any other would
/// end by a SIGHUP.
///
/// # Errors
/// The signals can't be heard.
pub(super) fn leave_while_starting() -> io::Result<()> {
    let mut signals = Signals::hear(watch::Sender::default())?;
    let (served, serves) = oneshot::channel();
    let over = tokio::spawn(async move {
        tokio::select! {
            // In this order: what came before a server could hear it is heard here.
            biased;
            _ = signals.stop(Duration::ZERO) => {
                tracing::info!("told to stop before it served");
                // The thread that starts the server may be busy with a model for long.
                exit(0);
            }
            _ = serves => {}
        }
    });
    *STARTING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Starting { served, over });
    Ok(())
}

/// A server hears the signals from now on.
pub(super) async fn started() {
    let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Starting { served, over }) = starting {
        drop(served);
        // It ends with the process or at once.
        let _ = over.await;
    }
}

/// Does the last of the work, unless told to stop meanwhile.
pub(super) async fn unless_told(work: impl Future<Output = ()>, signals: &mut Signals) {
    tokio::select! {
        () = work => {}
        _ = signals.stop(Duration::ZERO) => {}
    }
}

/// Drains: says "not ready" for the delay, closes the listeners, lets requests under way end. `closing` closes the listeners, and
/// knows when their last connection has ended. Told to stop again, or out of time, it returns with requests left, and counts them. Whether it was told to stop again.
pub(super) async fn drain(
    args: &ServerArgs,
    delay: Duration,
    signals: &mut Signals,
    closing: watch::Sender<bool>,
    (readiness, metrics): (&Readiness, &Metrics),
) -> bool {
    readiness.drain();
    tracing::info!(delay_ms = delay.as_millis(), "draining");
    let drained = async {
        sleep(delay).await;
        let _ = closing.send(true);
        timeout(args.drain_timeout, closing.closed()).await
    };
    let (again, reason) = tokio::select! {
        drained = drained => match drained {
            Ok(()) => return false,
            Err(_) => (false, "the drain timeout passed"),
        },
        _ = signals.stop(delay) => (true, "interrupted again"),
    };
    match u64::try_from(metrics.in_flight()).unwrap_or_default() {
        0 => tracing::info!(reason, "connections without a request are cut"),
        requests => {
            metrics.cut(requests);
            tracing::warn!(requests, reason, "requests under way are cut");
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use std::{future::pending, process::Command, time::Duration};

    use clap::Parser;
    use tokio::sync::{Mutex, watch};

    use super::{Signals, drain, unless_told};
    use crate::{config::ServerArgs, metrics::Metrics, readiness::Readiness};

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        server: ServerArgs,
    }

    /// Signals are the whole process's: one test at a time.
    static ALONE: Mutex<()> = Mutex::const_new(());

    fn tell_myself(signal: &str) {
        let own = std::process::id().to_string();
        assert!(Command::new("kill").args([signal, &own]).status().unwrap().success());
    }

    #[tokio::test]
    async fn what_is_cut_is_counted() {
        let _alone = ALONE.lock().await;
        let args = Settings::parse_from(["server", "--drain-timeout", "0"]).server;
        let (readiness, metrics) = (Readiness::default(), Metrics::new().unwrap());
        metrics.level().inc();
        metrics.level().inc();
        let closing = watch::Sender::new(false);
        let open = closing.subscribe();
        let mut signals = Signals::hear(watch::Sender::default()).unwrap();
        assert!(!drain(&args, Duration::ZERO, &mut signals, closing, (&readiness, &metrics)).await);
        assert!(readiness.is_draining() && *open.borrow());
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("\nserver_requests_cut_total 2\n"), "{text}");
    }

    #[tokio::test]
    async fn a_hangup_reloads_and_stops_nothing() {
        let _alone = ALONE.lock().await;
        let reload = watch::Sender::default();
        let mut heard = reload.subscribe();
        let mut signals = Signals::hear(reload).unwrap();
        tell_myself("-HUP");
        tokio::select! {
            _ = signals.stop(Duration::ZERO) => panic!("stopped"),
            changed = heard.changed() => changed.unwrap(),
        }
    }

    #[tokio::test]
    async fn told_again_it_waits_for_nothing_more() {
        let _alone = ALONE.lock().await;
        let args = Settings::parse_from(["server", "--drain-timeout", "600"]).server;
        let (readiness, metrics) = (Readiness::default(), Metrics::new().unwrap());
        let mut signals = Signals::hear(watch::Sender::default()).unwrap();
        // A connection that stays, and a collector that never answers.
        let closing = watch::Sender::new(false);
        let _open = closing.subscribe();
        tell_myself("-TERM");
        assert!(drain(&args, Duration::ZERO, &mut signals, closing, (&readiness, &metrics)).await);
        tell_myself("-TERM");
        unless_told(pending(), &mut signals).await;
    }
}
