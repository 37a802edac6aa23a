//! What a stream may use of the network, as the resource's parameters have it, and as one node tells it to the other.
//!
//! Who begins a move knows the parameters: the target of a claim, the source of a push. The source's pipe carries them out. An
//! end that does not know them (`can` in its greeting) is never told: the stream is then carried plain, and the log says so.

use serde::{Deserialize, Serialize};

use crate::domain::DomainName;
use crate::transport::Connection;
use crate::transport::message::{LIMITS, ZSTD};

/// How the bytes of a stream look on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// As xl wrote them.
    #[default]
    None,
    /// In frames of zstd ([`super::frames`]).
    Zstd,
}

impl Compression {
    /// True for [`Self::None`].
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Its word in the parameter and on a command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
        }
    }
}

/// What holds for one stream. The default is what every version knows: no limit, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// MiB/s that the connection may carry at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// How it looks on the connection.
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
}

impl Terms {
    /// True if there is nothing that an end would have to know of.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// These as far as the other end can keep to them. `by_source` if it is that one that carries them out.
    #[must_use]
    pub fn agreed(self, domain: &DomainName, connection: &Connection, by_source: bool) -> Self {
        let (peer, version) = (connection.peer(), connection.peer_version());
        let mut agreed = self;
        if !self.compression.is_none() && !connection.can(ZSTD) {
            log::warn!("domain={domain} not compressed: xen-handoff {version} on {peer} cannot");
            agreed.compression = Compression::None;
        }
        if by_source && self.rate.is_some() && !connection.can(LIMITS) {
            log::warn!("domain={domain} no limit to its rate: xen-handoff {version} on {peer} knows none");
            agreed.rate = None;
        }
        agreed
    }
}
