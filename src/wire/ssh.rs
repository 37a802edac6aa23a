//! Connections over ssh, with options that can never prompt and never hang.
//!
//! Keys are for this alone (`/etc/xen-handoff`, made by `xen-handoff keys`); on the far side they may run
//! `xen-handoff serve` and nothing else. Hosts are known by their cluster name (`HostKeyAlias`), whatever
//! address they are reached by, so that a migration network needs no entries of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::{Connection, Session, TransportError};
use crate::address::Address;
use crate::clock::Deadline;
use crate::command::{self, Tool};
use crate::host::Root;

/// The private key's file name in the key folder.
pub const KEY: &str = "id_ed25519";
/// The one that is to take its place, while the nodes learn it.
pub const NEXT_KEY: &str = "id_ed25519.next";
/// The known hosts' file name in the key folder.
pub const KNOWN_HOSTS: &str = "known_hosts";
/// What the far end is asked to run. A forced command runs it whatever is asked.
pub const FAR_COMMAND: &str = "/usr/sbin/xen-handoff serve";

/// What to do where the key is missing.
pub const NO_KEY: &str = "xen-handoff keys makes it, and says what the other nodes need to know of it";

/// Where this node's key is.
pub(super) fn key(root: &Root) -> PathBuf {
    root.key_folder().join(KEY)
}

/// Whether the key is on this node.
pub fn has_key(root: &Root) -> bool {
    key(root).is_file()
}

/// Whether a public key's comment says that it is one node's own, as `xen-handoff keys` makes them; otherwise
/// it is one for all nodes.
pub fn is_own_key(public: &str) -> bool {
    let mut comment = public.split_whitespace().skip(2);
    (comment.next(), comment.next().is_some()) == (Some("xen-handoff"), true)
}

/// Whose ssh a connection is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    /// Its own.
    Own,
    /// Its own, over which nothing is asked: others go over it, for whom it listens at this socket.
    Kept(&'a Path),
    /// What listens there; where nothing does, its own.
    Over(&'a Path),
}

/// Opens a connection to `address` by `deadline`, greetings exchanged.
///
/// # Errors
/// [`TransportError`].
pub fn dial(root: &Root, address: &Address, deadline: Deadline) -> Result<Connection, TransportError> {
    dial_with(root, &key(root), address, deadline)
}

/// The same with the private key at `key`.
///
/// # Errors
/// [`TransportError`].
pub fn dial_with(
    root: &Root,
    key: &Path,
    address: &Address,
    deadline: Deadline,
) -> Result<Connection, TransportError> {
    // ssh's own limit covers the connection, not a peer that accepts it and then says nothing.
    let greeted_by = deadline.within(address.connect_timeout().saturating_add(Duration::from_secs(5)));
    open(root, key, address, Way::Own, greeted_by)
}

/// The same in that way, greetings exchanged by `greeted_by`.
pub(super) fn open(
    root: &Root,
    key: &Path,
    address: &Address,
    way: Way<'_>,
    greeted_by: Deadline,
) -> Result<Connection, TransportError> {
    let failed = |error: &dyn std::fmt::Display| TransportError::Unreachable {
        node: address.node.clone(),
        what: error.to_string(),
    };
    let ssh = Tool::find(root, "ssh").map_err(|error| failed(&error))?;
    if !key.is_file() {
        return Err(failed(&format!("no key {} on this node: {NO_KEY}", key.display())));
    }
    let words = tempfile::tempfile().map_err(|error| failed(&error))?;
    let copy = words.try_clone().map_err(|error| failed(&error))?;
    let mut child = command::spawn(
        &ssh,
        &arguments(root, key, address, way),
        Stdio::piped(),
        Stdio::piped(),
        Stdio::from(copy),
    )
    .map_err(|error| failed(&error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let session = Session::new(child, words);
    let (Some(stdin), Some(stdout)) = (stdin, stdout) else { return Err(failed(&"ssh has no streams")) };
    Connection::open(root, address.node.clone(), stdout.into(), stdin.into(), Some(session), greeted_by)
}

/// What ssh is called with.
pub(super) fn arguments(root: &Root, key: &Path, address: &Address, way: Way<'_>) -> Vec<String> {
    let (master, socket) = match way {
        Way::Own => ("no", None),
        Way::Kept(socket) => ("yes", Some(socket)),
        Way::Over(socket) => ("no", Some(socket)),
    };
    let socket = socket.map_or_else(|| "none".to_owned(), |socket| socket.display().to_string());
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
            option("IdentityFile", &key.display().to_string()),
            // Never hang: neither on a host that drops packets nor on one that dies.
            option("ConnectTimeout", &address.connect_seconds.to_string()),
            option("ConnectionAttempts", "1"),
            option("ServerAliveInterval", "5"),
            option("ServerAliveCountMax", "4"),
            option("TCPKeepAlive", "yes"),
            // Never a channel of an operator's.
            option("ControlMaster", master),
            option("ControlPath", &socket),
            option("ControlPersist", "no"),
            option("ClearAllForwardings", "yes"),
            option("Compression", "no"),
            option("LogLevel", "ERROR"),
            option("Port", &address.port.to_string()),
            option("User", &address.user),
        ]
        .into_iter()
        .flatten(),
    );
    match way {
        Way::Kept(_) => args.extend(["-N".to_owned(), "--".to_owned(), address.host.to_string()]),
        Way::Own | Way::Over(_) => {
            args.extend(["--".to_owned(), address.host.to_string(), FAR_COMMAND.to_owned()]);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::NodeName;

    #[test]
    fn ssh_can_neither_prompt_nor_hang() {
        let address = Address {
            node: NodeName::new("node2").unwrap(),
            host: NodeName::new("node2-mig").unwrap(),
            user: "root".to_owned(),
            port: 2222,
            connect_seconds: 5,
        };
        let args = arguments(&Root::default(), Path::new("/k"), &address, Way::Own).join(" ");
        for needed in [
            "IdentityFile=/k ",
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "ConnectTimeout=5",
            "ServerAliveInterval=5",
            "HostKeyAlias=node2 ",
            "Port=2222",
            "ControlPath=none",
        ] {
            assert!(args.contains(needed), "{needed} is missing in {args}");
        }
        assert!(args.ends_with("-- node2-mig /usr/sbin/xen-handoff serve"), "{args}");
    }
}
