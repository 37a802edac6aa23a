//! What a stream may use of the network, as the resource's parameters have it, and as one node tells it to
//! the other.
//!
//! Who begins a move knows the parameters: the target of a claim, the source of a push. The source's pipe
//! carries them out. An end that does not know them (`can` in its greeting) is never told: the stream is then
//! carried plain, and the log says so.

use serde::{Deserialize, Serialize};

/// How the bytes of a stream look on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// As xl wrote them.
    #[default]
    None,
    /// In frames of zstd ([`crate::transfer::frames`]).
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
    /// Seconds from the stream's begin until it is broken off if the guest has not been suspended for the
    /// last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

impl Terms {
    /// True if there is nothing that an end would have to know of.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}
