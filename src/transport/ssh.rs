//! Connections over ssh, with options that can never prompt and never hang.
//!
//! Keys are the cluster's own (`/etc/xen-handoff`, made by `xen-handoff keys`); on the far side they may run
//! `xen-handoff serve` and nothing else. Hosts are known by their cluster name (`HostKeyAlias`), whatever address they
//! are reached by, so that a migration network needs no entries of its own.

use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use super::message::{Address, Answer, LONGEST_CONNECT_SECONDS, Request};
use super::{Connection, Session, Transport, TransportError};
use crate::clock::Deadline;
use crate::cluster::ClusterView;
use crate::command::{self, Tool};
use crate::host::{NodeName, Root};
use crate::ocf::parameters::Reach;

/// The private key's file name in the key folder.
pub const KEY: &str = "id_ed25519";
/// The known hosts' file name in the key folder.
pub const KNOWN_HOSTS: &str = "known_hosts";
/// What the far end is asked to run. A forced command runs it whatever is asked.
pub const FAR_COMMAND: &str = "/usr/sbin/xen-handoff serve";

/// The other nodes, over ssh.
#[derive(Debug, Clone)]
pub struct Ssh {
    root: Root,
    reach: Reach,
    cluster: Rc<dyn ClusterView>,
}

impl Ssh {
    /// Nodes of `cluster`, reached as `reach` says.
    pub fn new(root: &Root, reach: &Reach, cluster: Rc<dyn ClusterView>) -> Self {
        Self { root: root.clone(), reach: reach.clone(), cluster }
    }
}

impl Transport for Ssh {
    fn connect(&self, node: &NodeName, deadline: Deadline) -> Result<Connection, TransportError> {
        dial(&self.root, &self.address(node)?, deadline)
    }

    fn ask_all(
        &self,
        nodes: &[NodeName],
        request: &Request,
        deadline: Deadline,
    ) -> Vec<Result<Answer, TransportError>> {
        let addresses: Vec<_> = nodes.iter().map(|node| self.address(node)).collect();
        let root = &self.root;
        std::thread::scope(|scope| {
            let asking: Vec<_> = addresses
                .into_iter()
                .map(|address| scope.spawn(move || dial(root, &address?, deadline)?.ask(request, deadline)))
                .collect();
            nodes
                .iter()
                .zip(asking)
                .map(|(node, answer)| {
                    answer.join().unwrap_or_else(|_| {
                        Err(TransportError::Unreachable {
                            node: node.clone(),
                            what: "asking it failed".to_owned(),
                        })
                    })
                })
                .collect()
        })
    }

    /// The node attribute if one is set, else the name with the suffix.
    fn address(&self, node: &NodeName) -> Result<Address, TransportError> {
        let unusable = |what: String| TransportError::Unreachable { node: node.clone(), what };
        let from_attribute = if self.reach.attribute.is_empty() {
            None
        } else {
            self.cluster
                .node_attribute(node, &self.reach.attribute)
                .map_err(|error| unusable(format!("its attribute {}: {error}", self.reach.attribute)))?
        };
        let found = address(node, &self.reach)?;
        match from_attribute.map(NodeName::new).transpose().map_err(|error| unusable(error.to_string()))? {
            Some(host) => Ok(Address { host, ..found }),
            None => Ok(found),
        }
    }
}

/// Where `node` is if no attribute of the cluster's says something else.
///
/// # Errors
/// If its name with the suffix is none.
pub fn address(node: &NodeName, reach: &Reach) -> Result<Address, TransportError> {
    let host = node
        .with_suffix(&reach.suffix)
        .map_err(|error| TransportError::Unreachable { node: node.clone(), what: error.to_string() })?;
    Ok(Address {
        node: node.clone(),
        host,
        user: reach.user.clone(),
        port: reach.port,
        connect_seconds: reach.connect_timeout.as_secs().clamp(1, LONGEST_CONNECT_SECONDS),
    })
}

/// Opens a connection to `address` by `deadline`, greetings exchanged.
///
/// # Errors
/// [`TransportError`].
pub fn dial(root: &Root, address: &Address, deadline: Deadline) -> Result<Connection, TransportError> {
    let failed = |error: &dyn std::fmt::Display| TransportError::Unreachable {
        node: address.node.clone(),
        what: error.to_string(),
    };
    let ssh = Tool::find(root, "ssh").map_err(|error| failed(&error))?;
    let key = root.key_folder().join(KEY);
    if !key.is_file() {
        return Err(failed(&format!("no key {} here; `xen-handoff keys` makes it", key.display())));
    }
    let words = tempfile::tempfile().map_err(|error| failed(&error))?;
    let copy = words.try_clone().map_err(|error| failed(&error))?;
    let mut child =
        command::spawn(&ssh, &arguments(root, address), Stdio::piped(), Stdio::piped(), Stdio::from(copy))
            .map_err(|error| failed(&error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let session = Session::new(child, words);
    let (Some(stdin), Some(stdout)) = (stdin, stdout) else { return Err(failed(&"ssh has no streams")) };
    // ssh's own limit covers the connection, not a peer that accepts it and then says nothing.
    let greeted_by = deadline.within(address.connect_timeout() + Duration::from_secs(5));
    Connection::open(root, address.node.clone(), stdout.into(), stdin.into(), Some(session), greeted_by)
}

fn arguments(root: &Root, address: &Address) -> Vec<String> {
    let keys = root.key_folder();
    let known_hosts =
        format!("{} /etc/ssh/ssh_known_hosts /root/.ssh/known_hosts", keys.join(KNOWN_HOSTS).display());
    let option = |name: &str, value: &str| ["-o".to_owned(), format!("{name}={value}")];
    let mut args =
        vec!["-F".to_owned(), "none".to_owned(), "-T".to_owned(), "-x".to_owned(), "-a".to_owned()];
    args.extend(
        [
            // Never ask a person anything.
            option("BatchMode", "yes"),
            option("PreferredAuthentications", "publickey"),
            option("StrictHostKeyChecking", "yes"),
            option("UserKnownHostsFile", &known_hosts),
            option("HostKeyAlias", address.node.as_str()),
            option("IdentitiesOnly", "yes"),
            option("IdentityFile", &keys.join(KEY).display().to_string()),
            // Never hang: neither on a host that drops packets nor on one that dies.
            option("ConnectTimeout", &address.connect_seconds.to_string()),
            option("ConnectionAttempts", "1"),
            option("ServerAliveInterval", "5"),
            option("ServerAliveCountMax", "4"),
            option("TCPKeepAlive", "yes"),
            // A connection of its own, not a channel of somebody's.
            option("ControlMaster", "no"),
            option("ControlPath", "none"),
            option("ClearAllForwardings", "yes"),
            option("Compression", "no"),
            option("LogLevel", "ERROR"),
            option("Port", &address.port.to_string()),
            option("User", &address.user),
        ]
        .into_iter()
        .flatten(),
    );
    args.extend(["--".to_owned(), address.host.to_string(), FAR_COMMAND.to_owned()]);
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_can_neither_prompt_nor_hang() {
        let address = Address {
            node: NodeName::new("node2").unwrap(),
            host: NodeName::new("node2-mig").unwrap(),
            user: "root".to_owned(),
            port: 2222,
            connect_seconds: 5,
        };
        let args = arguments(&Root::default(), &address).join(" ");
        for needed in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "ConnectTimeout=5",
            "ServerAliveInterval=5",
            "HostKeyAlias=node2 ",
            "Port=2222",
        ] {
            assert!(args.contains(needed), "{needed} is missing in {args}");
        }
        assert!(args.ends_with("-- node2-mig /usr/sbin/xen-handoff serve"), "{args}");
    }
}
