//! A task that wakes itself while it runs. HTTP/1 does so for each request with a body: who gives it and who reads it are one task,
//! and wake each other. A runtime takes that for a wish to let others go first, and wakes another of its threads to take the task over,
//! which costs more than what is left to do. Here the task just goes on.

#[cfg(not(hemline_loom))]
use std::sync::atomic::{AtomicU8, Ordering};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

#[cfg(hemline_loom)]
use ::loom::sync::atomic::{AtomicU8, Ordering};

/// How often it goes on before others have their turn after all: one that has used up its time, as tokio counts it, wakes itself as well.
const TURNS: usize = 4;

/// Nobody polls: who wakes, wakes the task.
const IDLE: u8 = 0;
/// It is polled.
const POLLED: u8 = 1;
/// It was woken since that poll began.
const WOKEN: u8 = 2;

/// Polls a future of the task that it belongs to.
#[derive(Debug, Default)]
pub(super) struct SelfWakes {
    known: Option<(Arc<Task>, Waker)>,
}

#[derive(Debug)]
struct Task {
    state: AtomicU8,
    waker: Waker,
}

impl SelfWakes {
    /// As the future's own `poll`, and again at once if that woke the task.
    pub(super) fn poll<F: Future + ?Sized>(
        &mut self,
        mut future: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let (task, waker) = match self.known.take() {
            Some(known) if known.0.waker.will_wake(context.waker()) => self.known.insert(known),
            _ => {
                let task = Arc::new(Task { state: AtomicU8::new(IDLE), waker: context.waker().clone() });
                self.known.insert((task.clone(), Waker::from(task)))
            }
        };
        for _ in 0..TURNS {
            // What was done before the task was woken is seen by this poll; what is done afterwards wakes once more.
            task.state.swap(POLLED, Ordering::AcqRel);
            let polled = future.as_mut().poll(&mut Context::from_waker(waker));
            let is_awaited = task.state.compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if polled.is_ready() || is_awaited {
                return polled;
            }
        }
        task.state.swap(IDLE, Ordering::AcqRel);
        task.waker.wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(WOKEN) => {}
            Err(_) => self.waker.wake_by_ref(),
        }
    }
}

#[cfg(test)]
#[cfg(not(hemline_loom))]
mod tests {
    use std::{
        cell::Cell,
        future::poll_fn,
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Counts how often its task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How it ended, and how often it was polled and its task woken, where it wakes itself so often before it is ready.
    fn polled(wakes: usize) -> (Poll<()>, usize, usize) {
        let (woken, polls) = (Arc::new(Woken::default()), Cell::new(0));
        let future = pin!(poll_fn(|context| {
            polls.set(polls.get() + 1);
            if polls.get() > wakes {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        let polled = SelfWakes::default().poll(future, &mut Context::from_waker(&Waker::from(woken.clone())));
        (polled, polls.get(), woken.0.load(Ordering::Relaxed))
    }

    #[test]
    fn a_task_that_wakes_itself_goes_on_at_once() {
        assert_eq!(polled(0), (Poll::Ready(()), 1, 0));
        assert_eq!(polled(2), (Poll::Ready(()), 3, 0));
    }

    #[test]
    fn one_that_never_stops_waking_itself_lets_others_go_first() {
        assert_eq!(polled(usize::MAX), (Poll::Pending, TURNS, 1));
    }

    #[test]
    fn who_wakes_it_between_its_polls_wakes_the_task_that_polled_last() {
        let (first, second) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let mut self_wakes = SelfWakes::default();
        let mut kept = None;
        let mut future = pin!(poll_fn(|context| {
            kept = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        for task in [&first, &second] {
            let waker = Waker::from(task.clone());
            assert!(self_wakes.poll(future.as_mut(), &mut Context::from_waker(&waker)).is_pending());
        }
        kept.unwrap().wake();
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
    }
}

/// That no wake is lost, in all orders that threads can take.
#[cfg(all(test, hemline_loom))]
mod loom {
    use std::{future::poll_fn, pin::pin};

    use ::loom::{
        model,
        sync::atomic::{AtomicBool, AtomicUsize},
        thread,
    };

    use super::*;

    struct Runtime(AtomicUsize);

    impl Wake for Runtime {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    #[test]
    fn what_is_done_before_a_wake_is_seen_by_this_poll_or_wakes_the_task() {
        model(|| {
            let (runtime, is_done) = (Arc::new(Runtime(AtomicUsize::new(0))), Arc::new(AtomicBool::new(false)));
            let mut other = None;
            let future = pin!(poll_fn(|context| {
                let (waker, done) = (context.waker().clone(), is_done.clone());
                other.get_or_insert_with(|| {
                    thread::spawn(move || {
                        done.store(true, Ordering::Relaxed);
                        waker.wake();
                    })
                });
                if is_done.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
            }));
            let waker = Waker::from(runtime.clone());
            let polled = SelfWakes::default().poll(future, &mut Context::from_waker(&waker));
            other.unwrap().join().unwrap();
            assert!(polled.is_ready() || runtime.0.load(Ordering::Acquire) == 1, "it is never polled again");
        });
    }
}
