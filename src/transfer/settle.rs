//! To *settle*: from xl's GO, the point of no return, to exactly one owner on record. Called by whoever holds
//! the transfer lock, when xl has ended here, in whatever way; what has to be done is decided in
//! [`crate::handoff::resolve`].

use std::fmt;
use std::time::Duration;

use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock, UnixTime};
use crate::domain::{DomainName, Presence};
use crate::handoff::event::{ReceiverEnd, SenderEnd};
use crate::handoff::evidence::{Absence, MayEnd, MayRun, NoCopyElsewhere, PeerSays, SourceQuiet};
use crate::handoff::resolve::{self, AtSource, AtTarget};
use crate::handoff::{Ended, Event, Phase, Ran, SourcePhase, TargetPhase, Transfer};
use crate::here::Here;
use crate::peer::inquiry::settle_there;
use crate::toolstack::{Toolstack, ToolstackError};

/// Limit of one word to xl.
const XL_LIMIT: Duration = Duration::from_secs(10);
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

impl fmt::Display for AtSourceEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved => f.write_str("moved"),
            Self::StillHere => f.write_str("still-here"),
            Self::Gone => f.write_str("gone"),
            Self::Undecided(why) => write!(f, "undecided: {why}"),
        }
    }
}

/// Settles the source's end, puts it on record, and clears up the ledger. `ask` has the target settle its own
/// end and say where it stands; it is called only if that decides. Nothing happens where this node sends
/// nothing.
///
/// # Errors
/// If the record cannot be read or written.
pub fn source(
    here: &Here,
    domain: &DomainName,
    deadline: Deadline,
    ask: &dyn Fn(&Transfer) -> PeerSays,
) -> anyhow::Result<AtSourceEnd> {
    let phase = here.store.load(domain)?.state;
    let Phase::Source(SourcePhase::Sending { transfer, .. } | SourcePhase::Settling { transfer, .. }) =
        &phase
    else {
        return Ok(AtSourceEnd::Undecided(format!("this node sends nothing ({phase})")));
    };
    let (store, xl) = (&here.store, here.toolstack().as_ref());
    let mut waits = String::new();
    let end = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        let presence = xl.presence(domain, XL_LIMIT);
        if presence == Presence::Absent && matches!(phase, Phase::Source(SourcePhase::Sending { .. })) {
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
            AtSource::Resume(alone) => {
                act(domain, "resuming the copy here", || take_back(xl, domain, &presence, &alone))
            }
            AtSource::Destroy(stale) => {
                act(domain, "destroying the stale copy here", || {
                    xl.destroy(&called(domain, &presence), &MayEnd::Stale(&stale), XL_LIMIT)
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
            here.cluster().clear_up(domain, &effects);
            Ok(if end == SenderEnd::Moved { AtSourceEnd::Moved } else { AtSourceEnd::StillHere })
        }
        Some(Err(absence)) => {
            let effects = store.advance(domain, "settle", Event::DomainGone(absence))?;
            here.cluster().clear_up(domain, &effects);
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
pub fn target(here: &Here, domain: &DomainName, deadline: Deadline) -> anyhow::Result<ReceiverEnd> {
    let phase = here.store.load(domain)?.state;
    if !matches!(phase, Phase::Target(TargetPhase::Receiving { .. } | TargetPhase::Arriving { .. })) {
        return Ok(ReceiverEnd::Undecided);
    }
    let (store, xl) = (&here.store, here.toolstack().as_ref());
    let by_ourselves = Deadline::after(RECEIVERS_OWN);
    let mut waits = String::new();
    let end = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        let presence = xl.presence(domain, XL_LIMIT);
        match resolve::at_target(&phase, &presence) {
            AtTarget::Arrived => return Some(ReceiverEnd::Running),
            AtTarget::Nothing => return Some(ReceiverEnd::Nothing),
            AtTarget::DestroyIncoming(never) => {
                act(domain, "destroying the copy that was never given", || {
                    xl.destroy(&domain.incoming(), &MayEnd::NeverGiven(&never), XL_LIMIT)
                });
            }
            AtTarget::Finish(quiet) if by_ourselves.passed() => {
                act(domain, "finishing what the receiver began", || finish(xl, domain, &presence, &quiet));
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
        let Phase::Target(TargetPhase::Receiving { transfer } | TargetPhase::Arriving { transfer }) = &phase
        else {
            return Ok(end);
        };
        let ran = match (end, &phase) {
            (ReceiverEnd::Running, _) => Ran::Certainly,
            (_, Phase::Target(TargetPhase::Receiving { .. })) => Ran::Never,
            _ => Ran::Perhaps,
        };
        store.keep_end(domain, Ended { epoch: transfer.epoch, ran })?;
    }
    store.advance(domain, "settle", Event::ReceiverEnded(end))?;
    Ok(end)
}

/// Settles what a killed process left of a transfer at this node, whichever end it is; false if somebody is
/// still at it, or nothing was left.
///
/// # Errors
/// If the record cannot be read or written.
pub fn if_broken(here: &Here, domain: &DomainName, deadline: Deadline) -> anyhow::Result<bool> {
    let store = &here.store;
    if !store.load(domain)?.state.is_in_transfer() {
        return Ok(false);
    }
    let Some(_lock) = store.begin_transfer(domain)? else { return Ok(false) };
    let record = store.load(domain)?;
    match record.state {
        Phase::Target(TargetPhase::Receiving { .. } | TargetPhase::Arriving { .. }) => {
            target(here, domain, deadline)?;
        }
        Phase::Source(SourcePhase::Sending { .. } | SourcePhase::Settling { .. }) => {
            let ask = |broken: &Transfer| settle_there(here, &broken.target, &record, domain, deadline);
            source(here, domain, deadline, &ask)?;
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

fn take_back(
    xl: &dyn Toolstack,
    domain: &DomainName,
    presence: &Presence,
    alone: &NoCopyElsewhere,
) -> Result<(), ToolstackError> {
    match presence {
        Presence::MigratedAway(id) => {
            xl.rename(&domain.migrated_away(), domain.as_str(), XL_LIMIT)?;
            xl.resume(*id, alone, XL_LIMIT)
        }
        Presence::Frozen(id) => xl.resume(*id, alone, XL_LIMIT),
        _ => Ok(()),
    }
}

fn finish(
    xl: &dyn Toolstack,
    domain: &DomainName,
    presence: &Presence,
    quiet: &SourceQuiet,
) -> Result<(), ToolstackError> {
    if matches!(presence, Presence::Incoming(_)) {
        xl.rename(&domain.incoming(), domain.as_str(), XL_LIMIT)?;
    }
    xl.unpause(domain, &MayRun::Given(quiet), XL_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RunState;
    use crate::here::fake::{EPOCH, World, from_n2, node, offer_of, seen, to_n2, x0};
    use crate::wire::message::{Answer, Request};

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    /// Settles the source's end, where the target says this if it is asked; whether it was.
    fn at_source(world: &World, says: Option<&PeerSays>) -> (AtSourceEnd, bool) {
        let asked = std::cell::Cell::new(false);
        let ask = |transfer: &Transfer| {
            assert_eq!(*transfer, to_n2());
            asked.set(true);
            says.cloned().unwrap_or(PeerSays::Silent("cut".to_owned()))
        };
        let end = source(&world.here, &x0(), soon(), &ask).unwrap();
        (end, asked.get())
    }

    fn runs_there() -> PeerSays {
        let presence = Presence::Running(crate::domain::DomainId(7));
        PeerSays::Stands { presence, phase: Phase::Idle, ended: None }
    }

    fn none_there(ran: Ran) -> PeerSays {
        let ended = Some(Ended { epoch: EPOCH, ran });
        PeerSays::Stands { presence: Presence::Absent, phase: Phase::Idle, ended }
    }

    #[test]
    fn p4_a_stream_that_broke_before_ready_leaves_the_domain_and_its_offer_and_nobody_is_asked() {
        let world = World::listing([seen::running()]);
        world.is_sending();
        assert_eq!(at_source(&world, None), (AtSourceEnd::StillHere, false));
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. })), "{}", world.phase());
        assert!(world.deeds().is_empty() && world.told().is_empty());
    }

    #[test]
    fn p4_what_was_frozen_before_ready_is_resumed_until_it_runs() {
        let world = World::listing([seen::own(RunState::Frozen)]);
        world.is_sending();
        world.xl.fails("resume", 2);
        world.xl.after("resume", seen::running());
        assert_eq!(at_source(&world, None), (AtSourceEnd::StillHere, false));
        assert_eq!(world.deeds(), ["resume 1", "resume 1", "resume 1"], "one that fails is tried again");
    }

    #[test]
    fn what_ended_by_itself_before_ready_is_gone_and_its_offer_with_it() {
        let world = World::listing([seen::absent()]);
        world.is_sending();
        assert_eq!(at_source(&world, None), (AtSourceEnd::Gone, false));
        assert_eq!((world.phase(), world.told()), (Phase::Idle, vec![format!("erase {EPOCH}")]));
    }

    #[test]
    fn p1_a_reboot_in_mid_stream_is_not_gone() {
        let world = World::attended([seen::absent()]);
        world.is_sending();
        let (end, _) = at_source(&world, None);
        assert!(matches!(end, AtSourceEnd::Undecided(_)), "{end}");
        assert!(world.phase().is_in_transfer() && world.told().is_empty());
    }

    #[test]
    fn p4_the_stale_copy_is_destroyed_only_when_the_target_runs_it_or_was_lost_with_it() {
        for says in [runs_there(), none_there(Ran::Certainly), PeerSays::Fenced(UnixTime(EPOCH.at().0 + 1))] {
            let world = World::listing([seen::migrated_away()]);
            world.is_settling();
            world.xl.fails("destroy", 1);
            world.xl.after("destroy x0--migratedaway", seen::absent());
            let (end, asked) = at_source(&world, Some(&says));
            assert!(asked && end == AtSourceEnd::Moved, "{says:?}: {end}");
            assert_eq!(world.deeds(), ["destroy x0--migratedaway"; 2], "{says:?}");
            assert!(
                !world.phase().is_in_transfer() && world.told() == [format!("erase {EPOCH}")],
                "{says:?}"
            );
        }
    }

    #[test]
    fn p4_what_never_ran_at_the_target_goes_on_here_under_its_own_name() {
        let world = World::listing([seen::migrated_away()]);
        world.is_settling();
        world.xl.after("rename x0--migratedaway x0", seen::own(RunState::Frozen));
        world.xl.after("resume", seen::running());
        let (end, asked) = at_source(&world, Some(&none_there(Ran::Never)));
        assert!(asked && end == AtSourceEnd::StillHere, "{end}");
        assert_eq!(world.deeds(), ["rename x0--migratedaway x0", "resume 1"]);
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. })), "{}", world.phase());
    }

    #[test]
    fn p1_p4_without_a_clear_word_nothing_is_resumed_and_nothing_is_destroyed() {
        let paused = Presence::Paused(crate::domain::DomainId(7));
        for says in [
            PeerSays::Silent("cut".to_owned()),
            none_there(Ran::Perhaps),
            PeerSays::Stands { presence: Presence::Absent, phase: Phase::Idle, ended: None },
            PeerSays::Stands { presence: paused, phase: Phase::Idle, ended: None },
            PeerSays::Fenced(UnixTime(EPOCH.at().0 - 1)),
        ] {
            let world = World::listing([seen::migrated_away()]);
            world.is_settling();
            let (end, asked) = at_source(&world, Some(&says));
            assert!(asked && matches!(end, AtSourceEnd::Undecided(_)), "{says:?}: {end}");
            assert!(world.deeds().is_empty() && world.told().is_empty(), "{says:?}: {:?}", world.deeds());
            assert!(matches!(world.phase(), Phase::Source(SourcePhase::Settling { .. })), "{says:?}");
        }
    }

    #[test]
    fn p1_a_listing_that_fails_settles_neither_end() {
        let world = World::listing([]);
        world.xl.shows(Err("cut short".to_owned()));
        world.is_settling();
        let (end, _) = at_source(&world, Some(&runs_there()));
        assert!(matches!(end, AtSourceEnd::Undecided(_)), "{end}");
        let world = World::listing([]);
        world.xl.shows(Err("cut short".to_owned()));
        world.is_arriving();
        assert_eq!(target(&world.here, &x0(), soon()).unwrap(), ReceiverEnd::Undecided);
        assert!(world.phase().is_in_transfer() && world.deeds().is_empty());
        assert_eq!(world.here.store.last_end(&x0()), None);
    }

    #[test]
    fn where_nothing_is_sent_or_received_nothing_is_looked_at() {
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        let (end, asked) = at_source(&world, None);
        assert!(
            !asked && matches!(&end, AtSourceEnd::Undecided(why) if why.contains("sends nothing")),
            "{end}"
        );
        assert_eq!(target(&world.here, &x0(), soon()).unwrap(), ReceiverEnd::Undecided);
        assert!(!if_broken(&world.here, &x0(), soon()).unwrap());
        assert!(world.xl.calls.borrow().is_empty());
    }

    #[test]
    fn p1_a_copy_that_was_never_given_is_destroyed_and_one_that_was_is_finished() {
        let world = World::listing([seen::incoming()]);
        world.is_receiving();
        world.xl.fails("destroy", 1);
        world.xl.after("destroy x0--incoming", seen::absent());
        assert_eq!(target(&world.here, &x0(), soon()).unwrap(), ReceiverEnd::Nothing);
        assert_eq!(world.deeds(), ["destroy x0--incoming"; 2]);
        assert_eq!(world.here.store.last_end(&x0()), Some(Ended { epoch: EPOCH, ran: Ran::Never }));
        assert_eq!(world.phase(), Phase::Idle);

        let world = World::listing([seen::incoming()]);
        world.is_arriving();
        world.xl.after("rename x0--incoming x0", seen::own(RunState::Paused));
        world.xl.after("unpause", seen::running());
        let began = crate::clock::Moment::now();
        assert_eq!(target(&world.here, &x0(), soon()).unwrap(), ReceiverEnd::Running);
        assert!(began.elapsed() >= RECEIVERS_OWN, "xl's receiver has its time first");
        assert_eq!(world.deeds(), ["rename x0--incoming x0", "unpause x0"]);
        assert_eq!(world.here.store.last_end(&x0()), Some(Ended { epoch: EPOCH, ran: Ran::Certainly }));
        assert!(matches!(world.phase(), Phase::Target(TargetPhase::Arrived { .. })), "{}", world.phase());
    }

    #[test]
    fn p4_what_was_given_and_is_gone_may_have_run() {
        let world = World::listing([seen::absent()]);
        world.is_arriving();
        assert_eq!(target(&world.here, &x0(), soon()).unwrap(), ReceiverEnd::Nothing);
        assert_eq!(world.here.store.last_end(&x0()), Some(Ended { epoch: EPOCH, ran: Ran::Perhaps }));
    }

    #[test]
    fn what_xls_receiver_has_finished_by_itself_is_left_to_it() {
        let world = World::listing([seen::incoming(), seen::own(RunState::Paused), seen::running()]);
        world.is_arriving();
        assert_eq!(target(&world.here, &x0(), soon()).unwrap(), ReceiverEnd::Running);
        assert!(world.deeds().is_empty());
    }

    #[test]
    fn what_a_killed_process_left_is_settled_over_the_wire_and_not_while_somebody_works_on_it() {
        let world = World::listing([seen::migrated_away()]);
        world.is_settling();
        world.xl.after("destroy", seen::absent());
        world.peers.answer("n2", |request| {
            assert!(matches!(request, Request::Resolve { .. }), "{request:?}");
            let presence = Presence::Running(crate::domain::DomainId(7));
            Some(Answer::Stands { presence, phase: Phase::Idle, ended: None })
        });
        let lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert!(!if_broken(&world.here, &x0(), soon()).unwrap() && world.deeds().is_empty());
        drop(lock);
        assert!(if_broken(&world.here, &x0(), soon()).unwrap());
        assert_eq!(world.deeds(), ["destroy x0--migratedaway"]);

        let world = World::listing([seen::incoming()]);
        world.is_receiving();
        world.xl.after("destroy", seen::absent());
        assert!(if_broken(&world.here, &x0(), soon()).unwrap());
        assert_eq!((world.phase(), from_n2().source), (Phase::Idle, node("n2")));
    }

    #[test]
    fn p4_a_target_that_has_restarted_since_had_it_and_lost_it() {
        let world = World::listing([seen::migrated_away()]);
        world.is_sending();
        let before = |record: &mut crate::node::record::Record| record.peer_boot = Some("before".to_owned());
        let suspended = crate::handoff::evidence::Suspended::by_hypervisor(true).unwrap();
        world.here.store.advance_with(&x0(), "test", Event::ReadySeen(suspended), before).unwrap();
        world.xl.after("destroy", seen::absent());
        world.peers.answer("n2", |_| {
            Some(Answer::Stands { presence: Presence::Absent, phase: Phase::Idle, ended: None })
        });
        assert!(if_broken(&world.here, &x0(), soon()).unwrap());
        assert_eq!(world.deeds(), ["destroy x0--migratedaway"]);
    }
}
