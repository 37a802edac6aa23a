//! What became of a transfer that broke off: decided by where the copies *are*, on both ends, and never by a
//! guess.
//!
//! xl's own last word there is "Domain state is now undefined! Please CHECK AT BOTH ENDS". This is that
//! check. The rules rest on two facts of xl: a receiver that was not given GO destroys its copy and never
//! runs it, and a sender that may have given GO never resumes its own copy unless the target said that it
//! destroyed its.
//!
//! | at the source: phase, copy | the target says | then |
//! |---|---|---|
//! | running | | it is still here |
//! | `Sending`, frozen | (need not be asked: it was never given GO) | resume it |
//! | `Settling`, absent | (only a sender that was told "it runs" destroys it) | it has moved |
//! | `Settling`, frozen or renamed away | it runs there, or has run there with this transfer | destroy the copy here |
//! | `Settling`, frozen or renamed away | (it was fenced, or has restarted, since the transfer began) | destroy it: it may be stale |
//! | `Settling`, frozen or renamed away | none there, and this transfer's copy never ran | rename it back, resume it |
//! | the same, a minute or more after the end of the offer | | wait: a third node may have booted it |
//! | `Settling`, frozen or renamed away | anything else, or nothing | wait |
//!
//! | at the target: phase, copy | then |
//! |---|---|
//! | running | it has arrived |
//! | absent | nothing has arrived |
//! | `Receiving`, incoming | destroy the copy: it was never given GO |
//! | `Arriving`, incoming or paused | finish what xl's receiver began: rename it, let it run |

use std::time::Duration;

use super::evidence::{NeverGiven, NoCopyElsewhere, PeerSays, SourceQuiet, Stale};
use super::phase::{Phase, SourcePhase};
use crate::clock::UnixTime;
use crate::domain::Presence;

/// What the source has to do with its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtSource {
    /// It runs here, and nothing has to be done.
    StillHere,
    /// It is gone from here.
    Moved,
    /// Ask the target first.
    AskTarget,
    /// Give it its name back where that was taken, and resume it.
    Resume(NoCopyElsewhere),
    /// Destroy it: the domain has gone on at the target, or was lost with it.
    Destroy(Stale),
    /// Nothing can be done yet, for this reason.
    Wait(String),
}

/// What the target has to do with its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtTarget {
    /// It runs here.
    Arrived,
    /// No copy is here.
    Nothing,
    /// Destroy the incoming copy: it was never given GO and has no receiver any more.
    DestroyIncoming(NeverGiven),
    /// Rename it where that was not done yet, and let it run.
    Finish(SourceQuiet),
    /// Nothing can be done yet, for this reason.
    Wait(String),
}

/// How long after the end of its offer a copy that may have been given away can still be resumed. Less than
/// any start waits before it trusts a ledger that has lost the offer.
const RESUMED_BEFORE: Duration = Duration::from_secs(60);

/// Decides for the source, at this time by its clock. `target` is what the target said, if it was asked.
pub fn at_source(phase: &Phase, presence: &Presence, target: Option<&PeerSays>, now: UnixTime) -> AtSource {
    let (transfer, may_have_given) = match phase {
        Phase::Source(SourcePhase::Sending { transfer, .. }) => (transfer, false),
        Phase::Source(SourcePhase::Settling { transfer, .. }) => (transfer, true),
        Phase::Idle
        | Phase::Source(
            SourcePhase::Offering { .. }
            | SourcePhase::Offered { .. }
            | SourcePhase::Withdrawing { .. }
            | SourcePhase::Left { .. },
        )
        | Phase::Target(_) => {
            return AtSource::Wait(format!("this node sends nothing ({phase})"));
        }
    };
    match presence {
        Presence::Running(_) => AtSource::StillHere,
        // Somebody has paused it, so xl could not suspend it: it was never given, and it is whole.
        Presence::Paused(_) if !may_have_given => AtSource::StillHere,
        Presence::Absent if may_have_given => AtSource::Moved,
        Presence::Frozen(_) | Presence::MigratedAway(_) => {
            if let Some(none) = NoCopyElsewhere::never_given(phase) {
                return AtSource::Resume(none);
            }
            let Some(target) = target else { return AtSource::AskTarget };
            if let Some(stale) = Stale::observe(target, transfer) {
                return AtSource::Destroy(stale);
            }
            match NoCopyElsewhere::observe(target, transfer) {
                Ok(_) if phase.offer().is_some_and(|offer| offer.deadline.plus(RESUMED_BEFORE) < now) => {
                    AtSource::Wait(
                        "its offer has ended long ago, and a third node may have booted it: look at every node, then \
                         destroy this copy or resume it by hand"
                            .to_owned(),
                    )
                }
                Ok(none) => AtSource::Resume(none),
                Err(why) => AtSource::Wait(format!("{}: {why}", transfer.target)),
            }
        }
        Presence::Absent
        | Presence::Building(_)
        | Presence::Paused(_)
        | Presence::Crashed(_)
        | Presence::ShutDown(_)
        | Presence::Rebooting(_)
        | Presence::Dying(_)
        | Presence::Incoming(_)
        | Presence::Unknown(_) => AtSource::Wait(format!("it is {presence} here")),
    }
}

/// Decides for the target. Only asked when nothing of ours handles the stream any more.
pub fn at_target(phase: &Phase, presence: &Presence) -> AtTarget {
    let given = SourceQuiet::on_record(phase);
    match presence {
        Presence::Running(_) => AtTarget::Arrived,
        Presence::Absent => AtTarget::Nothing,
        Presence::Incoming(_) | Presence::Paused(_) => {
            match (given, NeverGiven::on_record(phase, presence)) {
                (Some(quiet), _) => AtTarget::Finish(quiet),
                (None, Some(never)) => AtTarget::DestroyIncoming(never),
                (None, None) => AtTarget::Wait(format!("it is {presence} here")),
            }
        }
        Presence::Building(_)
        | Presence::Crashed(_)
        | Presence::Frozen(_)
        | Presence::ShutDown(_)
        | Presence::Rebooting(_)
        | Presence::Dying(_)
        | Presence::MigratedAway(_)
        | Presence::Unknown(_) => AtTarget::Wait(format!("it is {presence} here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DomainId, DomainName};
    use crate::handoff::phase::{Ended, Epoch, Offer, Ran, TargetPhase, Transfer};
    use crate::host::NodeName;

    const ID: DomainId = DomainId(3);
    const NOW: UnixTime = UnixTime(100);

    fn transfer() -> Transfer {
        Transfer {
            epoch: Epoch(5_000),
            source: NodeName::new("n1").unwrap(),
            target: NodeName::new("n2").unwrap(),
        }
    }

    fn sending() -> Phase {
        Phase::Source(SourcePhase::Sending { transfer: transfer(), offer: None })
    }

    fn settling() -> Phase {
        Phase::Source(SourcePhase::Settling { transfer: transfer(), offer: None })
    }

    fn stands(presence: Presence, phase: Phase) -> PeerSays {
        PeerSays::Stands { presence, phase, ended: None }
    }

    fn none_there(epoch: u64, ran: Ran) -> PeerSays {
        let ended = Some(Ended { epoch: Epoch(epoch), ran });
        PeerSays::Stands { presence: Presence::Absent, phase: Phase::Idle, ended }
    }

    #[test]
    fn p7_a_guest_that_was_paused_in_mid_stream_is_still_here_and_after_ready_it_may_not_be() {
        let paused = Presence::Paused(ID);
        assert_eq!(at_source(&sending(), &paused, None, NOW), AtSource::StillHere);
        let settling = Phase::Source(SourcePhase::Settling { transfer: transfer(), offer: None });
        assert!(matches!(at_source(&settling, &paused, None, NOW), AtSource::Wait(_)));
    }

    #[test]
    fn a_frozen_copy_that_was_never_given_away_is_resumed_without_asking() {
        assert!(matches!(at_source(&sending(), &Presence::Frozen(ID), None, NOW), AtSource::Resume(_)));
        assert_eq!(at_source(&settling(), &Presence::Frozen(ID), None, NOW), AtSource::AskTarget);
        assert_eq!(at_source(&settling(), &Presence::MigratedAway(ID), None, NOW), AtSource::AskTarget);
    }

    #[test]
    fn exactly_one_copy_is_kept_and_the_targets_word_chooses_it() {
        for here in [Presence::Frozen(ID), Presence::MigratedAway(ID)] {
            let decide = |says: &PeerSays| at_source(&settling(), &here, Some(says), NOW);
            let runs = stands(Presence::Running(ID), Phase::Idle);
            assert!(matches!(decide(&runs), AtSource::Destroy(_)));
            let arriving =
                stands(Presence::Running(ID), Phase::Target(TargetPhase::Arriving { transfer: transfer() }));
            assert!(matches!(decide(&arriving), AtSource::Destroy(_)));
            assert!(matches!(decide(&none_there(5_000, Ran::Never)), AtSource::Resume(_)));
        }
    }

    #[test]
    fn a_stale_image_is_never_resumed_on_disks_that_may_have_changed() {
        for says in [
            none_there(5_000, Ran::Perhaps),
            none_there(4_999, Ran::Never),
            stands(Presence::Absent, Phase::Idle),
            none_there(4_999, Ran::Certainly),
        ] {
            let decision = at_source(&settling(), &Presence::MigratedAway(ID), Some(&says), NOW);
            assert!(matches!(decision, AtSource::Wait(_)), "{says:?}: {decision:?}");
        }
    }

    #[test]
    fn a_copy_whose_domain_went_on_elsewhere_or_was_lost_there_is_never_resumed() {
        for says in [
            none_there(5_000, Ran::Certainly),
            PeerSays::Fenced(UnixTime(6)),
            PeerSays::Restarted { presence: Presence::Absent, phase: Phase::Idle },
            PeerSays::Restarted { presence: Presence::Running(ID), phase: Phase::Idle },
        ] {
            let decision = at_source(&settling(), &Presence::MigratedAway(ID), Some(&says), NOW);
            assert!(matches!(decision, AtSource::Destroy(_)), "{says:?}: {decision:?}");
        }
    }

    #[test]
    fn a_copy_is_not_resumed_long_after_its_offer_has_ended() {
        let offer = Offer {
            domain: DomainName::new("x0").unwrap(),
            source: NodeName::new("n1").unwrap(),
            epoch: Epoch(5_000),
            made_at: UnixTime(5),
            deadline: UnixTime(305),
        };
        let settling = Phase::Source(SourcePhase::Settling { transfer: transfer(), offer: Some(offer) });
        let never = none_there(5_000, Ran::Never);
        let at = |now| at_source(&settling, &Presence::MigratedAway(ID), Some(&never), UnixTime(now));
        assert!(matches!(at(365), AtSource::Resume(_)));
        assert!(matches!(at(366), AtSource::Wait(_)));
    }

    #[test]
    fn no_clear_word_no_action() {
        for says in [
            PeerSays::Silent("cut".into()),
            PeerSays::Fenced(UnixTime(5)),
            stands(Presence::Unknown("xl hangs".into()), Phase::Idle),
            stands(Presence::Incoming(ID), Phase::Target(TargetPhase::Arriving { transfer: transfer() })),
            stands(Presence::Paused(ID), Phase::Target(TargetPhase::Arriving { transfer: transfer() })),
            stands(Presence::Absent, Phase::Target(TargetPhase::Receiving { transfer: transfer() })),
            stands(Presence::Absent, Phase::Target(TargetPhase::Arriving { transfer: transfer() })),
        ] {
            let decision = at_source(&settling(), &Presence::MigratedAway(ID), Some(&says), NOW);
            assert!(matches!(decision, AtSource::Wait(_)), "{says:?}: {decision:?}");
        }
    }

    #[test]
    fn a_target_finishes_only_what_was_given_to_it() {
        let receiving = Phase::Target(TargetPhase::Receiving { transfer: transfer() });
        let arriving = Phase::Target(TargetPhase::Arriving { transfer: transfer() });
        assert!(matches!(at_target(&receiving, &Presence::Incoming(ID)), AtTarget::DestroyIncoming(_)));
        assert!(matches!(at_target(&receiving, &Presence::Paused(ID)), AtTarget::Wait(_)));
        assert!(matches!(at_target(&arriving, &Presence::Incoming(ID)), AtTarget::Finish(_)));
        assert!(matches!(at_target(&arriving, &Presence::Paused(ID)), AtTarget::Finish(_)));
        assert_eq!(at_target(&arriving, &Presence::Absent), AtTarget::Nothing);
        assert!(matches!(at_target(&Phase::Idle, &Presence::Incoming(ID)), AtTarget::Wait(_)));
    }
}
