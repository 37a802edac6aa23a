//! The demo: one domain, one node that leaves, three ways to deal with it, measured in one run on one lab.
//!
//! - `handoff`: `systemctl stop pacemaker` on node1 with `ocf:handoff:Xen`. The cluster knows of no migration, it stops
//!   here and starts there, and the guest moves alive.
//! - `stock`: the same command with `ocf:heartbeat:Xen`, configured as simply. The guest reboots.
//! - `bare_xl`: `xl migrate` by hand, with no cluster about it: what a live migration costs here at best.
//!
//! The absolute times are those of emulated machines; compare the three with each other. Results: a table, the
//! plot `target/demo/handoff.svg`, the figures `target/demo/report.json`.

use std::path::Path;
use std::time::Duration;

use crate::agent::Agent;
use crate::audit::two_running;
use crate::cluster::CHANGE;
use crate::guest::{Pings, Witness};
use crate::lab::Lab;
use crate::node::Node;
use crate::plot::{self, Band, Curve, Panel, Scale, Style};
use crate::story::Scene;
use crate::wait::{now, say, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Quiet time before the command, for the comparison, and after the end.
const IDLE: f64 = 8.0;
/// How often x0 is pinged: the silence is what the demo is about.
const PING: Duration = Duration::from_millis(10);

/// What one experiment showed.
#[derive(Debug)]
struct Measured {
    /// Its key in the report.
    key: &'static str,
    /// What was done.
    title: &'static str,
    /// When the command was given.
    command: f64,
    /// When x0 answered from node2.
    done: f64,
    /// What happened when, in order.
    events: Vec<(f64, String)>,
    /// What the agents did, as spans.
    spans: Vec<(String, f64, f64)>,
    pings: Pings,
    reboots: usize,
    uptime: f64,
}

/// Runs all three and reports.
pub(crate) fn run() -> Result<()> {
    let mut lab = Lab::open()?;
    say("1 of 3: ocf:handoff:Xen, systemctl stop pacemaker on node1");
    lab.ready(&Agent::handoff()?)?;
    let handoff =
        experiment(&mut lab, "handoff", "ocf:handoff:Xen, systemctl stop pacemaker", stop_pacemaker)?;
    say("2 of 3: ocf:heartbeat:Xen, the same");
    lab.ready(&Agent::Heartbeat)?;
    let stock = experiment(&mut lab, "stock", "ocf:heartbeat:Xen, systemctl stop pacemaker", stop_pacemaker)?;
    say("3 of 3: xl migrate by hand");
    let bare = experiment(&mut lab, "bare_xl", "xl migrate x0 node2, no cluster", migrate_by_hand)?;
    let all = [handoff, stock, bare];
    keep(&all)?;
    print!("{}", table(&all));
    Ok(())
}

/// Pings x0, lets `act` move it from node1 to node2, and measures.
fn experiment(
    lab: &mut Lab,
    key: &'static str,
    title: &'static str,
    act: fn(&Scene<'_>) -> Result<Moved>,
) -> Result<Measured> {
    lab.restore()?;
    let mut scene = Scene::begin(lab, PING)?;
    quiet(&scene)?;
    let moved = act(&scene)?;
    let before = scene.audit().witnesses().into_iter().rfind(|witness| witness.at < moved.command);
    let before = before.context("x0 has not answered before the command")?;
    let answers = until("x0 to answer from node2", Duration::from_secs(90), || {
        let seen = scene.audit().witnesses();
        Ok(seen.last().filter(|last| last.at > moved.arrived).cloned())
    })?;
    quiet(&scene)?;
    let wrong = two_running(&scene.audit().timed(scene.lab)?);
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    let witnesses = scene.audit().witnesses();
    let last = witnesses.last().cloned().unwrap_or(answers);
    let pings = scene.pings()?;
    Ok(measured(key, title, moved, &before, &last, &witnesses, pings))
}

fn measured(
    key: &'static str,
    title: &'static str,
    moved: Moved,
    before: &Witness,
    last: &Witness,
    witnesses: &[Witness],
    pings: Pings,
) -> Measured {
    let mut boots: Vec<&str> = witnesses.iter().map(|witness| witness.boot.as_str()).collect();
    boots.dedup();
    let answered =
        pings.replies.iter().map(|reply| reply.at).find(|at| *at > moved.arrived).unwrap_or(moved.arrived);
    let (silent, gap) = pings.longest_gap();
    let mut events = moved.events;
    events.push((silent, format!("x0 falls silent for {gap:.1} s")));
    events.push((moved.arrived, "x0 runs on node2".to_string()));
    events.push((answered, "x0 answers from node2".to_string()));
    events.push((before.at, format!("(before the command: x0 up for {:.0} s)", before.uptime)));
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    Measured {
        key,
        title,
        command: moved.command,
        done: answered,
        events,
        spans: moved.spans,
        pings,
        reboots: boots.len().saturating_sub(1),
        uptime: last.uptime,
    }
}

/// Some seconds in which nothing is done.
fn quiet(_: &Scene<'_>) -> Result<()> {
    let end = now() + IDLE;
    until("some quiet seconds", Duration::from_secs(60), || Ok((now() >= end).then_some(())))
}

/// What an act did.
#[derive(Debug)]
struct Moved {
    command: f64,
    arrived: f64,
    events: Vec<(f64, String)>,
    spans: Vec<(String, f64, f64)>,
}

fn stop_pacemaker(scene: &Scene<'_>) -> Result<Moved> {
    let command = now();
    let mut stopping = scene.stop_pacemaker(1)?;
    let mut events = vec![(command, "systemctl stop pacemaker on node1".to_string())];
    let mut returned = None;
    let arrived = until("x0 to run on node2", CHANGE, || {
        if returned.is_none() && stopping.ended()? {
            returned = Some(now());
        }
        Ok(scene.x0_runs_on(2).is_ok().then(now))
    })?;
    let output = stopping.finish(CHANGE)?;
    ensure!(output.status.success(), "systemctl stop pacemaker: {}", output.stderr);
    events.push((returned.unwrap_or_else(now), "systemctl stop pacemaker has returned".to_string()));
    scene.cluster_has_x0_on(2, 2)?;
    let mut spans = Vec::new();
    for operation in scene.operations()? {
        let (ended, result) = operation.result.clone().context("an operation has no result")?;
        let name = format!("{} on node{}", operation.name, operation.node);
        events.push((operation.began, format!("{name} begins")));
        events.push((ended, format!("{name}: {result}")));
        spans.push((operation.name, operation.began, ended));
    }
    Ok(Moved { command, arrived, events, spans })
}

fn migrate_by_hand(scene: &Scene<'_>) -> Result<Moved> {
    let node = scene.node(1)?;
    node.ok("crm_attribute -t crm_config -n maintenance-mode -v true")?;
    let_root_in(node, scene.node(2)?)?;
    let command = now();
    let output = node.start("xl migrate x0 node2")?.finish(CHANGE)?;
    let ended = now();
    ensure!(output.status.success(), "xl migrate: {}", output.stderr);
    let timed = scene.audit().timed(scene.lab)?;
    let first = timed.iter().find(|sample| sample.node == 2 && sample.running.is_some());
    let arrived = first.context("no sample shows x0 on node2")?.at;
    let events = vec![
        (command, "xl migrate x0 node2 begins".to_string()),
        (ended, "xl migrate has returned".to_string()),
    ];
    Ok(Moved { command, arrived, events, spans: vec![("xl migrate".to_string(), command, ended)] })
}

/// Lets root log in from one node on another, which a plain `xl migrate` needs and the agent does not.
pub(crate) fn let_root_in(from: &Node, to: &Node) -> Result<()> {
    let public = from
        .ok("test -e /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; \
                          cat /root/.ssh/id_ed25519.pub")?;
    to.feed("cat >>/root/.ssh/authorized_keys", public.as_bytes())?;
    let host_key = to.ok("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")?;
    from.put("/root/.ssh/known_hosts", format!("{} {host_key}", to.name).as_bytes(), "600", "root")
}

impl Measured {
    fn gap(&self) -> f64 {
        self.pings.longest_gap().1
    }

    fn idle(&self) -> f64 {
        self.pings.median(0.0, self.command).unwrap_or_default()
    }

    fn during(&self) -> f64 {
        self.pings.median(self.command, self.done).unwrap_or_default()
    }

    fn after(&self) -> f64 {
        self.pings.median(self.done, f64::INFINITY).unwrap_or_default()
    }

    fn total(&self) -> f64 {
        self.done - self.command
    }

    fn report(&self) -> Value {
        json!({
            "reboots": self.reboots,
            "sent": self.pings.sent,
            "lost": self.pings.lost(),
            "longest_gap_s": round(self.gap()),
            "total_s": round(self.total()),
            "rtt_idle_ms": round(self.idle()),
            "rtt_during_ms": round(self.during()),
            "rtt_after_ms": round(self.after()),
            "guest_uptime_s": round(self.uptime),
        })
    }

    fn panel(&self) -> Panel {
        let relative = |from: f64, to: f64| (from - self.command, to - self.command);
        let mut bands: Vec<Band> = self
            .spans
            .iter()
            .zip(["#f2b84b", "#7fb77e", "#b39ddb", "#90caf9"].into_iter().cycle())
            .map(|((name, from, to), colour)| Band { name: name.clone(), span: relative(*from, *to), colour })
            .collect();
        let (silent, gap) = self.pings.longest_gap();
        bands.push(Band { name: String::new(), span: relative(silent, silent + gap), colour: "#d32f2f" });
        let guest = if self.reboots == 0 { "the guest runs on" } else { "the guest reboots" };
        let points = self.pings.replies.iter().map(|reply| (reply.at - self.command, reply.rtt)).collect();
        Panel {
            title: self.title.to_string(),
            outcome: format!("{guest}, silent for {:.1} s", self.gap()),
            axis: "round trip, ms".to_string(),
            scale: Scale::Powers,
            bands,
            marks: vec![(0.0, String::new())],
            curves: vec![Curve { name: String::new(), points, style: Style::Dots }],
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn keep(all: &[Measured]) -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/demo");
    std::fs::create_dir_all(&dir)?;
    let report: serde_json::Map<String, Value> =
        all.iter().map(|one| (one.key.to_string(), one.report())).collect();
    std::fs::write(dir.join("report.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    let panels: Vec<Panel> = all.iter().map(Measured::panel).collect();
    std::fs::write(dir.join("handoff.svg"), plot::draw("seconds after the command", &panels))?;
    say(format_args!("plot and figures: {}", dir.display()));
    Ok(())
}

/// What a person reads at the end.
fn table(all: &[Measured]) -> String {
    let mut text = String::from("\nWhat happened when (seconds after the command):\n");
    for one in all {
        text.push_str(&format!("\n  {}\n", one.title));
        for (at, what) in &one.events {
            text.push_str(&format!("  {:8.1}  {what}\n", at - one.command));
        }
    }
    text.push_str("\nWhat x0's users saw (a ping every 10 ms):\n\n");
    let mut row = |name: &str, cell: &dyn Fn(&Measured) -> String| {
        let cells: String = all.iter().map(|one| format!("{:>14}", cell(one))).collect();
        text.push_str(&format!("  {name:<34}{cells}\n"));
    };
    row("", &|one| one.key.to_string());
    row("reboots of the guest", &|one| one.reboots.to_string());
    row("pings sent", &|one| one.pings.sent.to_string());
    row("pings lost", &|one| one.pings.lost().to_string());
    row("longest silence, s", &|one| format!("{:.1}", one.gap()));
    row("from the command to the answer, s", &|one| format!("{:.1}", one.total()));
    row("median round trip before, ms", &|one| format!("{:.1}", one.idle()));
    row("median round trip meanwhile, ms", &|one| format!("{:.1}", one.during()));
    row("median round trip after, ms", &|one| format!("{:.1}", one.after()));
    row("guest's uptime at the end, s", &|one| format!("{:.0}", one.uptime));
    text.push('\n');
    text
}
