//! The language of `tests/faults/NN-name/`: `events` plants a fault, `expect` says what must have come of it.
//!
//! One statement a line, `#` begins a comment, `"..."` keeps words together. Every folder is read whole before anything is
//! run, so that a mistyped line fails at once.
//!
//! `events` has lines `given DEED`, `when DEED` and `then FACT`, where a fact is waited for. A first line `each WORD: a b c`
//! plants the fault once for every value, put in the place of `{WORD}`.
//!
//! `expect` has facts, waited for in their order, and `operator DEED` where a person has to do something before the rest of
//! them can hold (`operator nothing` where nobody has to). It must say where each domain runs, how often it was booted
//! again, that it never ran twice, and what is an operator's to do. [`Deed`] and [`Fact`] are the whole vocabulary.

use crate::cluster::NODES;
use crate::fabric::Cable;
use std::ops::RangeInclusive;

/// What a line does.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    Do(Deed),
    Await(Fact),
}

/// A line as it stands, for the report, and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) statement: Statement,
}

/// What can be done to a cluster.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// `domain NAME [on=n1,n2] [start=S] [stop=S] [migrate=S] [p:PARAMETER=V] [m:META=V] [c:CONFIG=V]`: it runs on the
    /// first of its nodes. `config NAME ...`: the same, but it is only put in the configuration.
    Domain { name: String, options: Vec<(String, String)>, runs: bool },
    /// `old-ledger`: every node has kept its ledger for years, so a missing entry was never made.
    OldLedger,
    /// `fencing`: a power switch, which is answered whenever the test waits.
    Fencing,
    /// `knob NODE NAME [TEXT]`, `unknob NODE NAME`: of the stand-in, see `tests/standin/xl.rs`.
    Knob { node: String, name: String, text: Option<String> },
    /// `standby NODE`, `online NODE`.
    Standby { node: String, on: bool },
    /// `move NAME NODE`, `ban NAME NODE`, `clear NAME`: by crm_resource. `refresh NAME NODE`, `cleanup NAME` too.
    Resource(Vec<String>),
    /// `disable NAME`, `enable NAME`.
    TargetRole { name: String, started: bool },
    /// `parameter NAME PARAMETER VALUE`: changed in the configuration of the cluster.
    Parameter { name: String, parameter: String, value: String },
    /// `shutdown NODE`: SIGTERM to Pacemaker, as `systemctl stop` does.
    ShutDown(String),
    /// `join NODE`: Pacemaker is started there (after `power-on`, too).
    Join(String),
    /// `power-off NODE`, `power-on NODE`.
    Power { node: String, on: bool },
    /// `cut NODE cluster|migration|both`.
    Cut { node: String, cables: Vec<Cable> },
    /// `plug NODE`: both cables.
    Plug(String),
    /// `kill NODE ROLE`: SIGKILL to every process of that role; there must be one. See `processes.rs`.
    Kill { node: String, role: String },
    /// `freeze NODE ROLE`: SIGSTOP to every one of them.
    Freeze { node: String, role: String },
    /// `sshd NODE stop|start`.
    Sshd { node: String, on: bool },
    /// `fill NODE`, `empty NODE`: /run.
    Fill { node: String, full: bool },
    /// `clock NODE SECONDS`: how far off the node's wall clock is for our processes from now on. Those that run already only
    /// notice (within ten seconds) if there was a `clock NODE +0` before.
    Clock { node: String, off: i64 },
    /// `host-key NODE`: sshd has another one from now on.
    HostKey(String),
    /// `append NODE PATH LINE`, `remove NODE PATH`.
    File { node: String, path: String, line: Option<String> },
    /// `xl NODE WORDS...`: which must succeed.
    Xl { node: String, words: Vec<String> },
    /// `guest NODE NAME reboot|crash|poweroff|pause`: what the guest does by itself, and what a person does with it.
    Guest { node: String, name: String, what: String },
    /// `recover NODE NAME`: `xen-handoff recover`, by hand.
    Recover { node: String, name: String },
    /// `call NODE NAME ACTION`: the agent as the cluster calls it, but by somebody else, and not waited for.
    Call { node: String, name: String, action: String },
    /// `guard NODE`: the service that watches over offers, as systemd would start it.
    Guard(String),
    /// `nothing`.
    Nothing,
}

/// What can be seen, and so waited for.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// `runs NAME n1|n2`, `runs NAME nowhere`: on one of these and nowhere else, by the stand-ins' own files.
    Runs { name: String, nodes: Vec<String> },
    /// `believed NAME n1|n2`, `believed NAME nowhere`: the cluster's opinion.
    Believed { name: String, nodes: Vec<String> },
    /// `state NAME NODE STATE`: of a domain of this very name, `absent` included.
    State { name: String, node: String, state: String },
    /// `phase NAME NODE PHASE`: of the record.
    Phase { name: String, node: String, phase: String },
    /// `log NODE WORDS...`: one line of the agent with all of them.
    Log { node: String, words: Vec<String> },
    /// `failure OPERATION NODE WORDS...`: the cluster remembers it, with all these words.
    Failure(Vec<String>),
    /// `no-failures`: the cluster remembers none.
    NoFailures,
    /// `held NODE migrate|receive POINT`: the stand-in waits there.
    Held { node: String, who: String, point: String },
    /// `monitor NAME NODE CODE`: what a monitor answers now.
    Monitor { name: String, node: String, code: i32 },
    /// `returned NODE ACTION CODE`: a `call` has ended.
    Returned { node: String, action: String, code: i32 },
    /// `fenced NODE`.
    Fenced(String),
    /// `lost NODE`, `member NODE`: for the rest of the cluster.
    Member { node: String, online: bool },
    /// `process NODE ROLE`, `no-process NODE ROLE`.
    Process { node: String, role: String, there: bool },
    /// `ledger NAME empty|open`.
    Ledger { name: String, open: bool },
    /// `called NODE WORD`: xl was called with this subcommand.
    Called { node: String, subcommand: String },
    /// `gone NODE`: no Pacemaker runs there any more.
    Gone(String),
    /// `settled`: the cluster has nothing left to do.
    Settled,
    /// `reboots NAME N` or `N..M`: boots after the first one.
    Reboots { name: String, times: RangeInclusive<usize> },
    /// `double-runs N` or `N..M`: moments at which a second copy began to run.
    DoubleRuns(RangeInclusive<usize>),
    /// `left nothing`: no copy, record, ledger entry or process; without this line it is looked at all the same.
    /// `left something WHY`: it is not.
    Left { nothing: bool },
}

/// A fault as it will be planted: one folder, or one value of its `each`.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) events: Vec<Line>,
    pub(crate) expect: Vec<Line>,
    /// What the stock agent is expected to make of it, where that was looked at.
    pub(crate) expect_stock: Option<Vec<Line>>,
}

/// Reads one folder's texts.
///
/// # Errors
/// The first line that cannot be read.
pub(crate) fn read(
    name: &str,
    events: &str,
    expect: &str,
    stock: Option<&str>,
) -> Result<Vec<Fault>, String> {
    let (each, events) = match events.trim_start().strip_prefix("each ") {
        Some(rest) => {
            let (line, rest) = rest.split_once('\n').ok_or("`each` and nothing else")?;
            let (word, values) = line.split_once(':').ok_or("each WORD: a b c")?;
            let values: Vec<String> = values.split_whitespace().map(str::to_owned).collect();
            (Some((format!("{{{}}}", word.trim()), values)), rest)
        }
        None => (None, events),
    };
    let one = |name: String, put: &dyn Fn(&str) -> String| -> Result<Fault, String> {
        let events = lines("events", &put(events), event)?;
        let expect = lines("expect", &put(expect), expectation)?;
        is_complete(&expect)?;
        let expect_stock = match stock {
            Some(text) => Some(lines("expect-stock", &put(text), expectation)?),
            None => None,
        };
        Ok(Fault { name, events, expect, expect_stock })
    };
    let named = |why: String| format!("{name}: {why}");
    match each {
        None => Ok(vec![one(name.to_owned(), &str::to_owned).map_err(named)?]),
        Some((word, values)) => values
            .iter()
            .map(|value| {
                one(format!("{name}/{value}"), &|text: &str| text.replace(&word, value)).map_err(named)
            })
            .collect(),
    }
}

/// An expectation that leaves out one of these is none.
fn is_complete(expect: &[Line]) -> Result<(), String> {
    let has = |kind: fn(&Statement) -> bool| expect.iter().any(|line| kind(&line.statement));
    let told = [
        ("runs", has(|s| matches!(s, Statement::Await(Fact::Runs { .. })))),
        ("reboots", has(|s| matches!(s, Statement::Await(Fact::Reboots { .. })))),
        ("double-runs 0", has(|s| matches!(s, Statement::Await(Fact::DoubleRuns(n)) if *n == (0..=0)))),
        ("operator", has(|s| matches!(s, Statement::Do(_)))),
    ];
    match told.iter().find(|(_, there)| !there) {
        Some((what, _)) => Err(format!("expect has no line `{what}`")),
        None => Ok(()),
    }
}

type Reader = fn(&str, &[String]) -> Result<Statement, String>;

fn lines(file: &str, text: &str, reader: Reader) -> Result<Vec<Line>, String> {
    let mut found = vec![];
    for (number, line) in text.lines().enumerate() {
        let words = split(line);
        let Some((first, rest)) = words.split_first() else { continue };
        let statement =
            reader(first, rest).map_err(|why| format!("{file}, line {}: {why}: {line}", number + 1))?;
        found.push(Line { text: line.trim().to_owned(), statement });
    }
    Ok(found)
}

fn event(first: &str, rest: &[String]) -> Result<Statement, String> {
    match first {
        "given" | "when" => deed(rest).map(Statement::Do),
        "then" => fact(rest).map(Statement::Await),
        _ => Err("neither given nor when nor then".to_owned()),
    }
}

fn expectation(first: &str, rest: &[String]) -> Result<Statement, String> {
    if first == "operator" {
        return deed(rest).map(Statement::Do);
    }
    let words: Vec<String> = std::iter::once(first.to_owned()).chain(rest.iter().cloned()).collect();
    fact(&words).map(Statement::Await)
}

/// Words between spaces; quoted ones may hold spaces.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (vec![], String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            '#' if !quoted && word.is_empty() => break,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn deed(words: &[String]) -> Result<Deed, String> {
    let all: Vec<&str> = words.iter().map(String::as_str).collect();
    let own = |text: &str| text.to_owned();
    Ok(match all.as_slice() {
        [what @ ("domain" | "config"), name, options @ ..] => Deed::Domain {
            name: own(name),
            options: options.iter().map(|o| pair(o)).collect::<Result<_, _>>()?,
            runs: *what == "domain",
        },
        ["old-ledger"] => Deed::OldLedger,
        ["fencing"] => Deed::Fencing,
        ["knob", at, name, text @ ..] => {
            Deed::Knob { node: node(at)?, name: own(name), text: Some(text.join("\n")) }
        }
        ["unknob", at, name] => Deed::Knob { node: node(at)?, name: own(name), text: None },
        ["standby", at] => Deed::Standby { node: node(at)?, on: true },
        ["online", at] => Deed::Standby { node: node(at)?, on: false },
        ["move", name, at] => resource(&["--move", "-r", name, "-N", &node(at)?]),
        ["ban", name, at] => resource(&["--ban", "-r", name, "-N", &node(at)?]),
        ["clear", name] => resource(&["--clear", "-r", name]),
        ["cleanup", name] => resource(&["--cleanup", "-r", name]),
        ["refresh", name, at] => resource(&["--refresh", "-r", name, "-N", &node(at)?]),
        ["disable", name] => Deed::TargetRole { name: own(name), started: false },
        ["enable", name] => Deed::TargetRole { name: own(name), started: true },
        ["parameter", name, parameter, value] => {
            Deed::Parameter { name: own(name), parameter: own(parameter), value: own(value) }
        }
        ["shutdown", at] => Deed::ShutDown(node(at)?),
        ["join", at] => Deed::Join(node(at)?),
        ["power-off", at] => Deed::Power { node: node(at)?, on: false },
        ["power-on", at] => Deed::Power { node: node(at)?, on: true },
        ["cut", at, which] => Deed::Cut { node: node(at)?, cables: cables(which)? },
        ["plug", at] => Deed::Plug(node(at)?),
        ["kill", at, role] => Deed::Kill { node: node(at)?, role: super::processes::role(role)? },
        ["freeze", at, role] => Deed::Freeze { node: node(at)?, role: super::processes::role(role)? },
        ["sshd", at, "stop"] => Deed::Sshd { node: node(at)?, on: false },
        ["sshd", at, "start"] => Deed::Sshd { node: node(at)?, on: true },
        ["fill", at] => Deed::Fill { node: node(at)?, full: true },
        ["empty", at] => Deed::Fill { node: node(at)?, full: false },
        ["clock", at, off] => Deed::Clock { node: node(at)?, off: off.parse().map_err(|_| "no seconds")? },
        // as one word, for `each`
        ["clock", both] => match both.split_once(':') {
            Some((at, off)) => return deed(&["clock", at, off].map(str::to_owned)),
            None => return Err("clock NODE SECONDS".to_owned()),
        },
        ["host-key", at] => Deed::HostKey(node(at)?),
        ["append", at, path, line] => Deed::File { node: node(at)?, path: own(path), line: Some(own(line)) },
        ["remove", at, path] => Deed::File { node: node(at)?, path: own(path), line: None },
        ["xl", at, words @ ..] => Deed::Xl { node: node(at)?, words: words.iter().map(|w| own(w)).collect() },
        ["guest", at, name, what @ ("reboot" | "crash" | "poweroff" | "pause")] => {
            Deed::Guest { node: node(at)?, name: own(name), what: own(what) }
        }
        ["recover", at, name] => Deed::Recover { node: node(at)?, name: own(name) },
        ["call", at, name, action] => Deed::Call { node: node(at)?, name: own(name), action: own(action) },
        ["guard", at] => Deed::Guard(node(at)?),
        ["nothing"] => Deed::Nothing,
        _ => return Err("no such deed".to_owned()),
    })
}

fn fact(words: &[String]) -> Result<Fact, String> {
    let all: Vec<&str> = words.iter().map(String::as_str).collect();
    let own = |text: &str| text.to_owned();
    Ok(match all.as_slice() {
        ["runs", name, places] => Fact::Runs { name: own(name), nodes: nodes(places)? },
        ["believed", name, places] => Fact::Believed { name: own(name), nodes: nodes(places)? },
        ["state", name, at, state] => Fact::State { name: own(name), node: node(at)?, state: own(state) },
        ["phase", name, at, phase] => Fact::Phase { name: own(name), node: node(at)?, phase: own(phase) },
        ["log", at, words @ ..] => {
            Fact::Log { node: node(at)?, words: words.iter().map(|w| own(w)).collect() }
        }
        ["failure", operation, at, words @ ..] => {
            let first = format!("{operation} on {}:", node(at)?);
            Fact::Failure(std::iter::once(first).chain(words.iter().map(|w| own(w))).collect())
        }
        ["no-failures"] => Fact::NoFailures,
        ["held", at, who @ ("migrate" | "receive"), point] => {
            Fact::Held { node: node(at)?, who: own(who), point: own(point) }
        }
        ["monitor", name, at, code] => {
            Fact::Monitor { name: own(name), node: node(at)?, code: code.parse().map_err(|_| "no code")? }
        }
        ["returned", at, action, code] => Fact::Returned {
            node: node(at)?,
            action: own(action),
            code: code.parse().map_err(|_| "no code")?,
        },
        ["fenced", at] => Fact::Fenced(node(at)?),
        ["lost", at] => Fact::Member { node: node(at)?, online: false },
        ["member", at] => Fact::Member { node: node(at)?, online: true },
        [what @ ("process" | "no-process"), at, role] => {
            Fact::Process { node: node(at)?, role: super::processes::role(role)?, there: *what == "process" }
        }
        ["ledger", name, what @ ("empty" | "open")] => {
            Fact::Ledger { name: own(name), open: *what == "open" }
        }
        ["called", at, subcommand] => Fact::Called { node: node(at)?, subcommand: own(subcommand) },
        ["gone", at] => Fact::Gone(node(at)?),
        ["settled"] => Fact::Settled,
        ["reboots", name, times] => Fact::Reboots { name: own(name), times: range(times)? },
        ["double-runs", times] => Fact::DoubleRuns(range(times)?),
        ["left", "nothing"] => Fact::Left { nothing: true },
        ["left", "something", _why, ..] => Fact::Left { nothing: false },
        _ => return Err("no such fact".to_owned()),
    })
}

fn resource(words: &[&str]) -> Deed {
    Deed::Resource(std::iter::once("crm_resource").chain(words.iter().copied()).map(str::to_owned).collect())
}

fn node(name: &str) -> Result<String, String> {
    if NODES.contains(&name) { Ok(name.to_owned()) } else { Err(format!("no node {name}")) }
}

fn nodes(names: &str) -> Result<Vec<String>, String> {
    if names == "nowhere" { Ok(vec![]) } else { names.split('|').map(node).collect() }
}

fn cables(which: &str) -> Result<Vec<Cable>, String> {
    match which {
        "cluster" => Ok(vec![Cable::Cluster]),
        "migration" => Ok(vec![Cable::Migration]),
        "both" => Ok(Cable::ALL.to_vec()),
        _ => Err("no such cable".to_owned()),
    }
}

fn pair(option: &str) -> Result<(String, String), String> {
    let (key, value) = option.split_once('=').ok_or("KEY=VALUE")?;
    let known = ["on", "start", "stop", "migrate"].contains(&key)
        || ["p:", "m:", "c:"].iter().any(|kind| key.starts_with(kind));
    if known { Ok((key.to_owned(), value.to_owned())) } else { Err(format!("no option {key}")) }
}

fn range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("no number: {text}"));
    match text.split_once("..") {
        Some((from, to)) => Ok(number(from)?..=number(to)?),
        None => number(text).map(|n| n..=n),
    }
}
