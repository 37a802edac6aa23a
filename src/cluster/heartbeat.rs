//! Classic Heartbeat (3.0.6 is what was read and run), resources from `haresources`.
//!
//! It knows stop and start and nothing between them, and no "disable": a stop is the first half of a move
//! whenever another node is alive. Asked through `cl_status`, which answers during a shutdown too; who the
//! nodes are stands in `ha.cf`; what a domain stands on, in its line of `haresources`. Whom it has fenced it
//! tells once, to [`Fencings`].

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use super::daemons::any_process;
use super::fencing::Fencing;
use super::graph::Loss;
use super::ha_cf::{HA_CF, devices, directives, nodes};
use super::managed::ManagedDomain;
use super::peer_files::PeerFiles;
use super::view::{ClusterError, ClusterView, Destination, Peer, Plan};
use crate::address::Reach;
use crate::at_once::at_once;
use crate::clock::UnixTime;
use crate::command::{self, Tool};
use crate::foreign::Foreign;
use crate::handoff::ledger::Ledger;
use crate::host::{NodeName, Root};
use crate::small_file;

const HARESOURCES: &str = "/etc/ha.d/haresources";
/// Limit of one question. It answers in some hundred milliseconds at most.
const LIMIT: Duration = Duration::from_secs(10);
/// Scripts that a domain does not stand on: an address or a message more or less is nothing to a running
/// guest.
const HARMLESS: [&str; 5] = ["IPaddr", "IPaddr2", "IPsrcaddr", "MailTo", "AudibleAlarm"];
/// The title of Heartbeat's process that stops all resources because the node leaves.
const LEAVING: &str = "hb_signal_giveup_resources";

/// The Heartbeat of this node.
#[derive(Debug)]
pub struct Heartbeat {
    root: Root,
    ledger: PeerFiles,
}

impl Heartbeat {
    /// Whether it is installed and set up below `root`.
    pub fn is_set_up(root: &Root) -> bool {
        root.join(HARESOURCES).is_file() && Tool::find(root, "cl_status").is_ok()
    }

    /// Whether its master process runs on this host. Starts no process.
    pub fn is_running() -> bool {
        any_process(|comm, _| comm == "heartbeat")
    }

    /// The Heartbeat below `root`; the other nodes are reached like that.
    pub fn new(root: &Root, reach: &Reach) -> Self {
        Self { root: root.clone(), ledger: PeerFiles::reached(root, reach) }
    }

    fn read(&self, path: &'static str) -> Result<String, ClusterError> {
        std::fs::read_to_string(self.root.join(path))
            .map_err(|error| ClusterError::Unreadable { tool: path, what: error.to_string() })
    }

    /// Whether Heartbeat hears that node.
    fn is_alive(&self, node: &NodeName, limit: Duration) -> Result<bool, ClusterError> {
        let args = ["nodestatus", node.as_str()];
        let output = command::run(&Tool::find(&self.root, "cl_status")?, &args, None, limit.min(LIMIT))?;
        match output.stdout.trim() {
            "active" | "up" | "ping" => Ok(true),
            "dead" => Ok(false),
            _ if !Self::is_running() => Err(ClusterError::NotRunning),
            other => Err(ClusterError::Unreadable {
                tool: "cl_status",
                what: format!("{node} is {other:?} {}", output.stderr.trim()),
            }),
        }
    }
}

impl Heartbeat {
    /// The same of several nodes, asked at the same time.
    fn are_alive(
        &self,
        nodes: Vec<NodeName>,
        limit: Duration,
    ) -> Vec<(NodeName, Result<bool, ClusterError>)> {
        let failed = || ClusterError::Unreadable {
            tool: "cl_status",
            what: "the thread that asks it failed".to_owned(),
        };
        let answers = at_once(&nodes, |node| self.is_alive(node, limit)).into_iter();
        let answers: Vec<_> = answers.map(|answer| answer.unwrap_or_else(|| Err(failed()))).collect();
        nodes.into_iter().zip(answers).collect()
    }
}

impl ClusterView for Heartbeat {
    fn plan_after_stop(
        &self,
        resource: &str,
        node: &NodeName,
        limit: Duration,
    ) -> Result<Plan, ClusterError> {
        let others: Vec<NodeName> =
            nodes(&self.read(HA_CF)?).into_iter().filter(|peer| peer != node).collect();
        let alive = self.are_alive(others, limit).into_iter();
        let alive: Vec<(NodeName, bool)> =
            alive.map(|(peer, alive)| Ok((peer, alive?))).collect::<Result<_, ClusterError>>()?;
        let survivors: Vec<NodeName> =
            alive.into_iter().filter(|(_, alive)| *alive).map(|(peer, _)| peer).collect();
        let before = before_on_its_line(&self.read(HARESOURCES)?, resource);
        let loss = |resource| Loss { resource, what: "before it on its line of haresources".to_owned() };
        let losing = before.into_iter().map(loss).collect();
        let destination = survivors.first().cloned().map_or(Destination::Nowhere, Destination::Node);
        Ok(Plan { destination, losing, failed: None, survivors, start_takes: None })
    }

    /// Heartbeat plans nothing: where it runs and is not told to go, it takes over what nobody else has.
    fn plan_as_it_is(&self, _resource: &str, _limit: Duration) -> Result<Destination, ClusterError> {
        if !Self::is_running() {
            return Err(ClusterError::NotRunning);
        }
        if self.is_leaving() {
            let what = "it is giving up what it runs here".to_owned();
            return Err(ClusterError::Unreadable { tool: "heartbeat", what });
        }
        Ok(Destination::Node(self.own_name()))
    }

    /// Only a fencing speaks for a node that does not answer. That Heartbeat has a fencing device does not: a
    /// node that is lost while it gives up what it runs is taken over without, since it has announced that it
    /// has nothing before it has begun to stop anything.
    fn peers(&self, me: &NodeName, _resource: &str) -> Result<Vec<Peer>, ClusterError> {
        let fencings = Fencings::of(&self.root);
        let others = nodes(&self.read(HA_CF)?).into_iter().filter(|node| node != me).collect();
        self.are_alive(others, LIMIT)
            .into_iter()
            .map(|(node, online)| {
                let online = online?;
                if online && let Err(error) = fencings.forget(&node) {
                    log::warn!("{node} is back, and its fencing is still noted: {error}");
                }
                let fenced_at = if online { None } else { fencings.at(&node) };
                Ok(Peer { node, online, fenced_at, cleared: false, lost: false })
            })
            .collect()
    }

    fn nodes(&self) -> Result<Vec<NodeName>, ClusterError> {
        Ok(nodes(&self.read(HA_CF)?))
    }

    /// It plans nothing: who is alive is what it says.
    fn check_planner(&self, limit: Duration) -> Result<(), ClusterError> {
        let nodes = nodes(&self.read(HA_CF)?);
        nodes.iter().try_for_each(|node| self.is_alive(node, limit).map(drop))
    }

    fn fence(&self, _node: &NodeName, _limit: Duration) -> Result<(), ClusterError> {
        Err(ClusterError::Unreadable {
            tool: "heartbeat",
            what: "it fences by itself, and not on request".to_owned(),
        })
    }

    /// Its configuration is all that it says of that.
    fn fencing(&self) -> Result<Fencing, ClusterError> {
        let devices = devices(&self.read(HA_CF)?, &self.own_name());
        Ok(if devices.is_empty() { Fencing::Off } else { Fencing::Configured(devices) })
    }

    fn node_attribute(&self, _node: &NodeName, _name: &str) -> Result<Option<String>, ClusterError> {
        Ok(None)
    }

    /// Those of the lines of haresources that call us in our own way.
    fn domains(&self) -> Result<Vec<ManagedDomain>, ClusterError> {
        Ok(on_lines(&self.read(HARESOURCES)?))
    }

    /// Whether it is giving up its resources on this host, or has been told to (`heartbeat -k`, as its init
    /// script calls it).
    fn is_leaving(&self) -> bool {
        any_process(|comm, command_line| {
            let told_to = comm == "heartbeat" && command_line.split('\0').any(|word| word == "-k");
            told_to || command_line.contains(LEAVING)
        })
    }

    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }
}

/// Whom Heartbeat has fenced, as it told this node: `/run/xen-handoff/fenced/NODE`, with the time.
///
/// A note counts until its node can have come back. Whoever is to run a domain anew has all others asked
/// first, or this node told of the offer that he fetches: so all notes go when another node calls
/// ([`Self::forget_all`]). They also go when the node is seen alive, and when it is lost again and not
/// fenced.
#[derive(Debug)]
pub struct Fencings {
    folder: PathBuf,
}

impl Fencings {
    /// The notes of the node below `root`.
    pub fn of(root: &Root) -> Self {
        Self { folder: root.state_folder().join("fenced") }
    }

    /// It has just been fenced.
    ///
    /// # Errors
    /// What the system says.
    pub fn note(&self, node: &NodeName) -> std::io::Result<()> {
        small_file::keep(&self.folder.join(node.as_str()), format!("{}\n", UnixTime::now().0).as_bytes())
    }

    /// When it was fenced, if it can not have come back since.
    pub fn at(&self, node: &NodeName) -> Option<UnixTime> {
        let kept = small_file::kept(&self.folder.join(node.as_str())).ok()??;
        kept.line().ok()?.parse().ok()
    }

    /// It may have come back.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(&self, node: &NodeName) -> std::io::Result<()> {
        gone_is_fine(std::fs::remove_file(self.folder.join(node.as_str())))
    }

    /// Any of them may have come back.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget_all(&self) -> std::io::Result<()> {
        gone_is_fine(std::fs::remove_dir_all(&self.folder))
    }
}

fn gone_is_fine(removed: std::io::Result<()>) -> std::io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// What is started before the domain on its line, and so is stopped after it: it would be taken away under a
/// running guest. A line may go on on the next one, after a backslash.
fn before_on_its_line(haresources: &str, domain: &str) -> Vec<String> {
    let joined = haresources.replace("\\\n", " ");
    directives(&joined)
        .find_map(|words| {
            let at = words.iter().position(|word| domain_of(word) == Some(domain))?;
            let before = words.get(1..at).unwrap_or_default();
            Some(before.iter().filter(|word| !is_harmless(word)).map(|word| (*word).to_owned()).collect())
        })
        .unwrap_or_default()
}

/// The domain, if this is one of ours: by our own script, or by Heartbeat's wrapper for OCF agents.
fn domain_of(word: &str) -> Option<&str> {
    word.strip_prefix("xen-handoff::").or_else(|| word.strip_prefix("OCF::Xen::"))?.split("::").next()
}

fn on_lines(haresources: &str) -> Vec<ManagedDomain> {
    let joined = haresources.replace("\\\n", " ");
    directives(&joined)
        .flatten()
        .filter_map(|word| {
            let mut parts = word.split("::");
            if parts.next() != Some("xen-handoff") {
                return None;
            }
            let resource = parts.next()?.to_owned();
            let mut parameters = BTreeMap::from([("name".to_owned(), resource.clone())]);
            for part in parts {
                let (key, value) = part.split_once('=').unwrap_or(("xmfile", part));
                parameters.insert(key.to_owned(), value.to_owned());
            }
            Some(ManagedDomain { resource, parameters, ..ManagedDomain::default() })
        })
        .collect()
}

fn is_harmless(word: &str) -> bool {
    let script = word.split("::").next().unwrap_or_default();
    let is_address = word.starts_with(|c: char| c.is_ascii_digit());
    // Another domain of ours is no foundation.
    is_address || HARMLESS.contains(&script) || domain_of(word).is_some()
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[
    Foreign { name: "ha.cf", read: |text| drop(nodes(text)) },
    Foreign { name: "haresources", read: |text| drop((before_on_its_line(text, "x0"), on_lines(text))) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_from_ha_cf() {
        let config = "# a comment\nkeepalive 250ms\nnode n1 n2\nnode n3  # the third\n#stonith_host * x\n";
        let names: Vec<_> = nodes(config).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["n1", "n2", "n3"]);
    }

    #[test]
    fn a_fencing_counts_until_its_node_can_have_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let fencings = Fencings::of(&Root::new(folder.path()));
        let [n1, n2] = ["n1", "n2"].map(|name| NodeName::new(name).unwrap());
        fencings.forget_all().unwrap();
        fencings.note(&n1).unwrap();
        fencings.note(&n2).unwrap();
        assert!(fencings.at(&n1).is_some_and(|at| at.age() < Duration::from_secs(60)));
        fencings.forget(&n1).unwrap();
        fencings.forget(&n1).unwrap();
        assert_eq!((fencings.at(&n1), fencings.at(&n2).is_some()), (None, true));
        fencings.forget_all().unwrap();
        assert_eq!(fencings.at(&n2), None);
    }

    #[test]
    fn what_stands_before_the_domain_on_its_line_would_be_taken_away_under_it() {
        let lines = "n1 10.0.0.9/24/eth0 drbddisk::r0 Filesystem::/dev/drbd0::/srv::ext4 \\\n  xen-handoff::x0 xen-handoff::x1 OCF::Xen::x3\n\
                     n2 IPaddr2::10.0.0.8 xen-handoff::x2::/etc/xen/x2.cfg Filesystem::/a::/b\n";
        let before = |domain| before_on_its_line(lines, domain);
        assert_eq!(before("x0"), ["drbddisk::r0", "Filesystem::/dev/drbd0::/srv::ext4"]);
        assert_eq!(before("x1"), before("x0"), "another domain is no foundation");
        assert_eq!(before("x3"), before("x0"), "nor is it where Heartbeat's wrapper calls");
        assert!(before("x2").is_empty(), "what is started after it is stopped before it");
        assert!(before("x9").is_empty());
        let managed: Vec<_> = on_lines(lines).into_iter().map(|domain| domain.resource).collect();
        assert_eq!(managed, ["x0", "x1", "x2"]);
        assert_eq!(on_lines(lines)[2].parameters["xmfile"], "/etc/xen/x2.cfg");
    }
}
