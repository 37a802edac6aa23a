//! `make ansible-check`: the role in `packaging/ansible`, by real Ansible over real ssh, on nodes with real
//! Pacemaker that begin with nothing of ours. The package is a `.deb` of what `make install` lays out;
//! `systemctl` is a stand-in.
//!
//! `cargo test --test pacemaker -- ansible [show]`; `show` prints what Ansible says. Each step begins where
//! the one before it has ended.

use crate::cluster::{Cluster, NODES};
use crate::skip_reason;
use crate::spawn::{command, must, until};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The node that Ansible runs on; it reaches itself by ssh as well.
const FROM: &str = "n1";
const PLAYBOOK: &str = "/root/ansible/playbook.yml";
/// All that the role writes, and what says whether it has.
const TRACES: &str = "cat /root/.ssh/authorized_keys /etc/default/xen-handoff
    cat /etc/xen-handoff/known_hosts /etc/xen-handoff/id_ed25519.pub
    ls /var/cache/xen-handoff* /var/lib/standin-systemctl /usr/sbin/xen-handoff
    dpkg-query --show xen-handoff";
const GUARDED: Duration = Duration::from_secs(20);

type Step = fn(&Play<'_>);

const STEPS: [(&str, Step); 8] = [
    ("a look at new nodes says what would change and changes nothing", look_at_new_nodes),
    ("the first run sets all nodes up, and the check finds them well", first_run),
    ("a second run changes nothing", second_run),
    ("a look at nodes that are set up finds nothing to do", look_at_old_nodes),
    ("a look sees a key that is lost, and leaves it so", look_at_a_lost_key),
    ("a run puts right what is lost, on that node alone", mend),
    ("a changed setting is changed on all nodes and no line is added twice", setting),
    ("what the check finds wrong fails the play", wrong),
];

/// Runs the steps and ends with one line that counts.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let runs = |program: &str, args: &[&str]| {
        command(program).args(args).output().is_ok_and(|said| said.status.success())
    };
    let lacks = [
        (!runs("ansible-playbook", &["--version"])).then_some("no ansible-playbook (Debian: ansible-core)"),
        (!runs("/usr/bin/python3", &["-c", "import apt"])).then_some("no python3-apt"),
    ];
    let lacks = lacks.into_iter().flatten().next().map(str::to_owned);
    if let Some(why) = skip_reason().or(lacks) {
        eprintln!("ansible: skipped, {why}");
        println!("ansible: passed=0 failed=0 skipped={}", STEPS.len());
        return ExitCode::FAILURE;
    }
    let cluster = Cluster::start();
    let play = Play { cluster: &cluster, shows: words.iter().any(|word| word == "show") };
    play.prepare();
    let (mut passed, mut failed) = (0, 0);
    for (name, step) in STEPS {
        let begin = Instant::now();
        let is_passed = catch_unwind(AssertUnwindSafe(|| step(&play))).is_ok();
        let word = if is_passed { "ok" } else { "FAILED" };
        println!("{name} ... {word}, {:.1} s", begin.elapsed().as_secs_f64());
        if !is_passed {
            // The next one would begin with the wrong nodes.
            failed = 1;
            break;
        }
        passed += 1;
    }
    println!("ansible: passed={passed} failed={failed} skipped={}", STEPS.len() - passed - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Play<'a> {
    cluster: &'a Cluster,
    shows: bool,
}

/// What Ansible said, and how many tasks of each node have changed something.
struct Recap {
    is_ok: bool,
    said: String,
    changed: BTreeMap<String, usize>,
}

impl Recap {
    fn of(is_ok: bool, said: String) -> Self {
        let number = |line: &str| line.split("changed=").nth(1)?.split_whitespace().next()?.parse().ok();
        let node = |line: &str| Some((line.split_whitespace().next()?.to_owned(), number(line)?));
        let changed = said.split("PLAY RECAP").nth(1).unwrap_or_default().lines().filter_map(node).collect();
        Self { is_ok, said, changed }
    }

    /// It went well, and this many nodes had something changed.
    fn changes(&self, nodes: &[&str]) {
        let changed = self.changed.iter().filter(|(_, count)| **count > 0);
        let changed: Vec<&str> = changed.map(|(node, _)| node.as_str()).collect();
        assert!(
            self.is_ok && self.changed.len() == NODES.len() && changed == nodes,
            "{changed:?}: {}",
            self.said
        );
    }
}

impl Play<'_> {
    /// Nodes as before the first run: a cluster that fences, sshd, root's key for all of them, nothing of ours.
    fn prepare(&self) {
        let fabric = &self.cluster.fabric;
        self.cluster.enable_fencing();
        self.cluster.settle();
        for node in NODES {
            self.cluster.take_ours_away(node);
            fabric.sh(node, "dpkg --purge --force-all xen-handoff >/dev/null 2>&1 || true");
        }
        let deb = self.package();
        std::fs::copy(&deb, fabric.shared().join("xen-handoff_0.1.0-1_amd64.deb")).expect("the package");
        let role = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/ansible");
        must(command("cp").arg("-r").arg(role).arg(fabric.shared().join("role")));
        fabric.sh(FROM, "cp -r /shared/role /root/ansible");
        fabric.put(FROM, "/root/ansible/inventory", 0o644, format!("[xen_nodes]\n{}\n", NODES.join("\n")));
        fabric.put(
            FROM,
            "/root/ansible/ansible.cfg",
            0o644,
            "[defaults]\nforks = 3\nnocows = true\ninterpreter_python = /usr/bin/python3\n",
        );
    }

    /// What `make install` lays out, as a package.
    fn package(&self) -> std::path::PathBuf {
        let folder = self.cluster.fabric.fresh_folder();
        let tree = folder.join("tree");
        must(command("cp").arg("-a").arg(&self.cluster.agent.tree).arg(&tree));
        std::fs::create_dir(tree.join("DEBIAN")).expect("its folder");
        let control = "Package: xen-handoff\nVersion: 0.1.0-1\nArchitecture: amd64\n\
                       Maintainer: nobody <nobody@localhost>\nDescription: of this test\n";
        std::fs::write(tree.join("DEBIAN/control"), control).expect("its control file");
        if tree.join("etc/default/xen-handoff").exists() {
            std::fs::write(tree.join("DEBIAN/conffiles"), "/etc/default/xen-handoff\n")
                .expect("its settings");
        }
        let deb = folder.join("it.deb");
        must(command("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).args([&tree, &deb]));
        deb
    }

    /// The playbook, with these variables and words.
    fn run(&self, settings: &str, words: &[&str]) -> Recap {
        let vars = format!(
            "{{\"xen_handoff_package\": \"/shared/xen-handoff_0.1.0-1_amd64.deb\", \"xen_handoff_settings\": {settings}}}"
        );
        let mut ansible =
            vec!["env", "LC_ALL=C.UTF-8", "ANSIBLE_CONFIG=/root/ansible/ansible.cfg", "ansible-playbook"];
        ansible.extend(["-i", "/root/ansible/inventory", "-e", &vars, PLAYBOOK]);
        ansible.extend(words);
        let said = self.cluster.fabric.on(FROM, &ansible);
        if self.shows {
            println!("{}{}", said.stdout, said.stderr);
        }
        Recap::of(said.ok(), said.stdout + &said.stderr)
    }

    fn traces(&self) -> Vec<String> {
        NODES.iter().map(|node| self.cluster.fabric.on(node, &["sh", "-c", TRACES]).stdout).collect()
    }
}

const SETTINGS: &str = r#"{"max_outgoing_migrations": "1"}"#;

fn look_at_new_nodes(play: &Play<'_>) {
    let before = play.traces();
    play.run(SETTINGS, &["--check", "--diff"]).changes(&NODES);
    assert_eq!(play.traces(), before);
}

fn first_run(play: &Play<'_>) {
    let recap = play.run(SETTINGS, &[]);
    recap.changes(&NODES);
    let words = recap.said.split_whitespace().collect::<Vec<_>>().join(" ");
    for found in ["authorized all 6 ok", "guard all 3 ok"] {
        assert!(words.contains(found), "no {found}: {}", recap.said);
    }
    let mut keys = Vec::new();
    for (node, traces) in NODES.iter().zip(play.traces()) {
        assert_eq!(traces.matches("xen-handoff serve --peer ").count(), 2, "{node}: {traces}");
        assert_eq!(traces.matches("\nmax_outgoing_migrations=1\n").count(), 1, "{node}: {traces}");
        keys.push(play.cluster.fabric.get(node, "/etc/xen-handoff/id_ed25519"));
        let guard = || play.cluster.fabric.on(node, &["pgrep", "-f", "xen-handoff guard"]).ok();
        until(GUARDED, guard).unwrap_or_else(|_| panic!("no guard runs on {node}"));
    }
    keys.sort();
    keys.dedup();
    assert!(keys.len() == NODES.len() && !keys[0].is_empty(), "a key a node");
    let reached = play.cluster.fabric.on("n2", &["/usr/sbin/xen-handoff", "reach", "--all"]);
    assert!(reached.ok(), "{}{}", reached.stdout, reached.stderr);
}

fn second_run(play: &Play<'_>) {
    let before = play.traces();
    play.run(SETTINGS, &[]).changes(&[]);
    assert_eq!(play.traces(), before);
}

fn look_at_old_nodes(play: &Play<'_>) {
    play.run(SETTINGS, &["--check"]).changes(&[]);
}

fn look_at_a_lost_key(play: &Play<'_>) {
    play.cluster.fabric.sh("n3", "sed -i '/--peer n2/d' /root/.ssh/authorized_keys");
    let before = play.traces();
    let recap = play.run(SETTINGS, &["--check"]);
    recap.changes(&["n3"]);
    assert!(recap.said.contains("n3 would learn: key n2 "), "{}", recap.said);
    assert_eq!(play.traces(), before);
}

fn mend(play: &Play<'_>) {
    play.run(SETTINGS, &[]).changes(&["n3"]);
    assert!(play.cluster.fabric.get("n3", "/root/.ssh/authorized_keys").contains("--peer n2"));
}

fn setting(play: &Play<'_>) {
    let other = r#"{"max_outgoing_migrations": "3"}"#;
    play.run(other, &[]).changes(&NODES);
    for (node, traces) in NODES.iter().zip(play.traces()) {
        assert_eq!(traces.matches("max_outgoing_migrations=").count(), 1, "{node}: {traces}");
    }
    play.run(other, &[]).changes(&[]);
}

fn wrong(play: &Play<'_>) {
    play.cluster.fabric.sh("n2", "chmod 644 /etc/xen-handoff/id_ed25519");
    let recap = play.run(r#"{"max_outgoing_migrations": "3"}"#, &[]);
    assert!(!recap.is_ok && recap.said.contains("id_ed25519 has mode 0644"), "{}", recap.said);
}
