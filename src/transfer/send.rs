//! The sending end: runs `xl migrate` over an open connection and finds out how it ended.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use crate::clock::{Clock, Deadline, SystemClock};
use crate::command::{self, Tool};
use crate::descriptor::bequeath;
use crate::domain::{DomainName, Presence};
use crate::handoff::event::SenderEnd;
use crate::handoff::record::Store;
use crate::handoff::{Event, Phase, Transfer};
use crate::host::Root;
use crate::toolstack::{Toolstack, xl::Xl};

/// How long the listing after a transfer may go on failing before the end counts as undecided.
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// Limit of one listing.
const LIST_LIMIT: Duration = Duration::from_secs(10);

/// How the sender ended, and what xl said of it.
#[derive(Debug)]
pub struct Sent {
    /// In our words.
    pub end: SenderEnd,
    /// xl's last words.
    pub said: String,
}

/// Sends `domain` over the connection, and puts the end on record. `lock` is the transfer lock; xl and the relay inherit
/// it, so that it is held until the last of them has ended, even if this process is killed.
///
/// # Errors
/// If xl could not be started at all; the record then says so too.
pub fn send(
    root: &Root,
    domain: &DomainName,
    transfer: &Transfer,
    from_peer: OwnedFd,
    to_peer: OwnedFd,
    lock: &File,
    limit: Duration,
) -> anyhow::Result<Sent> {
    let store = Store::new(root.state_folder());
    let started = run_xl(root, domain, transfer, from_peer, to_peer, lock, limit);
    let (succeeded, said) = match &started {
        Ok((succeeded, said)) => (*succeeded, said.clone()),
        Err(error) => (false, format!("{error:#}")),
    };
    let end = find_out(root, domain, succeeded);
    log::info!("domain={domain} to={} sender={end:?} xl={said:?}", transfer.target);
    store.advance(domain, "send", Event::SenderEnded(end))?;
    started?;
    Ok(Sent { end, said })
}

fn run_xl(
    root: &Root,
    domain: &DomainName,
    transfer: &Transfer,
    from_peer: OwnedFd,
    to_peer: OwnedFd,
    lock: &File,
    limit: Duration,
) -> anyhow::Result<(bool, String)> {
    let xl = Xl::new(root).tool()?;
    let ourselves = Tool::ourselves(root)?;
    let exe = ourselves.path().to_string_lossy();
    // xl gives the transport's command line to a shell. It has our own words in it and nothing else.
    anyhow::ensure!(
        exe.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)),
        "the path of this executable, {exe:?}, has characters that a shell would read"
    );
    let (from_peer, from_number) = bequeath(from_peer)?;
    let (to_peer, to_number) = bequeath(to_peer)?;
    let (lock, _) = bequeath(lock)?;
    let transport = format!(
        "{exe} relay --domain {domain} --from-peer {from_number} --to-peer {to_number} --limit {} --",
        limit.as_secs().max(1)
    );
    let words = tempfile::tempfile()?;
    let args = ["migrate", "-s", &transport, domain.as_str(), transfer.target.as_str()];
    let mut child =
        command::spawn(&xl, &args, Stdio::null(), Stdio::null(), Stdio::from(words.try_clone()?))?;
    // From here on the connection is the relay's alone: if it dies, the other end must see that.
    drop((from_peer, to_peer, lock));
    let status = child.wait()?;
    Ok((status.success(), last_words(words)))
}

/// Puts an end to the record of a sender that was killed. The caller holds the transfer lock, so nobody works on it.
///
/// # Errors
/// If the record cannot be read or written.
pub fn settle_abandoned(root: &Root, store: &Store, domain: &DomainName) -> anyhow::Result<()> {
    let state = store.load(domain)?.state;
    let end = match state {
        Phase::Sending { .. } | Phase::Settling { .. } => match look(root, domain) {
            Some(Presence::Running(_)) => SenderEnd::StillHere,
            // Suspended by a sender that never saw *ready*: no copy over there can run.
            Some(Presence::Frozen(_)) if matches!(state, Phase::Sending { .. }) => SenderEnd::StillHere,
            // Only a sender that was told "it runs over there" destroys the domain.
            Some(Presence::Absent) if matches!(state, Phase::Settling { .. }) => SenderEnd::Moved,
            _ => SenderEnd::Undecided,
        },
        Phase::Idle
        | Phase::Offering { .. }
        | Phase::Offered { .. }
        | Phase::Withdrawing { .. }
        | Phase::Left { .. }
        | Phase::Claiming { .. }
        | Phase::Receiving { .. }
        | Phase::Arriving { .. }
        | Phase::Arrived { .. } => return Ok(()),
    };
    log::warn!("domain={domain} an earlier sender ended without a word: {end:?}");
    store.advance(domain, "settle", Event::SenderEnded(end))?;
    Ok(())
}

/// Looks at what xl left behind.
fn find_out(root: &Root, domain: &DomainName, succeeded: bool) -> SenderEnd {
    match look(root, domain) {
        Some(Presence::Absent) if succeeded => SenderEnd::Moved,
        Some(Presence::Running(_)) if !succeeded => SenderEnd::StillHere,
        Some(
            Presence::Absent
            | Presence::Running(_)
            | Presence::Building(_)
            | Presence::Paused(_)
            | Presence::Crashed(_)
            | Presence::Frozen(_)
            | Presence::ShutDown(_)
            | Presence::Rebooting(_)
            | Presence::Dying(_)
            | Presence::Incoming(_)
            | Presence::MigratedAway(_)
            | Presence::Unknown(_),
        )
        | None => SenderEnd::Undecided,
    }
}

/// The first listing that says something, if one does in time.
fn look(root: &Root, domain: &DomainName) -> Option<Presence> {
    let xl = Xl::new(root);
    SystemClock.wait_until(Deadline::after(LOOK_LIMIT), Duration::from_millis(200), || {
        let presence = xl.presence(domain, LIST_LIMIT);
        // A copy that is being destroyed is on its way to absent.
        (!matches!(presence, Presence::Unknown(_) | Presence::Dying(_))).then_some(presence)
    })
}

/// The last lines that xl wrote, on one line.
pub(super) fn last_words(mut words: File) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    // Without its words an outcome is still an outcome.
    let read = words.seek(SeekFrom::Start(0)).and_then(|_| words.read_to_end(&mut bytes));
    if let Err(error) = read {
        log::debug!("cannot read xl's stderr: {error}");
    }
    let text = String::from_utf8_lossy(&bytes);
    // xl draws its progress with carriage returns.
    let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}
