//! What must never happen, looked for all through every test.
//!
//! Three questions: did two hypervisors run x0 at one instant (P1)? Is the guest that answers still the one that
//! answered before? And at the end: is x0 where the story says, and is nothing left over from the way there?
//!
//! The samples carry the nodes' own times. Each node's clock is compared with ours before and after the test, and the
//! correction's uncertainty works for the accused: an overlap counts only where it is certain.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::guest::{self, Watch, Witness};
use crate::lab::Lab;
use crate::node::Node;
use crate::sampler::{self, Copy, Offset, Sample};
use crate::wait::{self, now};

/// Between two samples of a node that are further apart than this, nothing is claimed.
const CONTINUOUS: f64 = 0.5;

/// The longest time that a node may go without a sample: an emulated one is late when this machine is busy.
const BLIND: f64 = 10.0;

/// How long x0 may take for an answer at the end.
const ANSWERING: Duration = Duration::from_secs(30);

/// How long a process that is just finishing may take before it counts as left over.
const FINISHING: Duration = Duration::from_secs(20);

/// Asks a node for everything that could be left over. Where the cluster is down, there is no attribute to look at. Under
/// classic Heartbeat the ledger is files.
const LEFTOVERS: &str = "xl list | sed 1d; echo ---; ps -eo ppid=,comm=,args=; echo ---; \
     grep -H phase /run/xen-handoff/*.json 2>/dev/null; echo ---; attrd_updater -Q -A -n xen-handoff-x0 2>/dev/null; \
     grep -H '' /run/xen-handoff/ledger/x0,* 2>/dev/null; true";

/// The phases of the agent's record that are not an end.
const OPEN_PHASES: [&str; 8] =
    ["offering", "offered", "withdrawing", "sending", "settling", "claiming", "receiving", "arriving"];

/// What a story says that has to be so at its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    /// The node that runs x0, or none.
    pub(crate) runs_on: Option<usize>,
    /// How often x0 may have booted anew, as far as that is seen: whoever was not up yet has not answered.
    pub(crate) reboots: RangeInclusive<usize>,
    /// Does an offer stand at the end, and a claim of it, since nobody is left who could answer it?
    pub(crate) unanswered: bool,
}

/// A node that has gone off, as its story says: it is watched up to that moment.
#[derive(Debug, Clone, Copy)]
struct Departure {
    node: usize,
    at: f64,
    /// Its clock, when last asked.
    clock: Offset,
}

/// A running audit.
#[derive(Debug)]
pub(crate) struct Audit {
    began: f64,
    before: Vec<Offset>,
    departures: Vec<Departure>,
    watch: Watch,
}

impl Audit {
    /// Begins to watch.
    pub(crate) fn begin(lab: &Lab) -> Result<Self> {
        let before = lab.nodes.iter().map(|node| sampler::measure(node.index)).collect::<Result<_>>()?;
        Ok(Self { began: now(), before, departures: Vec::new(), watch: Watch::begin() })
    }

    /// That node has just gone off, and its clock was so when it was last asked.
    pub(crate) fn departed(&mut self, node: usize, clock: Offset) {
        self.departures.push(Departure { node, at: now(), clock });
    }

    /// Has that node gone off?
    pub(crate) fn is_gone(&self, node: usize) -> bool {
        self.departure(node).is_some()
    }

    fn departure(&self, node: usize) -> Option<Departure> {
        self.departures.iter().copied().find(|departure| departure.node == node)
    }

    /// All that x0 has said so far.
    pub(crate) fn witnesses(&self) -> Vec<Witness> {
        self.watch.seen()
    }

    /// Everything that was wrong, one sentence each; none is the good answer.
    pub(crate) fn verdict(&self, lab: &Lab, expected: &Expected) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut witnesses = self.witnesses();
        if expected.runs_on.is_some() {
            match guest::wait_for(ANSWERING) {
                Ok(last) => witnesses.push(last),
                Err(_) => wrong.push("x0 does not answer at the end".to_string()),
            }
        }
        let samples = self.timed(lab)?;
        for node in &lab.nodes {
            let ended = self.departure(node.index).map_or_else(now, |departure| departure.at);
            wrong.extend(blind(&samples, node.index, self.began, ended));
        }
        wrong.extend(two_running(&samples));
        wrong.extend(identity(&witnesses, &expected.reboots));
        wrong.extend(place(lab, expected.runs_on, |node| self.is_gone(node)));
        for node in lab.nodes.iter().filter(|node| !self.is_gone(node.index)) {
            wrong.extend(leftovers(node, expected)?);
        }
        Ok(wrong)
    }

    /// All samples of the test in our time.
    pub(crate) fn timed(&self, lab: &Lab) -> Result<Vec<Timed>> {
        let clock = |node: &Node| match self.departure(node.index) {
            Some(departure) => Ok(departure.clock),
            None => sampler::measure(node.index),
        };
        let after: Vec<Offset> = lab.nodes.iter().map(clock).collect::<Result<_>>()?;
        let combined: Vec<Offset> =
            self.before.iter().zip(after).map(|(before, after)| before.combine(after)).collect();
        let timed = lab.samples.all().into_iter().filter_map(|sample| Timed::new(sample, &combined));
        Ok(timed.filter(|sample| sample.at >= self.began).collect())
    }
}

impl Offset {
    /// One correction for a whole test, from its beginning and its end.
    fn combine(self, later: Self) -> Self {
        Self {
            ahead: f64::midpoint(self.ahead, later.ahead),
            uncertainty: self.uncertainty.max(later.uncertainty) + (self.ahead - later.ahead).abs() / 2.0,
        }
    }
}

/// A sample in our time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Timed {
    /// Whose.
    pub(crate) node: usize,
    /// When.
    pub(crate) at: f64,
    /// By how much `at` may be wrong.
    pub(crate) uncertainty: f64,
    /// The copy of x0 that could execute.
    pub(crate) running: Option<Copy>,
}

impl Timed {
    fn new(sample: Sample, offsets: &[Offset]) -> Option<Self> {
        let offset = offsets.get(sample.node.wrapping_sub(1))?;
        let at = sample.at - offset.ahead;
        Some(Self { node: sample.node, at, uncertainty: offset.uncertainty, running: sample.running() })
    }
}

/// An audit that saw nothing proves nothing: a node's samples must have come all through the test.
pub(crate) fn blind(samples: &[Timed], node: usize, began: f64, ended: f64) -> Option<String> {
    let seen = samples.iter().filter(|sample| sample.node == node).map(|sample| sample.at);
    let times: Vec<f64> = std::iter::once(began).chain(seen).chain(std::iter::once(ended)).collect();
    let gaps = times.windows(2).filter_map(|pair| if let [a, b] = pair { Some(b - a) } else { None });
    let longest = gaps.fold(0.0, f64::max);
    (longest > BLIND).then(|| format!("node{node} was not watched for {longest:.1} s"))
}

/// P1. A copy was certainly running between two close samples that both show it running; nobody else's sample may
/// show one in that time.
pub(crate) fn two_running(samples: &[Timed]) -> Vec<String> {
    let mut nodes: Vec<usize> = samples.iter().map(|sample| sample.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let of = |node: usize| samples.iter().filter(move |sample| sample.node == node);
    let mut found = Vec::new();
    for &one in &nodes {
        let spans: Vec<(f64, f64)> = spans(&of(one).copied().collect::<Vec<_>>());
        for &other in nodes.iter().filter(|&&other| other > one) {
            let both: Vec<f64> = of(other)
                .filter(|sample| sample.running.is_some())
                .filter(|sample| {
                    let doubt = sample.uncertainty;
                    spans.iter().any(|&(from, to)| from + doubt < sample.at && sample.at < to - doubt)
                })
                .map(|sample| sample.at)
                .collect();
            if let (Some(first), Some(last)) = (both.first(), both.last()) {
                found.push(format!(
                    "P1: node{one} and node{other} both ran x0, {} times seen in {:.2} s",
                    both.len(),
                    last - first
                ));
            }
        }
    }
    found
}

/// The times in which a node certainly ran one copy: from sample to close sample, as long as all show it. The clock's
/// uncertainty is taken off at both ends.
fn spans(samples: &[Timed]) -> Vec<(f64, f64)> {
    let mut spans: Vec<(f64, f64)> = Vec::new();
    let mut open: Option<(Timed, Timed)> = None;
    for sample in samples {
        open = match open {
            Some((first, last)) if continues(&last, sample) => Some((first, *sample)),
            ended => {
                spans.extend(
                    ended.map(|(first, last)| (first.at + first.uncertainty, last.at - last.uncertainty)),
                );
                sample.running.is_some().then_some((*sample, *sample))
            }
        };
    }
    spans.extend(open.map(|(first, last)| (first.at + first.uncertainty, last.at - last.uncertainty)));
    spans
}

/// Did the same copy run all the time between these two?
fn continues(before: &Timed, after: &Timed) -> bool {
    match (before.running, after.running) {
        (Some(first), Some(second)) => first.domid == second.domid && after.at - before.at < CONTINUOUS,
        _ => false,
    }
}

/// Is the guest that answers still the same one? Its boot id changes as often as the story says, an old one never comes
/// back, and within one boot its ticks never go backwards.
pub(crate) fn identity(seen: &[Witness], reboots: &RangeInclusive<usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut boots: Vec<&str> = Vec::new();
    for witness in seen {
        if boots.last() != Some(&witness.boot.as_str()) {
            if boots.contains(&witness.boot.as_str()) {
                wrong.push(format!("an x0 that was replaced answers again: boot {}", witness.boot));
            }
            boots.push(&witness.boot);
        }
    }
    for pair in seen.windows(2) {
        if let [before, after] = pair
            && before.boot == after.boot
            && after.tick < before.tick
        {
            wrong.push(format!("x0 went back from tick {} to {}", before.tick, after.tick));
        }
    }
    let changes = boots.len().saturating_sub(1);
    if !reboots.contains(&changes) {
        wrong.push(format!("x0 booted anew {changes} times, the story says {reboots:?}"));
    }
    wrong
}

/// Is x0 where the story says, and nowhere else? A half copy goes with the power of its node.
fn place(lab: &Lab, runs_on: Option<usize>, is_gone: impl Fn(usize) -> bool) -> Vec<String> {
    let last = lab.nodes.iter().filter_map(|node| lab.samples.last(node.index));
    last.filter_map(|sample| {
        let node = sample.node;
        match (sample.running().is_some(), runs_on == Some(node)) {
            (true, false) => Some(format!("node{node} runs x0 at the end")),
            (false, true) => {
                Some(format!("node{node} does not run x0 at the end, but has {:?}", sample.copies))
            }
            (false, false) if !sample.copies.is_empty() && !is_gone(node) => {
                Some(format!("node{node} still has {:?}, which does not run", sample.copies))
            }
            _ => None,
        }
    })
    .collect()
}

/// What a finished story has no use for: half domains, processes, open offers.
fn leftovers(node: &Node, expected: &Expected) -> Result<Vec<String>> {
    let mut last = Vec::new();
    // A monitor of the cluster's may be at work just now, so only what stays is left over.
    let clean = wait::until_every(Duration::from_secs(1), "nothing to be left over", FINISHING, || {
        last = leftovers_now(node, expected)?;
        Ok(last.is_empty().then_some(()))
    });
    Ok(if clean.is_ok() { Vec::new() } else { last })
}

fn leftovers_now(node: &Node, expected: &Expected) -> Result<Vec<String>> {
    let text = node.ok(LEFTOVERS).context("looking for leftovers")?;
    let mut parts = text.split("---\n");
    let mut part = || parts.next().unwrap_or_default().lines();
    let (dom0, domains): (Vec<&str>, Vec<&str>) = part().partition(|line| line.starts_with("Domain-0 "));
    let mut found: Vec<String> = domains
        .iter()
        .filter(|line| {
            let name = line.split_whitespace().next().unwrap_or_default();
            name.contains("--") || name == "(null)"
        })
        .map(|line| format!("{} has a half domain: {line}", node.name))
        .collect();
    found.extend(dom0.is_empty().then(|| format!("xl list on {} shows no Domain-0", node.name)));
    // xl's own monitor of a running domain stays: a daemon, child of init. A story may have domains beside x0.
    let mut monitors = domains.len();
    for line in part() {
        // The guard is a service, at work all the time, and keeps connections open.
        if line.trim_end().ends_with("/usr/sbin/xen-handoff guard") || line.contains("ControlMaster=yes") {
            continue;
        }
        let mut words = line.split_whitespace();
        let (parent, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if name == "xl" && parent == "1" && monitors > 0 {
            monitors -= 1;
        } else if ["xl", "ssh", "xen-handoff", "libxl-save-help"].contains(&name) {
            found.push(format!("{} still has a process: {}", node.name, line.trim()));
        }
    }
    if expected.unanswered {
        return Ok(found);
    }
    let open = |line: &&str| OPEN_PHASES.iter().any(|phase| line.contains(&format!("\"{phase}\"")));
    found.extend(part().filter(open).map(|line| format!("{} still has an open record: {line}", node.name)));
    let offered = |line: &&str| line.contains("value=\"v=") || line.starts_with("/run/xen-handoff/ledger/");
    found.extend(part().filter(offered).map(|line| format!("{} still has an offer: {line}", node.name)));
    Ok(found)
}
