//! The one function that decides: [`step`]. Pure, exhaustive over phases and events, and the same code that
//! the model of the tests runs. It touches nothing; the caller puts the new phase on disk and then carries
//! out the effects, in order. A crash between the two leaves a phase from which the effects can be found
//! again.

use super::event::{Effect, Event, OutOfOrder, ReceiverEnd, SenderEnd};
use super::evidence::{NobodyElse, SourceQuiet};
use super::phase::{Offer, Phase, SourcePhase, TargetPhase, Transfer};

const BUSY: &str = "a transfer of this domain is under way; wait for its end";
const UNSETTLED: &str = "it is not known whether the target runs the domain; look at both ends";
const NOT_SOURCE: &str = "this node did not offer the domain";
const NOT_TARGET: &str = "this node is not receiving the domain";
const WITHDRAWN: &str = "the offer was withdrawn; the domain is being shut down here";
const STALE: &str = "the claim names another offer than the one that stands; read the ledger again";
const NOT_YET: &str = "the offer is not recorded yet; ask again";
const OFFERED: &str = "the domain is offered by this node; reclaim it first";
const SENT_AWAY: &str = "the copy that was sent away is not accounted for yet";
const NO_STREAM: &str = "no stream of this node is on record";
const KEPT: &str =
    "no stream of this node is on record; xl does not get to see *ready*, and keeps the domain";

/// The phase that follows with what must be done about it; or why the event cannot be.
type Next = Result<(Phase, Vec<Effect>), &'static str>;

/// The phase after `event`, and what must be done about it.
///
/// # Errors
/// [`OutOfOrder`] if the event cannot be in this phase. The phase stands then, and nothing may be done.
pub fn step(phase: Phase, event: Event) -> Result<(Phase, Vec<Effect>), OutOfOrder> {
    let next = match &event {
        Event::OfferMade(offer) => offer_made(&phase, offer),
        Event::OfferRecorded(_) => offer_recorded(&phase),
        Event::OfferNotRecorded => offer_not_recorded(&phase),
        Event::OfferExpired | Event::Deserted(_) => offer_over(&phase),
        Event::Yielded(transfer) => yielded(&phase, transfer),
        Event::Reclaimed => reclaimed(&phase),
        Event::StopOrdered => stop_ordered(&phase),
        Event::Claimed(transfer) => claimed(&phase, transfer),
        Event::Pushed(transfer, _) => pushed(&phase, transfer),
        Event::ReadySeen(_) => ready_seen(&phase),
        Event::SenderEnded(end) => sender_ended(&phase, *end),
        Event::DomainGone(_) => domain_gone(&phase),
        Event::LeftAccounted => left_accounted(&phase),
        Event::OfferFound(offer) => offer_found(&phase, offer),
        Event::StreamOpened(transfer) => stream_opened(&phase, transfer),
        Event::GoArrived(quiet) => go_arrived(&phase, quiet),
        Event::ReceiverEnded(end) => receiver_ended(&phase, *end),
        Event::Confirmed => confirmed(&phase),
        Event::BootProven(nobody) => boot_proven(&phase, nobody),
    };
    next.map_err(|hint| OutOfOrder::new(&phase, &event, hint))
}

/// What this node, as source, has to finish before anything else can begin with the domain here.
fn held(source: &SourcePhase) -> &'static str {
    match source {
        SourcePhase::Offering { .. } | SourcePhase::Offered { .. } => OFFERED,
        SourcePhase::Withdrawing { .. } => WITHDRAWN,
        SourcePhase::Sending { .. } => BUSY,
        SourcePhase::Settling { .. } => UNSETTLED,
        SourcePhase::Left { .. } => SENT_AWAY,
    }
}

/// The same as target.
fn coming(target: &TargetPhase) -> &'static str {
    match target {
        TargetPhase::Claiming { .. } | TargetPhase::Receiving { .. } | TargetPhase::Arrived { .. } => BUSY,
        TargetPhase::Arriving { .. } => UNSETTLED,
    }
}

fn offer_made(phase: &Phase, offer: &Offer) -> Next {
    match phase {
        // Offering: an earlier stop was killed before it could return; this one begins again.
        Phase::Idle
        | Phase::Source(SourcePhase::Offering { .. } | SourcePhase::Left { .. })
        | Phase::Target(TargetPhase::Arrived { .. }) => {
            let offering = SourcePhase::Offering { offer: offer.clone() };
            Ok((offering.into(), vec![Effect::WriteLedger(offer.clone())]))
        }
        Phase::Source(source) => Err(held(source)),
        Phase::Target(target) => Err(coming(target)),
    }
}

/// The offer that a stop is still writing.
fn being_written(phase: &Phase) -> Result<&Offer, &'static str> {
    match phase {
        Phase::Source(SourcePhase::Offering { offer }) => Ok(offer),
        Phase::Source(
            SourcePhase::Offered { .. }
            | SourcePhase::Withdrawing { .. }
            | SourcePhase::Sending { .. }
            | SourcePhase::Settling { .. }
            | SourcePhase::Left { .. },
        )
        | Phase::Idle
        | Phase::Target(_) => Err(NOT_SOURCE),
    }
}

fn offer_recorded(phase: &Phase) -> Next {
    let offer = being_written(phase)?;
    let effects = vec![Effect::ArmDeadline(offer.clone()), Effect::ReportStopped];
    Ok((SourcePhase::Offered { offer: offer.clone() }.into(), effects))
}

fn offer_not_recorded(phase: &Phase) -> Next {
    being_written(phase).map(withdraw)
}

/// Its deadline has passed, or nobody is left who could fetch it.
fn offer_over(phase: &Phase) -> Next {
    match phase {
        Phase::Source(SourcePhase::Offered { offer } | SourcePhase::Withdrawing { offer }) => {
            Ok(withdraw(offer))
        }
        // Offering: the stop that was killed never reported success, so the domain is still the cluster's.
        // Sending, Settling: a transfer has a deadline of its own, and proves that somebody is left; the
        // keeper asks again when it has ended.
        Phase::Source(
            SourcePhase::Offering { .. }
            | SourcePhase::Sending { .. }
            | SourcePhase::Settling { .. }
            | SourcePhase::Left { .. },
        )
        | Phase::Idle
        | Phase::Target(_) => Ok((phase.clone(), vec![])),
    }
}

fn yielded(phase: &Phase, transfer: &Transfer) -> Next {
    match phase {
        Phase::Source(SourcePhase::Offered { offer } | SourcePhase::Withdrawing { offer })
            if offer.epoch != transfer.epoch =>
        {
            Err(STALE)
        }
        Phase::Source(SourcePhase::Offered { offer }) => Ok(withdraw(offer)),
        // Asked once more, since the first answer was lost: its end has begun.
        Phase::Source(SourcePhase::Withdrawing { .. }) => Ok((phase.clone(), vec![])),
        Phase::Source(SourcePhase::Offering { .. }) => Err(NOT_YET),
        Phase::Source(source @ (SourcePhase::Sending { .. } | SourcePhase::Settling { .. })) => {
            Err(held(source))
        }
        Phase::Source(SourcePhase::Left { .. }) | Phase::Idle | Phase::Target(_) => Err(NOT_SOURCE),
    }
}

fn reclaimed(phase: &Phase) -> Next {
    match phase {
        Phase::Source(SourcePhase::Offered { offer } | SourcePhase::Offering { offer }) => {
            Ok((Phase::Idle, vec![Effect::EraseLedger(offer.epoch), Effect::ReportRunning]))
        }
        Phase::Source(
            source @ (SourcePhase::Withdrawing { .. }
            | SourcePhase::Sending { .. }
            | SourcePhase::Settling { .. }),
        ) => Err(held(source)),
        Phase::Source(SourcePhase::Left { .. }) | Phase::Idle | Phase::Target(_) => Err(NOT_SOURCE),
    }
}

fn stop_ordered(phase: &Phase) -> Next {
    match phase {
        Phase::Source(
            SourcePhase::Offering { offer }
            | SourcePhase::Offered { offer }
            | SourcePhase::Withdrawing { offer },
        ) => Ok(withdraw(offer)),
        Phase::Idle | Phase::Target(TargetPhase::Claiming { .. } | TargetPhase::Arrived { .. }) => {
            Ok((Phase::Idle, vec![Effect::ShutDown]))
        }
        Phase::Source(source) => Err(held(source)),
        Phase::Target(target) => Err(coming(target)),
    }
}

fn claimed(phase: &Phase, transfer: &Transfer) -> Next {
    match phase {
        Phase::Source(SourcePhase::Offered { offer }) if offer.epoch != transfer.epoch => Err(STALE),
        Phase::Source(SourcePhase::Offered { offer }) => Ok(send(transfer, Some(offer.clone()))),
        Phase::Source(SourcePhase::Offering { .. }) => Err(NOT_YET),
        Phase::Source(
            source @ (SourcePhase::Withdrawing { .. }
            | SourcePhase::Sending { .. }
            | SourcePhase::Settling { .. }),
        ) => Err(held(source)),
        Phase::Source(SourcePhase::Left { .. }) | Phase::Idle | Phase::Target(_) => Err(NOT_SOURCE),
    }
}

fn pushed(phase: &Phase, transfer: &Transfer) -> Next {
    match phase {
        Phase::Idle
        | Phase::Source(SourcePhase::Left { .. })
        | Phase::Target(TargetPhase::Arrived { .. }) => Ok(send(transfer, None)),
        Phase::Source(source) => Err(held(source)),
        Phase::Target(target) => Err(coming(target)),
    }
}

fn ready_seen(phase: &Phase) -> Next {
    match phase {
        Phase::Source(SourcePhase::Sending { transfer, offer }) => {
            let settling = SourcePhase::Settling { transfer: transfer.clone(), offer: offer.clone() };
            Ok((settling.into(), vec![Effect::ForwardReady]))
        }
        Phase::Source(
            SourcePhase::Offering { .. }
            | SourcePhase::Offered { .. }
            | SourcePhase::Withdrawing { .. }
            | SourcePhase::Settling { .. }
            | SourcePhase::Left { .. },
        )
        | Phase::Idle
        | Phase::Target(_) => Err(KEPT),
    }
}

fn sender_ended(phase: &Phase, end: SenderEnd) -> Next {
    match phase {
        Phase::Source(
            SourcePhase::Sending { transfer, offer } | SourcePhase::Settling { transfer, offer },
        ) => Ok(match (end, offer) {
            (SenderEnd::Moved, offer) => moved(transfer, offer.as_ref()),
            // The offer stands: the target may try again.
            (SenderEnd::StillHere, Some(offer)) => {
                (SourcePhase::Offered { offer: offer.clone() }.into(), vec![])
            }
            (SenderEnd::StillHere, None) => (Phase::Idle, vec![Effect::EraseLedger(transfer.epoch)]),
            (SenderEnd::Undecided, _) => (phase.clone(), vec![]),
        }),
        Phase::Source(
            SourcePhase::Offering { .. }
            | SourcePhase::Offered { .. }
            | SourcePhase::Withdrawing { .. }
            | SourcePhase::Left { .. },
        )
        | Phase::Idle
        | Phase::Target(_) => Err(NO_STREAM),
    }
}

fn domain_gone(phase: &Phase) -> Next {
    match phase {
        Phase::Source(
            SourcePhase::Offering { offer }
            | SourcePhase::Offered { offer }
            | SourcePhase::Withdrawing { offer },
        ) => Ok((Phase::Idle, vec![Effect::EraseLedger(offer.epoch), Effect::ReportStopped])),
        // The stream had not reached GO, so no copy can run over there.
        Phase::Source(SourcePhase::Sending { transfer, .. }) => {
            Ok((Phase::Idle, vec![Effect::EraseLedger(transfer.epoch), Effect::ReportStopped]))
        }
        Phase::Idle
        | Phase::Target(
            TargetPhase::Claiming { .. } | TargetPhase::Receiving { .. } | TargetPhase::Arrived { .. },
        ) => Ok((Phase::Idle, vec![Effect::ReportStopped])),
        Phase::Source(source @ (SourcePhase::Settling { .. } | SourcePhase::Left { .. })) => {
            Err(held(source))
        }
        Phase::Target(target @ TargetPhase::Arriving { .. }) => Err(coming(target)),
    }
}

fn left_accounted(phase: &Phase) -> Next {
    match phase {
        // The ledger keeps the push until somebody has heard its target: `Confirmed` there, or who accounts
        // for it here.
        Phase::Source(SourcePhase::Left { .. }) => Ok((Phase::Idle, vec![])),
        Phase::Source(
            SourcePhase::Offering { .. }
            | SourcePhase::Offered { .. }
            | SourcePhase::Withdrawing { .. }
            | SourcePhase::Sending { .. }
            | SourcePhase::Settling { .. },
        )
        | Phase::Idle
        | Phase::Target(_) => Err("nothing was sent away"),
    }
}

fn offer_found(phase: &Phase, offer: &Offer) -> Next {
    match phase {
        Phase::Idle
        | Phase::Source(SourcePhase::Left { .. })
        | Phase::Target(TargetPhase::Claiming { .. } | TargetPhase::Arrived { .. }) => {
            let claiming = TargetPhase::Claiming { offer: offer.clone() };
            Ok((claiming.into(), vec![Effect::Claim(offer.clone())]))
        }
        Phase::Source(source) => Err(held(source)),
        Phase::Target(target) => Err(coming(target)),
    }
}

fn stream_opened(phase: &Phase, transfer: &Transfer) -> Next {
    match phase {
        Phase::Target(TargetPhase::Claiming { offer }) if offer.epoch != transfer.epoch => Err(STALE),
        Phase::Idle
        | Phase::Source(SourcePhase::Left { .. })
        | Phase::Target(TargetPhase::Claiming { .. } | TargetPhase::Arrived { .. }) => {
            let receiving = TargetPhase::Receiving { transfer: transfer.clone() };
            Ok((receiving.into(), vec![Effect::Receive(transfer.clone())]))
        }
        Phase::Source(source) => Err(held(source)),
        Phase::Target(target) => Err(coming(target)),
    }
}

fn go_arrived(phase: &Phase, quiet: &SourceQuiet) -> Next {
    match phase {
        Phase::Target(TargetPhase::Receiving { transfer }) => {
            let arriving = TargetPhase::Arriving { transfer: transfer.clone() };
            Ok((arriving.into(), vec![Effect::DeliverGo(quiet.clone())]))
        }
        Phase::Target(
            TargetPhase::Claiming { .. } | TargetPhase::Arriving { .. } | TargetPhase::Arrived { .. },
        )
        | Phase::Idle
        | Phase::Source(_) => Err(NOT_TARGET),
    }
}

fn receiver_ended(phase: &Phase, end: ReceiverEnd) -> Next {
    match phase {
        Phase::Target(TargetPhase::Receiving { transfer } | TargetPhase::Arriving { transfer }) => {
            Ok(match end {
                ReceiverEnd::Running => (TargetPhase::Arrived { transfer: transfer.clone() }.into(), vec![]),
                ReceiverEnd::Nothing => (Phase::Idle, vec![]),
                ReceiverEnd::Undecided => (phase.clone(), vec![]),
            })
        }
        Phase::Target(TargetPhase::Claiming { .. } | TargetPhase::Arrived { .. })
        | Phase::Idle
        | Phase::Source(_) => Err(NOT_TARGET),
    }
}

fn confirmed(phase: &Phase) -> Next {
    match phase {
        Phase::Target(TargetPhase::Arrived { transfer }) => {
            Ok((Phase::Idle, vec![Effect::EraseLedger(transfer.epoch), Effect::ReportRunning]))
        }
        // Left: it came back by a way that this node did not record (by hand, say); it runs here, so it has
        // left no more.
        Phase::Idle
        | Phase::Source(SourcePhase::Left { .. })
        | Phase::Target(TargetPhase::Claiming { .. }) => Ok((Phase::Idle, vec![Effect::ReportRunning])),
        Phase::Source(source) => Err(held(source)),
        Phase::Target(target) => Err(coming(target)),
    }
}

fn boot_proven(phase: &Phase, nobody: &NobodyElse) -> Next {
    match phase {
        Phase::Target(TargetPhase::Claiming { offer }) => {
            Ok((Phase::Idle, vec![Effect::EraseLedger(offer.epoch), Effect::Boot(nobody.clone())]))
        }
        Phase::Idle
        | Phase::Source(SourcePhase::Left { .. })
        | Phase::Target(TargetPhase::Arrived { .. }) => Ok((Phase::Idle, vec![Effect::Boot(nobody.clone())])),
        Phase::Source(source) => Err(held(source)),
        Phase::Target(target) => Err(coming(target)),
    }
}

/// The ledger keeps the offer until the domain is gone (`DomainGone`): as long as the guest runs, a start
/// elsewhere must find out that it has to ask here.
fn withdraw(offer: &Offer) -> (Phase, Vec<Effect>) {
    (SourcePhase::Withdrawing { offer: offer.clone() }.into(), vec![Effect::ShutDown])
}

fn send(transfer: &Transfer, offer: Option<Offer>) -> (Phase, Vec<Effect>) {
    (SourcePhase::Sending { transfer: transfer.clone(), offer }.into(), vec![Effect::Send(transfer.clone())])
}

/// A claimed domain is the claimant's, who reports it; a pushed one is remembered until it has been accounted
/// for.
fn moved(transfer: &Transfer, offer: Option<&Offer>) -> (Phase, Vec<Effect>) {
    match offer {
        Some(offer) => (Phase::Idle, vec![Effect::EraseLedger(offer.epoch)]),
        None => (SourcePhase::Left { transfer: transfer.clone() }.into(), vec![]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::domain::{DomainName, Presence};
    use crate::handoff::evidence::{
        Absence, Inquiry, NobodyElse, NobodyToFetch, Outlook, Recorded, SourceQuiet, Suspended,
    };
    use crate::handoff::ledger::LedgerSays;
    use crate::handoff::ledger::{Entries, Entry};
    use crate::handoff::phase::Epoch;
    use crate::host::NodeName;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn offer() -> Offer {
        Offer {
            domain: DomainName::new("x0").unwrap(),
            source: node("n1"),
            epoch: Epoch(7),
            made_at: UnixTime(100),
            deadline: UnixTime(400),
        }
    }

    fn transfer(epoch: u64) -> Transfer {
        Transfer { epoch: Epoch(epoch), source: node("n1"), target: node("n2") }
    }

    fn gone() -> Event {
        Event::DomainGone(Absence::observe(&Presence::Absent, || false).unwrap())
    }

    fn proven() -> Event {
        let inquiry = Inquiry {
            here: &node("n2"),
            ledger: &LedgerSays::NoCluster,
            longest_offer: std::time::Duration::ZERO,
            peers: &[],
            sent_to: None,
        };
        Event::BootProven(NobodyElse::conclude(&inquiry).unwrap())
    }

    fn deserted() -> Event {
        Event::Deserted(NobodyToFetch::conclude(&[Outlook::Nobody], &Outlook::NoManager).unwrap())
    }

    fn read_back() -> Recorded {
        let there = Entries { offers: vec![offer()], ..Entries::default() };
        Recorded::observe(&Entry::Offer(offer()), &there).unwrap()
    }

    fn recorded() -> Event {
        Event::OfferRecorded(read_back())
    }

    fn ready() -> Event {
        Event::ReadySeen(Suspended::by_hypervisor(true).unwrap())
    }

    fn go_arrived() -> Event {
        Event::GoArrived(SourceQuiet::observe(crate::handoff::handshake::GO).unwrap())
    }

    fn walk(start: Phase, events: impl IntoIterator<Item = Event>) -> (Phase, Vec<Effect>) {
        events.into_iter().fold((start, vec![]), |(phase, _), event| {
            let (before, what) = (phase.name(), event.name());
            step(phase, event).unwrap_or_else(|error| panic!("{before} + {what}: {error}"))
        })
    }

    /// Every phase that this protocol has, for the tests that go through all of them.
    fn every_phase() -> Vec<Phase> {
        let (offer, transfer) = (offer(), transfer(7));
        vec![
            Phase::Idle,
            Phase::Source(SourcePhase::Offering { offer: offer.clone() }),
            Phase::Source(SourcePhase::Offered { offer: offer.clone() }),
            Phase::Source(SourcePhase::Withdrawing { offer: offer.clone() }),
            Phase::Source(SourcePhase::Sending { transfer: transfer.clone(), offer: Some(offer.clone()) }),
            Phase::Source(SourcePhase::Sending { transfer: transfer.clone(), offer: None }),
            Phase::Source(SourcePhase::Settling { transfer: transfer.clone(), offer: Some(offer.clone()) }),
            Phase::Source(SourcePhase::Settling { transfer: transfer.clone(), offer: None }),
            Phase::Source(SourcePhase::Left { transfer: transfer.clone() }),
            Phase::Target(TargetPhase::Claiming { offer }),
            Phase::Target(TargetPhase::Receiving { transfer: transfer.clone() }),
            Phase::Target(TargetPhase::Arriving { transfer: transfer.clone() }),
            Phase::Target(TargetPhase::Arrived { transfer }),
        ]
    }

    fn every_event() -> Vec<Event> {
        vec![
            Event::OfferMade(offer()),
            recorded(),
            Event::OfferNotRecorded,
            Event::OfferExpired,
            deserted(),
            Event::Yielded(transfer(7)),
            Event::Yielded(transfer(6)),
            Event::Reclaimed,
            Event::StopOrdered,
            Event::Claimed(transfer(7)),
            Event::Claimed(transfer(6)),
            Event::Pushed(transfer(9), read_back()),
            ready(),
            Event::SenderEnded(SenderEnd::Moved),
            Event::SenderEnded(SenderEnd::StillHere),
            Event::SenderEnded(SenderEnd::Undecided),
            gone(),
            Event::LeftAccounted,
            Event::OfferFound(offer()),
            Event::StreamOpened(transfer(7)),
            go_arrived(),
            Event::ReceiverEnded(ReceiverEnd::Running),
            Event::ReceiverEnded(ReceiverEnd::Nothing),
            Event::ReceiverEnded(ReceiverEnd::Undecided),
            Event::Confirmed,
            proven(),
        ]
    }

    #[test]
    fn a_handoff_without_failures_goes_from_idle_to_idle_on_both_ends() {
        let (source, effects) =
            walk(Phase::Idle, [Event::OfferMade(offer()), recorded(), Event::Claimed(transfer(7)), ready()]);
        assert_eq!(effects, [Effect::ForwardReady]);
        let (source, effects) = walk(source, [Event::SenderEnded(SenderEnd::Moved)]);
        assert_eq!((source, effects), (Phase::Idle, vec![Effect::EraseLedger(Epoch(7))]));

        let (target, _) = walk(
            Phase::Idle,
            [
                Event::OfferFound(offer()),
                Event::StreamOpened(transfer(7)),
                go_arrived(),
                Event::ReceiverEnded(ReceiverEnd::Running),
            ],
        );
        let (target, effects) = walk(target, [Event::Confirmed]);
        assert_eq!(
            (target, effects),
            (Phase::Idle, vec![Effect::EraseLedger(Epoch(7)), Effect::ReportRunning])
        );
    }

    #[test]
    fn stop_reports_success_with_the_domain_running_only_after_the_offer_was_read_back() {
        for phase in every_phase() {
            for event in every_event() {
                let Ok((_, effects)) = step(phase.clone(), event.clone()) else { continue };
                if effects.contains(&Effect::ReportStopped) {
                    let lawful = matches!(event, Event::OfferRecorded(_) | Event::DomainGone(_));
                    assert!(lawful, "{phase} + {} reports stopped", event.name());
                }
            }
        }
    }

    #[test]
    fn nothing_boots_while_a_stream_or_an_offer_of_this_node_stands() {
        for phase in every_phase() {
            if phase.is_in_transfer() || phase.offer().is_some() {
                assert!(step(phase.clone(), proven()).is_err(), "{phase} boots");
            }
        }
    }

    #[test]
    fn a_claim_is_granted_once_and_only_under_its_own_epoch() {
        for phase in every_phase() {
            let granted = step(phase.clone(), Event::Claimed(transfer(7))).is_ok();
            assert_eq!(granted, matches!(phase, Phase::Source(SourcePhase::Offered { .. })), "{phase}");
        }
        let stale = step(Phase::Source(SourcePhase::Offered { offer: offer() }), Event::Claimed(transfer(6)))
            .unwrap_err();
        assert_eq!(stale.hint, STALE);
    }

    #[test]
    fn after_ready_the_source_never_takes_the_domain_back_on_its_own_word() {
        let settling = Phase::Source(SourcePhase::Settling { transfer: transfer(7), offer: Some(offer()) });
        for event in [Event::Reclaimed, Event::StopOrdered, gone(), proven(), Event::Claimed(transfer(7))] {
            let what = event.name();
            assert!(step(settling.clone(), event).is_err(), "{what} is accepted after ready");
        }
        let (phase, effects) = step(settling.clone(), Event::SenderEnded(SenderEnd::Undecided)).unwrap();
        assert_eq!((phase, effects), (settling, vec![]));
    }

    #[test]
    fn an_expired_offer_is_withdrawn_and_shut_down_but_never_under_a_running_stream() {
        let (phase, effects) =
            step(Phase::Source(SourcePhase::Offered { offer: offer() }), Event::OfferExpired).unwrap();
        assert!(matches!(phase, Phase::Source(SourcePhase::Withdrawing { .. })));
        assert_eq!(effects, [Effect::ShutDown], "the ledger shows it for as long as the guest runs");
        let sending = Phase::Source(SourcePhase::Sending { transfer: transfer(7), offer: Some(offer()) });
        assert_eq!(step(sending.clone(), Event::OfferExpired).unwrap(), (sending, vec![]));
    }

    #[test]
    fn p7_an_offer_is_yielded_under_its_own_epoch_and_never_while_a_transfer_is_under_way_or_unsettled() {
        for phase in every_phase() {
            let yielded = step(phase.clone(), Event::Yielded(transfer(7)));
            if let Phase::Source(SourcePhase::Offered { offer }) = phase {
                assert_eq!(
                    yielded,
                    Ok((Phase::Source(SourcePhase::Withdrawing { offer }), vec![Effect::ShutDown]))
                );
            } else if let Phase::Source(SourcePhase::Withdrawing { .. }) = phase {
                assert_eq!(yielded, Ok((phase, vec![])));
            } else {
                assert!(yielded.is_err(), "{phase} yields");
            }
        }
        for phase in [
            Phase::Source(SourcePhase::Offered { offer: offer() }),
            Phase::Source(SourcePhase::Withdrawing { offer: offer() }),
        ] {
            assert_eq!(step(phase, Event::Yielded(transfer(6))).unwrap_err().hint, STALE);
        }
    }

    #[test]
    fn p5_an_offer_that_nobody_can_fetch_ends_unless_somebody_is_fetching_it() {
        let (phase, effects) =
            step(Phase::Source(SourcePhase::Offered { offer: offer() }), deserted()).unwrap();
        assert_eq!((phase.name(), effects), ("withdrawing", vec![Effect::ShutDown]));
        for phase in every_phase().into_iter().filter(Phase::is_in_transfer) {
            assert_eq!(step(phase.clone(), deserted()), Ok((phase, vec![])));
        }
    }

    #[test]
    fn a_broken_stream_leaves_the_offer_standing_for_a_second_try() {
        let sending = Phase::Source(SourcePhase::Sending { transfer: transfer(7), offer: Some(offer()) });
        let (phase, _) = walk(sending, [Event::SenderEnded(SenderEnd::StillHere)]);
        assert_eq!(phase, Phase::Source(SourcePhase::Offered { offer: offer() }));
    }

    #[test]
    fn a_copy_that_was_pushed_away_is_remembered_until_accounted_for() {
        let (phase, _) = walk(
            Phase::Idle,
            [Event::Pushed(transfer(9), read_back()), ready(), Event::SenderEnded(SenderEnd::Moved)],
        );
        assert!(matches!(phase, Phase::Source(SourcePhase::Left { .. })));
        assert!(step(phase.clone(), gone()).is_err());
        assert_eq!(step(phase, Event::LeftAccounted).unwrap().0, Phase::Idle);
    }

    #[test]
    fn an_event_out_of_order_is_an_error_with_a_next_step() {
        for phase in every_phase() {
            for event in every_event() {
                if let Err(error) = step(phase.clone(), event) {
                    assert!(!error.hint.is_empty());
                    assert_eq!(error.phase, phase.name());
                }
            }
        }
    }
}
