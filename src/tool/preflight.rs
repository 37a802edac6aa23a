//! `xen-handoff preflight`: can these nodes take the domain, and if not, what would help?

use std::io::Write;
use std::time::Duration;

use super::domain_of;
use crate::clock::Deadline;
use crate::cluster::managed::ManagedDomain;
use crate::cluster::{ClusterView, detect};
use crate::domain::DomainName;
use crate::host::{LocalPath, NodeName, Root};
use crate::ocf::parameters::{HandoffMode, Parameters};
use crate::preflight::ask::{ask, needs, planner, this_host};
use crate::preflight::judge::limits;
use crate::preflight::{Needs, Report, Verdict};
use crate::toolstack;
use crate::transfer::moves;
use crate::transport::Transport;
use crate::transport::ssh::Ssh;

/// Limit of all questions to one node.
const LIMIT: Duration = Duration::from_secs(45);

/// Limit of the question to the cluster's scheduler.
const PLAN_LIMIT: Duration = Duration::from_secs(30);

/// Prints a table for each node. True if a move to each of them can go well.
///
/// # Errors
/// If nothing could be asked, with the reason.
pub fn run(
    root: &Root,
    name: &str,
    to: &[NodeName],
    config: Option<LocalPath>,
    json: bool,
) -> anyhow::Result<bool> {
    let cluster = detect(root);
    let managed = find(cluster.as_ref(), name);
    let parameters = Parameters::read(&managed.parameters)?;
    let file = config.clone().or_else(|| root.seen_inside(parameters.xmfile.as_deref()?));
    let toolstack = toolstack::of(root);
    let domain = match config {
        Some(_) => DomainName::new(name)?,
        None => domain_of(root, &parameters, name)?,
    };
    let needs = needs(root, toolstack.as_ref(), &domain, file.as_ref()).map_err(anyhow::Error::msg)?;
    let me = cluster.own_name();
    let transport = Ssh::new(root, &parameters.reach, cluster.clone());
    let back = transport.address(&me)?;
    let targets = if to.is_empty() { online(cluster.as_ref(), &me, &managed.resource)? } else { to.to_vec() };
    anyhow::ensure!(!targets.is_empty(), "no other node is online; name one with --to");
    let plans = (parameters.handoff == HandoffMode::Auto)
        .then(|| planner(cluster.as_ref(), &managed.resource, &me, PLAN_LIMIT));
    let (here, measured) = (this_host(toolstack.as_ref()), moves::measured_rate(root));
    let reports: Vec<Report> = targets
        .iter()
        .map(|node| {
            let mut report = ask(&transport, node, &back, &needs, here.as_ref(), Deadline::after(LIMIT));
            report.checks.extend(plans.clone());
            report.checks.extend(limits(&managed, needs.config.memory_mib, measured, &parameters.terms));
            report
        })
        .collect();
    show(&needs, &reports, json)?;
    Ok(reports.iter().all(|report| !report.is_hopeless()))
}

/// The resource of that name; where the cluster has none, what is known without one.
fn find(cluster: &dyn ClusterView, name: &str) -> ManagedDomain {
    let found = match cluster.domains() {
        Ok(domains) => domains.into_iter().find(|domain| domain.is_called(name)),
        Err(error) => {
            log::info!("the cluster does not say what it manages: {error}");
            None
        }
    };
    found.unwrap_or_else(|| ManagedDomain { resource: name.to_owned(), ..ManagedDomain::default() })
}

fn online(cluster: &dyn ClusterView, me: &NodeName, resource: &str) -> anyhow::Result<Vec<NodeName>> {
    let peers = cluster.peers(me, resource)?;
    Ok(peers.into_iter().filter(|peer| peer.online).map(|peer| peer.node).collect())
}

fn show(needs: &Needs, reports: &[Report], json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut out, reports)?;
        return Ok(writeln!(out)?);
    }
    for report in reports {
        let verdict = if report.is_hopeless() { "cannot take it" } else { "can take it" };
        writeln!(out, "{} to {}: it {verdict}", needs.config.name, report.node)?;
        for check in &report.checks {
            writeln!(out, "  {:<14} {:<8} {}", check.check, check.result, check.found)?;
            if check.result != Verdict::Ok && !check.advice.is_empty() {
                writeln!(out, "  {:<14} {:<8} -> {}", "", "", check.advice)?;
            }
        }
    }
    Ok(())
}
