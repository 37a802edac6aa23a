//! What of a move is not its stream, out of what the kernel said of processes and the stand-in of its
//! streams. Pure.
//!
//! A move has two actions of Pacemaker's, `stop` at the source and `start` at the target. What is counted:
//!
//! - **before-stream**: from the begin of the stop's program to its end, and from the begin of the start's
//!   program to the moment at which xl's sender writes the stream's first byte. What Pacemaker does between
//!   the two is not in it.
//! - **after-stream**: from the moment at which the sender has written the last byte (the guest stands still)
//!   to the end of the start.
//!
//! *Processes* are those that came to be in a part: the action itself, all that descends from it, and all
//! that descends from a connection that sshd accepts on any node, sshd's own processes among them. Threads
//! are none. What came to be while the stream ran is in neither part. Not in any: Pacemaker's own, monitors,
//! and what the host's guard does. *Logins* are the connections that an sshd of any node has accepted.
//! *Processor time* is that of the processes of a part, until each has ended. So what an ssh, a sender or a
//! receiver takes for the stream itself is with *before-stream*; streams are short here, so that it is
//! little. Of several domains at once each has its own times; processes, logins and processor time are the
//! sum, divided by their number.

use super::kernel::Process;
use std::collections::{BTreeMap, BTreeSet};

/// The stand-in's word: a sender has written the first or the last byte of this domain's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) at: u64,
    pub(crate) domain: String,
    pub(crate) which: Which,
}

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    Last,
    /// The target has said that it has all of it.
    Ready,
}

/// The lines of a host's `streams`.
pub(crate) fn stamps(text: &str) -> Vec<Stamp> {
    text.lines().filter_map(stamp).collect()
}

fn stamp(line: &str) -> Option<Stamp> {
    let mut words = line.split(' ');
    let (seconds, nanoseconds) = words.next()?.split_once('.')?;
    let at = seconds.parse::<u64>().ok()? * 1_000_000_000 + nanoseconds.parse::<u64>().ok()?;
    let domain = words.next()?.to_owned();
    let which = match words.next()? {
        "first" => Which::First,
        "last" => Which::Last,
        _ => Which::Ready,
    };
    Some(Stamp { at, domain, which })
}

/// Those that start what is counted, by their place among the processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers {
    /// Pacemaker's executors, one a node.
    pub(crate) executors: BTreeSet<usize>,
    /// The sshd that listens, one a node.
    pub(crate) listeners: BTreeSet<usize>,
    /// The far ends of connections that are kept open: what comes over one of them is no login.
    pub(crate) kept: BTreeSet<usize>,
}

/// One of the two parts, of all domains that moved at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Of each domain.
    pub(crate) seconds: Vec<f64>,
    pub(crate) processes: usize,
    pub(crate) logins: usize,
    pub(crate) cpu_seconds: f64,
    /// How many processes of each kind there were.
    pub(crate) kinds: BTreeMap<String, usize>,
}

/// What the moves of one run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) before: Part,
    pub(crate) after: Part,
    /// Of each domain: how long its stop took.
    pub(crate) stops: Vec<f64>,
    /// Of each domain: from its stream's first byte to its last one.
    pub(crate) streams: Vec<f64>,
    /// From the first stop's begin to the last start's end, with Pacemaker's own parts and the streams.
    pub(crate) all_in_all: f64,
}

/// What a process is the child of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// This action of the resource.
    Action(String, String),
    /// A connection: the process that sshd made for it.
    Login(usize),
}

/// When the parts of one domain's move began and ended.
#[derive(Clone, Copy, Debug)]
struct Times {
    stop: (u64, u64),
    start: (u64, u64),
    first: u64,
    last: u64,
}

/// The actions of these processes that have ended, by name and resource: when their program began, and when
/// it ended.
pub(crate) fn actions(all: &[Process], from: usize, servers: &Servers) -> Vec<(String, String, u64, u64)> {
    let ours = all.iter().skip(from).filter(|process| of(process, &servers.executors));
    ours.filter_map(|process| {
        let (at, name, resource) = action(process)?;
        Some((name, resource, at, process.ended?))
    })
    .collect()
}

/// Whether something of a move since `from` has not ended, but for xl's daemon of each domain, which lives as
/// long as that.
pub(crate) fn is_busy(all: &[Process], from: usize, servers: &Servers) -> bool {
    let is_daemon = |process: &Process| {
        let words = process.programs.last().map(|program| program.words.as_slice());
        words.is_some_and(
            |words| matches!(words, [_, what, ..] if what == "migrate-receive" || what == "create"),
        )
    };
    let busy = |place: &usize| all.get(*place).is_some_and(|one| one.ended.is_none() && !is_daemon(one));
    origins(all, from, servers).keys().any(busy)
}

fn of(process: &Process, servers: &BTreeSet<usize>) -> bool {
    process.parent.is_some_and(|parent| servers.contains(&parent))
}

/// An action of our agent: since when it is that, its name, its resource.
fn action(process: &Process) -> Option<(u64, String, String)> {
    process.programs.iter().find_map(|program| {
        let [agent, name, ..] = program.words.as_slice() else { return None };
        let is_ours = agent.ends_with("/handoff/Xen");
        is_ours.then(|| Some((program.at, name.clone(), program.resource.clone()?))).flatten()
    })
}

/// What has become of the moves of these domains since the process at place `from`.
pub(crate) fn measure(
    all: &[Process],
    from: usize,
    servers: &Servers,
    stamps: &[Stamp],
    domains: &[String],
) -> Result<Run, String> {
    let done = actions(all, from, servers);
    let times: BTreeMap<&String, Times> = domains
        .iter()
        .map(|domain| Ok((domain, times_of(domain, &done, stamps)?)))
        .collect::<Result<_, String>>()?;
    let origins = origins(all, from, servers);
    let carried = carried(all, &origins);
    let (first, last) = ends(&times);
    let mut run = Run { all_in_all: seconds(first, last), ..Run::default() };
    for (place, origin) in &origins {
        let Some(process) = all.get(*place) else { continue };
        let domain = match origin {
            Origin::Action(name, domain) if name == "stop" || name == "start" => Some(domain),
            Origin::Action(..) => continue,
            Origin::Login(login) => carried.get(login),
        };
        let part = match domain.and_then(|domain| times.get(domain)) {
            Some(times) if process.begun < times.first => &mut run.before,
            Some(times) if process.begun >= times.last => &mut run.after,
            Some(_) => continue,
            None if process.begun < last => &mut run.before,
            None => continue,
        };
        part.processes += 1;
        part.logins += usize::from(of(process, &servers.listeners));
        #[allow(clippy::cast_precision_loss, reason = "seconds for a person")]
        let cpu_seconds = process.cpu_ns as f64 / 1e9;
        part.cpu_seconds += cpu_seconds;
        *part.kinds.entry(kind(process)).or_default() += 1;
    }
    for times in times.values() {
        let stop = seconds(times.stop.0, times.stop.1);
        run.stops.push(stop);
        run.streams.push(seconds(times.first, times.last));
        run.before.seconds.push(stop + seconds(times.start.0, times.first));
        run.after.seconds.push(seconds(times.last, times.start.1));
    }
    Ok(run)
}

fn times_of(domain: &str, done: &[(String, String, u64, u64)], stamps: &[Stamp]) -> Result<Times, String> {
    let the = |action: &str| {
        let mut found = done.iter().filter(|(name, resource, ..)| name == action && resource == domain);
        match (found.next(), found.next()) {
            (Some((_, _, begin, end)), None) => Ok((*begin, *end)),
            (None, _) => Err(format!("no {action} of {domain}")),
            (Some(_), Some(_)) => Err(format!("more than one {action} of {domain}")),
        }
    };
    let (stop, start) = (the("stop")?, the("start")?);
    let stamp = |which: Which| {
        let mut found = stamps.iter().filter(|s| s.domain == domain && s.which == which && s.at > stop.0);
        match (found.next(), found.next()) {
            (Some(stamp), None) => Ok(stamp.at),
            (None, _) => Err(format!("no stream of {domain}")),
            (Some(_), Some(_)) => Err(format!("more than one stream of {domain}")),
        }
    };
    Ok(Times { stop, start, first: stamp(Which::First)?, last: stamp(Which::Last)? })
}

/// What each process came of, where that is an action or a connection since `from`.
fn origins(all: &[Process], from: usize, servers: &Servers) -> BTreeMap<usize, Origin> {
    let mut origins: BTreeMap<usize, Origin> = BTreeMap::new();
    // A parent stands before its children.
    for (place, process) in all.iter().enumerate().skip(from) {
        let origin = if of(process, &servers.executors) {
            action(process).map(|(_, name, resource)| Origin::Action(name, resource))
        } else if of(process, &servers.listeners) || of(process, &servers.kept) {
            Some(Origin::Login(place))
        } else {
            process.parent.and_then(|parent| origins.get(&parent).cloned())
        };
        if let Some(origin) = origin {
            origins.insert(place, origin);
        }
    }
    origins
}

/// The connections that carried a stream, and whose.
fn carried(all: &[Process], origins: &BTreeMap<usize, Origin>) -> BTreeMap<usize, String> {
    let sender = |(place, origin): (&usize, &Origin)| {
        let Origin::Login(login) = origin else { return None };
        all.get(*place)?.programs.iter().find_map(|program| {
            let [xl, command, .., domain, _host] = program.words.as_slice() else { return None };
            (xl.ends_with("/xl") && command == "migrate").then(|| (*login, domain.clone()))
        })
    };
    origins.iter().filter_map(sender).collect()
}

fn ends(times: &BTreeMap<&String, Times>) -> (u64, u64) {
    let first = times.values().map(|times| times.stop.0).min().unwrap_or(0);
    (first, times.values().map(|times| times.start.1).max().unwrap_or(first))
}

/// A process in a word or two.
fn kind(process: &Process) -> String {
    let words = process.programs.last().map(|program| program.words.as_slice()).unwrap_or_default();
    let Some(first) = words.first() else { return process.name.clone() };
    let name = first.split([' ', ':']).next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    match (name, words.get(1)) {
        ("Xen" | "xen-handoff" | "xl", Some(what)) => format!("{name} {what}"),
        _ => name.to_owned(),
    }
}

pub(crate) fn seconds(from: u64, to: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "seconds for a person")]
    let seconds = to.saturating_sub(from) as f64 / 1e9;
    seconds
}

/// All processes of a run, in the order of their begin: when, for how long, how deep below its action or
/// connection, and what.
pub(crate) fn trace(all: &[Process], from: usize, servers: &Servers, stamps: &[Stamp]) -> String {
    let origins = origins(all, from, servers);
    let Some(zero) = origins.keys().filter_map(|place| all.get(*place)).map(|p| p.begun).min() else {
        return String::new();
    };
    let mut lines: Vec<(u64, String)> = vec![];
    for (place, origin) in &origins {
        let Some(process) = all.get(*place) else { continue };
        let (mut depth, mut above) = (0, process.parent);
        while let Some(parent) = above.filter(|parent| origins.contains_key(parent)) {
            depth += 1;
            above = all.get(parent).and_then(|parent| parent.parent);
        }
        let took = process
            .ended
            .map_or("    -".to_owned(), |end| format!("{:5.0}", seconds(process.begun, end) * 1e3));
        let words: Vec<&str> =
            process.programs.iter().flat_map(|program| program.words.iter().map(String::as_str)).collect();
        let said: String = words.join(" ").chars().take(150).collect();
        let whose = match origin {
            Origin::Action(name, resource) => format!("{name} {resource}"),
            Origin::Login(login) => format!("login {login}"),
        };
        let cpu = process.cpu_ns / 10_000;
        lines.push((
            process.begun,
            format!(
                "{:8.1} {took} ms, cpu {:5.2} ms {:indent$}[{whose}] {} {said}",
                seconds(zero, process.begun) * 1e3,
                f64::from(u32::try_from(cpu).unwrap_or(u32::MAX)) / 100.0,
                "",
                process.name,
                indent = 2 * depth
            ),
        ));
    }
    for stamp in stamps.iter().filter(|stamp| stamp.at > zero) {
        let at = seconds(zero, stamp.at) * 1e3;
        lines.push((stamp.at, format!("{at:8.1} ------- {:?} of {}'s stream", stamp.which, stamp.domain)));
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}
