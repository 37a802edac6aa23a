//! `stop`: hands the running domain over where the cluster will start it elsewhere, and otherwise ends it, verified.

use std::time::{Duration, Instant};

use super::gates::{self, Refusal};
use super::obstacle::Obstacle;
use super::shutdown::{self, How};
use super::{Agent, LOOK_AGAIN, TRY_AGAIN};
use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::cluster::Plan;
use crate::command;
use crate::domain::{PciAddress, Presence};
use crate::handoff::evidence::Absence;
use crate::handoff::ledger::Entry;
use crate::handoff::record::ShutdownTerms;
use crate::handoff::{Effect, Epoch, Event, Offer, Phase};
use crate::host::NodeName;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::preflight::ask::{ToMove, over};
use crate::toolstack::ShutdownRequest;
use crate::transport::Connection;
use crate::transport::inquiry::{read_back, read_here};
use crate::transport::message::{Answer, PREFLIGHT, Request};

/// Time for an orderly shutdown where neither parameter nor timeout say one.
const DEFAULT_GRACE: Duration = Duration::from_secs(60);
/// How long one question may take that the handoff does without in the end: a sixth of the time, at most this.
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
        if let Phase::Sending { transfer, offer: Some(_) } | Phase::Settling { transfer, offer: Some(_) } =
            &phase
            && self.store.is_transferring(&self.domain)
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
        if let Phase::Settling { transfer, .. } | Phase::Arriving { transfer } = &phase {
            return Err(self.generic(format!(
                "a migration from {} to {} broke off in its last step and it is not known which of them runs it; nothing \
                 was changed: see xen-handoff recover",
                transfer.source, transfer.target
            )));
        }
        if !self.toolstack.kind().streams() {
            self.account_for_carries()?;
        }
        let presence = self.look_past_leftovers(&phase);
        if let Some(absence) = self.absence(&presence) {
            if let Phase::Left { transfer } = &phase {
                self.account_for_left(transfer)?;
            } else if phase != Phase::Idle {
                self.gone(absence)?;
            }
            return self.nothing_here();
        }
        if let Phase::Left { .. } = &phase {
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

    /// A stream to this node broke off before GO, and left nothing. Where that cannot be put on record (a full disk), the record
    /// goes on saying so, and a stop need not fail for it.
    fn was_never_given(&self) -> Result<bool, Failure> {
        if self.store.is_transferring(&self.domain) || !matches!(self.phase()?, Phase::Receiving { .. }) {
            return Ok(false);
        }
        Ok(self.absence(&self.presence()).is_some())
    }

    /// None is here, and none shall arrive by what is on its way.
    fn nothing_here(&self) -> Result<Stopped, Failure> {
        let refused = self.environment.is_called_by_a_cluster() && self.refuse_pushes()?;
        // One that came before that was on record.
        if refused && (self.store.is_transferring(&self.domain) || self.presence() != Presence::Absent) {
            return self.stopped();
        }
        Ok(Stopped::AlreadyAbsent)
    }

    /// A listing that says something, if one comes before half of the time is gone. No glance: where the toolstack does not work, the
    /// domain can neither be fetched nor be shut down, and a stop that offers it all the same would be a success that nobody can use.
    fn first_sure_look(&self) -> Presence {
        let enough = Deadline::after(self.deadline.left() / 2);
        let mut obstacle = Obstacle::default();
        let sure = SystemClock.wait_until(enough, LOOK_AGAIN, || {
            match self.toolstack.listed(&self.domain, self.list_limit()) {
                Presence::Unknown(why) => {
                    obstacle.is(why, |why| log::warn!("domain={} {why}", self.domain));
                    None
                }
                presence => Some(presence),
            }
        });
        sure.unwrap_or_else(|| Presence::Unknown("the toolstack did not answer".to_owned()))
    }

    /// The same when what an unknown migration has left here was destroyed, and what somebody sends here by hand has arrived or has
    /// come to nothing.
    fn look_past_leftovers(&self, phase: &Phase) -> Presence {
        let mut last = self.first_sure_look();
        let passed = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || {
            let cleared = self.clears_leftover(&last, phase);
            if !cleared && !matches!(last, Presence::Incoming(_)) {
                return Some(());
            }
            last = self.first_sure_look();
            None
        });
        if passed.is_none() {
            log::warn!("domain={} is {last}, and nobody has finished that", self.domain);
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
            return Err(self.generic("the record does not allow to shut it down; nothing was changed"));
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

    /// Offers the domain to the node that the cluster will start it on. That may be this one, where an action was killed while
    /// the domain was on its way here: the start that follows then reclaims it.
    fn hand_over(&self, presence: &Presence, phase: &Phase) -> Result<NodeName, Refusal> {
        gates::before_asking(self, presence)?;
        let (target, plan) = gates::plan(self, phase)?;
        if let Phase::Offered { offer } = phase
            && offer.deadline > UnixTime::now()
        {
            // A second stop of what is on offer already. The first one may have been killed before it had a keeper; a
            // keeper that is one too many stands by.
            self.arm_deadline().map_err(|error| Refusal::NotRecorded(error.to_string()))?;
            return Ok(target);
        }
        let devices = self.devices_to_detach().map_err(Refusal::Devices)?;
        let connection = if target == self.node { None } else { Some(self.ask_target(&target)?) };
        self.offer(&target, &plan, connection, devices)?;
        Ok(target)
    }

    /// Finds out, before anything is promised, whether the domain can move while it runs, and asks the target all that the cluster's own
    /// migration asks, on the connection that the offer needs anyway. What is not known changes nothing.
    fn ask_target(&self, target: &NodeName) -> Result<Connection, Refusal> {
        let began = Instant::now();
        let limit = || (self.deadline.left() / 6).min(PREFLIGHT_LIMIT);
        let known = ToMove::of(self.toolstack.as_ref(), &self.domain, self.parameters.detach_pci, limit());
        if let Some(why) = known.as_ref().and_then(ToMove::hindrance) {
            return Err(Refusal::CannotMove(why));
        }
        let mut cost = began.elapsed();
        let mut connection = self.reach(target)?;
        let Some(ToMove { needs, here }) = known else { return Ok(connection) };
        let began = Instant::now();
        let checks = over(&mut connection, &needs, here.as_ref(), self.deadline.within(limit()));
        cost += began.elapsed();
        let Some(mut checks) = checks else {
            if connection.can(PREFLIGHT) {
                // Its answer may still come, in the place of another one.
                drop(connection);
                connection = self.reach(target)?;
            }
            return Ok(connection);
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
        if let Some(why) = weighed? {
            log::warn!(
                "domain={} {target} could not boot it either: {why}; it is offered all the same, and runs on here",
                self.domain
            );
        }
        Ok(connection)
    }

    /// Makes sure, while we still can do something else, that the target will be able to come. It is tried again for a little while: a
    /// connection that is lost just then, or a daemon that restarts, is no reason to end a guest.
    fn reach(&self, target: &NodeName) -> Result<Connection, Refusal> {
        let once = self.parameters.reach.connect_timeout * 2 + Duration::from_secs(5);
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
        let mut connection = self.transport.connect(target, deadline).map_err(|error| error.to_string())?;
        match connection.ask(&Request::Reach { back }, deadline) {
            Ok(Answer::Reached) => Ok(connection),
            Ok(Answer::Refused { reason, .. }) => Err(format!("{target} says: {reason}")),
            Ok(other) => Err(format!("{target} answers {other:?}")),
            Err(error) => Err(error.to_string()),
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
        let mut survivors = plan.survivors.clone();
        if !survivors.contains(target) {
            survivors.push(target.clone());
        }
        let others = survivors.iter().filter(|node| **node != self.node);
        let others: Vec<_> = others.filter_map(|node| self.transport.address(node).ok()).collect();
        self.store
            .advance_with(&self.domain, "stop", Event::OfferMade(offer.clone()), |record| {
                record.resource = Some(self.resource.clone());
                record.terms = Some(terms);
                record.survivors = others;
                record.devices = devices;
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
            Err(Refusal::NotRecorded("the record does not allow to report it".to_owned()))
        }
    }

    fn arm_deadline(&self) -> Result<(), command::CommandError> {
        let (_keeper, _its_stdout) =
            command::detach(self.root(), &["keep", "--domain", self.domain.as_str()])?;
        Ok(())
    }
}
