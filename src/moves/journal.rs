//! The log of moves: one line of JSON for every stream that began at this node, in either direction, kept
//! over reboots.
//!
//! `/var/lib/xen-handoff/moves.jsonl`; when it has grown to 1 MiB it becomes `moves.jsonl.1`, in the place of
//! the one before. A move that cannot be logged is a move all the same.

use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::moves::progress::Direction;
use std::fmt;

use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::domain::DomainName;
use crate::handoff::handshake::Stage;
use crate::handoff::{Epoch, Transfer};
use crate::host::{NodeName, Root};
use crate::small_file;

/// Some three thousand moves.
const ROTATE_AT: u64 = 1 << 20;
/// Fewer bytes than this say nothing of a network's rate.
const TELLING_BYTES: u64 = 16 << 20;

/// How long one who writes a line waits for another one who does.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// What a domain moved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A stop and a start of the cluster manager: the target has fetched it.
    Handoff,
    /// The cluster's own migration.
    Migration,
}

/// How it ended, as far as this end knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It runs at the target.
    Moved,
    /// It stays where it was.
    NotMoved,
    /// It ended by itself on its way.
    Gone,
    /// Not known when this was written: see the record, or `xen-handoff recover`.
    Undecided,
}

/// What passed through this end's pipe, and when. Times count from the stream's begin, in milliseconds;
/// `None` for what the stream did not come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Bytes of xl's stream from source to target.
    pub bytes: u64,
    /// Bytes on the connection, where these are others: a compressed stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<u64>,
    /// How often the guest's memory was gone through, the last time with the guest suspended; known at the
    /// source alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
    /// xl's receiver has shown its banner: the domain's memory begins.
    pub opened_ms: Option<u64>,
    /// The guest was seen suspended, at the source; `None` where nobody could look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_ms: Option<u64>,
    /// The receiver has all of it.
    pub ready_ms: Option<u64>,
    /// The receiver lets it run.
    pub reported_ms: Option<u64>,
}

impl Flow {
    /// How long the guest stood still, in milliseconds: from its suspension until the receiver let it run.
    pub fn pause_ms(&self) -> Option<u64> {
        self.reported_ms?.checked_sub(self.suspended_ms?)
    }

    /// MiB/s between banner and *ready*; `None` where too little passed to tell.
    pub fn mib_per_second(&self) -> Option<f64> {
        let milliseconds = self.ready_ms?.checked_sub(self.opened_ms?).filter(|span| *span > 0)?;
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.bytes as f64 / f64::from(1 << 20) / (milliseconds as f64 / 1000.0);
        (self.bytes >= TELLING_BYTES).then_some(rate)
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which domain.
    pub domain: DomainName,
    /// Where it ran.
    pub source: NodeName,
    /// Where it was to run.
    pub target: NodeName,
    /// The offer's or push's mark; the same at both ends.
    pub epoch: Epoch,
    /// Whether it left this node or came.
    pub direction: Direction,
    /// What for.
    pub why: Why,
    /// When the stream began.
    pub began_at: UnixTime,
    /// From there until it was settled at this end.
    pub total_ms: u64,
    /// What passed.
    pub flow: Flow,
    /// How it ended.
    pub end: Ending,
    /// xl's last words, or ours.
    pub said: String,
}

fn log_file(root: &Root) -> PathBuf {
    root.lasting_folder().join("moves.jsonl")
}

/// A stream that has begun.
#[derive(Debug)]
pub struct Begun {
    /// All that is known of it now; it ends as undecided unless somebody says more.
    entry: Move,
    at: Instant,
}

impl Begun {
    /// This one, at this moment.
    pub fn now(domain: &DomainName, transfer: &Transfer, why: Why, direction: Direction) -> Self {
        let Transfer { epoch, source, target } = transfer.clone();
        let entry = Move {
            domain: domain.clone(),
            source,
            target,
            epoch,
            direction,
            why,
            began_at: UnixTime::now(),
            total_ms: 0,
            flow: Flow::default(),
            end: Ending::Undecided,
            said: String::new(),
        };
        Self { entry, at: Instant::now() }
    }

    /// Writes its line.
    pub fn ended(self, root: &Root, flow: Flow, end: Ending, said: &str) {
        let total_ms = milliseconds(self.at.elapsed());
        note(root, &Move { total_ms, flow, end, said: said.to_owned(), ..self.entry });
    }
}

/// Writes a line.
pub(crate) fn note(root: &Root, entry: &Move) {
    if let Err(error) = append(&log_file(root), entry) {
        log::warn!("domain={} this move is not in the log of moves: {error}", entry.domain);
    }
}

fn append(path: &Path, entry: &Move) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    small_file::make_folder(folder)?;
    // Two that rotate it at once would lose lines. Held until the end of this function.
    let lock = std::fs::File::open(folder)?;
    let locked = SystemClock.wait_until(Deadline::after(LOCK_LIMIT), Duration::from_millis(5), || {
        small_file::try_lock(&lock).is_ok().then_some(())
    });
    locked.ok_or_else(|| std::io::Error::other("another process has held it for too long"))?;
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() >= ROTATE_AT) {
        std::fs::rename(path, path.with_extension("jsonl.1"))?;
    }
    let mut line = small_file::sealed(&serde_json::to_vec(entry)?);
    let mut log = std::fs::OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    if is_cut_short(&log)? {
        line.insert(0, b'\n');
    }
    // One write: lines of two moves that end together do not mix.
    log.write_all(&line)
}

/// Whether the last line has no end: the next one would be lost with it.
fn is_cut_short(log: &std::fs::File) -> std::io::Result<bool> {
    let Some(last) = log.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    log.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

/// The moves of this node, the oldest first. Lines of another version, or that do not fit their checksum, are
/// left out.
///
/// # Errors
/// What the system says; a log that does not exist has no moves.
pub fn read(root: &Root) -> std::io::Result<Vec<Move>> {
    let path = log_file(root);
    let mut moves = Vec::new();
    for path in [path.with_extension("jsonl.1"), path] {
        match small_file::read(&path, 2 * ROTATE_AT) {
            Ok(bytes) => moves.extend(bytes.split_inclusive(|byte| *byte == b'\n').filter_map(entry)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(moves)
}

/// The move of a line with its end.
fn entry(line: &[u8]) -> Option<Move> {
    serde_json::from_str(&small_file::Kept::of(line.to_vec()).ok()?.text).ok()
}

/// A rate in MiB/s for people: with a decimal where it is small.
pub fn shown_rate(mib_per_second: f64) -> String {
    let decimals = usize::from(mib_per_second < 10.0);
    format!("{mib_per_second:.decimals$}")
}

/// How fast the last move of this node that says so went, in MiB/s.
pub fn measured_rate(root: &Root) -> Option<f64> {
    rate_of(&read(root).ok()?)
}

/// How fast the last of these moves that says so went, in MiB/s.
pub fn rate_of(moves: &[Move]) -> Option<f64> {
    moves.iter().rev().find_map(|entry| entry.flow.mib_per_second())
}

/// How long a move of so much memory takes at that rate, in seconds: what the guest writes meanwhile goes
/// again, and the ends have to be found, so half as much again and ten seconds.
pub fn expected_seconds(memory_mib: u64, mib_per_second: f64) -> u64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let streaming = (memory_mib as f64 / mib_per_second.max(0.1) * 1.5) as u64;
    streaming.saturating_add(10)
}

fn flow_file(root: &Root, domain: &DomainName) -> PathBuf {
    root.state_folder().join(format!("{domain}.flow"))
}

/// How a stream went.
#[derive(Debug)]
pub struct Passed {
    /// Bytes carried down, and when which point was reached.
    pub flow: Flow,
    /// How far the receiver came.
    pub stage: Stage,
    /// Why it was ended here, if it was.
    pub ended: Option<anyhow::Error>,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes={} stage={}", self.flow.bytes, self.stage)?;
        self.flow.wire.map_or(Ok(()), |wire| write!(f, " wire={wire}"))?;
        self.ended.as_ref().map_or(Ok(()), |error| write!(f, " ended={error:#}"))
    }
}

/// The relay is a process of its own: leaves what passed through it to whoever runs the sender.
pub fn leave_flow(root: &Root, domain: &DomainName, passed: &Passed) {
    if let Err(error) = small_file::keep_json(&flow_file(root, domain), &passed.flow) {
        log::debug!("domain={domain} what passed is not known to the sender: {error}");
    }
}

/// What the relay of this domain's last stream has left; nothing if it was killed.
pub fn take_flow(root: &Root, domain: &DomainName) -> Flow {
    let path = flow_file(root, domain);
    let flow = small_file::kept_json(&path).ok().flatten();
    // Gone already where there was none.
    let _ = std::fs::remove_file(path);
    flow.unwrap_or_default()
}

/// Milliseconds, for the log.
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// One of x0, for tests: 256 MiB in four seconds.
#[cfg(test)]
pub(crate) fn a_move(epoch: u64) -> Move {
    Move {
        domain: DomainName::new("x0").unwrap(),
        source: NodeName::new("n1").unwrap(),
        target: NodeName::new("n2").unwrap(),
        epoch: Epoch(epoch),
        direction: Direction::Incoming,
        why: Why::Handoff,
        began_at: UnixTime(1),
        total_ms: 5300,
        flow: Flow {
            bytes: 256 << 20,
            wire: Some(100 << 20),
            rounds: Some(3),
            opened_ms: Some(300),
            suspended_ms: Some(3900),
            ready_ms: Some(4300),
            reported_ms: Some(4400),
        },
        end: Ending::Moved,
        said: "Migration successful.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_found_again_and_tells_the_rate() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert_eq!((read(&root).unwrap(), measured_rate(&root)), (vec![], None));
        note(&root, &a_move(1));
        let broken = Flow { bytes: 3, opened_ms: Some(1), ..Flow::default() };
        note(&root, &Move { flow: broken, end: Ending::NotMoved, ..a_move(2) });
        assert_eq!(read(&root).unwrap().iter().map(|entry| entry.epoch.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(measured_rate(&root), Some(64.0), "the last one that says so");
        assert_eq!(a_move(1).flow.pause_ms(), Some(500));
        assert_eq!(broken.pause_ms(), None, "it was never seen suspended");
    }

    #[test]
    fn the_log_does_not_grow_without_end_and_loses_no_line_when_it_turns() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        note(&root, &a_move(1));
        let path = log_file(&root);
        std::fs::write(&path, format!("{}\n", "x".repeat(1 << 20))).unwrap();
        note(&root, &a_move(2));
        note(&root, &a_move(3));
        assert_eq!(read(&root).unwrap().iter().map(|entry| entry.epoch.0).collect::<Vec<_>>(), [2, 3]);
        assert!(std::fs::metadata(path).unwrap().len() < 2048);
    }

    #[test]
    fn moves_that_end_together_while_the_log_turns_lose_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        small_file::make_folder(log_file(&root).parent().unwrap()).unwrap();
        let almost = usize::try_from(ROTATE_AT).unwrap() - 4096;
        std::fs::write(log_file(&root), format!("{}\n", "x".repeat(almost))).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let root = &root;
                scope.spawn(move || (0..20).for_each(|n| note(root, &a_move(thread * 20 + n))));
            }
        });
        let mut epochs: Vec<u64> = read(&root).unwrap().iter().map(|entry| entry.epoch.0).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, (0..160).collect::<Vec<_>>());
    }

    #[test]
    fn what_passed_through_the_relay_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let (domain, flow) = (DomainName::new("x0").unwrap(), a_move(1).flow);
        let passed = Passed { flow, stage: crate::handoff::handshake::Stage::Reported, ended: None };
        leave_flow(&root, &domain, &passed);
        assert_eq!(take_flow(&root, &domain), flow);
        assert_eq!(take_flow(&root, &domain), Flow::default());
    }
}
