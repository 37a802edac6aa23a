//! The two ends of a transfer that the agent begins itself, each in a process of its own outside the cluster's kill range:
//! `xen-handoff fetch` (for `start`) and `xen-handoff push` (for `migrate_to`).
//!
//! The action passes an [`Order`] on the command line and reads one [`Word`] from the worker's stdout. If the cluster
//! kills the action, the worker goes on to the end of its stream, which has a deadline of its own just before the
//! action's.

use std::fs::File;
use std::process::Child;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Agent;
use crate::clock::{Deadline, UnixTime};
use crate::cluster::detect;
use crate::command::{self, begin_session};
use crate::domain::{DomainName, Presence};
use crate::handoff::event::ReceiverEnd;
use crate::handoff::ledger::Entry;
use crate::handoff::record::Store;
use crate::handoff::{Event, Phase, Push, Transfer};
use crate::host::Root;
use crate::transfer::settle::AtSourceEnd;
use crate::transfer::{self, Stream};
use crate::transport::inquiry::read_back;
use crate::transport::message::{Address, Answer, Request};
use crate::transport::{Connection, read_line, ssh, write_line};

/// The time between the stream's own deadline and the action's.
const LEEWAY: Duration = Duration::from_secs(3);

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
    /// Seconds, from the worker's begin, until the stream is broken off if it has not come to the point of no return.
    pub limit: u64,
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
        stands: Option<(Presence, Phase)>,
    },
    /// Nothing has moved.
    Failed {
        /// Why.
        reason: String,
    },
    /// It is not known where the domain runs.
    Undecided {
        /// What was seen.
        reason: String,
    },
}

/// What the worker writes to its stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The end.
    pub end: Outcome,
}

fn failed(reason: impl ToString) -> Outcome {
    Outcome::Failed { reason: reason.to_string() }
}

/// `xen-handoff fetch`: claims a domain and receives it.
///
/// # Errors
/// If stdout cannot be written to; the transfer is over by then.
pub fn fetch(root: &Root, order: &Order) -> anyhow::Result<()> {
    work(order, |deadline| {
        let (lock, connection) = open(root, order)?;
        let request = Request::Claim {
            domain: order.domain.clone(),
            transfer: order.transfer.clone(),
            back: order.back.clone(),
            ended: Store::new(root.state_folder()).last_end(&order.domain),
            limit: seconds(deadline),
        };
        let (from_peer, to_peer, _session) = begin(order, connection, &request)?;
        let (domain, transfer) = (&order.domain, &order.transfer);
        let stream = Stream { root, domain, transfer, from_peer, to_peer, lock: &lock, deadline };
        let received = transfer::receive::receive(stream).map_err(broken)?;
        Ok(match received.end {
            ReceiverEnd::Running => Outcome::Moved,
            ReceiverEnd::Nothing => failed(received.said),
            ReceiverEnd::Undecided => Outcome::Undecided { reason: received.said },
        })
    })
}

/// `xen-handoff push`: offers a domain to the target's receiver and sends it, once the target has read the push in its
/// ledger.
///
/// # Errors
/// If stdout cannot be written to; the transfer is over by then.
pub fn push(root: &Root, order: &Order) -> anyhow::Result<()> {
    let (domain, transfer) = (&order.domain, &order.transfer);
    work(order, |deadline| {
        let begun = || {
            let (lock, mut connection) = open(root, order)?;
            let entry = Push { domain: domain.clone(), transfer: transfer.clone(), made_at: order.begun_at };
            let recorded = read_back(&mut connection, &Entry::Push(entry), deadline).map_err(failed)?;
            let (domain, transfer) = (domain.clone(), transfer.clone());
            let request = Request::Receive { domain, transfer, limit: seconds(deadline) };
            Ok((lock, recorded, begin(order, connection, &request)?))
        };
        let (lock, recorded, (from_peer, to_peer, _session)) = begun().inspect_err(|_| {
            // Nothing was sent under it.
            detect(root).ledger().erase(domain, transfer.epoch);
        })?;
        Store::new(root.state_folder())
            .advance_with(domain, "push", Event::Pushed(transfer.clone(), recorded), |record| {
                record.peer = Some(order.peer.clone());
            })
            .map_err(|error| broken(error.into()))?;
        let stream = Stream { root, domain, transfer, from_peer, to_peer, lock: &lock, deadline };
        let sent = transfer::send::send(stream).map_err(broken)?;
        Ok(match sent.end {
            AtSourceEnd::Moved => Outcome::Moved,
            AtSourceEnd::StillHere => failed(sent.said),
            AtSourceEnd::Gone => failed(format!("it ended by itself meanwhile; {}", sent.said)),
            AtSourceEnd::Undecided(why) => Outcome::Undecided { reason: format!("{why}; {}", sent.said) },
        })
    })
}

/// Takes the transfer lock and opens the connection.
fn open(root: &Root, order: &Order) -> Result<(File, Connection), Outcome> {
    let lock = Store::new(root.state_folder())
        .begin_transfer(&order.domain)
        .map_err(failed)?
        .ok_or_else(|| failed("a transfer of this domain is under way here"))?;
    let connection = ssh::dial(root, &order.peer, answer_by(order)).map_err(failed)?;
    Ok((lock, connection))
}

/// Asks for leave to begin.
fn begin(order: &Order, mut connection: Connection, request: &Request) -> Result<Streams, Outcome> {
    match connection.ask(request, answer_by(order)) {
        Ok(Answer::Granted) => Ok(connection.into_streams()),
        Ok(Answer::Refused { reason, stands }) => Err(Outcome::Refused { reason, stands }),
        Ok(other) => Err(failed(format!("{} answers {other:?}", order.peer.node))),
        Err(error) => Err(failed(error)),
    }
}

type Streams = (std::os::fd::OwnedFd, std::os::fd::OwnedFd, Option<crate::transport::Session>);

/// The far end lists its domains before it answers.
fn answer_by(order: &Order) -> Deadline {
    Deadline::after(order.peer.connect_timeout() + Duration::from_secs(30))
}

fn seconds(deadline: Deadline) -> u64 {
    deadline.left().as_secs().max(1)
}

fn broken(error: anyhow::Error) -> Outcome {
    failed(format!("{error:#}"))
}

fn work(order: &Order, job: impl FnOnce(Deadline) -> Result<Outcome, Outcome>) -> anyhow::Result<()> {
    let deadline = Deadline::after(Duration::from_secs(order.limit));
    begin_session();
    let end = job(deadline).unwrap_or_else(|end| end);
    log::info!(
        "domain={} transfer {} -> {}: {end:?}",
        order.domain,
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

impl Agent {
    /// Has a worker do it, and waits for its word as long as this action may.
    pub(super) fn employ(&self, job: &str, transfer: Transfer, peer: Address, begun_at: UnixTime) -> Outcome {
        let limit = self.deadline.left().saturating_sub(LEEWAY).as_secs().max(1);
        let back = match self.transport.address(&self.node) {
            Ok(back) => back,
            Err(error) => return failed(error),
        };
        let order = Order { domain: self.domain.clone(), transfer, peer, back, begun_at, limit };
        let text = match serde_json::to_string(&order) {
            Ok(text) => text,
            Err(error) => return failed(error),
        };
        let (mut worker, stdout) = match command::detach(self.root(), &[job, "--order", &text]) {
            Ok(worker) => worker,
            Err(error) => return failed(error),
        };
        let word = match read_line(&stdout.into(), self.deadline) {
            Ok(Some(line)) => serde_json::from_str(&line).map_or_else(
                |error| Outcome::Undecided { reason: format!("the worker's word cannot be read: {error}") },
                |word: Word| word.end,
            ),
            Ok(None) => Outcome::Undecided { reason: "the worker ended without a word".to_owned() },
            Err(_) => {
                return Outcome::Undecided {
                    reason: "the transfer is past the point of no return and goes on without this action"
                        .to_owned(),
                };
            }
        };
        reap(&mut worker);
        word
    }
}

/// Its word was its last act.
fn reap(worker: &mut Child) {
    if let Err(error) = worker.wait() {
        log::debug!("worker: {error}");
    }
}
