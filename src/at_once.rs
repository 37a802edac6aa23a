//! The same of several, at the same time.

/// Does `each` with every one of `of`, all at once, and waits for all of them. What came of each, in their
/// order; `None` where its thread ended without a word.
pub fn at_once<N: Send, T: Send>(
    of: impl IntoIterator<Item = N>,
    each: impl Fn(N) -> T + Sync,
) -> Vec<Option<T>> {
    let each = &each;
    std::thread::scope(|scope| {
        let begun: Vec<_> = of.into_iter().map(|one| scope.spawn(move || each(one))).collect();
        begun.into_iter().map(|one| one.join().ok()).collect()
    })
}

/// Does both at the same time: `one` in a thread of its own. `None` in its place where that ended without a
/// word.
pub fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (Option<A>, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().ok(), other)
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
