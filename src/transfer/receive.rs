//! The receiving end: runs `xl migrate-receive` on an open connection, with our pipe between, and finds out how it ended.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use super::message::Stage;
use super::pipe::{self, Ends, Watcher};
use super::progress::{Direction, Reporter};
use super::send::last_words;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::command;
use crate::domain::{DomainName, Presence};
use crate::handoff::event::ReceiverEnd;
use crate::handoff::evidence::SourceQuiet;
use crate::handoff::record::Store;
use crate::handoff::{Event, Phase, Transfer};
use crate::host::Root;
use crate::toolstack::{Toolstack, xl::Xl};

/// How long the listing after a transfer may go on failing before the end counts as undecided.
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// Limit of one listing, or of one destroy.
const XL_LIMIT: Duration = Duration::from_secs(10);

/// How the receiver ended, and what was said of it.
#[derive(Debug)]
pub struct Received {
    /// In our words.
    pub end: ReceiverEnd,
    /// xl's last words, or why we ended the stream.
    pub said: String,
}

struct AtTarget<'a> {
    store: Store,
    domain: &'a DomainName,
    reporter: Reporter,
}

impl Watcher for AtTarget<'_> {
    fn ready(&self) -> anyhow::Result<()> {
        log::info!("domain={} transfer=ready", self.domain);
        Ok(())
    }

    fn go(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let quiet = SourceQuiet::observe(bytes)
            .ok_or_else(|| anyhow::anyhow!("the source sent something else than xl's permission to start"))?;
        // The one effect is to deliver it, which is what returning does.
        self.store.advance(self.domain, "receive", Event::GoArrived(quiet))?;
        Ok(())
    }

    fn progress(&self, bytes: u64, stage: Stage) {
        self.reporter.tell(bytes, stage);
    }
}

/// Receives `domain` from the connection, and puts both begin and end on record. `_lock` is the transfer lock, held by
/// this process alone: without its pipe, xl's receiver has no future.
///
/// # Errors
/// If the record did not allow it or xl could not be started; nothing has been received then.
pub fn receive(
    root: &Root,
    domain: &DomainName,
    transfer: &Transfer,
    from_peer: OwnedFd,
    to_peer: OwnedFd,
    _lock: &File,
    limit: Duration,
) -> anyhow::Result<Received> {
    let store = Store::new(root.state_folder());
    store.advance(domain, "receive", Event::StreamOpened(transfer.clone()))?;
    let said = match run_xl(root, domain, from_peer, to_peer, limit) {
        Ok(said) => said,
        Err(error) => format!("{error:#}"),
    };
    let end = find_out(root, &store, domain);
    log::info!("domain={domain} from={} receiver={end:?} xl={said:?}", transfer.source);
    store.advance(domain, "receive", Event::ReceiverEnded(end))?;
    Ok(Received { end, said })
}

fn run_xl(
    root: &Root,
    domain: &DomainName,
    from_peer: OwnedFd,
    to_peer: OwnedFd,
    limit: Duration,
) -> anyhow::Result<String> {
    let words = tempfile::tempfile()?;
    let mut child = command::spawn(
        &Xl::new(root).tool()?,
        &["migrate-receive"],
        Stdio::piped(),
        Stdio::piped(),
        Stdio::from(words.try_clone()?),
    )?;
    let (Some(xl_in), Some(xl_out)) = (child.stdin.take(), child.stdout.take()) else {
        anyhow::bail!("xl migrate-receive has no streams");
    };
    let watcher = AtTarget {
        store: Store::new(root.state_folder()),
        domain,
        reporter: Reporter::begin(root, domain, Direction::Incoming),
    };
    let ends = Ends { down_from: from_peer, down_to: xl_in.into(), up_from: xl_out.into(), up_to: to_peer };
    let passed = pipe::carry(ends, Deadline::after(limit), &watcher);
    log::info!("domain={domain} pipe {passed}");
    let status = child.wait()?;
    let mut said = last_words(words);
    if let Some(error) = passed.ended {
        said = format!("{error:#}; {said}");
    }
    if !status.success() {
        said = format!("xl migrate-receive: {status}; {said}");
    }
    Ok(said)
}

/// Puts an end to the record of a receiver whose pipe was killed. The caller holds the transfer lock, so nobody works on
/// it but, for a moment, xl's own receiver, which has lost its stream and ends by itself.
///
/// # Errors
/// If the record cannot be read or written.
pub fn settle_abandoned(root: &Root, store: &Store, domain: &DomainName) -> anyhow::Result<()> {
    if !matches!(store.load(domain)?.state, Phase::Receiving { .. } | Phase::Arriving { .. }) {
        return Ok(());
    }
    let end = find_out(root, store, domain);
    log::warn!("domain={domain} an earlier receiver ended without a word: {end:?}");
    store.advance(domain, "settle", Event::ReceiverEnded(end))?;
    Ok(())
}

/// Looks at what xl left behind. A copy that was never given GO and that has no receiver any more is destroyed: it has
/// never run, and it would stand in the way of the next try.
fn find_out(root: &Root, store: &Store, domain: &DomainName) -> ReceiverEnd {
    let xl = Xl::new(root);
    let seen = SystemClock.wait_until(Deadline::after(LOOK_LIMIT), Duration::from_millis(200), || {
        match xl.presence(domain, XL_LIMIT) {
            Presence::Unknown(_) | Presence::Dying(_) => None,
            Presence::Incoming(_) if never_given(store, domain) => {
                log::warn!("domain={domain} destroying the stale copy {}", domain.incoming());
                if let Err(error) = xl.destroy(&domain.incoming(), XL_LIMIT) {
                    log::warn!("domain={domain} {error}");
                }
                None
            }
            // It was given GO: xl's receiver is about to rename it or to let it run.
            Presence::Incoming(_) | Presence::Paused(_) => None,
            presence => Some(presence),
        }
    });
    match seen {
        Some(Presence::Running(_)) => ReceiverEnd::Running,
        Some(Presence::Absent) => ReceiverEnd::Nothing,
        Some(
            Presence::Building(_)
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
        | None => ReceiverEnd::Undecided,
    }
}

fn never_given(store: &Store, domain: &DomainName) -> bool {
    store.load(domain).is_ok_and(|record| matches!(record.state, Phase::Receiving { .. }))
}
