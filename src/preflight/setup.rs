//! How a node is set up, as it says itself when `xen-handoff check` asks ([`crate::peer::setup`] and
//! [`crate::peer::xendomains`] look).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facts::FileState;
use crate::host::NodeName;

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Its build.
    pub version: String,
    /// The cluster's key.
    pub key: KeyState,
    /// The key of its sshd, type and base64, if it can be read.
    pub host_key: Option<String>,
    /// The host keys that its transport knows, by node: type and base64.
    pub known_hosts: BTreeMap<NodeName, Vec<String>>,
    /// The service that holds a shutdown: systemd's words for whether it runs, and whether it will after a
    /// boot; or why not.
    pub guard: Result<(String, String), String>,
    /// Its hypervisor, by its version; or why the toolstack does not say.
    pub xen: Result<String, String>,
    /// Whether its cluster's scheduler says what it plans; `None` where no cluster manager runs.
    pub planner: Option<Result<(), String>>,
    /// What its last move that says so has shown, in MiB/s.
    pub mib_per_second: Option<u64>,
}

/// What is there of the cluster's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyState {
    /// Its public half, type and base64, if both halves are there.
    pub public: Option<String>,
    /// What is wrong with files and modes, each with what to do.
    pub troubles: Vec<(String, String)>,
    /// Whether this host's sshd lets it run what it must, as far as root's file of keys says.
    pub is_accepted: bool,
    /// Whether it is this node's own, and not one for all nodes.
    #[serde(default)]
    pub is_own: bool,
    /// Whose keys this host's sshd takes for which node's, as far as root's file of keys says: type and
    /// base64.
    #[serde(default)]
    pub accepts: BTreeMap<NodeName, Vec<String>>,
    /// How many lines of that file let a key in that is no single node's.
    #[serde(default)]
    pub shared_lines: usize,
}

/// A disk, as far as it says which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Its size, in bytes.
    pub bytes: u64,
    /// What tells it from every other one, on all hosts: the mark of a logical volume, a unit's number.
    pub mark: Option<String>,
    /// For a file: whether its file system is one of several hosts. `None` for a device, and where that is
    /// not known.
    pub is_on_shared_files: Option<bool>,
}

/// What a node has of the files and disks that it was asked for, in their order, and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its clock, in milliseconds since 1970.
    pub clock_ms: u64,
    /// The files.
    pub files: Vec<FileState>,
    /// The disks; or why one cannot be used.
    pub disks: Vec<Result<Disk, String>>,
}

/// What Xen's own service for guests would do with the cluster's domains on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xendomains {
    /// systemd's words for whether it runs, and whether it will after a boot; or why that is not known.
    pub service: Result<(String, String), String>,
    /// What it would start of the cluster's domains; or why that is not known.
    pub starts: Result<Vec<Started>, String>,
    /// The file with its settings.
    pub settings: String,
    /// The settings, with their values, by which it keeps a domain that runs when it is stopped from being
    /// shut down: it sends it away, or saves it.
    pub keeps: Vec<(String, String)>,
}

/// A file that a domain of the cluster would be started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// The domain's resource.
    pub resource: String,
    /// The file.
    pub file: String,
    /// Whether that has a saved domain, and no configuration.
    pub is_saved: bool,
}
