//! `monitor`: one look, and the record. Never 7 for "I cannot tell".
//!
//! | the listing shows | and the record | answer |
//! |---|---|---|
//! | running | nothing, or a transfer that has not ended | runs |
//! | running, or frozen in a transfer | it is offered, or claimed | not running (the cluster was told so) |
//! | paused | | runs, degraded |
//! | crashed, or shut down and kept | | error |
//! | frozen, or given away, and no transfer | | error: an interrupted migration |
//! | given away, and the toolstack moves it by itself | | look again |
//! | arriving, or absent, while a stream to here is under way | | look again: it is about to run here |
//! | arriving, with no transfer | it was given to this node | error: whoever finishes it lets it run |
//! | arriving, and a process of xl's receives it | no transfer | look again: somebody sends it by hand |
//! | arriving, and nobody receives it | anything else | not running: it never ran, and the next start or stop destroys it |
//! | absent, and xl's daemon for it lives, or xend's mark of a restart is there | | look again: a reboot |
//! | being created, rebooting, being destroyed | | look again |
//! | rebooting, and no daemon of xl's to do it | | error |
//! | absent, and xl's daemon for it waits for a domain that has another name | | runs, degraded: somebody has renamed it |
//! | absent | | not running |
//! | xl did not answer, and it is certain that none is here | | not running; to a probe: not installed here |
//! | xl did not answer | | error; to a probe, where another node says that it runs there: not installed here |
//!
//! A transfer that broke off here is settled first, as by a start or stop.
//!
//! A domain that simply runs is seen at a glance ([`crate::toolstack::glance`]), without any process; what a
//! glance does not say, and all but "runs", is read from one listing of xl's. So in every state that lasts,
//! monitor starts one process at the most, and those that `monitor_scripts` names. Only a state that is about
//! to change is looked at again.

use std::time::Duration;

use super::context::Agent;
use crate::clock::{Clock, LOOK_AGAIN, SystemClock};
use crate::domain::Presence;
use crate::handoff::evidence::PeerSays;
use crate::handoff::{Phase, TargetPhase};
use crate::obstacle::Obstacle;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::toolstack::LIST_LIMIT;
use crate::transfer::settle;

/// How long settling may take before it is judged how it stands.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// What is said of a domain that is absent while the toolstack may re-create it.
pub(super) const RESTARTS: &str = "it is absent, but the toolstack's daemon for it lives or is about to create it anew: a reboot, or its \
                                   end";

/// What one look says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs here.
    Runs,
    /// It runs here, and somebody should look at it.
    Degraded(String),
    /// It is cleanly stopped here, or so the cluster was told.
    NotRunning,
    /// Neither.
    Failed(String),
    /// The toolstack did not say.
    Unknown(String),
    /// It is about to change; the text says what it is now.
    LookAgain(String),
}

impl Agent {
    /// Says whether the domain runs here, as the cluster is to see it.
    ///
    /// # Errors
    /// `Generic` whenever it neither runs in good health nor is cleanly stopped; `Degraded` for a paused
    /// domain, and for one that runs with a parameter that cannot be used.
    pub(super) fn monitor(&self) -> Result<ExitCode, Failure> {
        let (mut last, mut unsettled) = (Obstacle::default(), Obstacle::default());
        let verdict = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || match self.look(&mut unsettled) {
            Ok(Verdict::LookAgain(what)) => {
                last.is(what, |what| log::info!("domain={} {what}; looking again", self.domain));
                None
            }
            other => Some(other),
        });
        match verdict {
            // A probe asks where it is, not how it is.
            Some(Ok(Verdict::Runs)) if self.environment.is_probe() => Ok(ExitCode::Success),
            Some(Ok(Verdict::Runs)) => {
                self.tell_utilization();
                self.share_memory();
                self.check_health().map_err(|why| self.generic(why))?;
                self.runs_with_mistakes()
            }
            Some(Ok(Verdict::NotRunning)) => Ok(ExitCode::NotRunning),
            Some(Ok(Verdict::Degraded(what))) => Err(self.failure(ExitCode::Degraded, what)),
            Some(Ok(Verdict::Failed(what) | Verdict::LookAgain(what))) => Err(self.generic(what)),
            Some(Ok(Verdict::Unknown(why))) => Err(self.unknown(&why)),
            Some(Err(failure)) => Err(failure),
            None => Err(self.generic(format!("{last}, and that did not change in time"))),
        }
    }

    /// A probe that fails is taken for a second copy: the cluster would stop the one that runs elsewhere.
    /// Where a node says that it has it, there is none here, and nothing should be started here.
    fn unknown(&self, why: &str) -> Failure {
        let runs_at = || {
            let reports = self.ask(&self.known_peers().ok()?, Vec::new(), self.parameters.peer_timeout);
            reports.into_iter().find_map(|report| match report.says {
                PeerSays::Stands { presence: Presence::Running(_), .. } => Some(report.node),
                _ => None,
            })
        };
        let asks = self.environment.is_probe() && self.environment.is_called_by_a_cluster();
        match asks.then(runs_at).flatten() {
            Some(node) => {
                let what = format!("{why}; it runs on {node}: nothing is started here before a refresh");
                self.failure(ExitCode::NotInstalled, what)
            }
            None => self.generic(why),
        }
    }

    fn look(&self, unsettled: &mut Obstacle) -> Result<Verdict, Failure> {
        let mut phase = self.phase()?;
        if phase.is_in_transfer() && !self.here.store.is_transferring(&self.domain) {
            // What a killed process left is put right first; what cannot be is judged as it stands.
            let limit = self.deadline.within(SETTLE_LIMIT);
            if let Err(error) = settle::if_broken(&self.here, &self.domain, limit) {
                unsettled.is(format!("{error:#}"), |why| log::warn!("domain={} {why}", self.domain));
            }
            phase = self.phase()?;
        }
        let seen = self.presence();
        if let Presence::Running(id) = seen {
            self.note_id(id);
        }
        let presence = self.or_certainly_none(seen.clone());
        if presence == Presence::Absent
            && !phase.is_offered_away()
            && let Some(name) = self.renamed()
        {
            return Ok(Verdict::Degraded(format!(
                "somebody has renamed it to {name}: xl rename {name} {}",
                self.domain
            )));
        }
        // Also one that somebody has begun by hand, where the toolstack can say so.
        let in_transfer = || {
            self.here.store.is_transferring(&self.domain)
                || self.toolstack.is_moving(&self.domain, LIST_LIMIT).unwrap_or(false)
        };
        let verdict = judge(&presence, &phase, in_transfer, || self.toolstack.is_attended(&self.domain));
        match seen {
            // None is here, and none could be started here.
            Presence::Unknown(why) if self.environment.is_probe() && verdict == Verdict::NotRunning => {
                let what = format!("{why}; none is here, and nothing is started here before a refresh");
                Err(self.failure(ExitCode::NotInstalled, what))
            }
            _ => Ok(verdict),
        }
    }
}

/// Judges one look, as the table above says. `in_transfer`: whether somebody holds the transfer lock;
/// `attended`: whether xl's daemon for the domain lives.
pub fn judge(
    presence: &Presence,
    phase: &Phase,
    in_transfer: impl Fn() -> bool,
    attended: impl Fn() -> bool,
) -> Verdict {
    let offered = phase.is_offered_away();
    match presence {
        Presence::Unknown(why) => Verdict::Unknown(format!("whether it runs could not be found out: {why}")),
        // The cluster was told that it is stopped here, and goes on being told so until the offer ends.
        Presence::Running(_) | Presence::Paused(_) | Presence::Frozen(_) | Presence::MigratedAway(_)
            if offered =>
        {
            Verdict::NotRunning
        }
        Presence::Running(_) => Verdict::Runs,
        Presence::Frozen(_) if phase.is_in_transfer() && in_transfer() => Verdict::Runs,
        Presence::MigratedAway(_) if in_transfer() => {
            Verdict::LookAgain(format!("it is {presence} while a transfer ends"))
        }
        Presence::Paused(_) | Presence::Incoming(_) if phase.is_in_transfer() && in_transfer() => {
            Verdict::LookAgain(format!("it is {presence} while a transfer ends"))
        }
        // A worker goes on when its start was killed. Whoever reads "not running" now may start a second one.
        Presence::Absent if phase.is_target() && in_transfer() => {
            Verdict::LookAgain("it is being fetched to this node".to_owned())
        }
        Presence::Paused(_) => Verdict::Degraded(format!("it is {presence}: unpause lets it run")),
        Presence::Frozen(_) => Verdict::Failed(format!(
            "it is {presence} that was interrupted; a stop or start settles it, and so does xen-handoff recover"
        )),
        Presence::MigratedAway(_) => Verdict::Failed(format!(
            "it is {presence}, and no transfer is under way: a stop or start settles it, and so does xen-handoff recover"
        )),
        // It was given to this node, and whoever finishes it lets it run.
        Presence::Incoming(_) if matches!(phase, Phase::Target(TargetPhase::Arriving { .. })) => {
            Verdict::Failed(format!(
                "it is {presence}, was given to this node, and does not run yet: a stop or start settles it, and so does \
             xen-handoff recover"
            ))
        }
        Presence::Incoming(_) | Presence::Absent if !attended() => Verdict::NotRunning,
        Presence::Incoming(_) => Verdict::LookAgain(format!("it is {presence}, and xl receives it")),
        Presence::Absent => Verdict::LookAgain(RESTARTS.to_owned()),
        Presence::Crashed(_) => Verdict::Failed(format!("it is {presence} and kept so")),
        Presence::ShutDown(_) if attended() => Verdict::LookAgain(format!("it is {presence}")),
        Presence::ShutDown(_) => Verdict::Failed(format!("it is {presence}: on_poweroff keeps it so")),
        // xl's daemon ends when its domain is suspended, also for a transfer that then fails.
        Presence::Rebooting(_) if !attended() => Verdict::Failed(format!(
            "it is {presence}, and xl's daemon that would create it anew is gone: a stop clears it away"
        )),
        Presence::Building(_) | Presence::Rebooting(_) | Presence::Dying(_) => {
            Verdict::LookAgain(format!("it is {presence}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Action;
    use crate::agent::fake::agent;
    use crate::clock::{Deadline, Moment, UnixTime};
    use crate::cluster::fake::Fake as Cluster;
    use crate::domain::{DomainId, DomainName, RunState, Sighting};
    use crate::handoff::evidence::Recorded;
    use crate::handoff::ledger::{Entries, Entry};
    use crate::handoff::{Epoch, Event, Offer, Push, SourcePhase, Transfer};
    use crate::here::fake::{World, offer_of, seen, to_n2, x0};
    use crate::host::NodeName;
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;
    use crate::wire::message::Answer;

    const ID: DomainId = DomainId(4);

    fn offer() -> Offer {
        Offer {
            domain: DomainName::new("x0").unwrap(),
            source: NodeName::new("n1").unwrap(),
            epoch: Epoch(7),
            made_at: UnixTime(1),
            deadline: UnixTime(2),
        }
    }

    fn transfer() -> Transfer {
        Transfer {
            epoch: Epoch(7),
            source: NodeName::new("n1").unwrap(),
            target: NodeName::new("n2").unwrap(),
        }
    }

    fn alone(presence: &Presence) -> Verdict {
        judge(presence, &Phase::Idle, || false, || false)
    }

    #[test]
    fn only_a_whole_listing_without_daemon_and_copy_is_not_running() {
        assert_eq!(alone(&Presence::Absent), Verdict::NotRunning);
        assert_eq!(alone(&Presence::Incoming(ID)), Verdict::NotRunning);
        for other in [
            Presence::Unknown("xl list hung".into()),
            Presence::Running(ID),
            Presence::Paused(ID),
            Presence::Crashed(ID),
            Presence::Frozen(ID),
            Presence::ShutDown(ID),
            Presence::Building(ID),
            Presence::Rebooting(ID),
            Presence::Dying(ID),
            Presence::MigratedAway(ID),
        ] {
            assert_ne!(alone(&other), Verdict::NotRunning, "{other}");
        }
    }

    #[test]
    fn a_reboot_does_not_read_as_stopped() {
        let rebooting = judge(&Presence::Absent, &Phase::Idle, || false, || true);
        assert!(matches!(rebooting, Verdict::LookAgain(_)), "{rebooting:?}");
    }

    #[test]
    fn what_is_offered_reads_as_stopped_although_it_runs() {
        let settling = Phase::Source(SourcePhase::Settling { transfer: transfer(), offer: Some(offer()) });
        for phase in [
            Phase::Source(SourcePhase::Offered { offer: offer() }),
            Phase::Source(SourcePhase::Withdrawing { offer: offer() }),
            settling,
        ] {
            assert_eq!(
                judge(&Presence::Running(ID), &phase, || true, || true),
                Verdict::NotRunning,
                "{phase}"
            );
        }
        let offering = Phase::Source(SourcePhase::Offering { offer: offer() });
        assert_eq!(judge(&Presence::Running(ID), &offering, || false, || true), Verdict::Runs);
    }

    #[test]
    fn a_frozen_domain_runs_only_while_its_transfer_lives() {
        let sending = Phase::Source(SourcePhase::Sending { transfer: transfer(), offer: None });
        assert_eq!(judge(&Presence::Frozen(ID), &sending, || true, || true), Verdict::Runs);
        assert!(matches!(judge(&Presence::Frozen(ID), &sending, || false, || true), Verdict::Failed(_)));
    }

    #[test]
    fn a_target_never_says_not_running_while_a_worker_fetches() {
        for phase in [
            Phase::Target(TargetPhase::Claiming { offer: offer() }),
            Phase::Target(TargetPhase::Receiving { transfer: transfer() }),
            Phase::Target(TargetPhase::Arriving { transfer: transfer() }),
        ] {
            let absent = judge(&Presence::Absent, &phase, || true, || false);
            assert!(matches!(absent, Verdict::LookAgain(_)), "{phase}");
            assert_eq!(judge(&Presence::Absent, &phase, || false, || false), Verdict::NotRunning, "{phase}");
        }
        let receiving = Phase::Target(TargetPhase::Receiving { transfer: transfer() });
        assert!(matches!(
            judge(&Presence::Incoming(ID), &receiving, || true, || true),
            Verdict::LookAgain(_)
        ));
        assert_eq!(judge(&Presence::Incoming(ID), &receiving, || false, || false), Verdict::NotRunning);
        // Sent by hand: no transfer of ours, and xl receives it.
        let by_hand = judge(&Presence::Incoming(ID), &Phase::Idle, || false, || true);
        assert!(matches!(by_hand, Verdict::LookAgain(_)));
        let arriving = Phase::Target(TargetPhase::Arriving { transfer: transfer() });
        let given = judge(&Presence::Incoming(ID), &arriving, || false, || true);
        assert!(matches!(given, Verdict::Failed(_)), "it will run");
        let arriving = Phase::Target(TargetPhase::Arriving { transfer: transfer() });
        assert!(matches!(judge(&Presence::Incoming(ID), &arriving, || true, || true), Verdict::LookAgain(_)));
    }

    /// As the cluster asks again and again.
    fn recurring(world: &World, more: &[(&str, &str)]) -> Agent {
        let mut agent = agent(world, Action::Monitor, more);
        agent.environment.interval = Some(Duration::from_secs(10));
        agent.deadline = Deadline::after(Duration::from_secs(20));
        agent
    }

    type Said = Result<ExitCode, (ExitCode, String)>;

    fn said(done: Result<ExitCode, Failure>) -> Said {
        done.map_err(|failure| (failure.code, failure.to_string()))
    }

    fn monitors(world: &World) -> Said {
        said(recurring(world, &[]).monitor())
    }

    fn probes(world: &World) -> Said {
        said(agent(world, Action::Monitor, &[]).monitor())
    }

    /// The code and words of what is no answer of "runs" or "not running".
    fn fails(world: &World, code: ExitCode, words: &str) {
        let (with, why) = monitors(world).unwrap_err();
        assert!(with == code && why.contains(words), "{with:?}: {why}");
        assert!(world.deeds().is_empty(), "it only looks: {:?}", world.deeds());
    }

    /// After so many listings it shows this.
    fn turns(world: &World, after: usize, to: Sighting) {
        let mut looks = 0;
        world.xl.when("list", move |fake| {
            looks += 1;
            if looks == after {
                fake.shows(Ok(to));
            }
        });
    }

    fn in_state(state: RunState) -> World {
        World::listing([seen::own(state)])
    }

    /// Held by a worker.
    fn under_way(world: &World) -> std::fs::File {
        world.here.store.begin_transfer(&x0()).unwrap().unwrap()
    }

    /// The cluster's own migration sends it to n2.
    fn is_pushed_away(world: &World) {
        let push = Push { domain: x0(), transfer: to_n2(), made_at: UnixTime::now() };
        let entries = Entries { pushes: vec![push.clone()], ..Entries::default() };
        let there = Recorded::observe(&Entry::Push(push), &entries).unwrap();
        world.record([Event::Pushed(to_n2(), there)]);
    }

    #[test]
    fn what_simply_runs_costs_no_process() {
        let glance = Fake { glance: Some(ID), ..Fake::showing([Err("cut short".to_owned())]) };
        let world = World::of(glance);
        assert_eq!(monitors(&world), Ok(ExitCode::Success));
        assert_eq!(probes(&world), Ok(ExitCode::Success));
        assert!(world.xl.calls.borrow().is_empty(), "{:?}", world.xl.calls);
        let world = World::listing([seen::running()]);
        assert_eq!(monitors(&world), Ok(ExitCode::Success));
        assert_eq!(world.xl.calls.borrow().len(), 1, "one listing");
    }

    #[test]
    fn p3_what_is_offered_is_not_running_whatever_it_does_meanwhile() {
        for state in [RunState::Running, RunState::Paused, RunState::Frozen] {
            let world = in_state(state);
            world.is_offered(&offer_of("n1"));
            assert_eq!(monitors(&world), Ok(ExitCode::NotRunning), "{state:?}");
        }
        let world = in_state(RunState::Frozen);
        world.is_settling();
        let _worker = under_way(&world);
        assert_eq!(monitors(&world), Ok(ExitCode::NotRunning));
        let renamed = Fake { renamed: Some("x9".to_owned()), ..Fake::showing([Ok(seen::absent())]) };
        let world = World::of(renamed);
        world.is_offered(&offer_of("n1"));
        assert_eq!(monitors(&world), Ok(ExitCode::NotRunning), "the cluster was told so");
    }

    #[test]
    fn p2_what_the_clusters_own_migration_sends_runs_until_its_end_is_known() {
        let world = in_state(RunState::Frozen);
        is_pushed_away(&world);
        let _worker = under_way(&world);
        assert_eq!(monitors(&world), Ok(ExitCode::Success));
        let world = World::listing([seen::migrated_away()]);
        is_pushed_away(&world);
        let _worker = under_way(&world);
        turns(&world, 5, seen::absent());
        assert_eq!(monitors(&world), Ok(ExitCode::NotRunning));
        assert!(world.xl.calls.borrow().len() >= 5, "it was looked at until it had gone");
        // Without a record, where the toolstack itself moves it.
        let moving = || Fake { kind: Some(Kind::Xm), ..Fake::showing([Ok(seen::migrated_away())]) };
        let world = World::of(moving());
        world.xl.moving.set(true);
        fails(&world, ExitCode::Generic, "while a transfer ends, and that did not change in time");
        turns(&world, 5, seen::absent());
        assert_eq!(monitors(&world), Ok(ExitCode::NotRunning));
        fails(&World::of(moving()), ExitCode::Generic, "no transfer is under way");
    }

    #[test]
    fn p1_what_is_being_fetched_is_waited_for_and_never_not_running() {
        for sighting in [seen::absent(), seen::incoming(), seen::own(RunState::Paused)] {
            let world = World::listing([sighting]);
            world.is_receiving();
            let _worker = under_way(&world);
            turns(&world, 7, seen::running());
            assert_eq!(monitors(&world), Ok(ExitCode::Success), "{sighting:?}");
        }
        let world = World::listing([seen::absent()]);
        world.is_receiving();
        let _worker = under_way(&world);
        fails(&world, ExitCode::Generic, "it is being fetched to this node, and that did not change in time");
    }

    #[test]
    fn p4_what_a_killed_process_left_is_settled_before_it_is_judged() {
        let world = World::listing([seen::absent()]);
        world.is_receiving();
        assert_eq!((monitors(&world), world.phase()), (Ok(ExitCode::NotRunning), Phase::Idle));

        let world = World::listing([seen::incoming()]);
        world.is_arriving();
        world.xl.after("unpause", seen::running());
        assert_eq!(monitors(&world), Ok(ExitCode::Success));
        assert!(matches!(world.phase(), Phase::Target(TargetPhase::Arrived { .. })));

        let world = World::listing([seen::incoming()]);
        world.is_arriving();
        world.xl.fails("rename", usize::MAX);
        let (code, why) = monitors(&world).unwrap_err();
        assert!(
            code == ExitCode::Generic && why.contains("was given to this node, and does not run"),
            "{why}"
        );

        // What cannot be put on record is judged as it stands.
        let world = World::listing([seen::absent()]);
        world.is_receiving();
        world.file("run/xen-handoff/x0.ended/full", "");
        assert_eq!(monitors(&world), Ok(ExitCode::NotRunning));
        assert!(world.phase().is_in_transfer());
    }

    #[test]
    fn p1_a_record_that_cannot_be_read_is_no_answer() {
        let world = World::listing([seen::absent()]);
        world.file("run/xen-handoff/x0.json", "rotten");
        assert_eq!(monitors(&world).unwrap_err().0, ExitCode::Generic);
    }

    #[test]
    fn what_a_person_has_to_look_at_says_what_it_is() {
        fails(&in_state(RunState::Paused), ExitCode::Degraded, "unpause lets it run");
        fails(&in_state(RunState::Crashed), ExitCode::Generic, "and kept so");
        fails(&in_state(RunState::ShutDown), ExitCode::Generic, "on_poweroff keeps it so");
        fails(
            &in_state(RunState::Frozen),
            ExitCode::Generic,
            "that was interrupted; a stop or start settles it",
        );
        let world = World::listing([seen::migrated_away()]);
        fails(&world, ExitCode::Generic, "no transfer is under way: a stop or start settles it");
        fails(&in_state(RunState::Rebooting), ExitCode::Generic, "would create it anew is gone");
        let renamed = Fake { renamed: Some("x9".to_owned()), ..Fake::showing([Ok(seen::absent())]) };
        fails(&World::of(renamed), ExitCode::Degraded, "somebody has renamed it to x9: xl rename x9 x0");
    }

    #[test]
    fn what_is_about_to_change_is_looked_at_until_it_has() {
        let attended = [seen::absent(), seen::incoming(), seen::own(RunState::ShutDown)];
        for sighting in attended.into_iter().chain([seen::own(RunState::Rebooting)]) {
            let world = World::attended([sighting]);
            turns(&world, 9, seen::running());
            assert_eq!(monitors(&world), Ok(ExitCode::Success), "{sighting:?}");
        }
        for state in [RunState::Building, RunState::Dying] {
            let world = in_state(state);
            turns(&world, 9, seen::absent());
            assert_eq!(monitors(&world), Ok(ExitCode::NotRunning), "{state:?}");
        }
        let (world, began) = (World::attended([seen::absent()]), Moment::now());
        fails(&world, ExitCode::Generic, RESTARTS);
        assert!(began.elapsed().as_secs() >= 19, "not before its time is up");
        fails(&World::attended([seen::incoming()]), ExitCode::Generic, "and xl receives it");
        fails(&in_state(RunState::Dying), ExitCode::Generic, "and that did not change in time");
    }

    #[test]
    fn p1_nobody_here_is_not_running_and_a_copy_that_never_ran_is_nobody() {
        for sighting in [seen::absent(), seen::incoming()] {
            let world = World::listing([sighting]);
            assert_eq!(monitors(&world), Ok(ExitCode::NotRunning));
            assert_eq!(probes(&world), Ok(ExitCode::NotRunning));
            assert!(world.deeds().is_empty(), "the next start or stop destroys it");
        }
    }

    /// A toolstack that answers nothing.
    fn mute(fake: Fake) -> World {
        World::of(Fake { sightings: Fake::showing([Err("cut short".to_owned())]).sightings, ..fake })
    }

    #[test]
    fn p1_a_toolstack_that_does_not_answer_is_an_error_unless_it_is_certain_that_none_is_here() {
        let world = mute(Fake::default());
        fails(&world, ExitCode::Generic, "whether it runs could not be found out: xl list answered");
        let certain =
            || mute(Fake { none_here: Some("no disk of it is open".to_owned()), ..Fake::default() });
        assert_eq!(monitors(&certain()), Ok(ExitCode::NotRunning));
        let (code, why) = probes(&certain()).unwrap_err();
        assert!(code == ExitCode::NotInstalled, "nothing is to be started here");
        assert!(why.contains("none is here, and nothing is started here before a refresh"), "{why}");
        let world = mute(Fake { none_here: Some("none".to_owned()), attended: true, ..Fake::default() });
        let (code, why) = probes(&world).unwrap_err();
        assert!(code == ExitCode::Generic && why.contains(RESTARTS), "{why}");
    }

    #[test]
    fn p1_a_probe_that_cannot_look_asks_whether_another_node_runs_it() {
        let with = |says: Option<Presence>| {
            let world = mute(Fake::default());
            world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
            if let Some(presence) = says {
                world.peers.answer("n2", move |_| {
                    Some(Answer::Stands { presence: presence.clone(), phase: Phase::Idle, ended: None })
                });
            }
            world
        };
        let (code, why) = probes(&with(Some(Presence::Running(ID)))).unwrap_err();
        assert!(code == ExitCode::NotInstalled && why.contains("it runs on n2: nothing is started"), "{why}");
        for not_there in [None, Some(Presence::Absent), Some(Presence::Paused(ID))] {
            assert_eq!(probes(&with(not_there)).unwrap_err().0, ExitCode::Generic);
        }
        let world = with(Some(Presence::Running(ID)));
        world.cluster.peers.are(Err("the CIB is gone"));
        assert_eq!(probes(&world).unwrap_err().0, ExitCode::Generic);
        // Nobody is asked where that would not change anything.
        let world = with(Some(Presence::Running(ID)));
        assert_eq!(monitors(&world).unwrap_err().0, ExitCode::Generic);
        let mut by_hand = agent(&world, Action::Monitor, &[]);
        by_hand.environment.on_node = None;
        assert_eq!(by_hand.monitor().unwrap_err().code, ExitCode::Generic);
        assert!(world.peers.asked().is_empty());
    }

    #[test]
    fn p8_a_guest_that_runs_is_well_by_its_scripts_and_a_mistyped_word_only_degrades_it() {
        let world = World::listing([seen::running()]);
        world.plant("sick", "echo the database is down; exit 1");
        let sick = world.here.root.join("/usr/sbin/sick").display().to_string();
        let scripts = [("monitor_scripts", sick.as_str())];
        let (code, why) = said(recurring(&world, &scripts).monitor()).unwrap_err();
        assert!(code == ExitCode::Generic && why.ends_with("the database is down"), "{why}");
        let probe = agent(&world, Action::Monitor, &scripts);
        assert_eq!(said(probe.monitor()), Ok(ExitCode::Success), "it asks where, not how");

        let mistyped = [("handoff_timeout", "never")];
        let (code, why) = said(recurring(&world, &mistyped).monitor()).unwrap_err();
        assert!(
            code == ExitCode::Degraded && why.contains("it runs; but parameter handoff_timeout="),
            "{why}"
        );
        let probe = agent(&world, Action::Monitor, &mistyped);
        assert_eq!(said(probe.monitor()), Ok(ExitCode::Success));
        let world = World::listing([seen::absent()]);
        assert_eq!(said(recurring(&world, &mistyped).monitor()), Ok(ExitCode::NotRunning));
    }
}
