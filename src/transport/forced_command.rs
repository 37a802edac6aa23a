//! `xen-handoff serve`: the far end of a connection, started by sshd as a forced command.
//!
//! This is the whole of what a holder of the cluster's key can do here:
//!
//! | verb | what it does here |
//! |---|---|
//! | `presence` | lists, and reads the record; changes nothing |
//! | `resolve` | settles what a broken transfer left here ([`crate::transfer::settle`]), then as `presence` |
//! | `reach` | dials the address that was given, with our own options and key, and hangs up |
//! | `ledger` | reads the ledger; changes nothing |
//! | `note`, `forget` | keeps or forgets an entry in this node's part of the ledger, a small file |
//! | `status` | lists, and reads all records; changes nothing |
//! | `preflight` | lists, asks for the host's memory, tries to open the disks that are named, and closes them; changes nothing |
//! | `last-run` | reads this node's mark of the domain's last run; makes one where there is none |
//! | `prepare` | looks whether the devices that are named can be given to a domain; has domains here that take part give some memory, never below their floors ([`crate::memory`]); it is theirs again when the connection ends |
//! | `slot` | keeps a place in the line of moves, and then a slot, as long as the connection lasts |
//! | `claim` | sends a domain that *is on offer under this epoch* to the caller |
//! | `yield` | ends *an offer of this epoch* before its deadline: its keeper shuts the domain down in order |
//! | `outlook` | asks this node's scheduler where it would start a resource; changes nothing |
//! | `receive` | takes a domain from the caller, if none of that name is here |
//!
//! Where the toolstack is not xl, `claim`, `receive` and `prepare` are refused with that reason: there is no stream to carry.
//!
//! What the caller asked sshd to run (`SSH_ORIGINAL_COMMAND`) is not looked at. Every field of a request is parsed into
//! a type that cannot be mistaken for an option or a path; a line that does not parse ends the connection.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::inquiry::settle_there;
use super::message::{Address, Answer, Greeting, PROTOCOL, Request, Wanted};
use super::{read_line, ssh, understand, write_line};
use crate::agent::devices::{assignable, detach, give_again};
use crate::agent::identity::under_another_name;
use crate::clock::Deadline;
use crate::cluster::heartbeat::Fencings;
use crate::cluster::peer_files::PeerFiles;
use crate::cluster::{ClusterError, ClusterView, Destination, detect};
use crate::command::{self, wait_ready};
use crate::domain::{DomainName, Presence};
use crate::handoff::event::SenderEnd;
use crate::handoff::evidence::{Outlook, PeerSays};
use crate::handoff::ledger::from_text;
use crate::handoff::record::{DEFAULT_TERMS, Store};
use crate::handoff::{Effect, Ended, Event, Phase, Transfer};
use crate::host::Root;
use crate::memory::Memory;
use crate::preflight::facts::gather;
use crate::snapshot::mark;
use crate::tool::status::rows;
use crate::toolstack::{self, xl::Xl};
use crate::transfer::moves::Why;
use crate::transfer::progress::Direction;
use crate::transfer::settle::AtSourceEnd;
use crate::transfer::slots::{Place, Slots};
use crate::transfer::terms::Terms;
use crate::transfer::{self, Stream, settle};

/// How long we wait for the caller's next line.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long what a killed process left behind may take to be put right.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
/// How often a place in line is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often who waits hears that we are still there.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// Limit of a question to the scheduler.
const PLAN_LIMIT: Duration = Duration::from_secs(30);
/// Limit of one listing.
const LIST_LIMIT: Duration = Duration::from_secs(10);

/// Where a domain stands on this node, as an answer to another node and for the operators' tool. While somebody else
/// holds the transfer lock that he has not put on record yet, a copy is about to come or to go: that is *unknown*.
pub fn stands(root: &Root, domain: &DomainName) -> (Presence, Phase) {
    let (presence, phase) = stands_by_itself(root, domain);
    if !phase.is_in_transfer() && Store::new(root.state_folder()).is_transferring(domain) {
        return (Presence::Unknown("a transfer of it is about to begin or to end".to_owned()), phase);
    }
    (presence, phase)
}

/// The same for whoever holds the transfer lock.
///
/// The record is read before the listing and again after it: a domain that arrived or left in between would otherwise be
/// reported by one of the two as it was, and by the other as it is.
fn stands_by_itself(root: &Root, domain: &DomainName) -> (Presence, Phase) {
    let (store, toolstack) = (Store::new(root.state_folder()), toolstack::of(root));
    let mut before = match store.load(domain) {
        Ok(record) => record,
        Err(error) => return (Presence::Unknown(error.to_string()), Phase::Idle),
    };
    for _ in 0..3 {
        let presence = match toolstack.presence(domain, LIST_LIMIT) {
            // A reboot: the toolstack destroys the domain and creates it anew.
            Presence::Absent if toolstack.is_attended(domain) => Presence::Unknown(
                "absent, but the toolstack's daemon for it lives or is about to create it anew: it may be rebooting".to_owned(),
            ),
            // Which of the two ends has it in a moment is not said by which has it now.
            Presence::Running(_) if toolstack.is_moving(domain, LIST_LIMIT).unwrap_or(true) => {
                Presence::Unknown(format!("it runs here, and {} is moving it to another host", toolstack.kind()))
            }
            Presence::Absent => match under_another_name(root, toolstack.as_ref(), domain) {
                Some(name) => Presence::Unknown(format!("it is here as {name}: its file has got another name since")),
                None => Presence::Absent,
            },
            presence => presence,
        };
        match store.load(domain) {
            Ok(after) if after == before => return (presence, after.state),
            Ok(after) => before = after,
            Err(error) => return (Presence::Unknown(error.to_string()), Phase::Idle),
        }
    }
    (Presence::Unknown("its record changed while it was looked at".to_owned()), before.state)
}

/// Answers the caller until it hangs up or a stream has passed.
///
/// # Errors
/// If the caller does not keep to the protocol, or what it asked for cannot be done. A caller that does not wait for its
/// answer is none.
pub fn serve(root: &Root) -> anyhow::Result<()> {
    answer_all(root).or_else(|error| match error.downcast_ref::<std::io::Error>() {
        Some(hung_up) if hung_up.kind() == std::io::ErrorKind::BrokenPipe => {
            log::info!("the caller did not wait for the answer");
            Ok(())
        }
        _ => Err(error),
    })
}

fn answer_all(root: &Root) -> anyhow::Result<()> {
    let from_caller = rustix::stdio::stdin().try_clone_to_owned()?;
    let to_caller = rustix::stdio::stdout().try_clone_to_owned()?;
    // The standard streams are given up, so that the connection ends when the last of those who carry it does. That
    // includes stderr: sshd passes the end of stdout on only when stderr has ended as well.
    let nowhere = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;

    Fencings::of(root).forget_all()?;
    write_line(&to_caller, &Greeting::ours(root))?;
    let Some(line) = read_line(&from_caller, Deadline::after(IDLE_LIMIT))? else { return Ok(()) };
    let greeting: Greeting = understand(&line)?;
    if greeting.protocol != PROTOCOL {
        let reason = format!("this node speaks protocol {PROTOCOL}, you speak {}", greeting.protocol);
        return Ok(write_line(&to_caller, &Answer::Refused { reason, stands: None })?);
    }
    // What was made for a domain that comes over this connection, kept for as long as it lives.
    let mut room = None;
    let (mut slot, mut idle) = (None, IDLE_LIMIT);
    let kind = toolstack::kind_of(root);
    while let Some(line) = read_line(&from_caller, Deadline::after(idle))? {
        let request: Request = understand(&line)?;
        log::debug!("serve request={request:?}");
        if let (false, Request::Claim { .. } | Request::Receive { .. } | Request::Prepare { .. }) =
            (kind.streams(), &request)
        {
            write_line(&to_caller, &refused(kind.no_stream()))?;
            continue;
        }
        let answer = match request {
            Request::Presence { domain } => {
                let (presence, phase) = stands(root, &domain);
                let ended = Store::new(root.state_folder()).last_end(&domain);
                Answer::Stands { presence, phase, ended }
            }
            Request::Resolve { domain } => resolve(root, &domain)?,
            Request::Reach { back } => reach(root, detect(root).as_ref(), &back),
            Request::Ledger { domain } => ledger(detect(root).as_ref(), &domain),
            Request::Note { domain, line } => note(root, &domain, &line),
            Request::Forget { domain, epoch } => {
                done(PeerFiles::new(root).forget(&domain, epoch).map_err(|error| error.to_string()))
            }
            Request::Preflight { needs } => {
                Answer::Facts { facts: gather(root, toolstack::of(root).as_ref(), &needs) }
            }
            Request::Prepare { domain, room: wanted, devices, limit, comes_in } => {
                let [by, comes_by] = [limit, comes_in].map(|span| Deadline::after(Duration::from_secs(span)));
                let made = assignable(root, &devices).and_then(|()| {
                    let Some(Wanted { mib, dom0_keeps_mib }) = wanted else { return Ok(None) };
                    let memory = Memory { root, toolstack: &Xl::new(root), dom0_keeps_mib };
                    let made = memory.make_room(&domain, mib, by, comes_by).map(Some);
                    made.map_err(|why| format!("there is no room for it: {why}"))
                });
                match made {
                    Ok(made) => {
                        room = made;
                        Answer::Done
                    }
                    Err(why) => refused(why),
                }
            }
            Request::LastRun { domain } => {
                mark(root, &domain).map_or_else(refused, |mark| Answer::LastRun { mark })
            }
            Request::Status => match rows(root) {
                Ok(rows) => Answer::Status { rows },
                Err(error) => refused(error),
            },
            Request::Slot { domain, direction, priority, limit } => {
                let asked = Asked { domain, direction, priority, limit };
                match keep_slot(root, &asked, &from_caller, &to_caller)? {
                    Ok(place) => {
                        slot = Some(place);
                        idle = Duration::from_secs(limit).max(IDLE_LIMIT);
                        Answer::Done
                    }
                    Err(answer) => answer,
                }
            }
            Request::Yield { domain, transfer, reason, limit } => {
                give_up(root, detect(root).as_ref(), &domain, &transfer, (&reason, limit))?
            }
            Request::Outlook { resource } => {
                Answer::Outlook { outlook: outlook(detect(root).as_ref(), &resource) }
            }
            Request::Claim { domain, transfer, back, ended, limit, terms } => {
                let _slot = slot.or_else(|| unasked(root, &domain, Direction::Outgoing));
                let claim = Claim { domain, transfer, back, ended, limit, terms, boot: greeting.boot };
                return give(root, &claim, from_caller, to_caller);
            }
            Request::Receive { domain, transfer, limit, compression } => {
                let _slot = slot.or_else(|| unasked(root, &domain, Direction::Incoming));
                let push =
                    Pushed { domain, transfer, limit, terms: Terms { compression, ..Terms::default() } };
                let taken = take(root, &push, from_caller, to_caller);
                if room.take().is_some() {
                    // What is still needed is not free any more.
                    Memory { root, toolstack: &Xl::new(root), dom0_keeps_mib: 0 }.give_back();
                }
                return taken;
            }
        };
        write_line(&to_caller, &answer)?;
    }
    Ok(())
}

/// What a caller says who asks for a slot.
struct Asked {
    domain: DomainName,
    direction: Direction,
    priority: Option<i64>,
    limit: u64,
}

/// The caller's turn, when it comes; or what to answer instead. Nothing is begun yet, and no lock but the place itself is held, so that
/// an offer that is waited for ends at its deadline.
fn keep_slot(
    root: &Root,
    asked: &Asked,
    from_caller: &OwnedFd,
    to_caller: &OwnedFd,
) -> anyhow::Result<Result<Place, Answer>> {
    let Asked { domain, direction, priority, limit } = asked;
    let slots = Slots::of(root, *direction);
    let Some(priority) = priority else {
        return Ok(slots.take_free(domain).map_err(|why| Answer::Waiting { why }));
    };
    let store = Store::new(root.state_folder());
    let (mut told, mut said) = (Deadline::after(Duration::ZERO), String::new());
    let deadline = Deadline::after(Duration::from_secs(*limit));
    let place = slots.wait(domain, *priority, deadline, |why| {
        // A caller that has asked has nothing to say, but may go.
        let mut open = [PollFd::from_borrowed_fd(from_caller.as_fd(), PollFlags::IN)];
        wait_ready(&mut open, LOOK_AGAIN).map_err(|error| error.to_string())?;
        if !open[0].revents().is_empty() {
            return Err("the caller has gone".to_owned());
        }
        let phase = store.load(domain).map(|record| record.state).map_err(|error| error.to_string())?;
        let may_be_claimed =
            phase.is_in_transfer() || matches!(phase, Phase::Offering { .. } | Phase::Offered { .. });
        if *direction == Direction::Outgoing && !may_be_claimed {
            return Err(format!("it is not on offer here any more ({phase})"));
        }
        if why != said || told.passed() {
            (said, told) = (why.to_owned(), Deadline::after(SAY_AGAIN));
            let waiting = Answer::Waiting { why: why.to_owned() };
            write_line(to_caller, &waiting).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    Ok(place.map_err(refused))
}

/// A slot for a caller who has not asked for one, since it is older than that: it counts, but was not waited for.
fn unasked(root: &Root, domain: &DomainName, direction: Direction) -> Option<Place> {
    log::info!("domain={domain} moves without having waited for a slot here");
    let taken = Slots::of(root, direction).take_unasked(domain);
    taken.inspect_err(|error| log::warn!("domain={domain} its slot is not counted: {error}")).ok()
}

fn refused(reason: impl ToString) -> Answer {
    Answer::Refused { reason: reason.to_string(), stands: None }
}

/// Settles this node's end of a broken transfer, if nobody works on it, and says where the domain stands.
fn resolve(root: &Root, domain: &DomainName) -> anyhow::Result<Answer> {
    let store = Store::new(root.state_folder());
    if let Some(_lock) = store.begin_transfer(domain)? {
        // A source that is asked as if it were a target waits for the asker's own word, which is on its way.
        settle::target(root, &store, domain, Deadline::after(SETTLE_LIMIT))?;
    }
    let (presence, phase) = stands(root, domain);
    Ok(Answer::Stands { presence, phase, ended: store.last_end(domain) })
}

fn done(result: Result<(), String>) -> Answer {
    result.map_or_else(refused, |()| Answer::Done)
}

fn note(root: &Root, domain: &DomainName, line: &str) -> Answer {
    let kept = from_text(domain, line)
        .and_then(|entry| PeerFiles::new(root).keep(&entry).map_err(|error| error.to_string()));
    done(kept)
}

fn reach(root: &Root, cluster: &dyn ClusterView, back: &Address) -> Answer {
    if cluster.is_leaving() {
        return refused("this node is leaving the cluster too");
    }
    match ssh::dial(root, back, Deadline::after(back.connect_timeout() + Duration::from_secs(5))) {
        Ok(_) => Answer::Reached,
        Err(error) => refused(error),
    }
}

fn ledger(cluster: &dyn ClusterView, domain: &DomainName) -> Answer {
    match cluster.ledger().entries(domain) {
        Ok(entries) => Answer::Ledger { entries },
        Err(why) => refused(why),
    }
}

/// What a claimant says.
struct Claim {
    domain: DomainName,
    transfer: Transfer,
    back: Address,
    ended: Option<Ended>,
    limit: u64,
    terms: Terms,
    boot: Option<String>,
}

/// What a pusher says.
struct Pushed {
    domain: DomainName,
    transfer: Transfer,
    limit: u64,
    terms: Terms,
}

/// Sends a domain that is on offer to whoever claims it.
fn give(root: &Root, claim: &Claim, from_caller: OwnedFd, to_caller: OwnedFd) -> anyhow::Result<()> {
    let Claim { domain, transfer, .. } = claim;
    let store = Store::new(root.state_folder());
    let Some(lock) = store.begin_transfer(domain)? else {
        return Ok(write_line(&to_caller, &refused("a transfer of this domain is under way here"))?);
    };
    // A sender that was killed leaves its phase behind. The lock is ours, so nobody works on it any more. A claimant has
    // no copy: that is what a claim says.
    let record = store.load(domain)?;
    let settled_by = Deadline::after(SETTLE_LIMIT);
    let ask = |broken: &Transfer| match (broken.target == transfer.target, Presence::Absent, Phase::Idle) {
        (false, ..) => settle_there(root, &broken.target, &record, domain, settled_by),
        (true, presence, phase) if record.peer_has_restarted(claim.boot.as_deref()) => {
            PeerSays::Restarted { presence, phase }
        }
        (true, presence, phase) => PeerSays::Stands { presence, phase, ended: claim.ended },
    };
    if record.state.is_in_transfer() {
        settle::source(root, &store, domain, settled_by, &ask)?;
    }
    let (presence, phase) = stands_by_itself(root, domain);
    let claimed = match &presence {
        Presence::Running(_) => store
            .advance_with(domain, "serve", Event::Claimed(transfer.clone()), |record| {
                record.peer = Some(claim.back.clone());
                record.peer_boot.clone_from(&claim.boot);
            })
            .map_err(|error| error.to_string()),
        _ => Err(format!("{domain} is {presence} here")),
    };
    match claimed {
        Ok(effects) if effects.iter().any(|effect| matches!(effect, Effect::Send(_))) => {}
        Ok(_) => return Ok(write_line(&to_caller, &refused("nothing to send"))?),
        Err(reason) => {
            log::info!("domain={domain} claim of {} refused: {reason}", transfer.target);
            return Ok(write_line(&to_caller, &Answer::Refused { reason, stands: Some((presence, phase)) })?);
        }
    }
    let deadline = Deadline::after(Duration::from_secs(claim.limit));
    let (xl, devices) = (Xl::new(root), store.load(domain)?.devices);
    if let Err(why) = detach(&xl, domain, &devices) {
        store.advance(domain, "serve", Event::SenderEnded(SenderEnd::StillHere))?;
        return Ok(write_line(&to_caller, &refused(format!("a device of it cannot be detached: {why}")))?);
    }
    if let Err(error) = write_line(&to_caller, &Answer::Granted) {
        // The claimant is gone. Nothing has been sent; the offer stands.
        store.advance(domain, "serve", Event::SenderEnded(SenderEnd::StillHere))?;
        give_again(&xl, domain, &devices);
        return Err(error.into());
    }
    let (from_peer, to_peer, lock) = (from_caller, to_caller, lock.as_fd());
    let (why, terms) = (Why::Handoff, claim.terms);
    let stream = Stream { root, domain, why, transfer, from_peer, to_peer, lock, deadline, terms };
    if transfer::send::send(stream)?.end == AtSourceEnd::StillHere {
        give_again(&xl, domain, &devices);
    }
    Ok(())
}

/// Ends an offer that its claimant cannot fetch. What broke off before is settled first; while a transfer is under way, or
/// its end is not known, the offer stands. The shutdown is the keeper's: it outlives this connection, and this node's guard
/// begins another one if it is killed.
fn give_up(
    root: &Root,
    cluster: &dyn ClusterView,
    domain: &DomainName,
    transfer: &Transfer,
    (reason, limit): (&str, u64),
) -> anyhow::Result<Answer> {
    let (store, asker) = (Store::new(root.state_folder()), &transfer.target);
    settle::if_broken(root, &store, domain, Deadline::after(SETTLE_LIMIT))?;
    // A claim that comes meanwhile waits for the next try of its start.
    let Some(_lock) = store.begin_transfer(domain)? else {
        return Ok(refused("a transfer of this domain is under way here"));
    };
    let resource = store.load(domain)?.resource.unwrap_or_default();
    // Where there is no cluster manager here any more, the key is what makes a peer.
    if let Ok(peers) = cluster.peers(&transfer.source, &resource)
        && !peers.iter().any(|peer| peer.node == *asker)
    {
        return Ok(refused(format!("{asker} is no node of this cluster")));
    }
    let yielded = store.advance_with(domain, "serve", Event::Yielded(transfer.clone()), |record| {
        record.yielded_to = Some(asker.clone());
        record.terms = Some(record.terms.clone().unwrap_or(DEFAULT_TERMS).within(limit));
    });
    if let Err(error) = yielded {
        log::info!("domain={domain} its offer is not given up for {asker}: {error}");
        return Ok(Answer::Refused {
            reason: error.to_string(),
            stands: Some(stands_by_itself(root, domain)),
        });
    }
    log::warn!(
        "domain={domain} {asker} cannot fetch it ({reason}): its offer ends now, {asker} will boot it"
    );
    // One that is one too many stands by.
    if let Err(error) = command::detach(root, &["keep", "--domain", domain.as_str()]) {
        log::warn!("domain={domain} no second keeper: {error}");
    }
    Ok(Answer::Done)
}

/// Who may still start this resource, as far as this node's cluster manager knows.
pub(crate) fn outlook(cluster: &dyn ClusterView, resource: &str) -> Outlook {
    match cluster.plan_as_it_is(resource, PLAN_LIMIT) {
        Ok(Destination::Nowhere) => Outlook::Nobody,
        Ok(Destination::Node(node)) => Outlook::Somebody { node },
        Err(ClusterError::NotRunning) => Outlook::NoManager,
        Err(error) => Outlook::Unknown { why: error.to_string() },
    }
}

/// Takes a domain that the cluster's own migration pushes to us.
fn take(root: &Root, push: &Pushed, from_caller: OwnedFd, to_caller: OwnedFd) -> anyhow::Result<()> {
    let Pushed { domain, transfer, .. } = push;
    let store = Store::new(root.state_folder());
    let Some(lock) = store.begin_transfer(domain)? else {
        return Ok(write_line(&to_caller, &refused("a transfer of this domain is under way here"))?);
    };
    if store.refuses(domain, transfer.epoch)? {
        return Ok(write_line(
            &to_caller,
            &refused("this node was told to stop it since this migration began"),
        )?);
    }
    settle::target(root, &store, domain, Deadline::after(SETTLE_LIMIT))?;
    let (presence, phase) = stands_by_itself(root, domain);
    if presence != Presence::Absent {
        let reason = format!("{domain} is {presence} here");
        return Ok(write_line(&to_caller, &Answer::Refused { reason, stands: Some((presence, phase)) })?);
    }
    let deadline = Deadline::after(Duration::from_secs(push.limit));
    write_line(&to_caller, &Answer::Granted)?;
    let (from_peer, to_peer, lock) = (from_caller, to_caller, lock.as_fd());
    let (why, terms) = (Why::Migration, push.terms);
    let stream = Stream { root, domain, why, transfer, from_peer, to_peer, lock, deadline, terms };
    transfer::receive::receive(stream)?;
    Ok(())
}
