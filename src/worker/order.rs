//! What a worker is told, how it ends, and what the workers share.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::clock::{Deadline, UnixTime};
use crate::command::begin_session;
use crate::domain::{DomainName, Presence};
use crate::handoff::{Phase, Transfer};
use crate::moves::terms::{Compression, Terms};
use crate::wire::client::{Streams, Unanswered};
use crate::wire::message::{LIMITS, Request, ZSTD};
use crate::wire::{Connection, write_line};

/// The time between the stream's own deadline and the action's.
pub const LEEWAY: Duration = Duration::from_secs(3);

/// What a worker is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Which domain.
    pub domain: DomainName,
    /// From where to where, and under which epoch.
    pub transfer: Transfer,
    /// The other end.
    pub peer: Address,
    /// This end, as the other one reaches it.
    pub back: Address,
    /// When it was begun.
    pub begun_at: UnixTime,
    /// Seconds, from the worker's begin, until the stream is broken off if it has not come to the point of no
    /// return.
    pub limit: u64,
    /// What the stream may use.
    pub terms: Terms,
    /// What dom0 keeps at the target, in MiB, where room is to be made there for a domain that is pushed.
    pub room: Option<u64>,
    /// The resource, whose priority decides who goes first where not all can.
    pub resource: String,
    /// Whether devices of the host are detached before it is pushed.
    pub detach: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The domain runs at the target.
    Moved,
    /// The other end refused, and said how the domain stands with it.
    Refused {
        /// Its words.
        reason: String,
        /// How it stands there.
        stands: Option<Box<(Presence, Phase)>>,
    },
    /// Nothing has moved: there was no slot for it.
    Busy {
        /// What it waited for.
        reason: String,
    },
    /// Nothing has moved.
    Failed {
        /// Why.
        reason: String,
    },
    /// The stream began, and nothing has moved.
    Broken {
        /// How it ended.
        reason: String,
    },
    /// It is not known where the domain runs.
    Undecided {
        /// What was seen.
        reason: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved => f.write_str("moved"),
            Self::Refused { reason, .. } => write!(f, "refused: {reason}"),
            Self::Busy { reason } => write!(f, "busy: {reason}"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Broken { reason } => write!(f, "broken: {reason}"),
            Self::Undecided { reason } => write!(f, "undecided: {reason}"),
        }
    }
}

/// What the worker writes to its stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The end.
    pub end: Outcome,
}

/// Nothing has moved, for this reason.
pub fn failed(reason: impl ToString) -> Outcome {
    Outcome::Failed { reason: reason.to_string() }
}

/// What is to be said first of a stream that has ended with nothing moved: whether its time was over.
pub(super) fn in_time(terms: Terms, began: Instant) -> String {
    match terms.deadline {
        Some(seconds) if began.elapsed() >= Duration::from_secs(seconds) => {
            format!("the guest was not suspended within migration_deadline={seconds} s; ")
        }
        _ => String::new(),
    }
}

pub(super) fn busy(reason: impl ToString) -> Outcome {
    Outcome::Busy { reason: reason.to_string() }
}

/// Asks for leave to begin.
pub(super) fn begin(order: &Order, connection: Connection, request: &Request) -> Result<Streams, Outcome> {
    connection.begin(request, answer_by(order)).map_err(|error| match error {
        Unanswered::Refused { reason, stands } => Outcome::Refused { reason, stands },
        error => failed(error.by(&order.peer.node)),
    })
}

/// The far end lists its domains before it answers.
pub(super) fn answer_by(order: &Order) -> Deadline {
    Deadline::after(order.peer.connect_timeout().saturating_add(Duration::from_secs(30)))
}

pub(super) fn seconds(deadline: Deadline) -> u64 {
    deadline.left().as_secs().max(1)
}

pub(super) fn broken(error: anyhow::Error) -> Outcome {
    failed(format!("{error:#}"))
}

pub(super) fn work(
    order: &Order,
    job: impl FnOnce(Deadline) -> Result<Outcome, Outcome>,
) -> anyhow::Result<()> {
    let deadline = Deadline::after(Duration::from_secs(order.limit));
    begin_session();
    let end = job(deadline).unwrap_or_else(|end| end);
    log::info!(
        "domain={} offer={} transfer {} -> {}: {end}",
        order.domain,
        order.transfer.epoch.rfc3339(),
        order.transfer.source,
        order.transfer.target
    );
    // The action may have been killed meanwhile; then nobody reads this.
    let stdout = rustix::stdio::stdout().try_clone_to_owned()?;
    if let Err(error) = write_line(&stdout, &Word { end }) {
        log::debug!("nobody reads the outcome: {error}");
    }
    Ok(())
}

/// `terms` as far as the other end can keep to them. `by_source` if it is that one that carries them out.
pub(super) fn agreed(terms: Terms, domain: &DomainName, connection: &Connection, by_source: bool) -> Terms {
    let (peer, version) = (connection.peer(), connection.peer_version());
    let mut agreed = terms;
    if !terms.compression.is_none() && !connection.can(ZSTD) {
        log::warn!("domain={domain} not compressed: xen-handoff {version} on {peer} cannot");
        agreed.compression = Compression::None;
    }
    if by_source && terms.rate.is_some() && !connection.can(LIMITS) {
        log::warn!("domain={domain} no limit to its rate: xen-handoff {version} on {peer} knows none");
        agreed.rate = None;
    }
    if by_source && terms.deadline.is_some() && !connection.can(LIMITS) {
        log::warn!("domain={domain} no migration_deadline: xen-handoff {version} on {peer} knows none");
        agreed.deadline = None;
    }
    agreed
}

/// What the tests of the workers are ordered to do.
#[cfg(test)]
pub(super) fn of_test(transfer: Transfer, peer: &str) -> Order {
    use crate::here::fake::{node, x0};
    let peer = Address::by_its_name(&node(peer));
    let back = Address::by_its_name(&node("n1"));
    let begun_at = UnixTime(1_800_000_000);
    let (limit, terms, room) = (60, Terms::default(), None);
    let (domain, resource, detach) = (x0(), "x0".to_owned(), false);
    Order { domain, transfer, peer, back, begun_at, limit, terms, room, resource, detach }
}
