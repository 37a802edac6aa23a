//! How another node is reached over ssh, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::at_most;
use crate::host::{NodeName, NotAHost};

/// Where to reach a node over ssh, as plain data: the far end builds its own command from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The node's name in the cluster; its host key is known by it.
    pub node: NodeName,
    /// Host name or address.
    pub host: NodeName,
    /// User there.
    pub user: String,
    /// sshd's port there.
    pub port: u16,
    /// Limit of one connection attempt, in seconds.
    #[serde(deserialize_with = "at_most::<_, LONGEST_CONNECT_SECONDS>")]
    pub connect_seconds: u64,
}

/// The longest limit of one connection attempt, in seconds.
pub const LONGEST_CONNECT_SECONDS: u64 = 60 * 60;
impl Address {
    /// Where `node` is if no attribute of the cluster's says something else.
    ///
    /// # Errors
    /// If its name with the suffix is none.
    pub fn of(node: &NodeName, reach: &Reach) -> Result<Self, NotAHost> {
        Ok(Self {
            node: node.clone(),
            host: node.with_suffix(&reach.suffix)?,
            user: reach.user.clone(),
            port: reach.port,
            connect_seconds: reach.connect_timeout.as_secs().clamp(1, LONGEST_CONNECT_SECONDS),
        })
    }

    /// Where `node` is if nothing else is known: at its name, as root, at ssh's port.
    pub fn by_its_name(node: &NodeName) -> Self {
        Self { node: node.clone(), host: node.clone(), user: "root".to_owned(), port: 22, connect_seconds: 5 }
    }

    /// Limit of one connection attempt.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_seconds)
    }
}

/// How the other nodes are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// ssh's user on the other node.
    pub user: String,
    /// sshd's port on the other node.
    pub port: u16,
    /// Suffix of node names on the migration network; empty for none.
    pub suffix: String,
    /// Node attribute with a node's address; empty for none.
    pub attribute: String,
    /// Limit of one connection attempt.
    pub connect_timeout: Duration,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            user: "root".to_owned(),
            port: 22,
            suffix: String::new(),
            attribute: String::new(),
            connect_timeout: Duration::from_secs(5),
        }
    }
}
