//! Asks a node, over the transport, whether it can take a domain.

use std::time::Duration;

use crate::address::Address;
use crate::clock::Deadline;
use crate::cluster::{ClusterError, ClusterView};
use crate::domain::{DomainName, Presence};
use crate::host::{LocalPath, NodeName, Root};
use crate::peer::Transport;
use crate::preflight::facts::{self, HostFacts};
use crate::preflight::judge::{guest, judge};
use crate::preflight::{Check, Hinders, Needs, Report};
use crate::toolstack::Toolstack;
use crate::wire::Connection;
use crate::wire::client::Unanswered;
use crate::wire::message::PREFLIGHT;

/// Limit of one word of the toolstack.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether the cluster says what it plans, asked once, as a stop asks. Without an answer no stop hands over,
/// and nobody should learn that at the first evacuation.
pub fn planner(cluster: &dyn ClusterView, resource: &str, me: &NodeName, limit: Duration) -> Check {
    let check = "planner";
    match cluster.plan_after_stop(resource, me, limit) {
        Ok(_) => Check::ok(check, "the cluster says what it plans"),
        Err(ClusterError::NotRunning) => Check::unknown(check, "no cluster manager runs on this node", ""),
        Err(error) => Check::fails(
            check,
            Hinders::Move,
            format!("what the cluster plans could not be found out: {error}"),
            "no stop hands over until this is mended: crm_simulate and crm_mon must be installed here, of the cluster's own version",
        ),
    }
}

/// What the domain needs, by what it runs with here; by its configuration file where it does not run here.
///
/// # Errors
/// Why that is not known.
pub fn needs(
    root: &Root,
    toolstack: &dyn Toolstack,
    name: &DomainName,
    file: Option<&LocalPath>,
) -> Result<Needs, String> {
    let config = match (toolstack.presence(name, LIMIT), file) {
        (Presence::Running(_), _) => {
            toolstack.running_config(name, LIMIT).map_err(|error| error.to_string())?
        }
        (_, Some(file)) => {
            let mut config =
                toolstack.read_config(&root.join(file.as_str()), LIMIT).map_err(|error| error.to_string())?;
            config.name = name.clone();
            config
        }
        (other, None) => {
            return Err(format!("{name} is {other} here and its configuration file is not known"));
        }
    };
    let file =
        file.map(|path| facts::digest(root, path).map_err(|error| format!("{path}: {error}"))).transpose()?;
    Ok(Needs { config, file })
}

/// What is known, on the node that a domain runs on, of moving it while it runs.
#[derive(Debug)]
pub struct ToMove {
    /// What it needs where it goes.
    pub needs: Needs,
    /// The host that it runs on, if the toolstack says.
    pub here: Option<HostFacts>,
}

impl ToMove {
    /// Asks the toolstack, twice, each time for `limit` at most: what the domain runs with, and what this
    /// host is. `detached`: whether devices of the host are taken from it before it moves. `None`, with the
    /// reason in the log, where that is not known: then the move itself will show.
    pub fn of(toolstack: &dyn Toolstack, name: &DomainName, detached: bool, limit: Duration) -> Option<Self> {
        let mut config = toolstack
            .running_config(name, limit)
            .inspect_err(|error| log::info!("domain={name} no preflight: {error}"))
            .ok()?;
        if detached {
            config.passthrough.clear();
        }
        Some(Self { needs: Needs { config, file: None }, here: this_host_within(toolstack, limit) })
    }

    /// Why it cannot move while it runs, wherever to.
    pub fn hindrance(&self) -> Option<String> {
        Report::hindrance(&guest(&self.needs.config, self.here.as_ref()), Hinders::Move)
    }
}

/// The host's part of this node's own facts, for the comparison with the target's.
pub fn this_host(toolstack: &dyn Toolstack) -> Option<HostFacts> {
    this_host_within(toolstack, LIMIT)
}

fn this_host_within(toolstack: &dyn Toolstack, limit: Duration) -> Option<HostFacts> {
    let info = toolstack.host_info(limit).inspect_err(|why| log::info!("this host: {why}"));
    info.ok().map(HostFacts::from)
}

/// Makes every check of each of `nodes`, of all at the same time. `back`: where they would reach this node.
pub fn ask(
    transport: &Transport,
    nodes: &[NodeName],
    back: &Address,
    needs: &Needs,
    here: Option<&HostFacts>,
    deadline: Deadline,
) -> Vec<Report> {
    let checks = transport.each(nodes, deadline, |connection| {
        let answers = Check::ok("transport", format!("xen-handoff {} answers", connection.peer_version()));
        let mut checks = vec![answers, way_back(connection, back, deadline)];
        match facts(connection, needs, deadline) {
            Ok(facts) => checks.extend(judge(needs, here, &facts)),
            Err(check) => checks.push(check),
        }
        Ok(checks)
    });
    let silent = |node: &NodeName, error: Unanswered| {
        let advice = format!("xen-handoff reach {node}; keys are set up by xen-handoff keys");
        vec![Check::fails("transport", Hinders::Move, error.to_string(), advice)]
    };
    let each = nodes.iter().zip(checks);
    each.map(|(node, checks)| Report {
        node: node.clone(),
        checks: checks.unwrap_or_else(|error| silent(node, error)),
    })
    .collect()
}

fn way_back(connection: &mut Connection, back: &Address, deadline: Deadline) -> Check {
    match connection.reach(back.clone(), deadline) {
        Ok(()) => Check::ok("way-back", format!("it reaches {}", back.node)),
        Err(Unanswered::Refused { reason, .. }) => Check::fails(
            "way-back",
            Hinders::Move,
            reason,
            format!("a start there could not fetch from {}", back.node),
        ),
        Err(error) => Check::unknown("way-back", error.to_string(), ""),
    }
}

/// The other end's facts; a check that says why there are none.
fn facts(connection: &mut Connection, needs: &Needs, deadline: Deadline) -> Result<facts::Facts, Check> {
    let none = |found: String, advice: &str| Check::unknown("preflight", found, advice);
    if !connection.can(PREFLIGHT) {
        let found = format!("xen-handoff {} there cannot say", connection.peer_version());
        return Err(none(found, "upgrade it on that node"));
    }
    connection.preflight(needs, deadline).map_err(|error| none(error.to_string(), ""))
}

/// The judgement of the node at the other end of an open connection; `None`, with the reason in the log,
/// where it does not say what that takes. Then a connection to a node that knows the question may still have
/// its answer on the way: it is of no use any more.
pub fn over(
    connection: &mut Connection,
    needs: &Needs,
    here: Option<&HostFacts>,
    deadline: Deadline,
) -> Option<Vec<Check>> {
    match facts(connection, needs, deadline) {
        Ok(facts) => Some(judge(needs, here, &facts)),
        Err(check) => {
            log::info!("domain={} no preflight: {}", needs.config.name, check.found);
            None
        }
    }
}

/// What stands against a move over this connection, for the cluster's own migration. Whatever is not known
/// stands not against it: the move itself will show.
///
/// # Errors
/// The objections.
pub fn objections(
    connection: &mut Connection,
    needs: &Needs,
    here: Option<&HostFacts>,
    deadline: Deadline,
) -> Result<(), String> {
    let Some(mut checks) = over(connection, needs, here, deadline) else { return Ok(()) };
    // The receiver looks for the name by itself, under the lock.
    checks.retain(|check| check.check != "name");
    let report = Report { node: connection.peer().clone(), checks };
    if report.is_hopeless() { Err(report.objections()) } else { Ok(()) }
}
