//! `xen-handoff drain`: what becomes of each domain of a node that is left, and why; and the doing of it,
//! watched until the node is empty, with what became of each.
//!
//! The plan is the scheduler's, and for what is to move alive each gate is tried that the stop itself will
//! try ([`crate::worker::trial`]), on the node that is to be left.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::expected::{By, Expected, Experience, in_all};
use super::history::{self, Line};
use super::names::{Nodes, in_words};
use super::shown::{paragraph, span, width};
use super::waiting::waiting;
use super::{output, way};
use crate::at_once::at_once;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::cluster::ClusterView;
use crate::cluster::evacuation::{Departure, How, Place};
use crate::cluster::managed::ManagedDomain;
use crate::cluster::pacemaker::Pacemaker;
use crate::domain::{DomainName, Presence};
use crate::handoff::{Phase, SourcePhase};
use crate::here::Here;
use crate::host::{NodeName, Root};
use crate::moves::journal::{Ending, Why};
use crate::moves::progress::Direction;
use crate::moves::slots::Slots;
use crate::node::standing::{Row as Open, rows as open_here, stands};
use crate::parameters::Parameters;
use crate::peer::Transport;
use crate::wire::Connection;
use crate::wire::client::Stands;
use crate::wire::message::{MOST_MOVES, Tried};
use crate::worker::trial;

/// How often the node is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How often a line that has not changed but for its numbers is said again.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How long the cluster may take, once the node is empty, to have started again what has left it.
const TO_SETTLE: Duration = Duration::from_secs(60);
/// Limit of one look.
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// Limit of one trial, its own and some time for the way.
const TRIAL_LIMIT: Duration = Duration::from_secs(60);
/// So many domains are tried at once.
const AT_ONCE: usize = 4;

/// What tries a stop, in a thread of its own.
type Trial = Box<dyn FnOnce() -> Tried + Send>;

/// What becomes of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Fate {
    /// By the cluster's own live migration.
    Migrates,
    /// By a handoff.
    HandedOff,
    /// Shut down, and booted elsewhere.
    Reboots,
    /// Shut down, and started nowhere.
    Stops,
    /// Not at all: the cluster leaves it where it runs.
    Stays,
    /// That could not be found out.
    Unknown,
}

/// One line of the plan.
#[derive(Debug, Serialize)]
struct Row {
    resource: String,
    how: Fate,
    /// Where the cluster starts it.
    to: Option<NodeName>,
    /// Why it does not move alive; empty where it does.
    because: String,
    /// What would change that.
    #[serde(rename = "do")]
    advice: String,
    /// How long its move takes, as far as that is known.
    expected: Option<Expected>,
}

impl Row {
    fn of(departure: Departure) -> Self {
        let Departure { resource, to, how, because, advice } = departure;
        let how = match how {
            How::Migrates => Fate::Migrates,
            How::HandedOff => Fate::HandedOff,
            How::Reboots => Fate::Reboots,
            How::Stops => Fate::Stops,
            How::Stays => Fate::Stays,
        };
        Self { resource, how, to, because, advice, expected: None }
    }

    fn moves_alive(&self) -> bool {
        matches!(self.how, Fate::Migrates | Fate::HandedOff)
    }

    /// Puts in what came of the trial of its stop.
    fn has_been_tried(&mut self, tried: Tried, node: &NodeName) {
        let (how, because) = match (tried, self.how) {
            (Tried::Moves, _) => return,
            (Tried::Refused { why }, Fate::Migrates) => {
                (Fate::Reboots, format!("its migration would be refused: {why}"))
            }
            (Tried::Refused { why }, _) => (Fate::Reboots, why),
            (Tried::NotThere { why }, _) => {
                let to = self.to.as_ref().map_or("the planned target", NodeName::as_str);
                let else_stops = "where the cluster finds no other node, it is shut down when its offer ends";
                (Fate::Unknown, format!("{to} can neither fetch nor boot it ({why}); {else_stops}"))
            }
            (Tried::Unknown { why }, _) => (Fate::Unknown, format!("it could not be tried: {why}")),
        };
        self.advice = format!("on {node}: xen-handoff preflight {}", self.resource);
        (self.how, self.because) = (how, because);
    }

    /// What becomes of it, in words.
    fn in_words(&self) -> String {
        let to = self.to.as_ref().map_or_else(|| "no node".to_owned(), ToString::to_string);
        let expected = self.expected.map_or_else(String::new, |Expected { seconds, by }| match by {
            By::History => format!(", in about {seconds} s (as its last move)"),
            By::Memory => format!(", in about {seconds} s (by its memory)"),
        });
        match self.how {
            Fate::Migrates => format!("migrates to {to}{expected}"),
            Fate::HandedOff => format!("handed off to {to}{expected}"),
            Fate::Reboots => format!("REBOOTS, on {to}: {}", self.because),
            Fate::Stops => format!("STOPS: {}", self.because),
            Fate::Stays => format!("STAYS: {}", self.because),
            Fate::Unknown => format!("UNKNOWN, to {to}: {}", self.because),
        }
    }
}

/// What is drained, and by whose word.
struct Task<'a> {
    here: &'a Here,
    node: &'a NodeName,
    nodes: Nodes,
    pacemaker: Pacemaker,
    managed: Vec<ManagedDomain>,
}

impl<'a> Task<'a> {
    /// # Errors
    /// If the cluster is down here, or has no such node, or not just now.
    fn new(here: &'a Here, node: &'a NodeName) -> anyhow::Result<Self> {
        let root = &here.root;
        anyhow::ensure!(Pacemaker::is_installed(root), "drain works with Pacemaker only");
        let pacemaker = Pacemaker::new(root);
        let said = |error| anyhow::anyhow!("{}", in_words(&error));
        let managed = pacemaker.domains().map_err(said)?;
        let nodes = Nodes::of(root, &pacemaker);
        nodes.check(node)?;
        if *node != nodes.me {
            let peers = pacemaker.peers(&nodes.me, "").map_err(said)?;
            let online = peers.iter().any(|peer| peer.node == *node && peer.online);
            anyhow::ensure!(online, "{node} is no member of the cluster just now; what it runs is not known");
        }
        Ok(Self { here, node, nodes, pacemaker, managed })
    }

    fn is_here(&self) -> bool {
        *self.node == self.nodes.me
    }

    fn find(&self, resource: &str) -> Option<&ManagedDomain> {
        self.managed.iter().find(|managed| managed.resource == resource)
    }

    /// What becomes of each domain there.
    fn plan(&self) -> anyhow::Result<Vec<Row>> {
        let _waits = waiting("asking the scheduler, and each target whether it can take its domain");
        let departures = self.pacemaker.evacuation(self.node)?;
        let mut rows: Vec<Row> = departures.into_iter().map(Row::of).collect();
        let moving = rows.iter_mut().filter(|row| row.moves_alive() && self.find(&row.resource).is_some());
        let mut moving: Vec<&mut Row> = moving.collect();
        for some in moving.chunks_mut(AT_ONCE) {
            let trials: Vec<Trial> = some.iter().map(|row| self.trial(row)).collect();
            for (row, tried) in some.iter_mut().zip(at_once(trials, |trial| trial())) {
                let unknown = || Tried::Unknown { why: "the trial failed".to_owned() };
                row.has_been_tried(tried.unwrap_or_else(unknown), self.node);
            }
        }
        let known = Experience::of(self.here);
        for row in rows.iter_mut().filter(|row| row.moves_alive()) {
            row.expected = self.find(&row.resource).and_then(|managed| known.of_resource(managed));
        }
        Ok(rows)
    }

    /// What tries the stop of a domain of ours, on the node that it leaves.
    fn trial(&self, row: &Row) -> Trial {
        let (Some(managed), Some(target)) = (self.find(&row.resource).cloned(), row.to.clone()) else {
            return Box::new(|| Tried::Unknown { why: "the plan names no target".to_owned() });
        };
        let (root, node, migrates) = (self.here.root.clone(), self.node.clone(), row.how == Fate::Migrates);
        if self.is_here() {
            return Box::new(move || trial(&root, &managed.resource, &target, migrates));
        }
        let seed = self.here.seed();
        Box::new(move || {
            let reach = Parameters::judge(&managed.parameters).0.reach;
            let transport = Transport::of(&seed.grow(), &reach);
            let deadline = Deadline::after(TRIAL_LIMIT);
            let ask = |node: &mut Connection| node.trial(&managed.resource, &target, migrates, deadline);
            let tried = transport.one(&node, deadline, ask);
            tried.unwrap_or_else(|error| Tried::Unknown { why: error.by(&node) })
        })
    }

    /// Every move that a node which answers has in its log, and the nodes that do not.
    fn moves(&self) -> (Vec<Line>, Vec<NodeName>) {
        let last = usize::try_from(MOST_MOVES).unwrap_or(usize::MAX);
        let (lines, silent) = history::gather(&self.here.root, &way(self.here), &self.nodes, None, last);
        (lines, silent.into_iter().map(|(node, _)| node).collect())
    }

    /// Where the domains stand on the node.
    fn look(&self, domains: &[Domain]) -> BTreeMap<String, Stand> {
        let all = if self.is_here() { self.look_here(domains) } else { self.look_there(domains) };
        all.unwrap_or_else(|why| {
            let unknown = |domain: &Domain| {
                let stand = Stand { kind: "unknown", words: format!("could not be found out: {why:#}") };
                (domain.resource.clone(), stand)
            };
            domains.iter().map(unknown).collect()
        })
    }

    fn look_here(&self, domains: &[Domain]) -> anyhow::Result<BTreeMap<String, Stand>> {
        let open = open_here(self.here)?;
        let stand = |domain: &Domain| {
            Some((
                domain.resource.clone(),
                Stand::of(&stands(self.here, &domain.name).0, &domain.name, &open)?,
            ))
        };
        Ok(domains.iter().filter_map(stand).collect())
    }

    fn look_there(&self, domains: &[Domain]) -> anyhow::Result<BTreeMap<String, Stand>> {
        let deadline = Deadline::after(LOOK_LIMIT);
        let mut connection = way(self.here).connect(self.node, deadline)?;
        let open = connection.status(deadline).map_err(anyhow::Error::msg)?;
        let mut stands = BTreeMap::new();
        for domain in domains {
            let Stands { presence, .. } =
                connection.presence(&domain.name, deadline).map_err(anyhow::Error::msg)?;
            if let Some(stand) = Stand::of(&presence, &domain.name, &open) {
                stands.insert(domain.resource.clone(), stand);
            }
        }
        Ok(stands)
    }
}

/// A domain that is to leave.
#[derive(Debug)]
struct Domain {
    resource: String,
    name: DomainName,
}

/// Where a domain stands that has not left yet.
#[derive(Debug)]
struct Stand {
    /// What is said at once when it changes.
    kind: &'static str,
    /// All of it, numbers included.
    words: String,
}

impl Stand {
    /// `None`: it has left.
    fn of(presence: &Presence, name: &DomainName, open: &[Open]) -> Option<Self> {
        let row = open.iter().find(|row| row.domain == *name);
        let far = row.and_then(|row| row.progress.as_ref()).map(|progress| format!(": {progress}"));
        let far = far.unwrap_or_default();
        let (kind, words) = match (row.map(|row| &row.record), presence) {
            (Some(Phase::Source(SourcePhase::Sending { transfer, .. })), _) => {
                ("on its way", format!("on its way to {}{far}", transfer.target))
            }
            (Some(Phase::Source(SourcePhase::Settling { transfer, .. })), _) => {
                ("last step", format!("in the last step of its move to {}", transfer.target))
            }
            (_, Presence::Absent) => return None,
            (Some(Phase::Source(SourcePhase::Offering { .. } | SourcePhase::Offered { .. })), _) => {
                ("on offer", format!("on offer, not fetched yet{far}"))
            }
            (Some(Phase::Source(SourcePhase::Withdrawing { .. })), _) => {
                ("shut down", "being shut down".to_owned())
            }
            (_, Presence::Unknown(why)) => ("unknown", format!("could not be found out: {why}")),
            (_, presence) => ("still here", format!("{presence}{far}")),
        };
        Some(Self { kind, words })
    }
}

/// For programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    node: &'a NodeName,
    domains: &'a [Row],
    /// How many leave at once; 0: all.
    at_once: usize,
    /// How long all moves take, as far as that is known.
    expected_seconds: Option<u64>,
}

/// Prints what would become of each domain on `node`.
///
/// # Errors
/// If the scheduler does not say, or the cluster has no such node.
pub fn plan(here: &Here, node: &NodeName, json: bool) -> anyhow::Result<()> {
    let rows = Task::new(here, node)?.plan()?;
    if !json {
        return Ok(write!(std::io::stdout(), "{}", in_lines(&here.root, node, &rows))?);
    }
    let at_once = Slots::of(&here.root, Direction::Outgoing).limit();
    let known: Vec<u64> = rows.iter().filter_map(|row| Some(row.expected?.seconds)).collect();
    let expected_seconds = (!known.is_empty()).then(|| in_all(&known, at_once));
    output::print("drain", &Document { node, domains: &rows, at_once, expected_seconds }, false)
}

/// The plan for people.
fn in_lines(root: &Root, node: &NodeName, rows: &[Row]) -> String {
    if rows.is_empty() {
        return format!("No Xen domain of the cluster's runs on {node}.\n");
    }
    let longest = rows.iter().map(|row| row.resource.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        text += &paragraph(&format!("{:<longest$}  ", row.resource), &row.in_words(), width());
        if !row.advice.is_empty() {
            text += &paragraph(&format!("{:<longest$}  -> ", ""), &row.advice, width());
        }
    }
    text + &paragraph("", &in_words_all(rows, Slots::of(root, Direction::Outgoing).limit()), width())
}

/// How long all of it takes.
fn in_words_all(rows: &[Row], slots: usize) -> String {
    let moving: Vec<&Row> = rows.iter().filter(|row| row.moves_alive()).collect();
    let known: Vec<u64> = moving.iter().filter_map(|row| Some(row.expected?.seconds)).collect();
    let at_once = if slots == 0 { "all at once".to_owned() } else { format!("{slots} at a time") };
    match (moving.len(), known.len()) {
        (0, _) => "No domain is known to move alive.".to_owned(),
        (all, 0) => {
            format!("{all} to move alive, {at_once}; no move of this node has shown yet how long that takes.")
        }
        (all, some) => {
            let least = if some < all { "at least " } else { "about " };
            format!("{all} to move alive, {at_once}: {least}{} s.", in_all(&known, slots))
        }
    }
}

/// What becomes of those that do not move alive, on one line; empty if all do.
fn losses(rows: &[Row]) -> String {
    let of = |fate, one: &str, several: &str| {
        let names: Vec<&str> =
            rows.iter().filter(|row| row.how == fate).map(|row| row.resource.as_str()).collect();
        let verb = if names.len() == 1 { one } else { several };
        (!names.is_empty()).then(|| format!("{} {verb}", names.join(", ")))
    };
    let all = [
        of(Fate::Reboots, "reboots", "reboot"),
        of(Fate::Stops, "stops", "stop"),
        of(Fate::Stays, "stays", "stay"),
        of(Fate::Unknown, "may not move", "may not move"),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Prints the plan, puts `node` in standby and watches until none of our domains runs there; then says what
/// became of each. True if it is empty in time.
///
/// # Errors
/// If the cluster does not take the order, or does not say what it manages; without `force`, if a domain
/// would not move alive.
pub fn drain(here: &Here, node: &NodeName, force: bool, limit: Duration) -> anyhow::Result<bool> {
    let task = Task::new(here, node)?;
    let mut out = std::io::stdout();
    let rows = task.plan()?;
    write!(out, "{}", in_lines(&here.root, node, &rows))?;
    let losses = losses(&rows);
    if !losses.is_empty() && !force {
        anyhow::bail!("nothing was done: {losses}; xen-handoff drain {node} --force does it all the same");
    }
    let named = |row: &Row| {
        let managed = task.find(&row.resource)?;
        let (parameters, _) = Parameters::judge(&managed.parameters);
        let name = here.domain_of(&parameters, &managed.resource).ok()?;
        Some(Domain { resource: row.resource.clone(), name })
    };
    let (stay, leave): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.how == Fate::Stays);
    let domains: Vec<Domain> = leave.iter().filter_map(|row| named(row)).collect();
    // What is in a log by now is no move of this drain; no clock need be believed for that.
    let before: BTreeSet<_> = task.moves().0.iter().map(mark).collect();
    let words = ["crm_standby", "--node", node.as_str(), "--update", "on"].map(str::to_owned);
    task.pacemaker.order(&words)?;
    let began = Instant::now();
    writeln!(out, "{node} is in standby; crm_standby --node {node} --delete brings it back")?;
    let deadline = Deadline::after(limit);
    let mut teller = Teller { began, said: BTreeMap::new() };
    let mut left = BTreeMap::new();
    let empty = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        left = task.look(&domains);
        teller.tell(&domains, &left);
        left.is_empty().then_some(())
    });
    if empty.is_none() {
        let left: Vec<String> = left.into_keys().collect();
        let words = format!(
            "{} still there after {} s. {node} stays in standby and the cluster goes on; look again: xen-handoff drain \
             {node}; undo: crm_standby --node {node} --delete",
            left.join(", "),
            limit.as_secs()
        );
        write!(out, "{}", paragraph("", &words, width()))?;
        return Ok(false);
    }
    let (seconds, is_empty) = (began.elapsed().as_secs(), if stay.is_empty() { "is" } else { "is not" });
    writeln!(out, "{seconds:>5} s  {node} {is_empty} empty")?;
    for row in stay {
        write!(
            out,
            "{}",
            paragraph(&format!("{}: ", row.resource), &format!("still here: {}", row.because), width())
        )?;
    }
    let resources: Vec<String> = leave.iter().map(|row| row.resource.clone()).collect();
    let places = settled(&task.pacemaker, node, &resources, deadline.within(TO_SETTLE))?;
    let (mut lines, silent) = task.moves();
    lines.retain(|line| !before.contains(&mark(line)));
    let lines = history::each_once(lines);
    for row in leave {
        let domain = domains.iter().find(|domain| domain.resource == row.resource);
        let its: Vec<&Line> = lines
            .iter()
            .filter(|line| domain.is_some_and(|domain| domain.name == line.entry.domain))
            .collect();
        let place = places.get(&row.resource);
        let became = became(domain.is_some(), node, place, &its, &silent);
        write!(out, "{}", paragraph(&format!("{}: ", row.resource), &became, width()))?;
    }
    Ok(true)
}

/// Tells one line of a log from all others.
fn mark(line: &Line) -> (NodeName, DomainName, u64, u64, bool) {
    let entry = &line.entry;
    let leaves = entry.direction == Direction::Outgoing;
    (line.node.clone(), entry.domain.clone(), entry.epoch.0, entry.began_at.0, leaves)
}

/// Says how the domains stand, each when it is something new.
struct Teller {
    began: Instant,
    said: BTreeMap<String, (&'static str, Instant)>,
}

impl Teller {
    fn tell(&mut self, domains: &[Domain], left: &BTreeMap<String, Stand>) {
        for Domain { resource, .. } in domains {
            let (kind, words) =
                left.get(resource).map_or(("gone", "has left"), |stand| (stand.kind, stand.words.as_str()));
            let due = self
                .said
                .get(resource)
                .is_none_or(|(before, at)| *before != kind || (kind != "gone" && at.elapsed() >= SAY_AGAIN));
            if due {
                self.said.insert(resource.clone(), (kind, Instant::now()));
                let first = format!("{:>5} s  {resource}: ", self.began.elapsed().as_secs());
                if write!(std::io::stdout(), "{}", paragraph(&first, words, width())).is_err() {
                    log::debug!("nobody reads this any more");
                }
            }
        }
    }
}

/// Where these are when the cluster has nothing more to do with them: it hears of a start only when the
/// action has ended, and a reboot takes a while longer.
fn settled(
    pacemaker: &Pacemaker,
    drained: &NodeName,
    left: &[String],
    deadline: Deadline,
) -> anyhow::Result<BTreeMap<String, Place>> {
    let at_rest = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        let is_heard = |place: &Place| !place.is_moving && !place.nodes.contains(drained);
        pacemaker.places(left).ok().filter(|places| places.values().all(is_heard))
    });
    at_rest.map_or_else(|| Ok(pacemaker.places(left)?), Ok)
}

/// What became of a domain that has left `drained`: by where the cluster has it, and the moves of it that
/// were logged meanwhile. `ours`: an agent of ours has moved it, or would have.
fn became(
    ours: bool,
    drained: &NodeName,
    place: Option<&Place>,
    moves: &[&Line],
    silent: &[NodeName],
) -> String {
    let Some(place) = place else { return "where it is could not be found out".to_owned() };
    let nodes: Vec<&str> = place.nodes.iter().map(NodeName::as_str).collect();
    let at = nodes.join(" and ");
    let came = moves
        .iter()
        .rev()
        .map(|line| &line.entry)
        .find(|entry| entry.end == Ending::Moved && place.nodes.contains(&entry.target));
    let failed = moves.iter().rev().map(|line| &line.entry).find(|entry| entry.end != Ending::Moved);
    let failed = failed
        .map_or_else(String::new, |entry| format!("; its move to {} failed: {}", entry.target, entry.said));
    match (nodes.as_slice(), came) {
        ([], _) if place.is_moving => format!("shut down; the cluster is about to start it{failed}"),
        ([], _) => format!("shut down; the cluster has no place for it{failed}"),
        // It is not there any more: what is older than that says nothing of what became of it.
        _ if ours && place.nodes.contains(drained) => {
            format!("has left {drained}, and the cluster still has it on {at}{failed}")
        }
        (_, Some(entry)) => {
            let how = match entry.why {
                Why::Handoff => "handed over",
                Why::Migration => "migrated",
            };
            let pause = entry.flow.pause_ms().map(|pause| format!(", stood still for {}", span(pause)));
            format!("{how} to {at} in {}{}", span(entry.total_ms), pause.unwrap_or_default())
        }
        (_, None) if !ours => format!("on {at}; ocf:heartbeat:Xen does not say how it got there"),
        (_, None) if !silent.is_empty() => {
            let silent: Vec<&str> = silent.iter().map(NodeName::as_str).collect();
            format!("on {at}; how it got there is not known: {} does not answer", silent.join(" and "))
        }
        (_, None) => format!("rebooted: shut down, and booted on {at}{failed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moves::journal::{Move, a_move};

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn row(how: Fate, seconds: Option<u64>) -> Row {
        Row {
            resource: "x0".to_owned(),
            to: Some(node("n2")),
            how,
            because: String::new(),
            advice: String::new(),
            expected: seconds.map(|seconds| Expected { seconds, by: By::Memory }),
        }
    }

    #[test]
    fn what_became_of_each_domain_is_told_and_never_guessed() {
        let place =
            |nodes: &[&str], is_moving| Place { nodes: nodes.iter().copied().map(node).collect(), is_moving };
        let line = |end| Line { node: node("n1"), entry: Move { end, ..a_move(1) } };
        let (moved, failed) = (line(Ending::Moved), line(Ending::NotMoved));
        let told = |place: &Place, moves: &[&Line], silent: &[NodeName]| {
            became(true, &node("n1"), Some(place), moves, silent)
        };
        let on_n2 = place(&["n2"], false);
        assert_eq!(
            told(&on_n2, &[&failed, &moved], &[]),
            "handed over to n2 in 5.3 s, stood still for 0.5 s"
        );
        assert!(told(&on_n2, &[], &[]).starts_with("rebooted: "));
        assert!(
            told(&on_n2, &[&failed], &[])
                .contains("rebooted: shut down, and booted on n2; its move to n2 failed")
        );
        assert!(told(&on_n2, &[], &[node("n1")]).contains("not known: n1 does not answer"));
        assert!(
            told(&place(&["n3"], false), &[&moved], &[]).starts_with("rebooted"),
            "it moved to another node"
        );
        let not_heard = told(&place(&["n1"], false), &[], &[]);
        assert_eq!(not_heard, "has left n1, and the cluster still has it on n1");
        assert!(told(&place(&[], true), &[], &[]).contains("about to start"));
        assert!(told(&place(&[], false), &[], &[]).contains("no place"));
        assert!(became(false, &node("n1"), Some(&on_n2), &[], &[]).contains("ocf:heartbeat:Xen"));
    }

    #[test]
    fn the_time_that_all_moves_take_is_told_as_far_as_it_is_known() {
        let two = [row(Fate::HandedOff, Some(20)), row(Fate::Reboots, None), row(Fate::Migrates, Some(30))];
        assert_eq!(in_words_all(&two, 1), "2 to move alive, 1 at a time: about 50 s.");
        assert_eq!(in_words_all(&two, 0), "2 to move alive, all at once: about 30 s.");
        let some = [row(Fate::HandedOff, Some(20)), row(Fate::HandedOff, None)];
        assert_eq!(in_words_all(&some, 2), "2 to move alive, 2 at a time: at least 20 s.");
        let none = [row(Fate::HandedOff, None)];
        assert!(in_words_all(&none, 2).contains("no move of this node has shown yet"));
        assert_eq!(in_words_all(&[row(Fate::Stops, None)], 2), "No domain is known to move alive.");
    }

    #[test]
    fn what_could_not_be_tried_is_unknown_and_stands_against_a_drain() {
        let why = || "n1 does not answer".to_owned();
        let after = |how, tried| {
            let mut row = row(how, None);
            row.has_been_tried(tried, &node("n1"));
            row.how
        };
        assert_eq!(after(Fate::HandedOff, Tried::Moves), Fate::HandedOff);
        assert_eq!(after(Fate::HandedOff, Tried::Refused { why: why() }), Fate::Reboots);
        assert_eq!(after(Fate::Migrates, Tried::Refused { why: why() }), Fate::Reboots);
        assert_eq!(after(Fate::HandedOff, Tried::NotThere { why: why() }), Fate::Unknown);
        assert_eq!(after(Fate::HandedOff, Tried::Unknown { why: why() }), Fate::Unknown);
        assert_eq!(losses(&[row(Fate::HandedOff, None), row(Fate::Migrates, None)]), "");
        let all = [row(Fate::Reboots, None), row(Fate::Reboots, None), row(Fate::Unknown, None)];
        assert_eq!(losses(&all), "x0, x0 reboot; x0 may not move");
    }
}
