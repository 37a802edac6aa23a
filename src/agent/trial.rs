//! A trial: all that a stop would try before it offers the domain, for whoever plans
//! ([`crate::worker::trial`] has it done). Nothing is promised and nothing is changed.

use std::io::Write;
use std::time::Duration;

use super::action::Action;
use super::context::Agent;
use super::gates::{self, Refusal};
use crate::cluster::managed::ManagedDomain;
use crate::here::Here;
use crate::host::NodeName;
use crate::ocf::environment::Environment;
use crate::wire::message::Tried;

/// How long it may take, in all.
const LIMIT: Duration = Duration::from_secs(45);

/// `xen-handoff trial`: prints what would come of a stop of this resource on this node, if the cluster then
/// started it on `target`; or, if it `migrates`, of the cluster's own migration there. By the parameters that
/// the cluster has for it.
///
/// # Errors
/// If stdout is closed.
pub fn trial(here: &Here, resource: &str, target: &NodeName, migrates: bool) -> anyhow::Result<()> {
    let cluster = here.cluster();
    let found = cluster.domains().map(|all| all.into_iter().find(|managed| managed.resource == resource));
    let tried = match found {
        Ok(Some(managed)) => tried(here, &managed, &cluster.own_name(), target, migrates),
        Ok(None) => Tried::Unknown { why: format!("unknown: {resource}") },
        Err(error) => Tried::Unknown { why: error.to_string() },
    };
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&tried)?)?)
}

fn tried(here: &Here, managed: &ManagedDomain, node: &NodeName, target: &NodeName, migrates: bool) -> Tried {
    let mut parameters = managed.parameters.clone();
    if migrates {
        // That parameter is about handoffs alone.
        parameters.remove("handoff");
    }
    let environment = Environment {
        root: here.root.clone(),
        resource: Some(managed.resource.clone()),
        parameters,
        on_node: Some(node.clone()),
        timeout: Some(LIMIT),
        ..Environment::default()
    };
    let agent = match Agent::new(Action::Stop, &environment, here) {
        Ok(agent) => agent,
        Err(failure) => return Tried::Unknown { why: failure.to_string() },
    };
    match try_all(&agent, target, migrates) {
        Ok(None) => Tried::Moves,
        Ok(Some(why)) => Tried::NotThere { why },
        Err(refusal) => Tried::Refused { why: refusal.to_string() },
    }
}

/// What speaks against a boot at the target, if anything does.
///
/// # Errors
/// The first gate that is shut.
fn try_all(agent: &Agent, target: &NodeName, migrates: bool) -> Result<Option<String>, Refusal> {
    if migrates && !agent.movement().can_be_tried() {
        // It moves its domains by itself, and says only then whether it can.
        return Ok(None);
    }
    gates::before_asking(agent, &agent.presence())?;
    if !migrates {
        let planned = agent.cluster.plan_after_stop(&agent.resource, &agent.node, gates::limit(agent));
        planned.map_err(|error| Refusal::PlanUnknown(error.to_string()))?;
    }
    agent.devices_to_detach().map_err(Refusal::Devices)?;
    Ok(agent.ask_target(target)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::here::fake::{World, node, seen};
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;

    fn tries(kind: Kind, migrates: bool) -> Tried {
        let world = World::of(Fake { kind: Some(kind), ..Fake::showing([Ok(seen::running())]) });
        let parameters = [("name".to_owned(), "x0".to_owned()), ("handoff".to_owned(), "never".to_owned())];
        let (resource, parameters) = ("x0".to_owned(), parameters.into());
        let managed = ManagedDomain { resource, parameters, ..Default::default() };
        let tried = tried(&world.here, &managed, &node("n1"), &node("n2"), migrates);
        assert!(world.deeds().is_empty() && world.told().is_empty(), "nothing is promised");
        tried
    }

    #[test]
    fn a_trial_of_the_clusters_migration_asks_nobody_where_the_toolstack_says_only_then_whether_it_can() {
        for kind in [Kind::Xm, Kind::Xe] {
            assert_eq!(tries(kind, true), Tried::Moves);
        }
        let tried = tries(Kind::Xl, true);
        assert!(matches!(&tried, Tried::Refused { why } if why.starts_with("no key on n1")), "{tried:?}");
        for kind in [Kind::Xl, Kind::Xm] {
            assert_eq!(tries(kind, false), Tried::Refused { why: "handoff=never".to_owned() }, "of a stop");
        }
    }
}
