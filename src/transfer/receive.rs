//! The receiving end: runs `xl migrate-receive` on an open connection, with our pipe between, and finds out
//! how it ended.

use std::process::Stdio;
use std::time::Duration;

use super::pipe::{self, Alive, Carriage, Ends, Form, Watcher};
use super::send::last_words;
use super::{Stream, settle};
use crate::clock::Deadline;
use crate::command::{self, Tool};
use crate::domain::DomainName;
use crate::handoff::Event;
use crate::handoff::event::ReceiverEnd;
use crate::handoff::evidence::SourceQuiet;
use crate::here::Here;
use crate::moves::journal::{Begun, Ending, Flow};
use crate::moves::progress::{Direction, Passing, Reporter};
use crate::moves::terms::Compression;
use crate::node::record::Store;

/// How long this end may take to find out, or to finish, what xl's receiver left.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// How long xl's receiver may take to end once its stream has.
const RECEIVERS_END: Duration = Duration::from_secs(120);

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

/// Receives the domain from the connection, and puts both begin and end on record. The transfer lock is held
/// by this process alone: without its pipe, xl's receiver has no future.
///
/// # Errors
/// If the record did not allow it or xl could not be started; nothing has been received then.
pub fn receive(stream: Stream<'_>) -> anyhow::Result<Received> {
    let begun = Begun::now(stream.domain, stream.transfer, stream.why, Direction::Incoming);
    let Stream { here, domain, transfer, .. } = stream;
    let store = &here.store;
    store.reserve_end(domain)?;
    store.advance(domain, "receive", Event::StreamOpened(transfer.clone()))?;
    let (flow, said) = run_xl(stream).unwrap_or_else(|error| (Flow::default(), format!("{error:#}")));
    let end = settle::target(here, domain, Deadline::after(SETTLE_LIMIT))?;
    log::info!("domain={domain} from={} receiver={end} xl={said:?}", transfer.source);
    let ending = match end {
        ReceiverEnd::Running => Ending::Moved,
        ReceiverEnd::Nothing => Ending::NotMoved,
        ReceiverEnd::Undecided => Ending::Undecided,
    };
    begun.ended(&here.root, flow, ending, &said);
    Ok(Received { end, said })
}

/// `xen-handoff receiver`: becomes xl's receiver, and dies with the process that holds the transfer lock. One
/// that outlived its pipe could destroy, by its own rules, the copy that others have let run meanwhile.
///
/// # Errors
/// If it cannot be.
pub fn become_receiver(here: &Here, parent: i32, domain: &DomainName) -> anyhow::Result<()> {
    let parent =
        rustix::process::Pid::from_raw(parent).ok_or_else(|| anyhow::anyhow!("{parent} is no process"))?;
    let xl = here.xl.tool()?.marked(domain.as_str());
    Err(command::become_bound(&xl, &["migrate-receive"], parent).into())
}

/// What passed, and xl's last words.
fn run_xl(stream: Stream<'_>) -> anyhow::Result<(Flow, String)> {
    let Stream { here, domain, from_peer, to_peer, deadline, terms, says_alive, .. } = stream;
    let words = tempfile::tempfile()?;
    let us = rustix::process::getpid().as_raw_nonzero().to_string();
    let mut child = command::spawn(
        &Tool::ourselves(&here.root)?,
        &["receiver", "--parent", &us, "--domain", domain.as_str()],
        Stdio::piped(),
        Stdio::piped(),
        Stdio::from(words.try_clone()?),
    )?;
    let (Some(xl_in), Some(xl_out)) = (child.stdin.take(), child.stdout.take()) else {
        anyhow::bail!("xl migrate-receive has no streams");
    };
    let watcher = AtTarget {
        store: here.store.clone(),
        domain,
        reporter: Reporter::begin(&here.root, &here.xl, domain, Direction::Incoming),
    };
    let ends = Ends { down_from: from_peer, down_to: xl_in.into(), up_from: xl_out.into(), up_to: to_peer };
    let form = match terms.compression {
        Compression::None => Form::AsItIs,
        Compression::Zstd => Form::Unpack,
    };
    let alive = if says_alive { Alive::Says } else { Alive::Unknown };
    let passed = pipe::carry(ends, Carriage { form, alive, ..Carriage::plain(deadline) }, &watcher);
    log::info!("domain={domain} pipe {passed}");
    let status = command::wait_by(&mut child, Deadline::after(RECEIVERS_END), "xl migrate-receive")?;
    let mut said = last_words(words);
    if let Some(error) = passed.ended {
        said = format!("{error:#}; {said}");
    }
    if !status.success() {
        said = format!("xl migrate-receive: {status}; {said}");
    }
    Ok((passed.flow, said))
}
