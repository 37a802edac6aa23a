//! Pacemaker, through its own command line tools (README, "Support", has the versions that were run).
//!
//! Asked only through tools that work during a node's shutdown: `cibadmin`, `crm_simulate`, `crm_attribute`,
//! `attrd_updater`, `stonith_admin`. Never `crm_mon` about the running cluster: it refuses to talk to a
//! pacemakerd that is shutting down. About a CIB in a file it says what it means, whatever runs.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::adoption::{self, Adoption};
use super::coming;
use super::daemons::pacemakerd_lives;
use super::evacuation::{self, Departure, Place};
use super::fencing::{self, Fencing};
use super::graph::{Graph, Loss};
use super::history;
use super::history::Word;
use super::managed::{self, ManagedDomain};
use super::node_attributes::{self, NodeAttributes};
use super::plan::{self, Said};
use super::scheduler::{Assume, End, Outcome, Scheduler};
use super::view::{ClusterError, ClusterView, Coming, Destination, Peer, Plan};
use super::xml::Element;
use crate::at_once::both;
use crate::clock::{Deadline, UnixTime};
use crate::command::{self, Tool};
use crate::foreign::{Foreign, of_x0};
use crate::handoff::ledger::Ledger;
use crate::host::{NodeName, Root};

/// Limit of one call of a tool that only reads.
const LIMIT: Duration = Duration::from_secs(15);

/// Limit of a command that waits for the cluster.
const ORDER_LIMIT: Duration = Duration::from_secs(120);

/// The Pacemaker of this node.
#[derive(Debug)]
pub struct Pacemaker {
    root: Root,
    ledger: OnceCell<NodeAttributes>,
}

impl Pacemaker {
    /// Whether its tools are installed below `root`.
    pub fn is_installed(root: &Root) -> bool {
        Tool::find(root, "cibadmin").is_ok()
    }

    /// The Pacemaker below `root`.
    pub fn new(root: &Root) -> Self {
        Self { root: root.clone(), ledger: OnceCell::new() }
    }

    fn run(
        &self,
        tool: &str,
        args: &[&str],
        input: Option<&str>,
        limit: Duration,
    ) -> Result<String, ClusterError> {
        Ok(command::run(&Tool::find(&self.root, tool)?, args, input, limit)?.success()?.stdout)
    }

    /// The domains that it manages by the agent `Xen` of this provider.
    ///
    /// # Errors
    /// If that is not known.
    pub fn domains_of(&self, provider: &str) -> Result<Vec<ManagedDomain>, ClusterError> {
        Ok(managed::read(&parsed(&self.cib(LIMIT)?)?, provider))
    }

    /// What is to be changed for the domains of the stock agent to be ours.
    ///
    /// # Errors
    /// If that is not known.
    pub fn adoptions(&self) -> Result<Vec<Adoption>, ClusterError> {
        Ok(adoption::read(&parsed(&self.cib(LIMIT)?)?))
    }

    /// What would become of the domains on `node`, of our agent and of the stock one, if it went into standby
    /// now; in the order in which they would leave.
    ///
    /// # Errors
    /// If that could not be found out.
    pub fn evacuation(&self, node: &NodeName) -> Result<Vec<Departure>, ClusterError> {
        let unreadable = unreadable("crm_simulate");
        let cib = evacuation::with_standby(&self.cib(LIMIT)?, node)
            .ok_or_else(|| unreadable(format!("the cluster has no node {node}")))?;
        let tree = Element::parse(&cib).map_err(unreadable)?;
        let (ours, stock) = (managed::read(&tree, "handoff"), managed::read(&tree, "heartbeat"));
        let all = [ours.clone(), stock].concat();
        let ask = || Scheduler::new(&self.root, Deadline::after(LIMIT));
        let (state, graph) = (ask().state(&cib)?, ask().graph(&cib, None)?);
        evacuation::leaving(&state, &graph, &all, node)
            .into_iter()
            .map(|managed| {
                let assume = Assume { task: "stop", resource: &managed.resource, node };
                let stopped = ask().outcome(&cib, Some(assume), &managed.resource)?;
                let said = Said { once_stopped: &stopped, before: &graph, cib: &tree };
                let plan = plan::read(&said, &managed.resource, node).map_err(unreadable)?;
                let migrates = graph.migrates(&managed.resource, node);
                let is_ours = ours.contains(managed);
                Ok(evacuation::judge(managed, is_ours, migrates, &plan, (&tree, &state, node)))
            })
            .collect()
    }

    /// Where it has each of these resources active just now, by name; none is left out.
    ///
    /// # Errors
    /// If that could not be found out.
    pub fn places(&self, resources: &[String]) -> Result<BTreeMap<String, Place>, ClusterError> {
        let cib = self.cib(LIMIT)?;
        let ask = Scheduler::new(&self.root, Deadline::after(LIMIT));
        let (state, graph) = (ask.state(&cib)?, ask.graph(&cib, None)?);
        Ok(resources.iter().map(|name| (name.clone(), evacuation::place(&state, &graph, name))).collect())
    }

    /// Gives one of its commands, as an operator would.
    ///
    /// # Errors
    /// In its words.
    pub fn order(&self, words: &[String]) -> Result<(), ClusterError> {
        let (tool, args) = words.split_first().ok_or(ClusterError::NotRunning)?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.run(tool, &args, None, ORDER_LIMIT).map(drop)
    }

    /// Whether the agent has never run on this member since it joined, as far as its own notes go: it leaves
    /// one where it has run.
    fn never_had_our_agent(&self, peer: &Peer, resource: &str) -> bool {
        let noted = self.attributes().has_noted(&peer.node, resource);
        peer.online
            && !noted.unwrap_or_else(|why| {
                log::warn!(
                    "node={} whether the agent ever ran there could not be found out: {why}",
                    peer.node
                );
                true
            })
    }

    /// Whether the cluster never looks for the resource on this node: its scheduler would, were it not for
    /// the constraints. They are not read here: rules, patterns, sets and tags say which resources and nodes
    /// they are about, and a half of that proves nothing.
    fn is_never_looked_for(&self, cib: &str, resource: &str, peer: &Peer) -> bool {
        let Some(free) = history::without_constraints(cib) else { return false };
        let scheduler = Scheduler::new(&self.root, Deadline::after(LIMIT));
        let looks = |cib: &str| scheduler.looks_for(cib, resource, &peer.node, !peer.online);
        // Where it would not look in any case (probes are switched off, a node that is pending), nothing was
        // said.
        let asked = looks(cib).and_then(|looks_now| Ok(!looks_now && looks(&free)?));
        asked.unwrap_or_else(|error| {
            log::warn!(
                "node={} whether {resource} is looked for there could not be found out: {error}",
                peer.node
            );
            false
        })
    }

    /// What comes next by this CIB.
    fn coming_by(&self, text: &str, deadline: Deadline) -> Result<Vec<Coming>, ClusterError> {
        let cib = parsed(text)?;
        let managed = managed::read(&cib, "handoff");
        if managed.is_empty() {
            return Ok(Vec::new());
        }
        let ask = Scheduler::new(&self.root, deadline);
        let (state, graph) = (ask.state(text)?, ask.graph(text, None)?);
        coming::read(&state, &graph, &cib, managed).map_err(unreadable("crm_simulate"))
    }

    fn attributes(&self) -> &NodeAttributes {
        self.ledger.get_or_init(|| NodeAttributes::new(&self.root))
    }

    fn cib(&self, limit: Duration) -> Result<String, ClusterError> {
        self.run("cibadmin", &["--query"], None, limit)
            .map_err(|error| if pacemakerd_lives() { error } else { ClusterError::NotRunning })
    }
}

impl ClusterView for Pacemaker {
    fn plan_after_stop(
        &self,
        resource: &str,
        node: &NodeName,
        limit: Duration,
    ) -> Result<Plan, ClusterError> {
        let deadline = Deadline::after(limit);
        // One snapshot for all questions, rather than crm_simulate's own look at a CIB that may have moved
        // on.
        let text = self.cib(limit)?;
        let cib = parsed(&text)?;
        let ask = Scheduler::new(&self.root, deadline);
        // Neither needs the other's answer.
        let (before, stopped) = both(
            || ask.graph(&text, Some(Assume { task: "start", resource, node })),
            || ask.outcome(&text, Some(Assume { task: "stop", resource, node }), resource),
        );
        let (stopped, before) = (stopped?, before.ok_or_else(unasked)??);
        let said = Said { once_stopped: &stopped, before: &before, cib: &cib };
        plan::read(&said, resource, node).map_err(unreadable("crm_simulate"))
    }

    fn plan_as_it_is(&self, resource: &str, limit: Duration) -> Result<Destination, ClusterError> {
        let deadline = Deadline::after(limit);
        let text = self.cib(limit)?;
        let cib = parsed(&text)?;
        let outcome = Scheduler::new(&self.root, deadline).outcome(&text, None, resource)?;
        let destination = plan::anywhere(&outcome.end, resource).map_err(unreadable("crm_simulate"))?;
        if destination == Destination::Nowhere
            // Another part of the cluster may start it yet.
            && let Some(node) = unaccounted(&cib).map_err(unreadable("cibadmin"))?
        {
            return Err(unreadable("cibadmin")(format!(
                "{node} is no member, and nothing says that it is off"
            )));
        }
        Ok(destination)
    }

    fn coming(&self, limit: Duration) -> Result<Vec<Coming>, ClusterError> {
        let deadline = Deadline::after(limit);
        self.coming_by(&self.cib(limit)?, deadline)
    }

    fn peers(&self, me: &NodeName, resource: &str) -> Result<Vec<Peer>, ClusterError> {
        let text = self.cib(LIMIT)?;
        let cib = parsed(&text)?;
        let mut peers = Vec::new();
        for (mut peer, word) in read_peers(&cib, me, resource).map_err(unreadable("cibadmin"))? {
            peer.cleared = match word {
                Word::NotThere => true,
                Word::MayBeThere => false,
                Word::NoAgent => self.never_had_our_agent(&peer, resource),
                Word::Nothing => self.is_never_looked_for(&text, resource, &peer),
            };
            peers.push(peer);
        }
        for peer in peers.iter_mut().filter(|peer| !peer.online && history::stayed_away(&cib, &peer.node)) {
            // Without --verbose it keeps one fencing of a node, and not the last one (seen with 2.1.5).
            let args = ["--history", peer.node.as_str(), "--verbose", "--output-as=xml"];
            let history = self.run("stonith_admin", &args, None, LIMIT);
            peer.fenced_at = match history {
                Ok(xml) => last_fencing(&xml, &peer.node),
                Err(error) => {
                    log::warn!("node={} cannot ask whether it was fenced: {error}", peer.node);
                    None
                }
            };
        }
        Ok(peers)
    }

    fn nodes(&self) -> Result<Vec<NodeName>, ClusterError> {
        let unreadable = unreadable("cibadmin");
        let cib = parsed(&self.cib(LIMIT)?)?;
        let hosts = history::hosts(&cib).map_err(unreadable)?;
        hosts
            .into_iter()
            .map(|host| NodeName::new(host).map_err(|error| unreadable(error.to_string())))
            .collect()
    }

    fn check_planner(&self, limit: Duration) -> Result<(), ClusterError> {
        let text = self.cib(limit)?;
        Scheduler::new(&self.root, Deadline::after(limit)).carried_out(&text, None).map(drop)
    }

    fn fence(&self, node: &NodeName, limit: Duration) -> Result<(), ClusterError> {
        let seconds = limit.as_secs().max(1).to_string();
        let args = ["--reboot", node.as_str(), "--timeout", &seconds, "--tag", "xen-handoff"];
        // Its own limit, and time to say that it has passed.
        self.run("stonith_admin", &args, None, limit.saturating_add(Duration::from_secs(5))).map(drop)
    }

    fn fencing(&self) -> Result<Fencing, ClusterError> {
        let text = self.cib(LIMIT)?;
        let state = Scheduler::new(&self.root, Deadline::after(LIMIT)).state(&text)?;
        fencing::read(&state, &parsed(&text)?).map_err(unreadable("crm_mon"))
    }

    fn node_attribute(&self, node: &NodeName, name: &str) -> Result<Option<String>, ClusterError> {
        let args = [
            "--type",
            "nodes",
            "--node",
            node.as_str(),
            "--name",
            name,
            "--query",
            "--quiet",
            "--default",
            "",
        ];
        let value = self.run("crm_attribute", &args, None, LIMIT)?;
        Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    fn set_utilization(&self, resource: &str, attribute: &str, value: u64) -> Result<(), ClusterError> {
        let value = value.to_string();
        let of = ["--resource", resource, "--utilization"];
        let has = self.run("crm_resource", &[&of[..], &["--get-parameter", attribute]].concat(), None, LIMIT);
        // It is an error there to have none.
        if has.is_ok_and(|has| has.trim() == value) {
            return Ok(());
        }
        let set = ["--set-parameter", attribute, "--parameter-value", &value];
        self.run("crm_resource", &[&of[..], &set].concat(), None, LIMIT).map(drop)
    }

    fn migrates(&self) -> bool {
        true
    }

    fn own_name(&self) -> NodeName {
        node_attributes::own_name(&self.root)
    }

    fn domains(&self) -> Result<Vec<ManagedDomain>, ClusterError> {
        self.domains_of("handoff")
    }

    fn ledger(&self) -> &dyn Ledger {
        self.attributes()
    }
}

/// Every host but `me`, whether it is a member, and what the history says of the resource there. None is
/// cleared yet.
fn read_peers(cib: &Element, me: &NodeName, resource: &str) -> Result<Vec<(Peer, Word)>, String> {
    let status = cib.child("status").ok_or("no status")?;
    history::hosts(cib)?
        .into_iter()
        .filter(|host| *host != me.as_str())
        .map(|host| {
            let online = status
                .every("node_state")
                .find(|state| state.get("uname") == Some(host))
                .is_some_and(history::is_online);
            let node = NodeName::new(host).map_err(|error| error.to_string())?;
            let lost = !online && history::is_expected(cib, &node);
            let word = history::word(cib, resource, &node, online);
            Ok((Peer { node, online, fenced_at: None, cleared: false, lost }, word))
        })
        .collect()
}

/// What becomes of a reader's word for what is wrong with what this tool said.
fn unreadable(tool: &'static str) -> impl Fn(String) -> ClusterError + Copy {
    move |what| ClusterError::Unreadable { tool, what }
}

/// The CIB that `cibadmin` has printed.
fn parsed(cib: &str) -> Result<Element, ClusterError> {
    Element::parse(cib).map_err(unreadable("cibadmin"))
}

fn unasked() -> ClusterError {
    unreadable("crm_simulate")("the thread that asks it failed".to_owned())
}

/// The first node that is no member and has neither left in order nor been fenced, as far as this CIB says.
fn unaccounted(cib: &Element) -> Result<Option<String>, String> {
    let nodes = cib.at(&["configuration", "nodes"]).ok_or("no nodes")?;
    let status = cib.child("status").ok_or("no status")?;
    let accounted = |name: &str| {
        let state = status.every("node_state").find(|state| state.get("uname") == Some(name));
        state.is_some_and(|state| history::is_online(state) || state.get("expected") == Some("down"))
    };
    let mut names = nodes.every("node").filter_map(|node| node.get("uname"));
    Ok(names.find(|name| !accounted(name)).map(str::to_owned))
}

/// When `node` was last fenced with success, by the fencer's clock.
fn last_fencing(history: &str, node: &NodeName) -> Option<UnixTime> {
    Element::parse(history)
        .ok()?
        .every("fence_event")
        .filter(|event| {
            event.get("target") == Some(node.as_str())
                && event.get("status") == Some("success")
                && matches!(event.get("action"), Some("reboot" | "off"))
        })
        .filter_map(|event| parse_time(event.get("completed")?))
        .max()
}

/// `2026-11-22 10:41:07Z`, with or without fraction and offset (`+01:00`, `+0100`).
fn parse_time(text: &str) -> Option<UnixTime> {
    let (date, rest) = text.trim().split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-');
    let date = time::Date::from_calendar_date(
        date.next()?.parse().ok()?,
        date.next()?.parse::<u8>().ok()?.try_into().ok()?,
        date.next()?.parse().ok()?,
    )
    .ok()?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let mut clock = clock.splitn(3, ':').map(str::parse::<u8>);
    let local = date.with_hms(clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?).ok()?;
    let offset = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()).trim();
    let seconds = match offset {
        "" | "Z" => 0,
        signed => {
            let sign = if signed.starts_with('-') { -1 } else { 1 };
            let digits: String = signed.chars().filter(char::is_ascii_digit).collect();
            let (hours, minutes) = digits.split_at_checked(2)?;
            let minutes = minutes.get(..2).and_then(|minutes| minutes.parse::<i64>().ok()).unwrap_or(0);
            sign * (hours.parse::<i64>().ok()? * 3600 + minutes * 60)
        }
    };
    u64::try_from(local.assume_utc().unix_timestamp() - seconds).ok()?.try_into().ok()
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[
    Foreign { name: "the CIB", read: |text| of_x0(|_, n1| read_cib(text, n1)) },
    Foreign {
        name: "crm_mon",
        read: |text| {
            of_x0(|_, n1| {
                if let Ok(state) = Element::parse(text) {
                    let end = End::As(state.clone());
                    let _ = (plan::destination(&end, "x0", n1), plan::anywhere(&end, "x0"));
                    let _ = evacuation::place(&state, &Graph::default(), "x0");
                    let _ = super::blame::of_no_place(&state, &state, "x0", "n1");
                    let _ = fencing::read(&state, &state);
                }
            });
        },
    },
    Foreign {
        name: "crm_simulate's graph",
        read: |text| {
            of_x0(|_, n1| {
                if let Ok(graph) = Graph::parse(text) {
                    let _ = (graph.probes("x0", n1), graph.first_touches("x0"), graph.starts("x0"));
                    let _ = graph.only_starts("x0");
                    let _ = (graph.lost_after("x0", n1), graph.lost_beside("x0", n1));
                }
            });
        },
    },
    Foreign {
        name: "stonith_admin's history",
        read: |text| of_x0(|_, n1| _ = (last_fencing(text, n1), parse_time(text))),
    },
];

fn read_cib(text: &str, n1: &NodeName) {
    let _ = (history::without_constraints(text), evacuation::with_standby(text, n1));
    let Ok(cib) = Element::parse(text) else { return };
    let _ = (read_peers(&cib, n1, "x0"), unaccounted(&cib), history::failed_guest(&cib, "x0", n1));
    let _ = (history::stayed_away(&cib, n1), adoption::read(&cib), managed::read(&cib, "handoff"));
    let graph = Graph::default();
    let stopped = Outcome { graph: graph.clone(), end: End::As(cib.clone()) };
    let said = Said { once_stopped: &stopped, before: &graph, cib: &cib };
    let _ = plan::read(&said, "x0", n1);
    let losing = [Loss { resource: "r1".to_owned(), what: "stop".to_owned() }];
    let _ = super::blame::of_losing(&cib, "x0", &losing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_fencer_are_read_with_their_offset() {
        assert_eq!(parse_time("1970-01-01 00:00:00Z"), Some(UnixTime(0)));
        assert_eq!(parse_time("2026-11-22 10:41:07.123456Z"), Some(UnixTime(1_795_344_067)));
        assert_eq!(parse_time("2026-11-22 11:41:07 +01:00"), Some(UnixTime(1_795_344_067)));
        assert_eq!(parse_time("2024-02-29 12:00:00 +0000"), Some(UnixTime(1_709_208_000)));
        assert_eq!(parse_time("yesterday"), None);
        assert_eq!(
            parse_time("2026-11-22 10:41:07 +00999999999999999999"),
            parse_time("2026-11-22 10:41:07 +0099"),
            "no number is too long"
        );
    }

    #[test]
    fn every_configured_node_is_a_peer_whether_it_is_there_or_not() {
        let cib = r#"<cib><configuration><nodes><node uname="n1"/><node uname="n2"/><node uname="n3"/></nodes>
            </configuration><status><node_state uname="n2" in_ccm="true" crmd="online"/>
            <node_state uname="n3" in_ccm="false" crmd="offline"/></status></cib>"#;
        let cib = Element::parse(cib).unwrap();
        let peers = read_peers(&cib, &NodeName::new("n1").unwrap(), "x0").unwrap();
        let seen: Vec<_> = peers.iter().map(|(peer, _)| (peer.node.as_str(), peer.online)).collect();
        assert_eq!(seen, [("n2", true), ("n3", false)]);
    }

    #[test]
    fn a_node_that_is_neither_a_member_nor_known_to_be_off_may_be_anywhere() {
        let cib = |state: &str| {
            let text = format!(
                r#"<cib><configuration><nodes><node uname="n1"/><node uname="n2"/></nodes></configuration><status>
                <node_state uname="n1" in_ccm="true" crmd="online"/>{state}</status></cib>"#
            );
            unaccounted(&Element::parse(&text).unwrap()).unwrap()
        };
        let state = |more: &str| format!(r#"<node_state uname="n2" {more}/>"#);
        assert_eq!(cib(&state(r#"in_ccm="true" crmd="online" expected="member""#)), None);
        assert_eq!(cib(&state(r#"in_ccm="false" crmd="offline" expected="down""#)), None);
        for unknown in [state(r#"in_ccm="false" crmd="offline" expected="member""#), String::new()] {
            assert_eq!(cib(&unknown).as_deref(), Some("n2"), "{unknown}");
        }
    }

    #[test]
    fn a_remote_node_is_a_peer_that_is_up_without_a_controller() {
        let cib = r#"<cib><configuration><nodes><node uname="n1"/></nodes></configuration><status>
            <node_state uname="r1" remote_node="true" in_ccm="true"/></status></cib>"#;
        let peers = read_peers(&Element::parse(cib).unwrap(), &NodeName::new("n1").unwrap(), "x0").unwrap();
        assert_eq!(peers.len(), 1);
        assert!(peers[0].0.online && peers[0].1 == Word::Nothing);
    }

    /// That of this machine, where its scheduler can be asked.
    fn installed() -> Option<Pacemaker> {
        let root = Root::default();
        let found = Tool::find(&root, "crm_simulate");
        found.inspect_err(|why| println!("skipped: {why}")).ok().map(|_| Pacemaker::new(&root))
    }

    /// Real `crm_simulate`, where it is installed; see `tests/captured/field/README.md`.
    #[test]
    fn where_a_resource_is_never_looked_for_is_the_schedulers_word_by_rule_and_by_pattern() {
        let Some(pacemaker) = installed() else { return };
        let field = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/field");
            std::fs::read_to_string(format!("{folder}/{name}.xml")).unwrap()
        };
        let never = |cib: &str, who: &str, online: bool| {
            let node = NodeName::new(who).unwrap();
            let peer = Peer { node, online, fenced_at: None, cleared: false, lost: false };
            pacemaker.is_never_looked_for(cib, "x0", &peer)
        };
        let rule = field("disc-rule");
        assert!(never(&rule, "arbiter", true) && never(&field("disc-pattern"), "arbiter", true));
        let off = rule.replace(
            r#"uname="arbiter" in_ccm="true" crmd="online" crm-debug-origin="x" join="member" expected="member""#,
            r#"uname="arbiter" in_ccm="false" crmd="offline" crm-debug-origin="x" join="down" expected="down""#,
        );
        assert!(off != rule && never(&off, "arbiter", false), "it is off");
        // The same constraint for another node, or another resource, and probes that are switched off.
        assert!(!never(&rule.replace("quorum\"/></rule>", "other\"/></rule>"), "arbiter", true));
        assert!(!never(&field("disc-pattern").replace("x[0-9]+", "y[0-9]+"), "arbiter", true));
        let option = r#"<nvpair id="o3" name="enable-startup-probes" value="false"/></cluster_property_set>"#;
        let no_probes = rule.replace("</cluster_property_set>", option);
        assert!(no_probes != rule && !never(&no_probes, "arbiter", true));
    }

    /// Real `crm_simulate` and `crm_mon`, where they are installed, on the CIBs of real stops.
    #[test]
    fn what_comes_next_is_the_schedulers_word() {
        let Some(pacemaker) = installed() else { return };
        let coming = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/pacemaker-2.1.5");
            let cib = std::fs::read_to_string(format!("{folder}/{name}.cib.xml")).unwrap();
            // The resource that was stopped, as one of ours.
            let ours = r#"<primitive id="vm" class="ocf" provider="handoff" type="Xen""#;
            let cib = cib.replace(r#"<primitive id="vm" class="ocf" provider="standin" type="Probe""#, ours);
            let all = pacemaker.coming_by(&cib, Deadline::after(LIMIT)).unwrap();
            let said = |coming: &Coming| {
                let to = coming.to.as_ref().map_or("nowhere", NodeName::as_str);
                format!("{} > {to}, {:?} {}", coming.from, coming.fate, coming.because).trim().to_owned()
            };
            all.iter().map(said).collect::<Vec<_>>()
        };
        assert_eq!(coming("04-standby"), ["n1 > n2, Moves"]);
        assert_eq!(coming("01-disable"), ["n1 > nowhere, Stops target-role=Stopped"]);
        assert_eq!(coming("12-stop-all-resources"), ["n1 > nowhere, Stops stop-all-resources is set"]);
        assert_eq!(coming("23-quorum-lost"), ["n1 > nowhere, Stops the cluster has no quorum"]);
        assert!(coming("15-group-member")[0].starts_with("n1 > n2, Reboots it depends on base (stop)"));
        assert_eq!(coming("cib--three-nodes-idle"), Vec::<String>::new());
    }

    #[test]
    fn only_a_fencing_that_succeeded_counts() {
        let history = r#"<r><fence_history><fence_event action="reboot" target="n1" status="failed"
            completed="2026-11-22 10:41:08Z"/><fence_event action="reboot" target="n1" status="success"
            completed="2026-11-22 10:41:07Z"/><fence_event action="on" target="n1" status="success"
            completed="2026-11-22 10:41:09Z"/></fence_history></r>"#;
        assert_eq!(last_fencing(history, &NodeName::new("n1").unwrap()), Some(UnixTime(1_795_344_067)));
        assert_eq!(last_fencing(history, &NodeName::new("n2").unwrap()), None);
    }
}
