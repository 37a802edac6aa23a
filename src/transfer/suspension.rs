//! When the guest stood still: the one moment of a move that xl's stream does not show. The source's
//! hypervisor is asked for it again and again, without a process, while the stream runs. Where it cannot be
//! asked there is no moment, and nothing else is changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Deadline, SystemClock};
use crate::domain::DomainName;
use crate::host::Root;
use crate::toolstack::glance::{self, Doubt};

/// How often it is asked: what a pause is known to.
const INTERVAL: Duration = Duration::from_millis(100);

/// Does `job`, and says how long after its begin `domain` was first seen suspended, if it was.
pub(super) fn watch<T>(
    root: &Root,
    domain: &DomainName,
    deadline: Deadline,
    job: impl FnOnce() -> T,
) -> (T, Option<Duration>) {
    let followed = glance::follow(root, domain);
    if let Err(doubt) = &followed {
        log::debug!("domain={domain} the moment of its suspension will not be known: {doubt}");
    }
    let Ok(followed) = followed else { return (job(), None) };
    watch_by(|| followed.is_suspended(), deadline, job)
}

fn watch_by<T>(
    is_suspended: impl Fn() -> Result<bool, Doubt> + Sync,
    deadline: Deadline,
    job: impl FnOnce() -> T,
) -> (T, Option<Duration>) {
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Where no thread can be made, nobody watches.
        let watching = std::thread::Builder::new().spawn_scoped(scope, || {
            SystemClock.wait_until(deadline, INTERVAL, || {
                if over.load(Ordering::SeqCst) {
                    return Some(None);
                }
                match is_suspended() {
                    Ok(true) => Some(Some(began.elapsed())),
                    Ok(false) => None,
                    // It has gone, or is another one by now.
                    Err(_) => Some(None),
                }
            })
        });
        let done = job();
        over.store(true, Ordering::SeqCst);
        (done, watching.ok().and_then(|watching| watching.join().ok()).flatten().flatten())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn the_moment_of_the_suspension_is_told_and_what_is_done_meanwhile_is_not_held_up() {
        let (asked, seen) = (AtomicUsize::new(0), AtomicBool::new(false));
        let third = || {
            let suspended = asked.fetch_add(1, Ordering::SeqCst) >= 2;
            seen.store(suspended, Ordering::SeqCst);
            Ok(suspended)
        };
        let began = Instant::now();
        let (word, moment) = watch_by(third, soon(), || {
            SystemClock.wait_until(soon(), Duration::from_millis(5), || {
                seen.load(Ordering::SeqCst).then_some("done")
            })
        });
        assert_eq!(word, Some("done"));
        let moment = moment.expect("it was seen");
        assert!(moment >= INTERVAL * 2 && moment <= began.elapsed(), "{moment:?}");
    }

    #[test]
    fn a_guest_that_was_never_seen_suspended_has_no_moment() {
        assert_eq!(watch_by(|| Ok(false), soon(), || 1), (1, None));
        let gone = || Err(std::io::Error::other("no such domain").into());
        assert_eq!(watch_by(gone, soon(), || 2), (2, None));
        let nowhere = tempfile::tempdir().unwrap();
        let domain = DomainName::new("x0").unwrap();
        assert_eq!(watch(&Root::new(nowhere.path()), &domain, soon(), || 3), (3, None), "a host without Xen");
    }
}
