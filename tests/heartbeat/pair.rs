//! A Heartbeat cluster on the nodes of a fabric.

use crate::audit;
use crate::fabric::{Fabric, key_pair};
use crate::spawn::{self, Said, until};
use std::path::Path;
use std::time::Duration;

/// Heartbeat itself needs some ten seconds to start, and a machine may be busy.
const STABLE: Duration = Duration::from_secs(120);
const HOST_KEY: &str = "/etc/ssh/node_host_key";
const SCRIPT: &str = "/etc/ha.d/resource.d/xen-handoff";
const MESSAGE: &str = "/etc/ha.d/rc.d/stonith";
/// The stand-in for whatever resets a host, and the names that it goes by.
const RESET: &str = "/usr/sbin/node-reset";
const RESETS: [&str; 7] = ["reboot", "halt", "poweroff", "shutdown", "init", "telinit", "runlevel"];

/// What a test wants to be otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) nodes: &'a [&'a str],
    pub(crate) haresources: &'a str,
    pub(crate) auto_failback: bool,
    /// Heartbeat may cut a node's power.
    pub(crate) fencing: bool,
    /// The configuration of Heartbeat's wrapper for OCF agents, for the instance `x0` of `OCF::Xen`.
    pub(crate) wrapped: Option<&'a str>,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            nodes: &["n1", "n2"],
            haresources: "n1 xen-handoff::x0::/etc/xen/x0.cfg::handoff_timeout=60::timeout=40\n",
            auto_failback: false,
            fencing: false,
            wrapped: None,
        }
    }
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) fabric: Fabric,
    nodes: Vec<String>,
    /// The agents' key pair, and that of the hosts.
    keys: [(String, String); 2],
}

impl Pair {
    /// Its nodes are off.
    pub(crate) fn off(wish: Wish<'_>) -> Self {
        let fabric = Fabric::new(wish.nodes);
        let scratch = fabric.shared();
        let keys = [key_pair(&scratch, "agent-key"), key_pair(&scratch, "host-key")];
        Self { fabric, nodes: wish.nodes.iter().map(|node| (*node).to_owned()).collect(), keys }
    }

    /// Starts it; returns when the first node has the resources.
    pub(crate) fn start(wish: Wish<'_>) -> Self {
        let pair = Self::off(wish);
        for node in wish.nodes {
            pair.power_on(node, wish);
        }
        for node in wish.nodes {
            pair.start_heartbeat(node);
        }
        pair.settles_with_x0_on(wish.nodes[0]);
        pair
    }

    /// Powers a node on, everything installed, Heartbeat not started.
    pub(crate) fn power_on(&self, node: &str, wish: Wish<'_>) {
        self.fabric.power_on(node);
        self.keep_resets_inside(node);
        self.install(node, wish);
    }

    /// Heartbeat answers a stop that fails for good with `reboot -nf`. In a node that must reach nothing but a stand-in, and is
    /// looked at before anything else runs there: the node has its own process numbers (so the system call itself ends
    /// the node at most), no way to a systemd, an init's pipe, the keyboard's magic or a watchdog.
    fn keep_resets_inside(&self, node: &str) {
        self.fabric.put(node, RESET, 0o755, include_str!("node-reset.sh"));
        // By a name of its own and from inside: the names are links that lead out of the node's folder as seen from here.
        for name in
            RESETS.iter().map(|name| format!("/usr/sbin/{name}")).chain(["/usr/bin/systemctl".to_owned()])
        {
            self.fabric.sh(node, &format!("rm -f {name} && ln -s {RESET} {name}"));
        }
        let ours = std::fs::read_link("/proc/self/ns/pid").expect("our process numbers");
        let theirs = self.fabric.sh(node, "readlink /proc/self/ns/pid");
        assert_ne!(ours.to_string_lossy(), theirs.trim(), "{node} has no process numbers of its own");
        for name in RESETS {
            let leads_to = self.fabric.sh(node, &format!("readlink -f /sbin/{name}"));
            assert_eq!(leads_to.trim(), RESET, "{name} on {node}");
        }
        for way_out in ["/run/systemd", "/run/initctl", "/dev/initctl", "/dev/watchdog", "/run/dbus"] {
            assert!(!self.fabric.on(node, &["test", "-e", way_out]).ok(), "{node} has {way_out}");
        }
        self.fabric.sh(node, "f=/proc/sysrq-trigger; [ ! -e $f ] || mount --bind /dev/null $f");
    }

    fn install(&self, node: &str, wish: Wish<'_>) {
        let fabric = &self.fabric;
        let [agent, host] = &self.keys;
        // Xen runs here, whatever the machine's own kernel shows.
        fabric.put(node, "/run/xenstored/socket", 0o600, "");
        let executable = Path::new(env!("CARGO_BIN_EXE_xen-handoff"));
        spawn::copy_executable(executable, &fabric.root(node).join("usr/sbin/xen-handoff"));
        fabric.sh(
            node,
            &format!(
                "cp /keeper.d/xl /usr/sbin/xl && mkdir -p /var/lib/xl-standin/ctl /var/lib/xl-standin/domains /root/.ssh && chmod 700 /root/.ssh &&
                 ln -s /shared/xl-events /var/lib/xl-standin/events && ln -s /usr/sbin/xen-handoff {SCRIPT} && ln -s /usr/sbin/xen-handoff {MESSAGE} &&
                 rm -f /usr/sbin/cibadmin"
            ),
        );
        for name in ["x0", "x1"] {
            let config = format!("name = \"{name}\"\ntype = \"pvh\"\nmemory = 16\n");
            fabric.put(node, &format!("/etc/xen/{name}.cfg"), 0o644, config);
        }
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
        if let Some(config) = wish.wrapped {
            fabric.put(node, "/etc/ha.d/conf/OCF/Xen/x0", 0o644, config);
            // Debian's wrapper looks one folder too deep; this is what the manual tells to do about it.
            let default = "export OCF_AGENTS=/usr/lib/ocf/resource.d\n";
            fabric.put(node, "/etc/default/heartbeat", 0o644, default);
            fabric.sh(
                node,
                "d=/usr/lib/ocf/resource.d/handoff; mkdir -p $d && ln -s /usr/sbin/xen-handoff $d/Xen",
            );
        }
    }

    fn ha_cf(&self, node: &str, wish: Wish<'_>) -> String {
        let on_off = |yes| if yes { "on" } else { "off" };
        let mut text = format!(
            "logfile /var/log/ha-log\ndebugfile /var/log/ha-debug\nlogfacility none\nkeepalive 250ms\nwarntime 2\n\
             deadtime 5\ninitdead 10\nudpport 694\nauto_failback {}\ncrm off\n",
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

    /// `hb_standby all` or `hb_takeover all`, on that node.
    ///
    /// Heartbeat 3.0.6 takes such an order only while nothing moves: one that comes within a message's time of the last
    /// movement's end is heeded by one node and ignored by the other, and then both ignore every other one for an hour.
    pub(crate) fn order(&self, node: &str, tool: &str) {
        self.eventually("Heartbeat moves nothing", || self.is_settled());
        self.fabric.sh(node, &format!("/usr/share/heartbeat/{tool} all"));
    }

    /// Whether Heartbeat moves nothing, as each node that runs it says.
    pub(crate) fn is_settled(&self) -> bool {
        self.nodes.iter().filter(|node| self.fabric.is_up(node)).all(|node| {
            let says = self.fabric.on(node, &["cl_status", "rscstatus"]);
            let idle = ["all", "local", "foreign", "none"].contains(&says.stdout.trim());
            idle || !self.fabric.on(node, &["pidof", "heartbeat"]).ok()
        })
    }

    /// Waits until `x0` runs on that node and nowhere else, and Heartbeat moves nothing.
    pub(crate) fn settles_with_x0_on(&self, node: &str) {
        self.eventually(&format!("x0 runs on {node} alone"), || self.places() == [node]);
        self.eventually("Heartbeat moves nothing", || self.is_settled());
        assert_eq!(self.places(), [node], "{}", self.logs());
    }

    pub(crate) fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        until(STABLE, condition).unwrap_or_else(|_| panic!("not in time: {what}\n{}", self.logs()));
    }

    pub(crate) fn xl(&self, node: &str, words: &[&str]) -> Said {
        let words: Vec<&str> = std::iter::once("xl").chain(words.iter().copied()).collect();
        self.fabric.on(node, &words)
    }

    pub(crate) fn runs_x0(&self, node: &str) -> bool {
        self.runs("x0", node)
    }

    pub(crate) fn runs(&self, domain: &str, node: &str) -> bool {
        self.fabric.is_up(node)
            && self.xl(node, &["list"]).stdout.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.first() == Some(&domain)
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

    /// Whether Heartbeat has asked for that node's power to be cut.
    pub(crate) fn asks_to_fence(&self, node: &str) -> bool {
        self.fabric.shared().join(format!("reset.{node}")).exists()
    }

    /// Cuts the power of the nodes that Heartbeat asked to be reset.
    pub(crate) fn answer_fencing(&self) {
        for node in self.nodes.iter().filter(|node| self.asks_to_fence(node)) {
            self.answer_fencing_of(node);
        }
    }

    pub(crate) fn answer_fencing_of(&self, node: &str) {
        if self.fabric.is_up(node) {
            self.power_off(node);
        }
        let request = self.fabric.shared().join(format!("reset.{node}"));
        std::fs::rename(&request, format!("{}.done", request.display())).expect("answering the request");
    }

    /// Turns a knob of the stand-in toolstack.
    pub(crate) fn knob(&self, node: &str, knob: &str, value: &str) {
        self.fabric.put(node, &format!("/var/lib/xl-standin/ctl/{knob}"), 0o644, value);
    }

    /// How that node was told to reset itself, if it was.
    pub(crate) fn resets(&self, node: &str) -> String {
        let file = self.fabric.shared().join(format!("reset-of-itself.{node}"));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// How often x0 has booted; P1 is audited on the way.
    pub(crate) fn boots(&self) -> usize {
        self.boots_of("x0")
    }

    pub(crate) fn boots_of(&self, domain: &str) -> usize {
        let text = std::fs::read_to_string(self.fabric.shared().join("xl-events")).unwrap_or_default();
        let events = audit::read(&text);
        let two = audit::two_at_once(&events);
        assert!(two.is_empty(), "P1: {two:?}\n{}", self.logs());
        audit::boots(&events, domain).len()
    }

    pub(crate) fn log(&self, node: &str) -> String {
        self.fabric.get(node, crate::keeper::SYSLOG)
    }

    /// What Heartbeat has logged there.
    pub(crate) fn heartbeat_log(&self, node: &str) -> String {
        self.fabric.get(node, "/var/log/ha-log")
    }

    pub(crate) fn logs(&self) -> String {
        self.nodes
            .iter()
            .filter(|node| self.fabric.is_up(node))
            .map(|node| {
                let ours = self.log(node);
                let theirs = self.heartbeat_log(node);
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
