//! The queue and the permits in every order that their threads can take: `make test-loom`.
//!
//! A model that hangs in some order fails too: loom reports the deadlock. So a wake-up that nobody gets is found where a model waits
//! for its threads before it drops the sender; closing wakes everybody and would hide it.

use std::{
    iter,
    time::{Duration, Instant},
};

use loom::{model::Builder, thread};

use super::{
    permits::Permits,
    queue::{Fit, Receiver, Refused, queue},
    sync::{Arc, AtomicUsize, Ordering},
};

/// Tries every order with at most this many switches between threads that could have gone on.
fn every_order(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Takes until the queue is closed and empty.
fn drain<T>(receiver: &Receiver<T>) -> Vec<T> {
    iter::from_fn(|| receiver.pop()).collect()
}

#[test]
fn what_is_accepted_is_taken_once_and_only_a_full_queue_refuses() {
    every_order(4, || {
        let (sender, receiver) = queue(1);
        let sender = Arc::new(sender);
        let producers = [1, 2].map(|item| {
            let sender = sender.clone();
            thread::spawn(move || (item, sender.try_push(item).err()))
        });
        drop(sender);
        let consumer = thread::spawn(move || drain(&receiver));
        let pushed = producers.map(|producer| producer.join().unwrap());
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
        every_order(4, move || {
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
    every_order(4, || {
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
    every_order(3, || {
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
    every_order(3, || {
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
    every_order(3, || {
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
    every_order(4, || {
        let (sender, receiver) = queue(1);
        let permits = Permits::new(1);
        let ticket = sender.try_push(permits.try_acquire().unwrap()).unwrap();
        let consumer = thread::spawn(move || drain(&receiver).len());
        let withdrawn = sender.withdraw(ticket).is_some();
        // Either way the one place is free again.
        let again = permits.try_acquire().map(|permit| sender.try_push(permit).is_ok());
        assert!(again.unwrap_or(!withdrawn), "a place or a permit is still taken");
        drop(sender);
        let done = consumer.join().unwrap();
        assert_eq!(done, usize::from(!withdrawn) + usize::from(again.is_some()));
        assert_eq!(permits.taken(), 0);
    });
}

#[test]
fn no_more_is_under_way_than_there_are_permits() {
    every_order(4, || {
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
