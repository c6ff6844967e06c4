//! A bounded queue for many callers and many threads: first in, first out, full is refused at once.
//!
//! One lock, held for a few instructions. Two rules keep every item moving:
//! - An entry wakes one thread: one that gathers a batch if there is any, else one that has nothing to do.
//! - A thread that takes something and leaves something behind wakes another, since a wake-up for what it leaves may have come to it.

use std::{collections::VecDeque, mem, time::Instant};

use super::sync::{Arc, Condvar, Mutex, MutexGuard, lock, wait, wait_until};

/// A queue of at most `places` items. It closes when the sender is dropped; then receivers still get what is queued. When the last
/// receiver is dropped, it closes too, and what is queued is dropped.
pub(super) fn queue<T>(places: usize) -> (Sender<T>, Receiver<T>) {
    let line = Line { items: VecDeque::new(), next: 0, gathering: 0, closed: false };
    let shared = Shared { line: Mutex::new(line), entered: Condvar::new(), more: Condvar::new(), places };
    let shared = Arc::new(shared);
    (Sender(shared.clone()), Receiver(Arc::new(Receiving(shared))))
}

/// Puts items in.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// Takes items out; a clone for each thread.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Receiving<T>>);

/// Names an item that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Why an item was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Every place is taken.
    Full,
    /// Nobody takes items any more.
    Closed,
}

/// What becomes of the first item in the queue, for one who gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is taken, and the next one is looked at.
    More,
    /// The same, but from now on nothing is waited for longer than until then.
    MoreUntil(Instant),
    /// It is taken, and no more.
    Last,
    /// It stays, and so does all behind it.
    Not,
}

#[derive(Debug)]
struct Shared<T> {
    line: Mutex<Line<T>>,
    /// For threads that have nothing to do.
    entered: Condvar,
    /// For threads that gather.
    more: Condvar,
    places: usize,
}

#[derive(Debug)]
struct Line<T> {
    /// Tickets ascend.
    items: VecDeque<(Ticket, T)>,
    next: u64,
    /// How many threads gather.
    gathering: usize,
    closed: bool,
}

impl<T> Shared<T> {
    /// Unlocks, and wakes one thread if there is anything for it.
    fn pass_on(&self, line: MutexGuard<'_, Line<T>>) {
        let (anything, gathering) = (!line.items.is_empty(), line.gathering > 0);
        drop(line);
        if anything {
            if gathering { &self.more } else { &self.entered }.notify_one();
        }
    }

    fn close(&self, mut line: MutexGuard<'_, Line<T>>) {
        line.closed = true;
        drop(line);
        self.entered.notify_all();
        self.more.notify_all();
    }
}

impl<T> Sender<T> {
    /// Puts `item` at the end.
    ///
    /// # Errors
    /// There is no place; `item` is dropped.
    pub(super) fn try_push(&self, item: T) -> Result<Ticket, Refused> {
        let mut line = lock(&self.0.line);
        if line.closed {
            return Err(Refused::Closed);
        }
        if line.items.len() >= self.0.places {
            return Err(Refused::Full);
        }
        let ticket = Ticket(line.next);
        line.next += 1;
        line.items.push_back((ticket, item));
        self.0.pass_on(line);
        Ok(ticket)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0.line).items.is_empty()
    }

    /// Takes this item out again, which frees its place; nothing where a thread has it already.
    pub(super) fn withdraw(&self, ticket: Ticket) -> Option<T> {
        let mut line = lock(&self.0.line);
        let position = line.items.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        line.items.remove(position).map(|(_, item)| item)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close(lock(&self.0.line));
    }
}

impl<T> Receiver<T> {
    /// Takes the first item; waits for one. Nothing when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<T> {
        let shared = &self.0.0;
        let mut line = lock(&shared.line);
        loop {
            if let Some((_, item)) = line.items.pop_front() {
                shared.pass_on(line);
                return Some(item);
            }
            if line.closed {
                return None;
            }
            line = wait(&shared.entered, line);
        }
    }

    /// Takes items from the front while `fit` says so. Waits for more at most until then; what is there already is taken in any case.
    /// `fit` is asked with the queue locked.
    pub(super) fn gather(&self, mut until: Instant, mut fit: impl FnMut(&T) -> Fit) -> Vec<T> {
        let shared = &self.0.0;
        let (mut gathered, mut over) = (Vec::new(), false);
        let mut line = lock(&shared.line);
        line.gathering += 1;
        while line.take(&mut gathered, &mut fit, &mut until) && !over && !line.closed {
            (line, over) = wait_until(&shared.line, &shared.more, line, until);
        }
        line.gathering -= 1;
        shared.pass_on(line);
        gathered
    }
}

impl<T> Line<T> {
    /// Takes from the front what fits; whether more may, and until when.
    fn take(&mut self, gathered: &mut Vec<T>, fit: &mut impl FnMut(&T) -> Fit, until: &mut Instant) -> bool {
        while let Some((_, first)) = self.items.front() {
            let fits = fit(first);
            if fits == Fit::Not {
                return false;
            }
            gathered.extend(self.items.pop_front().map(|(_, item)| item));
            match fits {
                Fit::MoreUntil(earlier) => *until = earlier.min(*until),
                Fit::Last => return false,
                Fit::More | Fit::Not => {}
            }
        }
        true
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Shared by all receivers, so that it is dropped with the last of them.
#[derive(Debug)]
struct Receiving<T>(Arc<Shared<T>>);

impl<T> Drop for Receiving<T> {
    fn drop(&mut self) {
        let mut line = lock(&self.0.line);
        let dropped = mem::take(&mut line.items);
        self.0.close(line);
        // Unlocked again: what an item does when it is dropped is not ours to know.
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::{Fit, Refused, queue};

    #[test]
    fn items_come_out_in_order_and_a_full_queue_refuses() {
        let (sender, receiver) = queue(2);
        sender.try_push('a').unwrap();
        sender.try_push('b').unwrap();
        assert_eq!(sender.try_push('c'), Err(Refused::Full));
        assert_eq!(receiver.pop(), Some('a'));
        sender.try_push('d').unwrap();
        drop(sender);
        assert_eq!([receiver.pop(), receiver.pop(), receiver.pop()], [Some('b'), Some('d'), None]);
    }

    #[test]
    fn a_withdrawn_item_frees_its_place_and_only_its_own() {
        let (sender, receiver) = queue(3);
        let tickets = ['a', 'b', 'c'].map(|item| sender.try_push(item).unwrap());
        assert_eq!(sender.withdraw(tickets[1]), Some('b'));
        assert_eq!(sender.withdraw(tickets[1]), None);
        sender.try_push('d').unwrap();
        assert_eq!(sender.try_push('e'), Err(Refused::Full));
        assert_eq!(receiver.pop(), Some('a'));
        assert_eq!(sender.withdraw(tickets[0]), None);
        assert_eq!([receiver.pop(), receiver.pop()], [Some('c'), Some('d')]);
    }

    #[test]
    fn gathering_takes_what_is_there_and_leaves_what_does_not_fit_with_all_behind_it() {
        let (sender, receiver) = queue(8);
        for item in [1, 2, 30, 4] {
            sender.try_push(item).unwrap();
        }
        let small = |item: &i32| if *item < 10 { Fit::More } else { Fit::Not };
        // What does not fit ends the wait, or this test would wait for a day.
        let tomorrow = Instant::now() + Duration::from_secs(86_400);
        assert_eq!(receiver.gather(tomorrow, small), [1, 2]);
        assert_eq!(receiver.pop(), Some(30));
        assert_eq!(receiver.gather(Instant::now(), small), [4]);
        assert!(receiver.gather(Instant::now(), small).is_empty());
    }

    #[test]
    fn gathering_waits_for_what_comes_until_it_has_enough() {
        let (sender, receiver) = queue(8);
        let tomorrow = Instant::now() + Duration::from_secs(86_400);
        let gatherer = thread::spawn(move || {
            let mut count = 0;
            receiver.gather(tomorrow, |_| {
                count += 1;
                if count == 3 { Fit::Last } else { Fit::More }
            })
        });
        for item in 0..3 {
            sender.try_push(item).unwrap();
            thread::yield_now();
        }
        assert_eq!(gatherer.join().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn who_has_less_time_than_the_first_ends_the_gathering_earlier() {
        let (sender, receiver) = queue(4);
        let (now, tomorrow) = (Instant::now(), Instant::now() + Duration::from_secs(86_400));
        for item in 0..3 {
            sender.try_push(item).unwrap();
        }
        // What is there already is taken all the same, and nobody's later end makes up for an earlier one.
        let fit = |item: &i32| Fit::MoreUntil(if *item == 1 { now } else { tomorrow });
        assert_eq!(receiver.gather(tomorrow, fit), [0, 1, 2]);
    }

    #[test]
    fn gathering_ends_when_the_queue_closes() {
        let (sender, receiver) = queue::<()>(1);
        let tomorrow = Instant::now() + Duration::from_secs(86_400);
        let gatherer = thread::spawn(move || receiver.gather(tomorrow, |()| Fit::More));
        drop(sender);
        assert!(gatherer.join().unwrap().is_empty());
    }

    #[test]
    fn without_receivers_items_are_dropped_and_new_ones_refused() {
        let (sender, receiver) = queue(2);
        let item = std::sync::Arc::new(());
        sender.try_push(item.clone()).unwrap();
        drop(receiver.clone());
        assert_eq!(std::sync::Arc::strong_count(&item), 2);
        drop(receiver);
        assert_eq!(std::sync::Arc::strong_count(&item), 1);
        assert_eq!(sender.try_push(item), Err(Refused::Closed));
    }
}
