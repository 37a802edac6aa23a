//! `make bench-overhead`: what of a handoff is not its stream. Real Pacemaker, Corosync, sshd and ssh on
//! nodes of namespaces, the package's executable, the stand-in's xl.
//!
//! `cargo test --test pacemaker -- overhead [short] [nodes=2,8,16] [domains=1,20] [silent=0,1] [runs=N]
//! [trace] [cold]`. The nodes are formed once for each number of them. A run is one evacuation: the node that
//! has the domains goes into standby, or comes back from it, and they all move at once; no slot is waited for,
//! since the hosts here have no limit to how many move at once, and neither has Pacemaker. A silent node is a
//! member of the cluster whose sshd is stopped (SIGSTOP): connections to it are taken by the kernel and
//! nobody ever says a word. What is counted, and how, is in [`moves`] and [`kernel`]. No time is asserted.
//!
//! `cold`: no guard runs on the nodes, so that none keeps connections to the others open.
//!
//! Rows go to `target/bench/overhead.json`, a list of objects; a row of another run with the same case,
//! nodes, domains and silent is replaced:
//!
//! | field | what |
//! |---|---|
//! | `case` | `before-stream`, `after-stream` |
//! | `nodes`, `domains`, `silent` | nodes of the cluster; domains that moved at once; silent nodes, a number |
//! | `seconds`, `last_seconds` | median over all domains and runs; median over the runs of the slowest domain |
//! | `processes`, `logins`, `cpu_seconds` | of one domain: median over the runs |
//! | `stop_seconds`, `all_seconds` | of `seconds`, what the stop took; the whole run from the first stop to the last start, Pacemaker and streams included |
//! | `kinds` | the processes of the last run by what they are, all domains together |
//! | `what` | `cold`: without a guard |
//! | `what`, ... | of `make bench-stream` (`-- overhead stream`): see [`stream`]; of `-- overhead evacuation`: see [`evacuation`] |
//! | `runs`, `failed` | how many runs the medians are of; how many were not as they should be and do not count |
//! | `version`, `commit`, `profile`, `xl_seconds`, `load` | of the executable (`profile`: release or debug); what one `xl list` takes here; the machine's load from before the first run |

mod evacuation;
mod kernel;
mod moves;
mod proof;
mod stream;

use crate::cluster::Cluster;
use crate::skip_reason;
use crate::spawn::{self, command, until};
use kernel::Listener;
use moves::{Part, Run, Servers, Stamp, stamps};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) use proof::trials;

const NAMES: [&str; 16] =
    ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11", "n12", "n13", "n14", "n15", "n16"];
/// The two nodes between which domains move.
const FROM: &str = "n1";
const TO: &str = "n2";
const STREAMS: &str = "/var/lib/xl-standin/streams";
/// How long it may take until all domains have been looked for on every node and are booted.
const BOOTED: Duration = Duration::from_secs(400);
/// How long all moves of a run may take.
const MOVED: Duration = Duration::from_secs(300);
/// How long what a move has left running may take to end.
const ENDED: Duration = Duration::from_secs(15);
/// How many runs a row is the median of.
const RUNS: usize = 6;

/// What the command line asks for.
#[derive(Debug)]
struct Asked {
    nodes: Vec<usize>,
    domains: Vec<usize>,
    silent: Vec<usize>,
    runs: usize,
    trace: bool,
    cold: bool,
}

impl Asked {
    fn by(words: &[String]) -> Asked {
        let is_short = words.iter().any(|word| word == "short");
        let numbers = |key: &str, default: &[usize]| {
            let word = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            let parse = |text: &str| text.parse().unwrap_or_else(|_| panic!("{key}: no number in {text:?}"));
            word.map_or(default.to_vec(), |text| text.split(',').map(parse).collect())
        };
        Asked {
            nodes: numbers("nodes", if is_short { &[2] } else { &[2, 8, 16] }),
            domains: numbers("domains", &[1, 20]),
            silent: numbers("silent", &[0, 1]),
            runs: numbers("runs", &[RUNS]).first().copied().unwrap_or(RUNS),
            trace: words.iter().any(|word| word == "trace"),
            cold: words.iter().any(|word| word == "cold"),
        }
    }
}

/// Measures, prints a table, writes the rows.
pub(crate) fn run(words: &[String]) -> ExitCode {
    if let Some(why) = skip_reason() {
        eprintln!("overhead: skipped, {why}");
        return ExitCode::FAILURE;
    }
    let asked = Asked::by(words);
    let is_stream = words.iter().any(|word| word == "stream");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
    let listener = match Listener::begin() {
        Ok(listener) => listener,
        Err(why) => {
            eprintln!("overhead: skipped, {why}");
            return ExitCode::FAILURE;
        }
    };
    if is_stream {
        let bench = Bench::form(2, &listener, &asked);
        return stream::measure(&bench, load, words);
    }
    if words.iter().any(|word| word == "evacuation") {
        return evacuation::measure(&Bench::form(2, &listener, &asked), load, words);
    }
    let (mut rows, mut failed) = (vec![], false);
    println!("{}", heading());
    for nodes in &asked.nodes {
        let began = Instant::now();
        let bench = Bench::form(*nodes, &listener, &asked);
        eprintln!("overhead: {nodes} nodes formed in {:.0} s", began.elapsed().as_secs_f64());
        for silent in asked.silent.iter().filter(|silent| **silent + 2 <= *nodes) {
            for domains in &asked.domains {
                let case = Case { nodes: *nodes, domains: *domains, silent: *silent };
                let runs = bench.runs(case);
                failed |= runs.iter().any(Result::is_err);
                for mut row in case.rows(&runs) {
                    if asked.cold {
                        row["what"] = json!("cold");
                    }
                    bench.sign(&mut row, load);
                    println!("{}", line(&row));
                    rows.push(row);
                }
                // What is measured already is not lost with what comes.
                keep(&rows);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The number that a word `KEY=NUMBER` has.
fn number<T: std::str::FromStr>(words: &[String], key: &str) -> Option<T> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

/// How many of what.
#[derive(Clone, Copy, Debug)]
struct Case {
    nodes: usize,
    domains: usize,
    silent: usize,
}

impl Case {
    fn rows(self, runs: &[Result<Run, String>]) -> Vec<Value> {
        let good: Vec<&Run> = runs.iter().filter_map(|run| run.as_ref().ok()).collect();
        if good.is_empty() {
            return vec![];
        }
        ["before-stream", "after-stream"]
            .into_iter()
            .map(|case| {
                let is_before = case == "before-stream";
                let part = |run: &Run| if is_before { run.before.clone() } else { run.after.clone() };
                let of = |what: fn(&Part) -> f64| median(good.iter().map(|run| what(&part(run))).collect());
                #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
                let each = |what: f64| rounded(what / self.domains as f64);
                #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
                let (processes, logins) = (of(|p| p.processes as f64), of(|p| p.logins as f64));
                let seconds = good.iter().flat_map(|run| part(run).seconds.clone()).collect();
                let mut row = json!({
                    "case": case, "nodes": self.nodes, "domains": self.domains, "silent": self.silent,
                    "seconds": rounded(median(seconds)),
                    "last_seconds": rounded(of(|part| part.seconds.iter().copied().fold(0.0, f64::max))),
                    "processes": each(processes), "logins": each(logins),
                    "cpu_seconds": each(of(|part| part.cpu_seconds)),
                    "kinds": good.last().map(|run| part(run).kinds.clone()),
                    "runs": good.len(), "failed": runs.len() - good.len(),
                });
                if is_before {
                    let stops = good.iter().flat_map(|run| run.stops.clone()).collect();
                    row["stop_seconds"] = json!(rounded(median(stops)));
                    let all = good.iter().map(|run| run.all_in_all).collect();
                    row["all_seconds"] = json!(rounded(median(all)));
                }
                row
            })
            .collect()
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let middle = of.len() / 2;
    match (of.get(middle), of.len() % 2) {
        (None, _) => 0.0,
        (Some(one), 1) => *one,
        (Some(upper), _) => f64::midpoint(*upper, of.get(middle.wrapping_sub(1)).copied().unwrap_or(*upper)),
    }
}

fn heading() -> String {
    format!(
        "{:<14} {:>5} {:>7} {:>6} {:>8} {:>8} {:>9} {:>6} {:>7} {:>5}",
        "case", "nodes", "domains", "silent", "seconds", "last", "processes", "logins", "cpu s", "runs"
    )
}

fn line(row: &Value) -> String {
    let number = |key: &str| row[key].as_f64().unwrap_or_default();
    format!(
        "{:<14} {:>5} {:>7} {:>6} {:>8.3} {:>8.3} {:>9.1} {:>6.1} {:>7.3} {:>5}",
        row["case"].as_str().unwrap_or_default(),
        row["nodes"].to_string(),
        row["domains"].to_string(),
        row["silent"].to_string(),
        number("seconds"),
        number("last_seconds"),
        number("processes"),
        number("logins"),
        number("cpu_seconds"),
        row["runs"].to_string()
    )
}

/// Puts the rows beside those of other cases that are there already.
fn keep(rows: &[Value]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/overhead.json");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let mut all: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    let key =
        |row: &Value| ["case", "nodes", "domains", "silent", "what"].map(|field| row[field].to_string());
    all.retain(|old| rows.iter().all(|new| key(new) != key(old)));
    all.extend(rows.iter().cloned());
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let written =
        file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, text));
    if let Err(error) = written {
        eprintln!("overhead: {}: {error}", file.display());
    }
}

/// A cluster to measure on.
struct Bench<'a> {
    cluster: Cluster,
    names: &'static [&'static str],
    listener: &'a Listener,
    servers: Servers,
    asked: &'a Asked,
    /// What the executable says of itself.
    version: String,
}

impl<'a> Bench<'a> {
    fn form(nodes: usize, listener: &'a Listener, asked: &'a Asked) -> Bench<'a> {
        let names = NAMES.get(..nodes).unwrap_or(&NAMES);
        let cluster = Cluster::start_of(names);
        for node in names {
            // No slot is waited for.
            let settings = "max_outgoing_migrations=0\nmax_incoming_migrations=0\n";
            cluster.fabric.put(node, "/etc/sysconfig/xen-handoff", 0o644, settings);
            cluster.knob(node, "stream.mib", "0.0625");
            if !asked.cold {
                cluster.start_guard(node);
            }
        }
        for (option, value) in [("node-action-limit", "100"), ("batch-limit", "500")] {
            cluster.must(&["crm_attribute", "-t", "crm_config", "-n", option, "-v", value]);
        }
        cluster.age_ledger();
        let version = cluster.fabric.sh(FROM, "/usr/sbin/xen-handoff --version").trim().to_owned();
        let servers = Servers::default();
        let mut bench = Bench { cluster, names, listener, servers, asked, version };
        bench.servers = bench.servers_now();
        bench
    }

    /// Every node's executor and sshd.
    fn servers_now(&self) -> Servers {
        let of = |node: &&str| {
            let init = self.cluster.fabric.root(node);
            std::fs::read_link(init.with_file_name("ns/pid")).expect("a node's pid namespace")
        };
        let inside: Vec<PathBuf> = self.names.iter().map(of).collect();
        let mut known = self.listener.known();
        let mut servers = Servers::default();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let title = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let place = match name.trim() {
                // The kernel keeps 15 letters.
                "pacemaker-execd" => &mut servers.executors,
                "sshd" if title.contains("[listener]") => &mut servers.listeners,
                name if name.starts_with("sshd") => &mut servers.kept,
                _ => continue,
            };
            if std::fs::read_link(entry.path().join("ns/pid")).is_ok_and(|ns| inside.contains(&ns)) {
                place.insert(known.meet(number));
            }
        }
        let count = (servers.executors.len(), servers.listeners.len());
        assert_eq!(count, (self.names.len(), self.names.len()), "an executor and an sshd a node");
        servers
    }

    /// So many runs of one case.
    fn runs(&self, case: Case) -> Vec<Result<Run, String>> {
        let domains: Vec<String> = (0..case.domains).map(|n| format!("x{n}")).collect();
        self.give(&domains);
        let silent = self.names.get(self.names.len() - case.silent..).unwrap_or_default();
        self.signal(silent, "STOP");
        let mut runs = vec![];
        for n in 0..self.asked.runs {
            let run = self.one(&domains, n % 2 == 0);
            if let Err(why) = &run {
                eprintln!("overhead: {case:?}: {why}");
            }
            runs.push(run);
        }
        if self.asked.runs % 2 == 1 {
            self.cluster.must(&["crm_standby", "-N", FROM, "-D"]);
            self.cluster.settle();
        }
        self.signal(silent, "CONT");
        self.take_back();
        runs
    }

    fn signal(&self, nodes: &[&str], signal: &str) {
        for node in nodes {
            self.cluster.fabric.sh(node, &format!("kill -{signal} $(cat /run/sshd.pid)"));
        }
    }

    /// The domains, all of them on the first node.
    fn give(&self, domains: &[String]) {
        let (mut primitives, mut constraints) = (String::new(), String::new());
        for name in domains {
            for node in self.names {
                let config = format!("name = \"{name}\"\ntype = \"pvh\"\nmemory = 128\nvcpus = 1\n");
                self.cluster.fabric.put(node, &format!("/etc/xen/{name}.cfg"), 0o644, config);
            }
            primitives += &format!(
                r#"<primitive id="{name}" class="ocf" provider="handoff" type="Xen">
 <instance_attributes id="{name}-ia">
  <nvpair id="{name}-xmfile" name="xmfile" value="/etc/xen/{name}.cfg"/></instance_attributes>
 <operations><op id="{name}-start" name="start" interval="0" timeout="300s"/>
  <op id="{name}-stop" name="stop" interval="0" timeout="120s"/>
  <op id="{name}-monitor" name="monitor" interval="60s" timeout="30s"/></operations></primitive>"#
            );
            for (node, score) in [(FROM, 300), (TO, 200)] {
                constraints += &format!(
                    r#"<rsc_location id="at-{name}-{node}" rsc="{name}" node="{node}" score="{score}"/>"#
                );
            }
        }
        let update = format!(
            "<configuration><resources>{primitives}</resources>\
             <constraints>{constraints}</constraints></configuration>"
        );
        let file = self.cluster.fabric.shared().join("domains.xml");
        std::fs::write(file, update).expect("the domains' configuration");
        let words =
            ["cibadmin", "--modify", "--allow-create", "-o", "configuration", "-x", "/shared/domains.xml"];
        self.cluster.must(&words);
        let all_run = || domains.iter().all(|name| self.runs_on(FROM, name));
        until(BOOTED, all_run).unwrap_or_else(|_| panic!("not booted: {:?}", self.cluster.failures()));
        self.cluster.settle();
    }

    fn take_back(&self) {
        let somebody = self.cluster.somebody();
        self.cluster.fabric.sh(
            &somebody,
            "cibadmin --replace -o constraints -X '<constraints/>' &&
             cibadmin --replace -o resources -X '<resources/>'",
        );
        let gone = || self.names.iter().all(|node| self.cluster.domains(node).is_empty());
        until(MOVED, gone).unwrap_or_else(|_| panic!("not stopped: {:?}", self.cluster.failures()));
        self.cluster.settle();
    }

    fn runs_on(&self, node: &str, name: &str) -> bool {
        self.cluster.domains(node).iter().any(|(n, state)| n == name && state == "running")
    }

    /// One run. Nothing is asked of the cluster while it goes on.
    fn one(&self, domains: &[String], leaves: bool) -> Result<Run, String> {
        let from = self.listener.known().all.len();
        let order: &[&str] = if leaves { &["-v", "on"] } else { &["-D"] };
        self.cluster.must(&[&["crm_standby", "-N", FROM], order].concat());
        let started = || {
            let known = self.listener.known();
            let done = moves::actions(&known.all, from, &self.servers);
            done.iter().filter(|(action, ..)| action == "start").count() >= domains.len()
        };
        let in_time = until(MOVED, started).is_ok();
        // What a move leaves is part of what it costs: it is waited for until it has ended.
        let _in_time = until(ENDED, || !self.is_busy(from));
        self.cluster.settle();
        let target = if leaves { TO } else { FROM };
        let all_there = domains.iter().all(|name| self.runs_on(target, name));
        if !in_time || !all_there {
            return Err(format!("not all have moved: {:?}\n{}", self.cluster.failures(), self.last_words()));
        }
        let known = self.listener.known();
        if known.lost > 0 {
            return Err(format!("{} of the kernel's messages were lost", known.lost));
        }
        let stamps = self.stamps();
        if self.asked.trace {
            println!("{}", moves::trace(&known.all, from, &self.servers, &stamps));
        }
        moves::measure(&known.all, from, &self.servers, &stamps, domains)
    }

    /// The moments of all streams so far.
    fn stamps(&self) -> Vec<Stamp> {
        [FROM, TO].iter().flat_map(|node| stamps(&self.cluster.fabric.get(node, STREAMS))).collect()
    }

    fn is_busy(&self, from: usize) -> bool {
        moves::is_busy(&self.listener.known().all, from, &self.servers)
    }

    fn last_words(&self) -> String {
        let log = self.cluster.story_of_logs();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }

    /// Keeps what was measured, or says why nothing was.
    fn end(&self, measured: Result<Vec<Value>, String>, load: f64) -> ExitCode {
        match measured {
            Ok(mut rows) => {
                rows.iter_mut().for_each(|row| self.sign(row, load));
                keep(&rows);
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("overhead: {why}");
                ExitCode::FAILURE
            }
        }
    }

    /// What was measured, and on what.
    fn sign(&self, row: &mut Value, load: f64) {
        let root = env!("CARGO_MANIFEST_DIR");
        let commit = spawn::run(command("git").args(["-C", root, "describe", "--always", "--dirty"])).stdout;
        let is_given = std::env::var_os("XEN_HANDOFF_INSTALL").is_some();
        let begun = Instant::now();
        self.cluster.xl(FROM, &["list"]);
        row["xl_seconds"] = json!(rounded(begun.elapsed().as_secs_f64()));
        row["version"] = json!(self.version.split(' ').next_back());
        row["commit"] = json!(commit.trim());
        row["profile"] = json!(if is_given || !cfg!(debug_assertions) { "release" } else { "debug" });
        row["load"] = json!(load);
    }
}
