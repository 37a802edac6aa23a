//! What a story is made of: a domain under the cluster's care, what happens to it, and the audits at the end.

use crate::cluster::{Cluster, NODES};
use crate::spawn::{Said, until};
use crate::{audit, pool};
use std::time::Duration;

/// Longest wait for something that the cluster or the agent is to do.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// What is left over may take a moment to go.
const CLEAN: Duration = Duration::from_secs(15);

/// A resource to be. Everything not said is Pacemaker's or the agent's default.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub(crate) name: &'static str,
    agent: (&'static str, &'static str),
    meta: Vec<(&'static str, String)>,
    parameters: Vec<(&'static str, String)>,
    config: String,
    start_timeout: u32,
    stop_timeout: u32,
    migrate_timeout: u32,
    nodes: Vec<&'static str>,
}

impl Domain {
    /// A small domain with our agent, which prefers n1, then n2, then n3.
    pub(crate) fn new(name: &'static str) -> Domain {
        Domain {
            name,
            agent: ("handoff", "Xen"),
            meta: vec![],
            parameters: vec![("xmfile", format!("/etc/xen/{name}.cfg"))],
            config: format!("name = \"{name}\"\ntype = \"pvh\"\nmemory = 128\nvcpus = 1\n"),
            start_timeout: 60,
            stop_timeout: 40,
            migrate_timeout: 60,
            nodes: NODES.to_vec(),
        }
    }

    pub(crate) fn with_agent(mut self, provider: &'static str, kind: &'static str) -> Domain {
        self.agent = (provider, kind);
        self
    }

    pub(crate) fn meta(mut self, name: &'static str, value: &str) -> Domain {
        self.meta.push((name, value.to_owned()));
        self
    }

    pub(crate) fn parameter(mut self, name: &'static str, value: &str) -> Domain {
        self.parameters.push((name, value.to_owned()));
        self
    }

    /// A line of its xl configuration.
    pub(crate) fn config(mut self, line: &str) -> Domain {
        self.config = format!("{}{line}\n", self.config);
        self
    }

    pub(crate) fn start_timeout(mut self, seconds: u32) -> Domain {
        self.start_timeout = seconds;
        self
    }

    pub(crate) fn stop_timeout(mut self, seconds: u32) -> Domain {
        self.stop_timeout = seconds;
        self
    }

    /// Of both migration actions.
    pub(crate) fn migrate_timeout(mut self, seconds: u32) -> Domain {
        self.migrate_timeout = seconds;
        self
    }

    /// The only nodes that it may run on, the best first.
    pub(crate) fn only_on(mut self, nodes: &[&'static str]) -> Domain {
        self.nodes = nodes.to_vec();
        self
    }

    /// Its xl configuration.
    pub(crate) fn configuration(&self) -> &str {
        &self.config
    }

    /// Its `<primitive>`.
    pub(crate) fn primitive(&self) -> String {
        let name = self.name;
        let (provider, kind) = self.agent;
        let pairs = |set: &str, pairs: &[(&str, String)]| -> String {
            pairs
                .iter()
                .map(|(k, v)| format!(r#"<nvpair id="{name}-{set}-{k}" name="{k}" value="{v}"/>"#))
                .collect()
        };
        format!(
            r#"<primitive id="{name}" class="ocf" provider="{provider}" type="{kind}">
 <instance_attributes id="{name}-ia">{}</instance_attributes>
 <meta_attributes id="{name}-ma">{}</meta_attributes>
 <operations>
  <op id="{name}-start" name="start" interval="0" timeout="{}s"/>
  <op id="{name}-stop" name="stop" interval="0" timeout="{}s"/>
  <op id="{name}-monitor" name="monitor" interval="2s" timeout="20s"/>
  <op id="{name}-to" name="migrate_to" interval="0" timeout="{4}s"/>
  <op id="{name}-from" name="migrate_from" interval="0" timeout="{4}s"/>
 </operations></primitive>"#,
            pairs("ia", &self.parameters),
            pairs("ma", &self.meta),
            self.start_timeout,
            self.stop_timeout,
            self.migrate_timeout
        )
    }

    fn constraints(&self, resource: &str) -> Vec<String> {
        NODES
            .iter()
            .map(|node| {
                let score = match self.nodes.iter().position(|n| n == node) {
                    Some(place) => (300 - 100 * place).to_string(),
                    None => "-INFINITY".into(),
                };
                format!(r#"<rsc_location id="at-{resource}-{node}" rsc="{resource}" node="{node}" score="{score}"/>"#)
            })
            .collect()
    }
}

/// One story on the cluster, from a clean slate to the audits.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    pub(crate) cluster: &'a Cluster,
}

impl<'a> Story<'a> {
    pub(crate) fn begin(cluster: &'a Cluster) -> Story<'a> {
        cluster.reset();
        Story { cluster }
    }

    /// Puts the domain's configuration on every node, and nothing else.
    pub(crate) fn given_config(&self, domain: &Domain) {
        for node in NODES {
            self.cluster.fabric.put(node, &format!("/etc/xen/{}.cfg", domain.name), 0o644, &domain.config);
        }
    }

    /// The domain runs on its first node, under the cluster's care.
    pub(crate) fn given(&self, domain: &Domain) {
        self.given_in(domain, &domain.primitive(), domain.name);
    }

    /// The same, inside a larger resource: `resources` is its XML and `placed` the id that is placed.
    pub(crate) fn given_in(&self, domain: &Domain, resources: &str, placed: &str) {
        self.given_config(domain);
        // all at once, so that it does not start on the wrong node first
        let constraints: String = domain.constraints(placed).concat();
        let update = format!(
            "<configuration><resources>{resources}</resources><constraints>{constraints}</constraints></configuration>"
        );
        self.cluster.must(&["cibadmin", "--modify", "--allow-create", "-o", "configuration", "-X", &update]);
        if let Some(first) = domain.nodes.first() {
            self.runs(domain.name, first);
        }
        self.cluster.settle();
    }

    pub(crate) fn standby(&self, node: &str) {
        self.cluster.must(&["crm_standby", "-N", node, "-v", "on"]);
    }

    pub(crate) fn online(&self, node: &str) {
        self.cluster.must(&["crm_standby", "-N", node, "-D"]);
    }

    /// The nodes on which a domain of this very name runs, unpaused.
    pub(crate) fn running_on(&self, name: &str) -> Vec<String> {
        let up = NODES.iter().filter(|n| self.cluster.fabric.is_up(n));
        up.filter(|node| self.state(node, name) == "running").map(|n| (*n).to_owned()).collect()
    }

    /// The stand-in's own word on a domain, past all knobs; empty where it is not.
    pub(crate) fn state(&self, node: &str, name: &str) -> String {
        let mut found = self.cluster.domains(node).into_iter().filter(|(n, _)| n == name);
        found.next().map(|(_, state)| state).unwrap_or_default()
    }

    /// Waits until the domain runs on this node and nowhere else.
    pub(crate) fn runs(&self, name: &str, node: &str) {
        until(SOON, || self.running_on(name) == [node]).unwrap_or_else(|_| {
            panic!("{name} runs on {:?}, not on {node}\n{}", self.running_on(name), self.report())
        });
    }

    /// Waits until it runs nowhere.
    pub(crate) fn runs_nowhere(&self, name: &str) {
        until(SOON, || self.running_on(name).is_empty()).unwrap_or_else(|_| {
            panic!("{name} still runs on {:?}\n{}", self.running_on(name), self.report())
        });
    }

    /// Waits until the agent on a node has logged something with all these words.
    pub(crate) fn logged(&self, node: &str, words: &[&str]) {
        let said = || self.cluster.agent_log(node).lines().any(|line| words.iter().all(|w| line.contains(w)));
        until(SOON, said).unwrap_or_else(|_| panic!("{node} never logged {words:?}\n{}", self.report()));
    }

    /// The phase of the record on a node; empty without one.
    pub(crate) fn record_phase(&self, node: &str, name: &str) -> String {
        phase_of(&self.cluster.fabric.get(node, &format!("/run/xen-handoff/{name}.json")))
    }

    /// Waits until the record on a node is in this phase.
    pub(crate) fn phase(&self, node: &str, name: &str, phase: &str) {
        let record = || self.cluster.fabric.get(node, &format!("/run/xen-handoff/{name}.json"));
        until(SOON, || phase_of(&record()) == phase)
            .unwrap_or_else(|_| panic!("{name} is not {phase} on {node}: {}\n{}", record(), self.report()));
    }

    /// Waits until the cluster remembers a failed action with all these words.
    pub(crate) fn failure(&self, words: &[&str]) {
        let failed = || self.cluster.failures().iter().any(|f| words.iter().all(|w| f.contains(w)));
        until(SOON, failed).unwrap_or_else(|_| {
            panic!("no failure {words:?} in {:?}\n{}", self.cluster.failures(), self.report())
        });
    }

    /// Calls the agent on a node as the cluster does not: by hand, with this environment and nothing else.
    pub(crate) fn by_hand(&self, node: &str, action: &str, environment: &[&str]) -> Said {
        let agent = "/usr/lib/ocf/resource.d/handoff/Xen";
        self.cluster.fabric.on(node, &[&["env", "-i"], environment, &[agent, action]].concat())
    }

    pub(crate) fn events(&self) -> Vec<audit::Event> {
        audit::read(
            &std::fs::read_to_string(self.cluster.fabric.shared().join("xl-events")).unwrap_or_default(),
        )
    }

    /// The story is over: the domain runs where it should, was booted so often, nothing is left over, and never did two
    /// copies run.
    pub(crate) fn end(self, name: &str, on: &[&str], boots: usize) {
        if let [node] = on {
            self.runs(name, node);
        }
        self.cluster.settle();
        assert_eq!(self.running_on(name), on, "where {name} runs\n{}", self.report());
        let mut believed = self.cluster.believed(name);
        believed.dedup();
        assert_eq!(believed, on, "where the cluster believes {name} to be\n{}", self.report());
        self.audit(name, boots);
    }

    /// The audits alone.
    pub(crate) fn audit(&self, name: &str, boots: usize) {
        self.promises(name, boots);
        self.nothing_left(name);
    }

    /// No copy, record, ledger entry or process, in a moment.
    pub(crate) fn nothing_left(&self, name: &str) {
        let mut left = vec![];
        until(CLEAN, || {
            left = self.leftovers(name);
            left.is_empty()
        })
        .unwrap_or_else(|_| panic!("left over: {left:?}\n{}", self.report()));
    }

    /// Never two, and booted so often.
    pub(crate) fn promises(&self, name: &str, boots: usize) {
        let events = self.events();
        assert_eq!(audit::two_at_once(&events), Vec::<String>::new(), "P1\n{}", self.report());
        let booted = audit::boots(&events, name);
        assert_eq!(booted.len(), boots, "boots of {name}: {booted:?}\n{}", self.report());
        if let Some(longest) = audit::gaps(&events, name).last() {
            pool::note(&format!("{name}: {boots} boots, longest gap {longest:.3} s"));
        }
    }

    /// What no finished story leaves behind.
    fn leftovers(&self, name: &str) -> Vec<String> {
        let mut found = vec![];
        for node in NODES.iter().filter(|n| self.cluster.fabric.is_up(n)) {
            let odd = [format!("{name}--incoming"), format!("{name}--migratedaway")];
            let domains = self.cluster.domains(node).into_iter();
            found.extend(domains.filter(|(n, _)| odd.contains(n)).map(|(n, _)| format!("{node}: {n}")));
            let record = self.cluster.fabric.get(node, &format!("/run/xen-handoff/{name}.json"));
            let phase = phase_of(&record);
            if !["", "idle"].contains(&phase.as_str()) {
                found.push(format!("{node}: the record says {phase}"));
            }
            found.extend(self.processes(node));
        }
        found.extend(self.ledger(name));
        found
    }

    /// The ledger's entries for a domain.
    pub(crate) fn ledger(&self, name: &str) -> Vec<String> {
        let values = self.cluster.crm(&["attrd_updater", "-Q", "-A", "-n", &format!("xen-handoff-{name}")]);
        // name="..." host="n2" value="...": the same in every version, unlike its XML, which some have not
        let open = values.stdout.lines().filter_map(|line| {
            let (host, value) = line.split_once("host=\"")?.1.split_once("\" value=\"")?;
            let value = value.trim_end().trim_end_matches('"');
            (!value.is_empty()).then(|| format!("ledger on {host}: {value}"))
        });
        open.collect()
    }

    /// xl, ssh and xen-handoff processes of a node, but not the monitor daemons, which live as long as a domain.
    fn processes(&self, node: &str) -> Vec<String> {
        let proc = self.cluster.fabric.root(node).join("proc");
        let mut found = vec![];
        for entry in std::fs::read_dir(proc).expect("the node's processes").flatten() {
            let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let daemon =
                std::fs::read_link(entry.path().join("fd/1")).is_ok_and(|to| to.starts_with("/var/log/xen"));
            if daemon || !["xl", "ssh", "xen-handoff", "Xen"].contains(&read("comm").trim()) {
                continue;
            }
            let line = read("cmdline").replace('\0', " ").trim_end().to_owned();
            // a recurring monitor may be under way at any moment; the guard is a service, and keeps connections open
            let passing = [" monitor", " guard"].iter().any(|end| line.ends_with(end))
                || ["xl list", "ControlMaster=yes"].iter().any(|words| line.contains(words));
            if !line.is_empty() && !passing {
                found.push(format!("{node}: {line}"));
            }
        }
        found
    }

    /// All that one needs to understand what happened.
    pub(crate) fn report(&self) -> String {
        let events =
            std::fs::read_to_string(self.cluster.fabric.shared().join("xl-events")).unwrap_or_default();
        format!(
            "--- events\n{events}--- failures\n{:#?}\n--- agents\n{}\n--- pacemaker\n{}",
            self.cluster.failures(),
            self.cluster.story_of_logs(),
            self.cluster.story_of_pacemaker()
        )
    }
}

/// The `phase` in a record, wherever it stands; empty without one.
fn phase_of(record: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(record).unwrap_or_default();
    let phase = if json["phase"].is_string() { &json["phase"] } else { &json["state"]["phase"] };
    phase.as_str().unwrap_or_default().to_owned()
}
