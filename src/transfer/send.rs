//! The sending end: runs `xl migrate` over an open connection and finds out how it ended.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use super::Stream;
use super::settle::{self, AtSourceEnd};
use crate::clock::Deadline;
use crate::command::{self, Tool};
use crate::descriptor::bequeath;
use crate::handoff::Transfer;
use crate::moves::journal::{self, Begun, Ending};
use crate::moves::progress::Direction;
use crate::peer::inquiry::settle_there;

/// How long the two ends may take to agree on a transfer that broke off in its last step.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// How long xl may take after the stream's deadline: for its last step, where that had begun before.
const OVERTIME: Duration = Duration::from_secs(180);

/// How the sender ended, and what xl said of it.
#[derive(Debug)]
pub struct Sent {
    /// In our words.
    pub end: AtSourceEnd,
    /// xl's last words.
    pub said: String,
}

/// Sends the domain over the connection, and puts the end on record. xl and the relay inherit the transfer
/// lock, so that it is held until the last of them has ended, even if this process is killed.
///
/// # Errors
/// If the record cannot be read or written: how it ended is not known then.
pub fn send(stream: Stream<'_>) -> anyhow::Result<Sent> {
    let begun = Begun::now(stream.domain, stream.transfer, stream.why, Direction::Outgoing);
    let Stream { here, domain, transfer, .. } = stream;
    let root = &here.root;
    // What a relay of before has left is not this stream's.
    journal::take_flow(root, domain);
    let started = run_xl(stream);
    // One that could not be started at all has sent nothing.
    let said = started.unwrap_or_else(|error| format!("{error:#}"));
    let record = here.store.load(domain)?;
    let deadline = Deadline::after(SETTLE_LIMIT);
    let ask = |transfer: &Transfer| settle_there(here, &transfer.target, &record, domain, deadline);
    let end = settle::source(here, domain, deadline, &ask)?;
    log::info!("domain={domain} to={} sender={end} xl={said:?}", transfer.target);
    let ending = match &end {
        AtSourceEnd::Moved => Ending::Moved,
        AtSourceEnd::StillHere => Ending::NotMoved,
        AtSourceEnd::Gone => Ending::Gone,
        AtSourceEnd::Undecided(_) => Ending::Undecided,
    };
    begun.ended(root, journal::take_flow(root, domain), ending, &said);
    Ok(Sent { end, said })
}

fn run_xl(stream: Stream<'_>) -> anyhow::Result<String> {
    let Stream { here, domain, transfer, from_peer, to_peer, lock, deadline, terms, says_alive, why: _ } =
        stream;
    let xl = here.xl.tool()?;
    let ourselves = Tool::ourselves(&here.root)?;
    let exe = ourselves.path().to_string_lossy();
    // xl gives the transport's command line to a shell. It has our own words in it and a name, which has no
    // quote.
    anyhow::ensure!(
        exe.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)),
        "the path of this executable, {exe:?}, has characters that a shell would read"
    );
    let (from_peer, from_number) = bequeath(from_peer)?;
    let (to_peer, to_number) = bequeath(to_peer)?;
    let (lock, _) = bequeath(lock)?;
    let rate = terms.rate.map(|rate| format!(" --rate {rate}")).unwrap_or_default();
    let suspend_by = terms.deadline.map(|seconds| format!(" --suspend-by {seconds}")).unwrap_or_default();
    let hears_alive = if says_alive { " --hears-alive" } else { "" };
    let transport = format!(
        "{exe} relay --domain '{domain}' --from-peer {from_number} --to-peer {to_number} --limit {}{rate}{suspend_by}{hears_alive} \
         --compression {} --",
        deadline.left().as_secs().max(1),
        terms.compression.word(),
    );
    let words = tempfile::tempfile()?;
    let args = ["migrate", "-s", &transport, domain.as_str(), transfer.target.as_str()];
    let mut child =
        command::spawn(&xl, &args, Stdio::null(), Stdio::null(), Stdio::from(words.try_clone()?))?;
    // From here on the connection is the relay's alone: if it dies, the other end must see that.
    drop((from_peer, to_peer, lock));
    // Before *ready* the stream ends by its deadline. What follows takes seconds, and a sender that was
    // killed can be settled.
    let ends_by = Deadline::after(deadline.left().saturating_add(OVERTIME));
    let status = command::wait_by(&mut child, ends_by, "xl migrate")?;
    let said = last_words(words);
    Ok(if status.success() { said } else { format!("xl migrate: {status}; {said}") })
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
