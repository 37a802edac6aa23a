//! The phases of a handoff as data: what is on disk between two runs of the agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::host::NodeName;
use crate::small_file;

/// Tells one offer or transfer of a domain from every other: the moment it was made, in milliseconds since
/// 1970. A later one of the same source is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Epoch(pub u64);

impl TryFrom<u64> for Epoch {
    type Error = String;
    fn try_from(milliseconds: u64) -> Result<Self, String> {
        UnixTime::try_from(milliseconds / 1000).map(|_| Self(milliseconds))
    }
}

impl From<Epoch> for u64 {
    fn from(epoch: Epoch) -> Self {
        epoch.0
    }
}

/// 13 digits, as every one has that was begun since 2001.
const DIGITS: usize = 13;

impl Epoch {
    /// One that was kept. Without a checksum it must have all its digits: a part of a number is a number,
    /// too.
    ///
    /// # Errors
    /// If it is no epoch, or not whole.
    pub fn kept(kept: &small_file::Kept) -> std::io::Result<Self> {
        if !kept.is_sealed && kept.text.trim().len() < DIGITS {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not whole"));
        }
        Ok(serde_json::from_str(&kept.text)?)
    }

    /// An epoch that begins now.
    pub fn begin() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Epoch {
    /// The moment as whole seconds.
    pub fn at(self) -> UnixTime {
        UnixTime(self.0 / 1000)
    }
}

impl Epoch {
    /// The moment for people and programs: RFC 3339 with thousandths of a second, UTC.
    pub fn rfc3339(self) -> String {
        crate::clock::rfc3339(self.0 / 1000, Some(self.0 % 1000))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The source's promise: "this domain runs here; whoever is told to start it may fetch it, until the
/// deadline".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Which domain.
    pub domain: DomainName,
    /// Where it runs.
    pub source: NodeName,
    /// Which offer of it.
    pub epoch: Epoch,
    /// When it was made, by the source's clock.
    pub made_at: UnixTime,
    /// When the source withdraws it, by the source's clock.
    pub deadline: UnixTime,
}

/// The cluster's own migration, as the survivors can read it: for as long as it stands, a copy may be at
/// either end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// Which domain.
    pub domain: DomainName,
    /// From where to where.
    pub transfer: Transfer,
    /// When it was begun, by the source's clock.
    pub made_at: UnixTime,
}

/// One stream of a domain from one node to another. It began at its epoch or later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Which offer it serves, or, for a push, the moment it was begun.
    pub epoch: Epoch,
    /// Where the domain comes from.
    pub source: NodeName,
    /// Where it goes.
    pub target: NodeName,
}

/// How the last stream that a node received came to its end. Kept after the record has gone, so that a source
/// that was killed can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Which stream.
    pub epoch: Epoch,
    /// Whether the copy that arrived has run, if only for a moment: its source's copy is stale then, whatever
    /// has become of this one.
    pub ran: Ran,
}

/// Whether a copy has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ran {
    /// It was never given GO, and destroyed.
    Never,
    /// It was given GO, and was gone when we looked.
    Perhaps,
    /// It was seen to run.
    Certainly,
}

/// Where this node stands with one domain. A node is source or target of a domain, never both at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(from = "Stored", into = "Stored")]
pub enum Phase {
    /// Nothing is going on: the domain is this node's, or it is not here, as the toolstack says.
    #[default]
    Idle,
    /// It is here and is to go, is going or has gone.
    Source(SourcePhase),
    /// It is to come, is coming or has come.
    Target(TargetPhase),
}

/// Where the source stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourcePhase {
    /// The offer is being written to where the survivors can read it. Not yet claimable; stop has not
    /// returned.
    Offering {
        /// What will be offered.
        offer: Offer,
    },
    /// Stop has returned success with the domain running. Whoever names the epoch may fetch it.
    Offered {
        /// What is offered.
        offer: Offer,
    },
    /// No longer claimable; the domain is being shut down.
    Withdrawing {
        /// What was offered.
        offer: Offer,
    },
    /// xl's stream is under way, *ready* not shown to xl. If it breaks, the domain goes on running here.
    Sending {
        /// From where to where.
        transfer: Transfer,
        /// The offer that was claimed; `None` if the cluster's own migration pushes.
        offer: Option<Offer>,
    },
    /// xl was shown the receiver's *ready* and may have given GO. This node must not run the domain until it
    /// is known that the target does not.
    Settling {
        /// From where to where.
        transfer: Transfer,
        /// As in `Sending`.
        offer: Option<Offer>,
    },
    /// A push succeeded. Remembered until a stop or start here has accounted for the copy over there.
    Left {
        /// Where it went.
        transfer: Transfer,
    },
}

/// Where the target stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TargetPhase {
    /// Start found this offer and asks the source for the domain.
    Claiming {
        /// What is claimed.
        offer: Offer,
    },
    /// xl's stream is under way, GO not delivered. If it breaks, the receiver destroys its copy.
    Receiving {
        /// From where to where.
        transfer: Transfer,
    },
    /// GO was delivered to the receiver. The copy here may run.
    Arriving {
        /// From where to where.
        transfer: Transfer,
    },
    /// The receiver confirmed that the domain runs here. The cluster's action has not seen it yet.
    Arrived {
        /// From where to where.
        transfer: Transfer,
    },
}

impl From<SourcePhase> for Phase {
    fn from(phase: SourcePhase) -> Self {
        Self::Source(phase)
    }
}

impl From<TargetPhase> for Phase {
    fn from(phase: TargetPhase) -> Self {
        Self::Target(phase)
    }
}

/// A phase in records and on the wire: one word beside its fields, whichever side it is of.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "no phase of a handoff")]
enum Stored {
    Neither(Neither),
    Source(SourcePhase),
    Target(TargetPhase),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
enum Neither {
    Idle {},
}

impl From<Stored> for Phase {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Neither(Neither::Idle {}) => Self::Idle,
            Stored::Source(phase) => Self::Source(phase),
            Stored::Target(phase) => Self::Target(phase),
        }
    }
}

impl From<Phase> for Stored {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Idle => Self::Neither(Neither::Idle {}),
            Phase::Source(phase) => Self::Source(phase),
            Phase::Target(phase) => Self::Target(phase),
        }
    }
}

impl SourcePhase {
    fn name(&self) -> &'static str {
        match self {
            Self::Offering { .. } => "offering",
            Self::Offered { .. } => "offered",
            Self::Withdrawing { .. } => "withdrawing",
            Self::Sending { .. } => "sending",
            Self::Settling { .. } => "settling",
            Self::Left { .. } => "left",
        }
    }
}

impl TargetPhase {
    fn name(&self) -> &'static str {
        match self {
            Self::Claiming { .. } => "claiming",
            Self::Receiving { .. } => "receiving",
            Self::Arriving { .. } => "arriving",
            Self::Arrived { .. } => "arrived",
        }
    }
}

impl Phase {
    /// The phase's name as it stands in records and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Source(phase) => phase.name(),
            Self::Target(phase) => phase.name(),
        }
    }

    /// The offer that this node, as source, stands to.
    pub fn offer(&self) -> Option<&Offer> {
        match self {
            Self::Source(
                SourcePhase::Offering { offer }
                | SourcePhase::Offered { offer }
                | SourcePhase::Withdrawing { offer },
            ) => Some(offer),
            Self::Source(SourcePhase::Sending { offer, .. } | SourcePhase::Settling { offer, .. }) => {
                offer.as_ref()
            }
            Self::Source(SourcePhase::Left { .. }) | Self::Idle | Self::Target(_) => None,
        }
    }

    /// True while the cluster must see the domain as stopped here although it runs: it is offered.
    pub fn is_offered_away(&self) -> bool {
        self.offer().is_some() && !matches!(self, Self::Source(SourcePhase::Offering { .. }))
    }

    /// True while this node, as target, means to get the domain.
    pub fn is_target(&self) -> bool {
        matches!(self, Self::Target(_))
    }

    /// True while a stream of xl may be under way at this node.
    pub fn is_in_transfer(&self) -> bool {
        matches!(
            self,
            Self::Source(SourcePhase::Sending { .. } | SourcePhase::Settling { .. })
                | Self::Target(TargetPhase::Receiving { .. } | TargetPhase::Arriving { .. })
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the version before the phases had two sides has written, one line a phase.
    const KEPT: &str = include_str!("../../tests/captured/phases.jsonl");

    #[test]
    fn every_phase_that_an_earlier_version_has_written_is_read_and_written_again_as_it_was() {
        let names: Vec<&str> = KEPT
            .lines()
            .map(|line| {
                let phase: Phase = serde_json::from_str(line).unwrap();
                assert_eq!(serde_json::to_string(&phase).unwrap(), line);
                phase.name()
            })
            .collect();
        let all = "idle offering offered withdrawing sending sending settling settling left claiming receiving arriving arrived";
        assert_eq!(names.join(" "), all);
    }

    #[test]
    fn what_is_no_phase_is_not_read() {
        for text in [
            r#"{"phase":"idle","offer":null}"#,
            r#"{"phase":"gone"}"#,
            r#"{"phase":"left"}"#,
            r#"{}"#,
            "null",
            r#""idle""#,
        ] {
            assert!(serde_json::from_str::<Phase>(text).is_err(), "{text}");
        }
    }
}
