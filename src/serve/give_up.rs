//! `yield`: ends an offer before its deadline, for the start that cannot fetch it and will boot it.

use super::caller::{Caller, SETTLE_LIMIT, refused};
use super::claim::never_offered;
use crate::clock::Deadline;
use crate::command;
use crate::domain::DomainName;
use crate::handoff::{Event, Transfer};
use crate::node::record::DEFAULT_TERMS;
use crate::node::standing::stands_by_itself;
use crate::transfer::settle;
use crate::wire::message::Answer;

/// What a start says that gives up fetching.
pub(super) struct Asked {
    pub(super) domain: DomainName,
    pub(super) transfer: Transfer,
    /// Why it does, for the log.
    pub(super) reason: String,
    /// Seconds that it can wait for the guest's end.
    pub(super) limit: u64,
}

/// Ends an offer that its claimant cannot fetch. What broke off before is settled first; while a transfer is
/// under way, or its end is not known, the offer stands. The shutdown is the keeper's: it outlives this
/// connection, and this node's guard begins another one if it is killed.
///
/// # Errors
/// If the record cannot be read or written.
pub(super) fn give_up(caller: &Caller<'_>, asked: &Asked) -> anyhow::Result<Answer> {
    let Asked { domain, transfer, reason, limit } = asked;
    let (here, store, asker) = (caller.here, &caller.here.store, &transfer.target);
    if let Some(answer) = never_offered(caller, domain)? {
        return Ok(answer);
    }
    settle::if_broken(here, domain, Deadline::after(SETTLE_LIMIT))?;
    // A claim that comes meanwhile waits for the next try of its start.
    let Some(_lock) = store.begin_transfer(domain)? else {
        return Ok(refused("a transfer of this domain is under way here"));
    };
    let resource = store.load(domain)?.resource.unwrap_or_default();
    // Where there is no cluster manager here any more, the key is what makes a peer.
    if let Ok(peers) = here.cluster().peers(&transfer.source, &resource)
        && !peers.iter().any(|peer| peer.node == *asker)
    {
        return Ok(refused(format!("{asker} is no node of this cluster")));
    }
    let yielded = store.advance_with(domain, "serve", Event::Yielded(transfer.clone()), |record| {
        record.yielded_to = Some(asker.clone());
        record.terms = Some(record.terms.clone().unwrap_or(DEFAULT_TERMS).within(*limit));
    });
    if let Err(error) = yielded {
        log::info!("domain={domain} its offer is not given up for {asker}: {error}");
        return Ok(Answer::Refused {
            reason: error.to_string(),
            stands: Some(stands_by_itself(here, domain)),
        });
    }
    log::warn!(
        "domain={domain} {asker} cannot fetch it ({reason}): its offer ends now, {asker} will boot it"
    );
    // One that is one too many stands by.
    if let Err(error) = command::detach(&here.root, &["keep", "--domain", domain.as_str()]) {
        log::warn!("domain={domain} the second keeper was not started: {error}");
    }
    Ok(Answer::Done)
}
