//! What stop, `migrate_to` and `migrate_from` do differently where the toolstack moves domains by itself. No
//! other file of the agent asks which way it is: they ask [`Movement`] what they want to know.

use super::context::Agent;
use crate::clock::{Clock, LOOK_AGAIN, SystemClock};
use crate::domain::Presence;
use crate::handoff::Push;
use crate::host::NodeName;
use crate::ocf::exit_code::Failure;
use crate::toolstack::Movement;
use crate::worker::carry::End;

impl Agent {
    /// How domains move here.
    pub(super) fn movement(&self) -> Movement {
        self.toolstack.kind().movement()
    }

    /// For a stop, before it ends anything here and says anything: no move of the domain is open whose end is
    /// not known.
    ///
    /// # Errors
    /// If that is not known in time; nothing was changed.
    pub(super) fn account_for_open_moves(&self) -> Result<(), Failure> {
        match self.movement() {
            // Those are on record; what broke off was settled before.
            Movement::Streamed => Ok(()),
            Movement::Carried(_) => self.account_for_carries(),
        }
    }

    /// For `migrate_to`, before anybody is told of it: whether the domain could move at all, where its worker
    /// would find that out too late.
    ///
    /// # Errors
    /// Why it cannot, wherever to.
    pub(super) fn may_be_pushed(&self) -> Result<(), String> {
        match self.movement() {
            // Its worker asks the target, which judges that, too, before the stream begins.
            Movement::Streamed => Ok(()),
            Movement::Carried(_) => self.can_move(),
        }
    }

    /// Which worker carries out a migration.
    pub(super) fn pushing_worker(&self) -> &'static str {
        match self.movement() {
            Movement::Streamed => "push",
            Movement::Carried(_) => "carry",
        }
    }

    /// For `migrate_from`: it runs here, and that is on record. What the ledger says of its way here has been
    /// told.
    pub(super) fn close_what_brought_it(&self) {
        match self.movement() {
            // The record knew which push that was, and has had it erased.
            Movement::Streamed => {}
            Movement::Carried(_) => self.forget_pushes_to_here(),
        }
    }

    /// What an open push to or from here has come to. A copy that is arriving must not be destroyed, and one
    /// that may yet arrive is not gone.
    ///
    /// # Errors
    /// If that is not known in time; nothing was changed.
    fn account_for_carries(&self) -> Result<(), Failure> {
        let entries = match self.cluster.ledger().entries(&self.domain) {
            Ok(entries) => entries,
            Err(why) => {
                // Without a ledger there is no push of ours; a copy that is on its way in could still be
                // somebody's.
                log::warn!("domain={} open migrations could not be found out: {why}", self.domain);
                return match self.presence() {
                    Presence::Paused(_) => Err(self.generic(format!(
                        "it is paused here and may be arriving: open migrations could not be found out ({why}); nothing was changed"
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

    fn forget_pushes_to_here(&self) {
        for Push { transfer, .. } in self.cluster.ledger().entries(&self.domain).unwrap_or_default().pushes {
            if transfer.target == self.node {
                self.cluster.ledger().erase(&self.domain, transfer.epoch);
            }
        }
    }

    fn end_at(&self, node: &NodeName) -> End {
        let limit = self.deadline.within(self.parameters.peer_timeout);
        let stands = self.transport.one(node, limit, |node| node.presence(&self.domain, limit));
        End::said(stands.map(|stands| stands.presence).map_err(|error| error.to_string()))
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
    use crate::agent::Action;
    use crate::agent::fake::agent;
    use crate::clock::{Deadline, UnixTime};
    use crate::cluster::fake::{DOWN, Fake as Cluster};
    use crate::domain::{DomainConfig, DomainId, RunState, Sighting};
    use crate::handoff::ledger::Entries;
    use crate::handoff::{Phase, Transfer};
    use crate::here::fake::{EPOCH, World, from_n2, node, seen, to_n2, x0};
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;
    use crate::wire::message::Answer;
    use std::time::Duration;

    fn on(kind: Kind, here: Sighting) -> World {
        World::of(Fake { kind: Some(kind), ..Fake::showing([Ok(here)]) })
    }

    fn open(world: &World, transfer: Transfer) {
        let push = Push { domain: x0(), transfer, made_at: UnixTime::now() };
        world.cluster.entries.are(Ok(Entries { pushes: vec![push], ..Entries::default() }));
    }

    fn n2_has(world: &World, presence: Presence) {
        world.peers.answer("n2", move |_| {
            Some(Answer::Stands { presence: presence.clone(), phase: Phase::Idle, ended: None })
        });
    }

    fn running() -> Presence {
        Presence::Running(DomainId(4))
    }

    fn accounts(world: &World) -> Result<(), String> {
        let mut agent = agent(world, Action::Stop, &[]);
        agent.deadline = Deadline::after(Duration::from_secs(15));
        let done = agent.account_for_open_moves();
        assert!(world.deeds().is_empty(), "{:?}", world.deeds());
        done.map_err(|failure| failure.to_string())
    }

    fn erased() -> Vec<String> {
        vec![format!("erase {EPOCH}")]
    }

    #[test]
    fn p1_a_carried_domain_that_is_at_one_end_alone_is_accounted_for() {
        for kind in [Kind::Xm, Kind::Xe] {
            // It stayed, or it came.
            for transfer in [to_n2(), from_n2()] {
                let world = on(kind, seen::running());
                open(&world, transfer);
                n2_has(&world, Presence::Absent);
                assert_eq!((accounts(&world), world.told()), (Ok(()), erased()));
            }
            // It went: a start here will ask for it.
            let world = on(kind, seen::absent());
            open(&world, to_n2());
            n2_has(&world, running());
            assert_eq!((accounts(&world), world.told()), (Ok(()), vec![]));
        }
    }

    #[test]
    fn p1_a_carried_domain_that_may_be_at_both_ends_or_on_its_way_fails_the_stop() {
        for (here, there) in [
            (seen::running(), running()),
            (seen::own(RunState::Paused), Presence::Absent),
            (seen::absent(), Presence::Paused(DomainId(4))),
            (seen::absent(), Presence::Unknown("xm is moving it to another host".to_owned())),
        ] {
            let world = on(Kind::Xm, here);
            open(&world, from_n2());
            n2_has(&world, there.clone());
            let why = accounts(&world).unwrap_err();
            assert!(why.contains("a migration from n2 to n1 has no clear end: it is "), "{there}: {why}");
            assert!(world.told().is_empty());
        }
        let world = on(Kind::Xm, seen::running());
        open(&world, to_n2());
        assert!(accounts(&world).unwrap_err().contains("unknown"), "n2 is silent, and a member");
    }

    #[test]
    fn p1_it_is_waited_for_as_long_as_a_copy_is_on_its_way() {
        let world = on(Kind::Xm, seen::own(RunState::Paused));
        open(&world, from_n2());
        n2_has(&world, Presence::Absent);
        let mut looks = 0;
        world.xl.when("list", move |fake| {
            looks += 1;
            if looks == 20 {
                fake.shows(Ok(seen::running()));
            }
        });
        assert_eq!((accounts(&world), world.told()), (Ok(()), erased()));
    }

    #[test]
    fn p1_an_end_that_the_cluster_has_lost_holds_up_no_stop_and_stays_in_the_ledger() {
        let world = on(Kind::Xm, seen::running());
        open(&world, to_n2());
        world.cluster.peers.are(Ok(vec![crate::cluster::Peer { online: false, ..Cluster::member("n2") }]));
        assert_eq!((accounts(&world), world.told()), (Ok(()), vec![]));
    }

    #[test]
    fn p1_without_the_ledger_what_is_paused_may_be_arriving_and_what_runs_is_here() {
        for why in ["the CIB is gone", DOWN] {
            let world = on(Kind::Xm, seen::own(RunState::Paused));
            world.cluster.entries.are(Err(why));
            assert!(accounts(&world).unwrap_err().contains("it is paused here and may be arriving"));
            for here in [seen::running(), seen::absent(), seen::own(RunState::Crashed)] {
                let world = on(Kind::Xm, here);
                world.cluster.entries.are(Err(why));
                assert_eq!(accounts(&world), Ok(()));
            }
        }
    }

    #[test]
    fn what_is_between_others_or_streamed_holds_up_no_stop_here() {
        let world = on(Kind::Xm, seen::running());
        open(&world, Transfer { epoch: EPOCH, source: node("n2"), target: node("n3") });
        assert_eq!(accounts(&world), Ok(()));
        let world = on(Kind::Xl, seen::own(RunState::Paused));
        open(&world, from_n2());
        assert_eq!((accounts(&world), world.told()), (Ok(()), vec![]), "its record says what it is");
        assert!(world.peers.asked().is_empty());
    }

    #[test]
    fn p2_what_cannot_move_is_found_out_here_where_a_toolstack_would_find_it_out_on_its_way() {
        for (kind, worker) in [(Kind::Xl, "push"), (Kind::Xm, "carry"), (Kind::Xe, "carry")] {
            let world = on(kind, seen::running());
            let agent = agent(&world, Action::MigrateTo, &[("name", "x0")]);
            assert_eq!(agent.pushing_worker(), worker);
            assert_eq!(agent.may_be_pushed(), Ok(()));
            world
                .xl
                .config
                .replace(Some(DomainConfig { may_not_migrate: true, ..DomainConfig::blank(&x0()) }));
            assert_eq!(agent.may_be_pushed().is_err(), kind != Kind::Xl, "{kind}");
            world.xl.config.replace(None);
            assert_eq!(agent.may_be_pushed().is_err(), kind != Kind::Xl, "what it runs with is not known");
        }
    }

    #[test]
    fn what_has_brought_it_here_is_closed_and_no_other_move() {
        let closes = |kind, transfer| {
            let world = on(kind, seen::running());
            open(&world, transfer);
            agent(&world, Action::MigrateFrom, &[]).close_what_brought_it();
            world.told()
        };
        assert_eq!(closes(Kind::Xm, from_n2()), erased());
        assert_eq!(closes(Kind::Xm, to_n2()), [] as [String; 0]);
        assert_eq!(closes(Kind::Xl, from_n2()), [] as [String; 0], "its record has it erased");
    }
}
