//! Ids for requests, traces and spans, from a generator of each thread's own: an id has to differ from others, it need not be a secret.

use std::cell::Cell;

use uuid::{Builder, Uuid};

thread_local! {
    static STATE: Cell<[u64; 4]> = Cell::new(seed());
}

/// From the operating system, once a thread.
fn seed() -> [u64; 4] {
    let ((a, b), (c, d)) = (Uuid::new_v4().as_u64_pair(), Uuid::new_v4().as_u64_pair());
    [a, b, c, d]
}

/// xoshiro256++: 256 bits of state, so that ids of 128 bits keep all their randomness.
fn next() -> u64 {
    let [mut a, mut b, mut c, mut d] = STATE.get();
    let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
    let shifted = b << 17;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = d.rotate_left(45);
    STATE.set([a, b, c, d]);
    drawn
}

/// A version 4 UUID.
pub(super) fn uuid() -> Uuid {
    Builder::from_random_bytes(trace().to_be_bytes()).into_uuid()
}

/// A trace's id, which is never 0.
pub(super) fn trace() -> u128 {
    (u128::from(span()) << 64) | u128::from(next())
}

/// A span's id, which is never 0.
pub(super) fn span() -> u64 {
    next().max(1)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::{span, trace, uuid};

    #[test]
    fn ids_differ_within_a_thread_and_between_threads() {
        let draw = || (0..1000).map(|_| (trace(), span(), uuid())).collect::<Vec<_>>();
        let drawn: Vec<_> = thread::scope(|scope| {
            let threads = [scope.spawn(draw), scope.spawn(draw)];
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(drawn.iter().map(|drawn| drawn.0).collect::<HashSet<_>>().len(), 2000);
        assert_eq!(drawn.iter().map(|drawn| drawn.1).collect::<HashSet<_>>().len(), 2000);
        assert_eq!(drawn.iter().map(|drawn| drawn.2).collect::<HashSet<_>>().len(), 2000);
        assert!(drawn.iter().all(|drawn| drawn.2.get_version_num() == 4));
    }
}
