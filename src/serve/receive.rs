//! `receive`: takes a domain that the cluster's own migration sends here.

use std::os::fd::AsFd;

use super::caller::{Caller, SETTLE_LIMIT, refused};
use super::pushed::pushed_here;
use crate::clock::Deadline;
use crate::domain::{DomainName, Presence};
use crate::handoff::Transfer;
use crate::moves::journal::Why;
use crate::moves::progress::Direction;
use crate::moves::terms::{Compression, Terms};
use crate::node::memory::Memory;
use crate::node::standing::stands_by_itself;
use crate::transfer::{self, Stream, settle};
use crate::wire::message::Answer;

/// What a pusher says.
pub(super) struct Asked {
    pub(super) domain: DomainName,
    pub(super) transfer: Transfer,
    /// Seconds until the stream is to be broken off.
    pub(super) limit: u64,
    pub(super) compression: Compression,
}

/// Takes it, if this node's own cluster manager has it sent here.
///
/// # Errors
/// If the caller does not wait for its answer; if the record cannot be read or written.
pub(super) fn receive(mut caller: Caller<'_>, asked: &Asked) -> anyhow::Result<()> {
    let Asked { domain, transfer, .. } = asked;
    let (room, here) = (caller.room.take(), caller.here);
    let taken = match pushed_here(&caller, domain, Some(transfer)) {
        Ok(pushed) => {
            let _slot = caller.take_slot(domain, Direction::Incoming);
            take(caller, asked, pushed.until(asked.limit))
        }
        Err(why) => {
            log::warn!("domain={domain} {} may not send it here: {why}", transfer.source);
            caller.say(&refused(why)).map_err(anyhow::Error::from)
        }
    };
    if room.is_some() {
        drop(room);
        // What is still needed is not free any more.
        Memory { host: here, dom0_keeps_mib: 0 }.give_back();
    }
    taken
}

fn take(caller: Caller<'_>, asked: &Asked, deadline: Deadline) -> anyhow::Result<()> {
    let (here, store) = (caller.here, &caller.here.store);
    let Asked { domain, transfer, compression, .. } = asked;
    let Some(lock) = store.begin_transfer(domain)? else {
        return Ok(caller.say(&refused("a transfer of this domain is under way here"))?);
    };
    if store.refuses(domain, transfer.epoch)? {
        return Ok(caller.say(&refused("this node was told to stop it since this migration began"))?);
    }
    settle::target(here, domain, Deadline::after(SETTLE_LIMIT))?;
    let (presence, phase) = stands_by_itself(here, domain);
    if presence != Presence::Absent {
        let reason = format!("{domain} is {presence} here");
        return Ok(caller.say(&Answer::Refused { reason, stands: Some((presence, phase)) })?);
    }
    caller.say(&Answer::Granted)?;
    let says_alive = caller.knows_alive();
    let (from_peer, to_peer, lock) = (caller.from, caller.to, lock.as_fd());
    let (why, terms) = (Why::Migration, Terms { compression: *compression, ..Terms::default() });
    let stream =
        Stream { here, domain, why, transfer, from_peer, to_peer, lock, deadline, terms, says_alive };
    transfer::receive::receive(stream)?;
    Ok(())
}
