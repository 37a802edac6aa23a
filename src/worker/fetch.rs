//! `xen-handoff fetch`: the target's worker, for `start`.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Instant;

use super::order::{Order, Outcome, agreed, answer_by, begin, broken, failed, in_time, seconds, work};
use super::queue::far_slot;
use crate::at_once::both;
use crate::clock::Deadline;
use crate::descriptor::adopt;
use crate::domain::Presence;
use crate::handoff::event::ReceiverEnd;
use crate::here::Here;
use crate::moves::journal::Why;
use crate::moves::progress::Direction;
use crate::toolstack::LIST_LIMIT;
use crate::transfer::{self, Stream};
use crate::wire::message::{ALIVE, Request};

/// `xen-handoff fetch`: claims a domain and receives it.
///
/// # Errors
/// If stdout cannot be written to; the transfer is over by then.
pub fn fetch(here: &Here, order: &Order, lock: RawFd, slot: Option<RawFd>) -> anyhow::Result<()> {
    work(order, |deadline| {
        let lock = adopt(lock).map_err(failed)?;
        let slot = slot.map(adopt).transpose().map_err(failed)?;
        fetched(here, order, (&lock, slot.as_ref()), deadline)
    })
}

/// The work. The slot is only held.
fn fetched(
    here: &Here,
    order: &Order,
    (lock, _slot): (&OwnedFd, Option<&OwnedFd>),
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    // A claimant has no copy: that is what a claim says. Nobody else can get one here while the lock is held.
    // The connection is made meanwhile; nothing is asked over it before this is known.
    let dial = here.dial().as_ref();
    let (connection, presence) = both(
        || dial.dial(&order.peer, answer_by(order)),
        || here.toolstack().presence(&order.domain, LIST_LIMIT),
    );
    if presence != Presence::Absent {
        return Err(failed(format!("it is {presence} on this node already")));
    }
    let mut connection = connection
        .ok_or_else(|| failed("connecting was broken off by an error of this program"))?
        .map_err(failed)?;
    far_slot(here, order, &mut connection, Direction::Outgoing, deadline)?;
    let terms = agreed(order.terms, &order.domain, &connection, true);
    let request = Request::Claim {
        domain: order.domain.clone(),
        transfer: order.transfer.clone(),
        back: order.back.clone(),
        ended: here.store.last_end(&order.domain),
        limit: seconds(deadline),
        terms,
    };
    let says_alive = connection.can(ALIVE);
    let (from_peer, to_peer, _session) = begin(order, connection, &request)?;
    let (domain, transfer) = (&order.domain, &order.transfer);
    let lock = lock.as_fd();
    let why = Why::Handoff;
    let stream =
        Stream { here, domain, why, transfer, from_peer, to_peer, lock, deadline, terms, says_alive };
    let began = Instant::now();
    let received = transfer::receive::receive(stream).map_err(broken)?;
    Ok(match received.end {
        ReceiverEnd::Running => Outcome::Moved,
        ReceiverEnd::Nothing => Outcome::Broken { reason: in_time(terms, began) + &received.said },
        ReceiverEnd::Undecided => Outcome::Undecided { reason: received.said },
    })
}

#[cfg(test)]
mod tests {
    use super::super::order::of_test as order;
    use super::*;
    use crate::domain::RunState;
    use crate::handoff::{Ended, Phase, Ran};
    use crate::here::fake::{EPOCH, World, from_n2, seen, x0};
    use crate::wire::message::Answer;
    use std::time::Duration;

    /// What comes of it; the lock is this test's.
    fn fetches(world: &World) -> Outcome {
        let lock = OwnedFd::from(world.here.store.begin_transfer(&x0()).unwrap().unwrap());
        let deadline = Deadline::after(Duration::from_secs(60));
        fetched(&world.here, &order(from_n2(), "n2"), (&lock, None), deadline).unwrap_or_else(|end| end)
    }

    #[test]
    fn p1_nothing_is_claimed_where_one_is_here_already_or_that_is_not_known() {
        for listing in [Ok(seen::own(RunState::Paused)), Ok(seen::incoming()), Err("cut short".to_owned())] {
            let world = World::listing([]);
            world.xl.shows(listing);
            world.peers.answer("n2", |request| panic!("{request:?}"));
            assert!(matches!(fetches(&world), Outcome::Failed { reason } if reason.contains("already")));
            assert!(world.peers.asked().is_empty());
        }
    }

    #[test]
    fn a_source_that_is_silent_refuses_or_has_no_slot_has_moved_nothing() {
        let world = World::listing([seen::absent()]);
        assert!(matches!(fetches(&world), Outcome::Failed { reason } if reason.contains("cannot reach n2")));
        let says = |answer: Answer| {
            let world = World::listing([seen::absent()]);
            world.peers.answer("n2", move |_| Some(answer.clone()));
            let end = fetches(&world);
            assert_eq!(world.phase(), Phase::Idle);
            end
        };
        let reason = || "no".to_owned();
        assert_eq!(
            says(Answer::Refused { reason: reason(), stands: None }),
            Outcome::Busy { reason: "n2: no".to_owned() }
        );
        let stands = Some((Presence::Absent, Phase::Idle));
        let refused = says(Answer::Refused { reason: reason(), stands });
        assert!(matches!(refused, Outcome::Refused { stands: Some(_), .. }), "{refused}");
        assert_eq!(says(Answer::Reached), Outcome::Failed { reason: "n2 answers: reached".to_owned() });
    }

    #[test]
    fn p4_a_claim_says_how_the_last_stream_ended_and_one_that_breaks_leaves_nothing_here() {
        let world = World::listing([seen::absent()]);
        world.plant("xen-handoff", "exec true");
        let ended = Ended { epoch: EPOCH, ran: Ran::Never };
        world.here.store.keep_end(&x0(), ended).unwrap();
        world.peers.answer("n2", move |request| {
            Some(match request {
                Request::Slot { .. } => Answer::Done,
                Request::Claim { ended: said, limit, .. } => {
                    assert_eq!((*said, *limit <= 60), (Some(ended), true));
                    Answer::Granted
                }
                other => panic!("{other:?}"),
            })
        });
        let end = fetches(&world);
        assert!(matches!(end, Outcome::Broken { .. }), "{end}");
        assert_eq!(world.phase(), Phase::Idle);
        assert_eq!(world.here.store.last_end(&x0()), Some(ended));
    }

    #[test]
    fn p3_what_has_come_to_run_has_moved_and_what_cannot_be_told_is_undecided() {
        let granting = |request: &Request| {
            Some(if matches!(request, Request::Claim { .. }) { Answer::Granted } else { Answer::Done })
        };
        for (listing, moved) in [(Ok(seen::running()), true), (Err("cut short".to_owned()), false)] {
            let world = World::listing([seen::absent()]);
            world.plant("xen-handoff", "exec true");
            world.peers.answer("n2", granting);
            let (store, mut listing) = (world.here.store.clone(), Some(listing));
            world.xl.when("list", move |fake| {
                if store.load(&x0()).unwrap().state.is_in_transfer()
                    && let Some(listing) = listing.take()
                {
                    fake.shows(listing);
                }
            });
            let end = fetches(&world);
            assert_eq!((end == Outcome::Moved, world.phase() == Phase::Idle), (moved, false), "{end}");
            assert!(moved || matches!(end, Outcome::Undecided { .. }), "{end}");
        }
    }
}
