//! `xen-handoff reach`: the gate of a handoff, by hand: does that node answer, and can it reach this one? Of
//! one node, or of each from each.

use std::io::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::names::Nodes;
use super::shown::{Table, width};
use super::waiting::waiting;
use super::{output, reach_of};
use crate::address::Address;
use crate::address::Reach;
use crate::clock::Deadline;
use crate::here::Here;
use crate::host::NodeName;
use crate::peer::Transport;
use crate::wire::client::Unanswered;
use crate::wire::{Connection, TransportError};

/// Limit of one try.
const LIMIT: Duration = Duration::from_secs(30);

/// How the nodes are to be reached: what the resources say, unless the command line says something else.
#[derive(Debug, Default)]
pub struct Said {
    /// The user on both nodes.
    pub user: Option<String>,
    /// sshd's port there.
    pub port: Option<u16>,
    /// The suffix of node names on the migration network.
    pub suffix: Option<String>,
}

impl Said {
    fn over(self, reach: Reach) -> Reach {
        Reach {
            user: self.user.unwrap_or(reach.user),
            port: self.port.unwrap_or(reach.port),
            suffix: self.suffix.unwrap_or(reach.suffix),
            ..reach
        }
    }
}

/// Tries one node and says what came of it.
///
/// # Errors
/// With the reason, if either way is shut; if the cluster has no such node.
pub fn run(here: &Here, node: &NodeName, as_node: Option<NodeName>, said: Said) -> anyhow::Result<()> {
    let cluster = here.cluster();
    let nodes = Nodes::of(&here.root, cluster.as_ref());
    nodes.check(node)?;
    let us = as_node.unwrap_or(nodes.me);
    let ssh = Transport::of(here, &said.over(reach_of(cluster.as_ref())));
    let waits = waiting(&format!("trying {node}"));
    let began = Instant::now();
    let deadline = Deadline::after(LIMIT);
    let mut connection = ssh.connect(node, deadline)?;
    let there = began.elapsed();
    if let Err(why) = reaches(&mut connection, ssh.address(&us)?, deadline) {
        anyhow::bail!("{node} answers, but cannot reach {us}: {why}");
    }
    drop(waits);
    writeln!(
        std::io::stdout(),
        "{node} answers in {:.1} s and reaches {us} in {:.1} s.",
        there.as_secs_f64(),
        began.elapsed().saturating_sub(there).as_secs_f64()
    )?;
    Ok(())
}

/// Whether the other end of a connection reaches that node.
///
/// # Errors
/// In its words.
pub(super) fn reaches(connection: &mut Connection, node: Address, deadline: Deadline) -> Result<(), String> {
    connection.reach(node, deadline).map_err(Unanswered::reason)
}

/// One way, and whether it is open.
#[derive(Debug, Serialize)]
pub(super) struct Way {
    pub(super) from: NodeName,
    pub(super) to: NodeName,
    pub(super) open: bool,
    /// How long it took to find out.
    pub(super) seconds: f64,
    /// Why it is shut.
    pub(super) error: Option<String>,
}

/// Tries every way between two of the nodes, from this one out; a node that does not answer cannot be asked
/// for its own.
pub(super) fn all_ways(nodes: &Nodes, ssh: &Transport) -> Vec<Way> {
    let mut ways = Vec::new();
    for from in &nodes.others {
        let began = Instant::now();
        let mut connection = ssh.connect(from, Deadline::after(LIMIT));
        let way = |from: &NodeName, to: &NodeName, began: Instant, found: Result<(), String>| Way {
            from: from.clone(),
            to: to.clone(),
            open: found.is_ok(),
            seconds: (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            error: found.err(),
        };
        let found = connection.as_ref().map(drop).map_err(TransportError::to_string);
        ways.push(way(&nodes.me, from, began, found));
        for to in nodes.all().iter().filter(|to| *to != from) {
            let began = Instant::now();
            let found = match (&mut connection, ssh.address(to)) {
                (Ok(connection), Ok(address)) => reaches(connection, address, Deadline::after(LIMIT)),
                (Ok(_), Err(error)) => Err(error.to_string()),
                (Err(_), _) => Err(format!("{from} could not be asked")),
            };
            ways.push(way(from, to, began, found));
        }
    }
    ways
}

#[derive(Debug, Serialize)]
struct Document {
    ways: Vec<Way>,
    caveat: Option<String>,
}

/// Tries each node from each. True if all of them reach each other.
///
/// # Errors
/// If no other node is known.
pub fn all(here: &Here, said: Said, json: bool) -> anyhow::Result<bool> {
    let cluster = here.cluster();
    let nodes = Nodes::of(&here.root, cluster.as_ref());
    let ssh = Transport::of(here, &said.over(reach_of(cluster.as_ref())));
    let waits = waiting("trying each node from each");
    let ways = all_ways(&nodes, &ssh);
    drop(waits);
    let complete = ways.iter().all(|way| way.open);
    if ways.is_empty() {
        anyhow::bail!("{}", nodes.caveat.unwrap_or_else(|| "this cluster has no other node".to_owned()));
    }
    if json {
        output::print("reach", &Document { ways, caveat: nodes.caveat }, false)?;
        return Ok(complete);
    }
    let mut table = Table::new(&["FROM", "TO", ">SECONDS", "ANSWERS"]);
    for way in ways {
        let found = way.error.map_or("yes".to_owned(), |why| format!("NO: {why}"));
        let cells = [way.from.to_string(), way.to.to_string(), format!("{:.1}", way.seconds), found];
        table.row(cells, Vec::new());
    }
    let mut out = std::io::stdout();
    write!(out, "{}", table.text(width()))?;
    if let Some(caveat) = nodes.caveat {
        writeln!(out, "{caveat}")?;
    }
    Ok(complete)
}
