//! The gates of a handoff: every one must hold, or the stop is an ordinary one and says which did not.

use std::fmt;
use std::time::Duration;

use super::context::Agent;
use crate::clock::{Clock, LOOK_AGAIN, SystemClock, UnixTime};
use crate::cluster::{ClusterError, Destination, Loss, Plan};
use crate::domain::Presence;
use crate::handoff::{Phase, TargetPhase};
use crate::host::NodeName;
use crate::obstacle::Obstacle;
use crate::parameters::HandoffMode;
use crate::preflight::{Check, Hinders, Report};
use crate::toolstack::NoStream;
use crate::wire::ssh;

/// Limit of the question to the scheduler: it takes tens of milliseconds, a few seconds on a host under load,
/// and has taken more than half a minute on an emulated one (seen on real Xen).
const PLAN_LIMIT: Duration = Duration::from_secs(30);
/// For how long it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Why a stop does not hand over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `handoff=never`.
    SwitchedOff,
    /// The toolstack has no stream that could be fetched.
    Toolstack(NoStream),
    /// The cluster did not name this node or this resource: called by hand, or in a shutdown without a DC.
    NotTheClustersStop,
    /// A clone's instance.
    Clone,
    /// Its configuration has another name by now, under which nobody would find it elsewhere.
    Renamed,
    /// The domain is not in good health.
    Unwell(String),
    /// It has devices of this host that cannot be detached before it moves.
    Devices(String),
    /// The clock of this host is years behind: what it would date could not be compared with what others
    /// date.
    Clock(UnixTime),
    /// There is no key for the transport on this node.
    NoKey(NodeName),
    /// What the cluster plans could not be found out.
    PlanUnknown(String),
    /// The cluster will not start it elsewhere.
    NotElsewhere(Destination),
    /// A resource that it depends on is taken away here.
    Losing(Vec<Loss>),
    /// The stop is the first half of a recovery.
    Recovery(String),
    /// It could be booted at the planned target, and cannot go there while it runs.
    CannotMove(String),
    /// The planned target did not say that it can reach this node.
    OutOfReach(String),
    /// The ledger did not take the offer, or the target cannot read it there.
    NotRecorded(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff => f.write_str("handoff=never"),
            Self::Toolstack(none) => none.fmt(f),
            Self::NotTheClustersStop => {
                f.write_str("the cluster did not name resource and node for this stop")
            }
            Self::Clone => f.write_str("instances of a clone are not handed over"),
            Self::Renamed => f.write_str("its configuration has another name by now"),
            Self::Unwell(how) => write!(f, "the domain is {how}"),
            Self::Devices(why) => f.write_str(why),
            Self::Clock(now) => write!(f, "the clock of this host says {}", now.minute()),
            Self::NoKey(node) => write!(f, "no key on {node}: {}", ssh::NO_KEY),
            Self::PlanUnknown(why) => write!(f, "what the cluster plans could not be found out: {why}"),
            Self::NotElsewhere(Destination::Nowhere) => {
                f.write_str("the cluster will not start it on another node")
            }
            Self::NotElsewhere(Destination::Node(_)) => {
                f.write_str("the cluster will start it on this node again")
            }
            Self::Losing(what) => {
                let what: Vec<String> = what.iter().map(ToString::to_string).collect();
                write!(f, "a resource that it depends on is leaving this node: {}", what.join(", "))
            }
            Self::Recovery(why) => write!(f, "the stop is part of a recovery: {why}"),
            Self::CannotMove(why) => write!(f, "it cannot move while it runs: {why}"),
            Self::OutOfReach(why) => write!(f, "the planned target cannot fetch it: {why}"),
            Self::NotRecorded(why) => write!(f, "the offer could not be recorded: {why}"),
        }
    }
}

/// All that can be known before anybody else is asked.
///
/// # Errors
/// The first gate that is shut.
pub(super) fn before_asking(agent: &Agent, presence: &Presence) -> Result<(), Refusal> {
    if agent.parameters.handoff == HandoffMode::Never {
        return Err(Refusal::SwitchedOff);
    }
    agent.movement().can_be_pulled().map_err(Refusal::Toolstack)?;
    if !agent.environment.is_called_by_a_cluster() || agent.environment.resource.is_none() {
        return Err(Refusal::NotTheClustersStop);
    }
    if agent.resource.contains(':') {
        return Err(Refusal::Clone);
    }
    if agent.is_renamed {
        return Err(Refusal::Renamed);
    }
    if !matches!(presence, Presence::Running(_)) {
        return Err(Refusal::Unwell(presence.to_string()));
    }
    let now = UnixTime::now();
    if !now.is_possible() {
        return Err(Refusal::Clock(now));
    }
    if !ssh::has_key(agent.root()) {
        return Err(Refusal::NoKey(agent.node.clone()));
    }
    Ok(())
}

/// How long the scheduler may take for one answer.
pub(super) fn limit(agent: &Agent) -> Duration {
    limit_of(agent.deadline.left())
}

/// A third of what is left, which is not more than [`PLAN_LIMIT`] unless the action has very much time: a
/// scheduler that is late on a host under load is worth waiting for, since without its answer the guest is
/// ended.
fn limit_of(left: Duration) -> Duration {
    (left / 3).min(PLAN_LIMIT.max(left / 8))
}

/// What the cluster's scheduler says. It is asked again for a little while, of a newer state of the cluster
/// each time: just after the fencing of a migration's target it aborts on what it finds (seen with 2.1.5).
///
/// # Errors
/// The first gate that is shut.
pub(super) fn plan(agent: &Agent, phase: &Phase) -> Result<(NodeName, Plan), Refusal> {
    let limit = limit(agent);
    let enough = agent.deadline.within(limit.min(ASK_AGAIN));
    let mut obstacle = Obstacle::default();
    let plan = SystemClock.wait_until(enough, LOOK_AGAIN, || {
        match agent.cluster.plan_after_stop(&agent.resource, &agent.node, limit) {
            Ok(plan) => Some(Some(plan)),
            Err(error) => {
                obstacle.is(error.to_string(), |why| {
                    log::info!("domain={} what the cluster plans is not known yet: {why}", agent.domain);
                });
                matches!(error, ClusterError::NotRunning).then_some(None)
            }
        }
    });
    judge(plan.flatten().ok_or(Refusal::PlanUnknown(obstacle.to_string()))?, &agent.node, phase)
}

fn judge(plan: Plan, here: &NodeName, phase: &Phase) -> Result<(NodeName, Plan), Refusal> {
    // It came by a transfer that no action has confirmed: what failed is the action that was killed while it
    // was on its way, a failed move and no failed guest; and a start that follows on this very node finds it
    // as it left it.
    let never_confirmed = matches!(phase, Phase::Target(TargetPhase::Arrived { .. }));
    let target = match &plan.destination {
        Destination::Node(node) if node != here || never_confirmed => node.clone(),
        other => return Err(Refusal::NotElsewhere(other.clone())),
    };
    if !plan.losing.is_empty() {
        return Err(Refusal::Losing(plan.losing));
    }
    if let Some(why) = plan.failed.clone().filter(|_| !never_confirmed) {
        return Err(Refusal::Recovery(why));
    }
    Ok((target, plan))
}

/// What the planned target's preflight comes to. What speaks against the move alone ends the guest in order,
/// to be booted there; what speaks against a boot there just as well is no reason to end it: a start there
/// fails at once, and it runs on here. Those objections are given.
///
/// # Errors
/// That it cannot move.
pub(super) fn weigh(checks: &[Check]) -> Result<Option<String>, Refusal> {
    match Report::hindrance(checks, Hinders::Move) {
        Some(why) => Err(Refusal::CannotMove(why)),
        None => Ok(Report::hindrance(checks, Hinders::Boot)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::{Epoch, Transfer};
    use crate::preflight::Verdict;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn p7_an_action_that_has_much_time_waits_longer_for_the_scheduler() {
        for (left, limit) in [(60, 20), (180, 30), (240, 30), (1200, 150)] {
            assert_eq!(limit_of(Duration::from_secs(left)), Duration::from_secs(limit), "of {left} s");
        }
    }

    #[test]
    fn p7_only_what_could_boot_there_and_not_move_ends_the_guest() {
        let check = |result, hinders| Check {
            check: "memory",
            result,
            hinders,
            found: "none free".to_owned(),
            advice: String::new(),
        };
        let moves = check(Verdict::Failed, Some(Hinders::Move));
        let boots = check(Verdict::Failed, Some(Hinders::Boot));
        let unknown = check(Verdict::Unknown, None);
        assert_eq!(weigh(&[]), Ok(None));
        assert_eq!(
            weigh(&[unknown, check(Verdict::Warning, None)]),
            Ok(None),
            "what is not known ends nobody"
        );
        let not_there = Some("memory: none free".to_owned());
        assert_eq!(weigh(std::slice::from_ref(&boots)), Ok(not_there));
        assert!(matches!(weigh(&[boots, moves]), Err(Refusal::CannotMove(_))));
    }

    fn plan_to(destination: Destination) -> Plan {
        Plan { destination, losing: vec![], failed: None, survivors: vec![], start_takes: None }
    }

    #[test]
    fn stop_means_stop_when_nobody_will_start_it_elsewhere() {
        for destination in [Destination::Nowhere, Destination::Node(node("n1"))] {
            let refusal = judge(plan_to(destination.clone()), &node("n1"), &Phase::Idle).unwrap_err();
            assert_eq!(refusal, Refusal::NotElsewhere(destination));
        }
        let elsewhere = plan_to(Destination::Node(node("n2")));
        assert_eq!(judge(elsewhere, &node("n1"), &Phase::Idle).unwrap().0, node("n2"));
    }

    #[test]
    fn nothing_is_handed_over_that_stands_on_what_goes_or_that_has_failed() {
        let elsewhere = plan_to(Destination::Node(node("n2")));
        let losing = Plan {
            losing: vec![Loss { resource: "fs".to_owned(), what: "stop".to_owned() }],
            ..elsewhere.clone()
        };
        assert!(matches!(judge(losing, &node("n1"), &Phase::Idle), Err(Refusal::Losing(_))));
        let failed = Plan { failed: Some("monitor".to_owned()), ..elsewhere };
        assert!(matches!(judge(failed, &node("n1"), &Phase::Idle), Err(Refusal::Recovery(_))));
    }

    #[test]
    fn what_came_by_a_killed_action_is_no_failed_guest() {
        let failed = Plan {
            failed: Some("start failed here: killed".to_owned()),
            ..plan_to(Destination::Node(node("n3")))
        };
        let transfer = Transfer { epoch: Epoch(1), source: node("n2"), target: node("n1") };
        let arrived = Phase::Target(TargetPhase::Arrived { transfer });
        assert_eq!(judge(failed.clone(), &node("n1"), &arrived).unwrap().0, node("n3"));
        let losing = Plan {
            losing: vec![Loss { resource: "fs".to_owned(), what: "stop".to_owned() }],
            ..failed.clone()
        };
        assert!(matches!(judge(losing, &node("n1"), &arrived), Err(Refusal::Losing(_))));
        let here_again = Plan { destination: Destination::Node(node("n1")), ..failed.clone() };
        assert_eq!(judge(here_again, &node("n1"), &arrived).unwrap().0, node("n1"));
        let nowhere = Plan { destination: Destination::Nowhere, ..failed };
        assert!(matches!(judge(nowhere, &node("n1"), &arrived), Err(Refusal::NotElsewhere(_))));
    }
}
