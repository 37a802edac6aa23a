//! The one function that decides: [`step`]. Pure, exhaustive over phases and events, and the same code that the model
//! of the tests runs. It touches nothing; the caller puts the new phase on disk and then carries out the effects, in
//! order. A crash between the two leaves a phase from which the effects can be found again.

use super::event::{Effect, Event, OutOfOrder, ReceiverEnd, SenderEnd};
use super::phase::{Offer, Phase, Transfer};

const BUSY: &str = "a transfer of this domain is under way; wait for its end";
const UNSETTLED: &str = "it is not known whether the target runs the domain; look at both ends";
const NOT_SOURCE: &str = "this node did not offer the domain";
const NOT_TARGET: &str = "this node is not receiving the domain";
const WITHDRAWN: &str = "the offer was withdrawn; the domain is being shut down here";
const STALE: &str = "the claim names another offer than the one that stands; read the ledger again";
const NOT_YET: &str = "the offer is not recorded yet; ask again";
const OFFERED: &str = "the domain is offered by this node; reclaim it first";

/// The phase after `event`, and what must be done about it.
///
/// # Errors
/// [`OutOfOrder`] if the event cannot be in this phase. The phase stands then, and nothing may be done.
pub fn step(phase: Phase, event: Event) -> Result<(Phase, Vec<Effect>), OutOfOrder> {
    let refuse = |hint| Err(OutOfOrder::new(&phase, &event, hint));
    match &event {
        Event::OfferMade(offer) => match &phase {
            // Offering: an earlier stop was killed before it could return; this one begins again.
            Phase::Idle | Phase::Offering { .. } | Phase::Left { .. } | Phase::Arrived { .. } => {
                Ok((Phase::Offering { offer: offer.clone() }, vec![Effect::WriteLedger(offer.clone())]))
            }
            Phase::Offered { .. } => refuse(OFFERED),
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } | Phase::Receiving { .. } | Phase::Claiming { .. } => refuse(BUSY),
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
        },
        Event::OfferRecorded(_) => match phase {
            Phase::Offering { offer } => {
                let effects = vec![Effect::ArmDeadline(offer.clone()), Effect::ReportStopped];
                Ok((Phase::Offered { offer }, effects))
            }
            Phase::Idle
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Sending { .. }
            | Phase::Settling { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse(NOT_SOURCE),
        },
        Event::OfferNotRecorded => match phase {
            Phase::Offering { offer } => Ok(withdraw(offer)),
            Phase::Idle
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Sending { .. }
            | Phase::Settling { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse(NOT_SOURCE),
        },
        Event::OfferExpired => match phase {
            Phase::Offered { offer } | Phase::Withdrawing { offer } => Ok(withdraw(offer)),
            // A transfer has a deadline of its own; the keeper asks again when it has ended.
            Phase::Sending { .. } | Phase::Settling { .. } => Ok((phase, vec![])),
            // Offering: the stop that was killed never reported success, so the domain is still the cluster's.
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => Ok((phase, vec![])),
        },
        // As at the deadline, and a transfer that is under way proves the opposite.
        Event::Deserted(_) => match phase {
            Phase::Offered { offer } | Phase::Withdrawing { offer } => Ok(withdraw(offer)),
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Sending { .. }
            | Phase::Settling { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => Ok((phase, vec![])),
        },
        Event::Yielded(transfer) => match phase {
            Phase::Offered { ref offer } | Phase::Withdrawing { ref offer }
                if offer.epoch != transfer.epoch =>
            {
                refuse(STALE)
            }
            Phase::Offered { offer } => Ok(withdraw(offer)),
            // Asked once more, since the first answer was lost: its end has begun.
            Phase::Withdrawing { .. } => Ok((phase, vec![])),
            Phase::Offering { .. } => refuse(NOT_YET),
            Phase::Sending { .. } => refuse(BUSY),
            Phase::Settling { .. } => refuse(UNSETTLED),
            Phase::Idle
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse(NOT_SOURCE),
        },
        Event::Reclaimed => match phase {
            Phase::Offered { offer } | Phase::Offering { offer } => {
                Ok((Phase::Idle, vec![Effect::EraseLedger(offer.epoch), Effect::ReportRunning]))
            }
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } => refuse(BUSY),
            Phase::Settling { .. } => refuse(UNSETTLED),
            Phase::Idle
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse(NOT_SOURCE),
        },
        Event::StopOrdered => match phase {
            Phase::Offering { offer } | Phase::Offered { offer } | Phase::Withdrawing { offer } => {
                Ok(withdraw(offer))
            }
            Phase::Idle | Phase::Claiming { .. } | Phase::Arrived { .. } => {
                Ok((Phase::Idle, vec![Effect::ShutDown]))
            }
            Phase::Left { .. } => refuse("the copy that was sent away is not accounted for yet"),
            Phase::Sending { .. } | Phase::Receiving { .. } => refuse(BUSY),
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
        },
        Event::Claimed(transfer) => match phase {
            Phase::Offered { ref offer } if offer.epoch != transfer.epoch => refuse(STALE),
            Phase::Offered { offer } => Ok(send(transfer, Some(offer))),
            Phase::Offering { .. } => refuse(NOT_YET),
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } => refuse(BUSY),
            Phase::Settling { .. } => refuse(UNSETTLED),
            Phase::Idle
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse(NOT_SOURCE),
        },
        Event::Pushed(transfer, _) => match phase {
            Phase::Idle | Phase::Left { .. } | Phase::Arrived { .. } => Ok(send(transfer, None)),
            Phase::Offering { .. } | Phase::Offered { .. } => refuse(OFFERED),
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } | Phase::Claiming { .. } | Phase::Receiving { .. } => refuse(BUSY),
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
        },
        Event::ReadySeen => match phase {
            Phase::Sending { transfer, offer } => {
                Ok((Phase::Settling { transfer, offer }, vec![Effect::ForwardReady]))
            }
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Settling { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse(
                "no stream of this node is on record; xl does not get to see *ready*, and keeps the domain",
            ),
        },
        Event::SenderEnded(end) => match phase {
            Phase::Sending { transfer, offer } | Phase::Settling { transfer, offer }
                if *end == SenderEnd::Moved =>
            {
                Ok(moved(transfer, offer))
            }
            Phase::Sending { transfer, offer } | Phase::Settling { transfer, offer }
                if *end == SenderEnd::StillHere =>
            {
                Ok(match offer {
                    // The offer stands: the target may try again.
                    Some(offer) => (Phase::Offered { offer }, vec![]),
                    None => (Phase::Idle, vec![Effect::EraseLedger(transfer.epoch)]),
                })
            }
            Phase::Sending { .. } | Phase::Settling { .. } => Ok((phase, vec![])),
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse("no stream of this node is on record"),
        },
        Event::DomainGone(_) => match phase {
            Phase::Idle | Phase::Arrived { .. } => Ok((Phase::Idle, vec![Effect::ReportStopped])),
            Phase::Offering { offer } | Phase::Offered { offer } | Phase::Withdrawing { offer } => {
                Ok((Phase::Idle, vec![Effect::EraseLedger(offer.epoch), Effect::ReportStopped]))
            }
            // The stream had not reached GO, so no copy can run over there.
            Phase::Sending { transfer, .. } => {
                Ok((Phase::Idle, vec![Effect::EraseLedger(transfer.epoch), Effect::ReportStopped]))
            }
            Phase::Claiming { .. } | Phase::Receiving { .. } => {
                Ok((Phase::Idle, vec![Effect::ReportStopped]))
            }
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
            Phase::Left { .. } => refuse("the copy that was sent away is not accounted for yet"),
        },
        Event::LeftAccounted => match phase {
            // The ledger keeps the push until somebody has heard its target: `Confirmed` there, or who accounts for it here.
            Phase::Left { .. } => Ok((Phase::Idle, vec![])),
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Sending { .. }
            | Phase::Settling { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse("nothing was sent away"),
        },
        Event::OfferFound(offer) => match phase {
            Phase::Idle | Phase::Left { .. } | Phase::Claiming { .. } | Phase::Arrived { .. } => {
                Ok((Phase::Claiming { offer: offer.clone() }, vec![Effect::Claim(offer.clone())]))
            }
            Phase::Offering { .. } | Phase::Offered { .. } => refuse(OFFERED),
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } | Phase::Receiving { .. } => refuse(BUSY),
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
        },
        Event::StreamOpened(transfer) => match phase {
            Phase::Claiming { ref offer } if offer.epoch != transfer.epoch => refuse(STALE),
            Phase::Idle | Phase::Left { .. } | Phase::Claiming { .. } | Phase::Arrived { .. } => {
                Ok((Phase::Receiving { transfer: transfer.clone() }, vec![Effect::Receive(transfer.clone())]))
            }
            Phase::Offering { .. } | Phase::Offered { .. } => refuse(OFFERED),
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } | Phase::Receiving { .. } => refuse(BUSY),
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
        },
        Event::GoArrived(quiet) => match phase {
            Phase::Receiving { transfer } => {
                Ok((Phase::Arriving { transfer }, vec![Effect::DeliverGo(quiet.clone())]))
            }
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Sending { .. }
            | Phase::Settling { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => refuse(NOT_TARGET),
        },
        Event::ReceiverEnded(end) => match phase {
            Phase::Receiving { transfer } | Phase::Arriving { transfer } if *end == ReceiverEnd::Running => {
                Ok((Phase::Arrived { transfer }, vec![]))
            }
            Phase::Receiving { .. } | Phase::Arriving { .. } if *end == ReceiverEnd::Nothing => {
                Ok((Phase::Idle, vec![]))
            }
            Phase::Receiving { .. } | Phase::Arriving { .. } => Ok((phase, vec![])),
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Sending { .. }
            | Phase::Settling { .. }
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Arrived { .. } => refuse(NOT_TARGET),
        },
        Event::Confirmed => match phase {
            Phase::Arrived { transfer } => {
                Ok((Phase::Idle, vec![Effect::EraseLedger(transfer.epoch), Effect::ReportRunning]))
            }
            // Left: it came back by a way that this node did not record (by hand, say); it runs here, so it has left no more.
            Phase::Idle | Phase::Left { .. } | Phase::Claiming { .. } => {
                Ok((Phase::Idle, vec![Effect::ReportRunning]))
            }
            Phase::Offering { .. } | Phase::Offered { .. } => refuse(OFFERED),
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } | Phase::Receiving { .. } => refuse(BUSY),
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
        },
        Event::BootProven(nobody) => match phase {
            Phase::Claiming { offer } => {
                Ok((Phase::Idle, vec![Effect::EraseLedger(offer.epoch), Effect::Boot(nobody.clone())]))
            }
            Phase::Idle | Phase::Left { .. } | Phase::Arrived { .. } => {
                Ok((Phase::Idle, vec![Effect::Boot(nobody.clone())]))
            }
            Phase::Offering { .. } | Phase::Offered { .. } => refuse(OFFERED),
            Phase::Withdrawing { .. } => refuse(WITHDRAWN),
            Phase::Sending { .. } | Phase::Receiving { .. } => refuse(BUSY),
            Phase::Settling { .. } | Phase::Arriving { .. } => refuse(UNSETTLED),
        },
    }
}

/// The ledger keeps the offer until the domain is gone (`DomainGone`): as long as the guest runs, a start elsewhere must
/// find out that it has to ask here.
fn withdraw(offer: Offer) -> (Phase, Vec<Effect>) {
    (Phase::Withdrawing { offer }, vec![Effect::ShutDown])
}

fn send(transfer: &Transfer, offer: Option<Offer>) -> (Phase, Vec<Effect>) {
    (Phase::Sending { transfer: transfer.clone(), offer }, vec![Effect::Send(transfer.clone())])
}

/// A claimed domain is the claimant's, who reports it; a pushed one is remembered until it has been accounted for.
fn moved(transfer: Transfer, offer: Option<Offer>) -> (Phase, Vec<Effect>) {
    match offer {
        Some(offer) => (Phase::Idle, vec![Effect::EraseLedger(offer.epoch)]),
        None => (Phase::Left { transfer }, vec![]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::domain::{DomainName, Presence};
    use crate::handoff::evidence::{
        Absence, Inquiry, LedgerSays, NobodyElse, NobodyToFetch, Outlook, Recorded, SourceQuiet,
    };
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

    fn go_arrived() -> Event {
        Event::GoArrived(SourceQuiet::observe(crate::transfer::message::GO).unwrap())
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
            Phase::Offering { offer: offer.clone() },
            Phase::Offered { offer: offer.clone() },
            Phase::Withdrawing { offer: offer.clone() },
            Phase::Sending { transfer: transfer.clone(), offer: Some(offer.clone()) },
            Phase::Sending { transfer: transfer.clone(), offer: None },
            Phase::Settling { transfer: transfer.clone(), offer: Some(offer.clone()) },
            Phase::Settling { transfer: transfer.clone(), offer: None },
            Phase::Left { transfer: transfer.clone() },
            Phase::Claiming { offer },
            Phase::Receiving { transfer: transfer.clone() },
            Phase::Arriving { transfer: transfer.clone() },
            Phase::Arrived { transfer },
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
            Event::ReadySeen,
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
        let (source, effects) = walk(
            Phase::Idle,
            [Event::OfferMade(offer()), recorded(), Event::Claimed(transfer(7)), Event::ReadySeen],
        );
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
            assert_eq!(granted, matches!(phase, Phase::Offered { .. }), "{phase}");
        }
        let stale = step(Phase::Offered { offer: offer() }, Event::Claimed(transfer(6))).unwrap_err();
        assert_eq!(stale.hint, STALE);
    }

    #[test]
    fn after_ready_the_source_never_takes_the_domain_back_on_its_own_word() {
        let settling = Phase::Settling { transfer: transfer(7), offer: Some(offer()) };
        for event in [Event::Reclaimed, Event::StopOrdered, gone(), proven(), Event::Claimed(transfer(7))] {
            let what = event.name();
            assert!(step(settling.clone(), event).is_err(), "{what} is accepted after ready");
        }
        let (phase, effects) = step(settling.clone(), Event::SenderEnded(SenderEnd::Undecided)).unwrap();
        assert_eq!((phase, effects), (settling, vec![]));
    }

    #[test]
    fn an_expired_offer_is_withdrawn_and_shut_down_but_never_under_a_running_stream() {
        let (phase, effects) = step(Phase::Offered { offer: offer() }, Event::OfferExpired).unwrap();
        assert!(matches!(phase, Phase::Withdrawing { .. }));
        assert_eq!(effects, [Effect::ShutDown], "the ledger shows it for as long as the guest runs");
        let sending = Phase::Sending { transfer: transfer(7), offer: Some(offer()) };
        assert_eq!(step(sending.clone(), Event::OfferExpired).unwrap(), (sending, vec![]));
    }

    #[test]
    fn p7_an_offer_is_yielded_under_its_own_epoch_and_never_while_a_transfer_is_under_way_or_unsettled() {
        for phase in every_phase() {
            let yielded = step(phase.clone(), Event::Yielded(transfer(7)));
            if let Phase::Offered { offer } = phase {
                assert_eq!(yielded, Ok((Phase::Withdrawing { offer }, vec![Effect::ShutDown])));
            } else if let Phase::Withdrawing { .. } = phase {
                assert_eq!(yielded, Ok((phase, vec![])));
            } else {
                assert!(yielded.is_err(), "{phase} yields");
            }
        }
        for phase in [Phase::Offered { offer: offer() }, Phase::Withdrawing { offer: offer() }] {
            assert_eq!(step(phase, Event::Yielded(transfer(6))).unwrap_err().hint, STALE);
        }
    }

    #[test]
    fn p5_an_offer_that_nobody_can_fetch_ends_unless_somebody_is_fetching_it() {
        let (phase, effects) = step(Phase::Offered { offer: offer() }, deserted()).unwrap();
        assert_eq!((phase.name(), effects), ("withdrawing", vec![Effect::ShutDown]));
        for phase in every_phase().into_iter().filter(Phase::is_in_transfer) {
            assert_eq!(step(phase.clone(), deserted()), Ok((phase, vec![])));
        }
    }

    #[test]
    fn a_broken_stream_leaves_the_offer_standing_for_a_second_try() {
        let sending = Phase::Sending { transfer: transfer(7), offer: Some(offer()) };
        let (phase, _) = walk(sending, [Event::SenderEnded(SenderEnd::StillHere)]);
        assert_eq!(phase, Phase::Offered { offer: offer() });
    }

    #[test]
    fn a_copy_that_was_pushed_away_is_remembered_until_accounted_for() {
        let (phase, _) = walk(
            Phase::Idle,
            [Event::Pushed(transfer(9), read_back()), Event::ReadySeen, Event::SenderEnded(SenderEnd::Moved)],
        );
        assert!(matches!(phase, Phase::Left { .. }));
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
