//! The cluster's own migration where the toolstack moves a domain by itself (`xm`, `xe`): `xen-handoff carry`, for `migrate_to`, in a
//! process of its own outside the cluster's kill range, as `push` is for xl.
//!
//! There is no stream of ours here, no GO, and no record of the transfer: only what both ends say, afterwards and for as long as the
//! action may take. The toolstack's own word is not enough for anything: xend ends its copy before the target says that it has one
//! that runs, and goes on when xm is killed.
//!
//! | the command | here | there | then |
//! |---|---|---|---|
//! | has ended, either way, or not | absent | running | it has moved |
//! | has failed | running, and nothing moves it | absent | it is still here |
//! | anything else | | | look again; at the end: it is not known |
//!
//! The ledger has the push from before it begins until it is known to have failed, or until the target's `migrate_from` has seen it run. While
//! it is there, no node is cleared by the cluster's history alone, and no stop says anything before both ends are accounted for.

use std::os::fd::RawFd;
use std::time::Duration;

use super::line::{far_slot, slot_here};
use super::worker::{Order, Outcome, answer_by, busy, failed, work};
use super::{Agent, LIST_LIMIT, LOOK_AGAIN};
use crate::clock::{Clock, Deadline, SystemClock};
use crate::cluster::detect;
use crate::command::CommandError;
use crate::descriptor::adopt;
use crate::domain::{DomainName, Presence};
use crate::handoff::Push;
use crate::handoff::ledger::Entry;
use crate::host::{NodeName, Root};
use crate::ocf::exit_code::Failure;
use crate::toolstack::{self, Toolstack, ToolstackError, Towards};
use crate::transfer::progress::Direction;
use crate::transport::inquiry::read_back;
use crate::transport::message::{Address, Answer, Request};
use crate::transport::{Connection, ssh};

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

/// What one look at one end shows. An end that cannot be told may be anything, and on the move.
#[derive(Debug)]
struct End {
    presence: Presence,
    moving: bool,
}

impl End {
    fn here(toolstack: &dyn Toolstack, domain: &DomainName) -> Self {
        // In this order: what has begun to move after the first look is not missed by the second.
        let presence = toolstack.presence(domain, LIST_LIMIT);
        let moving = toolstack.is_moving(domain, LIST_LIMIT).unwrap_or(true);
        Self { presence, moving }
    }

    fn there(root: &Root, domain: &DomainName, peer: &Address) -> Self {
        let deadline = Deadline::after(ANSWER_LIMIT);
        let answer = ssh::dial(root, peer, deadline).map_err(|error| error.to_string());
        Self::said(answer.and_then(|mut connection| presence_at(&mut connection, domain, deadline)))
    }

    fn said(answer: Result<Presence, String>) -> Self {
        // A node that sees a move under way says so by "unknown".
        Self { presence: answer.unwrap_or_else(Presence::Unknown), moving: false }
    }

    /// Whether it will stay as it is, as far as this end can see: nothing moves it, and it is no copy on its way in or out.
    fn is_settled(&self) -> bool {
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
    match connection.ask(&Request::Presence { domain: domain.clone() }, deadline) {
        Ok(Answer::Stands { presence, .. }) => Ok(presence),
        Ok(other) => Err(format!("it answers {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// `xen-handoff carry`: has the toolstack migrate the domain, once the target has none and has read the push in its ledger, and
/// finds out where it is then. The transfer lock is held all the time: who asks this node meanwhile hears "unknown".
///
/// # Errors
/// If stdout cannot be written to; it is over by then.
pub fn carry(root: &Root, order: &Order, lock: RawFd) -> anyhow::Result<()> {
    let (domain, transfer) = (&order.domain, &order.transfer);
    let toolstack = toolstack::of(root);
    let forget = || detect(root).ledger().erase(domain, transfer.epoch);
    work(order, |deadline| {
        let begun = || {
            let lock = adopt(lock).map_err(failed)?;
            let mut connection = ssh::dial(root, &order.peer, answer_by(order)).map_err(failed)?;
            match presence_at(&mut connection, domain, answer_by(order)).map_err(failed)? {
                Presence::Absent => {}
                other => {
                    return Err(Outcome::Refused { reason: format!("it is {other} there"), stands: None });
                }
            }
            let entry = Push { domain: domain.clone(), transfer: transfer.clone(), made_at: order.begun_at };
            read_back(&mut connection, &Entry::Push(entry), deadline).map_err(failed)?;
            far_slot(root, order, &mut connection, Direction::Incoming, deadline)?;
            let slot =
                slot_here(root, domain, &order.resource, Direction::Outgoing, deadline).map_err(busy)?;
            Ok((lock, connection, slot))
        };
        let _kept = begun().inspect_err(|_| forget())?;
        let limit = deadline.left().saturating_sub(TO_LOOK.min(deadline.left() / 4));
        let to = Towards { node: &order.peer.node, address: &order.peer.host };
        let said = Said::of(toolstack.migrate(domain, to, limit));
        log::info!("domain={domain} {} migrate: {}", toolstack.kind(), said.words());
        let mut seen = String::new();
        let end = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
            let here = End::here(toolstack.as_ref(), domain);
            let there = End::there(root, domain, &order.peer);
            let now = format!("it is {} here and {} on {}", here.presence, there.presence, to.node);
            if now != seen {
                log::info!("domain={domain} {now}");
                seen = now;
            }
            judge(&said, &here, &there)
        });
        let end = end.unwrap_or_else(|| Outcome::Undecided { reason: format!("{}; {seen}", said.words()) });
        if matches!(end, Outcome::Failed { .. }) {
            forget();
        }
        Ok(end)
    })
}

impl Agent {
    /// For a stop, where the toolstack moves domains by itself: what an open push to or from here has come to, before anything is ended
    /// here and before anything is said. A copy that is arriving must not be destroyed, and one that may yet arrive is not gone.
    ///
    /// # Errors
    /// If that is not known in time; nothing was changed.
    pub(super) fn account_for_carries(&self) -> Result<(), Failure> {
        let entries = match self.cluster.ledger().entries(&self.domain) {
            Ok(entries) => entries,
            Err(why) => {
                // Without a ledger there is no push of ours; a copy that is on its way in could still be somebody's.
                log::warn!("domain={} open migrations cannot be told: {why}", self.domain);
                return match self.presence() {
                    Presence::Paused(_) => Err(self.generic(format!(
                        "it is paused here and may be arriving: open migrations cannot be told ({why}); nothing was changed"
                    ))),
                    _ => Ok(()),
                };
            }
        };
        for Push { transfer, .. } in entries.pushes {
            let other = match (transfer.source == self.node, transfer.target == self.node) {
                (true, false) => &transfer.target,
                (false, true) => &transfer.source,
                _ => continue,
            };
            let mut seen = String::new();
            let settled = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || {
                let here = End::here(self.toolstack.as_ref(), &self.domain);
                let there = self.end_at(other);
                let now = format!("it is {} here and {} on {other}", here.presence, there.presence);
                if now != seen {
                    log::info!("domain={} open migration: {now}", self.domain);
                    seen = now;
                }
                if here.is_settled() && self.is_lost(other) {
                    // What has become of the copy over there, a start will have to prove.
                    return Some(false);
                }
                let both =
                    matches!((&here.presence, &there.presence), (Presence::Running(_), Presence::Running(_)));
                (here.is_settled() && there.is_settled() && !both).then(|| there.presence == Presence::Absent)
            });
            match settled {
                // What may still be over there stays in the ledger, so that a start asks for it.
                Some(false) => {}
                Some(true) => self.cluster.ledger().erase(&self.domain, transfer.epoch),
                None => {
                    return Err(self.generic(format!(
                        "a migration from {} to {} has no clear end: {seen}; nothing was changed: look at both ends",
                        transfer.source, transfer.target
                    )));
                }
            }
        }
        Ok(())
    }

    /// It runs here, come by the toolstack's own migration: what the ledger says of it has been told.
    pub(super) fn has_arrived(&self) {
        for Push { transfer, .. } in self.cluster.ledger().entries(&self.domain).unwrap_or_default().pushes {
            if transfer.target == self.node {
                self.cluster.ledger().erase(&self.domain, transfer.epoch);
            }
        }
    }

    fn end_at(&self, node: &NodeName) -> End {
        let request = Request::Presence { domain: self.domain.clone() };
        let limit = self.deadline.within(self.parameters.peer_timeout);
        End::said(match self.transport.ask(node, &request, limit) {
            Ok(Answer::Stands { presence, .. }) => Ok(presence),
            Ok(other) => Err(format!("it answers {other:?}")),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Whether the cluster has lost that node.
    fn is_lost(&self, node: &NodeName) -> bool {
        let peers = self.cluster.peers(&self.node, &self.resource).unwrap_or_default();
        peers.iter().any(|peer| peer.node == *node && !peer.online)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainId;

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
}
