//! The same of several, at the same time.
//!
//! A host that can make no more processes can make no thread either. What would have had one is then done on
//! the caller's own, after those that have theirs have begun.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::Builder;

/// Does `each` with every one of `of`, all at once, and waits for all of them. What came of each, in their
/// order; `None` where its thread ended without a word.
pub fn at_once<N: Send, T: Send>(
    of: impl IntoIterator<Item = N>,
    each: impl Fn(N) -> T + Sync,
) -> Vec<Option<T>> {
    let waiting: Vec<_> = of.into_iter().map(|one| Mutex::new(Some(one))).collect();
    let does = |one: &Mutex<Option<N>>| taken(one).map(&each);
    let does = &does;
    std::thread::scope(|scope| {
        let begun: Vec<_> = waiting
            .iter()
            .map(|one| Builder::new().spawn_scoped(scope, move || does(one)).map_err(|_| one))
            .collect();
        let begun: Vec<_> = begun
            .into_iter()
            .map(|thread| thread.map_err(|one| catch_unwind(AssertUnwindSafe(|| does(one)))))
            .collect();
        let came = begun.into_iter().map(|thread| thread.map_or_else(|here| here, |thread| thread.join()));
        came.map(|came| came.ok().flatten()).collect()
    })
}

/// What a thread that has begun has not taken.
fn taken<N>(one: &Mutex<Option<N>>) -> Option<N> {
    one.lock().ok()?.take()
}

/// Does both at the same time: `one` in a thread of its own. `None` in its place where that ended without a
/// word.
pub fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (Option<A>, B) {
    let waiting = Mutex::new(Some(one));
    let does = || taken(&waiting).map(|one| one());
    std::thread::scope(|scope| {
        let begun = Builder::new().spawn_scoped(scope, does);
        let other = other();
        let one = match begun {
            Ok(thread) => thread.join(),
            Err(_) => catch_unwind(AssertUnwindSafe(does)),
        };
        (one.ok().flatten(), other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn all_are_under_way_together_and_one_that_fails_is_known_by_its_place() {
        let together = Barrier::new(3);
        let came = at_once([1, 2, 3], |n| {
            together.wait();
            assert_ne!(n, 2, "this one fails");
            n * 10
        });
        assert_eq!(came, [Some(10), None, Some(30)]);
    }

    #[test]
    fn both_are_under_way_together_and_the_one_that_fails_is_known() {
        let together = Barrier::new(2);
        let meet = || together.wait().is_leader();
        let (one, other) = both(meet, meet);
        assert!(one.unwrap() != other, "one of them came last");
        let failed: (Option<()>, u8) = both(|| panic!("this one fails"), || 7);
        assert_eq!(failed, (None, 7));
    }
}
