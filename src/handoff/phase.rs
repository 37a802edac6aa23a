//! The phases of a handoff as data: what is on disk between two runs of the agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::host::NodeName;

/// Tells one offer or transfer of a domain from every other: the moment it was made, in milliseconds since 1970.
/// A later one of the same source is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
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

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The source's promise: "this domain runs here; whoever is told to start it may fetch it, until the deadline".
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

/// The cluster's own migration, as the survivors can read it: for as long as it stands, a copy may be at either end.
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

/// How the last stream that a node received came to its end. Kept after the record has gone, so that a source that was
/// killed can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Which stream.
    pub epoch: Epoch,
    /// Whether the copy that arrived has run, if only for a moment: its source's copy is stale then, whatever has become of
    /// this one.
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
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Phase {
    /// Nothing is going on: the domain is this node's, or it is not here, as the toolstack says.
    #[default]
    Idle,
    /// Source: the offer is being written to where the survivors can read it. Not yet claimable; stop has not returned.
    Offering {
        /// What will be offered.
        offer: Offer,
    },
    /// Source: stop has returned success with the domain running. Whoever names the epoch may fetch it.
    Offered {
        /// What is offered.
        offer: Offer,
    },
    /// Source: no longer claimable; the domain is being shut down.
    Withdrawing {
        /// What was offered.
        offer: Offer,
    },
    /// Source: xl's stream is under way, *ready* not shown to xl. If it breaks, the domain goes on running here.
    Sending {
        /// From where to where.
        transfer: Transfer,
        /// The offer that was claimed; `None` if the cluster's own migration pushes.
        offer: Option<Offer>,
    },
    /// Source: xl was shown the receiver's *ready* and may have given GO. This node must not run the domain until it is known that the target
    /// does not.
    Settling {
        /// From where to where.
        transfer: Transfer,
        /// As in `Sending`.
        offer: Option<Offer>,
    },
    /// Source: a push succeeded. Remembered until a stop or start here has accounted for the copy over there.
    Left {
        /// Where it went.
        transfer: Transfer,
    },
    /// Target: start found this offer and asks the source for the domain.
    Claiming {
        /// What is claimed.
        offer: Offer,
    },
    /// Target: xl's stream is under way, GO not delivered. If it breaks, the receiver destroys its copy.
    Receiving {
        /// From where to where.
        transfer: Transfer,
    },
    /// Target: GO was delivered to the receiver. The copy here may run.
    Arriving {
        /// From where to where.
        transfer: Transfer,
    },
    /// Target: the receiver confirmed that the domain runs here. The cluster's action has not seen it yet.
    Arrived {
        /// From where to where.
        transfer: Transfer,
    },
}

impl Phase {
    /// The phase's name as it stands in records and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Offering { .. } => "offering",
            Phase::Offered { .. } => "offered",
            Phase::Withdrawing { .. } => "withdrawing",
            Phase::Sending { .. } => "sending",
            Phase::Settling { .. } => "settling",
            Phase::Left { .. } => "left",
            Phase::Claiming { .. } => "claiming",
            Phase::Receiving { .. } => "receiving",
            Phase::Arriving { .. } => "arriving",
            Phase::Arrived { .. } => "arrived",
        }
    }

    /// The offer that this node, as source, stands to.
    pub fn offer(&self) -> Option<&Offer> {
        match self {
            Phase::Offering { offer } | Phase::Offered { offer } | Phase::Withdrawing { offer } => {
                Some(offer)
            }
            Phase::Sending { offer, .. } | Phase::Settling { offer, .. } => offer.as_ref(),
            Phase::Idle
            | Phase::Left { .. }
            | Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => None,
        }
    }

    /// True while the cluster must see the domain as stopped here although it runs: it is offered.
    pub fn is_offered_away(&self) -> bool {
        self.offer().is_some() && !matches!(self, Phase::Offering { .. })
    }

    /// True while this node, as target, means to get the domain.
    pub fn is_target(&self) -> bool {
        match self {
            Phase::Claiming { .. }
            | Phase::Receiving { .. }
            | Phase::Arriving { .. }
            | Phase::Arrived { .. } => true,
            Phase::Idle
            | Phase::Offering { .. }
            | Phase::Offered { .. }
            | Phase::Withdrawing { .. }
            | Phase::Sending { .. }
            | Phase::Settling { .. }
            | Phase::Left { .. } => false,
        }
    }

    /// True while a stream of xl may be under way at this node.
    pub fn is_in_transfer(&self) -> bool {
        matches!(
            self,
            Phase::Sending { .. } | Phase::Settling { .. } | Phase::Receiving { .. } | Phase::Arriving { .. }
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
