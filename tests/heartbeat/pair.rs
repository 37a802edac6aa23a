//! A Heartbeat cluster on the nodes of a fabric.

use crate::audit;
use crate::fabric::{Fabric, key_pair};
use crate::spawn::{self, Said, until};
use std::path::{Path, PathBuf};
use std::time::Duration;

const STABLE: Duration = Duration::from_secs(60);
const HOST_KEY: &str = "/etc/ssh/node_host_key";
const SCRIPT: &str = "/etc/ha.d/resource.d/xen-handoff";

/// What a test wants to be otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) nodes: &'a [&'a str],
    pub(crate) haresources: &'a str,
    pub(crate) auto_failback: bool,
    /// Heartbeat may cut a node's power.
    pub(crate) fencing: bool,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            nodes: &["n1", "n2"],
            haresources: "n1 xen-handoff::x0::/etc/xen/x0.cfg::handoff_timeout=60::timeout=40\n",
            auto_failback: false,
            fencing: false,
        }
    }
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) fabric: Fabric,
    nodes: Vec<String>,
}

impl Pair {
    /// Starts it; returns when the first node has the resources.
    pub(crate) fn start(wish: Wish<'_>) -> Self {
        let fabric = Fabric::new(wish.nodes);
        let pair = Self { fabric, nodes: wish.nodes.iter().map(|node| (*node).to_owned()).collect() };
        let scratch = pair.fabric.shared();
        let keys = [key_pair(&scratch, "agent-key"), key_pair(&scratch, "host-key")];
        for node in wish.nodes {
            pair.fabric.power_on(node);
            pair.install(node, &keys, wish);
        }
        for node in wish.nodes {
            pair.start_heartbeat(node);
        }
        pair.wait_stable(wish.nodes[0]);
        pair
    }

    fn install(&self, node: &str, keys: &[(String, String); 2], wish: Wish<'_>) {
        let fabric = &self.fabric;
        let [agent, host] = keys;
        spawn::copy_executable(&standin(), &fabric.root(node).join("usr/sbin/xl"));
        let executable = Path::new(env!("CARGO_BIN_EXE_xen-handoff"));
        spawn::copy_executable(executable, &fabric.root(node).join("usr/sbin/xen-handoff"));
        fabric.sh(
            node,
            &format!(
                "mkdir -p /var/lib/xl-standin/ctl /var/lib/xl-standin/domains /root/.ssh && chmod 700 /root/.ssh &&
                 ln -s /shared/xl-events /var/lib/xl-standin/events && ln -s /usr/sbin/xen-handoff {SCRIPT} &&
                 rm -f /usr/sbin/cibadmin"
            ),
        );
        fabric.put(node, "/etc/xen/x0.cfg", 0o644, "name = \"x0\"\ntype = \"pvh\"\nmemory = 16\n");
        let host_key = host.1.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let known: String = self.nodes.iter().map(|name| format!("{name} {host_key}\n")).collect();
        fabric.put(node, "/etc/xen-handoff/id_ed25519", 0o600, &agent.0);
        fabric.put(node, "/etc/xen-handoff/known_hosts", 0o644, known);
        let line = format!("restrict,command=\"/usr/sbin/xen-handoff serve\" {}\n", agent.1.trim());
        fabric.put(node, "/root/.ssh/authorized_keys", 0o600, line);
        fabric.put(node, HOST_KEY, 0o600, &host.0);
        let sshd = "Port 22\nHostKey /etc/ssh/node_host_key\nAuthorizedKeysFile .ssh/authorized_keys\n\
                    PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nUseDNS no\n\
                    PidFile /run/sshd.pid\n";
        fabric.put(node, "/etc/ssh/node_sshd_config", 0o644, sshd);
        fabric.sh(node, "/usr/sbin/sshd -f /etc/ssh/node_sshd_config");
        fabric.put(node, "/etc/ha.d/ha.cf", 0o644, self.ha_cf(node, wish));
        fabric.put(node, "/etc/ha.d/authkeys", 0o600, "auth 1\n1 sha1 not-a-secret\n");
        fabric.put(node, "/etc/ha.d/haresources", 0o644, wish.haresources);
        let plugin = "/usr/lib/stonith/plugins/external/fabric";
        fabric.put(node, plugin, 0o755, include_str!("stonith-plugin.sh"));
    }

    fn ha_cf(&self, node: &str, wish: Wish<'_>) -> String {
        let on_off = |yes| if yes { "on" } else { "off" };
        let mut text = format!(
            "logfile /var/log/ha-log\ndebugfile /var/log/ha-debug\nlogfacility none\nkeepalive 250ms\nwarntime 1\n\
             deadtime 3\ninitdead 6\nudpport 694\nauto_failback {}\ncrm off\n",
            on_off(wish.auto_failback)
        );
        for peer in &self.nodes {
            text.push_str(&format!("node {peer}\n"));
            if peer != node {
                text.push_str(&format!("ucast eth0 {}\n", self.fabric.address(peer)));
                if wish.fencing {
                    text.push_str(&format!("stonith_host {node} external/fabric {peer}\n"));
                }
            }
        }
        text
    }

    pub(crate) fn start_heartbeat(&self, node: &str) {
        self.fabric.sh(node, "/etc/init.d/heartbeat start >/var/log/heartbeat-start 2>&1 </dev/null");
    }

    /// `heartbeat stop`, begun and not waited for.
    pub(crate) fn stop_heartbeat(&self, node: &str) {
        self.fabric.sh(node, "setsid /etc/init.d/heartbeat stop </dev/null >/var/log/heartbeat-stop 2>&1 &");
    }

    pub(crate) fn wait_heartbeat_gone(&self, node: &str) {
        until(STABLE, || !self.fabric.on(node, &["pidof", "heartbeat"]).ok())
            .unwrap_or_else(|_| panic!("heartbeat is still on {node}\n{}", self.logs()));
    }

    /// Waits until the node has its resources, and `x0` runs there.
    pub(crate) fn wait_stable(&self, node: &str) {
        self.eventually(&format!("x0 runs on {node}"), || self.runs_x0(node));
    }

    pub(crate) fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        until(STABLE, condition).unwrap_or_else(|_| panic!("not in time: {what}\n{}", self.logs()));
    }

    pub(crate) fn xl(&self, node: &str, words: &[&str]) -> Said {
        let words: Vec<&str> = std::iter::once("xl").chain(words.iter().copied()).collect();
        self.fabric.on(node, &words)
    }

    pub(crate) fn runs_x0(&self, node: &str) -> bool {
        self.fabric.is_up(node)
            && self.xl(node, &["list"]).stdout.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.first() == Some(&"x0")
                    && matches!(words.get(4), Some(&("-b----" | "r-----" | "------")))
            })
    }

    /// Where x0 runs.
    pub(crate) fn places(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| self.runs_x0(node)).cloned().collect()
    }

    pub(crate) fn power_off(&self, node: &str) {
        self.fabric.power_off(node);
        audit::note_power_off(&self.fabric.shared().join("xl-events"), node);
    }

    /// Cuts the power of the nodes that Heartbeat asked to be reset.
    pub(crate) fn answer_fencing(&self) {
        for node in &self.nodes {
            let request = self.fabric.shared().join(format!("reset.{node}"));
            if request.exists() {
                if self.fabric.is_up(node) {
                    self.power_off(node);
                }
                std::fs::rename(&request, request.with_extension("done")).expect("answering the request");
            }
        }
    }

    /// How often x0 has booted; P1 is audited on the way.
    pub(crate) fn boots(&self) -> usize {
        let text = std::fs::read_to_string(self.fabric.shared().join("xl-events")).unwrap_or_default();
        let events = audit::read(&text);
        let two = audit::two_at_once(&events);
        assert!(two.is_empty(), "P1: {two:?}\n{}", self.logs());
        audit::boots(&events, "x0").len()
    }

    pub(crate) fn log(&self, node: &str) -> String {
        self.fabric.get(node, crate::keeper::SYSLOG)
    }

    pub(crate) fn logs(&self) -> String {
        self.nodes
            .iter()
            .filter(|node| self.fabric.is_up(node))
            .map(|node| {
                let ours = self.log(node);
                let theirs = self.fabric.get(node, "/var/log/ha-log");
                let tail = |text: &str| {
                    text.lines()
                        .rev()
                        .take(40)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev()
                        .collect::<Vec<_>>()
                        .join("\n")
                };
                format!("--- {node}, ours\n{}\n--- {node}, heartbeat's\n{}\n", tail(&ours), tail(&theirs))
            })
            .collect()
    }
}

fn standin() -> PathBuf {
    // Cargo builds the examples of a package along with its tests.
    Path::new(env!("CARGO_BIN_EXE_xen-handoff")).with_file_name("examples").join("xl-standin")
}
