//! `migrate_from`: says that the domain, pushed from elsewhere, has arrived.

use super::context::Agent;
use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock};
use crate::domain::Presence;
use crate::handoff::{Effect, Event};
use crate::ocf::exit_code::{ExitCode, Failure};

/// How long nothing at all may be seen of it. `migrate_to` has ended before this begins, so it must be here.
const MAY_BE_ABSENT: std::time::Duration = std::time::Duration::from_secs(5);

impl Agent {
    /// Waits until the domain runs here.
    ///
    /// # Errors
    /// `Generic` if it does not, with what is here instead.
    pub(super) fn migrate_from(&self) -> Result<ExitCode, Failure> {
        self.wait_for_transfer(self.deadline)?;
        let absent_until = Deadline::after(MAY_BE_ABSENT);
        let mut last = Presence::Absent;
        let arrived = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || {
            last = self.presence();
            match &last {
                Presence::Running(_) => Some(true),
                Presence::Absent => absent_until.passed().then_some(false),
                Presence::Crashed(_) | Presence::ShutDown(_) => Some(false),
                _ => None,
            }
        });
        if arrived != Some(true) {
            let from = self
                .environment
                .migrate_source
                .as_ref()
                .map(|node| format!(" from {node}"))
                .unwrap_or_default();
            return Err(self.generic(format!("it has not arrived{from}: it is {last} here")));
        }
        let effects = self.advance("migrate_from", Event::Confirmed).map_err(|error| self.generic(error))?;
        if effects.contains(&Effect::ReportRunning) {
            self.close_what_brought_it();
            self.attach_devices()?;
            self.share_memory();
            self.wait_until_healthy()?;
            return Ok(ExitCode::Success);
        }
        Err(self.generic("it runs here, but its phase does not allow to report that: see xen-handoff status"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Action;
    use crate::agent::fake::{TIMEOUT, agent};
    use crate::clock::{Moment, UnixTime, jump};
    use crate::domain::{DomainConfig, PciAddress, RunState};
    use crate::handoff::event::ReceiverEnd;
    use crate::handoff::ledger::Entries;
    use crate::handoff::{Phase, Push};
    use crate::here::fake::{EPOCH, World, from_n2, node, offer_of, seen, x0};
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;

    fn from(world: &World, more: &[(&str, &str)]) -> Agent {
        let mut agent = agent(world, Action::MigrateFrom, more);
        agent.environment.migrate_source = Some(node("n2"));
        agent
    }

    fn arrives(world: &World) -> Result<ExitCode, String> {
        from(world, &[]).migrate_from().map_err(|failure| {
            assert_eq!(failure.code, ExitCode::Generic);
            failure.to_string()
        })
    }

    /// It was pushed here, and this listing shows it.
    fn pushed(world: World) -> World {
        world.is_arriving();
        world.record([Event::ReceiverEnded(ReceiverEnd::Running)]);
        world
    }

    fn erased() -> Vec<String> {
        vec![format!("erase {EPOCH}")]
    }

    #[test]
    fn p2_what_runs_here_has_arrived_and_the_ledger_has_its_way_no_more() {
        let world = pushed(World::listing([seen::running()]));
        assert_eq!(arrives(&world), Ok(ExitCode::Success));
        assert_eq!((world.phase(), world.told()), (Phase::Idle, erased()));
        assert!(world.deeds().is_empty());

        for kind in [Kind::Xm, Kind::Xe] {
            let world = World::of(Fake { kind: Some(kind), ..Fake::showing([Ok(seen::running())]) });
            let push = Push { domain: x0(), transfer: from_n2(), made_at: UnixTime::now() };
            world.cluster.entries.are(Ok(Entries { pushes: vec![push], ..Entries::default() }));
            assert_eq!((arrives(&world), world.told()), (Ok(ExitCode::Success), erased()), "{kind}");
        }
    }

    #[test]
    fn what_is_still_on_its_way_is_waited_for() {
        for state in [RunState::Paused, RunState::Building, RunState::Frozen] {
            let world = pushed(World::listing([seen::own(state)]));
            let mut looks = 0;
            world.xl.when("list", move |fake| {
                looks += 1;
                if looks == 30 {
                    fake.shows(Ok(seen::running()));
                }
            });
            assert_eq!(arrives(&world), Ok(ExitCode::Success), "{state:?}");
            assert!(jump::passed().as_secs() >= 10, "that takes longer than one may be absent");
        }
        let (world, began) = (pushed(World::listing([])), Moment::now());
        world.xl.shows(Err("cut short".to_owned()));
        let why = arrives(&world).unwrap_err();
        assert!(why.contains("it has not arrived from n2: it is unknown: "), "{why}");
        assert!(began.elapsed().as_secs() >= TIMEOUT - 20, "what is not known may yet run");
        assert_ne!(world.phase(), Phase::Idle);
    }

    #[test]
    fn p1_what_has_not_come_or_does_not_run_is_said_at_once_and_nothing_is_confirmed() {
        let (world, began) = (pushed(World::listing([seen::absent()])), Moment::now());
        assert!(arrives(&world).unwrap_err().ends_with("it has not arrived from n2: it is absent here"));
        assert!(began.elapsed() >= MAY_BE_ABSENT && jump::passed() < MAY_BE_ABSENT * 2);
        assert_eq!((matches!(world.phase(), Phase::Target(_)), world.told()), (true, vec![]));

        for (state, word) in [(RunState::Crashed, "crashed"), (RunState::ShutDown, "shut down")] {
            let world = pushed(World::listing([seen::own(state)]));
            let why = arrives(&world).unwrap_err();
            assert!(why.contains(&format!("it is {word}")), "{why}");
            assert_eq!((jump::passed().as_secs(), world.told()), (0, vec![]));
        }

        let world = World::listing([seen::absent()]);
        let why = agent(&world, Action::MigrateFrom, &[]).migrate_from().unwrap_err().to_string();
        assert!(why.ends_with("it has not arrived: it is absent here"), "the cluster names no source: {why}");
    }

    #[test]
    fn p1_a_transfer_that_is_under_way_is_waited_for_and_one_that_broke_off_is_settled() {
        let world = World::listing([seen::running()]);
        world.is_arriving();
        let mut lock = world.here.store.begin_transfer(&x0()).unwrap();
        let mut waits = 0;
        jump::meanwhile(move || {
            waits += 1;
            lock = lock.take().filter(|_| waits < 20);
        });
        assert_eq!(arrives(&world), Ok(ExitCode::Success));
        assert!(jump::passed().as_secs() >= 9);
        assert_eq!((world.phase(), world.told()), (Phase::Idle, erased()), "settled, then confirmed");

        let world = World::listing([seen::running()]);
        let _lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert!(arrives(&world).unwrap_err().contains("did not end in time; it goes on"));
    }

    #[test]
    fn p2_what_is_on_offer_here_has_not_arrived_here() {
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        arrives(&world).unwrap_err();
        assert!(world.phase().is_offered_away() && world.told().is_empty());
    }

    #[test]
    fn what_has_arrived_is_well_and_has_its_devices_before_that_is_said() {
        let world = pushed(World::listing([seen::running()]));
        world.plant("sick", "echo the database is down; exit 1");
        let sick = world.here.root.join("/usr/sbin/sick").display().to_string();
        let mut agent = from(&world, &[("monitor_scripts", &sick)]);
        agent.deadline = Deadline::after(std::time::Duration::from_secs(2));
        let why = agent.migrate_from().unwrap_err().to_string();
        assert!(why.contains("it runs here, but monitor script ") && why.contains("is down"), "{why}");

        let world = pushed(World::listing([seen::running()]));
        let agent = from(&world, &[("migration_detach_pci", "true")]);
        let device = PciAddress::new("0000:03:10.1").unwrap();
        let config = DomainConfig { passthrough: vec![device.to_string()], ..DomainConfig::blank(&x0()) };
        world.xl.config.replace(Some(config));
        assert_eq!(agent.migrate_from().unwrap(), ExitCode::Success);
        assert_eq!(*world.xl.passthrough.borrow(), [device]);

        let world = pushed(World::listing([seen::running()]));
        let agent = from(&world, &[("migration_detach_pci", "true")]);
        let config =
            DomainConfig { passthrough: vec!["0000:03:10.1".to_owned()], ..DomainConfig::blank(&x0()) };
        world.xl.config.replace(Some(config));
        world.xl.fails("pci-attach", usize::MAX);
        let why = agent.migrate_from().unwrap_err().to_string();
        assert!(why.contains("it runs here without a device of its own"), "{why}");
    }
}
