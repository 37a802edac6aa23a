//! `make bench-agent`: what the agent's actions cost beside `ocf:heartbeat:Xen` and a bare `xl list NAME`, on the stand-in toolstack
//! here and on a node of the lab (`tests/cost/measure.rs` measures).
//!
//! Kept are `target/bench/agent.json`, a row for each case, agent and place, and the table in `doc/results.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::bench::{doc, with_block};
use crate::lab::Lab;
use crate::process;
use crate::wait::{say, step};

const OURS: &str = "ocf:handoff:Xen";
const STOCK: &str = "ocf:heartbeat:Xen";
const VIRTUAL_DOMAIN: &str = "ocf:heartbeat:VirtualDomain";
/// Its place among the agents, and what it needs to run.
const STOCK_PATH: &str = "/usr/lib/ocf/resource.d/heartbeat/Xen";
const ABSENT: &str = "x9";

/// An action, the domain it is about, and what it answers.
const CASES: [(&str, &str, &str, i32); 4] = [
    ("monitor", "monitor", "x0", 0),
    ("probe of an absent domain", "monitor", ABSENT, 7),
    ("start of a running domain", "start", "x0", 0),
    ("stop of an absent domain", "stop", ABSENT, 0),
];

/// Where everything is at a place.
struct Place<'a> {
    name: &'a str,
    /// Below which the world is.
    root: &'a str,
    ours: String,
    node: &'a str,
    seconds: u32,
}

/// Measures at both places.
pub(crate) fn run() -> Result<()> {
    let mut rows = step("on the stand-in", on_the_standin)?;
    let mut notes = vec![without_virtual_domain("here", Path::new("/usr/bin/virsh").exists())];
    let mut lab = Lab::open()?;
    lab.ready(&Agent::handoff()?)?;
    lab.restore()?;
    let node = lab.node(1)?;
    // Nothing but what is measured, and no monitor of the cluster's in between.
    node.ok("crm_attribute -t crm_config -n maintenance-mode -v true")?;
    let absent = node.ok("cat /etc/xen/x0.cfg")?.replace("x0", ABSENT);
    node.put(&format!("/etc/xen/{ABSENT}.cfg"), absent.as_bytes(), "644", "root")?;
    node.put("/usr/local/sbin/agent-cost", &std::fs::read(program("agent-cost"))?, "755", "root")?;
    let place = Place {
        name: "lab",
        root: "",
        ours: "/usr/lib/ocf/resource.d/handoff/Xen".to_owned(),
        node: "node1",
        seconds: 24,
    };
    let said = step("on node1", || {
        let measuring = node.start(&format!(
            "cat >/tmp/cost.json <<'END'\n{}\nEND\nagent-cost </tmp/cost.json",
            specification(&place)
        ))?;
        let output = measuring.finish(crate::cluster::CHANGE)?;
        eprint!("{}", output.stderr);
        ensure!(output.status.success(), "agent-cost on node1: {}", output.status);
        Ok(output.stdout)
    })?;
    rows.extend(serde_json::from_str::<Vec<Value>>(&said).context("the rows of node1")?);
    notes.push(without_virtual_domain("on the lab", node.run("command -v virsh")?.status.success()));
    keep(&rows, &notes)
}

/// That agent drives Xen through libvirt, which neither place has: a row of it would be made up.
fn without_virtual_domain(place: &str, has_virsh: bool) -> String {
    let why = if has_virsh { "no libvirt daemon with a Xen driver is set up" } else { "no libvirt (virsh)" };
    format!("{VIRTUAL_DOMAIN}: not run {place}: {why}.")
}

/// A built example.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debug/examples").join(name)
}

fn on_the_standin() -> Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    for path in ["usr/sbin", "etc/xen", "run", "var/log/xen", "var/lib/xen-handoff", "agents/handoff"] {
        std::fs::create_dir_all(root.join(path))?;
    }
    let (xl, ours) = (root.join("usr/sbin/xl"), root.join("agents/handoff/Xen"));
    std::fs::copy(program("xl-standin"), &xl)?;
    std::os::unix::fs::symlink(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab/stage/usr/sbin/xen-handoff"),
        &ours,
    )?;
    let config = |name: &str| {
        let path = root.join(format!("etc/xen/{name}.cfg"));
        std::fs::write(&path, format!("name = \"{name}\"\ntype = \"pvh\"\nmemory = 16\n")).map(|()| path)
    };
    let (x0, _) = (config("x0")?, config(ABSENT)?);
    let xl = xl.display().to_string();
    process::run(&xl, &["create", &x0.display().to_string()], crate::node::COMMAND)?;
    let place = Place {
        name: "stand-in",
        root: &root.display().to_string(),
        ours: ours.display().to_string(),
        node: "n1",
        seconds: 4,
    };
    let mut measuring = Command::new(program("agent-cost"));
    measuring.stdin(Stdio::piped());
    let output = process::start(measuring, Some(specification(&place).to_string().into_bytes()))?
        .finish(crate::node::COMMAND);
    // The domain has a daemon.
    process::run(&xl, &["destroy", "x0"], crate::node::COMMAND)?;
    let output = output?;
    eprint!("{}", output.stderr);
    ensure!(output.status.success(), "agent-cost: {}", output.status);
    serde_json::from_str(&output.stdout).context("its rows")
}

fn specification(place: &Place<'_>) -> Value {
    let root = place.root;
    let xl = format!("{root}/usr/sbin/xl");
    let mut cases = Vec::new();
    for (case, action, domain, status) in CASES {
        for (agent, path) in [(OURS, place.ours.as_str()), (STOCK, STOCK_PATH)] {
            let interval = if case == "monitor" { "10000" } else { "0" };
            let mut environment = BTreeMap::from([
                ("OCF_ROOT", "/usr/lib/ocf".to_owned()),
                ("OCF_RESOURCE_INSTANCE", domain.to_owned()),
                ("OCF_RESOURCE_TYPE", "Xen".to_owned()),
                ("OCF_RESOURCE_PROVIDER", agent.split(':').nth(1).unwrap_or_default().to_owned()),
                ("OCF_RESKEY_xmfile", format!("{root}/etc/xen/{domain}.cfg")),
                ("OCF_RESKEY_CRM_meta_interval", interval.to_owned()),
                ("OCF_RESKEY_CRM_meta_timeout", "60000".to_owned()),
                ("OCF_RESKEY_CRM_meta_on_node", place.node.to_owned()),
                ("PATH", format!("{root}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin")),
            ]);
            if !root.is_empty() {
                environment.insert("XEN_HANDOFF_ROOT", root.to_owned());
            }
            cases.push(json!({
                "case": case, "agent": agent, "command": [path, action], "environment": environment, "status": status
            }));
        }
    }
    json!({"where": place.name, "seconds": place.seconds, "xl": [xl, "list", "x0"], "cases": cases})
}

/// The figures, and the table for the person and for `doc/results.md`.
fn keep(rows: &[Value], notes: &[String]) -> Result<()> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/agent.json");
    std::fs::create_dir_all(results.parent().context("a folder")?)?;
    std::fs::write(&results, serde_json::to_string_pretty(rows)? + "\n")?;
    let mut table = "| where | case | agent | wall | middle half | processor | processes | largest, MiB |\n\
                     |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |key: &str| row.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        table += &format!(
            "| {} | {} | `{}` | {:.2} | {:.2} - {:.2} | {:.2} | {} | {:.1} |\n",
            text("where"),
            text("case"),
            text("agent"),
            number("wall_vs_xl"),
            number("wall_from"),
            number("wall_to"),
            number("cpu_vs_xl"),
            number("processes"),
            number("rss_kib") / 1024.0
        );
    }
    let text = format!("{table}\n{}\n", notes.join("\n"));
    let results_of = std::fs::read_to_string(doc())?;
    std::fs::write(doc(), with_block(&results_of, "agent", &text)?)?;
    say(format_args!("results: {}, table: doc/results.md", results.display()));
    print!("{text}");
    Ok(())
}
