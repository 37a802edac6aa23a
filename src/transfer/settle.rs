//! To *settle*: from xl's GO, the point of no return, to exactly one owner on record. Called by whoever holds the transfer
//! lock, when xl has ended here, in whatever way; what has to be done is decided in [`crate::handoff::resolve`].

use std::time::Duration;

use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::cluster::detect;
use crate::domain::{DomainName, Presence};
use crate::handoff::event::{ReceiverEnd, SenderEnd};
use crate::handoff::evidence::{Absence, PeerSays};
use crate::handoff::record::Store;
use crate::handoff::resolve::{self, AtSource, AtTarget};
use crate::handoff::{Ended, Event, Phase, Ran, Transfer};
use crate::host::Root;
use crate::toolstack::{Toolstack, ToolstackError, xl::Xl};
use crate::transport::inquiry::settle_there;

/// Limit of one word to xl.
const XL_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked at again, and the target asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// What xl's receiver gets to finish by itself, or to die with its pipe.
const RECEIVERS_OWN: Duration = Duration::from_secs(3);

/// How a transfer ended at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtSourceEnd {
    /// The target runs the domain.
    Moved,
    /// It runs here.
    StillHere,
    /// It ended by itself, here, before it was given away.
    Gone,
    /// Not known yet, for this reason. The record says so.
    Undecided(String),
}

/// Settles the source's end, puts it on record, and clears up the ledger. `ask` has the target settle its own end and say where it stands;
/// it is called only if that decides. Nothing happens where this node sends nothing.
///
/// # Errors
/// If the record cannot be read or written.
pub fn source(
    root: &Root,
    store: &Store,
    domain: &DomainName,
    deadline: Deadline,
    ask: &dyn Fn(&Transfer) -> PeerSays,
) -> anyhow::Result<AtSourceEnd> {
    let phase = store.load(domain)?.state;
    let (Phase::Sending { transfer, .. } | Phase::Settling { transfer, .. }) = &phase else {
        return Ok(AtSourceEnd::Undecided(format!("this node sends nothing ({phase})")));
    };
    let xl = Xl::new(root);
    let mut waits = String::new();
    let end = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        let presence = xl.presence(domain, XL_LIMIT);
        if presence == Presence::Absent && matches!(phase, Phase::Sending { .. }) {
            return Absence::observe(&presence, || xl.is_attended(domain)).map(Err);
        }
        let decision = match resolve::at_source(&phase, &presence, None, UnixTime::now()) {
            AtSource::AskTarget => {
                resolve::at_source(&phase, &presence, Some(&ask(transfer)), UnixTime::now())
            }
            decided => decided,
        };
        match decision {
            AtSource::StillHere => return Some(Ok(SenderEnd::StillHere)),
            AtSource::Moved => return Some(Ok(SenderEnd::Moved)),
            AtSource::Resume(_) => {
                act(domain, "resuming the copy here", || take_back(&xl, domain, &presence))
            }
            AtSource::Destroy(_) => {
                act(domain, "destroying the stale copy here", || {
                    xl.destroy(&called(domain, &presence), XL_LIMIT)
                });
            }
            AtSource::AskTarget => waits = "the target was not asked".to_owned(),
            AtSource::Wait(why) => {
                if why != waits {
                    log::info!("domain={domain} settling: {why}");
                }
                waits = why;
            }
        }
        None
    });
    match end {
        Some(Ok(end)) => {
            let effects = store.advance(domain, "settle", Event::SenderEnded(end))?;
            detect(root).clear_up(domain, &effects);
            Ok(if end == SenderEnd::Moved { AtSourceEnd::Moved } else { AtSourceEnd::StillHere })
        }
        Some(Err(absence)) => {
            let effects = store.advance(domain, "settle", Event::DomainGone(absence))?;
            detect(root).clear_up(domain, &effects);
            Ok(AtSourceEnd::Gone)
        }
        None => {
            log::error!("domain={domain} not settled: {waits}");
            store.advance(domain, "settle", Event::SenderEnded(SenderEnd::Undecided))?;
            Ok(AtSourceEnd::Undecided(waits))
        }
    }
}

/// Settles the target's end, and puts it on record. Nothing happens where this node receives nothing.
///
/// # Errors
/// If the record cannot be read or written.
pub fn target(
    root: &Root,
    store: &Store,
    domain: &DomainName,
    deadline: Deadline,
) -> anyhow::Result<ReceiverEnd> {
    let phase = store.load(domain)?.state;
    if !matches!(phase, Phase::Receiving { .. } | Phase::Arriving { .. }) {
        return Ok(ReceiverEnd::Undecided);
    }
    let xl = Xl::new(root);
    let by_ourselves = Deadline::after(RECEIVERS_OWN);
    let mut waits = String::new();
    let end = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        let presence = xl.presence(domain, XL_LIMIT);
        match resolve::at_target(&phase, &presence) {
            AtTarget::Arrived => return Some(ReceiverEnd::Running),
            AtTarget::Nothing => return Some(ReceiverEnd::Nothing),
            AtTarget::DestroyIncoming => {
                act(domain, "destroying the copy that was never given", || {
                    xl.destroy(&domain.incoming(), XL_LIMIT)
                });
            }
            AtTarget::Finish(_) if by_ourselves.passed() => {
                act(domain, "finishing what the receiver began", || finish(&xl, domain, &presence));
            }
            AtTarget::Finish(_) => waits = "xl's receiver has not finished".to_owned(),
            AtTarget::Wait(why) => waits = why,
        }
        None
    });
    let end = end.unwrap_or(ReceiverEnd::Undecided);
    if end == ReceiverEnd::Undecided {
        log::error!("domain={domain} not settled: {waits}");
    }
    if end != ReceiverEnd::Undecided {
        // Before the record goes on: a source that asks must never find neither.
        let (Phase::Receiving { transfer } | Phase::Arriving { transfer }) = &phase else { return Ok(end) };
        let ran = match (end, &phase) {
            (ReceiverEnd::Running, _) => Ran::Certainly,
            (_, Phase::Receiving { .. }) => Ran::Never,
            _ => Ran::Perhaps,
        };
        store.keep_end(domain, Ended { epoch: transfer.epoch, ran })?;
    }
    store.advance(domain, "settle", Event::ReceiverEnded(end))?;
    Ok(end)
}

/// Settles what a killed process left of a transfer at this node, whichever end it is; false if somebody is still at it, or
/// nothing was left.
///
/// # Errors
/// If the record cannot be read or written.
pub fn if_broken(
    root: &Root,
    store: &Store,
    domain: &DomainName,
    deadline: Deadline,
) -> anyhow::Result<bool> {
    if !store.load(domain)?.state.is_in_transfer() {
        return Ok(false);
    }
    let Some(_lock) = store.begin_transfer(domain)? else { return Ok(false) };
    let record = store.load(domain)?;
    match record.state {
        Phase::Receiving { .. } | Phase::Arriving { .. } => {
            target(root, store, domain, deadline)?;
        }
        Phase::Sending { .. } | Phase::Settling { .. } => {
            let ask = |broken: &Transfer| settle_there(root, &broken.target, &record, domain, deadline);
            source(root, store, domain, deadline, &ask)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// What was done shows in the next listing; a failure is logged, and it is tried again.
fn act(domain: &DomainName, what: &str, deed: impl FnOnce() -> Result<(), ToolstackError>) {
    log::warn!("domain={domain} {what}");
    if let Err(error) = deed() {
        log::warn!("domain={domain} {what}: {error}");
    }
}

fn called(domain: &DomainName, presence: &Presence) -> String {
    match presence {
        Presence::MigratedAway(_) => domain.migrated_away(),
        _ => domain.as_str().to_owned(),
    }
}

fn take_back(xl: &Xl, domain: &DomainName, presence: &Presence) -> Result<(), ToolstackError> {
    match presence {
        Presence::MigratedAway(id) => {
            xl.rename(&domain.migrated_away(), domain.as_str(), XL_LIMIT)?;
            xl.resume(*id, XL_LIMIT)
        }
        Presence::Frozen(id) => xl.resume(*id, XL_LIMIT),
        _ => Ok(()),
    }
}

fn finish(xl: &Xl, domain: &DomainName, presence: &Presence) -> Result<(), ToolstackError> {
    if matches!(presence, Presence::Incoming(_)) {
        xl.rename(&domain.incoming(), domain.as_str(), XL_LIMIT)?;
    }
    xl.unpause(domain, XL_LIMIT)
}
