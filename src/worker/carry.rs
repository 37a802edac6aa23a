//! The cluster's own migration where the toolstack moves a domain by itself (`xm`, `xe`):
//! `xen-handoff carry`, for `migrate_to`, in a process of its own outside the cluster's kill range, as `push`
//! is for xl.
//!
//! There is no stream of ours here, no GO, and no record of the transfer: only what both ends say, afterwards
//! and for as long as the action may take. The toolstack's own word is not enough for anything: xend ends its
//! copy before the target says that it has one that runs, and goes on when xm is killed.
//!
//! | the command | here | there | then |
//! |---|---|---|---|
//! | has ended, either way, or not | absent | running | it has moved |
//! | has failed | running, and nothing moves it | absent | it is still here |
//! | anything else | | | look again; at the end: it is not known |
//!
//! The ledger has the push from before it begins until it is known to have failed, or until the target's
//! `migrate_from` has seen it run. While it is there, no node is cleared by the cluster's history alone, and
//! no stop says anything before both ends are accounted for.

use std::os::fd::RawFd;
use std::time::Duration;

use super::order::{Order, Outcome, answer_by, busy, failed, work};
use super::queue::{far_slot, slot_here};
use crate::address::Address;
use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock};
use crate::command::CommandError;
use crate::descriptor::adopt;
use crate::domain::{DomainName, Presence};
use crate::handoff::Push;
use crate::handoff::ledger::Entry;
use crate::here::Here;
use crate::moves::progress::Direction;
use crate::moves::slots::Place;
use crate::peer::inquiry::read_back;
use crate::toolstack::{LIST_LIMIT, Toolstack, ToolstackError, Towards};
use crate::wire::Connection;

/// What is kept of the action's time for looking at both ends: a quarter, at most this.
const TO_LOOK: Duration = Duration::from_secs(30);
/// Limit of one question to the target.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How the toolstack's command came to its end.
#[derive(Debug)]
enum Said {
    /// It succeeded.
    Done,
    /// It failed, in these words.
    Failed(String),
    /// It did not end, or whether it was ever begun is not known.
    NoEnd(String),
}

impl Said {
    fn of(result: Result<(), ToolstackError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(ToolstackError::Command(error @ CommandError::TimedOut { .. })) => {
                Self::NoEnd(error.to_string())
            }
            // Killed: its daemon goes on.
            Err(ToolstackError::Command(error @ CommandError::Failed { status, .. }))
                if status.code().is_none() =>
            {
                Self::NoEnd(error.to_string())
            }
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    fn words(&self) -> &str {
        match self {
            Self::Done => "it said that it was done",
            Self::Failed(words) | Self::NoEnd(words) => words,
        }
    }
}

/// What one look at one end shows. An end that is not known may be anything, and on the move.
#[derive(Debug)]
pub struct End {
    /// What its toolstack shows.
    pub presence: Presence,
    moving: bool,
}

impl End {
    /// This end.
    pub fn here(toolstack: &dyn Toolstack, domain: &DomainName) -> Self {
        // In this order: what has begun to move after the first look is not missed by the second.
        let presence = toolstack.presence(domain, LIST_LIMIT);
        let moving = toolstack.is_moving(domain, LIST_LIMIT).unwrap_or(true);
        Self { presence, moving }
    }

    fn there(here: &Here, domain: &DomainName, peer: &Address) -> Self {
        let deadline = Deadline::after(ANSWER_LIMIT);
        let answer = here.dial().dial(peer, deadline).map_err(|error| error.to_string());
        Self::said(answer.and_then(|mut connection| presence_at(&mut connection, domain, deadline)))
    }

    /// The other end, by its answer.
    pub fn said(answer: Result<Presence, String>) -> Self {
        // A node that sees a move under way says so by "unknown".
        Self { presence: answer.unwrap_or_else(Presence::Unknown), moving: false }
    }

    /// Whether it will stay as it is, as far as this end can see: nothing moves it, and it is no copy on its
    /// way in or out.
    pub fn is_settled(&self) -> bool {
        let on_its_way = matches!(
            self.presence,
            Presence::Unknown(_)
                | Presence::Paused(_)
                | Presence::Building(_)
                | Presence::Frozen(_)
                | Presence::MigratedAway(_)
                | Presence::Incoming(_)
        );
        !self.moving && !on_its_way
    }
}

/// Decides by what both ends say; `None` while it is not known.
fn judge(said: &Said, here: &End, there: &End) -> Option<Outcome> {
    match (said, &here.presence, &there.presence) {
        (_, Presence::Absent, Presence::Running(_)) if !here.moving && !there.moving => Some(Outcome::Moved),
        (Said::Failed(words), Presence::Running(_), Presence::Absent) if !here.moving => {
            Some(Outcome::Failed { reason: words.clone() })
        }
        _ => None,
    }
}

fn presence_at(
    connection: &mut Connection,
    domain: &DomainName,
    deadline: Deadline,
) -> Result<Presence, String> {
    connection.presence(domain, deadline).map(|stands| stands.presence).map_err(|error| error.to_string())
}

/// `xen-handoff carry`: has the toolstack migrate the domain, once the target has none and has read the push
/// in its ledger, and finds out where it is then. The transfer lock is held all the time: who asks this node
/// meanwhile hears "unknown".
///
/// # Errors
/// If stdout cannot be written to; it is over by then.
pub fn carry(here: &Here, order: &Order, lock: RawFd) -> anyhow::Result<()> {
    work(order, |deadline| {
        let lock = adopt(lock).map_err(failed);
        let _lock =
            lock.inspect_err(|_| here.cluster().ledger().erase(&order.domain, order.transfer.epoch))?;
        carried(here, order, deadline)
    })
}

/// The work, under the transfer lock.
fn carried(here: &Here, order: &Order, deadline: Deadline) -> Result<Outcome, Outcome> {
    let (domain, toolstack) = (&order.domain, here.toolstack().as_ref());
    let forget = || here.cluster().ledger().erase(domain, order.transfer.epoch);
    let _slot = granted(here, order, deadline).inspect_err(|_| forget())?;
    let limit = deadline.left().saturating_sub(TO_LOOK.min(deadline.left() / 4));
    let to = Towards { node: &order.peer.node, address: &order.peer.host };
    let said = Said::of(toolstack.migrate(domain, to, limit));
    log::info!("domain={domain} {} migrate: {}", toolstack.kind(), said.words());
    let mut seen = String::new();
    let end = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        let (this, there) = (End::here(toolstack, domain), End::there(here, domain, &order.peer));
        let now = format!("it is {} here and {} on {}", this.presence, there.presence, to.node);
        if now != seen {
            log::info!("domain={domain} {now}");
            seen = now;
        }
        judge(&said, &this, &there)
    });
    let end = end.unwrap_or_else(|| Outcome::Undecided { reason: format!("{}; {seen}", said.words()) });
    if matches!(end, Outcome::Failed { .. }) {
        forget();
    }
    Ok(end)
}

/// All that comes before the command: the target has none, reads the entry back, and both ends keep a slot.
/// The connection ends with the target's.
fn granted(here: &Here, order: &Order, deadline: Deadline) -> Result<(Connection, Place), Outcome> {
    let (domain, transfer) = (&order.domain, &order.transfer);
    let mut connection = here.dial().dial(&order.peer, answer_by(order)).map_err(failed)?;
    match presence_at(&mut connection, domain, answer_by(order)).map_err(failed)? {
        Presence::Absent => {}
        other => return Err(Outcome::Refused { reason: format!("it is {other} there"), stands: None }),
    }
    let entry = Push { domain: domain.clone(), transfer: transfer.clone(), made_at: order.begun_at };
    read_back(&mut connection, &Entry::Push(entry), deadline).map_err(failed)?;
    far_slot(here, order, &mut connection, Direction::Incoming, deadline)?;
    let slot = slot_here(here, domain, &order.resource, Direction::Outgoing, deadline).map_err(busy)?;
    Ok((connection, slot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainId;
    use crate::handoff::Phase;
    use crate::handoff::ledger::Entries;
    use crate::here::fake::{World, seen, to_n2, x0};
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;
    use crate::wire::message::{Answer, Request};

    const ID: DomainId = DomainId(4);

    fn end(presence: Presence, moving: bool) -> End {
        End { presence, moving }
    }

    fn every_presence() -> Vec<Presence> {
        vec![
            Presence::Absent,
            Presence::Running(ID),
            Presence::Building(ID),
            Presence::Paused(ID),
            Presence::Crashed(ID),
            Presence::Frozen(ID),
            Presence::ShutDown(ID),
            Presence::Rebooting(ID),
            Presence::Dying(ID),
            Presence::Incoming(ID),
            Presence::MigratedAway(ID),
            Presence::Unknown("xend does not answer".to_owned()),
        ]
    }

    #[test]
    fn p1_success_only_where_the_source_has_none_and_the_target_runs_it_whatever_was_said() {
        let words = || "failed".to_owned();
        for said in [Said::Done, Said::Failed(words()), Said::NoEnd(words())] {
            for here in every_presence() {
                for there in every_presence() {
                    for moving in [false, true] {
                        let moved = judge(&said, &end(here.clone(), moving), &end(there.clone(), false));
                        let expected =
                            (here == Presence::Absent && !moving) && matches!(there, Presence::Running(_));
                        assert_eq!(
                            moved == Some(Outcome::Moved),
                            expected,
                            "{said:?} {here} {there} {moving}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn it_is_still_here_only_when_the_command_has_failed_and_nothing_moves_it() {
        let failed = || Said::Failed("refused".to_owned());
        let here = |moving| end(Presence::Running(ID), moving);
        let there = |presence| end(presence, false);
        let still_here = Some(Outcome::Failed { reason: "refused".to_owned() });
        assert_eq!(judge(&failed(), &here(false), &there(Presence::Absent)), still_here);
        assert_eq!(judge(&failed(), &here(true), &there(Presence::Absent)), None);
        assert_eq!(judge(&Said::NoEnd("hung".into()), &here(false), &there(Presence::Absent)), None);
        assert_eq!(judge(&Said::Done, &here(false), &there(Presence::Absent)), None);
        for there in every_presence().into_iter().filter(|presence| *presence != Presence::Absent) {
            assert_eq!(judge(&failed(), &here(false), &end(there.clone(), false)), None, "{there}");
        }
    }

    #[test]
    fn a_copy_that_may_be_on_its_way_is_not_settled() {
        for presence in every_presence() {
            let settled = matches!(
                presence,
                Presence::Absent
                    | Presence::Running(_)
                    | Presence::Crashed(_)
                    | Presence::ShutDown(_)
                    | Presence::Rebooting(_)
                    | Presence::Dying(_)
            );
            assert_eq!(end(presence.clone(), false).is_settled(), settled, "{presence}");
            assert!(!end(presence, true).is_settled());
        }
    }

    fn order() -> Order {
        super::super::order::of_test(to_n2(), "n2")
    }

    /// A node where xm moves domains, and what n2 says of x0, time and again.
    fn moves_by_itself(there: impl FnMut() -> Presence + Send + 'static) -> World {
        let world = World::of(Fake { kind: Some(Kind::Xm), ..Fake::showing([Ok(seen::running())]) });
        let mut there = there;
        world.peers.answer("n2", move |request| {
            Some(match request {
                Request::Presence { .. } => {
                    Answer::Stands { presence: there(), phase: Phase::Idle, ended: None }
                }
                Request::Ledger { .. } => {
                    let push = Push { domain: x0(), transfer: to_n2(), made_at: order().begun_at };
                    Answer::Ledger { entries: Entries { pushes: vec![push], ..Entries::default() } }
                }
                _ => Answer::Done,
            })
        });
        world
    }

    fn carries(world: &World) -> Outcome {
        let deadline = Deadline::after(Duration::from_secs(60));
        carried(&world.here, &order(), deadline).unwrap_or_else(|end| end)
    }

    #[test]
    fn p1_a_carried_domain_has_moved_when_both_ends_show_it_and_is_undecided_until_then() {
        let mut asked = 0;
        let world = moves_by_itself(move || {
            asked += 1;
            if asked < 4 { Presence::Absent } else { Presence::Running(ID) }
        });
        world.xl.after("migrate x0 n2", seen::absent());
        assert_eq!(carries(&world), Outcome::Moved);
        assert!(world.told().is_empty(), "the ledger has it until the target has said that it runs there");

        let world = moves_by_itself(|| Presence::Absent);
        world.xl.after("migrate", seen::absent());
        let end = carries(&world);
        assert!(matches!(end, Outcome::Undecided { .. }), "{end}");
        assert!(world.told().is_empty());
    }

    #[test]
    fn what_the_target_has_already_or_the_command_refuses_is_still_here_and_forgotten() {
        let world = moves_by_itself(|| Presence::Paused(ID));
        assert!(matches!(carries(&world), Outcome::Refused { .. }));
        assert_eq!((world.told().len(), world.deeds().len()), (1, 0));
        let world = moves_by_itself(|| Presence::Absent);
        world.xl.fails("migrate", 1);
        assert!(matches!(carries(&world), Outcome::Failed { .. }));
        assert_eq!(world.told().len(), 1);
    }
}
