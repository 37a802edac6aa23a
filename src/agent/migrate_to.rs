//! `migrate_to`: the cluster's own migration, pushed from here through the same transport as a claim; or the
//! toolstack's own, where it moves domains by itself ([`crate::worker::carry`]).

use std::collections::BTreeSet;

use super::context::Agent;
use crate::clock::UnixTime;
use crate::domain::Presence;
use crate::handoff::ledger::Entry;
use crate::handoff::{Epoch, Push, Transfer};
use crate::host::NodeName;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::worker::Outcome;

impl Agent {
    /// Sends the domain to the node that the cluster names.
    ///
    /// # Errors
    /// `Generic` if it did not get there; the reason says where it runs.
    pub(super) fn migrate_to(&self) -> Result<ExitCode, Failure> {
        let Some(target) = self.environment.migrate_target.clone() else {
            return Err(self
                .failure(ExitCode::Arguments, "the cluster names no migration target; nothing was changed"));
        };
        self.wait_for_transfer(self.deadline)?;
        let presence = self.presence();
        if !matches!(presence, Presence::Running(_)) {
            return Err(self.generic(format!("it is {presence} and cannot be migrated; nothing was changed")));
        }
        let phase = self.phase()?;
        if phase.offer().is_some() {
            return Err(self.generic(format!("it is on offer ({phase}); nothing was changed")));
        }
        if self.parameters.detach_pci {
            self.devices_to_detach().map_err(|why| self.generic(format!("{why}; it still runs here")))?;
        }
        self.may_be_pushed().map_err(|why| self.generic(format!("{why}; it still runs here")))?;
        let peer = self
            .transport
            .address(&target)
            .map_err(|error| self.generic(format!("{error}; it still runs here")))?;
        let begun_at = UnixTime::now();
        if !begun_at.is_possible() {
            let now = begun_at.minute();
            return Err(self.generic(format!("the clock of this host says {now}; it still runs here")));
        }
        let transfer = Transfer { epoch: Epoch::begin(), source: self.node.clone(), target: target.clone() };
        let push = Push { domain: self.domain.clone(), transfer: transfer.clone(), made_at: begun_at };
        self.announce(push).map_err(|why| self.generic(format!("{why}; it still runs here")))?;
        log::info!("domain={} node={} migrating to {target}", self.domain, self.node);
        match self.employ(self.pushing_worker(), transfer, peer, begun_at, self.deadline, None) {
            Outcome::Moved => {
                log::info!("domain={} node={} migrate_to: runs on {target}", self.domain, self.node);
                Ok(ExitCode::Success)
            }
            Outcome::Refused { reason, .. } => {
                Err(self.generic(format!("{target} refuses it: {reason}; it still runs here")))
            }
            Outcome::Failed { reason } | Outcome::Broken { reason } | Outcome::Busy { reason } => {
                Err(self.generic(format!("migration to {target} failed: {reason}; it still runs here")))
            }
            Outcome::Undecided { reason } => Err(self.generic(format!(
                "migration to {target} has no clear end: {reason}; look at both ends before starting it anywhere"
            ))),
        }
    }

    /// Writes to where the survivors can read it that from now on a copy may be on either end.
    fn announce(&self, push: Push) -> Result<(), String> {
        let unknown = |error: &dyn std::fmt::Display| {
            format!("could not find out which other nodes there are: {error}")
        };
        let target = push.transfer.target.clone();
        let peers = self.cluster.peers(&self.node, &self.resource).map_err(|error| unknown(&error))?;
        let online = peers.into_iter().filter(|peer| peer.online).map(|peer| peer.node);
        // Under this node's own name too: it may be the one whose memory of it lasts.
        let survivors: BTreeSet<NodeName> = online.chain([target, self.node.clone()]).collect();
        let survivors: Vec<NodeName> = survivors.into_iter().collect();
        self.cluster.ledger().write(&Entry::Push(push), &survivors).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Action;
    use crate::agent::fake::{agent, worker_says, workers};
    use crate::clock::jump;
    use crate::cluster::fake::{DOWN, Fake as Cluster};
    use crate::domain::{DomainConfig, PciAddress, RunState};
    use crate::handoff::Event;
    use crate::here::fake::{World, from_n2, node, offer_of, seen, x0};
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;

    /// What runs here and may go to n2.
    fn runs() -> World {
        can_go(World::listing([seen::running()]))
    }

    fn can_go(world: World) -> World {
        world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
        worker_says(&world, &Outcome::Moved);
        world
    }

    fn to_n2(world: &World, more: &[(&str, &str)]) -> Agent {
        let mut agent = agent(world, Action::MigrateTo, more);
        agent.environment.migrate_target = Some(node("n2"));
        agent
    }

    /// Why it does not go; nobody was told of a move, and none was begun.
    fn stays(world: &World, more: &[(&str, &str)]) -> String {
        let failure = to_n2(world, more).migrate_to().unwrap_err();
        assert_eq!(failure.code, ExitCode::Generic);
        assert_eq!((workers(world), world.told()), (0, vec![]), "{failure}");
        assert!(world.deeds().iter().all(|deed| deed.starts_with("pci-list")), "{:?}", world.deeds());
        failure.to_string()
    }

    #[test]
    fn p2_the_ledger_has_the_push_before_a_worker_begins_it() {
        for (kind, worker) in [(Kind::Xl, "push"), (Kind::Xm, "carry"), (Kind::Xe, "carry")] {
            let world = World::of(Fake { kind: Some(kind), ..Fake::showing([Ok(seen::running())]) });
            let world = can_go(world);
            assert_eq!(to_n2(&world, &[]).migrate_to().unwrap(), ExitCode::Success);
            let asked = std::fs::read_to_string(world.here.root.join("/asked")).unwrap();
            assert_eq!(asked, format!("{worker}\n"));
            let pushes = world.cluster.entries.now().unwrap().pushes;
            assert_eq!(pushes.len(), 1, "the ledger keeps it until the target has seen it run");
            assert_eq!((&pushes[0].transfer.source, &pushes[0].transfer.target), (&node("n1"), &node("n2")));
        }
        let world = runs();
        world.cluster.takes_none.replace(Some("the ledger is full"));
        let why = stays(&world, &[]);
        assert!(why.contains("the ledger is full") && why.ends_with("it still runs here"), "{why}");
        for none in ["the CIB is gone", DOWN] {
            let world = runs();
            world.cluster.peers.are(Err(none));
            let why = stays(&world, &[]);
            assert!(why.contains("could not find out which other nodes there are: "), "{why}");
        }
    }

    #[test]
    fn without_a_target_nothing_is_begun() {
        let world = runs();
        let failure = agent(&world, Action::MigrateTo, &[]).migrate_to().unwrap_err();
        assert_eq!(failure.code, ExitCode::Arguments);
        assert!(failure.to_string().contains("names no migration target; nothing was changed"), "{failure}");
        assert_eq!((workers(&world), world.told()), (0, vec![]));
    }

    #[test]
    fn p1_only_what_is_known_to_run_here_is_sent_away() {
        for (state, word) in [
            (RunState::Building, "being created"),
            (RunState::Paused, "paused"),
            (RunState::Crashed, "crashed"),
            (RunState::Frozen, "frozen"),
            (RunState::ShutDown, "shut down"),
            (RunState::Rebooting, "rebooting"),
            (RunState::Dying, "being destroyed"),
        ] {
            let why = stays(&can_go(World::listing([seen::own(state)])), &[]);
            assert!(why.contains(&format!("it is {word}")) && why.contains("nothing was changed"), "{why}");
        }
        for sighting in [seen::absent(), seen::incoming(), seen::migrated_away()] {
            assert!(stays(&can_go(World::listing([sighting])), &[]).contains("cannot be migrated"));
        }
        let world = can_go(World::listing([]));
        world.xl.shows(Err("cut short".to_owned()));
        assert!(stays(&world, &[]).contains("it is unknown: "));
    }

    #[test]
    fn p2_what_is_on_offer_or_in_a_transfer_is_not_sent_a_second_time() {
        let world = runs();
        world.record([Event::OfferMade(offer_of("n1"))]);
        assert!(stays(&world, &[]).contains("it is on offer ("));
        let world = runs();
        let _lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert!(stays(&world, &[]).contains("did not end in time; it goes on"));
        let world = runs();
        world.record([Event::StreamOpened(from_n2())]);
        to_n2(&world, &[]).migrate_to().unwrap();
        assert!(!world.phase().is_in_transfer(), "what a killed transfer left was put on record first");
    }

    #[test]
    fn p7_what_cannot_move_runs_on_and_nobody_was_told_that_it_would() {
        let world = runs();
        let gpu = PciAddress::new("0000:03:10.1").unwrap();
        world.xl.passthrough.replace(vec![gpu.clone()]);
        let why = stays(&world, &[("migration_detach_pci", "true")]);
        assert!(why.contains("which its configuration does not name") && why.ends_with("runs here"), "{why}");

        let world = runs();
        world.xl.passthrough.replace(vec![gpu.clone()]);
        let agent = to_n2(&world, &[("migration_detach_pci", "true")]);
        let config = DomainConfig { passthrough: vec![gpu.to_string()], ..DomainConfig::blank(&x0()) };
        world.xl.config.replace(Some(config));
        assert_eq!(agent.migrate_to().unwrap(), ExitCode::Success, "its worker detaches it");

        let world = World::of(Fake { kind: Some(Kind::Xm), ..Fake::showing([Ok(seen::running())]) });
        let world = can_go(world);
        let agent = to_n2(&world, &[]);
        world.xl.config.replace(Some(DomainConfig { may_not_migrate: true, ..DomainConfig::blank(&x0()) }));
        let why = agent.migrate_to().unwrap_err().to_string();
        assert!(why.ends_with("it still runs here"), "{why}");
        assert_eq!((workers(&world), world.told()), (0, vec![]));
    }

    #[test]
    fn p2_without_an_address_or_a_time_of_day_nothing_is_begun() {
        let why = stays(&runs(), &[("migration_network_suffix", &"x".repeat(255))]);
        assert!(why.contains("cannot be a host name") && why.ends_with("it still runs here"), "{why}");
        let world = runs();
        jump::clock_shows(std::time::Duration::from_secs(3600));
        let why = stays(&world, &[]);
        assert!(why.contains("the clock of this host says 1970-01-01 01:"), "{why}");
    }

    #[test]
    fn p2_the_worker_decides_what_is_said_of_where_it_runs() {
        let reason = || "words".to_owned();
        let still_here = "it still runs here";
        for (outcome, begins, ends) in [
            (Outcome::Refused { reason: reason(), stands: None }, "n2 refuses it: words", still_here),
            (Outcome::Failed { reason: reason() }, "migration to n2 failed: words", still_here),
            (Outcome::Broken { reason: reason() }, "migration to n2 failed: words", still_here),
            (Outcome::Busy { reason: reason() }, "migration to n2 failed: words", still_here),
            (
                Outcome::Undecided { reason: reason() },
                "migration to n2 has no clear end: words",
                "look at both ends before starting it anywhere",
            ),
        ] {
            let world = runs();
            worker_says(&world, &outcome);
            let failure = to_n2(&world, &[]).migrate_to().unwrap_err();
            let why = failure.to_string();
            assert_eq!((failure.code, workers(&world)), (ExitCode::Generic, 1));
            assert!(why.contains(begins) && why.ends_with(ends), "{why}");
        }
    }

    #[test]
    fn p1_a_worker_without_a_word_has_no_clear_end_and_one_that_never_began_has_moved_nothing() {
        for (script, says) in [("exit 1", "ended without an answer"), ("echo what", "could not be read")] {
            let world = runs();
            world.plant("xen-handoff", script);
            let why = to_n2(&world, &[]).migrate_to().unwrap_err().to_string();
            assert!(why.contains("has no clear end") && why.contains(says), "{why}");
        }
        let world = runs();
        std::fs::remove_file(world.here.root.join("/usr/sbin/xen-handoff")).unwrap();
        world.file("usr/sbin/xen-handoff", "cannot be executed");
        let why = to_n2(&world, &[]).migrate_to().unwrap_err().to_string();
        assert!(why.contains("migration to n2 failed: ") && why.ends_with("it still runs here"), "{why}");
    }
}
