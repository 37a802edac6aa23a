//! `xen-handoff drain`: which domains would leave a node, how, and what is to blame where that means a reboot; and the doing of
//! it, watched until the node is empty.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::domain_of;
use super::expected::{By, Expected, Experience, in_all};
use crate::clock::{Clock, Deadline, SystemClock};
use crate::cluster::evacuation::{Departure, How, Place};
use crate::cluster::managed::ManagedDomain;
use crate::cluster::pacemaker::Pacemaker;
use crate::cluster::{ClusterView, detect};
use crate::domain::Presence;
use crate::host::{NodeName, Root};
use crate::ocf::parameters::Parameters;
use crate::preflight::ask::ToMove;
use crate::toolstack;
use crate::transfer::progress::Direction;
use crate::transfer::slots::Slots;
use crate::transport::Transport;
use crate::transport::forced_command::stands;
use crate::transport::message::{Answer, Request};
use crate::transport::ssh::Ssh;

/// How often the node is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long the cluster may take, once the node is empty, to have started again what has left it.
const TO_SETTLE: Duration = Duration::from_secs(60);
/// Limit of one look.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// One line of the plan.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    departure: Departure,
    /// How long its move takes, as far as that can be told.
    expected: Option<Expected>,
}

impl Row {
    fn moves_alive(&self) -> bool {
        matches!(self.departure.how, How::Migrates | How::HandedOff)
    }
}

/// Prints what would become of each domain on `node`.
///
/// # Errors
/// If the scheduler does not say.
pub fn plan(root: &Root, node: &NodeName, json: bool) -> anyhow::Result<()> {
    let pacemaker = Pacemaker::new(root);
    let departures = pacemaker.evacuation(node)?;
    let (known, managed) = (Experience::of(root), pacemaker.domains()?);
    let expected = |departure: &Departure| {
        known.of_resource(managed.iter().find(|managed| managed.resource == departure.resource)?)
    };
    let mut rows: Vec<Row> =
        departures.into_iter().map(|departure| Row { departure, expected: None }).collect();
    let is_here = *node == pacemaker.own_name();
    for row in rows.iter_mut().filter(|row| row.moves_alive()) {
        let resource = &row.departure.resource;
        let its = managed.iter().find(|managed| managed.resource == *resource).filter(|_| is_here);
        if let Some(why) = its.and_then(|managed| cannot_move(root, managed)) {
            row.departure.advice = format!("xen-handoff preflight {resource}");
            row.departure.because = format!("it cannot move while it runs: {why}");
            row.departure.how = How::Reboots;
            continue;
        }
        row.expected = expected(&row.departure);
    }
    let mut out = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        return Ok(writeln!(out)?);
    }
    if rows.is_empty() {
        return Ok(writeln!(out, "No Xen domain of the cluster runs on {node}.")?);
    }
    writeln!(out, "{:<24} {:<12} {:<20} {:>8}  BECAUSE", "RESOURCE", "HOW", "TO", "SECONDS")?;
    for Row { departure, expected } in &rows {
        let to = departure.to.as_ref().map_or("-", NodeName::as_str);
        let seconds = match expected {
            None => "-".to_owned(),
            Some(Expected { seconds, by: By::History }) => seconds.to_string(),
            Some(Expected { seconds, by: By::Memory }) => format!("~{seconds}"),
        };
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
    Ok(writeln!(out, "{}", in_words(&rows, Slots::of(root, Direction::Outgoing).limit()))?)
}

/// Why a domain of this node is rebooted whatever the scheduler plans. Only its own node can say that of it.
fn cannot_move(root: &Root, managed: &ManagedDomain) -> Option<String> {
    let parameters = Parameters::read(&managed.parameters).ok()?;
    let domain = domain_of(root, &parameters, &managed.resource).ok()?;
    ToMove::of(toolstack::of(root).as_ref(), &domain, parameters.detach_pci, LOOK_LIMIT)?.hindrance()
}

/// How long all of it takes.
fn in_words(rows: &[Row], slots: usize) -> String {
    let moving: Vec<&Row> = rows.iter().filter(|row| row.moves_alive()).collect();
    let known: Vec<u64> = moving.iter().filter_map(|row| Some(row.expected?.seconds)).collect();
    let at_once = if slots == 0 { "all at once".to_owned() } else { format!("{slots} at a time") };
    match (moving.len(), known.len()) {
        (0, _) => "No domain moves alive.".to_owned(),
        (all, 0) => {
            format!("{all} to move alive, {at_once}; no move of this node has shown yet how long that takes.")
        }
        (all, some) => {
            let least = if some < all { "at least " } else { "about " };
            format!("{all} to move alive, {at_once}: {least}{} s.", in_all(&known, slots))
        }
    }
}

/// Puts `node` in standby and watches until none of our domains runs there. True if it is empty in time.
///
/// # Errors
/// If the cluster does not take the order, or does not say what it manages.
pub fn drain(root: &Root, node: &NodeName, limit: Duration) -> anyhow::Result<bool> {
    let pacemaker = Pacemaker::new(root);
    let managed = pacemaker.domains()?;
    let words = ["crm_standby", "--node", node.as_str(), "--update", "on"].map(str::to_owned);
    // Before the order: what is elsewhere by then may have been here.
    let here = on(&pacemaker, node, &managed)?;
    pacemaker.order(&words)?;
    let began = std::time::Instant::now();
    let mut out = std::io::stdout();
    writeln!(out, "{node} is in standby; crm_standby --node {node} --delete brings it back")?;
    let (me, mut said) = (pacemaker.own_name(), String::new());
    let deadline = Deadline::after(limit);
    let empty = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
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
        return Ok(false);
    }
    for (resource, place) in settled(&pacemaker, &here, deadline.within(TO_SETTLE))? {
        writeln!(out, "{resource}: {}", place_in_words(&place))?;
    }
    Ok(true)
}

/// The resources of these that the cluster has on `node`.
fn on(pacemaker: &Pacemaker, node: &NodeName, managed: &[ManagedDomain]) -> anyhow::Result<Vec<String>> {
    let all: Vec<String> = managed.iter().map(|managed| managed.resource.clone()).collect();
    let places = pacemaker.places(&all)?;
    Ok(places.into_iter().filter(|(_, place)| place.nodes.contains(node)).map(|(name, _)| name).collect())
}

/// Where these are when the cluster has nothing more to do with them: it hears of a start only when the action has ended, and a reboot
/// takes a while longer.
fn settled(
    pacemaker: &Pacemaker,
    left: &[String],
    deadline: Deadline,
) -> anyhow::Result<BTreeMap<String, Place>> {
    let at_rest = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        pacemaker.places(left).ok().filter(|places| places.values().all(|place| !place.is_moving))
    });
    at_rest.map_or_else(|| Ok(pacemaker.places(left)?), Ok)
}

fn place_in_words(place: &Place) -> String {
    let nodes: Vec<&str> = place.nodes.iter().map(NodeName::as_str).collect();
    match (nodes.as_slice(), place.is_moving) {
        ([], true) => "on no node yet; the cluster is about to start it".to_owned(),
        ([], false) => "on no node: the cluster has no place for it".to_owned(),
        (nodes, _) => format!("on {}", nodes.join(" and ")),
    }
}

/// Where a domain stands on the node that is to be emptied.
fn look(root: &Root, node: &NodeName, me: &NodeName, managed: &ManagedDomain) -> anyhow::Result<Presence> {
    let (parameters, _) = Parameters::judge(&managed.parameters);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_each_domain_went_is_told_and_that_one_has_no_place() {
        let place = |nodes: &[&str], is_moving| {
            let nodes = nodes.iter().map(|name| NodeName::new(*name).unwrap()).collect();
            place_in_words(&Place { nodes, is_moving })
        };
        assert_eq!(place(&["n2"], false), "on n2");
        assert!(place(&[], true).contains("about to start"));
        assert!(place(&[], false).contains("no place"));
    }

    #[test]
    fn the_time_that_all_moves_take_is_told_as_far_as_it_is_known() {
        let row = |how, seconds: Option<u64>| Row {
            departure: Departure {
                resource: "x0".to_owned(),
                to: None,
                how,
                because: String::new(),
                advice: String::new(),
            },
            expected: seconds.map(|seconds| Expected { seconds, by: By::Memory }),
        };
        let two = [row(How::HandedOff, Some(20)), row(How::Reboots, None), row(How::Migrates, Some(30))];
        assert_eq!(in_words(&two, 1), "2 to move alive, 1 at a time: about 50 s.");
        assert_eq!(in_words(&two, 0), "2 to move alive, all at once: about 30 s.");
        let some = [row(How::HandedOff, Some(20)), row(How::HandedOff, None)];
        assert_eq!(in_words(&some, 2), "2 to move alive, 2 at a time: at least 20 s.");
        let none = [row(How::HandedOff, None)];
        assert!(in_words(&none, 2).contains("no move of this node has shown yet"));
        assert_eq!(in_words(&[row(How::Stops, None)], 2), "No domain moves alive.");
    }
}
