//! The receiving end: runs `xl migrate-receive` on an open connection, with our pipe between, and finds out how it ended.

use std::process::Stdio;
use std::time::Duration;

use super::Stream;
use super::moves::{Begun, Ending, Flow};
use super::pipe::{self, Carriage, Ends, Form, Passing, Watcher};
use super::progress::{Direction, Reporter};
use super::send::last_words;
use super::settle;
use super::terms::Compression;
use crate::clock::Deadline;
use crate::command::{self, Tool};
use crate::domain::DomainName;
use crate::handoff::Event;
use crate::handoff::event::ReceiverEnd;
use crate::handoff::evidence::SourceQuiet;
use crate::handoff::record::Store;
use crate::host::Root;
use crate::toolstack::xl::Xl;

/// How long this end may take to find out, or to finish, what xl's receiver left.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

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

    fn progress(&self, passing: Passing) {
        self.reporter.tell(passing);
    }
}

/// Receives the domain from the connection, and puts both begin and end on record. The transfer lock is held by this
/// process alone: without its pipe, xl's receiver has no future.
///
/// # Errors
/// If the record did not allow it or xl could not be started; nothing has been received then.
pub fn receive(stream: Stream<'_>) -> anyhow::Result<Received> {
    let begun = Begun::now(&stream, Direction::Incoming);
    let Stream { root, domain, transfer, .. } = stream;
    let store = Store::new(root.state_folder());
    store.advance(domain, "receive", Event::StreamOpened(transfer.clone()))?;
    let (flow, said) = run_xl(stream).unwrap_or_else(|error| (Flow::default(), format!("{error:#}")));
    let end = settle::target(root, &store, domain, Deadline::after(SETTLE_LIMIT))?;
    log::info!("domain={domain} from={} receiver={end:?} xl={said:?}", transfer.source);
    let ending = match end {
        ReceiverEnd::Running => Ending::Moved,
        ReceiverEnd::Nothing => Ending::NotMoved,
        ReceiverEnd::Undecided => Ending::Undecided,
    };
    begun.ended(root, flow, ending, &said);
    Ok(Received { end, said })
}

/// `xen-handoff receiver`: becomes xl's receiver, and dies with the process that holds the transfer lock. One that outlived
/// its pipe could destroy, by its own rules, the copy that others have let run meanwhile.
///
/// # Errors
/// If it cannot be.
pub fn become_receiver(root: &Root, parent: i32, domain: &DomainName) -> anyhow::Result<()> {
    let parent =
        rustix::process::Pid::from_raw(parent).ok_or_else(|| anyhow::anyhow!("{parent} is no process"))?;
    let xl = Xl::new(root).tool()?.marked(domain.as_str());
    Err(command::become_bound(&xl, &["migrate-receive"], parent).into())
}

/// What passed, and xl's last words.
fn run_xl(stream: Stream<'_>) -> anyhow::Result<(Flow, String)> {
    let Stream { root, domain, from_peer, to_peer, deadline, terms, .. } = stream;
    let words = tempfile::tempfile()?;
    let us = rustix::process::getpid().as_raw_nonzero().to_string();
    let mut child = command::spawn(
        &Tool::ourselves(root)?,
        &["receiver", "--parent", &us, "--domain", domain.as_str()],
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
    let form = match terms.compression {
        Compression::None => Form::AsItIs,
        Compression::Zstd => Form::Unpack,
    };
    let passed = pipe::carry(ends, Carriage { form, ..Carriage::plain(deadline) }, &watcher);
    log::info!("domain={domain} pipe {passed}");
    let status = child.wait()?;
    let mut said = last_words(words);
    if let Some(error) = passed.ended {
        said = format!("{error:#}; {said}");
    }
    if !status.success() {
        said = format!("xl migrate-receive: {status}; {said}");
    }
    Ok((passed.flow, said))
}
