//! Classic Heartbeat (3.0.6 is what was read and run), resources from `haresources`.
//!
//! It knows stop and start and nothing between them, and no "disable": a stop is the first half of a move whenever another
//! node is alive. Asked through `cl_status`, which answers during a shutdown too; who the nodes are, and whether there
//! is fencing, stands in `ha.cf`; what a domain stands on, in its line of `haresources`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::managed::ManagedDomain;
use super::peer_files::PeerFiles;
use super::{ClusterError, ClusterView, Destination, Peer, Plan};
use crate::command::{self, Tool};
use crate::handoff::ledger::Ledger;
use crate::host::{NodeName, Root};

pub(super) const HA_CF: &str = "/etc/ha.d/ha.cf";
const HARESOURCES: &str = "/etc/ha.d/haresources";
/// Limit of one question. It answers in some hundred milliseconds at most.
const LIMIT: Duration = Duration::from_secs(10);
/// Scripts that a domain does not stand on: an address or a message more or less is nothing to a running guest.
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
        super::any_process(|comm, _| comm == "heartbeat")
    }

    /// The Heartbeat below `root`.
    pub fn new(root: &Root) -> Self {
        Self { root: root.clone(), ledger: PeerFiles::new(root) }
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

impl ClusterView for Heartbeat {
    fn plan_after_stop(
        &self,
        resource: &str,
        node: &NodeName,
        limit: Duration,
    ) -> Result<Plan, ClusterError> {
        let mut survivors = Vec::new();
        for peer in nodes(&self.read(HA_CF)?).into_iter().filter(|peer| peer != node) {
            if self.is_alive(&peer, limit)? {
                survivors.push(peer);
            }
        }
        let losing = before_on_its_line(&self.read(HARESOURCES)?, resource);
        let destination = survivors.first().cloned().map_or(Destination::Nowhere, Destination::Node);
        Ok(Plan { destination, losing, failed: None, survivors })
    }

    /// A node that is dead to Heartbeat is accounted for only where Heartbeat fences: then it has fenced it before it had
    /// us start anything, or the node left in order.
    fn peers(&self, me: &NodeName, _resource: &str) -> Result<Vec<Peer>, ClusterError> {
        let config = self.read(HA_CF)?;
        let fences = has_fencing(&config);
        nodes(&config)
            .into_iter()
            .filter(|node| node != me)
            .map(|node| {
                let online = self.is_alive(&node, LIMIT)?;
                Ok(Peer { node, online, fenced_at: None, cleared: !online && fences, lost: false })
            })
            .collect()
    }

    fn fence(&self, _node: &NodeName, _limit: Duration) -> Result<(), ClusterError> {
        Err(ClusterError::Unreadable {
            tool: "heartbeat",
            what: "it fences by itself, and not on request".to_owned(),
        })
    }

    fn node_attribute(&self, _node: &NodeName, _name: &str) -> Result<Option<String>, ClusterError> {
        Ok(None)
    }

    /// Those of the lines of haresources that call us in our own way.
    fn domains(&self) -> Result<Vec<ManagedDomain>, ClusterError> {
        Ok(on_lines(&self.read(HARESOURCES)?))
    }

    /// Whether it is giving up its resources on this host, or has been told to (`heartbeat -k`, as its init script calls it).
    fn is_leaving(&self) -> bool {
        super::any_process(|comm, command_line| {
            let told_to = comm == "heartbeat" && command_line.split('\0').any(|word| word == "-k");
            told_to || command_line.contains(LEAVING)
        })
    }

    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }
}

/// The lines of a file of Heartbeat's without comments, in words.
fn directives(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
}

/// The nodes that `ha.cf` names.
pub(super) fn nodes(config: &str) -> Vec<NodeName> {
    directives(config)
        .filter(|words| words[0] == "node")
        .flat_map(|words| words[1..].iter().filter_map(|name| NodeName::new(*name).ok()).collect::<Vec<_>>())
        .collect()
}

fn has_fencing(config: &str) -> bool {
    directives(config).any(|words| matches!(words[0], "stonith" | "stonith_host"))
}

/// What is started before the domain on its line, and so is stopped after it: it would be taken away under a running guest.
/// A line may go on on the next one, after a backslash.
fn before_on_its_line(haresources: &str, domain: &str) -> Vec<String> {
    let joined = haresources.replace("\\\n", " ");
    directives(&joined)
        .find_map(|words| {
            let ours = |word: &&str| {
                let mut parts = word.split("::");
                let script = parts.next().unwrap_or_default();
                let agent = script == "xen-handoff" || (script == "OCF" && parts.next() == Some("Xen"));
                agent && parts.next() == Some(domain)
            };
            let at = words.iter().position(ours)?;
            let before = words.get(1..at).unwrap_or_default();
            Some(before.iter().filter(|word| !is_harmless(word)).map(|word| (*word).to_owned()).collect())
        })
        .unwrap_or_default()
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
    is_address || HARMLESS.contains(&script) || script == "xen-handoff"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_fencing_are_read_from_ha_cf() {
        let config = "# a comment\nkeepalive 250ms\nnode n1 n2\nnode n3  # the third\n#stonith_host * x\n";
        let names: Vec<_> = nodes(config).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["n1", "n2", "n3"]);
        assert!(!has_fencing(config));
        assert!(has_fencing(&format!("{config}stonith_host n1 external/ipmi n2 ...\n")));
    }

    #[test]
    fn what_stands_before_the_domain_on_its_line_would_be_taken_away_under_it() {
        let lines = "n1 10.0.0.9/24/eth0 drbddisk::r0 Filesystem::/dev/drbd0::/srv::ext4 \\\n  xen-handoff::x0 xen-handoff::x1\n\
                     n2 IPaddr2::10.0.0.8 xen-handoff::x2::/etc/xen/x2.cfg Filesystem::/a::/b\n";
        let before = |domain| before_on_its_line(lines, domain);
        assert_eq!(before("x0"), ["drbddisk::r0", "Filesystem::/dev/drbd0::/srv::ext4"]);
        assert_eq!(before("x1"), before("x0"), "another domain is no foundation");
        assert!(before("x2").is_empty(), "what is started after it is stopped before it");
        assert!(before("x9").is_empty());
        let managed: Vec<_> = on_lines(lines).into_iter().map(|domain| domain.resource).collect();
        assert_eq!(managed, ["x0", "x1", "x2"]);
        assert_eq!(on_lines(lines)[2].parameters["xmfile"], "/etc/xen/x2.cfg");
    }
}
