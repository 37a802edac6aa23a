//! The clusters that tests take turns on: as many as tests run at once, each started by the first that needs it.

use crate::cluster::Cluster;
use libtest_mimic::Failed;
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

static FREE: Mutex<Vec<Cluster>> = Mutex::new(Vec::new());

thread_local! {
    /// What the running test has to say beside "ok".
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A cluster in use; back to the others when the test is over, unless it failed: the next test gets a new one then.
struct Lent(Option<Cluster>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(cluster) = self.0.take()
            && !std::thread::panicking()
        {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(cluster);
        }
    }
}

/// Runs a test on a cluster that others have used before: tests begin with a reset.
pub(crate) fn with_cluster(name: &str, test: impl FnOnce(&Cluster)) -> Result<(), Failed> {
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let lent = Lent(Some(free.unwrap_or_else(Cluster::start)));
    let begin = Instant::now();
    NOTES.take();
    if let Some(cluster) = &lent.0 {
        test(cluster);
    }
    let notes = NOTES.take();
    eprintln!("{name}: {:.1} s{}", begin.elapsed().as_secs_f64(), notes.concat());
    Ok(())
}

/// Something worth knowing about the running test.
pub(crate) fn note(text: &str) {
    NOTES.with_borrow_mut(|notes| notes.push(format!("; {text}")));
}

/// The end: a static is never dropped, and the nodes are to go now.
pub(crate) fn power_off_all() {
    FREE.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
