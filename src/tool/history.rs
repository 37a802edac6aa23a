//! `xen-handoff history`: the moves that began at this node, or at any.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::names::{Domains, Nodes};
use super::shown::{Table, span, width};
use super::waiting::waiting;
use super::{output, way};
use crate::clock::Deadline;
use crate::domain::{DomainName, Presence};
use crate::handoff::{Epoch, Phase};
use crate::here::Here;
use crate::host::{NodeName, Root};
use crate::moves::journal::{self, Ending, Move, Why, shown_rate};
use crate::moves::progress::Direction;
use crate::node::standing::stands;
use crate::peer::Transport;
use crate::wire::message::MOST_MOVES;

/// Limit of asking the other nodes, which are asked at once.
const LIMIT: Duration = Duration::from_secs(20);

/// What is asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Only of this domain: its name, or its resource's id.
    pub name: Option<&'a str>,
    /// So many, the newest ones.
    pub last: usize,
    /// Of every node, each move once.
    pub all: bool,
    /// For programs.
    pub json: bool,
}

/// A move, as the log of a node has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) node: NodeName,
    pub(super) entry: Move,
}

/// The moves that the other nodes have in their logs, `last` of each at most; and the nodes that do not say,
/// with why.
fn of_others(
    ssh: &Transport,
    nodes: &Nodes,
    domain: Option<&DomainName>,
    last: usize,
) -> (Vec<Line>, Vec<(NodeName, String)>) {
    let last = u64::try_from(last).unwrap_or(MOST_MOVES).min(MOST_MOVES);
    let deadline = Deadline::after(LIMIT);
    let answers = ssh.each(&nodes.others, deadline, |node| node.moves(domain, last, deadline));
    let (mut lines, mut silent) = (Vec::new(), Vec::new());
    for (node, answer) in nodes.others.iter().zip(answers) {
        match answer {
            Ok(moves) => {
                lines.extend(moves.into_iter().map(|entry| Line { node: node.clone(), entry }));
            }
            Err(error) => silent.push((node.clone(), error.to_string())),
        }
    }
    (lines, silent)
}

/// The same with this node's own.
pub(super) fn gather(
    root: &Root,
    ssh: &Transport,
    nodes: &Nodes,
    domain: Option<&DomainName>,
    last: usize,
) -> (Vec<Line>, Vec<(NodeName, String)>) {
    let (mut lines, mut silent) = of_others(ssh, nodes, domain, last);
    match here(root) {
        Ok(moves) => lines.extend(moves.into_iter().map(|entry| Line { node: nodes.me.clone(), entry })),
        Err(error) => silent.push((nodes.me.clone(), format!("{error:#}"))),
    }
    (lines, silent)
}

/// Prints them, the oldest first.
///
/// # Errors
/// If the log cannot be read, nobody knows the name, or stdout is closed.
pub fn run(world: &Here, asked: &Asked<'_>) -> anyhow::Result<()> {
    let (root, cluster) = (&world.root, world.cluster());
    let domains = asked.name.map(|_| Domains::of(world));
    let domain = asked.name.zip(domains.as_ref()).map(|(name, domains)| domains.domain(name)).transpose()?;
    let nodes = Nodes::of(root, cluster.as_ref());
    let here = here(root)?;
    let mut lines: Vec<Line> = here.into_iter().map(|entry| Line { node: nodes.me.clone(), entry }).collect();
    let (of_others, silent) = if asked.all {
        let _waits = waiting("asking the nodes for their moves");
        of_others(&way(world), &nodes, domain.as_ref(), asked.last)
    } else {
        (Vec::new(), Vec::new())
    };
    lines.extend(of_others);
    if let (Some(name), Some(domain), Some(domains)) = (asked.name, &domain, &domains) {
        let names: Vec<String> = lines.iter().map(|line| line.entry.domain.to_string()).collect();
        lines.retain(|line| line.entry.domain == *domain);
        let is_here = || stands(world, domain) != (Presence::Absent, Phase::Idle);
        if lines.is_empty() && domains.find(name).is_none() && !is_here() {
            return Err(domains.unknown(name, names));
        }
    }
    let lines = if asked.all { each_once(lines) } else { lines };
    let newest = &lines[lines.len().saturating_sub(asked.last)..];
    if asked.json {
        return output::print("history", &Document::of(newest, &silent), false);
    }
    let mut out = std::io::stdout();
    if newest.is_empty() {
        let which = match (asked.all, silent.is_empty()) {
            (false, _) => "log of this node",
            (true, true) => "log of any node",
            (true, false) => "logs of the nodes that answer",
        };
        let of = domain.map(|domain| format!(" of {domain}")).unwrap_or_default();
        writeln!(out, "No move{of} is in the {which}.")?;
    } else {
        write!(out, "{}", table(newest).text(width()))?;
    }
    for (node, why) in silent {
        writeln!(out, "{node} does not answer: {why}")?;
    }
    if let Some(caveat) = nodes.caveat.filter(|_| asked.all) {
        writeln!(out, "{caveat}")?;
    }
    Ok(())
}

/// This node's log.
pub(super) fn here(root: &Root) -> anyhow::Result<Vec<Move>> {
    journal::read(root)
        .with_context(|| format!("reading the log of moves in {}", root.lasting_folder().display()))
}

/// Both ends have a line of each stream, and the source's says more. Where one end has lines that the other
/// has not, its own count.
pub(super) fn each_once(lines: Vec<Line>) -> Vec<Line> {
    let mut moves: BTreeMap<(Epoch, DomainName, NodeName), [Vec<Line>; 2]> = BTreeMap::new();
    for line in lines {
        let end = usize::from(line.entry.direction == Direction::Incoming);
        let key = (line.entry.epoch, line.entry.domain.clone(), line.entry.target.clone());
        if let Some(lines) = moves.entry(key).or_default().get_mut(end) {
            lines.push(line);
        }
    }
    let mut all = Vec::new();
    for [went, came] in moves.into_values() {
        let (mut told, other) = if went.len() >= came.len() { (went, came) } else { (came, went) };
        // One that was killed in its last step did not see the end; the other may have.
        if let (Some(line), Some(other)) = (told.last_mut(), other.last())
            && line.entry.end == Ending::Undecided
        {
            line.entry.end = other.entry.end;
        }
        all.extend(told);
    }
    all.sort_by_key(|line| (line.entry.began_at, line.entry.epoch));
    all
}

/// What it was for, in one word.
pub(super) fn why_word(why: Why) -> &'static str {
    match why {
        Why::Handoff => "handoff",
        Why::Migration => "migration",
    }
}

/// Its end, in one word.
pub(super) fn end_word(end: Ending) -> &'static str {
    match end {
        Ending::Moved => "moved",
        Ending::NotMoved => "not-moved",
        Ending::Gone => "gone",
        Ending::Undecided => "undecided",
    }
}

fn table(lines: &[Line]) -> Table {
    let mut table =
        Table::new(&["BEGAN (UTC)", "DOMAIN", "WAY", "WHY", ">TOOK", ">PAUSE", ">MIB", ">MIB/S", "END"]);
    for Line { entry, .. } in lines {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let mut details = Vec::new();
        details.extend(entry.flow.wire.map(|wire| format!("{} MiB on the connection", wire >> 20)));
        match entry.end {
            Ending::NotMoved => details.push(entry.said.clone()),
            Ending::Undecided => details.push(format!("see xen-handoff recover {}", entry.domain)),
            Ending::Moved | Ending::Gone => {}
        }
        let cells = [
            entry.began_at.minute(),
            entry.domain.to_string(),
            format!("{} > {}", entry.source, entry.target),
            why_word(entry.why).to_owned(),
            span(entry.total_ms),
            or_none(entry.flow.pause_ms().map(span)),
            (entry.flow.bytes >> 20).to_string(),
            or_none(entry.flow.mib_per_second().map(shown_rate)),
            end_word(entry.end).to_owned(),
        ];
        table.row(cells, details);
    }
    table
}

/// For programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    moves: Vec<MoveView<'a>>,
    /// Nodes that were asked and did not answer.
    silent: Vec<Silent<'a>>,
}

#[derive(Debug, Serialize)]
struct Silent<'a> {
    node: &'a NodeName,
    error: &'a str,
}

#[derive(Debug, Serialize)]
struct MoveView<'a> {
    /// Whose log this is from.
    node: &'a NodeName,
    domain: &'a DomainName,
    source: &'a NodeName,
    target: &'a NodeName,
    /// The same at both ends.
    transfer: String,
    direction: &'static str,
    reason: &'static str,
    began_at: String,
    seconds: f64,
    end: &'static str,
    said: &'a str,
    bytes: u64,
    connection_bytes: Option<u64>,
    bytes_per_second: Option<f64>,
    rounds: Option<u32>,
    pause_seconds: Option<f64>,
    /// From the stream's begin.
    opened_after_seconds: Option<f64>,
    suspended_after_seconds: Option<f64>,
    ready_after_seconds: Option<f64>,
    reported_after_seconds: Option<f64>,
}

impl<'a> Document<'a> {
    fn of(lines: &'a [Line], silent: &'a [(NodeName, String)]) -> Self {
        let view = |line: &'a Line| {
            let Line { node, entry } = line;
            let flow = &entry.flow;
            MoveView {
                node,
                domain: &entry.domain,
                source: &entry.source,
                target: &entry.target,
                transfer: entry.epoch.rfc3339(),
                direction: entry.direction.word(),
                reason: why_word(entry.why),
                began_at: entry.began_at.rfc3339(),
                seconds: output::seconds(entry.total_ms),
                end: end_word(entry.end),
                said: &entry.said,
                bytes: flow.bytes,
                connection_bytes: flow.wire,
                bytes_per_second: flow.mib_per_second().map(|rate| (rate * f64::from(1 << 20)).round()),
                rounds: flow.rounds,
                pause_seconds: flow.pause_ms().map(output::seconds),
                opened_after_seconds: flow.opened_ms.map(output::seconds),
                suspended_after_seconds: flow.suspended_ms.map(output::seconds),
                ready_after_seconds: flow.ready_ms.map(output::seconds),
                reported_after_seconds: flow.reported_ms.map(output::seconds),
            }
        };
        let silent = silent.iter().map(|(node, error)| Silent { node, error });
        Self { moves: lines.iter().map(view).collect(), silent: silent.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moves::journal::{Flow, a_move};

    fn line(entry: Move) -> Line {
        Line { node: NodeName::new("n1").unwrap(), entry }
    }

    #[test]
    fn a_slow_move_has_a_rate_and_a_compressed_one_says_what_the_network_carried() {
        let (opened_ms, ready_ms) = (Some(1000), Some(51_000));
        let flow = Flow { bytes: 130 << 20, wire: Some(9 << 20), opened_ms, ready_ms, ..Flow::default() };
        let text = table(&[line(Move { flow, total_ms: 60_480, ..a_move(1) })]).text(80);
        assert!(text.contains(" 60 s      -  130    2.6  moved\n    9 MiB on the connection\n"), "{text}");
    }

    #[test]
    fn a_row_fits_80_columns_and_says_what_held_up_a_move_that_failed() {
        let said =
            "cannot reach n2: no answer in time; ssh: connect to host n2 port 22: Connection timed out"
                .to_owned();
        let failed = Move { end: Ending::NotMoved, said, ..a_move(1) };
        let text = table(&[line(a_move(1)), line(failed)]).text(80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("not-moved\n") && text.contains("Connection timed out"), "{text}");
    }

    #[test]
    fn a_move_that_both_ends_know_is_told_once_with_what_the_source_knows_and_with_its_end() {
        let end = |direction, end, rounds| {
            let flow = Flow { rounds, ..a_move(1).flow };
            line(Move { direction, end, flow, ..a_move(7) })
        };
        let went = end(Direction::Outgoing, Ending::Undecided, Some(3));
        let came = end(Direction::Incoming, Ending::Moved, None);
        for lines in [vec![went.clone(), came.clone()], vec![came.clone(), went.clone()]] {
            let [told] = &each_once(lines)[..] else { panic!("not one") };
            assert_eq!((told.entry.end, told.entry.flow.rounds), (Ending::Moved, Some(3)));
        }
        // The second stream of the same offer, which only its target has put down yet.
        assert_eq!(each_once(vec![went, came.clone(), came]).len(), 2);
    }
}
