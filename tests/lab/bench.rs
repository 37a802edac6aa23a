//! `make bench`: the real `xen-handoff-bench` on the lab. Six ways to deal with a node that leaves, one table; and response times
//! over held memory, of guests under Xen and of the same guests on machines without a hypervisor.
//!
//! All of it is measured from the tester's place on the cluster's network, as an operator's machine would. What is kept:
//! `target/bench/NAME/` of each measurement, `target/bench/rtt.json` with a row for each way, `target/bench/rtt.svg`, and the
//! tables in `doc/results.md`, between marks, with the plots in `doc/plots`. `ARGS=WORD` measures only what has the word in its
//! name, and renews its row; `ARGS=WORD,WORD` what has one of them. What the nodes logged on the way is in `target/lab/NAME/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::agent::Agent;
use crate::audit::two_running;
use crate::demo::let_root_in;
use crate::guest;
use crate::lab::Lab;
use crate::loaded;
use crate::packages;
use crate::qemu::Acceleration;
use crate::story::Scene;
use crate::wait::{say, until};

/// The story's own pings, which only have to be there.
const SELDOM: Duration = Duration::from_secs(2);
/// How long a way is measured, in seconds: a handoff takes up to two minutes under emulation.
const LASTS: u32 = 150;

/// A way to deal with it.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Its folder.
    key: &'static str,
    /// Its name in the table.
    name: &'static str,
    agent: Which,
    /// What is done beforehand.
    prepare: fn(&Scene<'_>) -> Result<()>,
    /// What is done on node1; nothing, if it is empty.
    command: &'static str,
    /// Where x0 runs at the end.
    ends_on: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Ours,
    UnderHeartbeat,
    Stock,
}

/// In the table's order.
const WAYS: [Way; 6] = [
    Way { key: "quiet", name: "no failure", agent: Which::Ours, prepare: nothing, command: "", ends_on: 1 },
    Way {
        key: "stock-stop-start",
        name: "ocf:heartbeat:Xen, stop and start",
        agent: Which::Stock,
        prepare: nothing,
        command: "systemctl stop pacemaker",
        ends_on: 2,
    },
    Way {
        key: "stock-allow-migrate",
        name: "ocf:heartbeat:Xen, allow-migrate",
        agent: Which::Stock,
        prepare: may_migrate,
        command: "systemctl stop pacemaker",
        ends_on: 2,
    },
    Way {
        key: "handoff-pacemaker",
        name: "ocf:handoff:Xen, handoff under Pacemaker",
        agent: Which::Ours,
        prepare: nothing,
        command: "systemctl stop pacemaker",
        ends_on: 2,
    },
    Way {
        key: "handoff-heartbeat",
        name: "xen-handoff, handoff under Heartbeat",
        agent: Which::UnderHeartbeat,
        prepare: nothing,
        command: "/etc/init.d/heartbeat stop",
        ends_on: 2,
    },
    Way {
        key: "bare-xl",
        name: "xl migrate, no cluster",
        agent: Which::Ours,
        prepare: by_hand,
        command: "xl migrate x0 node2",
        ends_on: 2,
    },
];

/// Measures everything whose name has that word in it.
pub(crate) fn run(word: &str) -> Result<()> {
    let mut lab = Lab::open()?;
    let bench = Bench::new(&lab)?;
    for which in [Which::Ours, Which::UnderHeartbeat, Which::Stock] {
        let mut begun = false;
        for way in WAYS.iter().filter(|way| way.agent == which && named(way.key, word)) {
            if !std::mem::replace(&mut begun, true) {
                lab.ready(&which.agent()?)?;
            }
            lab.restore()?;
            say(format_args!("{}: {}", way.key, way.name));
            bench.way(&mut lab, way)?;
        }
    }
    if "memory".contains(word) || word.starts_with("memory") {
        bench.memory(&mut lab, word)?;
    }
    bench.report(&lab)
}

/// Whether one of the words, with commas between them, is in the name.
fn named(key: &str, words: &str) -> bool {
    words.split(',').any(|word| key.contains(word))
}

impl Which {
    fn agent(self) -> Result<Agent> {
        match self {
            Self::Ours => Agent::handoff(),
            Self::UnderHeartbeat => Agent::under_heartbeat(),
            Self::Stock => Ok(Agent::Heartbeat),
        }
    }
}

fn nothing(_: &Scene<'_>) -> Result<()> {
    Ok(())
}

/// The stock agent migrates as root, by ssh between the nodes.
fn may_migrate(scene: &Scene<'_>) -> Result<()> {
    let_root_in(scene.node(1)?, scene.node(2)?)?;
    let_root_in(scene.node(2)?, scene.node(1)?)?;
    scene.meta("allow-migrate", "true")
}

fn by_hand(scene: &Scene<'_>) -> Result<()> {
    scene.node(1)?.ok("crm_attribute -t crm_config -n maintenance-mode -v true")?;
    let_root_in(scene.node(1)?, scene.node(2)?)
}

/// The tool and where its results go.
#[derive(Debug)]
pub(crate) struct Bench {
    tool: PathBuf,
    results: PathBuf,
    /// How its ssh finds the nodes.
    pub(crate) ssh: PathBuf,
}

impl Bench {
    fn new(lab: &Lab) -> Result<Self> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let here = std::env::current_dir()?;
        let ssh = here.join("ssh_config");
        let stanzas: String = lab.nodes.iter().map(|node| node.ssh_stanza(&here)).collect();
        std::fs::write(&ssh, stanzas)?;
        let results = top.join("target/bench");
        std::fs::create_dir_all(&results)?;
        Ok(Self { tool: packages::bench(), results, ssh })
    }

    /// Runs the tool to its end, its progress on our stderr, and returns its table.
    pub(crate) fn tool(&self, args: &[String]) -> Result<String> {
        say(format_args!("xen-handoff-bench {}", args.join(" ")));
        let child =
            Command::new(&self.tool).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "xen-handoff-bench {}: {}", args.join(" "), output.status);
        eprint!("{said}");
        Ok(said)
    }

    /// The folder of a measurement.
    pub(crate) fn folder(&self, key: &str) -> String {
        self.results.join(key).display().to_string()
    }

    fn way(&self, lab: &mut Lab, way: &Way) -> Result<()> {
        let scene = Scene::begin(lab, SELDOM)?;
        (way.prepare)(&scene)?;
        let command = way.command;
        let lasts = if command.is_empty() { LASTS / 3 } else { LASTS };
        let stats = format!("http://{}/stats", guest::ADDRESS);
        let rows = self.results.join("rtt.json").display().to_string();
        let (folder, ssh) = (self.folder(way.key), self.ssh.display().to_string());
        let mut args: Vec<String> = ["rtt", guest::ADDRESS, "--name", way.name, "--out", &folder]
            .into_iter()
            .chain([
                "--stats",
                &stats,
                "--rows",
                &rows,
                "--ssh-config",
                &ssh,
                "--node",
                "node1",
                "--node",
                "node2",
            ])
            .map(str::to_owned)
            .collect();
        args.extend(["--duration".to_owned(), lasts.to_string()]);
        if !command.is_empty() {
            args.extend(["--at", "9s", "--", "ssh", "-F", &ssh, "node1", command].map(str::to_owned));
        }
        self.tool(&args)?;
        until("x0 to run where it belongs", Duration::from_secs(120), || {
            Ok(scene.x0_runs_on(way.ends_on).is_ok().then_some(()))
        })?;
        let wrong = two_running(&scene.audit().timed(scene.lab)?);
        ensure!(wrong.is_empty(), "{}: {}", way.key, wrong.join("; "));
        say(scene.keep_logs(way.key));
        Ok(())
    }

    /// Response times over held memory.
    fn memory(&self, lab: &mut Lab, word: &str) -> Result<()> {
        let wanted = |key: &str| key.contains(word);
        if wanted("memory-plain") {
            loaded::plain(self, lab)?;
        }
        if wanted("memory-xen") || wanted("memory-during") {
            lab.ready(&Agent::handoff()?)?;
        }
        if wanted("memory-xen") {
            lab.restore()?;
            loaded::guest_to_guest(self, lab)?;
        }
        if wanted("memory-during") {
            lab.restore()?;
            let scene = Scene::begin(lab, SELDOM)?;
            loaded::during_a_handoff(self, &scene)?;
        }
        Ok(())
    }

    /// The tables, for the person and for `doc/results.md`.
    fn report(&self, lab: &Lab) -> Result<()> {
        let measured: Vec<String> = WAYS
            .iter()
            .map(|way| self.folder(way.key))
            .filter(|folder| Path::new(folder).join("rtt.json").exists())
            .collect();
        let mut text = String::new();
        if !measured.is_empty() {
            let file = |name: &str| self.results.join(name).display().to_string();
            let args =
                ["compare", "--plot", &file("rtt.svg"), "--bars", &file("ways.svg")].map(str::to_owned);
            text = self.tool(&[args.as_slice(), &measured].concat())?;
        }
        // Never as measured what was not.
        for way in WAYS {
            if !Path::new(&self.folder(way.key)).join("rtt.json").exists() {
                text += &format!("\n{}: not run yet (`make bench ARGS={}`).\n", way.name, way.key);
            }
        }
        self.keep_plots(&doc().parent().context("doc")?.join("plots"))?;
        let mut results = std::fs::read_to_string(doc()).context("reading doc/results.md")?;
        results = with_block(&results, "machine", &machine(lab))?;
        results = with_block(&results, "rtt", &text)?;
        for key in loaded::KEYS {
            let kept = self.results.join(key).join("report.md");
            if let Ok(report) = std::fs::read_to_string(kept) {
                results = with_block(&results, key, &report)?;
            }
        }
        std::fs::write(doc(), results)?;
        say(format_args!(
            "results: {}, tables: doc/results.md, from which `make man` draws the other plots",
            self.results.display()
        ));
        print!("{text}");
        Ok(())
    }

    /// The plots that the documentation shows, but for those that `make man` draws from the tables.
    fn keep_plots(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for (measured, name) in [("memory-during/memory.svg", "memory-during.svg"), ("rtt.svg", "rtt.svg")] {
            let measured = self.results.join(measured);
            if measured.exists() {
                std::fs::copy(&measured, folder.join(name)).with_context(|| format!("copying {name}"))?;
            }
        }
        Ok(())
    }

    /// Keeps a measurement's table beside its figures.
    pub(crate) fn keep(&self, key: &str, table: &str) -> Result<()> {
        // The last line names files of this machine, and so does the way to the nodes.
        let table = table.replace(&format!("ssh -F {} ", self.ssh.display()), "ssh ");
        let lines: Vec<&str> = table.trim().lines().filter(|line| !line.starts_with("files")).collect();
        Ok(std::fs::write(
            self.results.join(key).join("report.md"),
            lines.join("\n").trim().to_owned() + "\n",
        )?)
    }
}

/// What it was measured on.
fn machine(lab: &Lab) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |line: &str| line.split(':').nth(1).map(|value| value.trim().to_owned());
    let models: Vec<String> =
        cpus.lines().filter(|line| line.starts_with("model name")).filter_map(value).collect();
    let model = models.first().cloned().unwrap_or_else(|| "an unnamed processor".to_owned());
    format!(
        "{} processors ({model}); the nodes are QEMU machines of one processor and 1.5 GiB each, by {}.\n",
        models.len(),
        match lab.acceleration() {
            Acceleration::Kvm => "nested virtualisation (KVM)",
            Acceleration::Tcg => "software emulation (TCG)",
        }
    )
}

/// Where the tables are.
pub(crate) fn doc() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/results.md")
}

/// `document` with another text between the marks of that name.
pub(crate) fn with_block(document: &str, name: &str, text: &str) -> Result<String> {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let Some((before, rest)) = document.split_once(&open) else {
        bail!("doc/results.md has no {}", open.trim())
    };
    let Some((_, after)) = rest.split_once(&close) else { bail!("doc/results.md has no {close}") };
    Ok(format!("{before}{open}\n{}\n\n{close}{after}", text.trim()))
}
