//! `ledger`, `note`, `forget`: this node's ledger, and its part of one that lies on all nodes.

use super::caller::{Caller, done, refused};
use crate::cluster::peer_files::PeerFiles;
use crate::domain::DomainName;
use crate::handoff::Epoch;
use crate::handoff::ledger::from_text;
use crate::wire::message::Answer;

/// What the ledger has of the domain.
pub(super) fn read(caller: &Caller<'_>, domain: &DomainName) -> Answer {
    match caller.here.cluster().ledger().entries(domain) {
        Ok(entries) => Answer::Ledger { entries },
        Err(why) => refused(why),
    }
}

/// Keeps an entry.
pub(super) fn note(caller: &Caller<'_>, domain: &DomainName, line: &str) -> Answer {
    let kept = from_text(domain, line)
        .and_then(|entry| PeerFiles::new(&caller.here.root).keep(&entry).map_err(|error| error.to_string()));
    done(kept)
}

/// Forgets one.
pub(super) fn forget(caller: &Caller<'_>, domain: &DomainName, epoch: Epoch) -> Answer {
    done(PeerFiles::new(&caller.here.root).forget(domain, epoch).map_err(|error| error.to_string()))
}
