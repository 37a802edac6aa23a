//! `stop`: hands the running domain over where the cluster will start it elsewhere, and otherwise ends it,
//! verified.

use std::time::{Duration, Instant};

use super::context::{Agent, TRY_AGAIN};
use super::gates::{self, Refusal};
use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock, UnixTime};
use crate::cluster::Plan;
use crate::command;
use crate::domain::{PciAddress, Presence};
use crate::handoff::evidence::Absence;
use crate::handoff::ledger::Entry;
use crate::handoff::{Effect, Epoch, Event, Offer, Phase, SourcePhase, TargetPhase};
use crate::host::NodeName;
use crate::node::record::ShutdownTerms;
use crate::node::shutdown::{self, How};
use crate::obstacle::Obstacle;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::peer::inquiry::{read_back, read_here};
use crate::peer::preflight::{ToMove, over};
use crate::toolstack::ShutdownRequest;
use crate::wire::Connection;
use crate::wire::client::Unanswered;
use crate::wire::message::PREFLIGHT;

/// Time for an orderly shutdown where neither parameter nor timeout say one.
const DEFAULT_GRACE: Duration = Duration::from_secs(60);
/// How long one question may take that the handoff does without in the end: a sixth of the time, at most
/// this.
const PREFLIGHT_LIMIT: Duration = Duration::from_secs(15);

/// What a stop did.
#[derive(Debug)]
enum Stopped {
    /// Nothing was there.
    AlreadyAbsent,
    /// It runs on and is offered.
    HandedOver { to: NodeName },
    /// Its memory was saved, for the next start.
    Saved,
    /// It came to its end.
    Ended(How),
}

impl Agent {
    /// Stops the domain here, as the cluster is to see it.
    ///
    /// # Errors
    /// `Generic` if it is neither gone nor offered.
    pub(super) fn stop(&self) -> Result<ExitCode, Failure> {
        let done = self.stopped()?;
        if !matches!(done, Stopped::HandedOver { .. }) {
            self.leave_memory();
        }
        match &done {
            Stopped::AlreadyAbsent => {
                log::info!("domain={} node={} stop: nothing here", self.domain, self.node)
            }
            Stopped::HandedOver { to } => {
                log::info!("domain={} node={} stop: runs on, offered to {to}", self.domain, self.node);
            }
            Stopped::Saved => {
                log::info!("domain={} node={} stop: saved, to be restored", self.domain, self.node);
            }
            Stopped::Ended(how) => log::info!("domain={} node={} stop: {how}", self.domain, self.node),
        }
        Ok(ExitCode::Success)
    }

    fn stopped(&self) -> Result<Stopped, Failure> {
        let phase = self.phase()?;
        if let Phase::Source(
            SourcePhase::Sending { transfer, offer: Some(_) }
            | SourcePhase::Settling { transfer, offer: Some(_) },
        ) = &phase
            && self.here.store.is_transferring(&self.domain)
        {
            // Told "stopped" already, and being fetched right now.
            return Ok(Stopped::HandedOver { to: transfer.target.clone() });
        }
        if let Err(failure) = self.wait_for_transfer(self.deadline) {
            if !self.was_never_given()? {
                return Err(failure);
            }
            log::error!("{failure}; it was never given to this node and is not here");
            return Ok(Stopped::AlreadyAbsent);
        }
        let phase = self.phase()?;
        if let Phase::Source(SourcePhase::Settling { transfer, .. })
        | Phase::Target(TargetPhase::Arriving { transfer }) = &phase
        {
            return Err(self.generic(format!(
                "a migration from {} to {} broke off in its last step and it is not known which of them runs it; nothing \
                 was changed: see xen-handoff recover",
                transfer.source, transfer.target
            )));
        }
        self.account_for_open_moves()?;
        let presence = self.look_past_leftovers(&phase);
        if let Some(absence) = self.absence(&presence) {
            if let Phase::Source(SourcePhase::Left { transfer }) = &phase {
                self.account_for_left(transfer)?;
            } else if phase != Phase::Idle {
                self.gone(absence)?;
            }
            return self.nothing_here();
        }
        if let Phase::Source(SourcePhase::Left { .. }) = &phase {
            // It is here, so it has left no more.
            self.advance("stop", Event::Confirmed).map_err(|error| self.generic(error))?;
        }
        match self.hand_over(&presence, &phase) {
            Ok(to) => return Ok(Stopped::HandedOver { to }),
            Err(refusal) => {
                // That one is nobody's decision: without a mend, every stop of this cluster is a reboot.
                let is_fault = matches!(refusal, Refusal::PlanUnknown(_));
                let level = if is_fault { log::Level::Warn } else { log::Level::Info };
                log::log!(level, "domain={} node={} no handoff: {refusal}", self.domain, self.node);
            }
        }
        self.end(&presence)
    }

    /// A stream to this node broke off before GO, and left nothing. Where that cannot be put on record (a
    /// full disk), the record goes on saying so, and a stop need not fail for it.
    fn was_never_given(&self) -> Result<bool, Failure> {
        if self.here.store.is_transferring(&self.domain)
            || !matches!(self.phase()?, Phase::Target(TargetPhase::Receiving { .. }))
        {
            return Ok(false);
        }
        Ok(self.absence(&self.presence()).is_some())
    }

    /// None is here, and none shall arrive by what is on its way.
    fn nothing_here(&self) -> Result<Stopped, Failure> {
        let refused = self.environment.is_called_by_a_cluster() && self.refuse_pushes()?;
        // One that came before that was on record.
        let is_here = || self.or_certainly_none(self.presence()) != Presence::Absent;
        if refused && (self.here.store.is_transferring(&self.domain) || is_here()) {
            return self.stopped();
        }
        Ok(Stopped::AlreadyAbsent)
    }

    /// A listing that says something, if one comes before half of the time is gone. No glance: where the
    /// toolstack does not work, the domain can neither be fetched nor be shut down, and a stop that offers it
    /// all the same would be a success that nobody can use.
    fn first_sure_look(&self) -> Presence {
        let enough = Deadline::after(self.deadline.left() / 2);
        let mut obstacle = Obstacle::default();
        let sure = SystemClock.wait_until(enough, LOOK_AGAIN, || {
            match self.or_certainly_none(self.toolstack.listed(&self.domain, self.list_limit())) {
                Presence::Unknown(why) => {
                    obstacle.is(why, |why| log::warn!("domain={} {why}", self.domain));
                    None
                }
                presence => Some(presence),
            }
        });
        sure.unwrap_or_else(|| Presence::Unknown("the toolstack did not answer".to_owned()))
    }

    /// The same when what an unknown migration has left here was destroyed, and what somebody sends here by
    /// hand has arrived or has come to nothing.
    fn look_past_leftovers(&self, phase: &Phase) -> Presence {
        let mut last = self.first_sure_look();
        let passed = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || {
            let cleared = self.clears_leftover(&last, phase)
                || last == Presence::Absent && self.is_given_its_name_back();
            if !cleared && !matches!(last, Presence::Incoming(_)) {
                return Some(());
            }
            last = self.first_sure_look();
            None
        });
        if passed.is_none() {
            log::warn!("domain={} is {last}, and nobody finishes that", self.domain);
        }
        last
    }

    fn gone(&self, absence: Absence) -> Result<(), Failure> {
        self.advance("stop", Event::DomainGone(absence)).map(drop).map_err(|error| self.generic(error))
    }

    fn terms(&self) -> ShutdownTerms {
        let from_timeout = self.environment.timeout.map(|timeout| timeout * 2 / 3);
        let grace = self.parameters.shutdown_timeout.or(from_timeout).unwrap_or(DEFAULT_GRACE);
        // Where there is no power button, a guest is better asked in the other way than not at all.
        let acpi = self.parameters.shutdown_acpi && self.toolstack.kind().has_power_button();
        ShutdownTerms { seconds: grace.as_secs(), acpi }
    }

    /// Ends the domain, with its memory saved where that is asked for, or for good.
    fn end(&self, presence: &Presence) -> Result<Stopped, Failure> {
        let effects = self.advance("stop", Event::StopOrdered).map_err(|error| self.generic(error))?;
        if !effects.contains(&Effect::ShutDown) {
            return Err(self.generic(
                "its phase here does not allow to shut it down; nothing was changed: see xen-handoff status",
            ));
        }
        if let Some(absence) = self.save(presence) {
            self.gone(absence)?;
            return Ok(Stopped::Saved);
        }
        let terms = self.terms();
        let how = if terms.acpi { ShutdownRequest::PowerButton } else { ShutdownRequest::Drivers };
        let (absence, how) = shutdown::shut_down(
            self.toolstack.as_ref(),
            &self.domain,
            how,
            terms.grace(),
            self.deadline,
            &|| self.nobody_else_runs_it(),
        )
        .map_err(|what| self.generic(what))?;
        self.gone(absence)?;
        Ok(Stopped::Ended(how))
    }

    /// Offers the domain to the node that the cluster will start it on. That may be this one, where an action
    /// was killed while the domain was on its way here: the start that follows then reclaims it.
    fn hand_over(&self, presence: &Presence, phase: &Phase) -> Result<NodeName, Refusal> {
        gates::before_asking(self, presence)?;
        let (target, plan) = gates::plan(self, phase)?;
        if let Phase::Source(SourcePhase::Offered { offer }) = phase
            && offer.deadline > UnixTime::now()
        {
            // A second stop of what is on offer already. The first one may have been killed before it had a
            // keeper; a keeper that is one too many stands by.
            self.arm_deadline().map_err(|error| Refusal::NotRecorded(error.to_string()))?;
            return Ok(target);
        }
        let devices = self.devices_to_detach().map_err(Refusal::Devices)?;
        let connection = if target == self.node {
            None
        } else {
            let (connection, not_bootable) = self.ask_target(&target)?;
            if let Some(why) = not_bootable {
                log::warn!(
                    "domain={} {target} could not boot it either: {why}; it is offered all the same, and runs on here",
                    self.domain
                );
            }
            Some(connection)
        };
        self.offer(&target, &plan, connection, devices)?;
        Ok(target)
    }

    /// Finds out, before anything is promised, whether the domain can move while it runs, and asks the target
    /// all that the cluster's own migration asks, on the connection that the offer needs anyway. What is not
    /// known changes nothing. With the connection comes what speaks against a boot there, if anything does.
    pub(super) fn ask_target(&self, target: &NodeName) -> Result<(Connection, Option<String>), Refusal> {
        let began = Instant::now();
        let limit = || (self.deadline.left() / 6).min(PREFLIGHT_LIMIT);
        let known = ToMove::of(self.toolstack.as_ref(), &self.domain, self.parameters.detach_pci, limit());
        if let Some(why) = known.as_ref().and_then(ToMove::hindrance) {
            return Err(Refusal::CannotMove(why));
        }
        let mut cost = began.elapsed();
        let mut connection = self.reach(target)?;
        let Some(ToMove { needs, here }) = known else { return Ok((connection, None)) };
        let began = Instant::now();
        let checks = over(&mut connection, &needs, here.as_ref(), self.deadline.within(limit()));
        cost = cost.saturating_add(began.elapsed());
        let Some(mut checks) = checks else {
            if connection.can(PREFLIGHT) {
                // Its answer may still come, in the place of another one.
                drop(connection);
                connection = self.reach(target)?;
            }
            return Ok((connection, None));
        };
        if self.parameters.share_memory {
            // What others there will give is not free yet.
            checks.retain(|check| check.check != "memory");
        }
        let weighed = gates::weigh(&checks);
        log::info!(
            "domain={} {target} was asked whether it can take it: {} ms",
            self.domain,
            cost.as_millis()
        );
        Ok((connection, weighed?))
    }

    /// Makes sure, while we still can do something else, that the target will be able to come. It is tried
    /// again for a little while: a connection that is lost just then, or a daemon that restarts, is no reason
    /// to end a guest.
    fn reach(&self, target: &NodeName) -> Result<Connection, Refusal> {
        let once =
            self.parameters.reach.connect_timeout.saturating_mul(2).saturating_add(Duration::from_secs(5));
        // What comes to nothing must leave the guest its time for an ordinary shutdown.
        let enough = self.deadline.within((self.deadline.left() / 3).saturating_sub(once).min(once));
        let mut obstacle = Obstacle::default();
        let reached = SystemClock.wait_until(enough, TRY_AGAIN, || {
            match self.reach_once(target, self.deadline.within(once)) {
                Ok(connection) => Some(connection),
                Err(why) => {
                    obstacle.is(why, |why| {
                        if !enough.passed() {
                            log::info!(
                                "domain={} the planned target cannot fetch it yet: {why}",
                                self.domain
                            );
                        }
                    });
                    None
                }
            }
        });
        reached.ok_or_else(|| Refusal::OutOfReach(obstacle.to_string()))
    }

    fn reach_once(&self, target: &NodeName, deadline: Deadline) -> Result<Connection, String> {
        let back = self.transport.address(&self.node).map_err(|error| error.to_string())?;
        let mut connection = self.transport.ask(target, deadline).map_err(|error| error.to_string())?;
        match connection.is_in_reach(back, deadline) {
            Ok(()) => Ok(connection),
            Err(Unanswered::Refused { reason, .. }) => Err(format!("{target} says: {reason}")),
            Err(error) => Err(error.by(target)),
        }
    }

    fn offer(
        &self,
        target: &NodeName,
        plan: &Plan,
        connection: Option<Connection>,
        devices: Vec<PciAddress>,
    ) -> Result<(), Refusal> {
        let not_recorded = |what: &dyn std::fmt::Display| Refusal::NotRecorded(what.to_string());
        let made_at = UnixTime::now();
        let offer = Offer {
            domain: self.domain.clone(),
            source: self.node.clone(),
            epoch: Epoch::begin(),
            made_at,
            deadline: made_at.plus(self.parameters.handoff_timeout),
        };
        let terms = self.terms();
        // Under Heartbeat an action has the same limit everywhere.
        let start_takes = plan.start_takes.or(self.environment.timeout);
        let mut survivors = plan.survivors.clone();
        if !survivors.contains(target) {
            survivors.push(target.clone());
        }
        let others = survivors.iter().filter(|node| **node != self.node);
        let others: Vec<_> = others.filter_map(|node| self.transport.address(node).ok()).collect();
        self.here
            .store
            .advance_with(&self.domain, "stop", Event::OfferMade(offer.clone()), |record| {
                record.resource = Some(self.resource.clone());
                record.terms = Some(terms);
                record.survivors = others;
                record.devices = devices;
                record.fetch_seconds = start_takes.map(|limit| limit.as_secs());
            })
            .map_err(|error| not_recorded(&error))?;
        let entry = Entry::Offer(offer);
        let recorded =
            self.cluster.ledger().write(&entry, &survivors).map_err(|error| error.to_string()).and_then(
                |()| match connection {
                    Some(mut connection) => read_back(&mut connection, &entry, self.deadline),
                    None => read_here(self.cluster.ledger(), &entry, self.deadline),
                },
            );
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(why) => {
                // Puts the record right for the ordinary stop that follows.
                self.advance("stop", Event::OfferNotRecorded).map_err(|error| not_recorded(&error))?;
                return Err(Refusal::NotRecorded(why));
            }
        };
        let effects =
            self.advance("stop", Event::OfferRecorded(recorded)).map_err(|error| not_recorded(&error))?;
        if effects.iter().any(|effect| matches!(effect, Effect::ArmDeadline(_))) {
            // Without a keeper the offer would have no end, so there is no offer.
            self.arm_deadline().map_err(|error| not_recorded(&error))?;
        }
        if effects.contains(&Effect::ReportStopped) {
            Ok(())
        } else {
            Err(Refusal::NotRecorded(
                "its phase here does not allow to report that it is on offer: see xen-handoff status"
                    .to_owned(),
            ))
        }
    }

    fn arm_deadline(&self) -> Result<(), command::CommandError> {
        let (_keeper, _its_stdout) =
            command::detach(self.root(), &["keep", "--domain", self.domain.as_str()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Action;
    use crate::agent::fake::agent;
    use crate::clock::{Moment, jump};
    use crate::cluster::fake::{DOWN, Fake as Cluster};
    use crate::cluster::{Destination, Loss};
    use crate::domain::{DomainConfig, DomainId, RunState};
    use crate::handoff::ledger::Entries;
    use crate::handoff::{Push, Transfer};
    use crate::here::fake::{EPOCH, World, from_n2, node, offer_of, seen, to_n2, x0};
    use crate::preflight::facts::{Facts, HostFacts};
    use crate::toolstack::fake::Fake;
    use crate::toolstack::{Kind, XenVersion};
    use crate::wire::message::{Answer, Request};

    fn to(destination: Destination) -> Plan {
        Plan { destination, losing: vec![], failed: None, survivors: vec![node("n2")], start_takes: None }
    }

    fn planned_to_n2() -> Plan {
        to(Destination::Node(node("n2")))
    }

    /// A guest that runs and that hears when it is asked to shut down.
    fn runs() -> World {
        let world = World::listing([seen::running()]);
        world.xl.after("shutdown", seen::absent());
        world
    }

    /// What a node says of itself that can take it.
    fn takes_it() -> Facts {
        let capabilities = ["pv", "hvm", "hap"].map(str::to_owned).to_vec();
        let xen = XenVersion { major: 4, minor: 17 };
        let host = Ok(HostFacts { xen, capabilities, free_mib: 4096, spare_mib: 0 });
        Facts { presence: Presence::Absent, host, file: None, troubles: vec![] }
    }

    /// The same where all is well for a handoff to n2.
    fn can_go() -> World {
        well(runs())
    }

    fn well(world: World) -> World {
        world.file("etc/xen-handoff/id_ed25519", "");
        world.plant("xen-handoff", &format!("echo $* >> {}", world.here.root.join("/keepers").display()));
        world.cluster.plan.are(Ok(planned_to_n2()));
        world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
        well_but_for(&world, |_| None);
        world
    }

    /// n2 answers well, but where this says something else.
    fn well_but_for(world: &World, says: impl Fn(&Request) -> Option<Answer> + Send + 'static) {
        let store = world.here.store.clone();
        world.peers.answer("n2", move |request| {
            says(request).or_else(|| {
                Some(match request {
                    Request::Reach { .. } => Answer::Reached,
                    Request::Preflight { .. } => Answer::Facts { facts: takes_it() },
                    Request::Ledger { .. } => {
                        let offers = store.load(&x0()).unwrap().state.offer().cloned().into_iter().collect();
                        Answer::Ledger { entries: Entries { offers, ..Entries::default() } }
                    }
                    other => panic!("{other:?}"),
                })
            })
        });
    }

    fn stops(world: &World) -> Result<ExitCode, Failure> {
        agent(world, Action::Stop, &[]).stop()
    }

    fn is_offered(world: &World) -> bool {
        matches!(world.phase(), Phase::Source(SourcePhase::Offered { .. }))
    }

    /// It is an ordinary stop: the guest has ended in order, and nothing is open.
    fn ends_in_order(world: &World, more: &[(&str, &str)], what: &str) {
        assert_eq!(agent(world, Action::Stop, more).stop().unwrap(), ExitCode::Success, "{what}");
        assert_eq!(world.deeds(), ["shutdown x0 Drivers"], "{what}");
        assert_eq!(world.phase(), Phase::Idle, "{what}");
    }

    #[test]
    fn p3_what_starts_elsewhere_runs_on_and_is_offered_where_the_target_has_read_it() {
        let world = can_go();
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert!(is_offered(&world) && world.deeds().is_empty(), "{}: {:?}", world.phase(), world.deeds());
        let record = world.here.store.load(&x0()).unwrap();
        assert_eq!(record.resource.as_deref(), Some("x0"));
        assert_eq!(record.survivors.len(), 1);
        assert!(record.terms.is_some_and(|terms| terms.seconds == 80), "two thirds of its timeout");
        assert_eq!(world.told().len(), 1, "{:?}", world.told());
    }

    #[test]
    fn p6_what_nobody_starts_elsewhere_is_stopped() {
        for destination in [Destination::Nowhere, Destination::Node(node("n1"))] {
            let world = can_go();
            world.cluster.plan.are(Ok(to(destination.clone())));
            ends_in_order(&world, &[], &destination.to_string());
        }
        let losing = vec![Loss { resource: "fs".to_owned(), what: "stop".to_owned() }];
        let failed = Some("monitor".to_owned());
        for plan in [Plan { losing, ..planned_to_n2() }, Plan { failed, ..planned_to_n2() }] {
            let world = can_go();
            world.cluster.plan.are(Ok(plan.clone()));
            ends_in_order(&world, &[], &format!("{plan:?}"));
        }
    }

    #[test]
    fn p6_without_a_plan_a_key_or_the_will_it_is_an_ordinary_stop() {
        for why in ["aborted", DOWN] {
            let world = can_go();
            world.cluster.plan.are(Err(why));
            ends_in_order(&world, &[], why);
        }
        ends_in_order(&can_go(), &[("handoff", "never")], "handoff=never");
        for kind in [Kind::Xm, Kind::Xe] {
            let fake = Fake { kind: Some(kind), ..Fake::showing([Ok(seen::running())]) };
            let world = well(World::of(fake));
            world.xl.after("shutdown", seen::absent());
            ends_in_order(&world, &[], kind.name());
            assert!(world.told().is_empty(), "{kind} moves it by itself: nobody could fetch it");
        }
        let world = can_go();
        std::fs::remove_file(world.here.root.join("/etc/xen-handoff/id_ed25519")).unwrap();
        ends_in_order(&world, &[], "no key");
        let world = can_go();
        jump::clock_shows(Duration::from_secs(3600));
        ends_in_order(&world, &[], "its clock was never set");
        let world = can_go();
        let mut agent = agent(&world, Action::Stop, &[]);
        agent.environment.on_node = None;
        assert_eq!(agent.stop().unwrap(), ExitCode::Success);
        assert_eq!(world.deeds(), ["shutdown x0 Drivers"], "called by hand");
    }

    #[test]
    fn p3_where_the_target_cannot_come_or_cannot_read_the_offer_there_is_none() {
        let no = || Answer::Refused { reason: "no key on n2".to_owned(), stands: None };
        let world = can_go();
        well_but_for(&world, move |asked| matches!(asked, Request::Reach { .. }).then(no));
        ends_in_order(&world, &[], "n2 cannot come back");
        assert!(world.told().is_empty(), "nothing is offered: {:?}", world.told());
        let world = can_go();
        world.peers.answer("n2", |_| None);
        ends_in_order(&world, &[], "n2 hangs up");
        let world = can_go();
        well_but_for(&world, move |asked| matches!(asked, Request::Ledger { .. }).then(no));
        ends_in_order(&world, &[], "n2 cannot read it");
        let told = world.told();
        assert!(told[0].starts_with("write") && told[1].starts_with("erase"), "{told:?}");
        let world = can_go();
        let empty = || Answer::Ledger { entries: Entries::default() };
        well_but_for(&world, move |asked| matches!(asked, Request::Ledger { .. }).then(empty));
        ends_in_order(&world, &[], "n2 does not see it");
        let world = can_go();
        world.cluster.takes_none.replace(Some("full"));
        ends_in_order(&world, &[], "the ledger does not take it");
    }

    #[test]
    fn p7_what_could_be_booted_there_and_not_moved_is_stopped_and_what_could_be_neither_is_offered() {
        let world = can_go();
        let answer = |world: &World, facts: fn() -> Facts| {
            let facts = move || Answer::Facts { facts: facts() };
            well_but_for(world, move |asked| matches!(asked, Request::Preflight { .. }).then(facts));
        };
        let stop = agent(&world, Action::Stop, &[]);
        let config = DomainConfig { may_not_migrate: true, ..DomainConfig::blank(&x0()) };
        world.xl.config.replace(Some(config));
        answer(&world, takes_it);
        assert_eq!(stop.stop().unwrap(), ExitCode::Success);
        assert_eq!((world.deeds().len(), world.phase()), (1, Phase::Idle), "nomigrate");
        let world = can_go();
        answer(&world, || Facts { presence: Presence::Incoming(DomainId(3)), ..takes_it() });
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert!(is_offered(&world) && world.deeds().is_empty(), "no node boots it: it runs on here");
    }

    #[test]
    fn p5_an_offer_without_a_keeper_is_none_and_a_second_stop_has_one_begun_again() {
        let world = can_go();
        std::fs::remove_file(world.here.root.join("/usr/sbin/xen-handoff")).unwrap();
        std::fs::create_dir_all(world.here.root.join("/usr/sbin")).unwrap();
        world.file("usr/sbin/xen-handoff", "cannot be executed");
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert_eq!((world.phase(), world.deeds().len()), (Phase::Idle, 1));

        let world = can_go();
        world.is_offered(&offer_of("n1"));
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert!(is_offered(&world) && world.deeds().is_empty() && world.told().is_empty());
        let began = std::time::Instant::now();
        let keepers = world.here.root.join("/keepers");
        while !keepers.exists() && began.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        assert!(keepers.exists());
    }

    #[test]
    fn a_guest_that_does_not_hear_is_destroyed_after_its_grace_and_one_that_cannot_be_fails() {
        let world = World::listing([seen::running()]);
        world.xl.after("destroy", seen::absent());
        let began = Moment::now();
        assert_eq!(
            agent(&world, Action::Stop, &[("shutdown_timeout", "30")]).stop().unwrap(),
            ExitCode::Success
        );
        let took = began.elapsed().as_secs();
        assert!((30..60).contains(&took), "{took} s");
        assert_eq!(world.deeds().last().unwrap(), "destroy x0");

        let world = World::listing([seen::running()]);
        world.xl.fails("destroy", usize::MAX);
        let why = stops(&world).unwrap_err().to_string();
        assert!(why.contains("it could not be stopped in time and is running"), "{why}");
    }

    #[test]
    fn nothing_here_is_stopped_and_what_cannot_be_told_is_not_nothing() {
        let world = World::listing([seen::absent()]);
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert!(world.deeds().is_empty());
        let world = World::listing([]);
        world.xl.shows(Err("cut short".to_owned()));
        assert!(stops(&world).is_err());
        let world = World::attended([seen::absent()]);
        assert!(stops(&world).unwrap_err().to_string().contains("about to create it anew"));
        // A listing that fails once is asked again.
        let world = World::of(Fake::showing([Err("cut short".to_owned()), Ok(seen::absent())]));
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
    }

    #[test]
    fn what_ended_while_on_offer_closes_it() {
        let world = World::listing([seen::absent()]);
        world.is_offered(&offer_of("n1"));
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert_eq!((world.phase(), world.told()), (Phase::Idle, vec![format!("erase {EPOCH}")]));
    }

    #[test]
    fn p1_what_is_being_fetched_is_stopped_already_and_what_has_no_clear_end_is_not() {
        let world = World::listing([seen::running()]);
        world.is_sending();
        let lock = world.here.store.begin_transfer(&x0()).unwrap();
        let began = jump::passed();
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert!(world.xl.calls.borrow().is_empty() && jump::passed() == began);
        drop(lock);

        for settle in [World::is_settling, World::is_arriving] {
            let world = World::listing([seen::own(RunState::Dying)]);
            settle(&world);
            let why = stops(&world).unwrap_err().to_string();
            assert!(why.contains("broke off in its last step"), "{why}");
            assert!(world.deeds().is_empty() && world.phase().is_in_transfer());
        }
    }

    #[test]
    fn p1_a_stream_that_never_gave_it_here_fails_no_stop_and_one_that_may_have_does() {
        let world = World::listing([seen::absent()]);
        world.is_receiving();
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert_eq!(world.phase(), Phase::Idle);

        let world = World::listing([seen::running()]);
        let _lock = world.here.store.begin_transfer(&x0()).unwrap();
        assert!(stops(&world).unwrap_err().to_string().contains("did not end in time"));
        assert!(world.deeds().is_empty());
    }

    /// It was sent to n2 by the cluster's own migration.
    fn has_left() -> World {
        let world = World::listing([seen::absent()]);
        let push = Push { domain: x0(), transfer: to_n2(), made_at: UnixTime::now() };
        let entries = Entries { pushes: vec![push.clone()], ..Entries::default() };
        let there = crate::handoff::evidence::Recorded::observe(&Entry::Push(push), &entries).unwrap();
        world.record([
            Event::Pushed(to_n2(), there),
            Event::SenderEnded(crate::handoff::event::SenderEnd::Moved),
        ]);
        world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
        world
    }

    fn answers(world: &World, presence: Presence) {
        world.peers.answer("n2", move |_| {
            Some(Answer::Stands { presence: presence.clone(), phase: Phase::Idle, ended: None })
        });
    }

    #[test]
    fn p1_a_copy_that_was_sent_away_is_accounted_for_before_a_stop_says_anything() {
        let world = has_left();
        world.cluster.plan.are(Ok(planned_to_n2()));
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert_eq!(
            (world.phase(), world.told()),
            (Phase::Idle, vec![]),
            "n2 has not said that it runs there"
        );

        let world = has_left();
        answers(&world, Presence::Absent);
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert_eq!((world.phase(), world.told()), (Phase::Idle, vec![format!("erase {EPOCH}")]));

        let world = has_left();
        answers(&world, Presence::Running(DomainId(4)));
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Left { .. })), "a start here asks for it");

        let world = has_left();
        let why = stops(&world).unwrap_err().to_string();
        assert!(why.contains("it was sent to n2 and may run there"), "{why}");
        world.peers.answer("n2", |_| Some(Answer::Done));
        assert!(stops(&world).unwrap_err().to_string().contains("it answers: done"));
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Left { .. })));
    }

    #[test]
    fn p1_a_push_to_here_that_has_not_come_must_not_come_any_more() {
        let world = World::listing([seen::absent()]);
        world.is_pushed_here();
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert!(world.here.store.refuses(&x0(), EPOCH).unwrap());
        assert_eq!(from_n2(), Transfer { epoch: EPOCH, source: node("n2"), target: node("n1") });
    }

    #[test]
    fn p7_a_guest_that_a_person_has_paused_is_woken_for_its_shutdown_if_nobody_else_can_run_it() {
        let paused = || Fake { has_run: true, ..Fake::showing([Ok(seen::own(RunState::Paused))]) };
        let world = World::of(paused());
        world.xl.after("unpause", seen::running());
        world.xl.after("shutdown", seen::absent());
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert_eq!(world.deeds(), ["unpause x0", "shutdown x0 Drivers"]);

        let world = World::of(paused());
        world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
        world.xl.after("destroy", seen::absent());
        stops(&world).unwrap();
        assert_eq!(world.deeds(), ["destroy x0"], "a silent node may be running it");
    }

    #[test]
    fn p1_what_a_killed_migration_left_is_destroyed_by_a_stop_too() {
        let world = World::listing([seen::incoming()]);
        world.xl.after("destroy x0--incoming", seen::absent());
        assert_eq!(stops(&world).unwrap(), ExitCode::Success);
        assert_eq!(world.deeds(), ["destroy x0--incoming"]);
    }
}
