//! How a transfer goes on, for people: a small file beside the record, and a log line every few seconds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::handoff::handshake::Stage;
use crate::host::Root;
use crate::small_file;
use crate::toolstack::LIST_LIMIT;
use crate::toolstack::xl::Xl;

/// The rate is told of so long a time.
const RATE_OVER: Duration = Duration::from_secs(2);
/// How often the log hears of it.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Whether the domain leaves this node or arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It leaves.
    Outgoing,
    /// It arrives.
    Incoming,
}

impl Direction {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Outgoing => "outgoing",
            Self::Incoming => "incoming",
        }
    }

    /// The same move as its other end sees it.
    #[must_use]
    pub fn at_the_other_end(self) -> Self {
        match self {
            Self::Outgoing => Self::Incoming,
            Self::Incoming => Self::Outgoing,
        }
    }
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passing {
    /// Bytes of xl's stream.
    pub bytes: u64,
    /// Bytes on the connection, where these are others.
    pub wire: Option<u64>,
    /// The round of precopy, where the stream is followed and known.
    pub round: Option<u32>,
    /// Where the receiver stands.
    pub stage: Stage,
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which way.
    pub direction: Direction,
    /// Bytes of xl's stream so far.
    pub bytes: u64,
    /// Bytes on the connection so far, where these are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<u64>,
    /// The domain's memory in MiB, where known. The stream can be longer: what the guest writes meanwhile
    /// goes again.
    pub memory_mib: Option<u64>,
    /// How far the receiver has come.
    pub stage: Stage,
    /// When the stream began.
    pub started_at: UnixTime,
    /// When this was written.
    pub updated_at: UnixTime,
    /// MiB/s of xl's stream in the last seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mib_per_second: Option<u64>,
    /// The round of precopy, from 1 on; the last one is that of the suspended guest. Known at the source
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// What it waits for, before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

impl Progress {
    /// How much of the memory has passed, in percent; 99 at most until the receiver has all of it. `None`
    /// where the domain's memory is not known.
    pub fn percent(&self) -> Option<u64> {
        if self.stage >= Stage::Ready {
            return Some(100);
        }
        let memory = self.memory_mib.filter(|memory| *memory > 0)?;
        Some((self.bytes >> 20).saturating_mul(100).checked_div(memory)?.min(99))
    }
}

impl fmt::Display for Progress {
    /// In one line: what is known of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(waits) = &self.waits {
            return f.write_str(waits);
        }
        write!(f, "{} MiB in {} s", self.bytes >> 20, self.started_at.age().as_secs())?;
        self.wire.map_or(Ok(()), |wire| write!(f, " ({} MiB on the connection)", wire >> 20))?;
        match self.mib_per_second {
            None => {}
            Some(0) => f.write_str(", less than 1 MiB/s")?,
            Some(rate) => write!(f, ", {rate} MiB/s")?,
        }
        self.round.map_or(Ok(()), |round| write!(f, ", round {round}"))?;
        self.percent().map_or(Ok(()), |percent| write!(f, ", {percent} %"))?;
        self.seconds_left().map_or(Ok(()), |left| write!(f, ", about {left} s left"))
    }
}

impl Progress {
    /// How long the rest of the memory takes at the rate up to now, in seconds. Pages that are written
    /// meanwhile go again, so it can take longer. `None` where the memory is not known, too little has
    /// passed, or all of it has.
    pub fn seconds_left(&self) -> Option<u64> {
        let memory = self.memory_mib? << 20;
        let took = self.updated_at.0.saturating_sub(self.started_at.0);
        if self.stage >= Stage::Ready || self.bytes == 0 || took == 0 {
            return None;
        }
        memory.checked_sub(self.bytes)?.saturating_mul(took).checked_div(self.bytes)
    }
}

/// Writes a transfer's progress, and removes the file when it is dropped.
#[derive(Debug)]
pub struct Reporter {
    path: PathBuf,
    domain: DomainName,
    direction: Direction,
    memory_mib: Arc<OnceLock<u64>>,
    started_at: UnixTime,
    seen: Mutex<Seen>,
}

/// What the rate of the last seconds is told from, and when the log heard of it.
#[derive(Debug)]
struct Seen {
    at: Instant,
    bytes: u64,
    mib_per_second: Option<u64>,
    logged: Instant,
}

impl Seen {
    /// The rate since the last look, of a few seconds.
    fn rate(&mut self, bytes: u64, now: Instant) -> Option<u64> {
        let span = now.saturating_duration_since(self.at);
        if span >= RATE_OVER {
            let milliseconds = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            let passed = bytes.saturating_sub(self.bytes);
            self.mib_per_second =
                (passed >> 10).saturating_mul(1000).checked_div(milliseconds).map(|kib| kib >> 10);
            (self.at, self.bytes) = (now, bytes);
        }
        self.mib_per_second
    }
}

fn path(root: &Root, domain: &DomainName) -> PathBuf {
    root.state_folder().join(format!("{domain}.progress"))
}

impl Reporter {
    /// Begins to report.
    pub fn begin(root: &Root, xl: &Xl, domain: &DomainName, direction: Direction) -> Self {
        let (memory_mib, now) = (Arc::new(OnceLock::new()), Instant::now());
        // Only the source has it under its own name. The stream does not wait for the answer.
        if direction == Direction::Outgoing {
            let (xl, domain, found) = (xl.clone(), domain.clone(), Arc::clone(&memory_mib));
            let asking = std::thread::Builder::new().spawn(move || {
                if let Some(mib) = xl.memory_mib(&domain, LIST_LIMIT) {
                    found.get_or_init(|| mib);
                }
            });
            if let Err(error) = asking {
                log::debug!("its memory is not asked for: {error}");
            }
        }
        Self {
            path: path(root, domain),
            domain: domain.clone(),
            direction,
            memory_mib,
            started_at: UnixTime::now(),
            seen: Mutex::new(Seen { at: now, bytes: 0, mib_per_second: None, logged: now }),
        }
    }

    /// Tells where it stands. A file that cannot be written costs the transfer nothing.
    pub fn tell(&self, passing: Passing) {
        let Passing { bytes, wire, round, stage } = passing;
        let now = Instant::now();
        let Ok(mut seen) = self.seen.lock() else { return };
        let progress = Progress {
            direction: self.direction,
            bytes,
            wire,
            memory_mib: self.memory_mib.get().copied(),
            stage,
            started_at: self.started_at,
            updated_at: UnixTime::now(),
            mib_per_second: seen.rate(bytes, now),
            round,
            waits: None,
        };
        put(&self.path, &progress);
        if now.saturating_duration_since(seen.logged) >= LOG_EVERY {
            seen.logged = now;
            log::info!("domain={} transfer={} stage={stage} {progress}", self.domain, self.direction.word());
        }
    }
}

/// Says what a move waits for, as long as it does.
#[derive(Debug)]
pub struct Waits {
    path: PathBuf,
    domain: DomainName,
    direction: Direction,
    since: UnixTime,
    said: String,
}

impl Waits {
    /// Begins to.
    pub fn begin(root: &Root, domain: &DomainName, direction: Direction) -> Self {
        let (path, since) = (path(root, domain), UnixTime::now());
        Self { path, domain: domain.clone(), direction, since, said: String::new() }
    }

    /// For this; the log hears of it when it is something new.
    pub fn tell(&mut self, why: &str) {
        if self.said == why {
            return;
        }
        self.said = why.to_owned();
        log::info!("domain={} transfer={} {why}", self.domain, self.direction.word());
        let progress = Progress {
            direction: self.direction,
            bytes: 0,
            wire: None,
            memory_mib: None,
            stage: Stage::Opening,
            started_at: self.since,
            updated_at: UnixTime::now(),
            mib_per_second: None,
            round: None,
            waits: Some(why.to_owned()),
        };
        put(&self.path, &progress);
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        // Gone already, or never written.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn put(path: &Path, progress: &Progress) {
    if let Ok(text) = serde_json::to_vec(progress)
        && let Err(error) = std::fs::write(path, small_file::sealed(&text))
    {
        log::debug!("cannot write {}: {error}", path.display());
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        // Gone already, or the folder is: nothing is lost either way.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The progress of a transfer of `domain` at this node, if one is on file.
pub fn read(root: &Root, domain: &DomainName) -> Option<Progress> {
    small_file::kept_json(&path(root, domain)).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_whole_only_when_the_receiver_says_so() {
        let at = |mib: u64, memory_mib, stage| {
            let (started_at, updated_at) = (UnixTime(1), UnixTime(2));
            let direction = Direction::Outgoing;
            Progress {
                direction,
                bytes: mib << 20,
                wire: None,
                memory_mib,
                stage,
                started_at,
                updated_at,
                mib_per_second: None,
                round: None,
                waits: None,
            }
            .percent()
        };
        assert_eq!(at(64, Some(128), Stage::Stream), Some(50));
        assert_eq!(at(300, Some(128), Stage::Stream), Some(99), "pages that were written meanwhile go again");
        assert_eq!(at(10, Some(128), Stage::Ready), Some(100));
        assert_eq!(at(10, None, Stage::Stream), None);
        assert_eq!(at(10, Some(0), Stage::Stream), None);
    }

    #[test]
    fn the_time_that_is_left_follows_the_rate_up_to_now() {
        let at = |mib: u64, seconds: u64, stage| Progress {
            direction: Direction::Outgoing,
            bytes: mib << 20,
            wire: None,
            memory_mib: Some(1000),
            stage,
            started_at: UnixTime(100),
            updated_at: UnixTime(100 + seconds),
            mib_per_second: None,
            round: None,
            waits: None,
        };
        assert_eq!(at(250, 10, Stage::Stream).seconds_left(), Some(30));
        assert_eq!(at(1200, 10, Stage::Stream).seconds_left(), None, "what goes again cannot be foreseen");
        assert_eq!(at(250, 0, Stage::Stream).seconds_left(), None);
        assert_eq!(at(1000, 10, Stage::Ready).seconds_left(), None);
    }

    #[test]
    fn a_line_says_all_that_is_known_with_the_rate_of_the_last_seconds() {
        let now = Instant::now();
        let mut seen = Seen { at: now, bytes: 0, mib_per_second: None, logged: now };
        assert_eq!(seen.rate(5 << 20, now + Duration::from_secs(1)), None);
        assert_eq!(seen.rate(20 << 20, now + Duration::from_secs(2)), Some(10));
        assert_eq!(seen.rate(30 << 20, now + Duration::from_secs(3)), Some(10));
        assert_eq!(seen.rate(220 << 20, now + Duration::from_secs(4)), Some(100));
        let mut progress = Progress {
            direction: Direction::Outgoing,
            bytes: 250 << 20,
            wire: Some(50 << 20),
            memory_mib: Some(1000),
            stage: Stage::Stream,
            started_at: UnixTime::now(),
            updated_at: UnixTime::now().plus(Duration::from_secs(10)),
            mib_per_second: Some(25),
            round: Some(2),
            waits: None,
        };
        let line = progress.to_string();
        assert!(line.contains(" s (50 MiB on the connection), 25 MiB/s, round 2, 25 %, about "), "{line}");
        progress.waits = Some("waits for a slot".to_owned());
        assert_eq!(progress.to_string(), "waits for a slot");
    }
}
