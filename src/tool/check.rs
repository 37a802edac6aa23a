//! `xen-handoff check`: is the cluster set up as handoffs need it? Keys, host keys, ways, guard, scheduler, hypervisors and clocks of every
//! node; configuration, disks and timeouts of every domain. Changes nothing.
//!
//! The nodes are asked at once, and say how they are set up ([`crate::peer::setup`]); what follows from that is decided here, by
//! functions that look at nothing else.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::limits::limits;
use super::names::{Nodes, in_words};
use super::reach::reaches;
use super::shown::{Table, width};
use super::{output, way};
use crate::at_once::at_once;
use crate::clock::Deadline;
use crate::cluster::ClusterView;
use crate::cluster::managed::ManagedDomain;
use crate::here::Here;
use crate::host::{LocalPath, NodeName};
use crate::parameters::Parameters;
use crate::parameters::kept::Kept;
use crate::peer::setup::{self, GUARD};
use crate::preflight::facts::{FileState, digest};
use crate::preflight::setup::{Disk, KeyState, Seen, Setup};
use crate::preflight::{FileDigest, Verdict};
use crate::wire::Connection;
use crate::wire::message::SETUP;
use crate::wire::ssh::KNOWN_HOSTS;

/// Limit of all questions to one node.
const LIMIT: Duration = Duration::from_secs(90);
/// Limit of reading one configuration file.
const CONFIG_LIMIT: Duration = Duration::from_secs(15);
/// So many files or disks are asked for on one line, which has 64 KiB.
const ON_ONE_LINE: usize = 12;
/// Clocks that are further apart than this are worth a word, in milliseconds.
const CLOCK_WARNS: u64 = 1000;
/// Clocks that are further apart than this make an offer's time and that of a fencing no comparison, in milliseconds.
const CLOCK_FAILS: u64 = 5000;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    /// The node, pair of nodes or resource that it is about.
    of: String,
    result: Verdict,
    found: String,
    /// What would help; empty where nothing need be done.
    #[serde(rename = "do")]
    advice: String,
}

impl Finding {
    fn new(
        check: &'static str,
        of: impl ToString,
        result: Verdict,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, of: of.to_string(), result, found: found.into(), advice: advice.into() }
    }

    fn ok(check: &'static str, of: impl ToString, found: impl Into<String>) -> Self {
        Self::new(check, of, Verdict::Ok, found, "")
    }
}

/// What a node has said.
#[derive(Debug)]
struct NodeSays {
    node: NodeName,
    /// Whether it is a member of the cluster, as far as that is known.
    is_member: Option<bool>,
    /// How it is set up; or why it does not say.
    setup: Result<Setup, String>,
    /// What it has of the files and disks of the domains; `None` where it does not say.
    seen: Option<Seen>,
    /// How far its clock is ahead of this node's, in milliseconds, and by how much that may be wrong.
    clock: Option<(i64, u64)>,
    /// Whether it reaches each other node.
    ways: Vec<(NodeName, Result<(), String>)>,
}

/// A domain, as the cluster and this node have it.
#[derive(Debug)]
struct DomainSays {
    managed: ManagedDomain,
    parameters: Parameters,
    /// What is wrong with its parameters or its configuration file on this node.
    mistakes: Vec<String>,
    file: Option<FileDigest>,
    disks: Vec<LocalPath>,
    memory_mib: u64,
}

/// How the result is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table.
    Table,
    /// For programs.
    Json,
    /// One line, and the exit status of a monitoring plugin.
    Monitoring,
}

/// Checks everything but what `ignore` names, and says what it found. The exit status.
///
/// # Errors
/// If stdout is closed; unless this is for monitoring, if an ignored check is none.
pub fn run(here: &Here, form: Form, ignore: &[String]) -> anyhow::Result<u8> {
    for name in ignore {
        anyhow::ensure!(CHECKS.contains(&name.as_str()), "there is no check {name}: {}", CHECKS.join(", "));
    }
    let cluster = here.cluster();
    let nodes = Nodes::of(&here.root, cluster.as_ref());
    let mut findings = Vec::new();
    let domains = domains(here, &mut findings);
    let members = members(cluster.as_ref(), &nodes);
    let says = ask_all(here, &nodes, &members, &domains);
    if let Some(caveat) = &nodes.caveat {
        let advice = "start the cluster here, and check again";
        findings.push(Finding::new("cluster", &nodes.me, Verdict::Failed, caveat, advice));
    } else {
        findings.push(Finding::ok("cluster", &nodes.me, format!("{} nodes", says.len())));
    }
    findings.extend(judge(&nodes.me, &says, &domains));
    findings.retain(|finding| !ignore.iter().any(|name| name == finding.check));
    let mut out = std::io::stdout();
    match form {
        Form::Json => output::print("check", &Document::of(&findings), false)?,
        Form::Table => write!(out, "{}", table(&findings).text(width()))?,
        Form::Monitoring => writeln!(out, "{}", one_line(&findings, says.len(), domains.len()))?,
    }
    let worst = worst(&findings);
    Ok(match form {
        Form::Monitoring => plugin_status(worst),
        Form::Table | Form::Json => u8::from(worst != Verdict::Ok),
    })
}

/// The names of all checks, in their order.
const CHECKS: [&str; 15] = [
    "cluster",
    "domains",
    "transport",
    "ways",
    "version",
    "keys",
    "authorized",
    "host-keys",
    "guard",
    "planner",
    "xen",
    "clock",
    "configuration",
    "storage",
    "timeouts",
];

/// The exit status that monitoring expects: OK, WARNING, CRITICAL, UNKNOWN.
fn plugin_status(worst: Verdict) -> u8 {
    match worst {
        Verdict::Ok => 0,
        Verdict::Warning => 1,
        Verdict::Failed => 2,
        Verdict::Unknown => 3,
    }
}

/// What counts most: a failure, a warning, something that is not known.
fn worst(findings: &[Finding]) -> Verdict {
    let is = |verdict| findings.iter().any(|finding| finding.result == verdict);
    [Verdict::Failed, Verdict::Warning, Verdict::Unknown]
        .into_iter()
        .find(|verdict| is(*verdict))
        .unwrap_or(Verdict::Ok)
}

/// One line for a monitoring plugin that could not even begin.
pub fn could_not(why: &str) -> String {
    format!("XEN-HANDOFF UNKNOWN - {}", why.replace(['\n', '|'], " "))
}

/// The first thing that is wrong, how many there are, and figures.
fn one_line(findings: &[Finding], nodes: usize, domains: usize) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.result == verdict).count();
    let (failed, warnings, unknown) =
        (count(Verdict::Failed), count(Verdict::Warning), count(Verdict::Unknown));
    let worst = worst(findings);
    let word = match worst {
        Verdict::Ok => "OK",
        Verdict::Warning => "WARNING",
        Verdict::Failed => "CRITICAL",
        Verdict::Unknown => "UNKNOWN",
    };
    let first = findings.iter().find(|finding| finding.result == worst && worst != Verdict::Ok);
    let said = first.map_or_else(
        || format!("{} checks of {nodes} nodes and {domains} domains", findings.len()),
        |finding| {
            let more = failed + warnings + unknown - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            format!("{} of {}: {}{more}", finding.check, finding.of, finding.found)
        },
    );
    let said = said.replace(['\n', '|'], " ");
    format!(
        "XEN-HANDOFF {word} - {said} | failed={failed} warnings={warnings} unknown={unknown} checks={}",
        findings.len()
    )
}

/// For programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    result: Verdict,
    checks: &'a [Finding],
}

impl<'a> Document<'a> {
    fn of(findings: &'a [Finding]) -> Self {
        Self { result: worst(findings), checks: findings }
    }
}

/// What is well, each check on one line; and what is not, each with what to do.
fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["CHECK", "OF", "RESULT", "FOUND"]);
    for check in CHECKS {
        let its = || findings.iter().filter(move |finding| finding.check == check);
        let (well, count) = (its().filter(|finding| finding.result == Verdict::Ok), its().count());
        let well: Vec<&Finding> = well.collect();
        if let Some(first) = well.first() {
            let of = match well.len() {
                1 => first.of.clone(),
                all if all == count => format!("all {all}"),
                some => format!("{some} of {count}"),
            };
            let found = if well.iter().all(|finding| finding.found == first.found) {
                first.found.clone()
            } else {
                String::new()
            };
            table.row([check.to_owned(), of, "ok".to_owned(), found], Vec::new());
        }
        for finding in its().filter(|finding| finding.result != Verdict::Ok) {
            let advice = (!finding.advice.is_empty()).then(|| format!("-> {}", finding.advice));
            let cells =
                [check.to_owned(), finding.of.clone(), finding.result.to_string(), finding.found.clone()];
            table.row(cells, advice.into_iter().collect());
        }
    }
    table
}

/// The domains that the cluster manages, with what this node has of them.
fn domains(here: &Here, findings: &mut Vec<Finding>) -> Vec<DomainSays> {
    let managed = match here.cluster().domains() {
        Ok(managed) => managed,
        Err(error) => {
            let advice = "check again where the cluster runs";
            findings.push(Finding::new("domains", "cluster", Verdict::Unknown, in_words(&error), advice));
            return Vec::new();
        }
    };
    let found = match managed.len() {
        0 => "no resource is of ocf:handoff:Xen yet".to_owned(),
        some => format!("{some} of ocf:handoff:Xen"),
    };
    findings.push(Finding::ok("domains", "cluster", found));
    managed.into_iter().map(|managed| domain(here, managed)).collect()
}

fn domain(here: &Here, managed: ManagedDomain) -> DomainSays {
    let (parameters, bad) = Parameters::judge(&managed.parameters);
    let mut mistakes: Vec<String> = bad.iter().map(ToString::to_string).collect();
    let (root, toolstack) = (&here.root, here.toolstack());
    let mut says = DomainSays {
        managed,
        parameters,
        mistakes: Vec::new(),
        file: None,
        disks: Vec::new(),
        memory_mib: 0,
    };
    if let Some(path) = says.parameters.xmfile.as_deref().filter(|_| toolstack.kind().has_files()) {
        let inside = root.seen_inside(path);
        match inside.as_ref().map(|path| digest(root, path)) {
            Some(Ok(file)) => says.file = Some(file),
            Some(Err(error)) => mistakes.push(format!("{} on this node: {error}", path.display())),
            None => mistakes.push(format!("xmfile={} is no absolute path", path.display())),
        }
        if says.file.is_some() {
            let path = inside.as_ref().map_or_else(|| path.to_owned(), |inside| root.join(inside.as_str()));
            match toolstack.read_config(&path, CONFIG_LIMIT) {
                Ok(config) => {
                    says.disks = config.disks;
                    says.memory_mib = config.memory_mib;
                }
                Err(error) => mistakes.push(error.to_string()),
            }
        }
    }
    says.mistakes = mistakes;
    says
}

/// Which nodes are members just now, as far as the cluster says.
fn members(cluster: &dyn ClusterView, nodes: &Nodes) -> BTreeMap<NodeName, bool> {
    let peers = cluster.peers(&nodes.me, "").unwrap_or_default();
    peers.into_iter().map(|peer| (peer.node, peer.online)).collect()
}

/// Asks every node, this one first, the others at once.
fn ask_all(
    here: &Here,
    nodes: &Nodes,
    members: &BTreeMap<NodeName, bool>,
    domains: &[DomainSays],
) -> Vec<NodeSays> {
    let files: Vec<FileDigest> = domains.iter().filter_map(|domain| domain.file.clone()).collect();
    let disks: Vec<LocalPath> = domains.iter().flat_map(|domain| domain.disks.clone()).collect();
    let (files, disks, all) = (&files, &disks, &nodes.all());
    let failed = |node: &NodeName| NodeSays {
        node: node.clone(),
        is_member: None,
        setup: Err("asking it failed".to_owned()),
        seen: None,
        clock: None,
        ways: Vec::new(),
    };
    let seed = here.seed();
    let answers = at_once(&nodes.others, |node| {
        ask(&seed.clone().grow(), node, members.get(node).copied(), all, (files, disks))
    });
    let others = nodes.others.iter().zip(answers).map(|(node, says)| says.unwrap_or_else(|| failed(node)));
    let others: Vec<NodeSays> = others.collect();
    let this = NodeSays {
        node: nodes.me.clone(),
        is_member: None,
        setup: Ok(setup::gather(here)),
        seen: Some(setup::look(&here.root, files, disks)),
        clock: None,
        ways: others
            .iter()
            .map(|other| (other.node.clone(), other.setup.as_ref().map(drop).map_err(Clone::clone)))
            .collect(),
    };
    std::iter::once(this).chain(others).collect()
}

/// Asks one node all that there is to ask.
fn ask(
    here: &Here,
    node: &NodeName,
    is_member: Option<bool>,
    all: &[NodeName],
    (files, disks): (&[FileDigest], &[LocalPath]),
) -> NodeSays {
    let mut says = NodeSays {
        node: node.clone(),
        is_member,
        setup: Err(String::new()),
        seen: None,
        clock: None,
        ways: Vec::new(),
    };
    let ssh = way(here);
    let deadline = Deadline::after(LIMIT);
    let mut connection = match ssh.connect(node, deadline) {
        Ok(connection) => connection,
        Err(error) => {
            says.setup = Err(error.to_string());
            return says;
        }
    };
    for other in all.iter().filter(|other| *other != node) {
        let way = ssh.address(other).map_err(|error| error.to_string());
        let way = way.and_then(|address| reaches(&mut connection, address, deadline));
        says.ways.push((other.clone(), way));
    }
    if !connection.can(SETUP) {
        says.setup =
            Err(format!("xen-handoff {} there cannot say how it is set up", connection.peer_version()));
        return says;
    }
    says.setup = connection.set_up(deadline).map_err(|error| error.to_string());
    (says.seen, says.clock) = seen(&mut connection, files, disks, deadline).unzip();
    says
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What it has of files and disks, some of them at a time, and its clock: between this node's before and after the question.
fn seen(
    connection: &mut Connection,
    files: &[FileDigest],
    disks: &[LocalPath],
    deadline: Deadline,
) -> Option<(Seen, (i64, u64))> {
    let mut all = Seen { clock_ms: 0, files: Vec::new(), disks: Vec::new() };
    let mut ask = |files: &[FileDigest], disks: &[LocalPath]| connection.look(files, disks, deadline).ok();
    // The clock's own question has nothing to look at, so that it is answered at once.
    let before = now_ms();
    let clock = ask(&[], &[])?.clock_ms;
    let after = now_ms();
    for files in files.chunks(ON_ONE_LINE) {
        all.files.extend(ask(files, &[])?.files);
    }
    for disks in disks.chunks(ON_ONE_LINE) {
        all.disks.extend(ask(&[], disks)?.disks);
    }
    let doubt = after.saturating_sub(before) / 2;
    let ahead = i128::from(clock).saturating_sub(i128::from(before.saturating_add(doubt)));
    Some((all, (i64::try_from(ahead).unwrap_or(i64::MAX), doubt)))
}

/// All that follows. `me`: the node that has asked.
fn judge(me: &NodeName, says: &[NodeSays], domains: &[DomainSays]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in says {
        findings.extend(transport(me, node));
    }
    let up: Vec<(&NodeName, &Setup)> =
        says.iter().filter_map(|node| Some((&node.node, node.setup.as_ref().ok()?))).collect();
    findings.extend(says.iter().flat_map(ways));
    findings.extend(versions(&up));
    findings.extend(keys(&up));
    for (node, setup) in &up {
        findings.push(guard(node, setup));
        findings.extend(planner(node, setup));
    }
    findings.extend(host_keys(&up));
    findings.extend(hypervisors(&up));
    findings.extend(says.iter().filter_map(clock));
    let slowest = up.iter().filter_map(|(_, setup)| setup.mib_per_second).min();
    let (mut files, mut disks) = (0, 0);
    for domain in domains {
        let file = domain.file.as_ref().map(|_| files);
        findings.extend(configuration(domain, says, file));
        findings.extend(domain.disks.iter().enumerate().map(|(at, path)| {
            let here = |node: &NodeSays| {
                Some((node.node.clone(), node.seen.as_ref()?.disks.get(disks + at)?.clone()))
            };
            storage(&domain.managed.resource, path, &says.iter().filter_map(here).collect::<Vec<_>>())
        }));
        findings.extend(timeouts(domain, slowest));
        files += usize::from(domain.file.is_some());
        disks += domain.disks.len();
    }
    findings
}

fn transport(me: &NodeName, says: &NodeSays) -> Option<Finding> {
    let node = &says.node;
    match &says.setup {
        Ok(_) if node == me => None,
        Ok(setup) => Some(Finding::ok("transport", node, format!("xen-handoff {} answers", setup.version))),
        Err(why) if says.is_member == Some(false) => {
            let found = format!("no member of the cluster just now, and not checked: {why}");
            Some(Finding::new("transport", node, Verdict::Warning, found, "check again when it is back"))
        }
        Err(why) if !says.ways.is_empty() => {
            Some(Finding::new("transport", node, Verdict::Unknown, why, "upgrade xen-handoff there"))
        }
        Err(why) => {
            let advice = format!("xen-handoff reach {node}, from {me}; keys are set up by xen-handoff keys");
            Some(Finding::new("transport", node, Verdict::Failed, why, advice))
        }
    }
}

/// From this node to each other: not from the asker out, which `transport` is about.
fn ways(says: &NodeSays) -> Vec<Finding> {
    let asked = says.clock.is_some() || says.setup.is_err();
    let way = |(to, way): &(NodeName, Result<(), String>)| {
        let of = format!("{} > {to}", says.node);
        match way {
            Ok(()) => Finding::ok("ways", of, "each node reaches each other"),
            Err(why) => {
                let advice = format!("on {}: xen-handoff reach {to}", says.node);
                Finding::new("ways", of, Verdict::Failed, why, advice)
            }
        }
    };
    if asked { says.ways.iter().map(way).collect() } else { Vec::new() }
}

fn versions(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let newest = up.iter().map(|(_, setup)| setup.version.as_str()).max().unwrap_or_default();
    let version = |(node, setup): &(&NodeName, &Setup)| {
        if setup.version == newest {
            return Finding::ok("version", node, format!("xen-handoff {newest}"));
        }
        let found = format!("xen-handoff {}; others have {newest}", setup.version);
        Finding::new("version", node, Verdict::Warning, found, "end the upgrade")
    };
    up.iter().map(version).collect()
}

fn keys(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let shared = up.iter().filter(|(_, setup)| !setup.key.is_own);
    let publics: Vec<&String> = shared.filter_map(|(_, setup)| setup.key.public.as_ref()).collect();
    // What most nodes have is the cluster's.
    let common =
        publics.iter().copied().max_by_key(|key| publics.iter().filter(|other| *other == key).count());
    let mut findings = Vec::new();
    for (node, setup) in up {
        let key = &setup.key;
        for (found, advice) in &key.troubles {
            findings.push(Finding::new("keys", node, Verdict::Failed, found, format!("on {node}: {advice}")));
        }
        if key.is_own {
            findings.extend(own_key(node, key, up));
            continue;
        }
        match (&key.public, common) {
            (Some(own), Some(common)) if own != common => {
                let advice = format!("copy the pair of another node to {node}");
                let found = "another pair than the other nodes have";
                findings.push(Finding::new("keys", node, Verdict::Failed, found, advice));
            }
            (Some(_), _) if key.troubles.is_empty() => {
                findings.push(Finding::ok("keys", node, "one pair for all, readable by root alone"));
            }
            _ => {}
        }
        if key.is_accepted {
            findings.push(Finding::ok(
                "authorized",
                node,
                "root's authorized_keys lets the key run what it must",
            ));
        } else if key.public.is_some() {
            let advice =
                format!("on {node}: xen-handoff keys --authorized-line >> /root/.ssh/authorized_keys");
            let found =
                "no line of root's authorized_keys lets the key run xen-handoff serve (another file may)";
            findings.push(Finding::new("authorized", node, Verdict::Warning, found, advice));
        }
    }
    findings
}

/// Of a node that has a pair of its own: every other node lets it in, as this node and no other.
fn own_key(node: &NodeName, key: &KeyState, up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(public) = &key.public else { return findings };
    if key.troubles.is_empty() {
        findings.push(Finding::ok("keys", node, "a pair of its own, readable by root alone"));
    }
    let again = "xen-handoff keys --distribute, from a node whose root may log in to the others";
    for (other, theirs) in up.iter().filter(|(other, _)| *other != node) {
        let takes_it_for =
            |of: &&NodeName| theirs.key.accepts.get(*of).is_some_and(|keys| keys.contains(public));
        if takes_it_for(&node) {
            findings.push(Finding::ok("authorized", node, "each node lets in each other, and as that node"));
        } else if let Some(taken) = theirs.key.accepts.keys().find(takes_it_for) {
            let found = format!("{other} takes the key of {node} for that of {taken}");
            findings.push(Finding::new("authorized", node, Verdict::Failed, found, again));
        } else {
            let found = format!("root's authorized_keys on {other} has no line of {node} (another file may)");
            findings.push(Finding::new("authorized", node, Verdict::Warning, found, again));
        }
    }
    if key.shared_lines > 0 && up.iter().all(|(_, setup)| setup.key.is_own) {
        let found = "a key that is no single node's is let in, too";
        let advice = format!("on {node}: xen-handoff keys --remove-shared");
        findings.push(Finding::new("authorized", node, Verdict::Warning, found, advice));
    }
    findings
}

/// Whether each node knows the host key that each other node has.
fn host_keys(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (node, setup) in up {
        if setup.host_key.is_none() {
            let found = "its sshd's ed25519 key could not be read: what others know of it was not compared";
            findings.push(Finding::new("host-keys", node, Verdict::Unknown, found, ""));
        }
        let mut troubles = Vec::new();
        for (other, theirs) in up.iter().filter(|(other, _)| other != node) {
            let Some(own) = &theirs.host_key else { continue };
            match setup.known_hosts.get(*other) {
                Some(known) if known.contains(own) => {}
                Some(known) => {
                    let same_type = |key: &String| key.split(' ').next() == own.split(' ').next();
                    let verdict =
                        if known.iter().any(same_type) { Verdict::Failed } else { Verdict::Warning };
                    troubles.push((
                        verdict,
                        format!("another key for {other} than it has"),
                        format!("{other} {own}"),
                    ));
                }
                None => {
                    troubles.push((
                        Verdict::Warning,
                        format!("no key for {other}"),
                        format!("{other} {own}"),
                    ));
                }
            }
        }
        if troubles.is_empty() && setup.host_key.is_some() {
            findings.push(Finding::ok("host-keys", node, format!("{KNOWN_HOSTS} has the keys of all")));
        }
        for (verdict, what, line) in troubles {
            let found = format!("{KNOWN_HOSTS} has {what}");
            let advice = format!("on {node}, a line of /etc/xen-handoff/{KNOWN_HOSTS}: {line}");
            findings.push(Finding::new("host-keys", node, verdict, found, advice));
        }
    }
    findings
}

fn guard(node: &NodeName, setup: &Setup) -> Finding {
    let advice = format!("on {node}: systemctl enable --now {GUARD}");
    let without = "a host that is powered off does not wait for its offers";
    match &setup.guard {
        Ok((active, enabled)) if active == "active" && enabled == "disabled" => {
            let found = format!("it runs, but not after the next boot: {without} then");
            Finding::new("guard", node, Verdict::Warning, found, advice)
        }
        Ok((active, _)) if active == "active" => Finding::ok("guard", node, format!("{GUARD} runs")),
        Ok((other, _)) => {
            Finding::new("guard", node, Verdict::Warning, format!("{GUARD} is {other}: {without}"), advice)
        }
        Err(why) => {
            Finding::new("guard", node, Verdict::Unknown, format!("{why}; without the guard {without}"), "")
        }
    }
}

fn planner(node: &NodeName, setup: &Setup) -> Option<Finding> {
    let advice = "no stop there hands over until this is mended: crm_simulate and crm_mon of the cluster's own version";
    match &setup.planner {
        Some(Ok(())) => Some(Finding::ok("planner", node, "the scheduler says what it plans")),
        Some(Err(why)) => Some(Finding::new("planner", node, Verdict::Failed, why, advice)),
        None => {
            let found = "no cluster manager runs there";
            Some(Finding::new("planner", node, Verdict::Warning, found, "start the cluster there"))
        }
    }
}

fn hypervisors(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let mut versions: Vec<&String> = up.iter().filter_map(|(_, setup)| setup.xen.as_ref().ok()).collect();
    versions.sort_unstable();
    versions.dedup();
    let xen = |(node, setup): &(&NodeName, &Setup)| match &setup.xen {
        Err(why) => {
            let advice = format!("on {node}: xl info");
            Finding::new(
                "xen",
                node,
                Verdict::Failed,
                format!("the toolstack does not answer: {why}"),
                advice,
            )
        }
        Ok(version) if versions.len() == 1 => Finding::ok("xen", node, format!("Xen {version}")),
        Ok(version) => {
            let found =
                format!("Xen {version}; not all nodes have the same: nothing moves alive to an older one");
            Finding::new("xen", node, Verdict::Warning, found, "end the upgrade")
        }
    };
    up.iter().map(xen).collect()
}

fn clock(says: &NodeSays) -> Option<Finding> {
    let (ahead, doubt) = says.clock?;
    let off = ahead.unsigned_abs().saturating_sub(doubt);
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let seconds = ahead.unsigned_abs() as f64 / 1000.0;
    let word = if ahead < 0 { "behind" } else { "ahead" };
    let found = format!("{seconds:.1} s {word} of this node's");
    let advice = format!("have NTP run on every node: on {}, chronyc tracking", says.node);
    Some(match off {
        CLOCK_FAILS.. => Finding::new("clock", &says.node, Verdict::Failed, found, advice),
        CLOCK_WARNS.. => Finding::new("clock", &says.node, Verdict::Warning, found, advice),
        _ => Finding::ok("clock", &says.node, "within a second of this node's"),
    })
}

/// `at`: where its file is among those that the nodes were asked for.
fn configuration(domain: &DomainSays, says: &[NodeSays], at: Option<usize>) -> Vec<Finding> {
    let (check, resource) = ("configuration", &domain.managed.resource);
    let mut findings: Vec<Finding> = domain
        .mistakes
        .iter()
        .map(|what| Finding::new(check, resource, Verdict::Failed, what, "mend it, on every node"))
        .collect();
    let Some((at, file)) = at.zip(domain.file.as_ref()) else {
        return findings;
    };
    let path = &file.path;
    for node in says {
        let Some(state) = node.seen.as_ref().and_then(|seen| seen.files.get(at)) else { continue };
        let advice = format!("copy {path} to {}", node.node);
        let trouble = match state {
            FileState::Same => continue,
            FileState::Different => (Verdict::Failed, format!("{path} is another one on {}", node.node)),
            FileState::Missing => (Verdict::Failed, format!("there is no {path} on {}", node.node)),
            FileState::Unreadable(why) => (Verdict::Unknown, format!("{path} on {}: {why}", node.node)),
        };
        findings.push(Finding::new(check, resource, trouble.0, trouble.1, advice));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, resource, "the same on all nodes"));
    }
    findings
}

/// Whether all nodes mean the same by this path.
fn storage(resource: &str, path: &LocalPath, seen: &[(NodeName, Result<Disk, String>)]) -> Finding {
    let check = "storage";
    let advice =
        "what a domain moves with must be one and the same on every node: shared or replicated storage";
    let fails = |found: String| Finding::new(check, resource, Verdict::Failed, found, advice);
    if let Some((node, Err(why))) = seen.iter().find(|(_, disk)| disk.is_err()) {
        return fails(format!("{path} on {node}: {why}"));
    }
    let disks: Vec<(&NodeName, &Disk)> =
        seen.iter().filter_map(|(node, disk)| Some((node, disk.as_ref().ok()?))).collect();
    let Some((first, rest)) = disks.split_first() else {
        return Finding::new(check, resource, Verdict::Unknown, format!("nobody was asked for {path}"), "");
    };
    for (node, disk) in rest {
        if disk.bytes != first.1.bytes {
            let (one, other) = (first.1.bytes, disk.bytes);
            return fails(format!(
                "{path} has {one} bytes on {} and {other} on {node}: not the same disk",
                first.0
            ));
        }
        if let (Some(one), Some(other)) = (&first.1.mark, &disk.mark)
            && one != other
        {
            return fails(format!("{path} is {one} on {} and {other} on {node}: not the same disk", first.0));
        }
    }
    if let Some((node, _)) = disks.iter().find(|(_, disk)| disk.is_on_shared_files == Some(false)) {
        return fails(format!("{path} is a file on a local file system of {node}: each node has its own"));
    }
    if disks.iter().all(|(_, disk)| disk.mark.is_some() || disk.is_on_shared_files == Some(true)) {
        return Finding::ok(check, resource, "the same on all nodes");
    }
    let found =
        format!("{path} has one size on all nodes; the kernel does not say whether it is the same disk");
    let advice = "make sure of it, and check with --ignore storage from then on";
    Finding::new(check, resource, Verdict::Unknown, found, advice)
}

/// Against what the slowest node has measured.
fn timeouts(domain: &DomainSays, slowest: Option<u64>) -> Vec<Finding> {
    let resource = &domain.managed.resource;
    if domain.memory_mib == 0 {
        return Vec::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let measured = slowest.map(|rate| rate as f64);
    let checks = limits(
        &domain.managed,
        domain.memory_mib,
        measured,
        &domain.parameters.terms,
        Kept::by(&domain.parameters),
    );
    let finding = |check: crate::preflight::Check| {
        // That nothing has moved yet is no fault.
        let well = check.result == Verdict::Ok || (measured.is_none() && check.advice.is_empty());
        let result = if well { Verdict::Ok } else { check.result };
        Finding::new("timeouts", resource, result, check.found, check.advice)
    };
    checks.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn well() -> Setup {
        let known = ["n1", "n2", "n3"].map(|name| (node(name), vec![format!("ssh-ed25519 {name}")]));
        Setup {
            version: "0.1.0".to_owned(),
            key: KeyState {
                public: Some("ssh-ed25519 A".to_owned()),
                troubles: vec![],
                is_accepted: true,
                is_own: false,
                accepts: BTreeMap::new(),
                shared_lines: 1,
            },
            host_key: None,
            known_hosts: known.into(),
            guard: Ok(("active".to_owned(), "enabled".to_owned())),
            xen: Ok("4.17".to_owned()),
            planner: Some(Ok(())),
            mib_per_second: Some(100),
        }
    }

    fn says(name: &str, change: impl FnOnce(&mut NodeSays, &mut Setup)) -> NodeSays {
        let mut setup = Setup { host_key: Some(format!("ssh-ed25519 {name}")), ..well() };
        let mut says = NodeSays {
            node: node(name),
            is_member: Some(true),
            setup: Err(String::new()),
            seen: None,
            clock: (name != "n1").then_some((0, 0)),
            ways: vec![],
        };
        change(&mut says, &mut setup);
        if says.setup == Err(String::new()) {
            says.setup = Ok(setup);
        }
        says
    }

    /// What is wrong where n2 is changed like that: check, of what, result.
    fn wrong(change: impl FnOnce(&mut NodeSays, &mut Setup)) -> Vec<(&'static str, String, Verdict)> {
        let all = [says("n1", |_, _| {}), says("n2", change), says("n3", |_, _| {})];
        let findings = judge(&node("n1"), &all, &[]);
        assert!(findings.iter().all(|finding| CHECKS.contains(&finding.check)), "{findings:?}");
        let wrong = findings.into_iter().filter(|finding| finding.result != Verdict::Ok);
        wrong.map(|finding| (finding.check, finding.of, finding.result)).collect()
    }

    #[test]
    fn each_thing_that_is_wrong_on_a_node_is_found_and_nothing_else() {
        use Verdict::{Failed, Unknown, Warning};
        assert_eq!(wrong(|_, _| {}), []);
        let of_n2 = |check, result| vec![(check, "n2".to_owned(), result)];
        assert_eq!(wrong(|_, setup| setup.version = "0.0.9".to_owned()), of_n2("version", Warning));
        assert_eq!(
            wrong(|_, setup| setup.key.public = Some("ssh-ed25519 B".to_owned())),
            of_n2("keys", Failed)
        );
        assert_eq!(wrong(|_, setup| setup.key.is_accepted = false), of_n2("authorized", Warning));
        let mode = ("mode 0644".to_owned(), "chmod".to_owned());
        assert_eq!(wrong(|_, setup| setup.key.troubles.push(mode)), of_n2("keys", Failed));
        assert_eq!(
            wrong(|_, setup| drop(setup.known_hosts.remove(&node("n3")))),
            of_n2("host-keys", Warning)
        );
        let other = vec!["ssh-ed25519 stale".to_owned()];
        assert_eq!(
            wrong(|_, setup| drop(setup.known_hosts.insert(node("n3"), other))),
            of_n2("host-keys", Failed)
        );
        let stopped = Ok(("inactive".to_owned(), "enabled".to_owned()));
        assert_eq!(wrong(|_, setup| setup.guard = stopped), of_n2("guard", Warning));
        assert_eq!(wrong(|_, setup| setup.guard = Err("no systemd".to_owned())), of_n2("guard", Unknown));
        assert_eq!(wrong(|_, setup| setup.planner = Some(Err("mute".to_owned()))), of_n2("planner", Failed));
        assert_eq!(wrong(|_, setup| setup.xen = Err("xl hung".to_owned())), of_n2("xen", Failed));
        assert_eq!(wrong(|says, _| says.clock = Some((1900, 200))), of_n2("clock", Warning));
        assert_eq!(wrong(|says, _| says.clock = Some((-9000, 200))), of_n2("clock", Failed));
        assert_eq!(
            wrong(|says, _| says.clock = Some((900, 0))),
            [],
            "within what NTP and a busy host may differ"
        );
        let shut = (node("n3"), Err("no key on n3".to_owned()));
        assert_eq!(wrong(|says, _| says.ways.push(shut)), [("ways", "n2 > n3".to_owned(), Failed)]);
        assert_eq!(
            wrong(|says, _| says.setup = Err("cannot reach n2".to_owned())),
            of_n2("transport", Failed)
        );
        let away = |says: &mut NodeSays, _: &mut Setup| {
            (says.setup, says.is_member) = (Err("cannot reach n2".to_owned()), Some(false));
        };
        assert_eq!(wrong(away), of_n2("transport", Warning));
    }

    #[test]
    fn a_key_of_a_nodes_own_is_let_in_by_every_other_node_and_as_that_node() {
        use Verdict::{Failed, Warning};
        let all = ["n1", "n2", "n3"];
        let own = |name: &str, change: &dyn Fn(&mut KeyState)| {
            says(name, |_, setup| {
                let of = |other: &str| (node(other), vec![format!("ssh-ed25519 K{other}")]);
                setup.key = KeyState {
                    public: Some(format!("ssh-ed25519 K{name}")),
                    is_own: true,
                    is_accepted: false,
                    accepts: all.iter().filter(|other| **other != name).map(|other| of(other)).collect(),
                    shared_lines: 0,
                    troubles: vec![],
                };
                change(&mut setup.key);
            })
        };
        let wrong = |change: &dyn Fn(&mut KeyState)| -> Vec<(&str, String, Verdict)> {
            let says = [own("n1", &|_| {}), own("n2", change), own("n3", &|_| {})];
            let findings = judge(&node("n1"), &says, &[]);
            let wrong = findings.into_iter().filter(|finding| finding.result != Verdict::Ok);
            wrong.map(|finding| (finding.check, finding.of, finding.result)).collect()
        };
        assert_eq!(wrong(&|_| {}), []);
        let of = |name: &str, result| vec![("authorized", name.to_owned(), result)];
        assert_eq!(wrong(&|key| drop(key.accepts.remove(&node("n3")))), of("n3", Warning));
        let swapped = |key: &mut KeyState| {
            let keys = key.accepts.remove(&node("n3")).unwrap();
            key.accepts.entry(node("n1")).or_default().extend(keys);
        };
        assert_eq!(wrong(&swapped), of("n3", Failed));
        assert_eq!(wrong(&|key| key.shared_lines = 1), of("n2", Warning));
        // In the middle of the change, one node has one of its own, and the others the one for all.
        let says = [says("n1", |_, _| {}), own("n2", &|_| {}), says("n3", |_, _| {})];
        let findings = judge(&node("n1"), &says, &[]);
        let keys: Vec<_> = findings.iter().filter(|f| f.check == "keys" && f.result != Verdict::Ok).collect();
        assert!(keys.is_empty(), "{keys:?}");
    }

    #[test]
    fn a_disk_that_is_not_one_and_the_same_fails_and_what_is_not_known_is_never_fine() {
        let path = LocalPath::new("/dev/vg/x0").unwrap();
        let disk = |bytes, mark: Option<&str>, shared| {
            Ok(Disk { bytes, mark: mark.map(str::to_owned), is_on_shared_files: shared })
        };
        let result = |one: Result<Disk, String>, other| {
            storage("x0", &path, &[(node("n1"), one), (node("n2"), other)]).result
        };
        let marked = || disk(10, Some("LVM-a"), None);
        assert_eq!(result(marked(), marked()), Verdict::Ok);
        assert_eq!(result(disk(10, None, Some(true)), disk(10, None, Some(true))), Verdict::Ok);
        assert_eq!(result(marked(), disk(10, Some("LVM-b"), None)), Verdict::Failed);
        assert_eq!(result(marked(), disk(11, Some("LVM-a"), None)), Verdict::Failed);
        assert_eq!(result(marked(), Err("No such file or directory".to_owned())), Verdict::Failed);
        assert_eq!(result(disk(10, None, Some(false)), disk(10, None, Some(false))), Verdict::Failed);
        assert_eq!(result(disk(10, None, None), disk(10, None, None)), Verdict::Unknown);
    }

    #[test]
    fn monitoring_is_told_the_worst_in_one_line_with_its_own_exit_status() {
        let finding = |result| Finding::new("guard", "n2", result, "two\nlines | and a bar", "");
        let line = |all: &[Finding]| one_line(all, 3, 1);
        assert!(
            line(&[finding(Verdict::Ok)])
                .starts_with("XEN-HANDOFF OK - 1 checks of 3 nodes and 1 domains | failed=0")
        );
        let all = [finding(Verdict::Unknown), finding(Verdict::Warning), finding(Verdict::Failed)];
        let said = line(&all);
        assert!(
            said.starts_with("XEN-HANDOFF CRITICAL - guard of n2: two lines   and a bar (and 2 more) | "),
            "{said}"
        );
        assert_eq!(said.matches('|').count(), 1);
        assert_eq!(plugin_status(worst(&all)), 2);
        assert_eq!([&all[..2], &all[..1], &[]].map(|some| plugin_status(worst(some))), [1, 3, 0]);
    }
}
