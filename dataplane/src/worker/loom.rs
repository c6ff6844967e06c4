//! The queue, the permits, and the way of a request through them, in the orders that their threads can take: all of them, but for those
//! models of which that would be too many (`orders_with_switches`). `make test-loom` runs them.
//!
//! A model that hangs in some order fails too: loom reports the deadlock. So a wake-up that nobody gets is found where a model waits
//! for its threads before it drops the sender; closing wakes everybody and would hide it.

use std::{
    iter,
    pin::{Pin, pin},
    task::{Context as TaskContext, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use loom::thread;

use super::{
    Batching, Owned,
    admission::{Admission, Entrance, Reply, Turns, start},
    permits::Permits,
    queue::{Fit, Receiver, Refused, queue},
    sync::{Arc, AtomicUsize, Condvar, Mutex, Ordering, lock, wait},
};
use crate::{
    Context, InferRequest, InferResponse, Kind, Model, ModelMetadata, Result, SyncModel, Tensor,
    orders::{every_order, orders_with_switches},
    v1::TensorsCodec,
};

/// Takes until the queue is closed and empty.
fn drain<T>(receiver: &Receiver<T>) -> Vec<T> {
    iter::from_fn(|| receiver.pop()).collect()
}

#[test]
fn what_is_accepted_is_taken_once_and_only_a_full_queue_refuses() {
    orders_with_switches(5, || {
        let (sender, receiver) = queue(1);
        let sender = Arc::new(sender);
        let other = sender.clone();
        let producer = thread::spawn(move || (1, other.try_push(1).err()));
        let consumer = thread::spawn(move || drain(&receiver));
        let second = (2, sender.try_push(2).err());
        drop(sender);
        let pushed = [producer.join().unwrap(), second];
        let mut taken = consumer.join().unwrap();
        taken.sort_unstable();
        let accepted: Vec<_> = pushed.iter().filter(|(_, refused)| refused.is_none()).map(|(item, _)| *item).collect();
        assert_eq!(taken, accepted);
        // With one place, the second can be refused because of the first; both can't.
        assert!(!accepted.is_empty());
        assert!(pushed.iter().all(|(_, refused)| matches!(refused, None | Some(Refused::Full))));
    });
}

#[test]
fn as_many_are_accepted_as_there_are_places() {
    for places in [1, 2] {
        every_order(move || {
            let (sender, receiver) = queue(places);
            let sender = Arc::new(sender);
            let other = sender.clone();
            let producer = thread::spawn(move || other.try_push(1).is_ok());
            let accepted = [sender.try_push(2).is_ok(), producer.join().unwrap()];
            assert_eq!(accepted.into_iter().filter(|accepted| *accepted).count(), places);
            drop(sender);
            assert_eq!(drain(&receiver).len(), places);
        });
    }
}

/// Counts itself when it is dropped, as a job does that tells its caller.
struct Told(Arc<AtomicUsize>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn callers_are_told_when_the_last_thread_goes_while_they_enter() {
    every_order(|| {
        let (sender, receiver) = queue(2);
        let told = Arc::new(AtomicUsize::new(0));
        let consumer = thread::spawn(move || drop(receiver.pop()));
        for _ in 0..2 {
            let _ = sender.try_push(Told(told.clone()));
        }
        consumer.join().unwrap();
        // The sender is still there: nothing waits in it for a thread that will never come.
        assert_eq!(told.load(Ordering::Acquire), 2);
        drop(sender);
    });
}

#[test]
fn batches_share_nothing_and_lose_nothing() {
    orders_with_switches(3, || {
        let (sender, receiver) = queue(3);
        let consumers = [receiver.clone(), receiver].map(|receiver| {
            thread::spawn(move || {
                let mut batches = Vec::new();
                while let Some(first) = receiver.pop() {
                    // Odd ones fit to odd ones.
                    let fit = |item: &u32| if item % 2 == first % 2 { Fit::More } else { Fit::Not };
                    batches.push((first, receiver.gather(Instant::now(), fit)));
                }
                batches
            })
        });
        for item in [1, 3, 4] {
            sender.try_push(item).unwrap();
        }
        drop(sender);
        let batches = consumers.map(|consumer| consumer.join().unwrap());
        let mut items = Vec::new();
        for (first, more) in batches.into_iter().flatten() {
            assert!(more.iter().all(|item| item % 2 == first % 2));
            items.push(first);
            items.extend(more);
        }
        items.sort_unstable();
        assert_eq!(items, [1, 3, 4]);
    });
}

#[test]
fn whoever_gathers_hears_of_each_that_comes() {
    every_order(|| {
        let (sender, receiver) = queue(3);
        let gatherer = thread::spawn(move || {
            let tomorrow = Instant::now() + Duration::from_secs(86_400);
            let mut count = 0;
            let enough = |_: &u32| {
                count += 1;
                if count == 2 { Fit::Last } else { Fit::More }
            };
            (receiver.pop(), receiver.gather(tomorrow, enough))
        });
        for item in [1, 2, 3] {
            sender.try_push(item).unwrap();
        }
        // The sender is still there: nothing but what came ends the wait.
        assert_eq!(gatherer.join().unwrap(), (Some(1), vec![2, 3]));
        drop(sender);
    });
}

#[test]
fn no_thread_sleeps_beside_work_that_a_gatherer_leaves() {
    orders_with_switches(3, || {
        let (sender, receiver) = queue(2);
        let idle = [receiver.clone(), receiver.clone()].map(|receiver| thread::spawn(move || receiver.pop()));
        let producer = thread::spawn(move || {
            for item in [1, 2] {
                sender.try_push(item).unwrap();
            }
            sender
        });
        // What comes meanwhile is told to the gatherer, who has no use for it.
        assert!(receiver.gather(Instant::now(), |_| Fit::Not).is_empty());
        let sender = producer.join().unwrap();
        let mut taken = idle.map(|thread| thread.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [Some(1), Some(2)]);
        drop(sender);
    });
}

#[test]
fn who_leaves_takes_the_work_along_or_a_thread_has_it_and_its_permit_comes_back() {
    every_order(|| {
        let (sender, receiver) = queue(1);
        let permits = Permits::new(1);
        let ticket = sender.try_push(permits.try_acquire_owned().unwrap()).unwrap();
        let consumer = thread::spawn(move || drain(&receiver).len());
        let withdrawn = sender.withdraw(ticket).is_some();
        // Either way the one place is free again.
        let again = permits.try_acquire_owned().map(|permit| sender.try_push(permit).is_ok());
        assert!(again.unwrap_or(!withdrawn), "a place or a permit is still taken");
        drop(sender);
        let done = consumer.join().unwrap();
        assert_eq!(done, usize::from(!withdrawn) + usize::from(again.is_some()));
        assert_eq!(permits.taken(), 0);
    });
}

#[test]
fn no_more_is_under_way_than_there_are_permits() {
    every_order(|| {
        let permits = Permits::new(1);
        let under_way = Arc::new(AtomicUsize::new(0));
        let threads = [(); 2].map(|()| {
            let (permits, under_way) = (permits.clone(), under_way.clone());
            thread::spawn(move || {
                let permit = permits.try_acquire();
                if permit.is_some() {
                    assert_eq!(under_way.fetch_add(1, Ordering::AcqRel), 0);
                    under_way.fetch_sub(1, Ordering::AcqRel);
                }
                permit.is_some()
            })
        });
        let had = threads.map(|thread| thread.join().unwrap());
        assert!(had.contains(&true), "refused while nobody had one");
        assert!(permits.try_acquire().is_some(), "one did not come back");
    });
}

/// Rings when somebody is to be polled again.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        *lock(&self.rung) = true;
        self.heard.notify_one();
    }
}

/// Waits for it, asleep while nobody rings: an answer that wakes nobody is a deadlock.
fn block_on<F: Future + ?Sized>(mut future: Pin<&mut F>) -> F::Output {
    let bell = std::sync::Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            return output;
        }
        let mut rung = lock(&bell.rung);
        while !std::mem::take(&mut *rung) {
            rung = wait(&bell.heard, rung);
        }
    }
}

/// Polls once.
fn look<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// What comes of it, where one look may have shown it.
fn outcome<F: Future + ?Sized>(looked: Poll<F::Output>, future: Pin<&mut F>) -> F::Output {
    match looked {
        Poll::Ready(output) => output,
        Poll::Pending => block_on(future),
    }
}

/// A piece of work that is answered with a number, and counts itself when it is dropped.
type Work = (u32, Told, Reply<u32>);

/// One thread that answers whoever still waits.
fn answering(places: usize) -> Entrance<(), Work> {
    let serve = |_: &Mutex<()>, turns: &Turns<Work>| {
        while let Some((number, _told, reply)) = turns.next() {
            if reply.is_wanted() {
                reply.send(Ok(number));
            }
        }
    };
    start("model", vec![()], Admission::from(places), serve).unwrap()
}

/// Asks for this number.
fn ask<'a>(
    entrance: &'a Entrance<(), Work>,
    number: u32,
    told: &Arc<AtomicUsize>,
) -> impl Future<Output = Result<u32>> + 'a {
    let told = Told(told.clone());
    entrance.ask(move |reply| (number, told, reply))
}

#[test]
fn an_answer_wakes_who_waits_for_it() {
    every_order(|| {
        let (entrance, told) = (answering(1), Arc::new(AtomicUsize::new(0)));
        assert_eq!(block_on(pin!(ask(&entrance, 1, &told))).unwrap(), 1);
    });
}

#[test]
fn who_leaves_before_while_or_after_a_thread_answers_leaves_nothing_behind() {
    every_order(|| {
        let told = Arc::new(AtomicUsize::new(0));
        let dropped = told.clone();
        let serve = move |_: &Mutex<()>, turns: &Turns<Work>| {
            while let Some((number, _told, reply)) = turns.next() {
                reply.send(Ok(number));
            }
            // Either the caller took the work along or it came here: there is none of it left, and it was not dropped twice.
            assert_eq!(dropped.load(Ordering::Acquire), 1);
        };
        let entrance = start("model", vec![()], Admission::from(1), serve).unwrap();
        {
            let mut leaving = pin!(ask(&entrance, 1, &told));
            assert!(matches!(look(leaving.as_mut()), Poll::Pending | Poll::Ready(Ok(1))));
        }
        drop(entrance);
    });
}

#[test]
fn who_leaves_frees_the_place_at_once_and_the_next_gets_their_own_answer() {
    orders_with_switches(5, || {
        let (entrance, told) = (answering(1), Arc::new(AtomicUsize::new(0)));
        {
            let mut leaving = pin!(ask(&entrance, 1, &told));
            let _ = look(leaving.as_mut());
        }
        assert_eq!(block_on(pin!(ask(&entrance, 2, &told))).unwrap(), 2);
    });
}

#[test]
fn who_stays_is_answered_while_one_before_them_leaves() {
    orders_with_switches(5, || {
        let (entrance, told) = (answering(2), Arc::new(AtomicUsize::new(0)));
        let mut staying = pin!(ask(&entrance, 2, &told));
        let looked = {
            let mut leaving = pin!(ask(&entrance, 1, &told));
            let _ = look(leaving.as_mut());
            look(staying.as_mut())
        };
        assert_eq!(outcome(looked, staying).unwrap(), 2);
    });
}

#[test]
fn callers_of_one_place_get_their_own_answer_or_a_refusal() {
    orders_with_switches(3, || {
        let (entrance, told) = (Arc::new(answering(1)), Arc::new(AtomicUsize::new(0)));
        let (other, others) = (entrance.clone(), told.clone());
        let caller = thread::spawn(move || block_on(pin!(ask(&other, 1, &others))));
        let second = block_on(pin!(ask(&entrance, 2, &told)));
        let answers = [caller.join().unwrap(), second];
        let is_own = |(answer, own): (&Result<u32>, u32)| match answer {
            Ok(number) => *number == own,
            Err(error) => error.kind() == Kind::Overloaded,
        };
        assert!(answers.iter().zip([1, 2]).all(is_own), "{answers:?}");
        assert!(answers.iter().any(Result::is_ok), "both were refused the one place");
    });
}

fn one_more(count: &mut u32) -> u32 {
    *count += 1;
    *count
}

#[test]
fn what_is_done_here_and_what_a_thread_does_have_the_state_in_turn() {
    orders_with_switches(3, || {
        let serve = |count: &Mutex<u32>, turns: &Turns<Work>| {
            while let Some((_, _told, reply)) = turns.next() {
                reply.send(Ok(one_more(&mut lock(count))));
            }
        };
        let entrance = Arc::new(start("model", vec![0], Admission::from(2), serve).unwrap());
        entrance.is_short();
        let (other, told) = (entrance.clone(), Arc::new(AtomicUsize::new(0)));
        let others = Told(told.clone());
        let caller = thread::spawn(move || block_on(pin!(other.ask(move |reply| (1, others, reply)))));
        let counted = match entrance.here(1) {
            Some(here) => here.run(one_more),
            None => block_on(pin!(entrance.ask(|reply| (2, Told(told), reply)))),
        };
        assert_eq!(caller.join().unwrap().unwrap() + counted.unwrap(), 1 + 2);
    });
}

/// Gives back what it takes.
struct Same;

impl SyncModel for Same {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        Ok(InferResponse::of(request.inputs))
    }
}

#[test]
fn those_who_stay_get_their_own_rows_out_of_a_batch_that_others_leave() {
    orders_with_switches(4, || {
        let batching = Batching { max_rows: 8, max_delay: Duration::ZERO };
        let model = Owned::start(ModelMetadata::default(), std::sync::Arc::new(TensorsCodec), vec![Same], 2, batching);
        let (model, context) = (model.unwrap(), Context::background(Duration::from_secs(86_400)));
        let of = |value: i64| InferRequest::of(vec![Tensor::vector("x", vec![value])]);
        let mut leaving = model.infer(of(1), &context);
        let mut staying = model.infer(of(2), &context);
        let _ = look(leaving.as_mut());
        let looked = look(staying.as_mut());
        drop(leaving);
        let answer = outcome(looked, staying.as_mut()).unwrap();
        assert_eq!(answer.outputs, of(2).inputs);
    });
}
