//! The open loop's clock: request i is due at t0 + i / rate, whether or not any answer has come.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{self, UnboundedReceiver};

/// One request that is to be sent.
pub(crate) struct Ticket {
    pub(crate) due: Instant,
}

/// Tickets at a fixed rate from `begun` on, for so long. Each comes when it is due; where nobody takes them they wait, and what
/// they wait counts.
pub(crate) fn tickets(rate: f64, begun: Instant, length: Duration) -> UnboundedReceiver<Ticket> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // A thread of its own: the runtime's timers tick once a millisecond.
    thread::spawn(move || {
        for number in 0_u32.. {
            let offset = Duration::from_secs_f64(f64::from(number) / rate);
            if offset >= length {
                return;
            }
            let due = begun + offset;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(Ticket { due }).is_err() {
                return;
            }
        }
    });
    receiver
}
