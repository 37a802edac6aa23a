//! `presence`, `resolve`, `status`: where domains stand here.

use super::caller::{Caller, SETTLE_LIMIT, refused};
use crate::clock::Deadline;
use crate::domain::DomainName;
use crate::node::standing::{rows, stands};
use crate::transfer::settle;
use crate::wire::message::Answer;

/// Where the domain stands, and how the last stream that came here ended.
pub(super) fn presence(caller: &Caller<'_>, domain: &DomainName) -> Answer {
    let (presence, phase) = stands(caller.here, domain);
    Answer::Stands { presence, phase, ended: caller.here.store.last_end(domain) }
}

/// Settles this node's end of a broken transfer, if nobody works on it, and says where the domain stands.
///
/// # Errors
/// If the record cannot be read or written.
pub(super) fn resolve(caller: &Caller<'_>, domain: &DomainName) -> anyhow::Result<Answer> {
    let store = &caller.here.store;
    // Nothing is made on disk for a domain that nobody here has heard of.
    if store.load(domain)?.state.is_in_transfer()
        && let Some(_lock) = store.begin_transfer(domain)?
    {
        // A source that is asked as if it were a target waits for the asker's own word, which is on its way.
        settle::target(caller.here, domain, Deadline::after(SETTLE_LIMIT))?;
    }
    Ok(presence(caller, domain))
}

/// The offers and transfers of this node.
pub(super) fn status(caller: &Caller<'_>) -> Answer {
    match rows(caller.here) {
        Ok(rows) => Answer::Status { rows },
        Err(error) => refused(error),
    }
}
