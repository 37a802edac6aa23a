//! `xen-handoff preflight`: can these nodes take the domain, and if not, what would help?

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::limits::limits;
use super::names::{Domains, Nodes, in_words};
use super::output;
use super::shown::{Table, width};
use super::waiting::waiting;
use crate::clock::Deadline;
use crate::cluster::ClusterView;
use crate::cluster::managed::ManagedDomain;
use crate::domain::{DomainName, Presence};
use crate::here::Here;
use crate::host::{LocalPath, NodeName};
use crate::moves::journal;
use crate::parameters::kept::Kept;
use crate::parameters::{HandoffMode, Parameters};
use crate::peer::Transport;
use crate::peer::preflight::{ask, needs, planner, this_host};
use crate::preflight::{Check, Needs, Report, Verdict};
use crate::wire::client::Stands;

/// Limit of all questions to one node.
const LIMIT: Duration = Duration::from_secs(45);

/// Limit of the question to the cluster's scheduler.
const PLAN_LIMIT: Duration = Duration::from_secs(30);

/// Limit of one listing.
const LIST_LIMIT: Duration = Duration::from_secs(15);

/// Prints a table for each node. True if a move to each of them can go well.
///
/// # Errors
/// If nothing could be asked, with the reason; if nobody knows the name, or the domain runs on another node.
pub fn run(
    world: &Here,
    name: &str,
    to: &[NodeName],
    config: Option<LocalPath>,
    json: bool,
) -> anyhow::Result<bool> {
    let waits = waiting("asking the nodes");
    let (root, cluster) = (&world.root, world.cluster());
    let nodes = Nodes::of(root, cluster.as_ref());
    to.iter().try_for_each(|node| nodes.check(node))?;
    let domains = Domains::of(world);
    let known = domains.find(name).map(|(managed, _)| managed.clone());
    let is_known = known.is_some();
    // What is known without a resource.
    let managed =
        known.unwrap_or_else(|| ManagedDomain { resource: name.to_owned(), ..ManagedDomain::default() });
    let parameters = Parameters::read(&managed.parameters)?;
    let file = config.clone().or_else(|| root.seen_inside(parameters.xmfile.as_deref()?));
    let toolstack = world.toolstack();
    let domain = match config {
        Some(_) => DomainName::new(name)?,
        None => world.domain_of(&parameters, &managed.resource)?,
    };
    let transport = Transport::of(world, &parameters.reach);
    let here = toolstack.presence(&domain, LIST_LIMIT);
    if here == Presence::Absent {
        if let Some(node) = runs_on(&transport, &nodes.others, &domain) {
            anyhow::bail!("{name} runs on {node}; run this there: xen-handoff preflight {name}");
        }
        if !is_known && config.is_none() {
            return Err(domains.unknown(name, []));
        }
    }
    let needs = needs(root, toolstack.as_ref(), &domain, file.as_ref()).map_err(anyhow::Error::msg)?;
    let back = transport.address(&nodes.me)?;
    let targets =
        if to.is_empty() { online(cluster.as_ref(), &nodes.me, &managed.resource)? } else { to.to_vec() };
    anyhow::ensure!(!targets.is_empty(), "no other node is online; name one with --to");
    let plans = (parameters.handoff == HandoffMode::Auto)
        .then(|| planner(cluster.as_ref(), &managed.resource, &nodes.me, PLAN_LIMIT));
    let (here, measured) = (this_host(toolstack.as_ref()), journal::measured_rate(root));
    let mut reports = ask(&transport, &targets, &back, &needs, here.as_ref(), Deadline::after(LIMIT));
    for report in &mut reports {
        report.checks.extend(plans.clone());
        let (terms, kept) = (&parameters.terms, Kept::by(&parameters));
        report.checks.extend(limits(&managed, needs.config.memory_mib, measured, terms, kept));
    }
    drop(waits);
    show(&needs, &reports, json)?;
    Ok(reports.iter().all(|report| !report.is_hopeless()))
}

/// The node of these on which the domain is, if one says so.
fn runs_on(transport: &Transport, others: &[NodeName], domain: &DomainName) -> Option<NodeName> {
    let deadline = Deadline::after(LIMIT);
    let answers = transport.each(others, deadline, |node| node.presence(domain, deadline));
    let mut asked = others.iter().zip(answers);
    let is_there =
        |answer| matches!(answer, Ok(Stands { presence: Presence::Running(_) | Presence::Paused(_), .. }));
    asked.find_map(|(node, answer)| is_there(answer).then(|| node.clone()))
}

fn online(cluster: &dyn ClusterView, me: &NodeName, resource: &str) -> anyhow::Result<Vec<NodeName>> {
    let peers = cluster
        .peers(me, resource)
        .map_err(|error| anyhow::anyhow!("{}; name a node with --to", in_words(&error)))?;
    Ok(peers.into_iter().filter(|peer| peer.online).map(|peer| peer.node).collect())
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    domain: &'a DomainName,
    nodes: Vec<NodeView<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeView<'a> {
    node: &'a NodeName,
    can_take_it: bool,
    checks: &'a [Check],
}

fn show(needs: &Needs, reports: &[Report], json: bool) -> anyhow::Result<()> {
    let domain = &needs.config.name;
    if json {
        let nodes = reports
            .iter()
            .map(|report| NodeView {
                node: &report.node,
                can_take_it: !report.is_hopeless(),
                checks: &report.checks,
            })
            .collect();
        return output::print("preflight", &Document { domain, nodes }, false);
    }
    let mut out = std::io::stdout();
    for report in reports {
        let verdict = if report.is_hopeless() { "cannot take it" } else { "can take it" };
        writeln!(out, "{domain} to {}: it {verdict}", report.node)?;
        let mut table = Table::new(&["CHECK", "RESULT", "FOUND"]);
        for check in &report.checks {
            let advice = (check.result != Verdict::Ok && !check.advice.is_empty())
                .then(|| format!("-> {}", check.advice));
            let cells = [check.check.to_owned(), check.result.to_string(), check.found.clone()];
            table.row(cells, advice.into_iter().collect());
        }
        write!(out, "{}", table.text(width()))?;
    }
    Ok(())
}
