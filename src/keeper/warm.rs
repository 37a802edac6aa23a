//! The connections that the guard keeps open for whoever asks another node something ([`crate::wire::warm`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::address::Address;
use crate::clock::{Clock, Moment, SystemClock};
use crate::host::Root;
use crate::wire::warm::{self, Kept};

/// How often it is looked whether one still serves.
const LOOK: Duration = Duration::from_secs(2);
/// The oldest that one is found: so long a key that was withdrawn may still serve.
const OLDEST: Duration = Duration::from_secs(300);
/// From one try to the next.
const AGAIN: Duration = Duration::from_secs(30);
/// A node that is out of reach for that long is tried no more until somebody asks it again.
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// What is kept, in a thread each.
#[derive(Debug, Default)]
pub(super) struct Warm {
    kept: BTreeMap<Address, JoinHandle<()>>,
    is_begun: bool,
}

impl Warm {
    /// Keeps one to each address that is wished for.
    ///
    /// # Errors
    /// If that cannot be found out, or no thread can be had. Nothing depends on it.
    pub(super) fn tend(&mut self, root: &Root) -> std::io::Result<()> {
        if !self.is_begun {
            warm::begin(root)?;
            self.is_begun = true;
        }
        self.kept.retain(|_, thread| !thread.is_finished());
        for address in warm::wishes(root)? {
            if let Entry::Vacant(place) = self.kept.entry(address.clone()) {
                let root = root.clone();
                place.insert(std::thread::Builder::new().spawn(move || keep(&root, &address))?);
            }
        }
        Ok(())
    }
}

/// Keeps one open until its node has been out of reach for long.
fn keep(root: &Root, address: &Address) {
    let mut reached = Moment::now();
    // What is under way over one that is found no more goes on until the next one is.
    let mut before = None;
    while reached.elapsed() < GIVEN_UP {
        match Kept::open(root, address) {
            Ok(mut kept) => {
                log::debug!("node={} a connection to it is kept open", address.node);
                let began = Moment::now();
                while kept.serves() && began.elapsed() < OLDEST {
                    SystemClock.pass(LOOK);
                }
                kept.hide();
                reached = Moment::now();
                drop(before.replace(kept));
                if began.elapsed() < AGAIN {
                    SystemClock.pass(AGAIN);
                }
            }
            Err(error) => {
                log::debug!("node={} no connection to it is kept open: {error}", address.node);
                SystemClock.pass(AGAIN);
            }
        }
    }
    drop(before);
    warm::forget(root, address);
}
