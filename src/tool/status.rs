//! `xen-handoff status`: the offers and transfers of this node, or of every node of the cluster.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::cluster::detect;
use crate::domain::{DomainName, Presence};
use crate::handoff::Phase;
use crate::handoff::record::{RecordError, Store};
use crate::host::{NodeName, Root};
use crate::ocf::parameters::Parameters;
use crate::transfer::progress::{self, Direction, Progress};
use crate::transfer::slots::Slots;
use crate::transport::Transport;
use crate::transport::forced_command::stands;
use crate::transport::message::{Answer, Request, STATUS};
use crate::transport::ssh::Ssh;

/// How often they are shown again.
const AGAIN: Duration = Duration::from_secs(2);
/// Limit of asking one node.
const LIMIT: Duration = Duration::from_secs(20);
/// Clears a terminal, cursor to the top left (ECMA-48).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// One offer or transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which domain.
    pub domain: DomainName,
    /// Where it stands on the node.
    pub presence: Presence,
    /// What the node's record says.
    pub record: Phase,
    /// How far its stream has come, where there is one.
    pub progress: Option<Progress>,
}

/// The rows of one node; or why there are none.
#[derive(Debug)]
struct Of {
    node: NodeName,
    rows: Told,
}

#[derive(Debug)]
enum Told {
    Rows(Vec<Row>),
    Silent(String),
}

/// Every domain that has a record here.
///
/// # Errors
/// If the records cannot be read.
pub fn rows(root: &Root) -> Result<Vec<Row>, RecordError> {
    let mut domains = Store::new(root.state_folder()).domains()?;
    // One that waits to be pushed has no record yet.
    for direction in [Direction::Outgoing, Direction::Incoming] {
        let tickets = Slots::of(root, direction).tickets().unwrap_or_default();
        domains.extend(tickets.into_iter().map(|ticket| ticket.domain));
    }
    domains.sort();
    domains.dedup();
    let row = |domain: DomainName| {
        let (presence, record) = stands(root, &domain);
        Row { presence, record, progress: progress::read(root, &domain), domain }
    };
    Ok(domains.into_iter().map(row).collect())
}

/// Prints them; with `watch` again and again.
///
/// # Errors
/// If this node's records or the cluster's nodes cannot be read, or stdout is closed.
pub fn run(root: &Root, all: bool, watch: bool, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let shown = loop {
        let nodes = gather(root, all)?;
        if json && !watch {
            serde_json::to_writer_pretty(&mut out, &flat(&nodes))?;
            break writeln!(out);
        }
        if json {
            // One look a line, for whoever reads them as they come.
            serde_json::to_writer(&mut out, &flat(&nodes))?;
            if let Err(closed) = writeln!(out).and_then(|()| out.flush()) {
                break Err(closed);
            }
            SystemClock.pass(AGAIN);
            continue;
        }
        let text = table(&nodes);
        let before = if watch && out.is_terminal() { CLEAR } else { "" };
        let written = write!(out, "{before}{text}").and_then(|()| out.flush());
        if !watch || written.is_err() {
            break written;
        }
        SystemClock.pass(AGAIN);
    };
    Ok(shown?)
}

fn gather(root: &Root, all: bool) -> anyhow::Result<Vec<Of>> {
    let cluster = detect(root);
    let me = cluster.own_name();
    let mut nodes = vec![Of { node: me.clone(), rows: Told::Rows(rows(root)?) }];
    if all {
        let managed = cluster.domains().unwrap_or_default();
        let parameters = managed.first().map(|managed| managed.parameters.clone()).unwrap_or_default();
        let reach = Parameters::judge(&parameters).0.reach;
        let ssh = Ssh::new(root, &reach, cluster.clone());
        for peer in cluster.peers(&me, "")? {
            let rows = match there(&ssh, &peer.node) {
                Ok(rows) => Told::Rows(rows),
                Err(error) => Told::Silent(format!("{error:#}")),
            };
            nodes.push(Of { node: peer.node, rows });
        }
    }
    Ok(nodes)
}

fn there(ssh: &Ssh, node: &NodeName) -> anyhow::Result<Vec<Row>> {
    let deadline = Deadline::after(LIMIT);
    let mut connection = ssh.connect(node, deadline)?;
    anyhow::ensure!(connection.can(STATUS), "xen-handoff {} there cannot say", connection.peer_version());
    match connection.ask(&Request::Status, deadline)? {
        Answer::Status { rows } => Ok(rows),
        Answer::Refused { reason, .. } => anyhow::bail!(reason),
        other => anyhow::bail!("it answers {other:?}"),
    }
}

/// For scripts: one object a row, with its node; and one for a node that does not answer.
fn flat(nodes: &[Of]) -> Vec<serde_json::Value> {
    let with_node = |of: &Of, value: serde_json::Value| {
        let mut value = value;
        value["node"] = of.node.as_str().into();
        value
    };
    nodes
        .iter()
        .flat_map(|of| match &of.rows {
            Told::Rows(rows) => rows
                .iter()
                .filter_map(|row| serde_json::to_value(row).ok())
                .map(|row| with_node(of, row))
                .collect(),
            Told::Silent(why) => vec![with_node(of, serde_json::json!({ "silent": why }))],
        })
        .collect()
}

fn table(nodes: &[Of]) -> String {
    let mut text = String::new();
    let is_empty = |of: &Of| matches!(&of.rows, Told::Rows(rows) if rows.is_empty());
    if nodes.iter().all(is_empty) {
        let which = if nodes.len() == 1 { "on this node" } else { "on any node" };
        return format!("No offers and no transfers {which}.\n");
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:<16} {:<24} {:<12} {:<28} DETAILS", "NODE", "DOMAIN", "PHASE", "HERE");
    for of in nodes {
        let node = of.node.as_str();
        match &of.rows {
            Told::Silent(why) => {
                let _ = writeln!(text, "{node:<16} does not answer: {why}");
            }
            Told::Rows(rows) => rows.iter().for_each(|row| {
                let (domain, phase, here) =
                    (row.domain.as_str(), row.record.name(), row.presence.to_string());
                let _ = writeln!(text, "{node:<16} {domain:<24} {phase:<12} {here:<28} {}", details(row));
            }),
        }
    }
    text
}

fn details(row: &Row) -> String {
    let mut words = Vec::new();
    match &row.record {
        Phase::Sending { transfer, .. } | Phase::Settling { transfer, .. } | Phase::Left { transfer } => {
            words.push(format!("to {}", transfer.target));
        }
        Phase::Receiving { transfer } | Phase::Arriving { transfer } | Phase::Arrived { transfer } => {
            words.push(format!("from {}", transfer.source));
        }
        Phase::Claiming { offer } => words.push(format!("from {}", offer.source)),
        Phase::Idle | Phase::Offering { .. } | Phase::Offered { .. } | Phase::Withdrawing { .. } => {}
    }
    if let Some(offer) = row.record.offer() {
        words.push(match offer.deadline.from_now().as_secs() {
            0 => format!(
                "the offer ended {} s ago",
                UnixTime::now().0 - offer.deadline.0.min(UnixTime::now().0)
            ),
            left => format!("the offer ends in {left} s"),
        });
    }
    words.extend(row.progress.as_ref().map(ToString::to_string));
    words.join(", ")
}
