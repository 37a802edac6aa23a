//! `xen-handoff push`: the source's worker, for `migrate_to`.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::order::{Order, Outcome, agreed, answer_by, begin, broken, busy, failed, in_time, seconds, work};
use super::queue::{far_slot, slot_here};
use crate::clock::Deadline;
use crate::descriptor::adopt;
use crate::domain::{DomainConfig, PciAddress};
use crate::handoff::evidence::Recorded;
use crate::handoff::ledger::Entry;
use crate::handoff::{Event, Push};
use crate::here::Here;
use crate::moves::journal::Why;
use crate::moves::progress::Direction;
use crate::moves::slots::Place;
use crate::moves::terms::Terms;
use crate::node::devices::{detach, give_again, give_again_if_here};
use crate::peer::inquiry::read_back;
use crate::peer::preflight::{ToMove, objections};
use crate::preflight::judge::needed_mib;
use crate::toolstack::LIST_LIMIT;
use crate::transfer::settle::AtSourceEnd;
use crate::transfer::{self, Stream};
use crate::wire::Connection;
use crate::wire::client::{Prepared, Streams, Unanswered};
use crate::wire::message::{ALIVE, PREPARE, Request, Wanted};

/// How long a target may take to make room.
const ROOM_LIMIT: Duration = Duration::from_secs(45);

/// `xen-handoff push`: offers a domain to the target's receiver and sends it, once the target has read the
/// push in its ledger.
///
/// # Errors
/// If stdout cannot be written to; the transfer is over by then.
pub fn push(here: &Here, order: &Order, lock: RawFd) -> anyhow::Result<()> {
    work(order, |deadline| {
        let lock = adopt(lock).map_err(failed);
        // Nothing was sent under it.
        let lock =
            lock.inspect_err(|_| here.cluster().ledger().erase(&order.domain, order.transfer.epoch))?;
        pushed(here, order, &lock, deadline)
    })
}

/// The work, from the first question to the end of the stream.
fn pushed(here: &Here, order: &Order, lock: &OwnedFd, deadline: Deadline) -> Result<Outcome, Outcome> {
    let (domain, transfer, xl) = (&order.domain, &order.transfer, here.toolstack().as_ref());
    // Nothing was sent under it.
    let forget = || here.cluster().ledger().erase(domain, transfer.epoch);
    let devices = match order.detach {
        true => xl.devices(domain, LIST_LIMIT).map_err(failed).inspect_err(|_| forget())?,
        false => Vec::new(),
    };
    let come_to_nothing = || {
        forget();
        give_again(xl, domain, &devices);
    };
    // Before anybody else is asked for anything.
    let known = ToMove::of(xl, domain, order.detach, LIST_LIMIT);
    if let Some(why) = known.as_ref().and_then(ToMove::hindrance) {
        forget();
        return Err(failed(why));
    }
    let begun = begun(here, order, known.as_ref(), &devices, deadline).inspect_err(|_| come_to_nothing())?;
    let Begun { _slot, recorded, boot, terms, says_alive, streams: (from_peer, to_peer, _session) } = begun;
    here.store
        .advance_with(domain, "push", Event::Pushed(transfer.clone(), recorded), |record| {
            record.peer = Some(order.peer.clone());
            record.peer_boot = boot;
        })
        .map_err(|error| broken(error.into()))
        .inspect_err(|_| come_to_nothing())?;
    let (why, lock) = (Why::Migration, lock.as_fd());
    let stream =
        Stream { here, domain, why, transfer, from_peer, to_peer, lock, deadline, terms, says_alive };
    let began = Instant::now();
    // An entry stays in the ledger whose end is not known.
    let sent = transfer::send::send(stream).map_err(|error| {
        give_again_if_here(xl, domain, &devices);
        Outcome::Undecided { reason: format!("{error:#}") }
    })?;
    if sent.end == AtSourceEnd::StillHere {
        give_again(xl, domain, &devices);
    }
    Ok(match sent.end {
        AtSourceEnd::Moved => Outcome::Moved,
        AtSourceEnd::StillHere => failed(in_time(terms, began) + &sent.said),
        AtSourceEnd::Gone => failed(format!("it ended by itself meanwhile; {}", sent.said)),
        AtSourceEnd::Undecided(why) => Outcome::Undecided { reason: format!("{why}; {}", sent.said) },
    })
}

/// A push that the target has granted.
struct Begun {
    _slot: Place,
    recorded: Recorded,
    /// Which life of its host the target is in.
    boot: Option<String>,
    terms: Terms,
    says_alive: bool,
    streams: Streams,
}

/// All that comes before the stream: the target reads the entry back, makes room, says what it is, keeps a
/// slot, and grants.
fn begun(
    here: &Here,
    order: &Order,
    known: Option<&ToMove>,
    devices: &[PciAddress],
    deadline: Deadline,
) -> Result<Begun, Outcome> {
    let (domain, transfer) = (&order.domain, &order.transfer);
    let mut connection = here.dial().dial(&order.peer, answer_by(order)).map_err(failed)?;
    let entry = Push { domain: domain.clone(), transfer: transfer.clone(), made_at: order.begun_at };
    let recorded = read_back(&mut connection, &Entry::Push(entry), deadline).map_err(failed)?;
    if let Some(known) = known {
        prepare(order, &mut connection, &known.needs.config, devices, deadline)
            .and_then(|()| objections(&mut connection, &known.needs, known.here.as_ref(), answer_by(order)))
            .map_err(|why| Outcome::Refused { reason: why, stands: None })?;
    }
    // The target's first: see `moves::slots`.
    far_slot(here, order, &mut connection, Direction::Incoming, deadline)?;
    let slot = slot_here(here, domain, &order.resource, Direction::Outgoing, deadline).map_err(busy)?;
    detach(here.toolstack().as_ref(), domain, devices).map_err(failed)?;
    let boot = connection.peer_boot().map(str::to_owned);
    let terms = agreed(order.terms, domain, &connection, false);
    let (domain, transfer) = (domain.clone(), transfer.clone());
    let (limit, compression) = (seconds(deadline), terms.compression);
    let request = Request::Receive { domain, transfer, limit, compression };
    let says_alive = connection.can(ALIVE);
    let streams = begin(order, connection, &request)?;
    Ok(Begun { _slot: slot, recorded, boot, terms, says_alive, streams })
}

/// Has the target make room for it, where that is asked for, and say whether it has what is to be attached
/// there.
fn prepare(
    order: &Order,
    connection: &mut Connection,
    config: &DomainConfig,
    devices: &[PciAddress],
    deadline: Deadline,
) -> Result<(), String> {
    if order.room.is_none() && devices.is_empty() {
        return Ok(());
    }
    if devices.is_empty() && !connection.can(PREPARE) {
        log::info!("domain={} xen-handoff there is too old to free memory for it", order.domain);
        return Ok(());
    }
    let limit = Deadline::after(ROOM_LIMIT).min(deadline);
    let wanted = Prepared {
        domain: order.domain.clone(),
        room: order.room.map(|dom0_keeps_mib| Wanted { mib: needed_mib(config), dom0_keeps_mib }),
        devices: devices.to_vec(),
        limit: seconds(limit),
        comes_in: seconds(deadline),
    };
    let answer_by = Deadline::after(limit.left().saturating_add(order.peer.connect_timeout()));
    connection.prepare(wanted, answer_by).map_err(Unanswered::reason)
}

#[cfg(test)]
mod tests {
    use super::super::order::of_test as order;
    use super::*;
    use crate::domain::{DomainId, Presence};
    use crate::handoff::ledger::Entries;
    use crate::handoff::{Phase, SourcePhase};
    use crate::here::fake::{EPOCH, World, seen, to_n2, x0};
    use crate::wire::message::Answer;

    fn pushes(world: &World, order: &Order) -> Outcome {
        let lock = OwnedFd::from(world.here.store.begin_transfer(&x0()).unwrap().unwrap());
        let deadline = Deadline::after(Duration::from_secs(60));
        pushed(&world.here, order, &lock, deadline).unwrap_or_else(|end| end)
    }

    /// n2 reads the entry in its ledger, has a slot, and says this to whoever asks it to receive.
    fn target(world: &World, receive: Answer) {
        let order = order(to_n2(), "n2");
        world.peers.answer("n2", move |request| {
            Some(match request {
                Request::Ledger { .. } => {
                    let push = Push { domain: x0(), transfer: to_n2(), made_at: order.begun_at };
                    Answer::Ledger { entries: Entries { pushes: vec![push], ..Entries::default() } }
                }
                Request::Receive { .. } => receive.clone(),
                Request::Resolve { .. } => {
                    Answer::Stands { presence: Presence::Absent, phase: Phase::Idle, ended: None }
                }
                _ => Answer::Done,
            })
        });
    }

    fn forgotten(world: &World) -> bool {
        world.told() == [format!("erase {EPOCH}")]
    }

    #[test]
    fn p3_nothing_is_sent_before_the_target_has_read_the_push_in_its_ledger() {
        let world = World::listing([seen::running()]);
        assert!(matches!(pushes(&world, &order(to_n2(), "n2")), Outcome::Failed { .. }), "out of reach");
        assert!(forgotten(&world) && world.phase() == Phase::Idle);
        let world = World::listing([seen::running()]);
        world.peers.answer("n2", |_| Some(Answer::Ledger { entries: Entries::default() }));
        let end = pushes(&world, &order(to_n2(), "n2"));
        // Or that its last look came too late: on a clock that jumps, that may be either.
        assert!(matches!(end, Outcome::Failed { .. }), "{end}");
        assert!(forgotten(&world) && world.phase() == Phase::Idle);
        assert!(!world.peers.asked().iter().any(|asked| matches!(asked, Request::Receive { .. })));
    }

    #[test]
    fn what_the_target_refuses_is_forgotten_and_still_here() {
        let world = World::listing([seen::running()]);
        let stands = Some((Presence::Running(DomainId(9)), Phase::Idle));
        target(&world, Answer::Refused { reason: "x0 is running here".to_owned(), stands });
        let end = pushes(&world, &order(to_n2(), "n2"));
        assert!(matches!(&end, Outcome::Refused { stands: Some(_), .. }), "{end}");
        assert!(forgotten(&world) && world.phase() == Phase::Idle && world.deeds().is_empty());
    }

    #[test]
    fn devices_are_taken_only_for_a_stream_and_given_again_where_it_does_not_come_about() {
        let world = World::listing([seen::running()]);
        let device = PciAddress::new("0000:03:10.1").unwrap();
        world.xl.passthrough.borrow_mut().push(device);
        target(&world, Answer::Refused { reason: "no".to_owned(), stands: None });
        let order = Order { detach: true, ..order(to_n2(), "n2") };
        assert!(matches!(pushes(&world, &order), Outcome::Refused { .. }));
        let deeds = world.deeds();
        let of = |begins: &str| deeds.iter().filter(|deed| deed.starts_with(begins)).count();
        assert_eq!((of("pci-detach"), of("pci-attach")), (1, 1), "{deeds:?}");
    }

    #[test]
    fn p4_a_stream_that_does_not_begin_leaves_the_domain_here_and_nothing_in_the_ledger() {
        let world = World::listing([seen::running()]);
        world.plant("xl", "echo out of memory >&2; exit 3");
        world.plant("xen-handoff", "exit 1");
        target(&world, Answer::Granted);
        let end = pushes(&world, &order(to_n2(), "n2"));
        assert!(matches!(&end, Outcome::Failed { reason } if reason.contains("out of memory")), "{end}");
        assert!(forgotten(&world) && world.phase() == Phase::Idle);
    }

    #[test]
    fn p1_a_push_whose_end_is_not_known_stays_in_the_ledger_and_on_record() {
        let world = World::listing([seen::running()]);
        world.plant("xl", "exit 3");
        world.plant("xen-handoff", "exit 1");
        target(&world, Answer::Granted);
        let store = world.here.store.clone();
        world.xl.when("list", move |fake| {
            if store.load(&x0()).unwrap().state.is_in_transfer() {
                fake.shows(Err("cut short".to_owned()));
            }
        });
        let end = pushes(&world, &order(to_n2(), "n2"));
        assert!(matches!(end, Outcome::Undecided { .. }), "{end}");
        assert!(world.told().is_empty());
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Sending { .. })), "{}", world.phase());
    }
}
