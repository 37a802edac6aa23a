//! `xen-handoff status`: the offers and transfers of this node, or of every node of the cluster.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::names::Nodes;
use super::shown::{Table, paragraph, width};
use super::waiting::waiting;
use super::{output, watch, way};
use crate::clock::{Clock, Deadline, SystemClock};
use crate::domain::{DomainName, Presence};
use crate::here::Here;
use crate::host::NodeName;
use crate::node::standing::{Row, rows};
use crate::ocf::environment::Terminal;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Of every node.
    pub all: bool,
    /// Again and again.
    pub watch: bool,
    /// For programs.
    pub json: bool,
}

/// The rows of one node; or why there are none.
#[derive(Debug)]
struct Of {
    node: NodeName,
    rows: Result<Vec<Row>, String>,
}

/// One look at the nodes.
#[derive(Debug)]
struct Look {
    nodes: Vec<Of>,
    /// Why the other nodes are not the cluster manager's to say.
    caveat: Option<String>,
}

/// Prints them; with `watch` again and again, in a terminal as a picture of it.
///
/// # Errors
/// If this node's records cannot be read, or stdout is closed.
pub fn run(here: &Here, asked: &Asked, terminal: Terminal) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if asked.watch && !asked.json && terminal != Terminal::Dumb && out.is_terminal() {
        return watch::run(here, asked.all, terminal == Terminal::Full);
    }
    loop {
        let waits = waiting(if asked.all { "asking the nodes" } else { "asking this node" });
        let look = gather(here, asked.all)?;
        drop(waits);
        if asked.json {
            // One look a line, for whoever reads them as they come.
            output::print("status", &Document::of(&look), asked.watch)?;
        } else {
            write!(out, "{}", table(&look)).and_then(|()| out.flush())?;
        }
        if !asked.watch {
            return Ok(());
        }
        SystemClock.pass(watch::AGAIN);
    }
}

fn gather(here: &Here, all: bool) -> anyhow::Result<Look> {
    let cluster = here.cluster();
    if !all {
        let node = cluster.own_name();
        return Ok(Look { nodes: vec![Of { node, rows: Ok(rows(here)?) }], caveat: None });
    }
    let known = Nodes::of(&here.root, cluster.as_ref());
    let mut nodes = vec![Of { node: known.me.clone(), rows: Ok(rows(here)?) }];
    let deadline = Deadline::after(watch::LIMIT);
    let answers = way(here).each(&known.others, deadline, |node| node.status(deadline));
    for (node, answer) in known.others.into_iter().zip(answers) {
        nodes.push(Of { node, rows: answer.map_err(|error| error.to_string()) });
    }
    Ok(Look { nodes, caveat: known.caveat })
}

/// For programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    nodes: Vec<NodeView<'a>>,
    caveat: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct NodeView<'a> {
    node: &'a NodeName,
    /// Why it does not answer.
    error: Option<&'a str>,
    domains: Vec<RowView<'a>>,
}

#[derive(Debug, Serialize)]
struct RowView<'a> {
    domain: &'a DomainName,
    state: &'static str,
    domid: Option<u32>,
    /// Why the state is not known.
    unknown_because: Option<&'a str>,
    phase: &'static str,
    source: Option<&'a NodeName>,
    target: Option<&'a NodeName>,
    offer_made_at: Option<String>,
    offer_ends_at: Option<String>,
    progress: Option<ProgressView<'a>>,
}

#[derive(Debug, Serialize)]
struct ProgressView<'a> {
    direction: &'static str,
    began_at: String,
    as_of: String,
    bytes: u64,
    connection_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    bytes_per_second: Option<u64>,
    round: Option<u32>,
    percent: Option<u64>,
    seconds_left: Option<u64>,
    waits_for: Option<&'a str>,
}

impl<'a> Document<'a> {
    fn of(look: &'a Look) -> Self {
        let view = |of: &'a Of| NodeView {
            node: &of.node,
            error: of.rows.as_ref().err().map(String::as_str),
            domains: of.rows.iter().flatten().map(RowView::of).collect(),
        };
        Self { nodes: look.nodes.iter().map(view).collect(), caveat: look.caveat.as_deref() }
    }
}

impl<'a> RowView<'a> {
    fn of(row: &'a Row) -> Self {
        let (state, domid) = output::state(&row.presence);
        let (source, target) = row.ends();
        let offer = row.record.offer();
        let progress = row.progress.as_ref().map(|progress| ProgressView {
            direction: progress.direction.word(),
            began_at: progress.started_at.rfc3339(),
            as_of: progress.updated_at.rfc3339(),
            bytes: progress.bytes,
            connection_bytes: progress.wire,
            memory_bytes: progress.memory_mib.map(|mib| mib << 20),
            bytes_per_second: progress.mib_per_second.map(|mib| mib << 20),
            round: progress.round,
            percent: progress.percent(),
            seconds_left: progress.seconds_left(),
            waits_for: progress.waits.as_deref(),
        });
        let unknown_because = match &row.presence {
            Presence::Unknown(why) => Some(why.as_str()),
            _ => None,
        };
        Self {
            domain: &row.domain,
            state,
            domid,
            unknown_because,
            phase: row.record.name(),
            source,
            target,
            offer_made_at: offer.map(|offer| offer.made_at.rfc3339()),
            offer_ends_at: offer.map(|offer| offer.deadline.rfc3339()),
            progress,
        }
    }
}

fn table(look: &Look) -> String {
    let is_empty = |of: &Of| of.rows.as_ref().is_ok_and(Vec::is_empty);
    let mut text = if look.nodes.iter().all(is_empty) {
        let which = if look.nodes.len() == 1 { "on this node" } else { "on any node" };
        format!("No offers and no transfers {which}.\n")
    } else {
        let mut table = Table::new(&["NODE", "DOMAIN", "PHASE", "STATE"]);
        for of in &look.nodes {
            match &of.rows {
                Err(why) => {
                    let cells = [of.node.to_string(), "-".to_owned(), "-".to_owned()];
                    table.row(cells.into_iter().chain(["does not answer".to_owned()]), vec![why.clone()]);
                }
                Ok(rows) => rows.iter().for_each(|row| {
                    let cells = [
                        of.node.to_string(),
                        row.domain.to_string(),
                        row.record.name().to_owned(),
                        row.presence.to_string(),
                    ];
                    let details = details(row);
                    table.row(cells, if details.is_empty() { Vec::new() } else { vec![details] });
                }),
            }
        }
        table.text(width())
    };
    text.extend(look.caveat.iter().map(|caveat| paragraph("", caveat, width())));
    text
}

/// What else there is to say of it, on one line.
fn details(row: &Row) -> String {
    let mut words = Vec::new();
    match (row.ends(), row.record.is_target()) {
        ((Some(source), _), true) => words.push(format!("from {source}")),
        ((_, Some(target)), false) => words.push(format!("to {target}")),
        _ => {}
    }
    if let Some(offer) = row.record.offer() {
        words.push(match offer.deadline.from_now().as_secs() {
            0 => format!("the offer ended {} s ago", offer.deadline.age().as_secs()),
            left => format!("the offer ends in {left} s"),
        });
    }
    words.extend(row.progress.as_ref().map(ToString::to_string));
    words.join(", ")
}
