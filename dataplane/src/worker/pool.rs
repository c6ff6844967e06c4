//! Threads that run closures on states of their own.

use std::{io, time::Instant};

use super::{
    admission::{Admission, Entrance, Reply, start},
    caught,
    sync::{Mutex, lock},
};
use crate::error::Result;

/// Says whether it did anything.
type Job<S> = Box<dyn FnOnce(&mut S) -> bool + Send>;

/// Threads with one `S` each, and one queue for all of them.
#[derive(Debug)]
pub struct Pool<S>(Entrance<S, Job<S>>);

impl<S: Send + 'static> Pool<S> {
    /// Starts a thread for each state; at most as many jobs wait as `admission` has places. The threads end once the pool is dropped
    /// and all that waits is done.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn start(name: &str, states: Vec<S>, admission: impl Into<Admission>) -> io::Result<Self> {
        let entrance = start(name, states, admission.into(), |state: &Mutex<S>, turns| {
            while let Some(job) = turns.next() {
                let job: Job<S> = job;
                let mut state = lock(state);
                let began = Instant::now();
                if job(&mut state) {
                    turns.done(began.elapsed(), 1, 1);
                }
            }
        });
        entrance.map(Self)
    }

    /// Runs `work` on one of the threads. Work whose caller has left by the time that its turn comes is not done; one who leaves while
    /// it waits frees its place.
    ///
    /// # Errors
    /// The queue is full ([`Kind::Overloaded`](crate::Kind::Overloaded), at once, with a Retry-After), or `work` panicked
    /// ([`Kind::Internal`](crate::Kind::Internal)).
    pub async fn run<R: Send + 'static>(&self, work: impl FnOnce(&mut S) -> R + Send + 'static) -> Result<R> {
        let job = |reply: Reply<R>| -> Job<S> {
            Box::new(move |state| {
                if !reply.is_wanted() {
                    return false;
                }
                let result = reply.scope.run(|| caught(|| work(state)));
                reply.send(result);
                true
            })
        };
        self.0.ask(job).await
    }
}

impl<S: Send + 'static> Pool<S> {
    /// As [`Pool::run`]; but where such work has been short of late, nobody waits for a turn and a state is free, `work` is done at once on
    /// the thread that polls this. For a caller who has nothing else to do meanwhile: two of these in one task don't run side by side.
    ///
    /// # Errors
    /// As [`Pool::run`].
    pub async fn run_here<R: Send + 'static>(&self, work: impl FnOnce(&mut S) -> R + Send + 'static) -> Result<R> {
        if let Some(here) = self.0.here(1) {
            return here.run(work);
        }
        self.run(work).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        sync::{Arc, mpsc},
        task::Poll,
        thread,
        time::Duration,
    };

    use super::Pool;
    use crate::error::Kind;

    /// A pool whose one thread is busy until it is told to go on.
    async fn busy(places: usize) -> (Arc<Pool<()>>, mpsc::Sender<()>) {
        let pool = Arc::new(Pool::start("test", vec![()], places).unwrap());
        let (release, released) = mpsc::channel::<()>();
        let (begun, began) = mpsc::channel();
        let first = pool.clone();
        tokio::spawn(async move {
            let work = move |(): &mut ()| {
                begun.send(()).unwrap();
                // Told by a message or by the end of the test.
                let _ = released.recv();
            };
            first.run(work).await
        });
        tokio::task::spawn_blocking(move || began.recv().unwrap()).await.unwrap();
        (pool, release)
    }

    /// Polls once: whether the answer is not there yet.
    async fn waits<F: Future>(mut asked: Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
        let (pool, release) = busy(1).await;
        let mut waiting = pin!(pool.run(|()| 2));
        assert!(waits(waiting.as_mut()).await);
        let refused = pool.run(|()| 3).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Overloaded);
        assert!(refused.retry_after().is_some());
        release.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn who_leaves_while_waiting_frees_a_place_at_once() {
        let (pool, release) = busy(1).await;
        for _ in 0..3 {
            let mut waiting = Box::pin(pool.run(|()| unreachable!("nobody waits for it")));
            assert!(waits(waiting.as_mut()).await);
            assert_eq!(pool.run(|()| ()).await.unwrap_err().kind(), Kind::Overloaded);
        }
        let mut waiting = pin!(pool.run(|()| 4));
        assert!(waits(waiting.as_mut()).await);
        release.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_and_the_thread_lives_on() {
        let pool = Pool::start("test", vec![1_u32], 4).unwrap();
        let error = pool.run(|_| -> () { std::panic::resume_unwind(Box::new("secret")) }).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Internal, "internal error"));
        assert_eq!(pool.run(|state| *state).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn only_short_work_is_done_on_its_callers_thread() {
        let pool = Pool::start("test", vec![()], 4).unwrap();
        let (here, whose) = (thread::current().id(), |(): &mut ()| thread::current().id());
        assert_ne!(pool.run_here(whose).await.unwrap(), here, "nobody knows yet how long it takes");
        // A thread that has answered may still have its state for a moment.
        while pool.run_here(whose).await.unwrap() != here {
            thread::yield_now();
        }
        for _ in 0..8 {
            pool.run(|()| thread::sleep(Duration::from_millis(20))).await.unwrap();
        }
        assert_ne!(pool.run_here(whose).await.unwrap(), here);
    }

    #[tokio::test]
    async fn a_panic_on_the_callers_thread_is_an_internal_error_too() {
        let pool = Pool::start("test", vec![1_u32], 4).unwrap();
        pool.run(|_| ()).await.unwrap();
        let error = pool.run_here(|_| -> () { std::panic::resume_unwind(Box::new("secret")) }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert_eq!(pool.run_here(|state| *state).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn nobody_overtakes_who_waits() {
        let (pool, release) = busy(2).await;
        let mut waiting = pin!(pool.run(|()| 1));
        assert!(waits(waiting.as_mut()).await);
        let mut later = pin!(pool.run_here(|()| 2));
        assert!(waits(later.as_mut()).await);
        release.send(()).unwrap();
        assert_eq!((waiting.await.unwrap(), later.await.unwrap()), (1, 2));
    }

    #[tokio::test]
    async fn a_pool_without_threads_says_so() {
        let pool = Pool::<()>::start("test", vec![], 4).unwrap();
        assert_eq!(pool.run(|()| ()).await.unwrap_err().detail(), Some("every worker thread has ended"));
    }
}
