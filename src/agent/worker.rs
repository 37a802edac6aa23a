//! The two ends of a transfer that the agent begins itself, each in a process of its own outside the cluster's kill range:
//! `xen-handoff fetch` (for `start`) and `xen-handoff push` (for `migrate_to`).
//!
//! The action passes an [`Order`] on the command line and reads one [`Word`] from the worker's stdout. If the cluster
//! kills the action, the worker goes on to the end of its stream, which has a deadline of its own just before the
//! action's.

use std::os::fd::{AsFd, RawFd};
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::devices::{detach, give_again};
use super::line::{far_slot, slot_here};
use super::{Agent, LIST_LIMIT};
use crate::clock::{Deadline, UnixTime};
use crate::cluster::detect;
use crate::command::{self, begin_session};
use crate::descriptor::{adopt, bequeath};
use crate::domain::{DomainConfig, DomainName, PciAddress, Presence};
use crate::handoff::event::ReceiverEnd;
use crate::handoff::ledger::Entry;
use crate::handoff::record::Store;
use crate::handoff::{Event, Phase, Push, Transfer};
use crate::host::Root;
use crate::preflight::ask::{ToMove, objections};
use crate::preflight::judge::needed_mib;
use crate::toolstack::Toolstack;
use crate::toolstack::xl::Xl;
use crate::transfer::moves::Why;
use crate::transfer::progress::Direction;
use crate::transfer::settle::AtSourceEnd;
use crate::transfer::slots::Place;
use crate::transfer::terms::Terms;
use crate::transfer::{self, Stream};
use crate::transport::inquiry::read_back;
use crate::transport::message::{Address, Answer, PREPARE, Request, Wanted};
use crate::transport::{Connection, read_line, ssh, write_line};

/// The time between the stream's own deadline and the action's.
const LEEWAY: Duration = Duration::from_secs(3);
/// How long a target may take to make room.
const ROOM_LIMIT: Duration = Duration::from_secs(45);

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

/// What the worker writes to its stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The end.
    pub end: Outcome,
}

pub(super) fn failed(reason: impl ToString) -> Outcome {
    Outcome::Failed { reason: reason.to_string() }
}

/// `xen-handoff fetch`: claims a domain and receives it.
///
/// # Errors
/// If stdout cannot be written to; the transfer is over by then.
pub fn fetch(root: &Root, order: &Order, lock: RawFd, slot: Option<RawFd>) -> anyhow::Result<()> {
    work(order, |deadline| {
        let lock = adopt(lock).map_err(failed)?;
        let _slot = slot.map(adopt).transpose().map_err(failed)?;
        // A claimant has no copy: that is what a claim says. Nobody else can get one here while the lock is held. The connection is
        // made meanwhile; nothing is asked over it before this is known.
        let (presence, connection) = std::thread::scope(|scope| {
            let dialling = scope.spawn(|| ssh::dial(root, &order.peer, answer_by(order)));
            (Xl::new(root).presence(&order.domain, LIST_LIMIT), dialling.join())
        });
        if presence != Presence::Absent {
            return Err(failed(format!("it is {presence} on this node already")));
        }
        let mut connection =
            connection.map_err(|_| failed("the thread that connects failed"))?.map_err(failed)?;
        far_slot(root, order, &mut connection, Direction::Outgoing, deadline)?;
        let terms = order.terms.agreed(&order.domain, &connection, true);
        let request = Request::Claim {
            domain: order.domain.clone(),
            transfer: order.transfer.clone(),
            back: order.back.clone(),
            ended: Store::new(root.state_folder()).last_end(&order.domain),
            limit: seconds(deadline),
            terms,
        };
        let (from_peer, to_peer, _session) = begin(order, connection, &request)?;
        let (domain, transfer) = (&order.domain, &order.transfer);
        let lock = lock.as_fd();
        let why = Why::Handoff;
        let stream = Stream { root, domain, why, transfer, from_peer, to_peer, lock, deadline, terms };
        let began = Instant::now();
        let received = transfer::receive::receive(stream).map_err(broken)?;
        Ok(match received.end {
            ReceiverEnd::Running => Outcome::Moved,
            ReceiverEnd::Nothing => Outcome::Broken { reason: in_time(terms, began) + &received.said },
            ReceiverEnd::Undecided => Outcome::Undecided { reason: received.said },
        })
    })
}

/// `xen-handoff push`: offers a domain to the target's receiver and sends it, once the target has read the push in its
/// ledger.
///
/// # Errors
/// If stdout cannot be written to; the transfer is over by then.
pub fn push(root: &Root, order: &Order, lock: RawFd) -> anyhow::Result<()> {
    let (domain, transfer) = (&order.domain, &order.transfer);
    let xl = Xl::new(root);
    // Nothing was sent under it.
    let forget = || detect(root).ledger().erase(domain, transfer.epoch);
    work(order, |deadline| {
        let devices = match order.detach {
            true => xl.devices(domain, LIST_LIMIT).map_err(failed).inspect_err(|_| forget())?,
            false => Vec::new(),
        };
        // Before anybody else is asked for anything.
        let known = ToMove::of(&xl, domain, order.detach, LIST_LIMIT);
        if let Some(why) = known.as_ref().and_then(ToMove::hindrance) {
            forget();
            return Err(failed(why));
        }
        let begun = || {
            let lock = adopt(lock).map_err(failed)?;
            let mut connection = ssh::dial(root, &order.peer, answer_by(order)).map_err(failed)?;
            let entry = Push { domain: domain.clone(), transfer: transfer.clone(), made_at: order.begun_at };
            let recorded = read_back(&mut connection, &Entry::Push(entry), deadline).map_err(failed)?;
            if let Some(known) = &known {
                prepare(order, &mut connection, &known.needs.config, &devices, deadline)
                    .and_then(|()| {
                        objections(&mut connection, &known.needs, known.here.as_ref(), answer_by(order))
                    })
                    .map_err(|why| Outcome::Refused { reason: why, stands: None })?;
            }
            // The target's first: see `transfer::slots`.
            far_slot(root, order, &mut connection, Direction::Incoming, deadline)?;
            let slot =
                slot_here(root, domain, &order.resource, Direction::Outgoing, deadline).map_err(busy)?;
            detach(&xl, domain, &devices).map_err(failed)?;
            let boot = connection.peer_boot().map(str::to_owned);
            let (domain, transfer) = (domain.clone(), transfer.clone());
            let terms = order.terms.agreed(&domain, &connection, false);
            let (limit, compression) = (seconds(deadline), terms.compression);
            let request = Request::Receive { domain, transfer, limit, compression };
            Ok((lock, slot, recorded, boot, terms, begin(order, connection, &request)?))
        };
        let (lock, _slot, recorded, boot, terms, (from_peer, to_peer, _session)) =
            begun().inspect_err(|_| {
                forget();
                give_again(&xl, domain, &devices);
            })?;
        Store::new(root.state_folder())
            .advance_with(domain, "push", Event::Pushed(transfer.clone(), recorded), |record| {
                record.peer = Some(order.peer.clone());
                record.peer_boot = boot;
            })
            .map_err(|error| broken(error.into()))
            .inspect_err(|_| give_again(&xl, domain, &devices))?;
        let lock = lock.as_fd();
        let why = Why::Migration;
        let stream = Stream { root, domain, why, transfer, from_peer, to_peer, lock, deadline, terms };
        let began = Instant::now();
        let sent = transfer::send::send(stream).map_err(broken)?;
        if sent.end == AtSourceEnd::StillHere {
            give_again(&xl, domain, &devices);
        }
        Ok(match sent.end {
            AtSourceEnd::Moved => Outcome::Moved,
            AtSourceEnd::StillHere => failed(in_time(terms, began) + &sent.said),
            AtSourceEnd::Gone => failed(format!("it ended by itself meanwhile; {}", sent.said)),
            AtSourceEnd::Undecided(why) => Outcome::Undecided { reason: format!("{why}; {}", sent.said) },
        })
    })
}

/// Has the target make room for it, where that is asked for, and say whether it has what is to be attached there.
fn prepare(
    order: &Order,
    connection: &mut Connection,
    config: &DomainConfig,
    devices: &[PciAddress],
    deadline: Deadline,
) -> Result<(), String> {
    if order.room.is_none() && devices.is_empty() {
        return Ok(());
    }
    if devices.is_empty() && !connection.can(PREPARE) {
        log::info!("domain={} xen-handoff there makes no room", order.domain);
        return Ok(());
    }
    let limit = Deadline::after(ROOM_LIMIT).min(deadline);
    let request = Request::Prepare {
        domain: order.domain.clone(),
        room: order.room.map(|dom0_keeps_mib| Wanted { mib: needed_mib(config), dom0_keeps_mib }),
        devices: devices.to_vec(),
        limit: seconds(limit),
        comes_in: seconds(deadline),
    };
    match connection.ask(&request, Deadline::after(limit.left() + order.peer.connect_timeout())) {
        Ok(Answer::Done) => Ok(()),
        Ok(Answer::Refused { reason, .. }) => Err(reason),
        Ok(other) => Err(format!("it answers {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// What is to be said first of a stream that has ended with nothing moved: whether its time was over.
fn in_time(terms: Terms, began: Instant) -> String {
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
fn begin(order: &Order, mut connection: Connection, request: &Request) -> Result<Streams, Outcome> {
    match connection.ask(request, answer_by(order)) {
        Ok(Answer::Granted) => Ok(connection.into_streams()),
        Ok(Answer::Refused { reason, stands }) => {
            Err(Outcome::Refused { reason, stands: stands.map(Box::new) })
        }
        Ok(other) => Err(failed(format!("{} answers {other:?}", order.peer.node))),
        Err(error) => Err(failed(error)),
    }
}

type Streams = (std::os::fd::OwnedFd, std::os::fd::OwnedFd, Option<crate::transport::Session>);

/// The far end lists its domains before it answers.
pub(super) fn answer_by(order: &Order) -> Deadline {
    Deadline::after(order.peer.connect_timeout() + Duration::from_secs(30))
}

pub(super) fn seconds(deadline: Deadline) -> u64 {
    deadline.left().as_secs().max(1)
}

fn broken(error: anyhow::Error) -> Outcome {
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
    /// Has a worker do it, which breaks off what has not come to the point of no return just before `until`, and waits for its word as
    /// long as this action may.
    pub(super) fn employ(
        &self,
        job: &str,
        transfer: Transfer,
        peer: Address,
        begun_at: UnixTime,
        until: Deadline,
        slot: Option<&Place>,
    ) -> Outcome {
        let limit = until.left().saturating_sub(LEEWAY).as_secs().max(1);
        let back = match self.transport.address(&self.node) {
            Ok(back) => back,
            Err(error) => return failed(error),
        };
        let (terms, resource) = (self.parameters.terms, self.resource.clone());
        let room = self.parameters.share_memory.then_some(self.parameters.dom0_keeps_mib);
        let (domain, detach) = (self.domain.clone(), self.parameters.detach_pci);
        let order = Order { domain, transfer, peer, back, begun_at, limit, terms, room, resource, detach };
        let text = match serde_json::to_string(&order) {
            Ok(text) => text,
            Err(error) => return failed(error),
        };
        // The lock is the worker's from its first moment: there is none in which it works unseen.
        let (mut worker, stdout) = match self.start_worker(job, &text, slot) {
            Ok(worker) => worker,
            Err(error) => return failed(format!("{error:#}")),
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

    fn start_worker(
        &self,
        job: &str,
        order: &str,
        slot: Option<&Place>,
    ) -> anyhow::Result<(Child, ChildStdout)> {
        let lock = self
            .store
            .begin_transfer(&self.domain)?
            .ok_or_else(|| anyhow::anyhow!("a transfer of this domain is under way here"))?;
        let (_inherited, number) = bequeath(&lock)?;
        let number = number.to_string();
        let slot = slot.map(|slot| bequeath(&slot.file)).transpose()?;
        let mut args =
            vec![job.to_owned(), "--order".to_owned(), order.to_owned(), "--lock".to_owned(), number];
        if let Some((_inherited, number)) = &slot {
            args.extend(["--slot".to_owned(), number.to_string()]);
        }
        Ok(command::detach(self.root(), &args)?)
    }
}

/// Its word was its last act.
fn reap(worker: &mut Child) {
    if let Err(error) = worker.wait() {
        log::debug!("worker: {error}");
    }
}
