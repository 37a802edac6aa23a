//! What two agents say to each other: one JSON object a line, a greeting first.
//!
//! The far end knows these verbs and nothing else; there is no way to hand it a command line. After
//! [`Answer::Granted`] the connection carries xl's stream and no more lines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::bounds::{MEMORY, WEEK, at_most};
use crate::domain::{DomainName, PciAddress, Presence};
use crate::handoff::evidence::Outlook;
use crate::handoff::ledger::Entries;
use crate::handoff::{Ended, Epoch, Phase, Transfer};
use crate::host::{LocalPath, NodeName, Root};
use crate::moves::journal::Move;
use crate::moves::progress::Direction;
use crate::moves::terms::{Compression, Terms};
use crate::node::standing::Row;
use crate::preflight::facts::Facts;
use crate::preflight::setup::{Seen, Setup, Xendomains};
use crate::preflight::{FileDigest, Needs};

/// More moves than a person reads, and as many as fit on a line.
pub const MOST_MOVES: u64 = 100;

/// The version of this protocol. Both ends must speak the same.
pub const PROTOCOL: u32 = 1;

/// What came after the first release of this protocol: a far end that does not name it in its greeting is not
/// asked for it.
pub const PREFLIGHT: &str = "preflight";
/// [`Request::Status`].
pub const STATUS: &str = "status";
/// The limits in the terms of a [`Request::Claim`].
pub const LIMITS: &str = "limits";
/// A stream in frames of zstd, as sender and as receiver.
pub const ZSTD: &str = "zstd";
/// [`Request::Prepare`].
pub const PREPARE: &str = "prepare";
/// [`Request::LastRun`].
pub const LAST_RUN: &str = "last-run";
/// [`Request::Slot`].
pub const SLOTS: &str = "slots";
/// [`Request::Yield`].
pub const YIELD: &str = "yield";
/// [`Request::Outlook`].
pub const OUTLOOK: &str = "outlook";
/// A target of a stream that says again and again that it lives, and a source that listens to it
/// ([`crate::transfer::pipe::Alive`]).
pub const ALIVE: &str = "alive";
/// [`Request::Moves`].
pub const MOVES: &str = "moves";
/// [`Request::Trial`].
pub const TRIAL: &str = "trial";
/// [`Request::Setup`] and [`Request::Look`].
pub const SETUP: &str = "setup";
/// [`Request::Xendomains`].
pub const XENDOMAINS: &str = "xendomains";
/// The `open` of a [`Request::Reach`].
pub const OPEN: &str = "open";
const LATER: [&str; 15] = [
    PREFLIGHT, STATUS, LIMITS, ZSTD, PREPARE, LAST_RUN, SLOTS, YIELD, OUTLOOK, ALIVE, MOVES, TRIAL, SETUP,
    XENDOMAINS, OPEN,
];

/// The first line of either end.
///
/// An end that is newer may say more in it than this one reads; what it can do besides the protocol's first
/// verbs, it names. So two builds get along through a rolling upgrade, and neither ever sends a verb that the
/// other does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Which protocol.
    #[serde(rename = "xen-handoff")]
    pub protocol: u32,
    /// Which build, for the log.
    pub version: String,
    /// Which life of its host: another one after every restart.
    pub boot: Option<String>,
    /// What it can do besides the first verbs.
    #[serde(default)]
    pub can: Vec<String>,
}

impl Greeting {
    /// Ours.
    pub fn ours(root: &Root) -> Self {
        Self {
            protocol: PROTOCOL,
            version: crate::VERSION.to_owned(),
            boot: root.boot_id(),
            can: LATER.map(str::to_owned).to_vec(),
        }
    }

    /// Whether this end knows what came later under this name.
    pub fn can(&self, verb: &str) -> bool {
        self.can.iter().any(|known| known == verb)
    }
}

/// Room that a domain needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// How much, in MiB.
    #[serde(deserialize_with = "at_most::<_, MEMORY>")]
    pub mib: u64,
    /// What dom0 keeps, in MiB.
    #[serde(deserialize_with = "at_most::<_, MEMORY>")]
    pub dom0_keeps_mib: u64,
}

/// What the near end asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Where does this domain stand with you?
    Presence {
        /// Which domain.
        domain: DomainName,
    },
    /// Settle what a broken transfer of this domain left with you, and then say where it stands.
    Resolve {
        /// Which domain.
        domain: DomainName,
    },
    /// Can you reach me over the transport?
    Reach {
        /// Me.
        back: Address,
        /// Over what you have open to me already is enough; you have said that you know of it. ([`OPEN`])
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open: bool,
    },
    /// What does your ledger say of this domain?
    Ledger {
        /// Which domain.
        domain: DomainName,
    },
    /// Keep this entry of the ledger for me; only where the cluster manager keeps none itself.
    Note {
        /// Of which domain.
        domain: DomainName,
        /// The entry, as [`crate::handoff::ledger::to_text`] writes it.
        line: String,
    },
    /// Forget the entry of this epoch.
    Forget {
        /// Of which domain.
        domain: DomainName,
        /// Which one.
        epoch: Epoch,
    },
    /// Could you take this domain? ([`PREFLIGHT`])
    Preflight {
        /// What it needs.
        needs: Needs,
    },
    /// Make ready for this domain, which I am about to push to you over this connection. ([`PREPARE`])
    Prepare {
        /// Which domain.
        domain: DomainName,
        /// How much room, if that is to be made.
        room: Option<Wanted>,
        /// Devices of yours that it will be given.
        devices: Vec<PciAddress>,
        /// Seconds that you may take for it.
        #[serde(deserialize_with = "at_most::<_, WEEK>")]
        limit: u64,
        /// Seconds until the stream will have ended, at the latest.
        #[serde(deserialize_with = "at_most::<_, WEEK>")]
        comes_in: u64,
    },
    /// When did you last begin to run this domain? ([`LAST_RUN`])
    LastRun {
        /// Which domain.
        domain: DomainName,
    },
    /// Which offers and transfers are there with you? ([`STATUS`])
    Status,
    /// Keep a slot of yours for the move that I shall ask for over this connection. ([`SLOTS`])
    Slot {
        /// Of which domain.
        domain: DomainName,
        /// Which way it goes, as you see it.
        direction: Direction,
        /// Its priority in the line; `None`: I shall not wait.
        priority: Option<i64>,
        /// How long I shall, in seconds, and how long the slot is to be kept for me.
        #[serde(deserialize_with = "at_most::<_, WEEK>")]
        limit: u64,
    },
    /// Let me fetch this domain. I have no copy of it.
    Claim {
        /// Which domain.
        domain: DomainName,
        /// The offer's epoch, you, and me.
        transfer: Transfer,
        /// Me, for what may have to be settled later.
        back: Address,
        /// How the last stream of it that came to me ended.
        ended: Option<Ended>,
        /// Seconds until the stream is to be broken off if it has not come to the point of no return.
        #[serde(deserialize_with = "at_most::<_, WEEK>")]
        limit: u64,
        /// What the stream may use; you have said that you know of it.
        #[serde(default, skip_serializing_if = "Terms::is_plain")]
        terms: Terms,
    },
    /// I was to fetch this domain and cannot. End your offer and shut it down; I boot it here when you have
    /// said that you have none. ([`YIELD`])
    Yield {
        /// Which domain.
        domain: DomainName,
        /// The offer's epoch, you, and me.
        transfer: Transfer,
        /// Why it cannot be moved to me, for your log.
        reason: String,
        /// Seconds that I can wait for its end.
        #[serde(deserialize_with = "at_most::<_, WEEK>")]
        limit: u64,
    },
    /// Who may still start this resource, as your cluster manager sees it? ([`OUTLOOK`])
    Outlook {
        /// Which resource.
        resource: String,
    },
    /// Which moves have begun or ended with you? ([`MOVES`])
    Moves {
        /// Of this domain only.
        domain: Option<DomainName>,
        /// The newest ones, so many at most.
        #[serde(deserialize_with = "at_most::<_, MOST_MOVES>")]
        last: u64,
    },
    /// How are you set up? ([`SETUP`])
    Setup,
    /// What is there of these with you, and what time is it? ([`SETUP`])
    Look {
        /// Files, as they are with me.
        files: Vec<FileDigest>,
        /// Disks.
        disks: Vec<LocalPath>,
    },
    /// What would Xen's own service for guests do with the cluster's domains there? ([`XENDOMAINS`])
    Xendomains,
    /// What would come of a stop of this resource with you, if it then started there? ([`TRIAL`])
    Trial {
        /// Which resource.
        resource: String,
        /// Where it would start.
        target: NodeName,
        /// Whether the cluster migrates it by itself.
        migrates: bool,
    },
    /// Take this domain from me.
    Receive {
        /// Which domain.
        domain: DomainName,
        /// The push's epoch, me, and you.
        transfer: Transfer,
        /// As in `Claim`.
        #[serde(deserialize_with = "at_most::<_, WEEK>")]
        limit: u64,
        /// How the stream will look; you have said that you know of it.
        #[serde(default, skip_serializing_if = "Compression::is_none")]
        compression: Compression,
    },
}

impl Request {
    /// The verb that the far end must have named, where it is one of the later ones.
    pub fn later_verb(&self) -> Option<&'static str> {
        match self {
            Self::Preflight { .. } => Some(PREFLIGHT),
            Self::Prepare { .. } => Some(PREPARE),
            Self::LastRun { .. } => Some(LAST_RUN),
            Self::Slot { .. } => Some(SLOTS),
            Self::Status => Some(STATUS),
            Self::Yield { .. } => Some(YIELD),
            Self::Outlook { .. } => Some(OUTLOOK),
            Self::Moves { .. } => Some(MOVES),
            Self::Trial { .. } => Some(TRIAL),
            Self::Setup | Self::Look { .. } => Some(SETUP),
            Self::Xendomains => Some(XENDOMAINS),
            Self::Presence { .. }
            | Self::Resolve { .. }
            | Self::Reach { .. }
            | Self::Ledger { .. }
            | Self::Note { .. }
            | Self::Forget { .. }
            | Self::Claim { .. }
            | Self::Receive { .. } => None,
        }
    }
}

/// What the far end answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// It stands like this.
    Stands {
        /// What the listing shows. Never `Absent` while the toolstack may be re-creating it.
        presence: Presence,
        /// What the record says.
        phase: Phase,
        /// How the last stream that came here ended.
        ended: Option<Ended>,
    },
    /// It is done.
    Done,
    /// Not yet. To a [`Request::Slot`] with a priority, more answers follow.
    Waiting {
        /// What for.
        why: String,
    },
    /// I have just reached you.
    Reached,
    /// My ledger has this.
    Ledger {
        /// Offers and pushes.
        entries: Entries,
    },
    /// About this node.
    Facts {
        /// What was asked for.
        facts: Facts,
    },
    /// Then, by its own mark.
    LastRun {
        /// It means nothing but that it is another one each time.
        mark: Epoch,
    },
    /// Its offers and transfers.
    Status {
        /// One each.
        rows: Vec<Row>,
    },
    /// As this node sees it.
    Outlook {
        /// Who may start it.
        outlook: Outlook,
    },
    /// From its log, the oldest first.
    Moves {
        /// One each.
        moves: Vec<Move>,
    },
    /// How it is set up.
    Setup {
        /// All of it.
        setup: Setup,
    },
    /// What it has of what was asked for.
    Seen {
        /// All of it.
        seen: Seen,
    },
    /// What that service would do.
    Xendomains {
        /// All of it; or what cannot be read, and why.
        xendomains: Result<Xendomains, String>,
    },
    /// A stop would come to this.
    Tried {
        /// To what.
        tried: Tried,
    },
    /// It begins: the next byte is xl's.
    Granted,
    /// Not now or not at all.
    Refused {
        /// In words.
        reason: String,
        /// How the domain stands here, where that was asked.
        stands: Option<(Presence, Phase)>,
    },
}

impl fmt::Display for Answer {
    /// For people, where another one was expected.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stands { .. } => "where the domain stands",
            Self::Done => "done",
            Self::Waiting { why } => return write!(f, "not yet: {why}"),
            Self::Reached => "reached",
            Self::Ledger { .. } => "what its ledger has",
            Self::Facts { .. } => "facts about itself",
            Self::LastRun { .. } => "when it last ran the domain",
            Self::Status { .. } => "its offers and transfers",
            Self::Outlook { .. } => "who may start the resource",
            Self::Moves { .. } => "its log of moves",
            Self::Setup { .. } => "how it is set up",
            Self::Seen { .. } => "what it has of files and disks",
            Self::Xendomains { .. } => "what xendomains would do",
            Self::Tried { .. } => "what a stop would come to",
            Self::Granted => "granted",
            Self::Refused { reason, .. } => return write!(f, "no: {reason}"),
        })
    }
}

/// What a stop would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Tried {
    /// The domain would move while it runs.
    Moves,
    /// The target could neither fetch nor boot it.
    NotThere {
        /// Why not.
        why: String,
    },
    /// The domain would be shut down, to be booted at the target.
    Refused {
        /// Why.
        why: String,
    },
    /// That could not be found out.
    Unknown {
        /// Why not.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_beyond_its_bound_is_no_request() {
        let slot = |limit: &str| {
            format!(
                r#"{{"verb":"slot","domain":"x0","direction":"incoming","priority":null,"limit":{limit}}}"#
            )
        };
        assert!(serde_json::from_str::<Request>(&slot("600")).is_ok());
        assert!(serde_json::from_str::<Request>(&slot("1000000000000")).is_err());
        let gives_up = |limit: &str| {
            format!(
                r#"{{"verb":"yield","domain":"x0","transfer":{{"epoch":7,"source":"n1","target":"n2"}},"reason":"","limit":{limit}}}"#
            )
        };
        assert!(serde_json::from_str::<Request>(&gives_up("600")).is_ok());
        assert!(serde_json::from_str::<Request>(&gives_up("1000000000000")).is_err());
        let reach = |seconds: &str| {
            format!(
                r#"{{"verb":"reach","back":{{"node":"n1","host":"n1","user":"root","port":22,"connect_seconds":{seconds}}}}}"#
            )
        };
        assert!(serde_json::from_str::<Request>(&reach("10")).is_ok());
        assert!(serde_json::from_str::<Request>(&reach("18446744073709551615")).is_err());
        let prepare = |mib: &str| {
            format!(
                r#"{{"verb":"prepare","domain":"x0","room":{{"mib":{mib},"dom0_keeps_mib":512}},"devices":[],"limit":60,"comes_in":60}}"#
            )
        };
        assert!(serde_json::from_str::<Request>(&prepare("4096")).is_ok());
        assert!(serde_json::from_str::<Request>(&prepare("18446744073709551615")).is_err());
    }
}
