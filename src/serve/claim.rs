//! `claim`: sends a domain that is on offer here to whoever claims it.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use super::caller::{Caller, SETTLE_LIMIT, refused};
use crate::address::Address;
use crate::clock::{Deadline, UnixTime};
use crate::domain::{DomainName, Presence};
use crate::handoff::event::SenderEnd;
use crate::handoff::evidence::PeerSays;
use crate::handoff::{Effect, Ended, Event, Phase, SourcePhase, Transfer};
use crate::moves::journal::Why;
use crate::moves::progress::Direction;
use crate::moves::terms::Terms;
use crate::node::devices::{detach, give_again, give_again_if_here};
use crate::node::standing::{stands, stands_by_itself};
use crate::peer::inquiry::settle_there;
use crate::transfer::settle::{self, AtSourceEnd};
use crate::transfer::{self, Stream};
use crate::wire::message::Answer;

/// What a claimant says.
pub(super) struct Asked {
    pub(super) domain: DomainName,
    pub(super) transfer: Transfer,
    pub(super) back: Address,
    pub(super) ended: Option<Ended>,
    /// Seconds until the stream is to be broken off.
    pub(super) limit: u64,
    pub(super) terms: Terms,
}

/// What to answer to somebody who speaks of an offer of a domain that this node has none of. Nothing is made
/// on disk for it.
///
/// # Errors
/// If the record cannot be read.
pub(super) fn never_offered(caller: &Caller<'_>, domain: &DomainName) -> anyhow::Result<Option<Answer>> {
    if caller.here.store.load(domain)?.state != Phase::Idle {
        return Ok(None);
    }
    let (presence, phase) = stands(caller.here, domain);
    let reason = match &presence {
        Presence::Running(_) => "this node did not offer the domain".to_owned(),
        other => format!("{domain} is {other} here"),
    };
    log::info!("domain={domain} claim refused: {reason}");
    Ok(Some(Answer::Refused { reason, stands: Some((presence, phase)) }))
}

/// Sends it, if it is on offer under this epoch.
///
/// # Errors
/// If the caller does not wait for its answer; if the record cannot be read or written.
pub(super) fn claim(mut caller: Caller<'_>, asked: &Asked) -> anyhow::Result<()> {
    if let Some(answer) = never_offered(&caller, &asked.domain)? {
        return Ok(caller.say(&answer)?);
    }
    let _slot = caller.take_slot(&asked.domain, Direction::Outgoing);
    match grant(&caller, asked)? {
        Ok(lock) => give(caller, asked, &lock),
        Err(answer) => Ok(caller.say(&answer)?),
    }
}

/// Puts the claim on record; the transfer lock, or what to answer instead.
fn grant(caller: &Caller<'_>, asked: &Asked) -> anyhow::Result<Result<File, Answer>> {
    let (here, store) = (caller.here, &caller.here.store);
    let Asked { domain, transfer, .. } = asked;
    let Some(lock) = store.begin_transfer(domain)? else {
        return Ok(Err(refused("a transfer of this domain is under way here")));
    };
    settle_before(caller, asked)?;
    // Its keeper ends it now, and one claim after the other would keep it from that.
    if let Phase::Source(SourcePhase::Offered { offer }) = &store.load(domain)?.state
        && offer.deadline <= UnixTime::now()
    {
        let stands = Some(stands_by_itself(here, domain));
        let reason = "its offer has come to its end".to_owned();
        return Ok(Err(Answer::Refused { reason, stands }));
    }
    let (presence, phase) = stands_by_itself(here, domain);
    let claimed = match &presence {
        Presence::Running(_) => store
            .advance_with(domain, "serve", Event::Claimed(transfer.clone()), |record| {
                record.peer = Some(asked.back.clone());
                record.peer_boot.clone_from(&caller.greeting.boot);
            })
            .map_err(|error| error.to_string()),
        _ => Err(format!("{domain} is {presence} here")),
    };
    Ok(match claimed {
        Ok(effects) if effects.iter().any(|effect| matches!(effect, Effect::Send(_))) => Ok(lock),
        Ok(_) => Err(refused("nothing to send")),
        Err(reason) => {
            log::info!("domain={domain} claim of {} refused: {reason}", transfer.target);
            Err(Answer::Refused { reason, stands: Some((presence, phase)) })
        }
    })
}

/// A sender that was killed leaves its phase behind. The lock is ours, so nobody works on it any more. A
/// claimant has no copy: that is what a claim says.
fn settle_before(caller: &Caller<'_>, asked: &Asked) -> anyhow::Result<()> {
    let (here, store) = (caller.here, &caller.here.store);
    let Asked { domain, transfer, .. } = asked;
    let record = store.load(domain)?;
    if !record.state.is_in_transfer() {
        return Ok(());
    }
    let settled_by = Deadline::after(SETTLE_LIMIT);
    let ask = |broken: &Transfer| match (broken.target == transfer.target, Presence::Absent, Phase::Idle) {
        (false, ..) => settle_there(here, &broken.target, &record, domain, settled_by),
        (true, presence, phase) if record.peer_has_restarted(caller.greeting.boot.as_deref()) => {
            PeerSays::Restarted { presence, phase }
        }
        (true, presence, phase) => PeerSays::Stands { presence, phase, ended: asked.ended },
    };
    settle::source(here, domain, settled_by, &ask).map(drop)
}

/// Sends what was granted.
fn give(caller: Caller<'_>, asked: &Asked, lock: &File) -> anyhow::Result<()> {
    let (here, store, toolstack) = (caller.here, &caller.here.store, caller.here.toolstack().as_ref());
    let Asked { domain, transfer, terms, .. } = asked;
    let record = store.load(domain)?;
    let deadline = Deadline::after(Duration::from_secs(asked.limit).min(record.longest_fetch()));
    let devices = record.devices;
    if let Err(why) = detach(toolstack, domain, &devices) {
        store.advance(domain, "serve", Event::SenderEnded(SenderEnd::StillHere))?;
        return Ok(caller.say(&refused(format!("a device of it cannot be detached: {why}")))?);
    }
    if let Err(error) = caller.say(&Answer::Granted) {
        // The claimant is gone. Nothing has been sent; the offer stands.
        store.advance(domain, "serve", Event::SenderEnded(SenderEnd::StillHere))?;
        give_again(toolstack, domain, &devices);
        return Err(error.into());
    }
    let says_alive = caller.knows_alive();
    let (from_peer, to_peer, lock) = (caller.from, caller.to, lock.as_fd());
    let (why, terms) = (Why::Handoff, *terms);
    let stream =
        Stream { here, domain, why, transfer, from_peer, to_peer, lock, deadline, terms, says_alive };
    let sent =
        transfer::send::send(stream).inspect_err(|_| give_again_if_here(toolstack, domain, &devices))?;
    if sent.end == AtSourceEnd::StillHere {
        give_again(toolstack, domain, &devices);
    }
    Ok(())
}
