//! The promises as invariants. Some hold in every world and are looked at after every deed ([`check`]); some hold at one
//! moment, and the driver that comes to that moment raises them itself ([`Broken`]).

use super::deed::Deed;
use super::world::{Belief, Boot, Go, Member, Receiver, Sender, Stand, World, name};
use std::fmt;

/// A promise that the search watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Promise {
    /// At no instant do two copies run.
    P1NeverTwo,
    /// A cold boot comes only when no other node has a copy that runs or can come to run by itself.
    P2ProofBeforeBoot,
    /// stop returns success with the domain running only when the offer stands, recorded where the target can read it;
    /// and monitor goes on saying what stop has said.
    P3OfferOutlivesItsSource,
    /// A guest ends by a host's crash, a stop that means it, or its offer's end, and never by a migration; and
    /// nothing is shut down under a stream.
    P4NeverLostToAMove,
    /// A suspended copy is never let run once another copy of the domain has run since: its memory is older than the disks.
    StaleIsNeverResumed,
    /// When stop has made an offer somebody watches its deadline, and the deadline ends only what is on offer.
    P5AnOfferEnds,
    /// After a stop that succeeded no copy is here, or it is offered; what a push sent away is accounted for.
    P6StopMeansStop,
    /// A stream serves the offer that stands.
    OneEpoch,
    /// xl sees *ready*, and GO, only when the record of that end says that there is no way back.
    NoReturnIsOnRecord,
    /// A copy under one of xl's own names, or one that runs although the cluster was told otherwise, is on record; and a
    /// start or a `migrate_from` succeeds only when the domain runs here.
    RecordAgrees,
    /// When all heals, a start ends with the guest running, also where no stream can be finished.
    P7NeverWorse,
    /// When all heals, within a bounded number of deeds: one running copy where the cluster believes it, or none and
    /// the cluster knows, or an error that a person is told of.
    Liveness,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P1NeverTwo => "P1 never two",
            Self::P2ProofBeforeBoot => "P2 proof before a cold boot",
            Self::P3OfferOutlivesItsSource => "P3 an offer outlives its source",
            Self::P4NeverLostToAMove => "P4 a guest is never lost to a failed move",
            Self::StaleIsNeverResumed => "a stale image is never resumed",
            Self::P5AnOfferEnds => "P5 an offer ends",
            Self::P6StopMeansStop => "P6 stop means stop",
            Self::P7NeverWorse => "P7 never worse",
            Self::OneEpoch => "one stream, one offer",
            Self::NoReturnIsOnRecord => "the point of no return is on record",
            Self::RecordAgrees => "record and world agree",
            Self::Liveness => "liveness",
        })
    }
}

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) what: String,
}

/// Raises `promise` unless it holds.
///
/// # Errors
/// [`Broken`].
pub(super) fn hold(promise: Promise, holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { promise, what: what() }) }
}

/// The promises that hold in every world.
///
/// # Errors
/// The first that does not.
pub(super) fn check(before: &World, deed: Deed, after: &World) -> Result<(), Broken> {
    let running: Vec<usize> = (0..after.hosts.len()).filter(|&node| after.hosts[node].runs()).collect();
    hold(Promise::P1NeverTwo, running.len() < 2, || {
        format!("the domain runs on {running:?} (counted from 0)")
    })?;
    for boot in 0..=before.boots {
        let lost = can_go_on(before, boot) && !can_go_on(after, boot);
        hold(
            Promise::P4NeverLostToAMove,
            !lost || deed.may_end_a_guest(before) || given_up(before, boot),
            || format!("no copy of incarnation {boot} can go on any more"),
        )?;
    }
    for stream in after.streams.iter().flatten() {
        let source = after.hosts[stream.way.source()].stand;
        let shown = matches!(stream.sender, Sender::SawReady | Sender::Renamed | Sender::SaidGo);
        let on_record = matches!(source, Stand::Settling(..));
        hold(Promise::NoReturnIsOnRecord, !shown || on_record, || {
            format!("xl has seen ready, the source's record says {source:?}")
        })?;
        let target = after.hosts[stream.way.target()].stand;
        let given = stream.go == Go::Given
            && matches!(stream.receiver, Receiver::SaidReady | Receiver::Renamed)
            && after.hosts[stream.way.target()].up;
        let on_record = matches!(target, Stand::Arriving(_) | Stand::Arrived(_));
        hold(Promise::NoReturnIsOnRecord, !given || on_record, || {
            format!("the receiver was given GO, the target's record says {target:?}")
        })?;
    }
    for (node, host) in after.hosts.iter().enumerate() {
        if let Stand::Sending(way, Some(paper)) | Stand::Settling(way, Some(paper)) = host.stand {
            hold(Promise::OneEpoch, way.epoch == paper.epoch, || {
                format!("{} sends {way:?} for {paper:?}", name(node))
            })?;
        }
        let given_away = host.away.is_none() || matches!(host.stand, Stand::Settling(..));
        hold(Promise::RecordAgrees, given_away, || {
            format!("{} has a copy that it gave away, its record says {:?}", name(node), host.stand)
        })?;
        let receiver_lives = after.streams.iter().flatten().any(|stream| {
            stream.way.target() == node && stream.receiver.lives() && stream.receiver != Receiver::NotYet
        });
        let arriving = matches!(host.stand, Stand::Receiving(_) | Stand::Arriving(_));
        hold(Promise::RecordAgrees, host.incoming.is_none() || arriving || receiver_lives, || {
            format!("{} has an incoming copy, its record says {:?}", name(node), host.stand)
        })?;
        let told_stopped = after.cluster.belief[node] == Belief::Stopped
            && after.cluster.member[node] != Member::Lost
            && host.action.is_none();
        // That a node does not know the name was told, as 5, and the cluster takes it for "stopped".
        let excused = host.nameless
            || host.stand.is_offered_away()
            || matches!(host.stand, Stand::Receiving(_) | Stand::Arriving(_) | Stand::Arrived(_));
        hold(Promise::RecordAgrees, !(told_stopped && host.runs()) || excused, || {
            format!(
                "it runs on {}, the cluster was told that it does not, and the record says {:?}",
                name(node),
                host.stand
            )
        })?;
    }
    Ok(())
}

/// Whether all that is left of this incarnation is a suspended copy whose offer has ended longer ago than an offer may live: a start
/// may trust a ledger that was lost meanwhile, and boot.
fn given_up(world: &World, boot: Boot) -> bool {
    world.hosts.iter().all(|host| {
        let long_ago = matches!(host.stand, Stand::Settling(_, Some(paper)) if paper.epoch <= world.long_ago);
        let here =
            host.own.is_some_and(|own| own.boot == boot) || host.away.is_some_and(|copy| copy.boot == boot);
        !here || long_ago
    })
}

/// Whether a copy of this incarnation runs, or could be made to: one that no other has overtaken, suspended at the source,
/// or at the target with GO.
fn can_go_on(world: &World, boot: Boot) -> bool {
    world.hosts.iter().any(|host| {
        host.own.is_some_and(|own| own.boot == boot && !own.stale)
            || host.away.is_some_and(|copy| copy.boot == boot && !copy.stale)
            || host.incoming.is_some_and(|copy| copy.boot == boot && copy.given && !copy.stale)
    })
}
