//! A real Corosync and Pacemaker cluster on the nodes of a fabric, with the agents and the stand-in toolstack.

use crate::fabric::{Cable, Fabric, key_pair};
use crate::faults::processes::of_role;
use crate::spawn::{self, Said, command, until};
use crate::world::world;
use crate::{keeper, xml};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// A node's ssh host key; one key serves them all.
pub(crate) const HOST_KEY: &str = "/etc/ssh/node_host_key";
/// A mark of a hypervisor, without which a node whose xl fails provably has none.
pub(crate) const XEN_RUNS: &str = "/run/xenstored/socket";
/// Since when a node has kept its ledger, by its own note.
const SINCE: &str = "xen-handoff-since";
const ONLINE: Duration = Duration::from_secs(90);
/// How many join a new cluster at once.
const TOGETHER: usize = 4;
/// How long who orders things may have to be elected: a vote that is not answered by a member which is leaving, or that was lost
/// along with a node, counts as lost after two minutes.
pub(crate) const ELECTED: Duration = Duration::from_secs(150);
const LEAVE: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(60);

/// What every cluster begins with. The 20 s default of dc-deadtime is most of its first start; and on a machine that is busy with
/// something else Pacemaker would do one thing at a time.
const SEED: &str = r#"<crm_config><cluster_property_set id="cib-bootstrap-options">
      <nvpair id="o-dc-deadtime" name="dc-deadtime" value="2s"/>
      <nvpair id="o-load" name="load-threshold" value="10000%"/>
      <nvpair id="o-stonith" name="stonith-enabled" value="false"/>
      <nvpair id="o-quorum" name="no-quorum-policy" value="stop"/>
    </cluster_property_set></crm_config>"#;

/// The cluster: three nodes, all programs installed.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) fabric: Fabric,
    nodes: &'static [&'static str],
    keys: Keys,
    pub(crate) agent: Agent,
    /// Nodes whose pacemaker was told to go.
    leaving: RefCell<BTreeSet<String>>,
    /// Nodes that the cluster had the power switch turn off, since the last reset, in their order.
    fenced: RefCell<Vec<String>>,
    /// Whether the ledger was made to look old.
    aged: RefCell<bool>,
}

#[derive(Debug)]
struct Keys {
    /// Each node's own: the private half, and the public one without its comment.
    agents: BTreeMap<&'static str, (String, String)>,
    root: (String, String),
    host: (String, String),
}

/// The agent under test, as files to put on a node.
#[derive(Debug)]
pub(crate) struct Agent {
    /// A folder laid out as a package would lay it out below `/`.
    pub(crate) tree: PathBuf,
    /// Why there is no agent to test.
    pub(crate) missing: Option<String>,
}

/// Why the agent cannot be tested; `None` when it can.
pub(crate) fn agent_missing() -> Option<String> {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    find_agent(scratch.path()).missing
}

/// Finds the agent: `$XEN_HANDOFF_INSTALL` is the output of `make install DESTDIR=`; without it, the built executable is
/// laid out as that would.
pub(crate) fn find_agent(scratch: &Path) -> Agent {
    let tree = match std::env::var_os("XEN_HANDOFF_INSTALL") {
        Some(tree) => PathBuf::from(tree),
        None => {
            let tree = scratch.join("install");
            let (sbin, agents) = (tree.join("usr/sbin"), tree.join("usr/lib/ocf/resource.d/handoff"));
            std::fs::create_dir_all(&sbin).expect("a folder for the executable");
            std::fs::create_dir_all(&agents).expect("a folder for the agent");
            spawn::copy_executable(Path::new(env!("CARGO_BIN_EXE_xen-handoff")), &sbin.join("xen-handoff"));
            std::os::unix::fs::symlink("../../../../sbin/xen-handoff", agents.join("Xen"))
                .expect("the agent");
            tree
        }
    };
    let said = spawn::run(command(tree.join("usr/lib/ocf/resource.d/handoff/Xen")).arg("meta-data"));
    let missing = (!said.ok() || !said.stdout.contains("<resource-agent"))
        .then(|| format!("the agent under {} has no meta-data (status {})", tree.display(), said.status));
    Agent { tree, missing }
}

/// The first configuration, for the Pacemaker of this world; it writes its own feature set into it.
fn seed() -> String {
    format!(
        "<cib crm_feature_set=\"3.0.0\" validate-with=\"{}\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\">\
         <configuration>{SEED}<nodes/><resources/><constraints/></configuration></cib>\n",
        world().schema()
    )
}

/// Whether a transition graph is whole and has no action.
fn nothing_to_do(graph: &str) -> bool {
    let elements = xml::elements(graph);
    elements.iter().any(|e| e.name == "transition_graph") && !elements.iter().any(|e| e.name == "synapse")
}

fn own_pair(scratch: &Path, node: &str) -> (String, String) {
    let (private, public) = key_pair(scratch, &format!("agent-key-{node}"));
    (private, public.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

impl Cluster {
    /// Powers the nodes on and starts the cluster; returns when all are online.
    pub(crate) fn start() -> Cluster {
        Cluster::start_of(&NODES)
    }

    /// The same of these nodes.
    pub(crate) fn start_of(nodes: &'static [&'static str]) -> Cluster {
        let fabric = Fabric::new(nodes);
        let scratch = fabric.shared();
        let keys = Keys {
            agents: nodes.iter().map(|node| (*node, own_pair(&scratch, node))).collect(),
            root: key_pair(&scratch, "root-key"),
            host: key_pair(&scratch, "host-key"),
        };
        let agent = find_agent(&scratch);
        let cluster = Cluster {
            nodes,
            fabric,
            keys,
            agent,
            leaving: RefCell::default(),
            fenced: RefCell::default(),
            aged: RefCell::default(),
        };
        std::fs::create_dir_all(cluster.fabric.shared().join("ctl")).expect("the test agent's knobs");
        for node in nodes {
            cluster.fabric.power_on(node);
            cluster.install(node);
        }
        for node in nodes {
            cluster.start_corosync(node);
        }
        // Many that join at once elect and elect again.
        for joining in nodes.chunks(TOGETHER) {
            let online =
                nodes.iter().position(|node| Some(node) == joining.last()).map_or(0, |last| last + 1);
            for node in joining {
                cluster.start_pacemaker(node);
            }
            cluster.wait_online(nodes.get(..online).unwrap_or(nodes));
        }
        cluster
    }

    fn install(&self, node: &str) {
        let fabric = &self.fabric;
        fabric.put(node, "/etc/corosync/corosync.conf", 0o644, self.corosync_conf());
        fabric.put(node, "/var/lib/pacemaker/cib/cib.xml", 0o600, seed());
        // What the machine's own kernel shows must not count: Xen runs on every node.
        fabric.put(node, XEN_RUNS, 0o600, "");
        fabric.put(node, "/usr/lib/ocf/resource.d/standin/Probe", 0o755, include_str!("probe-agent.sh"));
        fabric.put(node, "/usr/sbin/fence_fabric", 0o755, include_str!("fence-agent.sh"));
        spawn::must(command("cp").arg("-a").arg(self.agent.tree.join(".")).arg(fabric.root(node)));
        fabric.sh(
            node,
            "cp /keeper.d/xl /usr/sbin/xl; chown hacluster:haclient /var/lib/pacemaker/cib/cib.xml
             mkdir -p /var/lib/xl-standin/ctl /var/lib/xl-standin/domains && ln -s /shared/xl-events /var/lib/xl-standin/events",
        );
        self.install_keys(node);
        self.start_sshd(node);
    }

    /// Takes every file of the agent's away from a node, as a package's removal does.
    pub(crate) fn uninstall(&self, node: &str) {
        let files =
            spawn::must(command("find").arg(&self.agent.tree).args(["!", "-type", "d", "-printf", "/%P\\n"]));
        for file in files.lines() {
            self.fabric.sh(node, &format!("rm -f '{file}'"));
        }
        self.fabric.sh(node, "rmdir /usr/lib/ocf/resource.d/handoff");
    }

    /// A node as it is before its first installation: its sshd has a host key, root may log in elsewhere, and there is
    /// something of `systemctl`.
    pub(crate) fn take_ours_away(&self, node: &str) {
        self.uninstall(node);
        self.fabric.sh(
            node,
            "rm -rf /etc/xen-handoff; sed -i '/xen-handoff serve/d' /root/.ssh/authorized_keys
             ssh-keygen -y -f /etc/ssh/node_host_key >/etc/ssh/ssh_host_ed25519_key.pub",
        );
        self.fabric.put(node, "/usr/bin/systemctl", 0o755, include_str!("systemctl.sh"));
    }

    fn install_keys(&self, node: &str) {
        let fabric = &self.fabric;
        let host = self.keys.host.1.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let known: String =
            self.nodes.iter().map(|n| format!("{n} {host}\n{} {host}\n", fabric.address(n))).collect();
        let others = self.nodes.iter().filter(|other| **other != node);
        let forced: String = others
            .map(|other| {
                let key = &self.keys.agents[other].1;
                format!("restrict,command=\"/usr/sbin/xen-handoff serve --peer {other}\" {key}\n")
            })
            .collect();
        let (private, public) = &self.keys.agents[node];
        fabric.put(node, "/etc/xen-handoff/id_ed25519", 0o600, private);
        fabric.put(node, "/etc/xen-handoff/id_ed25519.pub", 0o644, format!("{public} xen-handoff {node}\n"));
        fabric.put(node, "/etc/xen-handoff/known_hosts", 0o644, &known);
        fabric.put(node, "/root/.ssh/id_ed25519", 0o600, &self.keys.root.0);
        fabric.put(node, "/root/.ssh/known_hosts", 0o600, &known);
        fabric.put(node, "/root/.ssh/authorized_keys", 0o600, forced + &self.keys.root.1);
        fabric.put(node, HOST_KEY, 0o600, &self.keys.host.0);
        let config = "Port 22\nHostKey /etc/ssh/node_host_key\nAuthorizedKeysFile .ssh/authorized_keys\n\
                      PermitRootLogin prohibit-password\nPasswordAuthentication no\n\
                      KbdInteractiveAuthentication no\nUsePAM no\nUseDNS no\nPidFile /run/sshd.pid\n\
                      ClientAliveInterval 2\nClientAliveCountMax 3\nSubsystem sftp internal-sftp\n";
        fabric.put(node, "/etc/ssh/node_sshd_config", 0o644, config);
        fabric.sh(node, "chmod 700 /root/.ssh");
    }

    pub(crate) fn start_sshd(&self, node: &str) {
        self.fabric.sh(node, "/usr/sbin/sshd -f /etc/ssh/node_sshd_config");
    }

    /// Stops the listener and every session.
    pub(crate) fn stop_sshd(&self, node: &str) {
        self.fabric.on(
            node,
            &[
                "sh",
                "-c",
                "for p in $(pidof sshd sshd-session sshd-auth); do kill -9 $p; done; rm -f /run/sshd.pid",
            ],
        );
    }

    fn corosync_conf(&self) -> String {
        let nodes: String = self
            .nodes
            .iter()
            .enumerate()
            .map(|(n, name)| {
                let address = self.fabric.address(name);
                format!("node {{\n name: {name}\n nodeid: {}\n ring0_addr: {address}\n}}\n", n + 1)
            })
            .collect();
        format!(
            "totem {{\n version: 2\n cluster_name: handoff\n transport: knet\n crypto_cipher: none\n \
             crypto_hash: none\n token: 1000\n}}\nnodelist {{\n{nodes}}}\nquorum {{\n provider: corosync_votequorum\n}}\n\
             logging {{\n to_stderr: no\n to_syslog: no\n to_logfile: yes\n \
             logfile: /var/log/corosync/corosync.log\n timestamp: hires\n}}\n"
        )
    }

    fn start_corosync(&self, node: &str) {
        self.fabric.sh(
            node,
            "pidof corosync >/dev/null || corosync
             n=0; until corosync-cfgtool -s >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.05; done",
        );
    }

    /// Starts corosync and pacemaker on a node, without waiting for the cluster.
    pub(crate) fn start_pacemaker(&self, node: &str) {
        self.leaving.borrow_mut().remove(node);
        self.start_corosync(node);
        self.fabric.sh(
            node,
            "export PCMK_debug=no PCMK_logfile=/var/log/pacemaker/pacemaker.log PCMK_logfacility=daemon
             setsid pacemakerd </dev/null >>/var/log/pacemaker/console 2>&1 &",
        );
    }

    /// The service that every node has; without systemd the tests that want it start it.
    pub(crate) fn start_guard(&self, node: &str) {
        if of_role(self, node, "guard").is_empty() {
            self.fabric.sh(node, "setsid /usr/sbin/xen-handoff guard </dev/null >/dev/null 2>&1 &");
        }
    }

    /// Every node has kept its ledger for years, until the next reset.
    pub(crate) fn age_ledger(&self) {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the kernel's boot id");
        let long_ago = format!("v=2;boot={};at=-1000000000", boot.trim());
        for node in self.nodes {
            self.must(&["attrd_updater", "-p", "-n", SINCE, "-N", node, "-U", &long_ago]);
        }
        *self.aged.borrow_mut() = true;
    }

    /// SIGTERM to pacemakerd, as `systemctl stop pacemaker` does; returns at once.
    pub(crate) fn terminate_pacemaker(&self, node: &str) {
        self.fabric.sh(node, "kill -TERM $(pidof pacemakerd)");
        self.leaving.borrow_mut().insert(node.to_owned());
    }

    pub(crate) fn wait_pacemaker_gone(&self, node: &str) {
        until(LEAVE, || !self.fabric.on(node, &["pidof", "pacemakerd"]).ok())
            .unwrap_or_else(|_| panic!("pacemakerd is still on {node}\n{}", self.story_of_logs()));
    }

    /// Waits until every one of `nodes` sees all of them online.
    pub(crate) fn wait_online(&self, nodes: &[&str]) {
        let all_see_all = || {
            nodes.iter().all(|node| {
                let said = self.fabric.on(node, &["crm_mon", "-1", "--output-as=xml"]);
                let elements = xml::elements(&said.stdout);
                let online = |name: &&str| {
                    elements
                        .iter()
                        .any(|e| e.name == "node" && e.get("name") == *name && e.get("online") == "true")
                };
                elements.iter().any(|e| e.name == "current_dc" && e.get("with_quorum") == "true")
                    && nodes.iter().all(online)
            })
        };
        until(ONLINE, all_see_all).unwrap_or_else(|_| panic!("{nodes:?} did not all come online"));
    }

    /// Fencing by the fabric's power switch; whoever waits then must also `answer_fencing`.
    pub(crate) fn enable_fencing(&self) {
        self.create(
            "resources",
            r#"<primitive id="power" class="stonith" type="fence_fabric"><instance_attributes id="power-a">
               <nvpair id="power-list" name="pcmk_host_list" value="n1 n2 n3"/>
               <nvpair id="power-check" name="pcmk_host_check" value="static-list"/>
               </instance_attributes></primitive>"#,
        );
        self.must(&["crm_attribute", "-t", "crm_config", "-n", "stonith-enabled", "-v", "true"]);
    }

    /// Cuts the power of the nodes that the cluster asked to be fenced, and says so. Returns their names.
    pub(crate) fn answer_fencing(&self) -> Vec<String> {
        let power = self.fabric.shared().join("power");
        let asked = |node: &&&str| power.join(format!("request.{node}")).exists();
        let nodes: Vec<String> = NODES.iter().filter(asked).map(|n| (*n).to_owned()).collect();
        for node in &nodes {
            self.power_off(node);
            self.fenced.borrow_mut().push(node.clone());
            std::fs::remove_file(power.join(format!("request.{node}"))).expect("taking the request");
            std::fs::write(power.join(format!("done.{node}")), "").expect("answering the request");
        }
        nodes
    }

    pub(crate) fn was_fenced(&self, node: &str) -> bool {
        self.fenced.borrow().iter().any(|fenced| fenced == node)
    }

    /// Every fencing since the last reset.
    pub(crate) fn fencings(&self) -> Vec<String> {
        self.fenced.borrow().clone()
    }

    /// Powers a node on again; its Pacemaker is not started.
    pub(crate) fn power_on(&self, node: &str) {
        self.fabric.power_on(node);
        self.install(node);
    }

    /// Whether the rest of the cluster counts a node as a member.
    pub(crate) fn is_online(&self, node: &str) -> bool {
        let said = self.ask(&["crm_mon", "-1", "--output-as=xml"]);
        xml::elements(&said.stdout)
            .iter()
            .filter(|e| e.name == "node" && e.get("name") == node)
            .any(|e| e.get("online") == "true" && e.get("pending") != "true")
    }

    /// Cuts a node's power; its domains are gone, and the events say so.
    pub(crate) fn power_off(&self, node: &str) {
        if self.fabric.is_up(node) {
            self.fabric.power_off(node);
            crate::audit::note_power_off(&self.fabric.shared().join("xl-events"), node);
        }
        self.leaving.borrow_mut().remove(node);
    }

    /// The first node whose pacemaker runs.
    pub(crate) fn somebody(&self) -> String {
        self.anybody().expect("a node of the cluster")
    }

    /// One that has a way to the others, if there is any.
    fn anybody(&self) -> Option<String> {
        let mut up: Vec<&str> = self.nodes.iter().copied().filter(|n| self.fabric.is_up(n)).collect();
        up.sort_by_key(|n| self.fabric.is_pulled(n, Cable::Cluster));
        up.into_iter().find(|n| self.fabric.on(n, &["pidof", "pacemaker-controld"]).ok()).map(str::to_owned)
    }

    /// A cluster command on whichever node is in the cluster.
    pub(crate) fn crm(&self, words: &[&str]) -> Said {
        self.fabric.on(&self.somebody(), &[&["timeout", "120"], words].concat())
    }

    /// A question to the cluster, which may have nobody to answer it: `crmadmin` then waits for ever (2.1.5).
    pub(crate) fn ask(&self, words: &[&str]) -> Said {
        self.fabric.on(&self.somebody(), &[&["timeout", "15"], words].concat())
    }

    /// The same, and it must succeed.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        let said = self.crm(words);
        assert!(said.ok(), "{words:?}: {} {}{}", said.status, said.stderr, said.stdout);
        said.stdout
    }

    /// Puts XML into a section of the configuration.
    pub(crate) fn create(&self, section: &str, xml: &str) {
        self.must(&["cibadmin", "--create", "-o", section, "-X", xml]);
    }

    /// Waits until Pacemaker has nothing left to do: the scheduler plans nothing, and the controller is idle.
    /// (`crm_resource --wait` asks the same, but only every two seconds.)
    pub(crate) fn settle(&self) {
        let settled = || {
            self.answer_fencing();
            self.is_settled()
        };
        until(SETTLED, settled).unwrap_or_else(|_| {
            panic!("the cluster does not settle: {:?}\n{}", self.failures(), self.story_of_logs())
        });
    }

    /// Whether it has nothing left to do just now.
    pub(crate) fn is_settled(&self) -> bool {
        // its graph has been the same in every version; what is printed has not
        let plan = self.ask(&["sh", "-c", "crm_simulate -L -S -G /tmp/plan >/dev/null && cat /tmp/plan"]);
        plan.ok()
            && nothing_to_do(&plan.stdout)
            && self.ask(&["crmadmin", "-S", &self.controller()]).stdout.contains("S_IDLE")
    }

    /// Whether its Pacemaker was told to go.
    pub(crate) fn is_leaving(&self, node: &str) -> bool {
        self.leaving.borrow().contains(node)
    }

    /// The designated controller; empty while there is none.
    pub(crate) fn controller(&self) -> String {
        let said = self.ask(&["crmadmin", "-D"]);
        said.stdout.split_whitespace().last().unwrap_or_default().to_owned()
    }

    /// Where the cluster believes a resource to be: nodes with its role, sorted.
    pub(crate) fn believed(&self, resource: &str) -> Vec<String> {
        let mut said = String::new();
        // a node that is about to leave answers no more, and another one has to be asked
        until(SETTLED, || {
            let answer = self.ask(&["crm_mon", "-1", "--output-as=xml"]);
            said.clone_from(&answer.stdout);
            answer.ok()
        })
        .unwrap_or_else(|_| panic!("nobody answers crm_mon: {said}"));
        let me = format!("resource#{resource}");
        let mut nodes: Vec<String> = xml::elements(&said)
            .iter()
            .filter(|e| e.name == "node" && e.path.last() == Some(&me))
            .map(|e| e.get("name").to_owned())
            .collect();
        nodes.sort();
        nodes
    }

    /// The failed actions that the cluster remembers, as `operation_key on node: reason`; none where no cluster is.
    pub(crate) fn failures(&self) -> Vec<String> {
        let Some(node) = self.anybody() else { return vec![] };
        xml::elements(&self.fabric.on(&node, &["crm_mon", "-1", "--output-as=xml"]).stdout)
            .iter()
            .filter(|e| e.name == "failure")
            .map(|e| {
                format!(
                    "{} on {}: {} ({})",
                    e.get("op_key"),
                    e.get("node"),
                    e.get("exitreason"),
                    e.get("exitstatus")
                )
            })
            .collect()
    }

    /// What `xl` says on a node.
    pub(crate) fn xl(&self, node: &str, words: &[&str]) -> Said {
        self.fabric.on(node, &[&["/usr/sbin/xl"], words].concat())
    }

    /// The domains of a node with their states, read from the stand-in's files: no knob stands in the way.
    pub(crate) fn domains(&self, node: &str) -> Vec<(String, String)> {
        let folder = self.fabric.root(node).join("var/lib/xl-standin/domains");
        let mut found = vec![];
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
            let state = match (json["shutdown"].as_str(), json["paused"].as_bool()) {
                (Some(reason), _) => format!("shutdown-{reason}"),
                (None, Some(true)) => "paused".to_owned(),
                (None, _) => "running".to_owned(),
            };
            found.push((json["name"].as_str().unwrap_or_default().to_owned(), state));
        }
        found
    }

    /// Sets a knob of a node's stand-in.
    pub(crate) fn knob(&self, node: &str, name: &str, text: &str) {
        self.fabric.put(node, &format!("/var/lib/xl-standin/ctl/{name}"), 0o644, text);
    }

    pub(crate) fn unset_knob(&self, node: &str, name: &str) {
        self.fabric.sh(node, &format!("rm -f /var/lib/xl-standin/ctl/{name}"));
    }

    /// All that was logged: agent lines of every node, and the end of Pacemaker's own story.
    pub(crate) fn story_of_logs(&self) -> String {
        self.log_lines(|line| line.contains("xen-handoff["))
    }

    /// What Pacemaker's daemons had to say of members, elections, fencing and results.
    pub(crate) fn story_of_pacemaker(&self) -> String {
        const TOLD_BY: [&str; 3] = ["pacemaker-controld[", "pacemaker-fenced[", "pacemaker-schedulerd["];
        self.log_lines(|line| TOLD_BY.iter().any(|daemon| line.contains(daemon)))
    }

    fn log_lines(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut lines: Vec<String> = vec![];
        for node in self.nodes {
            let syslog = self.fabric.syslog(node);
            lines.extend(syslog.lines().filter(|line| wanted(line)).map(|line| {
                let (time, text) = line.split_once(' ').unwrap_or(("", line));
                format!("{time} {node} {text}")
            }));
        }
        lines.sort();
        lines.join("\n")
    }

    /// The agent's log lines of one node.
    pub(crate) fn agent_log(&self, node: &str) -> String {
        let syslog = self.fabric.get(node, keeper::SYSLOG);
        syslog.lines().filter(|l| l.contains("xen-handoff[")).collect::<Vec<_>>().join("\n")
    }

    /// What a story may have spoilt of a node's own: keys, clock, space in /run, processes that went astray.
    fn put_right(&self, node: &str) {
        self.fabric.sh(
            node,
            "rm -f /run/fill /etc/faketimerc /etc/sysconfig/xen-handoff
             mkdir -p /run/xenstored && touch /run/xenstored/socket
             right=/usr/sbin/xen-handoff.right; [ ! -e $right ] || mv $right /usr/sbin/xen-handoff
             for p in $(pidof xen-handoff Xen); do kill -9 $p; done 2>/dev/null; true",
        );
        if self.fabric.get(node, HOST_KEY) != self.keys.host.0 {
            self.stop_sshd(node);
        }
        self.install_keys(node);
    }

    /// Back to three nodes online, an empty configuration, no domain, no knob, empty logs.
    pub(crate) fn reset(&self) {
        self.fenced.borrow_mut().clear();
        for node in NODES {
            self.fabric.forget_lost_log(node);
            if !self.fabric.is_up(node) {
                self.power_on(node);
            }
            self.fabric.heal(node);
            self.put_right(node);
            if self.leaving.borrow_mut().remove(node) {
                self.wait_pacemaker_gone(node);
            }
            // without a domain, the stops that follow are quick
            self.fabric.sh(
                node,
                "cd /var/lib/xl-standin && rm -rf ctl/* held.* && echo 3 >ctl/stream.mib
                 ls domains | while read domain; do xl destroy ${domain%.json}; done",
            );
            if !self.fabric.on(node, &["pidof", "sshd"]).ok() {
                self.start_sshd(node);
            }
            if !self.fabric.on(node, &["pidof", "pacemakerd"]).ok() {
                self.start_pacemaker(node);
            }
        }
        self.wait_online(&NODES);
        if self.aged.take() {
            for node in NODES {
                self.must(&["attrd_updater", "-p", "-n", SINCE, "-N", node, "-D"]);
            }
        }
        let seed = self.fabric.shared().join("seed-config.xml");
        std::fs::write(&seed, SEED).expect("the seed");
        let somebody = self.somebody();
        // constraints before resources: a constraint must not name what is not there
        self.fabric.sh(
            &somebody,
            "set -e
             cibadmin --replace -o constraints -X '<constraints/>'
             cibadmin --replace -o crm_config -x /shared/seed-config.xml
             cibadmin --delete-all --force --xpath '//configuration/nodes/node/instance_attributes'
             cibadmin --delete-all --force --xpath \"//transient_attributes//nvpair[not(starts-with(@name,'#'))]\"
             cibadmin --replace -o resources -X '<resources/>'",
        );
        self.settle();
        for node in NODES {
            self.fabric.sh(
                node,
                "xl list | sed 1,2d | while read name id rest; do xl destroy $id; done
                 rm -rf /run/xen-handoff /var/lib/xl-standin/commands /shared/state /shared/plan
                 : >/var/log/syslog",
            );
        }
        self.fabric.sh(&somebody, "crm_resource --cleanup >/dev/null 2>&1; true");
        self.settle();
        let shared = self.fabric.shared();
        std::fs::write(shared.join("xl-events"), "").expect("emptying the events");
        let _none = std::fs::remove_dir_all(shared.join("ctl"));
        std::fs::create_dir_all(shared.join("ctl")).expect("the test agent's knobs");
    }
}
