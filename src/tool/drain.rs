//! `xen-handoff drain`: which domains would leave a node, how, and what is to blame where that means a reboot; and the doing of
//! it, watched until the node is empty.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::domain_of;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::cluster::evacuation::{Departure, How};
use crate::cluster::managed::ManagedDomain;
use crate::cluster::pacemaker::Pacemaker;
use crate::cluster::{ClusterView, detect};
use crate::domain::Presence;
use crate::host::{NodeName, Root};
use crate::ocf::parameters::Parameters;
use crate::transfer::moves::{self, Ending};
use crate::transport::Transport;
use crate::transport::forced_command::stands;
use crate::transport::message::{Answer, Request};
use crate::transport::ssh::Ssh;

/// How often the node is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Limit of one look.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// One line of the plan.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    departure: Departure,
    /// What its last move took, as far as this node knows.
    seconds: Option<u64>,
}

/// Prints what would become of each domain on `node`.
///
/// # Errors
/// If the scheduler does not say.
pub fn plan(root: &Root, node: &NodeName, json: bool) -> anyhow::Result<()> {
    let done = moves::read(root).unwrap_or_default();
    let took = |resource: &str| {
        let mut moved = done.iter().rev().filter(|entry| entry.end == Ending::Moved);
        moved.find(|entry| entry.domain.as_str() == resource).map(|entry| entry.total_ms.div_ceil(1000))
    };
    let rows: Vec<Row> = Pacemaker::new(root)
        .evacuation(node)?
        .into_iter()
        .map(|departure| Row { seconds: took(&departure.resource), departure })
        .collect();
    let mut out = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        return Ok(writeln!(out)?);
    }
    if rows.is_empty() {
        return Ok(writeln!(out, "No Xen domain of the cluster runs on {node}.")?);
    }
    writeln!(out, "{:<24} {:<12} {:<20} {:>8}  BECAUSE", "RESOURCE", "HOW", "TO", "SECONDS")?;
    for Row { departure, seconds } in &rows {
        let to = departure.to.as_ref().map_or("-", NodeName::as_str);
        let seconds = seconds.map_or("-".to_owned(), |seconds| seconds.to_string());
        let how = match departure.how {
            How::Migrates => "migrates",
            How::HandedOff => "handed off",
            How::Reboots => "REBOOTS",
            How::Stops => "STOPS",
        };
        let line =
            format!("{:<24} {how:<12} {to:<20} {seconds:>8}  {}", departure.resource, departure.because);
        writeln!(out, "{}", line.trim_end())?;
        if !departure.advice.is_empty() {
            writeln!(out, "{:<24} -> {}", "", departure.advice)?;
        }
    }
    Ok(())
}

/// Puts `node` in standby and watches until none of our domains runs there. True if it is empty in time.
///
/// # Errors
/// If the cluster does not take the order, or does not say what it manages.
pub fn drain(root: &Root, node: &NodeName, limit: Duration) -> anyhow::Result<bool> {
    let pacemaker = Pacemaker::new(root);
    let managed = pacemaker.domains()?;
    let words = ["crm_standby", "--node", node.as_str(), "--update", "on"].map(str::to_owned);
    pacemaker.order(&words)?;
    let began = std::time::Instant::now();
    let mut out = std::io::stdout();
    writeln!(out, "{node} is in standby; crm_standby --node {node} --delete brings it back")?;
    let (me, mut said) = (pacemaker.own_name(), String::new());
    let empty = SystemClock.wait_until(Deadline::after(limit), LOOK_AGAIN, || {
        let mut left = Vec::new();
        for domain in &managed {
            match look(root, node, &me, domain) {
                Ok(Presence::Absent) => {}
                Ok(presence) => left.push(format!("{}: {presence}", domain.resource)),
                Err(why) => left.push(format!("{}: cannot be told: {why}", domain.resource)),
            }
        }
        let now = left.join("; ");
        if now != said {
            let text = if left.is_empty() { "empty" } else { now.as_str() };
            if writeln!(out, "{:>5} s  {text}", began.elapsed().as_secs()).is_err() {
                log::debug!("nobody reads this any more");
            }
            said = now;
        }
        left.is_empty().then_some(())
    });
    if empty.is_none() {
        writeln!(out, "still there after {} s; see xen-handoff status on {node}", limit.as_secs())?;
    }
    Ok(empty.is_some())
}

/// Where a domain stands on the node that is to be emptied.
fn look(root: &Root, node: &NodeName, me: &NodeName, managed: &ManagedDomain) -> anyhow::Result<Presence> {
    let parameters = Parameters::read(&managed.parameters)?;
    let domain = domain_of(root, &parameters, &managed.resource)?;
    if node == me {
        return Ok(stands(root, &domain).0);
    }
    let ssh = Ssh::new(root, &parameters.reach, detect(root));
    match ssh.ask(node, &Request::Presence { domain }, Deadline::after(LOOK_LIMIT))? {
        Answer::Stands { presence, .. } => Ok(presence),
        other => anyhow::bail!("it answers {other:?}"),
    }
}
